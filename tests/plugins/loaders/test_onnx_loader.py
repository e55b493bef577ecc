"""The onnx loader: two runtimes that agree, and what a network's outputs are taken for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx_networks import (
    DOUBLE,
    FLOAT,
    INT64,
    UINT8,
    convolutional,
    linear,
    network,
    node,
    own_answers,
    save,
)

from robreport import DataSchema, Needs, NotOffered
from robreport_plugins.loaders.onnx_model import OnnxLoader
from robreport_plugins.loaders.onnx_operators import OPERATORS

LOADER = OnnxLoader()
Check = Callable[..., str]
WHOLE = (
    Needs.CLASSIFICATION | Needs.PROBABILITIES | Needs.LOGITS | Needs.GRADIENTS | Needs.PARAMETERS
)


@pytest.fixture
def load(load_model: Any, tmp_path: Path) -> Callable[..., Any]:
    """Save a model and load it."""

    def call(model: Any, **options: Any) -> Any:
        return load_model(LOADER, save(model, tmp_path / "net.onnx"), **options)

    return call


def _softmax(z: Any) -> Any:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_both_runtimes_follow_the_reference(batch: int | str, load: Any) -> None:
    """Against ONNX's own implementation in NumPy, one input at a time."""
    model, weights = convolutional(batch=batch)
    handle = load(model, input={"shape": [2, 8, 8]}, batch_size=3)
    x = np.random.default_rng(0).random((7, 2, 8, 8), dtype=np.float32)
    size = batch if isinstance(batch, int) else 1
    expected = np.concatenate(
        [own_answers(model, np.repeat(row[None], size, axis=0))[:1] for row in x]
    )
    np.testing.assert_allclose(handle.logits(x), expected, atol=1e-5)
    np.testing.assert_array_equal(handle.predict(x), expected.argmax(1))
    np.testing.assert_allclose(handle.predict_proba(x), _softmax(expected), atol=1e-5)
    module = handle.torch_module()
    np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), expected, atol=1e-5)
    assert handle.offers == WHOLE
    assert handle.predict(x).dtype == np.int64
    assert handle.logits(x[:0]).shape == (0, 3)
    assert handle.predict(x[:0]).shape == (0,)
    assert ("batch" in handle.facts) == (batch != "n")
    assert handle.facts["gradients"] == "conversion to torch"
    largest = str(handle.facts["onnxruntime and torch differ by at most"])
    assert float(largest.split()[0]) < 1e-5
    # weights and biases of layers are parameters; running statistics and shapes are not
    trained = sum(w.size for n, w in weights.items() if n not in ("bn.m", "bn.v", "shape"))
    assert sum(p.numel() for p in module.parameters()) == trained
    assert f"{trained:,} parameters" in handle.kind
    assert not any(p.requires_grad for p in module.parameters())


def test_gradient_reaches_data_space(load: Any) -> None:
    model, weight, _ = linear()
    handle = load(model, input={"shape": [4], "normalize": [[0.0], [0.25]]})
    x = torch.zeros(2, 4, requires_grad=True)
    handle.torch_module()(x)[:, 1].sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), np.tile(weight[:, 1] * 4, (2, 1)), rtol=1e-6)


def test_torch_module_is_a_copy(load: Any) -> None:
    model, _, _ = linear()
    handle = load(model, input={"shape": [4]})
    x = np.random.default_rng(0).random((3, 4), dtype=np.float32)
    before = handle.torch_module()(torch.from_numpy(x))
    with torch.no_grad():
        for p in handle.torch_module().parameters():
            p.fill_(9.0)
    torch.testing.assert_close(handle.torch_module()(torch.from_numpy(x)), before)


@pytest.mark.parametrize("opset", [9, 13, 17, 21])
@pytest.mark.parametrize("k", [1, 3])
def test_scores_before_the_softmax(k: int, opset: int, load: Any) -> None:
    """Predictions are the file's, logits and gradients those before its softmax or sigmoid."""
    last = "Softmax" if k > 1 else "Sigmoid"
    model, weight, bias = linear(k, last=last, opset=opset)
    handle = load(model, input={"shape": [4]})
    x = np.random.default_rng(0).random((20, 4), dtype=np.float32) * 4 - 2
    z = (x @ weight + bias).astype(np.float64)
    z = z if k > 1 else np.concatenate([np.zeros_like(z), z], axis=1)
    np.testing.assert_allclose(handle.predict_proba(x), _softmax(z), atol=1e-6)
    np.testing.assert_allclose(handle.logits(x), z, atol=1e-5)
    np.testing.assert_array_equal(handle.predict(x), z.argmax(1))
    np.testing.assert_allclose(handle.torch_module()(torch.from_numpy(x)).numpy(), z, atol=1e-5)
    assert handle.offers == WHOLE
    assert handle.n_outputs == max(2, k)
    assert f"scores before its {last}" in str(handle.facts["outputs"])
    # a saturated softmax has no gradient left, the scores before it do
    far = torch.full((1, 4), 1e4, requires_grad=True)
    handle.torch_module()(far)[0, 1].backward()
    assert far.grad is not None
    np.testing.assert_allclose(far.grad[0].numpy(), weight[:, min(1, k - 1)], rtol=1e-5)


def test_probabilities_without_a_softmax_to_see(load: Any) -> None:
    """By their values: positive and summing to one."""
    model, weight, bias = linear(3)
    nodes = [
        node("Exp", ["y"], ["e"]),
        node("ReduceSum", ["e", "axes"], ["s"]),
        node("Div", ["e", "s"], ["p"]),
    ]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "axes"))
    model.graph.output[0].name = "p"
    handle = load(model, input={"shape": [4]})
    x = np.random.default_rng(0).random((20, 4), dtype=np.float32)
    expected = _softmax(x @ weight + bias)
    np.testing.assert_allclose(handle.predict_proba(x), expected, atol=1e-6)
    assert Needs.LOGITS not in handle.offers
    assert Needs.GRADIENTS in handle.offers
    with pytest.raises(NotOffered):
        handle.logits(x)
    scores = handle.torch_module()(torch.from_numpy(x))
    np.testing.assert_allclose(scores.softmax(1).numpy(), expected, atol=1e-5)


def test_probabilities_that_float32_made_negative(load: Any, refused: Check) -> None:
    """1 minus a sum of shares: -1e-6 is a probability of 0, -0.01 is none."""

    def complement(excess: float) -> Any:
        nodes = [
            node("Clip", ["x", "low", "high"], ["q"]),
            node("Sub", ["one", "q"], ["r"]),
            node("Concat", ["r", "q"], ["y"], axis=1),
        ]
        constants = {"low": 0.0, "high": 1.0 + excess, "one": 1.0}
        weights = {k: np.float32(v) for k, v in constants.items()}
        return network(nodes, weights, ["n", 1])

    handle = load(complement(1e-6), input={"shape": [1], "normalize": [[0.0], [0.5]]})
    x = np.array([[0.1], [0.4], [0.9]])
    np.testing.assert_allclose(
        handle.predict_proba(x), [[0.8, 0.2], [0.2, 0.8], [0.0, 1.0]], atol=2e-6
    )
    assert handle.predict_proba(x).min() == 0
    assert handle.torch_module()(torch.tensor([[0.9]])).isfinite().all()
    scores = load(complement(0.01), input={"shape": [1], "normalize": [[0.0], [0.5]]})
    assert Needs.LOGITS in scores.offers
    refused(
        lambda: load(
            complement(0.01),
            input={"shape": [1], "normalize": [[0.0], [0.5]]},
            outputs="probabilities",
        ),
        "range from -0.01",
    )


def test_what_outputs_are_declared_to_be(load: Any, refused: Check) -> None:
    shape = {"shape": [4]}
    soft, _, _ = linear(3, last="Softmax")
    refused(lambda: load(soft, input=shape, outputs="logits"), "ends in a Softmax", "leave")
    plain, weight, bias = linear(3)
    refused(lambda: load(plain, input=shape, outputs="probabilities"), "taken for probabilities")
    refused(lambda: load(plain, input=shape, outputs="value"), "3 columns")
    many, _, _ = linear(3, last="Sigmoid")
    refused(lambda: load(many, input=shape), "Sigmoid of 3 columns")
    x = np.random.default_rng(0).random((5, 4), dtype=np.float32)
    scores = load(many, input=shape, outputs="logits").logits(x)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-(x @ weight + bias))), atol=1e-6)
    clipped, _, _ = linear(1, last="HardSigmoid")
    refused(lambda: load(clipped, input=shape), "between 0 and 1", "'probabilities' or 'logits'")
    single = load(clipped, input=shape, outputs="probabilities")
    assert single.predict_proba(x).shape == (5, 2)


def test_a_single_score_is_a_binary_logit(load: Any) -> None:
    model, weight, bias = linear(1)
    handle = load(model, input={"shape": [4]})
    x = np.random.default_rng(0).random((9, 4), dtype=np.float32) * 4 - 2
    z = (x @ weight + bias)[:, 0]
    np.testing.assert_allclose(handle.logits(x), np.stack([0 * z, z], axis=1), atol=1e-6)
    np.testing.assert_array_equal(handle.predict(x), (z > 0).astype(int))


def test_regression(load: Any, refused: Check) -> None:
    schema = DataSchema(task="regression", input_shape=(4,), layout="table")
    model, weight, bias = linear(1)
    handle = load(model, schema=schema)
    x = np.random.default_rng(0).random((9, 4))
    np.testing.assert_allclose(handle.predict(x), (x @ weight + bias)[:, 0], atol=1e-6)
    assert handle.offers == Needs.REGRESSION | Needs.GRADIENTS | Needs.PARAMETERS
    assert handle.torch_module()(torch.zeros(2, 4)).shape == (2, 1)
    with pytest.raises(NotOffered):
        handle.predict_proba(x)
    classes = DataSchema(
        task="classification", input_shape=(4,), layout="table", classes=("a", "b", "c")
    )
    refused(lambda: load(model, schema=classes), "2 classes", "3")
    refused(lambda: load(model, schema=classes, outputs="value"), "classification audit")


def test_float64_is_kept(load: Any) -> None:
    model, weight, bias = linear(3, kind=DOUBLE)
    handle = load(model, input={"shape": [4]})
    x = np.random.default_rng(0).random((9, 4))
    np.testing.assert_allclose(handle.logits(x), x @ weight + bias, rtol=1e-13)
    module = handle.torch_module()
    np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), x @ weight + bias, rtol=1e-13)
    assert module(torch.zeros(1, 4)).dtype == torch.float32
    assert "float64" in str(handle.facts["network input"])


def test_uint8_images(load: Any, refused: Check) -> None:
    """The network reads whole pixels; attacks still see a gradient through the rounding."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((12, 3)).astype(np.float32) / 255
    nodes = [
        node("Cast", ["x"], ["f"], to=FLOAT),
        node("Flatten", ["f"], ["g"]),
        node("MatMul", ["g", "w"], ["y"]),
    ]
    model = network(nodes, {"w": weight}, ["n", 2, 2, 3], kind=UINT8)
    options = {"input": {"shape": [3, 2, 2], "layout": "NHWC"}}
    handle = load(model, **options)
    pixels = rng.integers(0, 256, (9, 3, 2, 2))
    x = (pixels / 255).astype(np.float32)
    expected = pixels.transpose(0, 2, 3, 1).reshape(9, -1) @ weight
    np.testing.assert_allclose(handle.logits(x), expected, atol=1e-5)
    np.testing.assert_allclose(handle.logits(x + np.float32(0.001)), expected, atol=1e-5)
    given = torch.from_numpy(x + np.float32(0.001)).requires_grad_()
    out = handle.torch_module()(given)
    np.testing.assert_allclose(out.detach().numpy(), expected, atol=1e-5)
    out[:, 0].sum().backward()
    assert given.grad is not None
    want = (weight[:, 0] * 255).reshape(2, 2, 3).transpose(2, 0, 1)
    np.testing.assert_allclose(given.grad[0].numpy(), want, rtol=1e-5)
    assert "rounding" in str(handle.facts["gradients"])
    refused(lambda: handle.predict(x + 1), "outside 0 to 1")
    refused(
        lambda: load(model, input={**options["input"], "normalize": [[0.5], [0.5]]}), "normalize"
    )


def test_shapes_are_fitted_without_mixing_axes(load: Any, refused: Check) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((18, 3)).astype(np.float32)
    x = rng.random((5, 2, 3, 3), dtype=np.float32)
    flat = x.reshape(5, -1) @ weight

    def flattened(*shape: int | str | None) -> Any:
        nodes = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
        return network(nodes, {"w": weight}, shape)

    for shape in ((1, 18, 1), ("n", 18), (1, 1, 18), ("n", 2, 3, 3), ("n", "c", "h", "w"),
                  (None, None), ("n", 18, 1, 1)):  # fmt: skip
        handle = load(flattened(*shape), input={"shape": [2, 3, 3]})
        np.testing.assert_allclose(handle.logits(x), flat, atol=1e-5, err_msg=str(shape))
    unsaid = load(network(
        [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])], {"w": weight}, None
    ), input={"shape": [2, 3, 3]})  # fmt: skip
    np.testing.assert_allclose(unsaid.logits(x), flat, atol=1e-5)
    refused(
        lambda: load(flattened("n", 3, 3, 2), input={"shape": [2, 3, 3]}),
        "[3, 3, 2]", "input.layout = 'NHWC'",
    )  # fmt: skip
    last = load(flattened("n", 3, 3, 2), input={"shape": [2, 3, 3], "layout": "NHWC"})
    np.testing.assert_allclose(
        last.logits(x), x.transpose(0, 2, 3, 1).reshape(5, -1) @ weight, atol=1e-5
    )
    refused(lambda: load(flattened("n", 6, 3), input={"shape": [2, 3, 3]}), "[6, 3]", "[2, 3, 3]")
    refused(lambda: load(flattened("n", 20), input={"shape": [2, 3, 3]}), "[20]")
    refused(lambda: load(flattened(18), input={"shape": [2, 3, 3]}), "without an axis")


def test_a_batch_fixed_inside_only(load: Any) -> None:
    """The file leaves the batch open, and a reshape inside fixes it to one."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 3)).astype(np.float32)
    nodes = [node("Reshape", ["x", "s"], ["r"]), node("MatMul", ["r", "w"], ["y"])]
    model = network(nodes, {"w": weight, "s": np.array([1, 4])}, ["n", 2, 2])
    handle = load(model, input={"shape": [1, 2, 2]})
    x = rng.random((5, 1, 2, 2), dtype=np.float32)
    expected = x.reshape(5, 4) @ weight
    np.testing.assert_allclose(handle.logits(x), expected, atol=1e-6)
    given = torch.from_numpy(x).requires_grad_()
    out = handle.torch_module()(given)
    np.testing.assert_allclose(out.detach().numpy(), expected, atol=1e-6)
    out[:, 2].sum().backward()
    assert given.grad is not None
    np.testing.assert_allclose(given.grad.reshape(5, 4).numpy(), np.tile(weight[:, 2], (5, 1)))
    assert handle.facts["batch"] == "fixed to 1"


def test_inputs_of_one_batch_that_mix(load: Any, refused: Check) -> None:
    nodes = [
        node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        node("Sub", ["x", "m"], ["c"]),
        node("MatMul", ["c", "w"], ["y"]),
    ]
    model = network(nodes, {"w": np.eye(4, 3, dtype=np.float32)}, ["n", 4])
    refused(lambda: load(model, input={"shape": [4]}), "other inputs are in its batch")


def test_where_both_runtimes_part(
    load: Any, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator that is wrong on purpose: the sentence names its node and both values."""
    model, _ = convolutional()
    options: dict[str, Any] = {"input": {"shape": [2, 8, 8]}}
    right = load(model, **options)
    monkeypatch.setitem(OPERATORS, "LeakyRelu", lambda a, x: torch.where(x > 0, x, 0.2 * x))
    said = refused(
        lambda: load(model, **options),
        "onnxruntime and its conversion to torch differ",
        "node 2 (LeakyRelu)",
        "gradients = false",
    )
    assert "for input " in said
    values = said.split("onnxruntime ")[-1].split()
    assert float(values[3]) == pytest.approx(2 * float(values[0]), rel=1e-4)
    handle = load(model, **options, gradients=False)
    assert handle.offers == Needs.CLASSIFICATION | Needs.PROBABILITIES | Needs.LOGITS
    x = np.random.default_rng(0).random((3, 2, 8, 8), dtype=np.float32)
    np.testing.assert_array_equal(handle.logits(x), right.logits(x))
    with pytest.raises(NotOffered):
        handle.torch_module()
    # a difference within the declared tolerance is none
    monkeypatch.setitem(OPERATORS, "LeakyRelu", lambda a, x: torch.where(x > 0, x, 0.1001 * x))
    refused(lambda: load(model, **options, tolerance=1e-6), "node 2 (LeakyRelu)")
    load(model, **options, tolerance=1e-2)


def test_the_declared_data_are_compared_too(
    load_model: Any, tmp_path: Path, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A difference that only the audit's own rows show."""
    from robreport import ModelSource

    model, _, _ = linear(3, last="Relu")
    path = save(model, tmp_path / "net.onnx")
    monkeypatch.setitem(OPERATORS, "Relu", lambda a, x: torch.where(x.abs() > 50, x, torch.relu(x)))
    schema = DataSchema(
        task="classification", input_shape=(4,), layout="table", classes=("a", "b", "c")
    )

    def load(examples: Any) -> Any:
        return LOADER.load(
            ModelSource(name="m", path=path, base=tmp_path, options=LOADER.Options(),
                        schema=schema, examples=examples)
        )  # fmt: skip

    rng = np.random.default_rng(0)
    assert load(None).facts["onnxruntime and torch differ by at most"].endswith("on 6 inputs")
    near = load(rng.random((64, 4)))
    assert near.facts["onnxruntime and torch differ by at most"].endswith("on 70 inputs")
    rows = np.concatenate([rng.random((20, 4)), rng.standard_normal((40, 4)) * 100])
    said = refused(lambda: load(rows), "node 1 (Relu)", "for input ")
    assert int(said.split("for input ")[1].split(";")[0]) >= 20


def test_operators_without_a_conversion(load: Any, refused: Check) -> None:
    model, weight, bias = linear(3)
    model.graph.node.extend([node("CumSum", ["y", "axis"], ["c"]), node("Sub", ["c", "y"], ["q"])])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1), "axis"))
    model.graph.output[0].name = "q"
    handle = load(model, input={"shape": [4]})
    assert handle.offers == Needs.CLASSIFICATION | Needs.PROBABILITIES | Needs.LOGITS
    assert "CumSum" in str(handle.facts["gradients"])
    x = np.random.default_rng(0).random((5, 4), dtype=np.float32)
    y = x @ weight + bias
    np.testing.assert_allclose(handle.logits(x), y.cumsum(1) - y, atol=1e-5)
    refused(lambda: load(model, input={"shape": [4]}, gradients=True), "CumSum", "gradients")


def test_several_outputs(load: Any, refused: Check) -> None:
    model, _, _ = linear(3)
    model.graph.node.append(node("Neg", ["y"], ["minus"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("minus", FLOAT, None))
    x = np.random.default_rng(0).random((5, 4), dtype=np.float32)
    refused(lambda: load(model, input={"shape": [4]}), "'y', 'minus'", "output = 'NAME'")
    one = load(model, input={"shape": [4]}, output="minus")
    np.testing.assert_array_equal(
        one.logits(x), load(model, input={"shape": [4]}, output=1).logits(x)
    )
    np.testing.assert_array_equal(
        -one.logits(x), load(model, input={"shape": [4]}, output=-2).logits(x)
    )
    refused(lambda: load(model, input={"shape": [4]}, output="minsu"), "Did you mean 'minus'?")
    refused(lambda: load(model, input={"shape": [4]}, output=2), "2 outputs")


def _classifier(labels: Any, *, zipmap: bool) -> Any:
    """Return what the common exporter of scikit-learn makes of a logistic regression."""
    rng = np.random.default_rng(0)
    key = "classlabels_strings" if isinstance(labels[0], str) else "classlabels_ints"
    nodes = [
        node("LinearClassifier", ["x"], ["label", "raw"], domain="ai.onnx.ml",
             coefficients=rng.standard_normal(12).tolist(), intercepts=[0.1, 0.0, -0.1],
             post_transform="SOFTMAX", **{key: labels}),
        node("Normalizer", ["raw"], ["p"], domain="ai.onnx.ml", norm="L1"),
    ]  # fmt: skip
    kind = onnx.TensorProto.STRING if isinstance(labels[0], str) else INT64
    outputs = [onnx.helper.make_tensor_value_info("label", kind, [None])]
    if zipmap:
        key = "classlabels_strings" if isinstance(labels[0], str) else "classlabels_int64s"
        nodes.append(node("ZipMap", ["p"], ["probabilities"], domain="ai.onnx.ml", **{key: labels}))
        table = onnx.helper.make_map_type_proto(kind, onnx.helper.make_tensor_type_proto(FLOAT, []))
        outputs.append(
            onnx.helper.make_value_info(
                "probabilities", onnx.helper.make_sequence_type_proto(table)
            )
        )
    else:
        outputs.append(onnx.helper.make_tensor_value_info("p", FLOAT, [None, 3]))
    return network(nodes, {}, [None, 4], outputs, domains={"ai.onnx.ml": 3})


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("labels", [[0, 1, 2], [2, 0, 1], ["c", "a", "b"], [7, 8, 9]])
def test_exported_estimators(labels: Any, zipmap: bool, load: Any, refused: Check) -> None:
    import onnxruntime

    model = _classifier(labels, zipmap=zipmap)
    names = ("a", "b", "c") if isinstance(labels[0], str) else ("0", "1", "2")
    schema = DataSchema(task="classification", input_shape=(4,), layout="table", classes=names)
    if 7 in labels:
        refused(lambda: load(model, schema=schema), "predicts the labels 7, 8, 9")
        return
    handle = load(model, schema=schema)
    x = np.random.default_rng(1).standard_normal((30, 4))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    said, found = session.run(None, {"x": x.astype(np.float32)})
    codes = [names.index(str(label)) for label in said]
    np.testing.assert_array_equal(handle.predict(x), codes)
    if zipmap:
        found = np.array([[row[label] for label in labels] for row in found])
    expected = np.zeros((30, 3))
    for column, label in enumerate(labels):
        expected[:, names.index(str(label))] = found[:, column]
    np.testing.assert_allclose(handle.predict_proba(x), expected, atol=1e-6)
    np.testing.assert_array_equal(handle.predict_proba(x).argmax(1), codes)
    assert handle.offers == Needs.CLASSIFICATION | Needs.PROBABILITIES
    assert "LinearClassifier" in str(handle.facts["gradients"])
    more = DataSchema(
        task="classification", input_shape=(4,), layout="table", classes=(*names, "zzz")
    )
    wide = load(model, schema=more)
    assert wide.n_outputs == 4
    assert (wide.predict_proba(x)[:, 3] == 0).all()


def test_labels_that_the_file_does_not_name(load: Any, refused: Check) -> None:
    model, _, _ = linear(3)

    def labelled(*more: Any) -> Any:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        copy.graph.node.extend([node("ArgMax", ["y"], ["k"], axis=1, keepdims=0), *more])
        name = more[-1].output[0] if more else "k"
        copy.graph.output.append(onnx.helper.make_tensor_value_info(name, INT64, None))
        return copy

    handle = load(labelled(), input={"shape": [4]})
    assert handle.offers == WHOLE
    shifted = labelled(node("Add", ["k", "k"], ["label"]))
    refused(lambda: load(shifted, input={"shape": [4]}), "'label'", "does not name")


def test_weights_outside(load_model: Any, tmp_path: Path, refused: Check) -> None:
    model, weight, bias = linear(3)
    folder = tmp_path / "models"
    folder.mkdir()
    path = folder / "net.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="net.data", size_threshold=0)

    def load(**options: Any) -> Any:
        return load_model(LOADER, path, input={"shape": [4]}, **options)

    refused(load, "'net.data'", "external_data = ")
    handle = load(external_data="models/net.data")
    x = np.random.default_rng(0).random((5, 4), dtype=np.float32)
    np.testing.assert_allclose(handle.logits(x), x @ weight + bias, atol=1e-6)
    assert handle.facts["external data"] == "net.data"
    (tmp_path / "other.data").write_bytes(bytes(60))
    refused(lambda: load(external_data="other.data"), "names another file")
    data = (folder / "net.data").read_bytes()
    (folder / "net.data").write_bytes(data[:-8])
    refused(lambda: load(external_data="models/net.data"), "claims more bytes")
    (folder / "net.data").unlink()
    refused(lambda: load(external_data="models/net.data"), "no such file")
    (tmp_path / "secret").write_bytes(data)
    (folder / "net.data").symlink_to(tmp_path / "secret")
    refused(lambda: load(external_data="models/net.data"), "link out of its folder")
    inside = save(linear(3)[0], folder / "whole.onnx")
    refused(
        lambda: load_model(LOADER, inside, input={"shape": [4]}, external_data="models/net.data"),
        "leave external_data out",
    )


def test_functions_of_the_file(load: Any) -> None:
    model, weight, bias = linear(3)
    model.graph.node.append(node("Twice", ["y"], ["z"], domain="own"))
    model.graph.output[0].name = "z"
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    model.functions.append(
        onnx.helper.make_function(
            "own",
            "Twice",
            ["a"],
            ["b"],
            [node("Add", ["a", "a"], ["b"])],
            [onnx.helper.make_opsetid("", 17)],
        )
    )
    handle = load(model, input={"shape": [4]})
    x = np.random.default_rng(0).random((5, 4), dtype=np.float32)
    np.testing.assert_allclose(handle.logits(x), 2 * (x @ weight + bias), atol=1e-5)
    assert handle.offers == WHOLE


def test_options_are_refused_early() -> None:
    for bad in (
        {"tolerance": 0}, {"tolerance": 0.5}, {"gradients": "yes"}, {"gradients": 1},
        {"output": 1.5}, {"output": True}, {"outputs": "scores"}, {"external_data": ""},
        {"batch_size": 0}, {"architecture": "a:b"},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(bad))):
            LOADER.Options(**bad)
