"""Each operator against the test cases of the ONNX specification itself."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.backend.test.case import node as cases_package

from robreport_plugins.loaders.onnx_operators import OPERATORS, Unsupported
from robreport_plugins.loaders.onnx_torch import GraphModule, _run, _step

# Their cases are of element types that torch or NumPy lack, and take seconds to make.
_TESTED_BELOW = {"Cast", "CastLike"}


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


_FOLDER = Path(cases_package.__file__).parent
_FILES = {_plain(path.stem): path.stem for path in _FOLDER.glob("*.py")} | {"range": "rangeop"}


def _cases(operator: str) -> list[Any]:
    """Return the specification's cases of one operator: single nodes on types that torch has.

    A case is made when its file is first imported, so only those asked for are.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        importlib.import_module(f"{cases_package.__name__}.{_FILES[_plain(operator)]}")
    return [case for case in cases_package._NodeTestCases if _of(case, operator)]


def _of(case: Any, operator: str) -> bool:
    graph = case.model.graph
    if len(graph.node) != 1 or graph.node[0].op_type != operator or graph.node[0].domain:
        return False
    allowed = {"float32", "float64", "int64", "int32", "bool", "uint8", "int8"}
    return all(
        str(getattr(value, "dtype", "")) in allowed
        for inputs, outputs in case.data_sets
        for value in (*inputs, *outputs)
    )


@pytest.mark.parametrize("operator", sorted(set(OPERATORS) - _TESTED_BELOW))
def test_cases_of_the_specification(operator: str) -> None:
    cases = _cases(operator)
    agreed, refused = 0, 0
    for case in cases:
        graph = case.model.graph
        node = graph.node[0]
        for inputs, outputs in case.data_sets:
            given = dict(zip([v.name for v in graph.input], inputs, strict=True))
            args = [torch.from_numpy(np.array(given[n])) if n else None for n in node.input]
            if any(0 in a.shape for a in args if a is not None and a.dtype != torch.int64):
                continue  # nothing at all is no input of a network
            try:
                found = _run(_step(node, case.model.opset_import[0].version), args)
            except Unsupported:
                refused += 1
                continue
            for here, there in zip(found, outputs, strict=False):
                there = np.asarray(there)
                assert tuple(here.shape) == there.shape, case.name
                assert here.numpy().dtype == there.dtype, case.name
                # some cases give four digits
                np.testing.assert_allclose(
                    here.numpy(), there, rtol=1e-5, atol=6e-5, err_msg=case.name
                )
            agreed += 1
    only_with_statistics = operator == "LayerNormalization"
    assert agreed >= (0 if only_with_statistics else 1), (operator, len(cases))
    assert refused <= 20


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_layer_normalization(axis: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    scale, bias = (rng.standard_normal(x.shape[axis:]).astype(np.float32) for _ in range(2))
    node = onnx.helper.make_node("LayerNormalization", ["x", "s", "b"], ["y"], axis=axis)
    found = _run(_step(node, 17), [torch.from_numpy(v) for v in (x, scale, bias)])[0]
    axes = tuple(range(axis % 4, 4))
    centred = x - x.mean(axes, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(axes, keepdims=True) + 1e-5) * scale + bias
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("to", "dtype"), [(1, np.float32), (7, np.int64), (9, np.bool_), (11, np.float64)]
)
def test_cast(to: int, dtype: Any) -> None:
    x = np.array([-1.7, 0.0, 2.5, 300.0], dtype=np.float32)
    found = _run(_step(onnx.helper.make_node("Cast", ["x"], ["y"], to=to), 17), [torch.tensor(x)])
    np.testing.assert_array_equal(found[0].numpy(), x.astype(dtype))
    like = _run(
        _step(onnx.helper.make_node("CastLike", ["x", "t"], ["y"]), 17),
        [torch.tensor(x), torch.from_numpy(np.zeros(1, dtype=dtype))],
    )
    assert like[0].dtype == found[0].dtype
    with pytest.raises(Unsupported, match="element type 10"):
        _run(_step(onnx.helper.make_node("Cast", ["x"], ["y"], to=10), 17), [torch.tensor(x)])


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "opset"),
    [
        ("Softmax", [(2, 3, 4)], {}, 11),
        ("LogSoftmax", [(2, 3, 4)], {"axis": 2}, 9),
        ("Clip", [(5,)], {"min": -0.5, "max": 0.25}, 9),
        ("ReduceMean", [(2, 3, 4)], {"axes": [1, 2], "keepdims": 0}, 13),
        ("ReduceL2", [(2, 3, 4)], {"axes": [-1]}, 13),
        ("Squeeze", [(2, 1, 4)], {"axes": [1]}, 11),
        ("Unsqueeze", [(2, 4)], {"axes": [0, 3]}, 11),
        ("Slice", [(5, 6)], {"starts": [1, -3], "ends": [4, 100], "axes": [0, 1]}, 9),
        ("Split", [(4, 6)], {"axis": 1}, 11),
        ("Pad", [(1, 1, 3, 4)], {"pads": [0, 0, 1, 2, 0, 0, 0, 1], "value": 1.5}, 9),
        ("Pad", [(1, 1, 3, 4)], {"pads": [0, 0, 1, 2, 0, 0, 0, 1], "mode": "reflect"}, 9),
        ("Dropout", [(3, 4)], {"ratio": 0.5}, 10),
        ("AveragePool", [(1, 2, 7, 6)],
         {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [0, 1, 2, 0]}, 11),
        ("AveragePool", [(1, 2, 7, 6)],
         {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, 11),
        ("MaxPool", [(1, 2, 7, 6)],
         {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [0, 1, 2, 0]}, 11),
        ("MaxPool", [(1, 2, 9)], {"kernel_shape": [2], "auto_pad": "SAME_LOWER"}, 11),
        ("Conv", [(1, 4, 7, 6), (6, 2, 3, 2), (6,)],
         {"group": 2, "strides": [2, 1], "dilations": [1, 2], "pads": [0, 1, 2, 0]}, 11),
        ("Conv", [(1, 2, 9), (3, 2, 4)], {"auto_pad": "SAME_LOWER", "strides": [2]}, 11),
        ("ConvTranspose", [(1, 2, 5, 4), (2, 3, 3, 3)],
         {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}, 11),
        ("Gemm", [(4, 2), (3, 4), (1, 3)],
         {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}, 11),
        ("LRN", [(2, 6, 3, 3)], {"size": 3, "alpha": 0.1, "beta": 0.5, "bias": 2.0}, 13),
        ("Einsum", [(2, 3), (3, 4)], {"equation": "ij,jk->ki"}, 12),
        ("Gather", [(4, 5)], {"axis": 1}, 11),
    ],
)  # fmt: skip
def test_versions_and_options_against_onnxruntime(
    operator: str, inputs: list[tuple[int, ...]], attributes: dict[str, Any], opset: int
) -> None:
    """What older files say in another way, and options that the cases above lack."""
    import onnxruntime

    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in inputs]
    if operator == "Gather":
        arrays.append(np.array([[0, -1], [3, 2]], dtype=np.int64))
    names = [f"i{i}" for i in range(len(arrays))]
    n_outputs = 2 if operator == "Split" else 1
    outputs = [f"o{i}" for i in range(n_outputs)]
    node = onnx.helper.make_node(operator, names, outputs, **attributes)
    graph = onnx.helper.make_graph(
        [node], "g",
        [onnx.helper.make_tensor_value_info(
            n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
         for n, a in zip(names, arrays, strict=True)],
        [onnx.helper.make_tensor_value_info(o, 1, None) for o in outputs],
    )  # fmt: skip
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=7
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    expected = session.run(outputs, dict(zip(names, arrays, strict=True)))
    found = _run(_step(node, opset), [torch.from_numpy(a) for a in arrays])
    assert len(found) == len(expected)
    for here, there in zip(found, expected, strict=True):
        assert tuple(here.shape) == np.shape(there)
        np.testing.assert_allclose(here.numpy(), there, rtol=2e-5, atol=2e-6)


def test_gradients_are_those_of_finite_differences() -> None:
    """Through the whole of a network in float64."""
    from onnx_networks import convolutional

    model, _ = convolutional()
    module = GraphModule(model, "y").double()
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.random((1, 2, 8, 8))).requires_grad_()
    assert torch.autograd.gradcheck(module, (x,), eps=1e-6, atol=1e-6)


def test_a_shape_that_asks_for_too_much() -> None:
    for node, args in (
        (onnx.helper.make_node("ConstantOfShape", ["s"], ["y"]), [[1 << 20, 1 << 20]]),
        (onnx.helper.make_node("Expand", ["x", "s"], ["y"]), [[1.0], [1 << 40]]),
        (onnx.helper.make_node("Tile", ["x", "s"], ["y"]), [[1.0], [1 << 40]]),
        (onnx.helper.make_node("Range", ["a", "b", "c"], ["y"]), [0, 1 << 40, 1]),
        (onnx.helper.make_node("Pad", ["x", "p"], ["y"]), [[1.0], [0, 1 << 40]]),
    ):
        with pytest.raises(Unsupported, match="an array of shape"):
            _run(_step(node, 17), [torch.tensor(a) for a in args])
