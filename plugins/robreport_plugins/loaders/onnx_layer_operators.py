"""ONNX operators that are layers of a network, and reductions, as torch functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from robreport_plugins.loaders.onnx_operators import (
    OPERATORS,
    Attributes,
    Operator,
    Unsupported,
    operator,
    whole_numbers,
)

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_CONV_BACK = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_MAX_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVG_POOL = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


@operator("Gemm")
def _gemm(a: Attributes, x: Tensor, y: Tensor, c: Tensor | None = None) -> Tensor:
    x = x.T if a.get("transA", 0) else x
    y = y.T if a.get("transB", 0) else y
    alpha, beta = a.number("alpha", 1.0), a.number("beta", 1.0)
    out = x @ y
    out = out if alpha == 1 else alpha * out
    return out if c is None else out + (c if beta == 1 else beta * c)


@operator("MatMul")
def _matmul(a: Attributes, x: Tensor, y: Tensor) -> Tensor:
    return torch.matmul(x, y)


@operator("Einsum")
def _einsum(a: Attributes, *args: Tensor) -> Tensor:
    return torch.einsum(a.get("equation"), *args)


def _rank(x: Tensor) -> int:
    if x.ndim - 2 not in _CONV:
        raise Unsupported(f"an input of {x.ndim} axes")
    return x.ndim - 2


def _paddings(
    a: Attributes, x: Tensor, kernel: list[int], strides: list[int], dilations: list[int]
) -> list[tuple[int, int]]:
    """Return the padding before and after each spatial axis."""
    auto = a.get("auto_pad", "NOTSET")
    rank = len(kernel)
    if auto == "VALID":
        return [(0, 0)] * rank
    if auto == "NOTSET":
        pads = a.get("pads", [0] * 2 * rank)
        return list(zip(pads[:rank], pads[rank:], strict=True))
    found = []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + dilation * (k - 1) + 1 - size)
        less, more = total // 2, total - total // 2
        found.append((less, more) if auto == "SAME_UPPER" else (more, less))
    return found


def _pad(x: Tensor, pads: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    ends = [amount for pair in reversed(pads) for amount in pair]
    return functional.pad(x, ends, value=value) if any(ends) else x


@operator("Conv")
def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    rank = _rank(x)
    strides = a.get("strides", [1] * rank)
    dilations = a.get("dilations", [1] * rank)
    pads = _paddings(a, x, list(weight.shape[2:]), strides, dilations)
    even = [low for low, high in pads if low == high]
    if len(even) < rank:
        x, even = _pad(x, pads), [0] * rank
    return _CONV[rank](x, weight, bias, strides, even, dilations, a.get("group", 1))


@operator("ConvTranspose")
def _conv_transpose(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    rank = _rank(x)
    a.need("auto_pad", "NOTSET")
    if a.get("output_shape") is not None:
        raise Unsupported("a declared output_shape")
    pads = a.get("pads", [0] * 2 * rank)
    if pads[:rank] != pads[rank:]:
        raise Unsupported(f"uneven pads {pads}")
    return _CONV_BACK[rank](
        x, weight, bias, a.get("strides", [1] * rank), pads[:rank],
        a.get("output_padding", [0] * rank), a.get("group", 1), a.get("dilations", [1] * rank),
    )  # fmt: skip


@operator("MaxPool")
def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    rank = _rank(x)
    if a.n_outputs > 1:
        raise Unsupported("the positions of the largest values")
    kernel = a.get("kernel_shape")
    strides = a.get("strides", [1] * rank)
    dilations = a.get("dilations", [1] * rank)
    pads = _paddings(a, x, kernel, strides, dilations)
    if any(low != high or low > k // 2 for (low, high), k in zip(pads, kernel, strict=True)):
        x, pads = _pad(x, pads, float("-inf")), [(0, 0)] * rank
    ceil = bool(a.get("ceil_mode", 0))
    return _MAX_POOL[rank](x, kernel, strides, [low for low, _ in pads], dilations, ceil)


@operator("AveragePool")
def _average_pool(a: Attributes, x: Tensor) -> Tensor:
    rank = _rank(x)
    kernel = a.get("kernel_shape")
    strides = a.get("strides", [1] * rank)
    dilations = a.get("dilations", [1] * rank)
    if any(d != 1 for d in dilations):
        raise Unsupported(f"dilations {dilations}")
    pads = _paddings(a, x, kernel, strides, dilations)
    ceil, with_padding = bool(a.get("ceil_mode", 0)), bool(a.get("count_include_pad", 0))
    if all(low == high and low <= k // 2 for (low, high), k in zip(pads, kernel, strict=True)):
        even = [low for low, _ in pads]
        return _AVG_POOL[rank](x, kernel, strides, even, ceil, with_padding)
    mean = _AVG_POOL[rank](_pad(x, pads), kernel, strides, 0, ceil, True)
    if with_padding:
        return mean
    # the share of each window that lies on the input
    inside = _pad(torch.ones_like(x[:1, :1]), pads)
    return mean / _AVG_POOL[rank](inside, kernel, strides, 0, ceil, True)


@operator("GlobalAveragePool")
def _global_average_pool(a: Attributes, x: Tensor) -> Tensor:
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


@operator("GlobalMaxPool")
def _global_max_pool(a: Attributes, x: Tensor) -> Tensor:
    return x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)


@operator("BatchNormalization")
def _batch_normalization(
    a: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    if a.get("training_mode", 0) or a.n_outputs > 1:
        raise Unsupported("batch normalisation in training mode, which mixes the inputs")
    a.need("spatial", 1)
    return functional.batch_norm(
        x, mean, variance, scale, bias, False, 0.0, a.number("epsilon", 1e-5)
    )


@operator("InstanceNormalization")
def _instance_normalization(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    axes = tuple(range(2, x.ndim))
    centred = x - x.mean(dim=axes, keepdim=True)
    spread = (centred.square().mean(dim=axes, keepdim=True) + a.number("epsilon", 1e-5)).sqrt()
    along = (-1,) + (1,) * len(axes)
    return centred / spread * scale.reshape(along) + bias.reshape(along)


@operator("GroupNormalization")
def _group_normalization(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups, channels = a.get("num_groups"), x.shape[1]
    if scale.numel() == groups != channels:  # before version 21, one per group
        scale, bias = (v.repeat_interleave(channels // groups) for v in (scale, bias))
    return functional.group_norm(x, groups, scale, bias, a.number("epsilon", 1e-5))


@operator("LayerNormalization")
def _layer_normalization(
    a: Attributes, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> Tensor:
    if a.n_outputs > 1:
        raise Unsupported("mean and deviation as outputs")
    axes = tuple(range(a.get("axis", -1) % x.ndim, x.ndim))
    centred = x - x.mean(dim=axes, keepdim=True)
    spread = (centred.square().mean(dim=axes, keepdim=True) + a.number("epsilon", 1e-5)).sqrt()
    out = centred / spread * scale
    return out if bias is None else out + bias


@operator("LpNormalization")
def _lp_normalization(a: Attributes, x: Tensor) -> Tensor:
    return functional.normalize(x, float(a.get("p", 2)), dim=a.get("axis", -1))


@operator("LRN")
def _local_response(a: Attributes, x: Tensor) -> Tensor:
    size = a.get("size")
    before, after = (size - 1) // 2, size // 2
    ends = [0, 0] * (x.ndim - 2) + [before, after]
    windows: Tensor = functional.pad(x.square(), ends).unfold(1, size, 1).sum(dim=-1)
    strength: Tensor = a.number("bias", 1.0) + a.number("alpha", 1e-4) / size * windows
    return x / strength.pow(a.number("beta", 0.75))


def _reduction(function: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Operator:
    def apply(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        found = whole_numbers(axes) or a.get("axes")
        if not found:
            if a.get("noop_with_empty_axes", 0):
                raise Unsupported("noop_with_empty_axes")
            found = list(range(x.ndim))
        return function(x, tuple(axis % x.ndim for axis in found), bool(a.get("keepdims", 1)))

    return apply


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(dim=axis, keepdim=keep)
    return x


OPERATORS.update(
    {
        "ReduceL1": _reduction(lambda x, axes, keep: x.abs().sum(axes, keep)),
        "ReduceL2": _reduction(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
        "ReduceLogSumExp": _reduction(torch.logsumexp),
        "ReduceMax": _reduction(torch.amax),
        "ReduceMean": _reduction(lambda x, axes, keep: x.mean(axes, keep)),
        "ReduceMin": _reduction(torch.amin),
        "ReduceProd": _reduction(_product),
        "ReduceSum": _reduction(lambda x, axes, keep: x.sum(axes, keep)),
        "ReduceSumSquare": _reduction(lambda x, axes, keep: x.square().sum(axes, keep)),
    }
)
