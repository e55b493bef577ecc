"""XGBoost and LightGBM files that are no model for this data, damaged or forged."""

from __future__ import annotations

import copy
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.preprocessing import FunctionTransformer

from robreport import DataSchema
from robreport_plugins.loaders.lightgbm_model import LightgbmLoader
from robreport_plugins.loaders.sklearn_model import SklearnModelLoader
from robreport_plugins.loaders.tree_check import check_trees
from robreport_plugins.loaders.ubjson import read_ubjson
from robreport_plugins.loaders.xgboost_model import XgboostLoader

Check = Callable[..., str]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 4))
X[:, 3] = RNG.integers(0, 4, 200)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
Y3 = np.digitize(X[:, 0] + (X[:, 3] == 2), [-0.5, 0.5])


def schema(classes: int = 2, width: int = 4, task: str = "classification", **more: Any) -> Any:
    names = tuple("abcde"[:classes]) if task == "classification" else ()
    return DataSchema(task=task, input_shape=(width,), layout="table", classes=names, **more)


# ---------------------------------------------------------------- XGBoost


@pytest.fixture(scope="module")
def booster() -> Any:
    xgboost = pytest.importorskip("xgboost")
    rows = xgboost.DMatrix(X, Y3, feature_types=["q", "q", "q", "c"], enable_categorical=True)
    goal = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3, "nthread": 1}
    return xgboost.train({**goal, "max_cat_to_onehot": 1}, rows, 2)


@pytest.fixture(scope="module")
def document(booster: Any) -> Any:
    return json.loads(bytes(booster.save_raw("json")))


def tree_of(found: Any, number: int = 0) -> Any:
    return found["learner"]["gradient_booster"]["model"]["trees"][number]


def sets(key: str, place: int, value: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        tree_of(found)[key][place] = value

    return change


def sets_parameter(key: str, value: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        found["learner"]["learner_model_param"][key] = value

    return change


def sets_model(key: str, value: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        found["learner"]["gradient_booster"]["model"][key] = value

    return change


def categorical_tree(found: Any) -> Any:
    return next(t for t in found["learner"]["gradient_booster"]["model"]["trees"]
                if t["categories_nodes"])  # fmt: skip


def sets_category(key: str, value: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        categorical_tree(found)[key][0] = value

    return change


def no_trees(found: Any) -> None:
    model = found["learner"]["gradient_booster"]["model"]
    model["trees"], model["tree_info"] = [], []
    model["gbtree_model_param"]["num_trees"] = "0"


FORGED_XGBOOST: list[tuple[Callable[[Any], Any], str]] = [
    (sets("left_children", 0, 10**6), "children do not exist"),
    (sets("left_children", 0, -7), "children do not exist"),
    (sets("left_children", 0, 0), "loop"),
    (sets("left_children", 1, 0), "loop"),
    (sets("left_children", 0, 1.5), "left_children that is no list of numbers"),
    (sets("split_indices", 0, 4), "feature that does not exist"),
    (sets("split_indices", 0, -1), "feature that does not exist"),
    (sets("split_indices", 0, 2**40), "feature that does not exist"),
    (sets("split_conditions", 0, float("nan")), "threshold that is not a number"),
    (sets("split_conditions", -1, float("inf")), "not finite"),
    (lambda d: tree_of(d)["right_children"].pop(), "different lengths"),
    (lambda d: tree_of(d)["tree_param"].update(num_nodes="3"), "how many nodes"),
    (lambda d: tree_of(d)["tree_param"].update(size_leaf_vector="3"), "several values"),
    (lambda d: tree_of(d).pop("default_left"), "default_left"),
    (no_trees, "no trees"),
    (sets_model("tree_info", [9] * 6), "an output that does not exist"),
    (sets_model("tree_info", [0]), "says that it has 6 trees"),
    (sets_model("iteration_indptr", [0, 3, 99]), "trees it has in its rounds"),
    (sets_model("trees", "x"), "says that it has 6 trees"),
    (sets_parameter("num_feature", "-1"), "number of features"),
    (sets_parameter("num_feature", "3"), "feature"),
    (sets_parameter("num_class", "2000000"), "number of classes"),
    (sets_parameter("num_target", "2"), "several targets"),
    (sets_parameter("base_score", "[nan]"), "base score"),
    (sets_parameter("base_score", "[1,2]"), "base score"),
    (sets_category("categories_nodes", 0), "which of its nodes are categorical"),
    (sets_category("categories_sizes", 10**9), "categories out of range"),
    (sets_category("categories_segments", -4), "categories out of range"),
    (sets_category("categories", -1), "category out of range"),
    (lambda d: d["learner"].update(objective={"name": "count:poisson"}), "'count:poisson'"),
    (lambda d: d["learner"].update(objective={"name": "rank:ndcg"}), "'rank:ndcg'"),
    (lambda d: d["learner"].update(objective={"name": "binary:logistic"}), "do not go together"),
    (lambda d: d["learner"]["gradient_booster"].update(name="gbtwig"), "'gbtwig'"),
    (lambda d: d["learner"].update(feature_names=["a"]), "1 feature_names for 4 features"),
    (lambda d: d["learner"].update(attributes={"best_iteration": "77"}), "number of rounds"),
    (lambda d: d.pop("learner"), "KeyError"),
]


@pytest.mark.parametrize(("change", "words"), FORGED_XGBOOST)
def test_forged_xgboost(
    change: Callable[[Any], Any], words: str, document: Any, tmp_path: Path, load_model: Any,
    refused: Check,
) -> None:  # fmt: skip
    forged = copy.deepcopy(document)
    change(forged)
    (tmp_path / "m.json").write_text(json.dumps(forged))
    refused(lambda: load_model(XgboostLoader(), tmp_path / "m.json", schema=schema(3)), words)


def test_the_plain_xgboost_document_loads(document: Any, tmp_path: Path, load_model: Any) -> None:
    (tmp_path / "m.json").write_text(json.dumps(document, indent=1))
    handle = load_model(XgboostLoader(), tmp_path / "m.json", schema=schema(3))
    assert handle.facts["categorical features"] == "1, read as category codes"
    assert handle.predict(X).shape == (200,)


@pytest.mark.parametrize("ending", ["json", "ubj"])
def test_every_cut_of_an_xgboost_file(
    ending: str, booster: Any, tmp_path: Path, load_model: Any, refused: Check
) -> None:
    whole = bytes(booster.save_raw(ending))
    path = tmp_path / f"m.{ending}"
    for cut in [0, 1, 2, 9, *range(50, len(whole), len(whole) // 20), len(whole) - 1]:
        path.write_bytes(whole[:cut])
        refused(lambda: load_model(XgboostLoader(), path, schema=schema(3)))
    path.write_bytes(whole + b"{}")
    refused(lambda: load_model(XgboostLoader(), path, schema=schema(3)), "damaged")


def test_flipped_bytes_of_ubjson_never_reach_the_library_unchecked(
    booster: Any, tmp_path: Path, load_model: Any
) -> None:
    """Whatever a byte becomes: the file is refused, or predicts as its arrays do."""
    from robreport import ModelError

    whole = bytearray(booster.save_raw("ubj"))
    rng = np.random.default_rng(1)
    refusals = 0
    for place in rng.choice(len(whole), 40, replace=False):
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "m.ubj").write_bytes(data)
        try:
            handle = load_model(XgboostLoader(), tmp_path / "m.ubj", schema=schema(3))
        except ModelError:
            refusals += 1
        else:
            np.testing.assert_array_equal(handle.trees().predict(X), handle.predict(X))
    assert 0 < refusals < 40


def test_other_xgboost_files(booster: Any, tmp_path: Path, load_model: Any, refused: Check) -> None:
    def load(name: str, **more: Any) -> Any:
        return load_model(XgboostLoader(), tmp_path / name, **more)

    refused(lambda: load_model(XgboostLoader(), None), "needs a path")
    refused(lambda: load("none.json"), "no such file")
    (tmp_path / "p.json").write_bytes(b"\x80\x04pickle")
    refused(lambda: load("p.json"), "no XGBoost model in JSON or UBJSON")
    (tmp_path / "q.json").write_text('{"learner": {"a": 1, "a": 2}}')
    refused(lambda: load("q.json"), "repeats a key")
    (tmp_path / "r.json").write_text("{}")
    refused(lambda: load("r.json"), "no XGBoost model that is known here")
    (tmp_path / "s.json").write_text('{"a": ' + "[" * 10**5)
    refused(lambda: load("s.json"), "damaged")
    booster.save_model(tmp_path / "m.json")
    refused(lambda: load("m.json", schema=schema(3, 5)), "4 features, and the data has 5")
    refused(lambda: load("m.json", schema=schema(2)), "3 classes, and the data has 2")
    refused(lambda: load("m.json", schema=schema(task="regression")), "a classifier")
    refused(lambda: load("m.json", schema=schema(3), classes=("a", "b")), "classes lists 2")
    refused(lambda: load("m.json", schema=schema(3), classes=("a", "b", "x")), "'x'")
    turned = load("m.json", schema=schema(3), classes=("c", "a", "b"))
    plain = load("m.json", schema=schema(3))
    np.testing.assert_array_equal(turned.predict(X), np.array([2, 0, 1])[plain.predict(X)])
    np.testing.assert_array_equal(turned.trees().predict(X), turned.predict(X))
    np.testing.assert_array_equal(turned.logits(X).argmax(axis=1), turned.predict(X))


def test_xgboost_columns_by_name(tmp_path: Path, load_model: Any, refused: Check) -> None:
    xgboost = pytest.importorskip("xgboost")
    rows = xgboost.DMatrix(X, Y, feature_names=["p", "q", "r", "s"])
    xgboost.train({"objective": "binary:logistic", "nthread": 1}, rows, 3).save_model(
        tmp_path / "m.json"
    )
    same = load_model(XgboostLoader(), tmp_path / "m.json", schema=schema(features=tuple("pqrs")))
    moved = load_model(
        XgboostLoader(), tmp_path / "m.json", schema=schema(features=tuple("sqpr")),
        classes=("b", "a"),
    )  # fmt: skip
    np.testing.assert_array_equal(moved.predict(X[:, [3, 1, 0, 2]]), 1 - same.predict(X))
    np.testing.assert_array_equal(
        moved.trees().predict_raw(X[:, [3, 1, 0, 2]]), -same.trees().predict_raw(X)
    )
    other = schema(features=("p", "q", "r", "t"))
    refused(lambda: load_model(XgboostLoader(), tmp_path / "m.json", schema=other), "'s'")


def test_ubjson_reads_each_kind_and_no_more() -> None:
    data = b"{U\x01a[i\x01T F]".replace(b" ", b"") + b"U\x01bSU\x02hiU\x01c[$d#U\x01"
    data += struct.pack(">f", 0.5) + b"U\x01dZU\x01eD" + struct.pack(">d", 0.1) + b"}"
    found = read_ubjson(data)
    assert (found["a"], found["b"], found["d"], found["e"]) == ([1, True, False], "hi", None, 0.1)
    assert found["c"].tolist() == [0.5]
    for bad, words in [
        (b"[#L\x7f" + b"\xff" * 7, "cut short"),
        (b"[$l#L\x7f" + b"\xff" * 7, "cut short"),
        (b"[$d#i\xff", "negative"),
        (b"[" * 40, "too deeply"),
        (b"{U\x01aZU\x01aZ}", "repeats"),
        (b"[$S#U\x01", "unknown type"),
        (b"N", "unknown kind"),
        (b"SZ", "no whole number"),
        (b"ZZ", "behind its end"),
    ]:
        with pytest.raises(ValueError, match=words):
            read_ubjson(bad)


# ---------------------------------------------------------------- LightGBM


@pytest.fixture(scope="module")
def text() -> str:
    lightgbm = pytest.importorskip("lightgbm")
    goal = {"objective": "multiclass", "num_class": 3, "verbosity": -1, "num_threads": 1}
    goal |= {"min_data_in_leaf": 5, "num_leaves": 5, "min_data_per_group": 5, "cat_smooth": 1.0}
    rows = lightgbm.Dataset(X, Y3, categorical_feature=[3], params=goal)
    return str(lightgbm.train(goal, rows, 2).model_to_string())


def line(key: str, place: int, value: str) -> Callable[[str], str]:
    """Change one number of the first line of that key which has so many."""

    def change(text: str) -> str:
        lines = text.split("\n")
        for number, old in enumerate(lines):
            words = old.partition("=")[2].split()
            if old.startswith(key + "=") and len(words) > max(place, 0):
                words[place] = value
                lines[number] = f"{key}={' '.join(words)}"
                return "\n".join(lines)
        raise AssertionError(key)

    return change


def swap(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


def categorical(text: str) -> str:
    """Ask for a set of categories that the tree does not have."""
    lines = text.split("\n")
    for number, old in enumerate(lines):
        kinds = old.partition("=")[2].split()
        if old.startswith("decision_type=") and any(int(kind) & 1 for kind in kinds):
            at = next(i for i, kind in enumerate(kinds) if int(kind) & 1)
            words = lines[number - 1].partition("=")[2].split()
            words[at] = "99"
            lines[number - 1] = f"threshold={' '.join(words)}"
            return "\n".join(lines)
    raise AssertionError("no categorical split")


FORGED_LIGHTGBM: list[tuple[Callable[[str], str], str]] = [
    (line("left_child", 0, "99"), "child that does not exist"),
    (line("left_child", 0, "-99"), "child that does not exist"),
    (line("left_child", 0, "0"), "loop"),
    (line("right_child", 1, "0"), "loop"),
    (line("left_child", 0, "x"), "left_child that is no list of numbers"),
    (line("left_child", 0, "1 1"), "numbers in left_child"),
    (line("split_feature", 0, "4"), "feature that does not exist"),
    (line("split_feature", 0, "-1"), "feature that does not exist"),
    (line("decision_type", 0, "77"), "kind of decision"),
    (line("leaf_value", 0, "nan"), "not finite"),
    (line("num_leaves", 0, "1000000000"), "leaves"),
    (line("num_leaves", 0, "3"), "numbers in"),
    (line("num_leaves", 0, "0"), "0 leaves"),
    (categorical, "categories that do not exist"),
    (line("cat_boundaries", -1, "7"), "categories that overlap"),
    (line("cat_threshold", 0, "-5"), "out of range"),
    (swap("Tree=1\n", "Tree=7\n"), "numbered 7"),
    (swap("num_leaves=", "num_twigs=3\nnum_leaves="), "unknown key 'num_twigs'"),
    (swap("num_leaves=5\n", "num_leaves=5\nnum_leaves=4\n"), "repeats 'num_leaves'"),
    (swap("end of trees", "end"), "truncated"),
    (swap("max_feature_idx=3", "max_feature_idx=2"), "names 4 features"),
    (swap("max_feature_idx=3", "max_feature_idx=-2"), "number of features"),
    (swap("num_class=3", "num_class=4"), "4 classes and 3 trees"),
    (swap("num_tree_per_iteration=3", "num_tree_per_iteration=0"), "trees a round"),
    (swap("num_class=3\nnum_tree_per_iteration=3", "num_class=4\nnum_tree_per_iteration=4"),
     "6 trees, and 4 belong"),
    (swap("objective=multiclass num_class:3", "objective=lambdarank"), "'lambdarank'"),
    (swap("objective=multiclass num_class:3", "objective=binary sigmoid:1"), "do not go together"),
    (swap("label_index=0", "label_index=0\nweird"), "line 'weird'"),
    (swap("version=", "vision="), "lacks version"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), FORGED_LIGHTGBM)
def test_forged_lightgbm(
    change: Callable[[str], str], words: str, text: str, tmp_path: Path, load_model: Any,
    refused: Check,
) -> None:  # fmt: skip
    (tmp_path / "m.txt").write_text(change(text))
    refused(lambda: load_model(LightgbmLoader(), tmp_path / "m.txt", schema=schema(3)), words)


def test_a_threshold_that_is_no_number(tmp_path: Path, load_model: Any, refused: Check) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    goal = {"objective": "binary", "verbosity": -1, "num_threads": 1}
    found = lightgbm.train(goal, lightgbm.Dataset(X, Y, params=goal), 1).model_to_string()
    (tmp_path / "m.txt").write_text(line("threshold", 0, "nan")(found))
    refused(
        lambda: load_model(LightgbmLoader(), tmp_path / "m.txt", schema=schema()),
        "threshold that is not a number",
    )


def test_lightgbm_without_trees_and_cut(
    text: str, tmp_path: Path, load_model: Any, refused: Check
) -> None:
    path = tmp_path / "m.txt"
    head = text.split("\nTree=0")[0]
    path.write_text(head + "\nend of trees\n")
    refused(lambda: load_model(LightgbmLoader(), path, schema=schema(3)), "no trees")
    end = text.index("end of trees")
    for cut in (0, 3, 4, 60, len(head), end // 2, end - 3):
        path.write_text(text[:cut])
        refused(lambda: load_model(LightgbmLoader(), path, schema=schema(3)))
    path.write_bytes(b"tree\n\xff\xfe")
    refused(lambda: load_model(LightgbmLoader(), path, schema=schema(3)), "UTF-8")
    path.write_bytes(b"\x80\x04pickle")
    refused(lambda: load_model(LightgbmLoader(), path, schema=schema(3)), "no LightGBM model")
    refused(lambda: load_model(LightgbmLoader(), None), "needs a path")


def test_where_trees_stand_is_not_believed(text: str, tmp_path: Path, load_model: Any) -> None:
    """A forged `tree_sizes` would send LightGBM anywhere; it never sees the line."""
    path = tmp_path / "m.txt"
    path.write_text(text)
    honest = load_model(LightgbmLoader(), path, schema=schema(3)).predict_proba(X)
    path.write_text(line("tree_sizes", 0, "999999999")(text))
    forged = load_model(LightgbmLoader(), path, schema=schema(3)).predict_proba(X)
    np.testing.assert_array_equal(forged, honest)


def test_lightgbm_for_other_data(
    text: str, tmp_path: Path, load_model: Any, refused: Check
) -> None:
    path = tmp_path / "m.txt"
    path.write_text(text)

    def load(**more: Any) -> Any:
        return load_model(LightgbmLoader(), path, **more)

    refused(lambda: load(schema=schema(3, 7)), "4 features, and the data has 7")
    refused(lambda: load(schema=schema(2)), "3 classes, and the data has 2")
    refused(lambda: load(schema=schema(task="regression")), "a classifier")
    handle = load(schema=schema(3))
    refused(lambda: handle.refit(X, Y3 + 1, 0), "classes that it does not know")
    refused(lambda: handle.predict(X[:, :3]), "takes inputs of shape (4,)")
    named = text.replace("Column_0 Column_1 Column_2 Column_3", "my_col b c d", 1)
    path.write_text(named)
    found = load(schema=schema(3, features=("b", "my col", "c", "d")))
    np.testing.assert_array_equal(found.predict(X[:, [1, 0, 2, 3]]), handle.predict(X))
    refused(lambda: load(schema=schema(3, features=("b", "x", "c", "d"))), "'my_col'")


@pytest.mark.parametrize(
    ("loader", "module", "words"),
    [
        (XgboostLoader(), "xgboost", "pip install robreport[xgboost]"),
        (LightgbmLoader(), "lightgbm", "pip install robreport[lightgbm]"),
    ],
)
def test_a_missing_library(
    loader: Any, module: str, words: str, tmp_path: Path, load_model: Any, refused: Check,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, module, None)
    refused(lambda: load_model(loader, tmp_path / "m"), words)


# ---------------------------------------------------------------- scikit-learn's boosting


def _histogram(**change: Any) -> Any:
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=[3])
    model.fit(X, Y3)
    for name, (where, value) in change.items():
        tree = next(p for stage in model._predictors for p in stage if len(p.nodes) > 2
                    and (where != "set" or p.nodes["is_categorical"].any()))  # fmt: skip
        nodes = tree.nodes.copy()
        node = int(np.argmax(nodes["is_categorical"])) if where == "set" else where
        nodes[name][node] = value
        tree.nodes = nodes
    return model


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"left": (0, 10**6)}, "children do not exist"),
        ({"right": (0, 0)}, "lead back"),
        ({"feature_idx": (0, 4)}, "feature that does not exist"),
        ({"feature_idx": (0, -1)}, "feature that does not exist"),
        ({"bitset_idx": ("set", 99)}, "categories that do not exist"),
        ({"feature_idx": ("set", 2)}, "categories that do not exist"),
    ],
)
def test_forged_histogram_trees(
    change: Any, words: str, tmp_path: Path, load_model: Any, refused: Check
) -> None:
    skops.io.dump(_histogram(**change), tmp_path / "m.skops")
    refused(lambda: load_model(SklearnModelLoader(), tmp_path / "m.skops", schema=schema(3)), words)


def test_a_histogram_threshold_that_is_no_number(refused: Check) -> None:
    model = HistGradientBoostingRegressor(max_iter=1).fit(X, X[:, 0])
    assert check_trees(model, "model 'm'") == 1
    model._predictors[0][0].nodes["num_threshold"][0] = np.nan
    refused(lambda: check_trees(model, "model 'm'"), "not a number")


def test_a_histogram_model_that_is_otherwise_forged(refused: Check) -> None:
    narrow = _histogram()
    narrow._bin_mapper.is_categorical_ = np.zeros(1, dtype=np.uint8)
    refused(lambda: check_trees(narrow, "model 'm'"), "another length")
    many = _histogram()
    many._predictors[0] = many._predictors[0] * 2
    refused(lambda: check_trees(many, "model 'm'"), "one of 6 a stage")
    flat = _histogram()
    flat._predictors[0][0].raw_left_cat_bitsets = np.zeros((1, 2), dtype=np.uint32)
    refused(lambda: check_trees(flat, "model 'm'"), "another size")
    none = _histogram()
    none._predictors = []
    refused(lambda: check_trees(none, "model 'm'"), "no stages")


def test_stages_wider_than_the_sums_are_refused(refused: Check) -> None:
    """The compiled code would write beyond them."""
    model = GradientBoostingClassifier(n_estimators=2).fit(X, Y)
    assert check_trees(model, "model 'm'") == 2
    model.estimators_ = np.repeat(model.estimators_, 50, axis=1)
    refused(lambda: check_trees(model, "model 'm'"), "one of 50 a stage")


def test_a_partial_of_another_function_needs_trust(
    tmp_path: Path, load_model: Any, refused: Check
) -> None:
    from functools import partial

    model = _histogram()
    model._preprocessor.transformers_[1] = (
        "numerical",
        FunctionTransformer(partial(np.sum, axis=0)),
        model._preprocessor.transformers_[1][2],
    )
    refused(lambda: check_trees(model, "model 'm'"), "partial function")
