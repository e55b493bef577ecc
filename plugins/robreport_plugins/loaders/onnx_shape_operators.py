"""ONNX operators that move, select and make values, as torch functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robreport_plugins.loaders.onnx_operators import (
    Attributes,
    Unsupported,
    operator,
    whole_numbers,
)

DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    11: torch.float64,
}
"""Element types by their number in an ONNX file."""

LARGEST = 1 << 28
"""Most elements of an array that an operator may make of a declared size."""


def _axes(a: Attributes, given: Tensor | None) -> list[int] | None:
    """Return the axes: an attribute in older versions, an input in newer ones."""
    found = whole_numbers(given)
    return found if found is not None else a.get("axes")


def _checked(shape: list[int]) -> list[int]:
    if min(shape, default=0) < 0 or int(np.prod(shape, dtype=object)) > LARGEST:
        raise Unsupported(f"an array of shape {shape}")
    return shape


@operator("Cast")
def _cast(a: Attributes, x: Tensor) -> Tensor:
    kind = DTYPES.get(a.get("to"))
    if kind is None:
        raise Unsupported(f"element type {a.get('to')}")
    return x.to(kind)


@operator("CastLike")
def _cast_like(a: Attributes, x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)


@operator("Constant")
def _constant(a: Attributes) -> Tensor:
    for name, kind in {"value_float": torch.float32, "value_floats": torch.float32,
                       "value_int": torch.int64, "value_ints": torch.int64}.items():  # fmt: skip
        if name in a.values:
            return torch.tensor(a.get(name), dtype=kind)
    value = a.get("value")
    if not isinstance(value, Tensor):
        raise Unsupported("a constant that is sparse or text")
    return value


@operator("ConstantOfShape")
def _constant_of_shape(a: Attributes, shape: Tensor) -> Tensor:
    value: Tensor = a.get("value", torch.zeros(1))
    return value.reshape(()).expand(_checked(whole_numbers(shape) or [])).clone()


@operator("Shape")
def _shape(a: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(x.shape[slice(a.get("start", 0), a.get("end"))], dtype=torch.int64)


@operator("Size")
def _size(a: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


@operator("Range")
def _range(a: Attributes, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    count = (float(limit) - float(start)) / float(delta)
    _checked([max(0, int(min(count, 2.0**62)))])
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


@operator("Reshape")
def _reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    wanted = whole_numbers(shape) or []
    if not a.get("allowzero", 0):
        wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    return x.reshape(wanted)


@operator("Flatten")
def _flatten(a: Attributes, x: Tensor) -> Tensor:
    axis = a.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1)


@operator("Transpose")
def _transpose(a: Attributes, x: Tensor) -> Tensor:
    return x.permute(a.get("perm", list(range(x.ndim))[::-1]))


@operator("Squeeze")
def _squeeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    found = _axes(a, axes)
    if found is None:
        return x.squeeze()
    if any(x.shape[axis] != 1 for axis in found):
        raise Unsupported(f"squeezing the axes {found} of the shape {list(x.shape)}")
    return x.squeeze(tuple(found))


@operator("Unsqueeze")
def _unsqueeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    found = _axes(a, axes) or []
    rank = x.ndim + len(found)
    for axis in sorted(axis % rank for axis in found):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def _concat(a: Attributes, *args: Tensor) -> Tensor:
    return torch.cat(args, dim=a.get("axis", 1))


@operator("Split")
def _split(a: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    parts = whole_numbers(sizes) or a.get("split")
    if parts is None:
        each = -(-x.shape[axis] // a.n_outputs)
        parts = [each] * (a.n_outputs - 1)
        parts.append(x.shape[axis] - sum(parts))
    return torch.split(x, parts, dim=axis)


@operator("Slice")
def _slice(
    a: Attributes,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    first = whole_numbers(starts) or a.get("starts")
    last = whole_numbers(ends) or a.get("ends")
    if first is None or last is None:
        return x
    along = _axes(a, axes) or list(range(len(first)))
    by = whole_numbers(steps) or [1] * len(first)
    for start, end, axis, step in zip(first, last, along, by, strict=True):
        kept = range(*slice(start, end, step).indices(x.shape[axis]))
        x = x.index_select(axis, torch.tensor(list(kept), dtype=torch.int64, device=x.device))
    return x


@operator("Gather")
def _gather(a: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = a.get("axis", 0) % x.ndim
    flat = _counted_from_zero(indices.reshape(-1), x.shape[axis]).to(x.device)
    return x.index_select(axis, flat).reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@operator("GatherElements")
def _gather_elements(a: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = a.get("axis", 0) % x.ndim
    return torch.gather(x, axis, _counted_from_zero(indices, x.shape[axis]).to(x.device))


def _counted_from_zero(indices: Tensor, size: int) -> Tensor:
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + size, indices)


@operator("Expand")
def _expand(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(_checked(list(torch.broadcast_shapes(x.shape, whole_numbers(shape) or []))))


@operator("Tile")
def _tile(a: Attributes, x: Tensor, repeats: Tensor) -> Tensor:
    times = whole_numbers(repeats) or []
    _checked([size * count for size, count in zip(x.shape, times, strict=True)])
    return x.repeat(times)


@operator("Pad")
def _pad(
    a: Attributes,
    x: Tensor,
    pads: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    mode = a.get("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise Unsupported(f"padding by {mode!r}")
    amounts = whole_numbers(pads) or a.get("pads", [])
    along = whole_numbers(axes) or list(range(x.ndim))
    before, after = amounts[: len(along)], amounts[len(along) :]
    for axis, low, high in zip(along, before, after, strict=True):
        axis, size = axis % x.ndim, x.shape[axis]
        _checked([*x.shape[:axis], max(0, size + low + high), *x.shape[axis + 1 :]])
        if mode == "constant":
            fill = a.get("value", 0.0) if value is None else value.item()
            ends = [0, 0] * (x.ndim - axis - 1) + [low, high]
            x = torch.nn.functional.pad(x, ends, value=fill)
            continue
        kept = range(max(0, -low), size - max(0, -high))
        how: Any = mode
        order = np.pad(np.arange(kept.start, kept.stop), (max(0, low), max(0, high)), mode=how)
        x = x.index_select(axis, torch.from_numpy(order).to(x.device))
    return x


@operator("DepthToSpace")
def _depth_to_space(a: Attributes, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = a.get("blocksize")
    if a.get("mode", "DCR") == "DCR":
        x = x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(n, c // (b * b), b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(n, c // (b * b), h * b, w * b)


@operator("SpaceToDepth")
def _space_to_depth(a: Attributes, x: Tensor) -> Tensor:
    a.need("mode", "DCR")
    n, c, h, w = x.shape
    b = a.get("blocksize")
    x = x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * b * b, h // b, w // b)
