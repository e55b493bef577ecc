"""Exported classifiers decide in other programs as they did here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robreport import Bundle, ModelSource, Result
from robreport_plugins.linear.onnx_bytes import linear_onnx
from robreport_plugins.loaders.torch_file import TorchLoader
from tests.plugins.linear.conftest import fitted, two_classes


def decisions(result: Result, bundle: Bundle, key: str) -> np.ndarray:
    """Return what the classifier decided here, from its margins."""
    y = bundle.split("test").labels
    return np.where(result.arrays[f"margin.{key}"] > 0, y, 1 - y)


@pytest.mark.parametrize("layout", ["table", "image"])
def test_the_torch_loader_reads_it_as_the_json_says(layout: str, store: Any) -> None:
    bundle = two_classes(layout)
    result = fitted(bundle, store)
    folder = Path(result.artifacts["model.linf.eps-0.1"])
    said = json.loads((folder / "model.json").read_text("utf-8"))
    options = dict(said["load"])
    assert options.pop("loader") == "torch"
    model = TorchLoader().load(
        ModelSource(
            name="robust", path=folder / options.pop("path"), base=folder,
            options=TorchLoader.Options.model_validate(options), trusted=False,
            schema=bundle.schema,
        )
    )  # fmt: skip
    assert np.array_equal(
        model.predict(bundle.split("test").x), decisions(result, bundle, "linf.eps-0.1")
    )
    assert said["classes"] == ["class 0", "class 1"]
    assert said["trained"]["eps"] == "0.1"


@pytest.mark.parametrize("classes", [2, 3])
def test_the_onnx_loader_reads_it_too(classes: int, store: Any) -> None:
    pytest.importorskip("onnxruntime")
    from robreport_plugins.loaders.onnx_model import OnnxLoader

    bundle = two_classes(classes=classes)
    result = fitted(bundle, store, eps=(0.1,), standardise=True)
    test = bundle.split("test")
    for key in ("linf.regular", "linf.eps-0.1"):
        path = Path(result.artifacts[f"model.{key}"]) / "model.onnx"
        model = OnnxLoader().load(
            ModelSource(
                name="robust", path=path, base=path.parent,
                options=OnnxLoader.Options.model_validate({"outputs": "logits"}), trusted=False,
                schema=bundle.schema,
            )
        )  # fmt: skip
        right = result.arrays[f"margin.{key}"] > 0
        assert np.array_equal(model.predict(test.x) == test.labels, right)


def test_onnxruntime_decides_alike(result: Result, table: Bundle) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    for key in ("linf.regular", "linf.eps-0.1", "linf.eps-0.1.optimum"):
        path = Path(result.artifacts[f"model.{key}"]) / "model.onnx"
        onnx.checker.check_model(onnx.load(path), full_check=True)
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        x = table.split("test").x.astype(np.float32)
        (logits,) = session.run(None, {"input": x})
        assert np.array_equal(logits.argmax(axis=1), decisions(result, table, key))


def test_the_bytes_are_those_that_the_library_writes() -> None:
    """Parsed by the library and written again, field by field, they stay the same."""
    onnx = pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 200)).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    raw = linear_onnx(weight, bias, (2, 10, 10), "linear")
    model = onnx.load_from_string(raw)
    assert model.SerializeToString(deterministic=True) == raw
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    assert np.array_equal(tensors["weight"], weight)
    assert np.array_equal(tensors["bias"], bias)
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shape] == ["n", 2, 10, 10]


def test_shapes_that_do_not_fit_are_refused() -> None:
    weight, bias = np.zeros((2, 6), np.float32), np.zeros(2, np.float32)
    with pytest.raises(ValueError, match="do not fit"):
        linear_onnx(weight, bias, (5,), "linear")


def test_nothing_is_exported_where_it_is_not_wanted(store: Any) -> None:
    assert fitted(two_classes(), store, export=False).artifacts == {}
    assert fitted(two_classes()).artifacts == {}


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    from robreport.testing.watch import ArtifactStore

    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        result = fitted(two_classes(), ArtifactStore(tmp_path / name))
        files.append({
            (key, file.name): file.read_bytes()
            for key, folder in result.artifacts.items() for file in Path(folder).iterdir()
        })  # fmt: skip
    assert files[0] == files[1]
    assert len(files[0]) == 9
