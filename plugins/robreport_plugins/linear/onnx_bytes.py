"""A linear classifier as an ONNX file, written field by field: the format is five messages deep.

Field numbers are those of onnx.proto3; a field is its number and wire type, then a variable-length
integer or a length and bytes. No library is needed, and the same model gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_VARINT, _BYTES = 0, 2
_FLOAT, _INT_ATTRIBUTE = 1, 2
# Operator set 13 and the format version of its time: every runtime since 2021 reads them.
_OPSET, _IR_VERSION = 13, 7


def linear_onnx(
    weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32], shape: Sequence[int], name: str
) -> bytes:
    """Return an ONNX model ``input (n, *shape) -> logits (n, k)``, float32.

    Parameters
    ----------
    weight : array (k, d)
        d is the product of `shape`.
    bias : array (k,)
    shape : sequence of int
    name : str
        Of the graph.
    """
    k, d = weight.shape
    if bias.shape != (k,) or int(np.prod(shape)) != d:
        raise ValueError(
            f"weights {weight.shape}, bias {bias.shape} and inputs {tuple(shape)} do not fit"
        )
    flatten = _node("Flatten", ["input"], ["flat"], [_attribute("axis", 1)])
    gemm = _node("Gemm", ["flat", "weight", "bias"], ["logits"], [_attribute("transB", 1)])
    graph = b"".join((
        _field(1, flatten), _field(1, gemm), _field(2, name.encode()),
        _field(5, _tensor("weight", weight)), _field(5, _tensor("bias", bias)),
        _field(11, _value("input", ["n", *shape])), _field(12, _value("logits", ["n", k])),
    ))  # fmt: skip
    return b"".join((
        _number(1, _IR_VERSION), _field(2, b"robreport"), _field(7, graph),
        _field(8, _field(1, b"") + _number(2, _OPSET)),
    ))  # fmt: skip


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def _attribute(name: str, value: int) -> bytes:
    # 20 is the attribute's type, 3 its whole number.
    return _field(1, name.encode()) + _number(3, value) + _number(20, _INT_ATTRIBUTE)


def _node(
    kind: str, takes: Sequence[str], gives: Sequence[str], attributes: Sequence[bytes]
) -> bytes:
    return b"".join((
        *(_field(1, name.encode()) for name in takes),
        *(_field(2, name.encode()) for name in gives),
        _field(4, kind.encode()),
        *(_field(5, attribute) for attribute in attributes),
    ))  # fmt: skip


def _tensor(name: str, values: npt.NDArray[np.float32]) -> bytes:
    raw = np.ascontiguousarray(values, dtype="<f4").tobytes()
    return b"".join((
        *(_number(1, size) for size in values.shape), _number(2, _FLOAT),
        _field(8, name.encode()), _field(9, raw),
    ))  # fmt: skip


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sizes = b"".join(
        _field(1, _field(2, s.encode()) if isinstance(s, str) else _number(1, s)) for s in shape
    )
    tensor = _number(1, _FLOAT) + _field(2, sizes)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))
