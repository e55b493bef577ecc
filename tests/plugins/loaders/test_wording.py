"""What other libraries say is kept to one clause that holds its reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_networks import linear, network, node, save

from robreport_plugins.loaders.onnx_model import OnnxLoader
from robreport_plugins.loaders.wording import one_line, shortened, without_places

Check = Callable[..., str]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("/src/core/graph/model.cc:256 ns::Model::Model(onnx::Proto&&, const ns::P&) Too new: 14",
         "Too new: 14"),
        ("in Reshape. /a/b/helper.h:91 ns::Helper::Helper(const ns::S&, ns::V&, bool) sizes differ",
         "in Reshape. sizes differ"),
        ("x.h:46 void ns::Check(const std::unordered_map<std::__cxx11::basic_string<char>, int>&)"
         " Opset 28", "Opset 28"),
        ("a.cc:3 int ns::A::f(std::function<void(int)>) const Bad thing (of 3)",
         "Bad thing (of 3)"),
        ("concatbase.h:133 PrepareForComputeImpl Axes must match", "Axes must match"),
        ("[08:31:20] /workspace/include/xgboost/json.h:88: Invalid cast, from Object to String",
         "Invalid cast, from Object to String"),
        ("Check failed at a.cc:1: b.cc:22: no more", "Check failed at no more"),
        ("Dimensions at std::max(a, b) differ", "Dimensions at std::max(a, b) differ"),
        ("a.cc:7 ns::f(int", "ns::f(int"),
    ],
)  # fmt: skip
def test_places_in_a_librarys_source_are_left_out(message: str, reason: str) -> None:
    assert without_places(message) == reason
    assert one_line(ValueError(message + "\n more lines")) == f"ValueError: {reason}"


@settings(max_examples=40)
@given(st.text(max_size=400), st.integers(20, 300))
def test_any_text_is_shortened_at_its_middle(text: str, most: int) -> None:
    assert "\n" not in one_line(ValueError(text))
    short = shortened(text, most)
    assert len(short) <= most or short == text
    assert short[:8] == text[:8] or not text[:8].strip() or len(text) > most
    if len(text) > most:
        assert short.endswith(text[-5:].strip())


def test_a_line_that_announces_the_reason_is_not_the_reason() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.nn.Linear(3, 2).load_state_dict({})
    said = one_line(caught.value)
    assert "Missing key" in said
    assert "weight" in said
    assert one_line(ValueError("")) == "ValueError"
    assert one_line(ValueError("a:\nb:\nc:\nd")) == "ValueError: a: b: c:"


@pytest.fixture
def load(load_model: Any, tmp_path: Path) -> Callable[..., Any]:
    def call(model: Any) -> Any:
        return load_model(OnnxLoader(), save(model, tmp_path / "n.onnx"), input={"shape": [4]})

    return call


def test_networks_of_a_version_that_is_too_new(load: Any, refused: Check) -> None:
    model, _, _ = linear()
    model.ir_version = onnx.IR_VERSION + 1
    refused(
        lambda: load(model), f"is of version {onnx.IR_VERSION + 1} of ONNX's file format",
        f"reads those up to {onnx.IR_VERSION}", "update onnx",
    )  # fmt: skip
    newest = onnx.defs.onnx_opset_version()
    for change, thing in (
        (lambda m: setattr(m, "ir_version", onnx.IR_VERSION), "ONNX's file format"),
        (lambda m: setattr(m.opset_import[0], "version", newest), "the operator set"),
    ):
        model, _, _ = linear()
        change(model)
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own kinds have no common root
            # the runtime's own words say which versions it knows
            most = re.findall(r"(?:version: |till opset )(\d+)", str(error))[-1]
            said = refused(partial(load, model), f"of {thing}", f"up to {most};", "export it for")
            assert ".cc" not in said
            assert "::" not in said


@pytest.mark.parametrize(
    ("nodes", "weights", "reason"),
    [
        ([node("Reshape", ["x", "s"], ["y"])], {"s": np.array([3, 3])},
         "Input shape:{1,4}, requested shape:{3,3}"),
        ([node("Gather", ["x", "s"], ["y"], axis=1)], {"s": np.array([77])}, "idx=77"),
        ([node("MatMul", ["x", "s"], ["y"])], {"s": np.ones((5, 2), np.float32)}, "imension"),
        ([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Neg", ["b"], ["y"])],
         {}, "input 'b' of node: name: OpType: Add is not output of any previous nodes"),
        ([node("Relu", ["x"], ["y"], name="act", bogus=3)], {},
         "bogus for operator Relu, at 'act'"),
        ([node("Gemm", ["x", "s"], ["y"], domain="com.microsoft", name="odd")],
         {"s": np.ones((4, 2), np.float32)}, "not a registered function"),
    ],
)  # fmt: skip
def test_the_runtimes_reason_is_not_cut_off(
    nodes: Any, weights: Any, reason: str, load: Any, refused: Check
) -> None:
    domains = {"com.microsoft": 1} if nodes[0].domain else None
    said = refused(lambda: load(network(nodes, weights, ["n", 4], domains=domains)), reason)
    assert re.search(r"\.(cc|h):\d", said) is None
    assert re.search(r"; (check|export|save|update) ", said)
