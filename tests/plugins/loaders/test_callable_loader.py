"""The callable loader: a function beside the audit file, checked at every call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.datasets import load_iris

from robreport import DataSchema, ModelError, ModelHandle, Needs, NotOffered
from robreport_plugins.loaders.answer_form import answer_form, found_out
from robreport_plugins.loaders.black_box_options import BlackBoxOptions
from robreport_plugins.loaders.data_space import InputSpace
from robreport_plugins.loaders.function_file import CallableLoader
from robreport_plugins.loaders.input_form import InputForm
from robreport_plugins.loaders.input_options import InputOptions

LOADER = CallableLoader()
X = load_iris().data
NAMES = ("setosa", "versicolor", "virginica")
COLUMNS = ("sl", "sw", "pl", "pw")
SCHEMA = DataSchema(
    task="classification", input_shape=(4,), layout="table", classes=NAMES, features=COLUMNS
)
REGRESSION = DataSchema(task="regression", input_shape=(4,), layout="table", features=COLUMNS)
IMAGES = DataSchema(task="classification", input_shape=(1, 2, 2), layout="image", classes=NAMES)
WEIGHT = np.array([[1.0, 0.5, -0.5], [0.2, 0.0, 0.1], [-1.0, 0.0, 1.0], [0.0, -0.3, 0.8]])
SCORES = X @ WEIGHT
PROBABILITIES = np.exp(SCORES) / np.exp(SCORES).sum(axis=1, keepdims=True)

SOURCE = f"""
import numpy as np
W = np.array({WEIGHT.tolist()})
NAMES = {NAMES!r}

def logits(x):
    return x @ W

def probabilities(x):
    raised = np.exp(x @ W)
    return raised / raised.sum(axis=1, keepdims=True)

def reordered(x):
    return probabilities(x)[:, [2, 0, 1]]

def codes(x):
    return (x @ W).argmax(axis=1)

def names(x):
    return [NAMES[i] for i in codes(x)]

def values(x):
    return x.sum(axis=1)

def column(x):
    return x.sum(axis=1, keepdims=True)

def first(x):
    return 1 / (1 + np.exp(-x[:, :1]))
"""


@pytest.fixture
def load(tmp_path: Path, load_model: Any) -> Callable[..., ModelHandle]:
    """``load(source, function, **options)``: a handle tried on the first rows of the data."""

    def make(function: str, source: str = SOURCE, **options: Any) -> ModelHandle:
        (tmp_path / "box.py").write_text(source, encoding="utf-8")
        given = {"schema": SCHEMA, "examples": X[:64], **options}
        handle: ModelHandle = load_model(LOADER, None, callable=f"box:{function}", **given)
        return handle

    return make


def one(body: str) -> str:
    """Return a module whose function f has this body."""
    lines = "\n    ".join(body.splitlines())
    return f"import numpy as np\nN = []\ndef f(x):\n    {lines}\n"


@pytest.mark.parametrize("batch", [1, 7, 150, 256])
def test_probabilities(load: Any, batch: int) -> None:
    handle = load("probabilities", batch=batch)
    assert handle.offers == Needs.CLASSIFICATION | Needs.PROBABILITIES
    np.testing.assert_allclose(handle.predict_proba(X), PROBABILITIES, rtol=1e-12)
    np.testing.assert_array_equal(handle.predict(X), SCORES.argmax(axis=1))
    assert handle.predict(X).dtype == np.int64
    assert handle.predict_proba(X[:0]).shape == (0, 3)
    assert handle.predict(X[:0]).shape == (0,)
    assert handle.facts["returns"] == "probabilities"
    assert handle.facts["same answer twice"] == "yes"
    assert handle.facts["function"].startswith("box:probabilities (box.py, SHA-256 ")
    assert handle.kind == "Python function box:probabilities (black box)"
    for method in (handle.logits, handle.torch_module):
        with pytest.raises(NotOffered):
            method(*([X] if method == handle.logits else []))


def test_logits_are_declared_and_have_probabilities(load: Any) -> None:
    handle = load("logits", returns="logits")
    assert handle.offers == Needs.CLASSIFICATION | Needs.PROBABILITIES | Needs.LOGITS
    np.testing.assert_allclose(handle.logits(X), SCORES, rtol=1e-12)
    np.testing.assert_allclose(handle.predict_proba(X), PROBABILITIES, rtol=1e-12)
    assert handle.predict_proba(X[:0]).shape == (0, 3)


@pytest.mark.parametrize("function", ["codes", "names"])
def test_labels(load: Any, function: str) -> None:
    handle = load(function)
    assert handle.offers == Needs.CLASSIFICATION
    assert handle.n_outputs == 3
    np.testing.assert_array_equal(handle.predict(X), SCORES.argmax(axis=1))
    with pytest.raises(NotOffered):
        handle.predict_proba(X)


@pytest.mark.parametrize("function", ["values", "column"])
def test_values(load: Any, function: str) -> None:
    handle = load(function, schema=REGRESSION)
    assert handle.offers == Needs.REGRESSION
    np.testing.assert_allclose(handle.predict(X), X.sum(axis=1), rtol=1e-12)
    assert handle.n_outputs == 1


def test_its_own_order_of_classes(load: Any) -> None:
    order = ("virginica", "setosa", "versicolor")
    handle = load("reordered", classes=order)
    np.testing.assert_allclose(handle.predict_proba(X), PROBABILITIES, rtol=1e-12)
    # Codes are then positions in the declared order.
    handle = load("f", one(f"import box\nreturn {SCORES.argmax(1).tolist()}[:len(x)]").replace(
        "import box\n", ""), classes=order)  # fmt: skip
    expected = np.array([NAMES.index(order[i]) for i in SCORES.argmax(axis=1)])
    np.testing.assert_array_equal(handle.predict(X[:150]), expected[:150])


def test_a_model_that_lacks_a_class_gives_it_probability_zero(load: Any) -> None:
    handle = load("first", classes=("versicolor", "setosa"), returns="probabilities")
    p = 1 / (1 + np.exp(-X[:, 0]))
    np.testing.assert_allclose(
        handle.predict_proba(X), np.stack([p, 1 - p, 0 * p], axis=1), atol=1e-12
    )


def test_one_number_is_the_second_of_two_classes(load: Any) -> None:
    schema = DataSchema(
        task="classification", input_shape=(4,), layout="table", classes=("no", "yes")
    )
    p = 1 / (1 + np.exp(-X[:, 0]))
    handle = load("first", schema=schema, returns="probabilities")
    np.testing.assert_allclose(handle.predict_proba(X)[:, 1], p, rtol=1e-12)
    handle = load("f", one("return x[:, 0]"), schema=schema, returns="logits")
    np.testing.assert_allclose(handle.predict_proba(X)[:, 1], p, rtol=1e-12)


@pytest.mark.parametrize(
    "declared",
    [
        InputOptions(),
        InputOptions(pad=(1, 2, 3, 4)),
        InputOptions(normalize=((0.1307,), (0.3081,))),
        InputOptions(normalize=((0.1, 0.2, 0.3), (0.3, 0.2, 0.7)), layout="NHWC", pad=2),
    ],
)
def test_inputs_are_transformed_as_for_a_network(declared: InputOptions) -> None:
    """The same bits as the torch loader's transformation, which is another implementation."""
    x = np.random.default_rng(0).random((5, 3, 6, 7), dtype=np.float32)
    form = InputForm(where="m", shape=(3, 6, 7), input=declared, dtype="float32")
    expected = InputSpace(declared, (3, 6, 7))(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(form.array(x), expected)
    assert form.array(x).flags.c_contiguous
    flat = InputForm(where="m", shape=(3, 6, 7), input=declared, dtype="float32", flatten=True)
    np.testing.assert_array_equal(flat.array(x), expected.reshape(5, -1))


def test_bytes(load: Any, refused: Any) -> None:
    source = one("assert x.dtype == np.uint8\nreturn np.eye(3)[(x[:, 0, 0, 0] // 100)]")
    handle = load("f", source, schema=IMAGES, examples=np.zeros((2, 1, 2, 2)), dtype="uint8")
    x = np.zeros((3, 1, 2, 2))
    x[1:, 0, 0, 0] = 100 / 255, 1.0
    np.testing.assert_array_equal(handle.predict(x), [0, 1, 2])
    refused(lambda: handle.predict(x * 255), "uint8", "255")


def test_the_function_gets_a_copy(load: Any) -> None:
    handle = load("f", one("x[:] = 7.0\nreturn np.tile([1.0, 0.0, 0.0], (len(x), 1))"))
    before = X.copy()
    handle.predict(X)
    np.testing.assert_array_equal(X, before)


def test_frame_with_categories(load: Any, refused: Any) -> None:
    schema = DataSchema(
        task="classification", input_shape=(3,), layout="table", classes=("no", "yes"),
        features=("age", "sex", "town"),
        categories={"sex": ("female", "male"), "town": ("A", "B", "C")},
    )  # fmt: skip
    source = one(
        "assert list(x.columns) == ['age', 'sex', 'town'] and x['age'].dtype == float\n"
        "assert set(x['town'].dropna()) <= {'A', 'B', 'C'}, set(x['town'])\n"
        "return ['yes' if s == 'male' and not t == 'C' else 'no'\n"
        "        for s, t in zip(x['sex'], x['town'])]"
    )
    x = np.array([[30, 1, 0], [40.5, 0, 1], [50, 1, 2], [60, 1, np.nan]], dtype=np.float64)
    handle = load("f", source, schema=schema, examples=x, frame=True)
    np.testing.assert_array_equal(handle.predict(x), [1, 0, 0, 1])
    assert handle.facts["input transformation"] == "a data frame"
    for bad in (0.5, 3.0, -1.0, np.inf):
        moved = x.copy()
        moved[0, 2] = bad
        refused(lambda moved=moved: handle.predict(moved), "'town'", "frame = true")
    unnamed = DataSchema(
        task="classification", input_shape=(3,), layout="table", classes=("n", "y")
    )
    refused(lambda: load("f", source, schema=unnamed, examples=x, frame=True), "column names")
    refused(lambda: load("f", source, schema=IMAGES, examples=None, frame=True), "none")


def test_the_declared_file_is_handed_over(tmp_path: Path, load_model: Any) -> None:
    (tmp_path / "box.py").write_text(
        "import json\ndef f(x, path, scale):\n"
        "    w = json.loads(path.read_text())\n    return (x * scale) @ w\n"
    )
    (tmp_path / "w.json").write_text("[1.0, 2.0, 3.0, 4.0]")
    handle = load_model(
        LOADER, tmp_path / "w.json", schema=REGRESSION, examples=X[:4],
        callable="box:f", arguments={"scale": 2},
    )  # fmt: skip
    np.testing.assert_allclose(handle.predict(X), 2 * X @ [1, 2, 3, 4], rtol=1e-12)


def test_without_data_nothing_is_called(load: Any, refused: Any) -> None:
    source = one("raise RuntimeError('called')")
    handle = load("f", source, examples=None, returns="probabilities")
    assert handle.n_outputs == 3
    refused(lambda: load("f", source, examples=None), "returns =")
    refused(lambda: load("f", source, examples=None, schema=None, returns="labels"), "classes")
    assert load("f", source, examples=None, schema=None, returns="values").offers == (
        Needs.REGRESSION
    )


def test_a_random_function_says_so(load: Any) -> None:
    source = one("N.append(0)\nreturn [[0.5, 0.3 + len(N) / 1e3, 0.2 - len(N) / 1e3]] * len(x)")
    handle = load("f", source)
    assert handle.facts["same answer twice"].startswith("no")
    assert not handle.repeatable
    source = one("N.append(0)\nreturn [[0.5, 0.3 + len(N) / 1e9, 0.2 - len(N) / 1e9]] * len(x)")
    assert load("f", source).facts["same answer twice"] == "up to rounding"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return None", ["nothing"]),
        ("return 'setosa'", ["single str"]),
        ("return 1.0", ["shape ()"]),
        ("return np.ones((len(x) + 1, 3)) / 3", ["(5, 3) for 4 inputs"]),
        ("return np.ones((len(x), 2)) / 2", ["2 scores", "3 classes"]),
        ("return np.ones((len(x), 3, 1)) / 3", ["shape (4, 3, 1)"]),
        ("return np.ones((len(x), 0))", ["empty rows"]),
        ("return np.full((len(x), 3), np.nan)", ["several ways", "returns ="]),
        ("return np.tile([0.2, 0.3, 0.1], (len(x), 1))", ["several ways", "returns ="]),
        ("return x @ np.eye(4)[:, :3]", ["several ways", "logits"]),
        ("return x[:, 0]", ["one number per input", "several ways"]),
        ("return [[0.5, 0.5, 0.0]] * (len(x) - 1) + [[1.0]]", ["unequal length"]),
        ("return np.full((len(x), 3), 1j)", ["complex128"]),
        ("return [object()] * len(x)", ["object", "each must be a number"]),
        ("return [[0.5, None, 0.5]] * len(x)", ["nulls"]),
        ("return ['setoza'] * len(x)", ["'setoza'", "Did you mean 'setosa'"]),
        ("return [3] * len(x)", ["class 3", "0 to 2"]),
        ("return [-1] * len(x)", ["class -1"]),
        ("return (row for row in x)", ["generator"]),
        ("return 1 / 0", ["ZeroDivisionError", "box.py, line 4", "4 inputs of shape (4,)"]),
        ("raise SystemExit(3)", ["SystemExit", "line 4"]),
        ("return np.linalg.inv(x[:, :2])", ["LinAlgError", "line 4"]),
        ("def g():\n    raise KeyError('w')\nreturn g()", ["KeyError: 'w'", "line 5"]),
        ("return {'a': 1}", ["single dict"]),
        ("return [{'a': 1}] * len(x)", ["keys a", "classes are setosa"]),
    ],
)
def test_answers_that_are_no_predictions(
    load: Any, refused: Any, body: str, words: list[str]
) -> None:
    refused(lambda: load("f", one(body)), *words)


@pytest.mark.parametrize(
    ("returns", "body", "words"),
    [
        ("probabilities", "return np.full((len(x), 3), np.nan)", ["NaN or infinite", "4 of 4"]),
        ("probabilities", "return np.full((len(x), 3), 0.4)", ["no probabilities", "0.2"]),
        ("probabilities", "return np.tile([1.5, -0.5, 0], (len(x), 1))", ["no probabilities"]),
        ("probabilities", "return ['setosa'] * len(x)", ["'setosa'", "returns = 'labels'"]),
        ("logits", "return np.full((len(x), 3), np.inf)", ["NaN or infinite"]),
        ("labels", "return np.ones((len(x), 3)) / 3", ["3 numbers", "one label"]),
        ("labels", "return np.full(len(x), 0.5)", ["label 0.5", "no class index"]),
        ("labels", "return np.full(len(x), np.nan)", ["NaN"]),
        ("values", "return x[:, 0]", ["does not suit a classification audit"]),
    ],
)
def test_answers_other_than_declared(
    load: Any, refused: Any, returns: str, body: str, words: list[str]
) -> None:
    refused(lambda: load("f", one(body), returns=returns), *words)


def test_a_fault_after_loading(load: Any, refused: Any) -> None:
    """Every call is checked, not only the first."""
    source = one("y = np.ones((len(x), 3)) / 3\ny[x[:, 0] > 7] = np.nan\nreturn y")
    handle = load("f", source)
    assert handle.predict(X[:4]).tolist() == [0] * 4
    count = int((X[:, 0] > 7).sum())
    refused(lambda: handle.predict(X), f"{count} of 150")
    refused(lambda: handle.predict(X[:, :3]), "shape (4,)", "(3,)")


def test_numbers_that_may_be_names(load: Any, refused: Any) -> None:
    schema = DataSchema(
        task="classification", input_shape=(4,), layout="table", classes=("2", "1", "0")
    )
    source = one("return [0] * len(x)")
    refused(lambda: load("f", source, schema=schema), "name or the index", "labels =")
    assert load("f", source, schema=schema, labels="names").predict(X[:1]).tolist() == [2]
    assert load("f", source, schema=schema, labels="codes").predict(X[:1]).tolist() == [0]
    text = one("return ['0'] * len(x)")
    assert load("f", text, schema=schema).predict(X[:1]).tolist() == [2]
    truth = DataSchema(
        task="classification", input_shape=(4,), layout="table", classes=("True", "False")
    )
    source = one("return x[:, 0] > 6")
    expected = np.where(X[:, 0] > 6, 0, 1)
    np.testing.assert_array_equal(load("f", source, schema=truth).predict(X), expected)
    plain = DataSchema(
        task="classification", input_shape=(4,), layout="table", classes=("no", "yes")
    )
    np.testing.assert_array_equal(load("f", source, schema=plain).predict(X), 1 - expected)


def test_classes_that_the_data_lacks(load: Any, refused: Any) -> None:
    refused(
        lambda: load("probabilities", classes=("setosa", "versicolor", "rose")), "rose", "virginica"
    )
    refused(
        lambda: load("f", one("return x[:, :1]"), classes=("setosa", "virginica"),
                     returns="logits"),
        "logits are needed for every class",
    )  # fmt: skip


def test_no_such_function(load: Any, refused: Any) -> None:
    refused(lambda: load("probabilites"), "Did you mean 'probabilities'")
    refused(lambda: load("W"), "no callable 'W'")
    refused(lambda: load("f", "def f(:"), "SyntaxError")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"callable": "box.f"}, "module:callable"),
        ({"arguments": {"not a name": 1}}, "no Python names"),
        ({"arguments": {"path": "x"}}, "own path"),
        ({"frame": True, "flatten": True}, "frame gives"),
        ({"classes": ["a", "a"]}, "twice"),
        ({"classes": ["a"], "returns": "values"}, "classification"),
        ({"labels": "codes", "returns": "logits"}, "labels"),
        ({"dtype": "uint8", "input": {"normalize": [[0.5], [0.5]]}}, "exclude"),
        ({"batch": 0}, "greater"),
        ({"returns": "scores"}, "probabilities"),
        ({"colour": 1}, "xtra"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        LOADER.Options(**{"callable": "box:f", **options})


SINGLE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4),
    st.sampled_from([*NAMES, 0, 1, 2, 0.5, 1.0]),
)  # fmt: skip
ROW = st.one_of(
    SINGLE,
    st.lists(SINGLE, max_size=4),
    st.lists(st.floats(0, 1), min_size=3, max_size=3).map(
        lambda row: [v / (sum(row) or 1) for v in row]
    ),
    st.dictionaries(st.sampled_from([*NAMES, "x"]), SINGLE, max_size=3),
)
ROWS = st.one_of(
    st.lists(st.sampled_from([*NAMES, 0, 1, 2]), min_size=4, max_size=4),
    st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=4, max_size=4),
)
ANYTHING = st.one_of(ROWS, SINGLE, st.lists(ROW, max_size=4), st.lists(st.lists(ROW, max_size=3)))


@given(raw=ANYTHING, returns=st.sampled_from([None, "probabilities", "logits", "labels", "values"]))
def test_whatever_is_answered_is_a_prediction_or_one_sentence(raw: Any, returns: Any) -> None:
    schema = REGRESSION if returns == "values" else SCHEMA
    try:
        what = returns or found_out(raw, 4, NAMES, schema.task, "m")
        found = answer_form(BlackBoxOptions(), what, None, schema, "m").read(raw, 4)
    except ModelError as error:
        found, said = None, str(error)
    if found is None:
        assert "\n" not in said
        assert len(said) < 500
        assert said.startswith("m: ")
        return
    assert np.isfinite(found).all()
    if what in ("labels", "values"):
        assert found.shape == (4,)
        assert what == "values" or (found.dtype == np.int64 and set(found) <= {0, 1, 2})
    else:
        assert found.shape == (4, 3)
        assert what == "logits" or (found.min() >= 0 and np.allclose(found.sum(axis=1), 1))
