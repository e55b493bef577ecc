"""From data space to the one input of an ONNX network, for both of its runtimes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from robreport import ModelError
from robreport_plugins.loaders.data_space import InputSpace
from robreport_plugins.loaders.input_options import InputOptions
from robreport_plugins.loaders.wording import listed

Array = npt.NDArray[Any]

_TYPES = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.DOUBLE: np.float64,
    onnx.TensorProto.UINT8: np.uint8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A network's input as its file declares it.

    Attributes
    ----------
    name : str
    dtype : dtype
    batch : int or None
        The only batch size that it takes; None for any.
    shape : tuple of int or None
        Shape of one input, None for a size left open; None when the file says nothing.
    """

    name: str
    dtype: np.dtype[Any]
    batch: int | None
    shape: tuple[int | None, ...] | None


def find_entry(model: Any, where: str) -> Entry:
    """Return the network's one input.

    Raises
    ------
    ModelError
        There are several, or its type is none that numbers can be given as.
    """
    constants = {t.name for t in model.graph.initializer}
    inputs = [v for v in model.graph.input if v.name not in constants]
    if len(inputs) != 1:
        names = listed(repr(v.name) for v in inputs)
        raise ModelError(
            f"{where}: takes {len(inputs)} inputs ({names}), and one is needed; export it with all "
            "features in one table, or all channels in one image."
        )
    kind = inputs[0].type.tensor_type
    dtype = _TYPES.get(kind.elem_type)
    if dtype is None:
        name = "no tensor"
        if inputs[0].type.HasField("tensor_type"):
            name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        raise ModelError(
            f"{where}: reads {name} inputs; export it for float32, float64, or uint8 images."
        )
    if not kind.HasField("shape"):
        return Entry(name=inputs[0].name, dtype=np.dtype(dtype), batch=None, shape=None)
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    sizes = [None if size is not None and size < 1 else size for size in sizes]
    if len(sizes) < 2:
        raise ModelError(
            f"{where}: reads inputs of shape {sizes}, without an axis for the batch; export it "
            "with the batch as its first axis."
        )
    return Entry(name=inputs[0].name, dtype=np.dtype(dtype), batch=sizes[0], shape=tuple(sizes[1:]))


class NetworkInput(nn.Module):
    """Maps data space ``(n, *shape)`` to what the network reads, differentiable in its input.

    The declared input transformation comes first. Then the axes are joined or split where the
    file's shape and the transformed one differ by axes of size 1, or where one is flat. Whole
    pixels (uint8) are rounded from 255 times the input; their gradient passes the rounding as
    if it were not there.

    Raises
    ------
    ModelError
        The shapes do not fit, or what cannot be said of uint8 inputs is declared.
    """

    def __init__(
        self, options: InputOptions, shape: tuple[int, ...], entry: Entry, where: str
    ) -> None:
        super().__init__()
        self.space = InputSpace(options, shape)
        self.dtype = entry.dtype
        self.whole = entry.dtype == np.uint8
        if self.whole and (len(shape) != 3 or options.normalize is not None):
            raise ModelError(
                f"{where}: reads whole numbers from 0 to 255, which are taken from images "
                "(channels, height, width) without normalize; export it for float32."
            )
        self.shape = _fitted(self.space.out_shape, entry.shape, where)

    def forward(self, x: Tensor) -> Tensor:
        if self.dtype == np.float64:
            x = x.double()
        x = self.space(x).reshape(len(x), *self.shape)
        if self.whole:
            x = x * 255
            x = x + (x.round() - x).detach()
        return x

    def array(self, x: Array, where: str) -> Array:
        """Return the same as an array of the network's own type."""
        part = np.require(x, np.float64 if self.dtype == np.float64 else np.float32, ["C", "W"])
        with torch.inference_mode():
            found = self.forward(torch.from_numpy(part)).contiguous().numpy()
        if self.whole:
            if found.min() < 0 or found.max() > 255:
                raise ModelError(
                    f"{where}: reads whole numbers from 0 to 255, and an input of "
                    f"{found.min() / 255:g} to {found.max() / 255:g} is outside 0 to 1; "
                    "declare data.bounds = [0.0, 1.0]."
                )
            found = np.rint(found)
        return found.astype(self.dtype)

    def words(self) -> str:
        """What of it the file decides, for the provenance page."""
        done = f"shape {list(self.shape)}, {self.dtype}"
        if self.whole:
            done += ", 255 times the input rounded"
        return done


def _fitted(
    shape: tuple[int, ...], declared: tuple[int | None, ...] | None, where: str
) -> tuple[int, ...]:
    """Return the file's shape filled in from that of the transformed input."""
    if declared is None:
        return shape
    if len(declared) == len(shape) and all(
        want in (None, have) for want, have in zip(declared, shape, strict=True)
    ):
        return shape
    filled = _filled(declared, math.prod(shape))
    long = [size for size in shape if size != 1]
    wanted = [size for size in filled if size != 1]
    # one flat side, or the same axes: rows are then read in order, and no axes are mixed up
    if math.prod(filled) == math.prod(shape) and (
        min(len(long), len(wanted)) < 2 or long == wanted
    ):
        return filled
    shown = ["any" if size is None else size for size in declared]
    hint = "declare input.shape, pad or layout so that they agree"
    if len(shape) == 3 and (*shape[1:], shape[0]) == filled:
        hint = "declare input.layout = 'NHWC'"
    raise ModelError(
        f"{where}: reads inputs of shape {shown}, and those of the data are {list(shape)} after "
        f"the declared transformation; {hint}.".replace("'any'", "any")
    )


def _filled(declared: tuple[int | None, ...], total: int) -> tuple[int, ...]:
    """Return the shape with one open size computed; further open ones are 1."""
    known = math.prod(size for size in declared if size is not None)
    left = total // known if known and total % known == 0 else 1
    done = []
    for size in declared:
        done.append(left if size is None else size)
        if size is None:
            left = 1
    return tuple(done)
