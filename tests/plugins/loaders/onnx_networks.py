"""Small ONNX networks, written node by node, for the tests of their loader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, DOUBLE, UINT8, INT64 = (
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.UINT8, TensorProto.INT64,
)  # fmt: skip
Shape = Sequence[int | str | None] | None


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def network(
    nodes: Sequence[Any],
    weights: Mapping[str, Any],
    shape: Shape,
    outputs: Sequence[Any] = ("y",),
    *,
    kind: int = FLOAT,
    opset: int = 17,
    domains: Mapping[str, int] | None = None,
) -> Any:
    """Return a model with the input ``x`` and outputs given as names or value infos."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", kind, shape)],
        [
            helper.make_tensor_value_info(o, DOUBLE if kind == DOUBLE else FLOAT, None)
            if isinstance(o, str)
            else o
            for o in outputs
        ],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()],
    )
    imports = {"": opset, **(domains or {})}
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(d, v) for d, v in imports.items()],
        ir_version=8,
        producer_name="tests",
    )


def save(model: Any, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def linear(
    k: int = 3,
    d: int = 4,
    *,
    last: str = "",
    shape: Shape = ("n", 4),
    kind: int = FLOAT,
    **more: Any,
) -> tuple[Any, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return ``y = last(x W + b)``, and W and b."""
    rng = np.random.default_rng(5)
    dtype = np.float64 if kind == DOUBLE else np.float32
    weight = rng.standard_normal((d, k)).astype(dtype)
    bias = rng.standard_normal(k).astype(dtype)
    nodes = [node("Gemm", ["x", "w", "b"], ["z" if last else "y"], name="fc")]
    if last:
        nodes.append(node(last, ["z"], ["y"]))
    return network(nodes, {"w": weight, "b": bias}, shape, kind=kind, **more), weight, bias


def convolutional(*, batch: int | str = "n", size: int = 8) -> tuple[Any, dict[str, Any]]:
    """Return two convolutions with batch normalisation, pooling and two linear layers."""
    rng = np.random.default_rng(1)

    def draw(*shape: int) -> np.ndarray[Any, Any]:
        return (0.4 * rng.standard_normal(shape)).astype(np.float32)

    weights = {
        "c1.w": draw(4, 2, 3, 3), "c1.b": draw(4),
        "bn.s": 1 + draw(4), "bn.b": draw(4), "bn.m": draw(4), "bn.v": 1 + draw(4) ** 2,
        "c2.w": draw(6, 4, 3, 3),
        "f.w": draw(6 * (size // 4) ** 2, 10), "f.b": draw(10), "g.w": draw(3, 10), "g.b": draw(3),
        "shape": np.array([0, -1], dtype=np.int64),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "c1.w", "c1.b"], ["a"], pads=[1, 1, 1, 1], name="conv1"),
        node("BatchNormalization", ["a", "bn.s", "bn.b", "bn.m", "bn.v"], ["b"], name="norm"),
        node("LeakyRelu", ["b"], ["c"], alpha=0.1),
        node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["d", "c2.w"], ["e"], auto_pad="SAME_UPPER", name="conv2"),
        node("Relu", ["e"], ["f"]),
        node("AveragePool", ["f"], ["g"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["g", "shape"], ["h"]),
        node("MatMul", ["h", "f.w"], ["i"]),
        node("Add", ["i", "f.b"], ["j"]),
        node("Tanh", ["j"], ["k"]),
        node("Gemm", ["k", "g.w", "g.b"], ["y"], transB=1, name="last"),
    ]
    return network(nodes, weights, [batch, 2, size, size]), weights


def own_answers(model: Any, x: Any, name: str = "y") -> np.ndarray[Any, Any]:
    """Return a network's output by ONNX's reference implementation in NumPy."""
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(model)
    found = session.run([name], {model.graph.input[0].name: x})[0]
    assert isinstance(found, np.ndarray)
    return found


__all__ = ["onnx"]
