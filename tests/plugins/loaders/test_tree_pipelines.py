"""Trees behind encoders, imputers and scalings, as arrays over the rows of the audit's data."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier

from robreport import DataSchema, Needs, Norm, ThreatModel
from robreport_plugins.loaders.sklearn_model import SklearnModelLoader
from robreport_plugins.loaders.verified_trees import probe_rows
from robreport_plugins.methods.perturb_trees import nearest_other_leaf
from robreport_plugins.methods.space_of import space_of

RNG = np.random.default_rng(3)
N = 400
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(20, 70, N).astype(float),
        "job": RNG.choice(["clerk", "smith", "monk", "cook"], N),
        "sex": RNG.choice(["m", "f"], N),
        "rooms": RNG.choice([1, 2, 4], N),
        "pay": RNG.normal(size=N),
    }
)
SCORE = FRAME.age / 20 + FRAME.pay * (FRAME.job == "monk") + (FRAME.sex == "m") - FRAME.rooms / 3
RICH = np.where(SCORE.median() < SCORE, ">50K", "<=50K")
CATEGORIES = {
    "job": ("clerk", "cook", "monk", "smith"),
    "sex": ("f", "m"),
    "rooms": ("1", "2", "4"),
}
WORDS = ["job", "sex"]
NAMES = tuple(FRAME.columns)


def schema(**rest: Any) -> DataSchema:
    fields: dict[str, Any] = {
        "task": "classification", "input_shape": (len(NAMES),), "layout": "table",
        "classes": ("<=50K", ">50K"), "features": NAMES, "categories": CATEGORIES,
    }  # fmt: skip
    return DataSchema(**{**fields, **rest})


def coded(frame: pd.DataFrame) -> np.ndarray:
    columns = []
    for name in NAMES:
        values = frame[name].tolist()
        if name in CATEGORIES:
            known = CATEGORIES[name]
            values = [
                np.nan if v is None or v != v else known.index(v if v in known else str(int(v)))
                for v in values
            ]
        columns.append(values)
    return np.array(columns, dtype=np.float64).T


def spelled(x: np.ndarray) -> pd.DataFrame:
    """Rows of whole codes as the words and numbers that they stand for."""
    found: dict[str, Any] = {}
    for place, name in enumerate(NAMES):
        values = x[:, place].tolist()
        if name in CATEGORIES:
            values = [np.nan if v != v else CATEGORIES[name][int(v)] for v in values]
            if name == "rooms":
                values = [float(v) for v in values]
        found[name] = values
    return pd.DataFrame(found)


def gaps(frame: pd.DataFrame) -> pd.DataFrame:
    holes = frame.copy()
    for step, name in enumerate(("job", "pay", "age"), start=5):
        holes.loc[::step, name] = np.nan
    return holes


ONE_HOT = make_column_transformer(
    (OneHotEncoder(), WORDS), (StandardScaler(), ["pay", "age"]), remainder="passthrough"
)
IMPUTED = make_column_transformer(
    (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(drop="first")), WORDS),
    (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["age", "pay", "rooms"]),
)
ORDINAL = make_column_transformer(
    (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), WORDS),
    remainder="passthrough",
)

# The pipeline, and whether it takes missing values.
PIPELINES: dict[str, tuple[Pipeline, bool]] = {
    "one tree": (make_pipeline(ONE_HOT, DecisionTreeClassifier(random_state=0)), False),
    "forest": (make_pipeline(ONE_HOT, RandomForestClassifier(9, random_state=0)), False),
    "boosting": (make_pipeline(ONE_HOT, GradientBoostingClassifier(n_estimators=9)), False),
    "imputed": (make_pipeline(IMPUTED, GradientBoostingClassifier(n_estimators=9)), True),
    "imputed, histogram": (
        make_pipeline(IMPUTED, HistGradientBoostingClassifier(max_iter=9)),
        True,
    ),
    "binned categories": (
        make_pipeline(
            ORDINAL, HistGradientBoostingClassifier(max_iter=9, categorical_features=[0, 1])
        ),
        True,
    ),
    "ordinal": (make_pipeline(ORDINAL, RandomForestClassifier(9, random_state=0)), True),
    "target": (
        make_pipeline(
            make_column_transformer((TargetEncoder(), WORDS), remainder="passthrough"),
            MinMaxScaler(),
            ExtraTreesClassifier(9, random_state=0),
        ),
        True,
    ),
    "rare ones together, chosen": (
        make_pipeline(
            make_column_transformer(
                (OneHotEncoder(min_frequency=105), WORDS), remainder="passthrough"
            ),
            SelectKBest(k=3),
            GradientBoostingClassifier(n_estimators=9),
        ),
        False,
    ),
    "clipped": (
        make_pipeline(
            make_column_transformer(
                (OrdinalEncoder(), WORDS), (MaxAbsScaler(clip=True), ["age", "pay"])
            ),
            GradientBoostingClassifier(n_estimators=9),
        ),
        False,
    ),
    # scikit-learn multiplies a sparse table with what it divides a dense one by
    "sparse, then scaled": (
        make_pipeline(
            make_column_transformer(
                (OneHotEncoder(), WORDS), remainder="passthrough", sparse_threshold=1.0
            ),
            MaxAbsScaler(),
            GradientBoostingClassifier(n_estimators=30),
        ),
        False,
    ),
    "told where words were missing": (
        make_pipeline(
            make_column_transformer(
                (
                    make_pipeline(
                        SimpleImputer(strategy="most_frequent", add_indicator=True),
                        OneHotEncoder(),
                    ),
                    WORDS,
                ),
                (SimpleImputer(), ["age", "pay", "rooms"]),
            ),
            RandomForestClassifier(9, random_state=0),
        ),
        True,
    ),
    "two ways": (
        make_pipeline(
            make_column_transformer(
                (OneHotEncoder(), ["rooms", "sex"]), (MinMaxScaler(), ["rooms", "pay"])
            ),
            GradientBoostingClassifier(n_estimators=9),
        ),
        False,
    ),
    "in turn": (
        make_pipeline(
            make_column_transformer((OneHotEncoder(), WORDS), remainder="passthrough"),
            make_column_transformer((StandardScaler(), [5, 6, 7]), remainder="passthrough"),
            GradientBoostingClassifier(n_estimators=9),
        ),
        False,
    ),
}


def loaded(
    estimator: Any, frame: pd.DataFrame, tmp_path: Path, load_model: Any, **rest: Any
) -> Any:
    path = tmp_path / "m.skops"
    skops.io.dump(estimator.fit(frame, RICH), path)
    return load_model(SklearnModelLoader(), path, schema=schema(**rest), trusted=True)


@pytest.mark.parametrize("name", PIPELINES)
def test_they_answer_as_the_pipeline(name: str, tmp_path: Path, load_model: Any) -> None:
    """Of rows of codes as the pipeline of their words, bit for bit, codes between codes too."""
    estimator, missing = PIPELINES[name]
    frame = gaps(FRAME) if missing else FRAME
    handle = loaded(estimator, frame, tmp_path, load_model)
    assert Needs.TREES in handle.offers, handle.facts["trees"]
    trees = handle.trees()
    assert trees.takes_missing == missing
    assert trees.n_features == len(NAMES)
    rng = np.random.default_rng(0)
    x = probe_rows(trees, 3000, seed=5)
    for place, column in enumerate(NAMES):
        if column in CATEGORIES:
            x[:, place] = rng.integers(0, len(CATEGORIES[column]), len(x))
    x[:, 0] = np.where(np.arange(len(x)) % 2, rng.uniform(15, 75, len(x)), x[:, 0])
    if missing:
        x[rng.random(x.shape) < 0.1] = np.nan
    x = np.concatenate([x, coded(frame)])
    with np.errstate(over="ignore"):
        expected = estimator.predict_proba(spelled(x))
    if trees.link == "distribution":
        np.testing.assert_array_equal(trees.predict_proba(x), expected)
    else:
        np.testing.assert_array_equal(
            trees.predict_raw(x)[:, 0], estimator.decision_function(spelled(x))
        )
    np.testing.assert_array_equal(trees.predict(x), expected.argmax(axis=1))
    between = x.copy()
    for place, column in enumerate(NAMES):
        if column in CATEGORIES:
            between[:, place] += rng.uniform(-0.49, 0.49, len(x))
    np.testing.assert_array_equal(trees.predict_raw(between), trees.predict_raw(x))
    assert len(np.unique(trees.predict_raw(x)[:, 0])) > (0 if name == "one tree" else 5)


@pytest.mark.parametrize("how", ["from_dtype", "codes"])
def test_a_histogram_model_bins_words_itself(how: str, tmp_path: Path, load_model: Any) -> None:
    typed = gaps(FRAME).astype({"sex": "category", "job": "category"})
    if how == "codes":
        typed = typed.assign(sex=typed.sex.cat.codes, job=typed.job.cat.codes)
    settings = "from_dtype" if how == "from_dtype" else ["job", "sex"]
    estimator = HistGradientBoostingClassifier(max_iter=9, categorical_features=settings)
    handle = loaded(estimator, typed, tmp_path, load_model)
    assert Needs.TREES in handle.offers, handle.facts["trees"]
    assert any(tree.categories for tree in handle.trees().trees)
    x = coded(gaps(FRAME)) if how == "from_dtype" else coded(FRAME)
    np.testing.assert_array_equal(handle.trees().predict(x), handle.predict(x))
    np.testing.assert_allclose(handle.trees().predict_proba(x), handle.predict_proba(x), rtol=1e-12)


def test_encoders_of_codes(tmp_path: Path, load_model: Any) -> None:
    """Fitted on the codes themselves, one-hot for the trees."""
    numbers = pd.DataFrame(coded(FRAME), columns=list(NAMES))
    handle = loaded(
        make_pipeline(ONE_HOT, GradientBoostingClassifier(n_estimators=9)), numbers, tmp_path,
        load_model, categories={name: CATEGORIES[name] for name in WORDS},
    )  # fmt: skip
    assert handle.facts["categorical columns"] == "job, sex as codes"
    x = coded(FRAME)
    np.testing.assert_array_equal(handle.trees().predict(x), handle.predict(x))


def test_regression(tmp_path: Path, load_model: Any) -> None:
    estimator = make_pipeline(ONE_HOT, GradientBoostingRegressor(n_estimators=9))
    skops.io.dump(estimator.fit(FRAME, SCORE), tmp_path / "m.skops")
    handle = load_model(
        SklearnModelLoader(), tmp_path / "m.skops", schema=schema(task="regression", classes=())
    )
    np.testing.assert_array_equal(handle.trees().predict(coded(FRAME)), estimator.predict(FRAME))


@pytest.mark.parametrize(
    ("front", "words"),
    [
        (
            make_column_transformer((OneHotEncoder(), WORDS), (KBinsDiscretizer(), ["age"])),
            "KBinsDiscretizer stands",
        ),
        (
            make_column_transformer(
                (OneHotEncoder(), WORDS), (PolynomialFeatures(), ["age", "pay"])
            ),
            "PolynomialFeatures stands",
        ),
        (
            make_column_transformer((OneHotEncoder(), [*WORDS, "age"])),
            "not declared categorical, age",
        ),
    ],
)
def test_why_not(front: Any, words: str, tmp_path: Path, load_model: Any) -> None:
    handle = loaded(
        make_pipeline(front, DecisionTreeClassifier(max_depth=3)), FRAME, tmp_path, load_model
    )
    assert Needs.TREES not in handle.offers
    assert words in handle.facts["trees"]


def test_a_column_without_categories_costs_the_trees(tmp_path: Path, load_model: Any) -> None:
    front = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["job"]), (StandardScaler(), ["age"])
    )
    handle = loaded(
        make_pipeline(front, RandomForestClassifier(3, random_state=0)), FRAME, tmp_path,
        load_model, categories={**CATEGORIES, "job": ()},
    )  # fmt: skip
    assert "no category" in handle.facts["trees"]


def test_a_category_that_is_refused_costs_the_trees(tmp_path: Path, load_model: Any) -> None:
    more = {**CATEGORIES, "job": ("baker", "clerk", "cook", "monk", "smith")}
    estimator = make_pipeline(ONE_HOT, DecisionTreeClassifier(max_depth=3))
    handle = loaded(estimator, FRAME, tmp_path, load_model, categories=more)
    assert "categories are refused" in handle.facts["trees"]


@pytest.mark.parametrize("norm", list(Norm))
def test_the_nearest_record_of_another_class_is_exact(
    norm: Norm, tmp_path: Path, load_model: Any
) -> None:
    """Against every combination of words and of numbers on and beside thresholds."""
    estimator = make_pipeline(ONE_HOT, DecisionTreeClassifier(max_depth=4, random_state=0))
    rules: dict[str, Any] = {"frozen": ("sex",), "bounds": ((18, 0, 0, 0, -4), (72, 3, 1, 2, 4))}
    handle = loaded(estimator, FRAME, tmp_path, load_model, **rules)
    trees = handle.trees()
    data = coded(FRAME)
    threat = ThreatModel(name="t", norm=norm, eps=(), scale="range")
    space = space_of(schema(**rules), threat, (len(NAMES),), data)
    bars = {
        j: sorted({float(v) for t in trees.trees for v in t.threshold[t.feature == j]})
        for j in (0, 4)
    }
    x, y = data[:12], handle.predict(data[:12])
    x_adv, size = nearest_other_leaf(trees, space, x, y, norm)
    assert np.isfinite(size).all()
    assert (handle.predict(x_adv) != y).all()
    assert space.valid(x, x_adv).all()
    for row, own, found in zip(x, y, size, strict=True):
        numbers = [
            [row[j], *(v for bar in bars[j] for v in (bar, np.nextafter(bar, np.inf)))]
            for j in (0, 4)
        ]
        every = itertools.product(numbers[0], range(4), [row[2]], range(3), numbers[1])
        rows = np.array(list(every), dtype=np.float64)
        other = estimator.predict(spelled(rows)) != schema().classes[own]
        sizes = space.sizes(np.repeat(row[None], len(rows), axis=0), rows, norm)
        assert found == pytest.approx(sizes[other].min(), rel=1e-12)
