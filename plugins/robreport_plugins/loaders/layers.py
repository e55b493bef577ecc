"""Build a network from a declarative layer list and its weights, checking every shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from robreport import ModelError
from robreport_plugins.loaders.layer_list import Layer
from robreport_plugins.loaders.weights import State
from robreport_plugins.loaders.wording import did_you_mean, listed

Shape = tuple[int, ...]

# One activation beyond this is no network that is audited on one machine, but a slip such as a
# padding of 10,000, which would otherwise end as an out-of-memory kill.
_LARGEST_ACTIVATION = 1 << 28

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
}


class FlattenChannelsLast(nn.Module):
    """Flattens ``(n, c, h, w)`` in the order height, width, channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class _Keys:
    """The tensors of a weights file, with a note of which ones have been used."""

    def __init__(self, state: State, where: str) -> None:
        self.state = state
        self.where = where
        self.used: set[str] = set()

    def take(self, layer: Layer, suffix: str) -> torch.Tensor:
        """Return ``key.suffix``, or say that it is missing and what looks like it."""
        found = self.find(layer, suffix)
        if found is None:
            full = f"{layer.key}.{suffix}"
            free = sorted(set(self.state) - self.used)
            raise ModelError(
                f"{self.where}: {layer.where} needs the weight {full!r}, and those that no layer "
                f"before it uses are {listed(map(repr, free))}.{did_you_mean(full, free)}"
            )
        return found

    def find(self, layer: Layer, suffix: str) -> torch.Tensor | None:
        full = f"{layer.key}.{suffix}"
        if full in self.state:
            self.used.add(full)
        return self.state.get(full)

    def check(self, layer: Layer, suffix: str, tensor: torch.Tensor, shape: Shape) -> None:
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            raise ModelError(
                f"{self.where}: {layer.where}: weight '{layer.key}.{suffix}' has shape "
                f"{tuple(tensor.shape)} of {tensor.dtype}, and this layer needs {shape} of floats; "
                "check the key, the layers before it and the input's shape."
            )


def build_network(
    layers: Sequence[Layer], state: State, input_shape: Shape, where: str
) -> tuple[nn.Sequential, Shape]:
    """Return the network with its weights in place, and the shape of one output.

    Parameters
    ----------
    layers : sequence of Layer
        As `parse_layers` returns them.
    state : mapping
        Tensors by key, torch's layout: ``key.weight``, ``key.bias`` (optional), and for a batch
        normalisation ``key.running_mean`` and ``key.running_var``.
    input_shape : tuple of int
        Shape of one input as the first layer reads it.
    where : str
        How sentences begin.

    Raises
    ------
    ModelError
        A missing, left-over or misshapen weight, or a layer that cannot take its input.
    """
    keys = _Keys(state, where)
    modules: list[nn.Module] = []
    shape = input_shape
    for layer in layers:
        module, shape = _LAYERS.get(layer.name, _activation)(layer, shape, keys)
        if math.prod(shape) > _LARGEST_ACTIVATION:
            raise ModelError(
                f"{where}: {layer.where} gives outputs of shape {shape}, which is beyond any "
                "network this can run; check its padding and stride."
            )
        modules.append(module)
    left = sorted(set(state) - keys.used)
    if left:
        raise ModelError(
            f"{where}: the weights {listed(map(repr, left))} belong to no layer of the "
            "architecture; add the layers or check their keys."
        )
    return nn.Sequential(*modules), shape


def _activation(layer: Layer, shape: Shape, keys: _Keys) -> tuple[nn.Module, Shape]:
    if layer.name == "leaky_relu":
        return nn.LeakyReLU(layer.arguments["slope"]), shape
    if layer.name == "dropout":
        return nn.Dropout(layer.arguments["p"]), shape
    return _ACTIVATIONS[layer.name](), shape


def _need_image(layer: Layer, shape: Shape, keys: _Keys) -> None:
    if len(shape) != 3:
        raise ModelError(
            f"{keys.where}: {layer.where} needs an image (channels, height, width), and its "
            f"input has shape {shape}; check the layers before it and the input's shape."
        )


def _slid(layer: Layer, shape: Shape, window: Shape, keys: _Keys) -> Shape:
    """Return height and width after a window slid over the padded image."""
    stride, padding = layer.arguments["stride"], layer.arguments["padding"]
    out = tuple(
        (n + 2 * p - k) // s + 1
        for n, k, s, p in zip(shape[1:], window, stride, padding, strict=True)
    )
    if min(out) < 1:
        raise ModelError(
            f"{keys.where}: {layer.where}: a window of {window} does not fit into its input of "
            f"shape {shape}; check the layers before it and the input's shape."
        )
    return out


def _conv(layer: Layer, shape: Shape, keys: _Keys) -> tuple[nn.Module, Shape]:
    _need_image(layer, shape, keys)
    weight = keys.take(layer, "weight")
    bias = keys.find(layer, "bias")
    if weight.ndim != 4:
        raise ModelError(
            f"{keys.where}: {layer.where}: weight '{layer.key}.weight' has shape "
            f"{tuple(weight.shape)}, and a convolution needs (out, in, height, width)."
        )
    n_out, _, height, width = weight.shape
    keys.check(layer, "weight", weight, (n_out, shape[0], height, width))
    if bias is not None:
        keys.check(layer, "bias", bias, (n_out,))
    slid = _slid(layer, shape, (height, width), keys)
    module = nn.utils.skip_init(
        nn.Conv2d, shape[0], n_out, (height, width), layer.arguments["stride"],
        layer.arguments["padding"], bias=bias is not None,
    )  # fmt: skip
    return _filled(module, weight, bias), (n_out, *slid)


def _linear(layer: Layer, shape: Shape, keys: _Keys) -> tuple[nn.Module, Shape]:
    weight = keys.take(layer, "weight")
    bias = keys.find(layer, "bias")
    if len(shape) != 1:
        raise ModelError(
            f"{keys.where}: {layer.where} needs a flat input, and its input has shape {shape}; "
            "put ['flatten'] before it."
        )
    n_out = weight.shape[0] if weight.ndim else 0
    keys.check(layer, "weight", weight, (n_out, shape[0]))
    if bias is not None:
        keys.check(layer, "bias", bias, (n_out,))
    module = nn.utils.skip_init(nn.Linear, shape[0], n_out, bias=bias is not None)
    return _filled(module, weight, bias), (n_out,)


def _filled(module: nn.Module, weight: torch.Tensor | None, bias: torch.Tensor | None) -> nn.Module:
    state = {"weight": weight, "bias": bias}
    module.load_state_dict({k: v for k, v in state.items() if v is not None}, strict=False)
    return module


def _batchnorm(layer: Layer, shape: Shape, keys: _Keys) -> tuple[nn.Module, Shape]:
    if len(shape) not in (1, 3):
        raise ModelError(
            f"{keys.where}: {layer.where} needs an image or a flat input, and its input has "
            f"shape {shape}."
        )
    mean = keys.take(layer, "running_mean")
    var = keys.take(layer, "running_var")
    weight, bias = keys.find(layer, "weight"), keys.find(layer, "bias")
    keys.find(layer, "num_batches_tracked")
    affine = {"weight": weight, "bias": bias}
    if (weight is None) != (bias is None):
        raise ModelError(
            f"{keys.where}: {layer.where} has one of '{layer.key}.weight' and "
            f"'{layer.key}.bias'; a batch normalisation has both or neither."
        )
    tensors = {"running_mean": mean, "running_var": var}
    tensors |= {k: v for k, v in affine.items() if v is not None}
    for suffix, tensor in tensors.items():
        keys.check(layer, suffix, tensor, (shape[0],))
    if bool((var < 0).any()):
        raise ModelError(
            f"{keys.where}: {layer.where}: '{layer.key}.running_var' has negative variances; "
            "check the key."
        )
    kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    module = kind(shape[0], eps=layer.arguments["eps"], affine=weight is not None)
    module.load_state_dict(tensors, strict=False)
    return module, shape


def _flatten(layer: Layer, shape: Shape, keys: _Keys) -> tuple[nn.Module, Shape]:
    if layer.arguments["order"] == "NHWC":
        _need_image(layer, shape, keys)
        return FlattenChannelsLast(), (math.prod(shape),)
    return nn.Flatten(), (math.prod(shape),)


def _pool(layer: Layer, shape: Shape, keys: _Keys) -> tuple[nn.Module, Shape]:
    _need_image(layer, shape, keys)
    size = layer.arguments["size"]
    slid = _slid(layer, shape, size, keys)
    kind = nn.MaxPool2d if layer.name == "maxpool" else nn.AvgPool2d
    module = kind(size, layer.arguments["stride"], layer.arguments["padding"])
    return module, (shape[0], *slid)


def _adaptive(layer: Layer, shape: Shape, keys: _Keys) -> tuple[nn.Module, Shape]:
    _need_image(layer, shape, keys)
    size = layer.arguments["size"]
    return nn.AdaptiveAvgPool2d(size), (shape[0], *size)


_LAYERS: dict[str, Callable[[Layer, Shape, _Keys], tuple[nn.Module, Shape]]] = {
    "conv": _conv,
    "linear": _linear,
    "batchnorm": _batchnorm,
    "flatten": _flatten,
    "maxpool": _pool,
    "avgpool": _pool,
    "adaptive_avgpool": _adaptive,
}
