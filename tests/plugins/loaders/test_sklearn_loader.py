"""The sklearn loader: safe reading, class labels, refits, and what is refused."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    ExtraTreesClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from robreport import DataSchema, Needs, NotOffered
from robreport_plugins.loaders.class_labels import match_labels
from robreport_plugins.loaders.sklearn_model import SklearnModelLoader
from robreport_plugins.loaders.tree_check import check_trees

LOADER = SklearnModelLoader()
Check = Callable[..., str]
X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
NAMES = ("setosa", "versicolor", "virginica")
SCHEMA = DataSchema(
    task="classification",
    input_shape=(4,),
    layout="table",
    classes=NAMES,
    features=("sl", "sw", "pl", "pw"),
)


@pytest.fixture
def dump(tmp_path: Path) -> Callable[[Any], Path]:
    def write(estimator: Any) -> Path:
        path = tmp_path / "model.skops"
        skops.io.dump(estimator, path)
        return path

    return write


def test_round_trip(dump: Any, load_model: Any) -> None:
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    handle = load_model(LOADER, dump(estimator), schema=SCHEMA)
    np.testing.assert_array_equal(handle.predict(X), estimator.predict(X))
    np.testing.assert_array_equal(handle.predict_proba(X), estimator.predict_proba(X))
    scores = np.exp(handle.logits(X))
    np.testing.assert_allclose(
        scores / scores.sum(1, keepdims=True), estimator.predict_proba(X), atol=1e-12
    )
    assert handle.offers == (
        Needs.CLASSIFICATION
        | Needs.PROBABILITIES
        | Needs.LOGITS
        | Needs.GRADIENTS
        | Needs.PARAMETERS
        | Needs.REFIT
    )
    assert handle.kind == (
        "scikit-learn Pipeline (StandardScaler, LogisticRegression), 15 parameters"
    )
    assert handle.facts["file format"] == "skops"
    module = handle.torch_module()
    assert not any(p.requires_grad for p in module.parameters())
    assert module(torch.zeros(2, 4)).shape == (2, 3)
    assert module(torch.zeros(2, 4)).dtype == torch.float32
    assert handle.predict(X[:0]).shape == (0,)
    assert handle.predict_proba(X[:0]).shape == (0, 3)


def test_images_are_flattened(dump: Any, load_model: Any) -> None:
    estimator = LogisticRegression().fit(X, Y)
    schema = DataSchema(task="classification", input_shape=(1, 2, 2), layout="image", classes=NAMES)
    handle = load_model(LOADER, dump(estimator), schema=schema)
    images = X.reshape(-1, 1, 2, 2).astype(np.float32)
    expected = estimator.predict(X.astype(np.float32).astype(np.float64))
    np.testing.assert_array_equal(handle.predict(images), expected)
    module = handle.torch_module()
    np.testing.assert_array_equal(module(torch.from_numpy(images)).argmax(1).numpy(), expected)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(NAMES),
        np.array(["virginica", "setosa", "versicolor"]),
        np.array([2, 0, 1]),
        np.array([2.0, 0.0, 1.0]),
    ],
)
def test_labels_become_classes_of_the_data(labels: Any, dump: Any, load_model: Any) -> None:
    """Whatever the estimator calls its classes, and in whatever order it keeps them."""
    estimator = LogisticRegression().fit(X, labels[Y])
    handle = load_model(LOADER, dump(estimator), schema=SCHEMA)
    own = estimator.predict(X)
    if labels.dtype.kind == "U":
        expected = np.array([NAMES.index(name) for name in own])
    else:
        expected = own.astype(int)
    np.testing.assert_array_equal(handle.predict(X), expected)
    np.testing.assert_array_equal(handle.predict_proba(X).argmax(1), expected)
    np.testing.assert_array_equal(handle.logits(X).argmax(1), expected)
    again = handle.refit(X, expected, 0)
    np.testing.assert_array_equal(again.predict_proba(X).argmax(1), again.predict(X))
    assert (again.predict(X) == expected).mean() > 0.95


def test_matching_labels(refused: Check) -> None:
    def match(labels: list[Any], classes: tuple[str, ...], reading: str = "auto") -> list[int]:
        return match_labels(labels, classes, reading, "model 'm'").tolist()  # type: ignore[arg-type]

    assert match(["b", "a"], ()) == [0, 1]
    assert match(["b", "a"], ("a", "b")) == [1, 0]
    assert match([1, 2], ("1", "2")) == [0, 1]  # names: the indices would be 0 and 1
    assert match([0, 1], ("1", "2")) == [0, 1]  # indices: 0 is no name
    assert match([False, True], ("no", "yes")) == [0, 1]
    assert match([0, 1], ("1", "0"), "names") == [1, 0]
    assert match([0, 1], ("1", "0"), "codes") == [0, 1]
    refused(lambda: match([0, 1], ("1", "0")), "labels = 'names'")
    refused(lambda: match(["a", "c"], ("a", "b")), "'c'")
    refused(lambda: match([0, 2], ("a", "b")), "0, 2")
    refused(lambda: match([0.5], ("a", "b")), "0.5")
    refused(lambda: match(["a"], ("a", "b"), "codes"), "'a'")
    refused(lambda: match([1, 1.0], ("0", "1")), "its own classes")


def test_a_class_that_the_estimator_never_saw(dump: Any, load_model: Any) -> None:
    estimator = LogisticRegression().fit(X[:100], Y[:100])
    handle = load_model(LOADER, dump(estimator), schema=SCHEMA)
    proba = handle.predict_proba(X)
    assert proba.shape == (150, 3)
    assert (proba[:, 2] == 0).all()
    assert Needs.GRADIENTS not in handle.offers
    assert "fewer classes" in str(handle.facts["gradients"])
    with pytest.raises(NotOffered):
        handle.torch_module()


# ---------------------------------------------------------------- refit


def test_refit_keeps_hyper_parameters(dump: Any, load_model: Any) -> None:
    estimator = DecisionTreeClassifier(max_depth=2, min_samples_leaf=7, random_state=9).fit(X, Y)
    handle = load_model(LOADER, dump(estimator), schema=SCHEMA)
    again = handle.refit(X[::2], Y[::2], 4)
    expected = DecisionTreeClassifier(max_depth=2, min_samples_leaf=7, random_state=4)
    expected.fit(X[::2], Y[::2])
    np.testing.assert_array_equal(again.predict_proba(X), expected.predict_proba(X))
    assert again.kind == handle.kind
    assert again.facts["fitted again with seed"] == 4
    assert Needs.REFIT in again.offers


def test_refit_seeds_nested_steps(dump: Any, load_model: Any) -> None:
    estimator = make_pipeline(
        StandardScaler(), RandomForestClassifier(5, random_state=1, max_features=1)
    ).fit(X, Y)
    handle = load_model(LOADER, dump(estimator), schema=SCHEMA)
    one, two, other = (handle.refit(X, Y, s).predict_proba(X) for s in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_refit_of_a_search_keeps_what_was_found(dump: Any, load_model: Any) -> None:
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}, cv=2)
    search.fit(X, Y)
    handle = load_model(LOADER, dump(search), schema=SCHEMA, trusted=True)
    expected = DecisionTreeClassifier(random_state=6, **search.best_params_).fit(X[::3], Y[::3])
    np.testing.assert_array_equal(
        handle.refit(X[::3], Y[::3], 6).predict_proba(X), expected.predict_proba(X)
    )


def test_refit_without_a_class(dump: Any, load_model: Any, refused: Check) -> None:
    handle = load_model(LOADER, dump(LogisticRegression().fit(X, Y)), schema=SCHEMA)
    again = handle.refit(X[50:], Y[50:], 0)
    assert (again.predict(X[50:]) == Y[50:]).mean() > 0.9
    assert (again.predict_proba(X)[:, 0] == 0).all()
    refused(lambda: handle.refit(X[:50], Y[:50], 0), "cannot be fitted again")
    refused(lambda: handle.refit(X, Y + 1, 0), "classes that it does not know")


def test_refit_that_does_not_converge_says_so(dump: Any, load_model: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = MLPClassifier((4,), max_iter=2, random_state=0).fit(X, Y)
    handle = load_model(LOADER, dump(estimator), schema=SCHEMA)
    assert handle.refit(X, Y, 0).facts["fitting"] == "stopped before it converged"


# ---------------------------------------------------------------- decision trees


def _forged(**change: Any) -> DecisionTreeClassifier:
    """A tree whose arrays say something else than what was fitted."""
    estimator = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, Y)
    state = estimator.tree_.__getstate__()
    nodes = state["nodes"].copy()
    for name, (row, value) in change.items():
        if name == "node_count":
            state["node_count"] = value
        else:
            nodes[name][row] = value
    tree = type(estimator.tree_)(4, np.array([3]), 1)
    tree.__setstate__({**state, "nodes": nodes})
    estimator.tree_ = tree
    return estimator


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(max_depth=3),
        ExtraTreesClassifier(3),
        make_pipeline(StandardScaler(), RandomForestClassifier(3)),
    ],
)
def test_sound_trees_need_no_trust(estimator: Any, dump: Any, load_model: Any) -> None:
    estimator.fit(X, Y)
    handle = load_model(LOADER, dump(estimator), schema=SCHEMA)
    np.testing.assert_array_equal(handle.predict_proba(X), estimator.predict_proba(X))
    assert "each node checked" in str(handle.facts["decision trees"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"left_child": (0, 10**9)}, "node 0 whose children do not exist"),
        ({"right_child": (0, -7)}, "node 0 whose children do not exist"),
        ({"right_child": (2, 0)}, "lead back"),
        ({"left_child": (0, 0)}, "lead back"),
        ({"feature": (0, 4)}, "a feature that does not exist"),
        ({"feature": (0, -2)}, "a feature that does not exist"),
        ({"node_count": (0, -3)}, "claims -3 nodes"),
        ({"threshold": (0, np.nan)}, "threshold at node 0 that is not a number"),
    ],
)
def test_forged_trees_are_refused(
    change: dict[str, Any], words: str, tmp_path: Path, refused: Check
) -> None:
    estimator = _forged(**change)
    refused(lambda: check_trees(estimator, "model 'm'"), words)
    # the same inside of other estimators
    forest = RandomForestClassifier(2, random_state=0).fit(X, Y)
    forest.estimators_[1] = estimator
    refused(lambda: check_trees(make_pipeline(StandardScaler(), forest), "model 'm'"), words)


def test_a_forged_file_is_refused(dump: Any, load_model: Any, refused: Check) -> None:
    path = dump(_forged(left_child=(0, 10**9)))
    refused(lambda: load_model(LOADER, path, schema=SCHEMA), "damaged or forged")


def test_trees_in_the_wrong_place_are_refused(refused: Check) -> None:
    narrow = DecisionTreeClassifier(random_state=0).fit(X[:, :3], Y)
    forest = RandomForestClassifier(2, random_state=0).fit(X, Y)
    forest.estimators_[0] = narrow
    refused(lambda: check_trees(forest, "model 'm'"), "for 3 features stands in")
    wide = DecisionTreeClassifier(random_state=0).fit(X, Y)
    wide.n_features_in_ = 2
    refused(lambda: check_trees(wide, "model 'm'"), "for 4 features stands in")
    lonely = IsolationForest(n_estimators=2, random_state=0).fit(X)
    refused(lambda: check_trees(lonely, "model 'm'"), "IsolationForest")
    linear = LogisticRegression().fit(X, Y)
    linear.hidden_ = [narrow.tree_]
    refused(lambda: check_trees(linear, "model 'm'"), "outside of any estimator")


# ---------------------------------------------------------------- offers


def test_offers_without_probabilities_or_twin(dump: Any, load_model: Any) -> None:
    handle = load_model(LOADER, dump(SVC().fit(X, Y)), schema=SCHEMA)
    assert handle.offers == Needs.CLASSIFICATION | Needs.REFIT
    for method in (handle.predict_proba, handle.logits):
        with pytest.raises(NotOffered):
            method(X)
    margins = load_model(LOADER, dump(SGDClassifier(random_state=0).fit(X, Y)), schema=SCHEMA)
    assert Needs.LOGITS in margins.offers
    assert Needs.PROBABILITIES not in margins.offers
    assert "margins" in str(margins.facts["logits"])


def test_regression(dump: Any, load_model: Any, refused: Check) -> None:
    estimator = LinearRegression().fit(X[:, :3], X[:, 3])
    schema = DataSchema(task="regression", input_shape=(3,), layout="table")
    path = dump(estimator)
    handle = load_model(LOADER, path, schema=schema)
    np.testing.assert_array_equal(handle.predict(X[:, :3]), estimator.predict(X[:, :3]))
    assert handle.n_outputs == 1
    assert handle.offers == (Needs.REGRESSION | Needs.REFIT | Needs.GRADIENTS | Needs.PARAMETERS)
    np.testing.assert_allclose(
        handle.refit(X[:, :3], 2 * X[:, 3], 0).predict(X[:, :3]),
        2 * estimator.predict(X[:, :3]),
    )
    refused(lambda: load_model(LOADER, path, schema=SCHEMA), "is a regressor")


def test_named_columns(dump: Any, load_model: Any, refused: Check) -> None:
    """An estimator fitted on a data frame finds its columns by name, without a warning."""
    frame = pd.DataFrame(X, columns=["sl", "sw", "pl", "pw"])[["pw", "sl", "pl", "sw"]]
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, Y)
    path = dump(estimator)
    handle = load_model(LOADER, path, schema=SCHEMA)
    np.testing.assert_array_equal(handle.predict(X), estimator.predict(frame))
    np.testing.assert_array_equal(handle.logits(X).argmax(1), estimator.predict(frame))
    np.testing.assert_array_equal(handle.refit(X, Y, 0).predict(X), estimator.predict(frame))
    other = DataSchema(
        task="classification",
        input_shape=(4,),
        layout="table",
        classes=NAMES,
        features=("sl", "sw", "pl", "width"),
    )
    refused(lambda: load_model(LOADER, path, schema=other), "'pw'")


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (LogisticRegression(), "has not been fitted"),
        (StandardScaler().fit(X), "has no predict"),
        (KMeans(2, n_init=1, random_state=0).fit(X), "neither a classifier nor a regressor"),
        (IsolationForest(n_estimators=2, random_state=0).fit(X), "IsolationForest"),
        (LogisticRegression().fit(X[:, :2], Y), "was fitted on 2 features"),
        (LogisticRegression().fit(X, Y + 3), "predicts the labels 3, 4, 5"),
        (DecisionTreeClassifier().fit(X, np.stack([Y, Y], 1)), "multi-output"),
        ({"a": 1}, "has no predict"),
    ],
)
def test_objects_that_are_no_model_for_this_data(
    estimator: Any, words: str, dump: Any, load_model: Any, refused: Check
) -> None:
    path = dump(estimator)
    refused(lambda: load_model(LOADER, path, schema=SCHEMA), "(model.skops)", words)


def test_a_pickle_needs_trust(tmp_path: Path, load_model: Any, refused: Check) -> None:
    estimator = LogisticRegression().fit(X, Y)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(estimator))
    joblib.dump(estimator, tmp_path / "b.joblib", compress=3)
    for name in ("a.pkl", "b.joblib"):
        path = tmp_path / name
        refused(lambda path=path: load_model(LOADER, path, schema=SCHEMA), "trusted = true")
        handle = load_model(LOADER, path, schema=SCHEMA, trusted=True)
        np.testing.assert_array_equal(handle.predict(X), estimator.predict(X))
        assert "trusted" in str(handle.facts["file format"])


class _Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def test_code_never_runs_without_trust(tmp_path: Path, load_model: Any, refused: Check) -> None:
    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(_Trap(tmp_path / "mark")))
    refused(lambda: load_model(LOADER, tmp_path / "trap.pkl"))
    assert not (tmp_path / "mark").exists()


class Odd(ClassifierMixin, BaseEstimator):
    """A classifier of an unknown package."""

    def fit(self, X: Any, y: Any) -> Odd:
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.classes_[0])


def test_unknown_types_need_trust(dump: Any, load_model: Any, refused: Check) -> None:
    path = dump(Odd().fit(X, Y))
    refused(lambda: load_model(LOADER, path, schema=SCHEMA), "Odd", "trusted = true")
    handle = load_model(LOADER, path, schema=SCHEMA, trusted=True)
    assert (handle.predict(X) == 0).all()
    assert "Odd" in str(handle.facts["trusted types"])


class Wild(Odd):
    """A classifier whose answers are wrong in a chosen way."""

    def __init__(self, answer: str = "nan") -> None:
        self.answer = answer

    def predict(self, X: Any) -> Any:
        if self.answer == "raises":
            raise KeyError("lost")
        if self.answer == "unknown":
            return np.full(len(X), 77)
        if self.answer == "matrix":
            return np.zeros((len(X), 2), dtype=int)
        return np.zeros(len(X), dtype=int)

    def predict_proba(self, X: Any) -> Any:
        fill = {"nan": np.nan, "sum": 0.5, "negative": -1.0}.get(self.answer, 1 / 3)
        width = 2 if self.answer == "columns" else 3
        return np.full((len(X), width), fill)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("nan", "NaN or infinite outputs on 2 of 2"),
        ("sum", "do not sum to 1"),
        ("negative", "negative"),
        ("columns", "predict_proba gives shape (2, 2)"),
        ("unknown", "not among its classes"),
        ("matrix", "predict gives shape (2, 2)"),
        ("raises", "predict fails with KeyError: 'lost'"),
    ],
)
def test_outputs_that_are_none(
    answer: str, words: str, tmp_path: Path, load_model: Any, refused: Check
) -> None:
    joblib.dump(Wild(answer).fit(X, Y), tmp_path / "wild")
    refused(lambda: load_model(LOADER, tmp_path / "wild", schema=SCHEMA, trusted=True), words)


def test_each_cut_is_refused(dump: Any, load_model: Any, refused: Check, tmp_path: Path) -> None:
    whole = dump(LogisticRegression().fit(X, Y)).read_bytes()
    for cut in (0, 1, 4, 50, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:cut])
        refused(lambda: load_model(LOADER, tmp_path / "cut", schema=SCHEMA))
    pickled = pickle.dumps(LogisticRegression().fit(X, Y))
    for cut in (1, len(pickled) // 2, len(pickled) - 1):
        (tmp_path / "cut").write_bytes(pickled[:cut])
        refused(
            lambda: load_model(LOADER, tmp_path / "cut", schema=SCHEMA, trusted=True),
            "cannot be read as pickle",
        )


def test_not_a_file(tmp_path: Path, load_model: Any, refused: Check) -> None:
    refused(lambda: load_model(LOADER, None), "needs a path")
    refused(lambda: load_model(LOADER, tmp_path), "is a folder")
    refused(lambda: load_model(LOADER, tmp_path / "none"), "no such file")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme", "x")
    refused(lambda: load_model(LOADER, tmp_path / "a.zip"), "no skops file")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("schema.json", "[]")
    refused(lambda: load_model(LOADER, tmp_path / "b.zip"), "damaged skops file")


def test_a_skops_file_with_a_strange_schema(
    dump: Any, load_model: Any, refused: Check, tmp_path: Path
) -> None:
    path = dump(LogisticRegression().fit(X, Y))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members["schema.json"])
    for change in ({"__loader__": "NoNode"}, {"content": None}, {"__class__": 3}):
        with zipfile.ZipFile(tmp_path / "odd", "w") as archive:
            for name, data in members.items():
                new = json.dumps({**schema, **change}).encode() if name == "schema.json" else data
                archive.writestr(name, new)
        refused(lambda: load_model(LOADER, tmp_path / "odd", schema=SCHEMA))


def test_an_archive_that_claims_more_than_it_holds(
    tmp_path: Path, load_model: Any, refused: Check
) -> None:
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * 1000)
    raw = bytearray((tmp_path / "bomb").read_bytes())
    at = raw.rfind(b"PK\x01\x02") + 24
    raw[at : at + 4] = (2**31).to_bytes(4, "little")
    (tmp_path / "bomb").write_bytes(raw)
    refused(lambda: load_model(LOADER, tmp_path / "bomb"), "not believable")


def test_another_version_is_a_fact_not_an_error(tmp_path: Path, load_model: Any) -> None:
    estimator = LogisticRegression().fit(X, Y)
    state = estimator.__getstate__() | {"_sklearn_version": "1.2.2"}

    class Old(LogisticRegression):
        def __reduce__(self) -> Any:
            return (LogisticRegression, (), state)

    (tmp_path / "old.pkl").write_bytes(pickle.dumps(Old()))
    handle = load_model(LOADER, tmp_path / "old.pkl", schema=SCHEMA, trusted=True)
    assert handle.facts["fitted with"] == "scikit-learn 1.2.2"
    np.testing.assert_array_equal(handle.predict(X), estimator.predict(X))


def _double(x: Any) -> Any:
    return 2 * x


def test_settings_show_no_addresses(tmp_path: Path, load_model: Any) -> None:
    estimator = make_pipeline(FunctionTransformer(_double), LogisticRegression()).fit(X, Y)
    joblib.dump(estimator, tmp_path / "f")
    handle = load_model(LOADER, tmp_path / "f", schema=SCHEMA, trusted=True)
    assert "_double" in str(handle.facts["estimator"])
    assert " at 0x" not in str(handle.facts["estimator"])
    assert "FunctionTransformer" in handle.kind
