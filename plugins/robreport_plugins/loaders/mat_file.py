"""Read a network's arrays from a MATLAB file whose sizes were checked first."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robreport import ModelError
from robreport_plugins.loaders.regular_file import DAMAGED, beginning
from robreport_plugins.loaders.weights import State
from robreport_plugins.loaders.wording import listed, one_line

LARGEST_FILE = 1 << 30
LARGEST_CONTENT = 1 << 31
"""Most bytes that all variables may have after decompression."""

_COMPRESSED, _MATRIX = 15, 14
_NUMBERS = (
    "double", "single", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip
_NAME = re.compile(r"(weights|biases)_(conv|fc)([1-9][0-9]?)", re.ASCII)
_DAMAGED: tuple[type[Exception], ...] = (zlib.error, struct.error, *DAMAGED)


def read_network(
    path: Path, stride: int, padding: int, where: str
) -> tuple[State, list[list[Any]]]:
    """Return weights in torch's layout by layer, and the layers as a declarative list.

    Convolutions are kept as (height, width, in, out), linear layers as (in, out), biases as
    (1, out); the layers are conv1, conv2, ..., flattened as NHWC, then fc1, fc2, ..., with ReLU
    between all of them.

    Raises
    ------
    ModelError
        Missing, truncated, of another version, larger than a network is, or without these
        arrays.
    """
    arrays = _arrays(path, where)
    convs, linears = (_numbered(arrays, kind, where) for kind in ("conv", "fc"))
    if not linears:
        raise ModelError(
            f"{where}: has no weights_fc1; its variables are {listed(arrays)}, and weights_conv1, "
            "..., weights_fc1, ..., and biases_* are looked for."
        )
    state: State = {}
    layers: list[list[Any]] = []
    for key in convs:
        weight, bias = arrays[f"weights_{key}"], arrays[f"biases_{key}"]
        _check(key, weight, bias, 4, where)
        state[f"{key}.weight"] = _tensor(weight.transpose(3, 2, 0, 1))
        state[f"{key}.bias"] = _tensor(bias.reshape(-1))
        layers += [["conv", key, stride, padding], ["relu"]]
    layers.append(["flatten", "NHWC"])
    for key in linears:
        weight, bias = arrays[f"weights_{key}"], arrays[f"biases_{key}"]
        _check(key, weight, bias, 2, where)
        state[f"{key}.weight"] = _tensor(weight.T)
        state[f"{key}.bias"] = _tensor(bias.reshape(-1))
        layers += [["linear", key], ["relu"]]
    return state, layers[:-1]


def _tensor(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))


def _numbered(arrays: dict[str, Any], kind: str, where: str) -> list[str]:
    """Return the layers of a kind in order, each with weights and biases."""
    found = {m.group(2) + m.group(3) for m in map(_NAME.fullmatch, arrays) if m}
    keys = [f"{kind}{i + 1}" for i in range(sum(1 for key in found if key.startswith(kind)))]
    for key in keys:
        for part in ("weights", "biases"):
            if f"{part}_{key}" not in arrays:
                raise ModelError(
                    f"{where}: has no {part}_{key}; its variables are {listed(arrays)}."
                )
    return keys


def _check(key: str, weight: Any, bias: Any, axes: int, where: str) -> None:
    if weight.ndim != axes or bias.size != weight.shape[-1] or 0 in weight.shape:
        form = "(height, width, in, out)" if axes == 4 else "(in, out)"
        raise ModelError(
            f"{where}: weights_{key} has the shape {weight.shape} and biases_{key} {bias.shape}; "
            f"{form} and (1, out) are needed."
        )
    for name, values in (("weights", weight), ("biases", bias)):
        with np.errstate(over="ignore"):
            bad = int((~np.isfinite(values.astype(np.float32))).sum())
        if bad:
            raise ModelError(
                f"{where}: {name}_{key} has {bad:,} values that are NaN, infinite or too large."
            )


def _arrays(path: Path, where: str) -> dict[str, Any]:
    """Return the arrays of numbers that carry such names."""
    import scipy.io

    head, size = beginning(path, where, ModelError, 128)
    if b"MATLAB 7.3" in head or head.startswith(b"\x89HDF"):
        raise ModelError(f"{where}: is a MATLAB 7.3 file (HDF5); save it with the option '-v7'.")
    if not head.startswith(b"MATLAB 5.0 MAT-file") or len(head) < 128:
        raise ModelError(
            f"{where}: is no MATLAB 5 file, or is cut short; save it with the option '-v7'."
        )
    if size > LARGEST_FILE:
        raise ModelError(f"{where}: has {size:,} bytes, more than {LARGEST_FILE:,}.")
    try:
        _check_elements(path, size, head[126:128] == b"MI", where)
        listing = scipy.io.whosmat(path)
        wanted = []
        for name, shape, kind in listing:
            if not _NAME.fullmatch(name):
                continue
            if kind not in _NUMBERS:
                raise ModelError(f"{where}: {name} is no array of numbers but a {kind}.")
            if int(np.prod(shape, dtype=object)) * 8 > LARGEST_CONTENT:
                raise ModelError(f"{where}: {name} claims the shape {shape}; it is refused.")
            wanted.append(name)
        if not wanted:
            raise ModelError(
                f"{where}: has no weights_fc1; its variables are "
                f"{listed(str(name)[:60] for name, _, _ in listing)}."
            )
        found = scipy.io.loadmat(path, variable_names=wanted)
    except _DAMAGED as error:
        raise ModelError(
            f"{where}: is a damaged or truncated MATLAB file ({one_line(error)}); save or "
            "download it again."
        ) from None
    arrays = {name: np.asarray(found[name]) for name in wanted if name in found}
    foreign = [name for name, values in arrays.items() if values.dtype.kind not in "fiu"]
    if foreign:
        raise ModelError(f"{where}: {listed(foreign)} hold complex numbers or objects.")
    return arrays


def _check_elements(path: Path, size: int, big: bool, where: str) -> None:
    """Walk over the file's elements: each lies inside it, and unpacks to a bounded size."""
    order = ">" if big else "<"
    content = 0
    with path.open("rb") as stream:
        position = 128
        while position < size:
            stream.seek(position)
            kind, count = struct.unpack(f"{order}II", stream.read(8))
            position += 8 + count
            if position > size or kind not in (_COMPRESSED, _MATRIX):
                raise ModelError(
                    f"{where}: is a damaged or truncated MATLAB file; save or download it again."
                )
            content += count if kind == _MATRIX else _unpacked(stream, count, where)
            if content > LARGEST_CONTENT:
                _refuse(where)


def _unpacked(stream: Any, count: int, where: str) -> int:
    """Return how many bytes a compressed element unpacks to, keeping none of them."""
    unpacker = zlib.decompressobj()
    total = 0
    while count > 0 and not unpacker.eof:
        chunk = stream.read(min(count, 1 << 16))
        if not chunk:
            break
        count -= len(chunk)
        while chunk and not unpacker.eof:
            total += len(unpacker.decompress(chunk, 1 << 20))
            if total > LARGEST_CONTENT:
                _refuse(where)
            chunk = unpacker.unconsumed_tail
    return total


def _refuse(where: str) -> None:
    raise ModelError(f"{where}: unpacks to more than {LARGEST_CONTENT:,} bytes; it is refused.")
