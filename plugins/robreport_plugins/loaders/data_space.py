"""A network as the rest of robreport sees it: data space in, scores out, differentiable."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import nn

from robreport_plugins.loaders.input_options import InputOptions

Outputs = Literal["logits", "probabilities", "value"]

PROBABILITY_FLOOR = float(torch.finfo(torch.float32).tiny)
"""Probabilities are raised to this (1.2e-38) before their logarithm is taken."""


class InputSpace(nn.Module):
    """Maps data space ``(n, *shape)`` to what the network reads: pad, normalise, arrange."""

    def __init__(self, options: InputOptions, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.padding = options.padding
        self.channels_last = options.layout == "NHWC"
        self.normalizes = options.normalize is not None
        self.in_shape = shape
        if options.normalize is not None:
            along = (-1,) + (1,) * (len(shape) - 1)
            mean, std = (torch.tensor(part, dtype=torch.float32) for part in options.normalize)
            self.register_buffer("mean", mean.reshape(along))
            self.register_buffer("std", std.reshape(along))

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one input as the network reads it."""
        shape = self.in_shape
        if any(self.padding):
            left, right, top, bottom = self.padding
            shape = (shape[0], shape[1] + top + bottom, shape[2] + left + right)
        return (*shape[1:], shape[0]) if self.channels_last else shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if any(self.padding):
            x = nn.functional.pad(x, self.padding)
        if self.normalizes:
            mean, std = cast(torch.Tensor, self.mean), cast(torch.Tensor, self.std)
            x = (x - mean) / std
        return x.permute(0, 2, 3, 1) if self.channels_last else x


class DataSpaceNetwork(nn.Module):
    """A network with the declared input transformation before it and scores behind it.

    ``forward`` maps ``(n, *shape)`` in data space to ``(n, k)`` logits, or ``(n, 1)`` values:

    - ``logits``: the network's outputs; a single output z is a binary logit and becomes the
      two columns ``[0, z]``, whose softmax is ``[1 - sigmoid(z), sigmoid(z)]``.
    - ``probabilities``: ``log(max(p, PROBABILITY_FLOOR))``, which is a valid set of logits;
      a single output p becomes ``[log(1 - p), log(p)]``.
    - ``value``: the network's single output.
    """

    def __init__(self, space: nn.Module, network: nn.Module, outputs: Outputs) -> None:
        super().__init__()
        self.input = space
        self.network = network
        self.outputs = outputs

    def raw(self, x: torch.Tensor) -> torch.Tensor:
        """Return the network's own outputs ``(n, k)`` for data-space inputs."""
        out = cast(torch.Tensor, self.network(self.input(x)))
        return out.unsqueeze(1) if out.ndim == 1 else out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.raw(x)
        if self.outputs == "value":
            return out
        if self.outputs == "probabilities":
            if out.shape[1] == 1:
                out = torch.cat([1 - out, out], dim=1)
            return out.clamp_min(PROBABILITY_FLOOR).log()
        if out.shape[1] == 1:
            return torch.cat([torch.zeros_like(out), out], dim=1)
        return out
