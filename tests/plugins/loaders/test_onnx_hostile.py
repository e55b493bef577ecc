"""Damaged, hostile and mistaken ONNX files: one sentence each, and nothing is run or allocated."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_networks import FLOAT, convolutional, linear, network, node, save

from robreport import ModelError, ModelSource
from robreport_plugins.loaders.memory_bound import memory_bound
from robreport_plugins.loaders.onnx_model import OnnxLoader

LOADER = OnnxLoader()
Check = Callable[..., str]


@pytest.fixture
def load(load_model: Any, tmp_path: Path) -> Callable[..., Any]:
    def call(found: Any, **options: Any) -> Any:
        path = tmp_path / "net.onnx"
        path.write_bytes(found if isinstance(found, bytes) else found.SerializeToString())
        return load_model(LOADER, path, input={"shape": [4]}, **options)

    return call


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"\x00" * 4096, "no ONNX"),
        (np.random.default_rng(0).bytes(4096), "no ONNX"),
        (b"PK\x03\x04" + b"\x00" * 100, "zip archive"),
        (b"\x89HDF\r\n\x1a\n" + b"\x00" * 100, "HDF5"),
        (b"\x80\x04\x95" + b"\x00" * 100, "pickle"),
        (b"\x1f\x8b\x08" + b"\x00" * 100, "gzip"),
        (b"MATLAB 5.0 MAT-file" + b" " * 200, "MATLAB"),
        (b"{\"a\": 1}", "no ONNX"),
        (b"x,y\n1,2\n", "no ONNX"),
    ],
)  # fmt: skip
def test_other_files(content: bytes, word: str, load: Any, refused: Check) -> None:
    refused(lambda: load(content), word)


def test_no_file_and_no_path(load_model: Any, tmp_path: Path, refused: Check) -> None:
    refused(lambda: load_model(LOADER, None), "needs a path")
    refused(lambda: load_model(LOADER, tmp_path, input={"shape": [4]}), "is a folder")
    refused(lambda: load_model(LOADER, tmp_path / "no.onnx", input={"shape": [4]}), "no such file")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_truncated(kept: float, load: Any, refused: Check) -> None:
    content = convolutional()[0].SerializeToString()
    refused(lambda: load(content[: int(len(content) * kept)]))


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=8))
def test_flipped_bytes_end_in_a_sentence_or_a_network(
    tmp_path: Path, place: int, new: bytes
) -> None:
    content = bytearray(linear(3, last="Softmax")[0].SerializeToString())
    place %= len(content)
    content[place : place + len(new)] = new
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    options = LOADER.Options(input={"shape": [4]})
    said = ""
    try:
        handle = LOADER.load(ModelSource(name="m", path=path, base=tmp_path, options=options))
        assert handle.predict(np.zeros((2, 4))).shape == (2,)
    except ModelError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 700
    assert not said or said.endswith((".", "?"))


def test_unknown_operators(load: Any, refused: Check) -> None:
    model, _, _ = linear()
    model.graph.node[0].op_type = "GemmX"
    refused(lambda: load(model), "unknown operator 'GemmX'")
    model.graph.node[0].domain = "my.ops"
    refused(lambda: load(model), "'GemmX' of 'my.ops'", "library of operators")
    hidden = network([node("Identity", ["x"], ["y"])], {"c": np.array(True)}, ["n", 4])
    body = onnx.helper.make_graph(
        [node("Evil", ["x"], ["q"])], "then", [],
        [onnx.helper.make_tensor_value_info("q", FLOAT, None)],
    )  # fmt: skip
    hidden.graph.node.append(node("If", ["c"], ["z"], then_branch=body, else_branch=body))
    refused(lambda: load(hidden), "unknown operator 'Evil'")
    model.graph.node[0].op_type, model.graph.node[0].domain = "Gemm", ""
    model.opset_import[0].version = 999
    refused(lambda: load(model), "version 999")


def test_loops_are_refused(load: Any, refused: Check) -> None:
    body = onnx.helper.make_graph(
        [node("Identity", ["c"], ["c2"]), node("Identity", ["v"], ["v2"])],
        "body",
        [
            onnx.helper.make_tensor_value_info("i", onnx.TensorProto.INT64, []),
            onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, []),
            onnx.helper.make_tensor_value_info("v", FLOAT, None),
        ],
        [
            onnx.helper.make_tensor_value_info("c2", onnx.TensorProto.BOOL, []),
            onnx.helper.make_tensor_value_info("v2", FLOAT, None),
        ],
    )
    model = network(
        [node("Loop", ["", "go", "x"], ["y"], body=body)], {"go": np.array(True)}, ["n", 4]
    )
    refused(lambda: load(model), "Loop", "never end")


def test_cycles(load: Any, refused: Check) -> None:
    model = network(
        [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Neg", ["b"], ["y"])],
        {}, ["n", 4],
    )  # fmt: skip
    refused(lambda: load(model), "rules of ONNX")


@pytest.mark.parametrize(
    "place", ["../x", "/etc/hostname", "a/../../x", "..\\x", "sub/../../secret", ""]
)
def test_weights_out_of_the_folder(place: str, load: Any, refused: Check, tmp_path: Path) -> None:
    model, _, _ = linear()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    (tmp_path.parent / "x").write_bytes(bytes(48))
    refused(lambda: load(model), "not inside its folder")
    refused(lambda: load(model, external_data="../x"), "not inside its folder")


@pytest.mark.parametrize(
    ("key", "value"),
    [("length", "-1"), ("offset", "99999999999999999999"), ("length", "1e9"), ("offset", "4096")],
)
def test_places_in_a_file_of_weights(
    key: str, value: str, load: Any, refused: Check, tmp_path: Path
) -> None:
    model, _, _ = linear()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.data")
    tensor.external_data.add(key=key, value=value)
    (tmp_path / "w.data").write_bytes(bytes(48))
    refused(lambda: load(model, external_data="w.data"))


@pytest.mark.parametrize("dims", [[1 << 40, 4], [1 << 62, 1 << 62], [-4, 3], [400, 3], [0]])
def test_weights_that_claim_more_than_they_are(dims: list[int], load: Any, refused: Check) -> None:
    model, _, _ = linear()
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend(dims)
    refused(lambda: load(model))
    del model.graph.initializer[0].float_data[:]
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].float_data.extend([1.0] * 12)
    refused(lambda: load(model))


@pytest.mark.parametrize("maker", ["ConstantOfShape", "Expand", "Tile"])
@pytest.mark.parametrize("computed", [False, True])
def test_arrays_on_the_way_that_are_too_large(
    maker: str, computed: bool, load: Any, refused: Check
) -> None:
    """Of a size that the file says, or that it only computes: 4 TiB either way."""
    inputs = {"ConstantOfShape": ["s"], "Expand": ["one", "s"], "Tile": ["one", "s"]}[maker]
    nodes = [
        node("Mul", ["h", "h"], ["s"]),
        node(maker, inputs, ["c"]),
        node("ReduceMax", ["c"], ["f"], keepdims=0),
        node("Mul", ["x", "f"], ["y"]),
    ]
    weights = {"h": np.array([1 << 20], dtype=np.int64), "one": np.ones(1, dtype=np.float32)}
    if not computed:
        nodes, weights["s"] = nodes[1:], np.array([1 << 40], dtype=np.int64)
    refused(lambda: load(network(nodes, weights, ["n", 4])))


def test_an_input_that_is_too_large(load: Any, refused: Check) -> None:
    refused(lambda: load(linear(shape=("n", 1 << 40))[0]))


def test_the_bound_on_memory_is_lifted_again() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with memory_bound(1 << 30):
        with pytest.raises(MemoryError):
            np.ones(1 << 28)
        assert np.ones(1 << 20).sum() == 1 << 20
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_functions_without_end(load: Any, refused: Check) -> None:
    def nested(depth: int, width: int, *, round_about: bool = False) -> Any:
        model, _, _ = linear()
        model.graph.node.append(node("F0", ["y"], ["z"], domain="own"))
        model.graph.output[0].name = "z"
        model.opset_import.append(onnx.helper.make_opsetid("own", 1))
        imports = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("own", 1)]
        for i in range(depth):
            last = i == depth - 1
            name = ("F0" if round_about else "Relu") if last else f"F{i + 1}"
            domain = "" if last and not round_about else "own"
            steps = ["a", *(f"t{j}" for j in range(width - 1)), "b"]
            body = [node(name, [steps[j]], [steps[j + 1]], domain=domain) for j in range(width)]
            model.functions.append(
                onnx.helper.make_function("own", f"F{i}", ["a"], ["b"], body, imports)
            )
        return model

    load(nested(2, 2))
    refused(lambda: load(nested(30, 10)), "functions unfold")
    refused(lambda: load(nested(3, 1, round_about=True)), "own::F0")


def test_inputs_that_do_not_fit(load: Any, refused: Check, load_model: Any, tmp_path: Path) -> None:
    model, _, _ = linear(d=5, shape=("n", 5))
    refused(lambda: load(model), "[5]", "[4]")
    inner = network(
        [node("MatMul", ["x", "w"], ["y"])], {"w": np.ones((9, 3), np.float32)}, ["n", "d"]
    )
    refused(lambda: load(inner), "onnxruntime")
    two, _, _ = linear()
    two.graph.input.append(onnx.helper.make_tensor_value_info("other", FLOAT, ["n", 2]))
    refused(lambda: load(two), "takes 2 inputs ('x', 'other')")
    words = network([node("Identity", ["x"], ["y"])], {}, ["n", 4], kind=onnx.TensorProto.STRING)
    refused(lambda: load(words), "string")
    whole = network([node("Identity", ["x"], ["y"])], {}, ["n", 4], kind=onnx.TensorProto.INT64)
    refused(lambda: load(whole), "int64")
    path = save(linear()[0], tmp_path / "n.onnx")
    refused(lambda: load_model(LOADER, path), "input.shape is not declared")


def test_outputs_that_are_no_scores(load: Any, refused: Check) -> None:
    square = network(
        [node("Unsqueeze", ["x", "a"], ["u"]), node("Concat", ["u", "u"], ["y"], axis=1)],
        {"a": np.array([1])}, ["n", 4],
    )  # fmt: skip
    refused(lambda: load(square), "one score per class")
    total = network([node("ReduceSum", ["x"], ["y"], keepdims=0)], {}, ["n", 4])
    refused(lambda: load(total), "one row each")
    nan = network([node("Div", ["x", "x"], ["d"]), node("Log", ["d"], ["e"]),
                   node("Div", ["e", "e"], ["y"])], {}, ["n", 4])  # fmt: skip
    refused(lambda: load(nan), "NaN")
    words = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.STRING, None)
    cast = node("Cast", ["x"], ["y"], to=onnx.TensorProto.STRING)
    text = network([cast], {}, ["n", 4], [words])
    refused(lambda: load(text), "output")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_packages(
    missing: str, load: Any, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _, _ = linear()
    content = model.SerializeToString()
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    refused(lambda: load(content), missing, "pip install robreport[onnx]")
