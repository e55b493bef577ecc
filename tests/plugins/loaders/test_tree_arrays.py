"""Exported trees of each library answer exactly as the library, bit for bit."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from robreport import DataSchema, Needs, Norm, NotOffered, ThreatModel, TreeEnsemble
from robreport_plugins.loaders.frame_input import FrameInput
from robreport_plugins.loaders.lightgbm_model import LightgbmLoader
from robreport_plugins.loaders.scikit_trees import scikit_ensemble
from robreport_plugins.loaders.sklearn_model import SklearnModelLoader
from robreport_plugins.loaders.tree_columns import TreeColumn
from robreport_plugins.loaders.tree_space import in_data_space
from robreport_plugins.loaders.verified_trees import probe_rows
from robreport_plugins.loaders.xgboost_model import XgboostLoader
from robreport_plugins.methods.perturb_trees import nearest_other_leaf, smallest_in_cells
from robreport_plugins.methods.space_of import space_of

ROWS = 10_000
CLASSES = {2: ("no", "yes"), 3: ("low", "mid", "high")}


def data(rows: int, seed: int = 0, missing: float = 0.0) -> Any:
    """Return a table of five columns; the last two hold categories and small numbers."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 5))
    x[:, 3] = rng.integers(0, 9, rows)
    x[:, 4] = rng.integers(-2, 3, rows)
    clean = x.copy()
    x[rng.random(x.shape) < missing] = np.nan
    score = clean[:, 0] + clean[:, 1] * clean[:, 4] + np.sin(clean[:, 3])
    return x, score


def target(score: Any, kind: int) -> Any:
    """Return values for kind 1, else class indices of that many classes."""
    if kind == 1:
        return score
    return np.digitize(score, np.quantile(score, np.arange(1, kind) / kind))


def schema(kind: int) -> DataSchema:
    task = "regression" if kind == 1 else "classification"
    return DataSchema(task=task, input_shape=(5,), layout="table", classes=CLASSES.get(kind, ()))


def arrays(estimator: Any) -> TreeEnsemble:
    """The trees of an estimator of numbers, over its own columns."""
    width = estimator.n_features_in_
    return scikit_ensemble(estimator, FrameInput(width=width, order=np.arange(width)))


def queries(model: Any, missing: bool) -> Any:
    """Return 10,000 rows: half of them random, half on and beside thresholds."""
    random, _ = data(ROWS // 2, 1, 0.1 if missing else 0.0)
    random[::50] = 0.0
    return np.concatenate([random, probe_rows(model, ROWS // 2, seed=7)])


# ---------------------------------------------------------------- scikit-learn


SKLEARN: list[tuple[Any, int, bool]] = [
    (DecisionTreeClassifier(random_state=0), 2, True),
    (DecisionTreeClassifier(random_state=0), 3, False),
    (DecisionTreeRegressor(random_state=0), 1, True),
    (RandomForestClassifier(12, random_state=0, n_jobs=2), 3, True),
    (RandomForestRegressor(6, random_state=0), 1, True),
    (ExtraTreesClassifier(8, random_state=0), 2, False),
    (ExtraTreesRegressor(4, random_state=0), 1, False),
    (GradientBoostingClassifier(n_estimators=12), 2, False),
    (GradientBoostingClassifier(n_estimators=8), 3, False),
    (GradientBoostingClassifier(n_estimators=8, loss="exponential"), 2, False),
    (GradientBoostingClassifier(n_estimators=4, init="zero"), 3, False),
    (GradientBoostingRegressor(n_estimators=12, loss="huber"), 1, False),
    (HistGradientBoostingClassifier(max_iter=12), 2, True),
    (HistGradientBoostingClassifier(max_iter=8, categorical_features=[3]), 3, True),
    (HistGradientBoostingRegressor(max_iter=12, categorical_features=[3, 4]), 1, True),
    (HistGradientBoostingRegressor(max_iter=6, loss="gamma"), 1, True),
    (make_pipeline(StandardScaler(), RandomForestClassifier(6, random_state=0)), 3, True),
    (make_pipeline(MinMaxScaler(clip=True), "passthrough", DecisionTreeRegressor()), 1, True),
    (make_pipeline(RobustScaler(), HistGradientBoostingClassifier(max_iter=8)), 2, True),
    (make_pipeline(MaxAbsScaler(), GradientBoostingClassifier(n_estimators=8)), 3, False),
]


@pytest.mark.parametrize(("estimator", "kind", "missing"), SKLEARN, ids=lambda v: str(v)[:60])
def test_sklearn(estimator: Any, kind: int, missing: bool, tmp_path: Path, load_model: Any) -> None:
    x, score = data(500, 0, 0.08 if missing else 0.0)
    y = target(score - score.min() + 1, kind)
    estimator.fit(x, y)
    skops.io.dump(estimator, tmp_path / "m.skops")
    handle = load_model(SklearnModelLoader(), tmp_path / "m.skops", schema=schema(kind))
    assert Needs.TREES in handle.offers, handle.facts["trees"]
    assert "each node checked" in handle.facts["decision trees"]
    model = handle.trees()
    q = queries(model, model.takes_missing)
    if kind == 1:
        np.testing.assert_array_equal(model.predict(q), estimator.predict(q))
    elif model.link == "distribution":
        np.testing.assert_array_equal(model.predict_proba(q), estimator.predict_proba(q))
    else:
        raw = np.asarray(estimator.decision_function(q)).reshape(ROWS, -1)
        np.testing.assert_array_equal(model.predict_raw(q), raw)
        np.testing.assert_allclose(model.predict_proba(q), estimator.predict_proba(q), rtol=1e-12)
    np.testing.assert_array_equal(model.predict(q), handle.predict(q))
    assert model.takes_missing >= missing
    if not model.takes_missing:
        with pytest.raises(ValueError, match="missing values"):
            model.predict(np.full((1, 5), np.nan))


@pytest.mark.parametrize(
    "estimator",
    [RandomForestClassifier(5, random_state=0), GradientBoostingClassifier(n_estimators=4)],
)
def test_labels_and_columns_of_the_data(estimator: Any, tmp_path: Path, load_model: Any) -> None:
    """Labels in another order, columns in another order, a class that was never seen."""
    import pandas as pd

    x, score = data(300)
    names = np.array(["high", "low", "mid"])
    for kind in (2, 3):
        y = target(score, kind)
        frame = pd.DataFrame(x, columns=list("abcde"))[list("ecadb")]
        estimator.fit(frame, names[y])
        skops.io.dump(estimator, tmp_path / "m.skops")
        known = DataSchema(
            task="classification",
            input_shape=(5,),
            layout="table",
            classes=("low", "mid", "high") if kind == 3 else ("low", "high"),
            features=tuple("abcde"),
        )
        handle = load_model(SklearnModelLoader(), tmp_path / "m.skops", schema=known)
        model = handle.trees()
        np.testing.assert_array_equal(model.predict(x), handle.predict(x))
        np.testing.assert_allclose(model.predict_proba(x), handle.predict_proba(x), rtol=1e-12)
        wide = DataSchema(
            task="classification",
            input_shape=(5,),
            layout="table",
            classes=("other", "low", "mid", "high"),
            features=tuple("abcde"),
        )
        handle = load_model(SklearnModelLoader(), tmp_path / "m.skops", schema=wide)
        if isinstance(estimator, RandomForestClassifier):
            proba = handle.trees().predict_proba(x)
            np.testing.assert_array_equal(proba, handle.predict_proba(x))
            assert (proba[:, 0] == 0).all()
        else:
            assert "fewer classes" in handle.facts["trees"]
            with pytest.raises(NotOffered):
                handle.trees()


@pytest.mark.parametrize("classes", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize(
    "estimator",
    [GradientBoostingClassifier(n_estimators=2), HistGradientBoostingClassifier(max_iter=2)],
)
def test_a_score_of_zero_is_of_the_class_that_the_model_gives(
    estimator: Any, classes: tuple[str, str], tmp_path: Path, load_model: Any
) -> None:
    """Nothing can be learnt, so that every score is 0: the libraries decide it differently."""
    x = np.array([[0.0], [0.0], [1.0], [1.0]])
    skops.io.dump(estimator.fit(x, ["a", "b", "a", "b"]), tmp_path / "m.skops")
    known = DataSchema(task="classification", input_shape=(1,), layout="table", classes=classes)
    handle = load_model(SklearnModelLoader(), tmp_path / "m.skops", schema=known)
    trees = handle.trees()
    assert (trees.predict_raw(x) == 0).all()
    np.testing.assert_array_equal(trees.predict(x), handle.predict(x))
    space = space_of(known, ThreatModel(name="t", norm=Norm.Linf, eps=()), (1,), x)
    given = handle.predict(x)
    # that class is its own, so that there is no other to be found
    assert np.isinf(smallest_in_cells(trees, space, x, given, Norm.Linf, x)[1]).all()
    single = replace(trees, trees=trees.trees[:1])
    assert np.isinf(nearest_other_leaf(single, space, x, given, Norm.Linf)[1]).all()


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (make_pipeline(PowerTransformer(), DecisionTreeClassifier()), "PowerTransformer stands"),
        (
            make_pipeline(
                StandardScaler(), HistGradientBoostingClassifier(categorical_features=[3])
            ),
            "categories behind a scaling",
        ),
        (
            GradientBoostingClassifier(n_estimators=2, init=LogisticRegression()),
            "LogisticRegression",
        ),
    ],
)
def test_why_trees_are_not_offered(
    estimator: Any, words: str, tmp_path: Path, load_model: Any
) -> None:
    x, score = data(200)
    score = score + 9 * (x[:, 3] % 2)
    skops.io.dump(estimator.fit(x, target(score, 2)), tmp_path / "m.skops")
    handle = load_model(SklearnModelLoader(), tmp_path / "m.skops", schema=schema(2))
    assert Needs.TREES not in handle.offers
    assert words in handle.facts["trees"]


def test_a_search_shows_the_trees_of_what_it_found(tmp_path: Path, load_model: Any) -> None:
    x, score = data(200)
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [2, 3]}, cv=2)
    skops.io.dump(search.fit(x, target(score, 2)), tmp_path / "m.skops")
    path = tmp_path / "m.skops"
    handle = load_model(SklearnModelLoader(), path, schema=schema(2), trusted=True)
    assert handle.trees().trees[0].depth == search.best_params_["max_depth"]


def test_thresholds_before_a_scaling_are_the_last_numbers_that_pass() -> None:
    """The next float64 above each moved threshold goes right, the threshold itself left."""
    x, score = data(400)
    scaler = StandardScaler().fit(x)
    fitted = make_pipeline(scaler, DecisionTreeRegressor(max_depth=6)).fit(x, score)
    scaled = arrays(fitted.steps[1][1])
    moved = arrays(fitted)
    checked = 0
    for old, new in zip(scaled.trees, moved.trees, strict=True):
        for node in np.flatnonzero(old.left >= 0):
            j, bar = int(old.feature[node]), float(new.threshold[node])
            for value, left in ((bar, True), (np.nextafter(bar, np.inf), False)):
                row = np.zeros((1, 5))
                row[0, j] = value
                there = np.float32(scaler.transform(row)[0, j])
                assert (there <= old.threshold[node]) == left
                checked += 1
    assert checked > 50


def test_thresholds_that_no_input_or_all_inputs_pass() -> None:
    tree = DecisionTreeRegressor(max_depth=1).fit([[0.0], [1.0]], [0.0, 1.0])
    model = arrays(tree)
    for value, bar in ((0.0, np.inf), (9.0, -np.inf)):
        column = TreeColumn(source=0).scaled(lambda j, x, to=value: np.full_like(x, to), 0)
        squeezed = in_data_space(model, [column], 1)
        assert squeezed.trees[0].threshold[0] == bar


def test_gaps_between_a_threshold_and_data_do_not_matter() -> None:
    probes = probe_rows(arrays(DecisionTreeRegressor().fit([[0.0], [1.0]], [0, 1])))
    on = set(probes[np.isfinite(probes[:, 0]), 0])
    assert {0.5, float(np.nextafter(np.float32(0.5), np.float32(1)))} <= on


def test_a_last_digit_of_one_threshold_is_often_noticed() -> None:
    """Probes lie at the edges of their leaves; of plain ones 6 in 100 would be noticed."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((1000, 6)), rng.standard_normal(1000)
    fitted = make_pipeline(MaxAbsScaler(), DecisionTreeRegressor(random_state=0)).fit(x, y)
    right = arrays(fitted)
    tree = right.trees[0]
    tried = np.flatnonzero(~tree.is_leaf)[::10]
    probes = probe_rows(right)
    given = right.predict(probes)
    noticed = 0
    for node in tried:
        threshold = tree.threshold.copy()
        threshold[node] = np.nextafter(threshold[node], -np.inf)
        wrong = replace(right, trees=(replace(tree, threshold=threshold),))
        noticed += bool((wrong.predict(probes) != given).any())
    assert noticed >= 0.2 * len(tried)


# ---------------------------------------------------------------- XGBoost


XGBOOST: list[tuple[dict[str, Any], int, str]] = [
    ({"objective": "binary:logistic"}, 2, "json"),
    ({"objective": "binary:logistic", "base_score": 0.3}, 2, "ubj"),
    ({"objective": "binary:logitraw"}, 2, "json"),
    ({"objective": "multi:softprob", "num_class": 3}, 3, "ubj"),
    ({"objective": "multi:softmax", "num_class": 3, "max_cat_to_onehot": 1}, 3, "json"),
    ({"objective": "reg:squarederror"}, 1, "json"),
    ({"objective": "reg:absoluteerror", "grow_policy": "lossguide", "max_leaves": 9}, 1, "ubj"),
    ({"objective": "reg:pseudohubererror", "base_score": 3.0}, 1, "json"),
    ({"objective": "binary:logistic", "num_parallel_tree": 3, "subsample": 0.5}, 2, "json"),
    ({"objective": "multi:softprob", "num_class": 3, "booster": "dart", "rate_drop": 0.5}, 3,
     "ubj"),
    ({"objective": "reg:squarederror", "gamma": 5.0, "max_depth": 9}, 1, "json"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "kind", "ending", "categorical"),
    [(*case, False) for case in XGBOOST] + [(*case, True) for case in XGBOOST[2:5]],
)
def test_xgboost(
    settings: dict[str, Any], kind: int, ending: str, categorical: bool, tmp_path: Path,
    load_model: Any,
) -> None:  # fmt: skip
    xgboost = pytest.importorskip("xgboost")
    types = ["q", "q", "q", "c", "q"] if categorical else None

    def rows(x: Any, y: Any = None) -> Any:
        return xgboost.DMatrix(x, y, feature_types=types, enable_categorical=categorical)

    x, score = data(500, 0, 0.08)
    booster = xgboost.train({**settings, "nthread": 1}, rows(x, target(score, kind)), 12)
    path = tmp_path / f"m.{ending}"
    booster.save_model(path)
    handle = load_model(XgboostLoader(), path, schema=schema(kind))
    model = handle.trees()
    assert (model.comparison, model.input_dtype, model.sum_dtype) == ("<", "float32", "float32")
    assert model.plain is not categorical
    q = queries(model, True)
    raw = booster.predict(rows(q), output_margin=True).reshape(ROWS, -1)
    np.testing.assert_array_equal(model.predict_raw(q).astype(np.float32), raw)
    own = booster.predict(rows(q))
    if kind == 1:
        np.testing.assert_array_equal(handle.predict(q), own)
    else:
        np.testing.assert_allclose(model.predict_proba(q), handle.predict_proba(q), rtol=1e-12)
        if settings["objective"] == "multi:softmax":
            np.testing.assert_array_equal(handle.predict(q), own)
        elif settings["objective"] == "multi:softprob":
            np.testing.assert_allclose(handle.predict_proba(q), own, atol=2e-6)
            np.testing.assert_array_equal(handle.predict(q), own.argmax(axis=1))
        elif settings["objective"] == "binary:logistic":
            np.testing.assert_allclose(handle.predict_proba(q)[:, 1], own, atol=2e-6)
            np.testing.assert_array_equal(handle.predict(q), own > 0.5)
        softmax = np.exp(handle.logits(q))
        softmax /= softmax.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(softmax, handle.predict_proba(q), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(model.predict(q), handle.predict(q))


def test_xgboost_wrapper_stops_early(tmp_path: Path, load_model: Any) -> None:
    xgboost = pytest.importorskip("xgboost")
    x, score = data(600)
    y = target(score, 2)
    model = xgboost.XGBClassifier(n_estimators=300, early_stopping_rounds=3, n_jobs=1)
    model.fit(x[:300], y[:300], eval_set=[(x[300:], y[300:])], verbose=False)
    model.save_model(tmp_path / "m.json")
    best = model.best_iteration + 1
    assert best < model.get_booster().num_boosted_rounds()
    handle = load_model(XgboostLoader(), tmp_path / "m.json", schema=schema(2))
    assert len(handle.trees().trees) == best
    np.testing.assert_array_equal(handle.predict(x), model.predict(x))
    every = load_model(XgboostLoader(), tmp_path / "m.json", schema=schema(2), rounds="all")
    assert len(every.trees().trees) == model.get_booster().num_boosted_rounds()
    model.get_booster().save_model(tmp_path / "b.json")
    # the wrapper leaves its mark on the booster; a plain one predicts with all rounds
    text = (tmp_path / "b.json").read_text().replace('"scikit_learn"', '"note"')
    (tmp_path / "b.json").write_text(text)
    plain = load_model(XgboostLoader(), tmp_path / "b.json", schema=schema(2))
    assert len(plain.trees().trees) == model.get_booster().num_boosted_rounds()


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_xgboost_linear_predicts_and_has_no_trees(
    kind: int, tmp_path: Path, load_model: Any
) -> None:
    xgboost = pytest.importorskip("xgboost")
    x, score = data(200)
    maker = xgboost.XGBRegressor if kind == 1 else xgboost.XGBClassifier
    model = maker(booster="gblinear", n_estimators=5, n_jobs=1).fit(x, target(score, kind))
    model.save_model(tmp_path / "m.ubj")
    handle = load_model(XgboostLoader(), tmp_path / "m.ubj", schema=schema(kind))
    np.testing.assert_array_equal(handle.predict(x), model.predict(x))
    assert Needs.TREES not in handle.offers
    assert "gblinear" in handle.facts["trees"]
    with pytest.raises(NotOffered):
        handle.trees()
    with pytest.raises(NotOffered):
        handle.refit(x, score, 0)


# ---------------------------------------------------------------- LightGBM


LIGHTGBM: list[tuple[dict[str, Any], int]] = [
    ({"objective": "binary"}, 2),
    ({"objective": "binary", "sigmoid": 2.0, "boosting": "dart", "drop_rate": 0.5}, 2),
    ({"objective": "multiclass", "num_class": 3}, 3),
    ({"objective": "multiclass", "num_class": 3, "boosting": "rf", "bagging_freq": 1,
      "bagging_fraction": 0.6}, 3),
    ({"objective": "regression"}, 1),
    ({"objective": "regression_l1", "zero_as_missing": True}, 1),
    ({"objective": "quantile", "use_missing": False}, 1),
    ({"objective": "huber", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, 1),
    ({"objective": "binary", "zero_as_missing": True}, 2),
    ({"objective": "regression", "min_data_in_leaf": 490}, 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "kind", "categorical"),
    [(*case, False) for case in LIGHTGBM] + [(*case, True) for case in LIGHTGBM[1:6]],
)
def test_lightgbm(
    settings: dict[str, Any], kind: int, categorical: bool, tmp_path: Path, load_model: Any
) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    x, score = data(500, 0, 0.08)
    x[::9, 0] = 0.0
    quiet = {"min_data_in_leaf": 5, "min_data_per_group": 5, "cat_smooth": 1.0, **settings}
    quiet |= {"verbosity": -1, "num_threads": 1}
    rows = lightgbm.Dataset(
        x, target(score, kind), categorical_feature=[3] if categorical else [], params=quiet
    )
    booster = lightgbm.train(quiet, rows, 8)
    path = tmp_path / "m.txt"
    booster.save_model(path)
    handle = load_model(LightgbmLoader(), path, schema=schema(kind))
    model = handle.trees()
    assert (model.comparison, model.input_dtype, model.sum_dtype) == ("<=", "float64", "float64")
    assert any(tree.categories for tree in model.trees) == categorical
    zero = settings.get("zero_as_missing", False)
    assert any(tree.zero_missing is not None for tree in model.trees) == zero
    q = queries(model, True)
    raw = booster.predict(q, raw_score=True).reshape(ROWS, -1)
    raw /= booster.current_iteration() if settings.get("boosting") == "rf" else 1
    np.testing.assert_array_equal(model.predict_raw(q), raw)
    own = booster.predict(q)
    if kind == 1:
        np.testing.assert_array_equal(handle.predict(q), own)
    else:
        chances = own if kind == 3 else np.stack([1 - own, own], axis=1)
        np.testing.assert_allclose(handle.predict_proba(q), chances, rtol=1e-9, atol=1e-14)
        np.testing.assert_array_equal(handle.predict(q), chances.argmax(axis=1))
        np.testing.assert_allclose(model.predict_proba(q), handle.predict_proba(q), rtol=1e-12)
    np.testing.assert_array_equal(model.predict(q), handle.predict(q))


def test_lightgbm_trains_again_with_its_settings(tmp_path: Path, load_model: Any) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    x, score = data(400)
    y = target(score, 3)
    maker = lightgbm.LGBMClassifier(
        n_estimators=6, num_leaves=5, learning_rate=0.3, min_child_samples=7, reg_lambda=2.0,
        verbose=-1, n_jobs=1, random_state=0,
    )  # fmt: skip
    maker.fit(x, y, categorical_feature=[3]).booster_.save_model(tmp_path / "m.txt")
    handle = load_model(LightgbmLoader(), tmp_path / "m.txt", schema=schema(3))
    assert handle.facts["categorical features"] == "1, read as category codes"
    np.testing.assert_array_equal(handle.predict(x), maker.predict(x))
    again = handle.refit(x, y, 0)
    # nothing in these settings is random: the same data give the same model
    np.testing.assert_array_equal(again.trees().predict_raw(x), handle.trees().predict_raw(x))
    half = handle.refit(x[::2], y[::2], 3)
    assert half.facts["trained again with seed"] == 3
    assert not np.array_equal(half.trees().predict_raw(x), handle.trees().predict_raw(x))
    assert all((~t.is_leaf).sum() <= 4 for t in half.trees().trees)
    np.testing.assert_array_equal(half.predict(x), half.trees().predict(x))


def test_lightgbm_linear_leaves_predict_and_have_no_arrays(tmp_path: Path, load_model: Any) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    x, score = data(300)
    quiet = {"linear_tree": True, "verbosity": -1, "objective": "regression", "num_threads": 1}
    booster = lightgbm.train(quiet, lightgbm.Dataset(x, score, params=quiet), 4)
    booster.save_model(tmp_path / "m.txt")
    handle = load_model(LightgbmLoader(), tmp_path / "m.txt", schema=schema(1))
    np.testing.assert_array_equal(handle.predict(x), booster.predict(x))
    assert Needs.TREES not in handle.offers
    assert "linear" in handle.facts["trees"]


# ---------------------------------------------------------------- any small ensemble


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    library=st.sampled_from(["sklearn", "xgboost", "lightgbm"]),
    kind=st.sampled_from([1, 2, 3]),
    seed=st.integers(0, 10**6),
    rounds=st.integers(1, 4),
    depth=st.integers(1, 6),
    rows=st.integers(30, 120),
    missing=st.sampled_from([0.0, 0.3]),
    coarse=st.booleans(),
)
def test_any_small_ensemble(
    library: str, kind: int, seed: int, rounds: int, depth: int, rows: int, missing: float,
    coarse: bool, tmp_path: Path, load_model: Callable[..., Any],
) -> None:  # fmt: skip
    x, score = data(rows, seed, missing)
    if coarse:
        x = np.round(x)
    y = target(score, kind)
    path = tmp_path / f"{os.urandom(6).hex()}.json"
    if library == "sklearn":
        maker = RandomForestRegressor if kind == 1 else RandomForestClassifier
        fitted = maker(rounds, max_depth=depth, random_state=seed).fit(x, y)
        skops.io.dump(fitted, path)
        handle = load_model(SklearnModelLoader(), path, schema=schema(kind))
    elif library == "xgboost":
        xgboost = pytest.importorskip("xgboost")
        goal = {1: "reg:squarederror", 2: "binary:logistic", 3: "multi:softprob"}[kind]
        params = {"objective": goal, "max_depth": depth, "nthread": 1, "min_child_weight": 0}
        params |= {"num_class": 3} if kind == 3 else {}
        xgboost.train(params, xgboost.DMatrix(x, y), rounds).save_model(path)
        handle = load_model(XgboostLoader(), path, schema=schema(kind))
    else:
        lightgbm = pytest.importorskip("lightgbm")
        goal = {1: "regression", 2: "binary", 3: "multiclass"}[kind]
        params = {"objective": goal, "max_depth": depth, "num_threads": 1, "verbosity": -1,
                  "min_data_in_leaf": 2}  # fmt: skip
        params |= {"num_class": 3} if kind == 3 else {}
        found = lightgbm.train(params, lightgbm.Dataset(x, y, params=params), rounds)
        found.save_model(path)
        handle = load_model(LightgbmLoader(), path, schema=schema(kind))
    model = handle.trees()
    q = np.concatenate([x, probe_rows(model, 200, seed)])
    np.testing.assert_array_equal(model.predict(q), handle.predict(q))
    if kind > 1:
        np.testing.assert_allclose(
            model.predict_proba(q), handle.predict_proba(q), rtol=1e-12, atol=1e-15
        )
