"""Run a network that takes batches of one size only on any number of inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def in_batches(network: Callable[[Tensor], Tensor], x: Tensor, size: int | None) -> Tensor:
    """Return the network's outputs, made in batches of `size`; at once where that is None.

    The last batch is made up by repeating its last input, whose further outputs are dropped.
    """
    if size is None or len(x) == size:
        return network(x)
    short = -len(x) % size
    if short:
        x = torch.cat([x, x[-1:].expand(short, *x.shape[1:])])
    parts = [network(x[i : i + size]) for i in range(0, len(x), size)]
    return torch.cat(parts)[: len(x) - short]
