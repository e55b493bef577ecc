"""Pipelines fitted on named columns and words, audited on rows of codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from robreport import DataSchema, Needs
from robreport_plugins.loaders.sklearn_model import SklearnModelLoader

LOADER = SklearnModelLoader()
Check = Callable[..., str]
RNG = np.random.default_rng(0)
N = 240
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(20, 70, N),
        "sex": RNG.choice(["m", "f"], N),
        "job": RNG.choice(["clerk", "smith", "monk"], N),
        "rooms": RNG.choice([1, 2, 4], N),
        "pay": RNG.normal(size=N),
    }
)
RICH = np.where(FRAME.age + 20 * (FRAME.sex == "m") + 5 * FRAME.pay > 50, ">50K", "<=50K")
CATEGORIES = {"sex": ("f", "m"), "job": ("clerk", "monk", "smith"), "rooms": ("1", "2", "4")}
NAMES = tuple(FRAME.columns)


def _schema(categories: dict[str, tuple[str, ...]] = CATEGORIES, **rest: Any) -> DataSchema:
    fields: dict[str, Any] = {
        "task": "classification", "input_shape": (len(NAMES),), "layout": "table",
        "classes": ("<=50K", ">50K"), "features": NAMES, "categories": categories,
    }  # fmt: skip
    return DataSchema(**{**fields, **rest})


def _codes(frame: pd.DataFrame, schema: DataSchema) -> np.ndarray:
    """Code a frame by hand, as an independent reading of what the schema says."""
    columns = []
    for name in schema.features:
        values = frame[name].tolist()
        if name in schema.categories:
            known = schema.categories[name]
            values = [np.nan if v is None or v != v else known.index(str(v)) for v in values]
        columns.append(values)
    return np.array(columns, dtype=np.float64).T


def _pipeline(last: Any = None, categorical: Any = None) -> Pipeline:
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["pay", "age"]),
            ("words", categorical or OneHotEncoder(), ["job", "sex"]),
        ],
        remainder="passthrough",
    )
    return make_pipeline(columns, last or LogisticRegression(max_iter=1000))


@pytest.fixture
def dump(tmp_path: Path) -> Callable[..., Path]:
    def write(estimator: Any, frame: pd.DataFrame = FRAME, y: Any = RICH) -> Path:
        path = tmp_path / "m.skops"
        skops.io.dump(estimator.fit(frame, y), path)
        return path

    return write


PIPELINES = {
    "one-hot": _pipeline(),
    "one-hot, first dropped": _pipeline(categorical=OneHotEncoder(drop="first")),
    "dense, rare ones together": _pipeline(
        categorical=OneHotEncoder(sparse_output=False, min_frequency=90)
    ),
    "ordinal": _pipeline(categorical=OrdinalEncoder()),
    "ordinal, scaled": _pipeline(categorical=make_pipeline(OrdinalEncoder(), MinMaxScaler())),
    "target": _pipeline(categorical=TargetEncoder()),
    "imputed": _pipeline(
        categorical=make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
    ),
    "perceptron": _pipeline(MLPClassifier((6,), max_iter=30, random_state=0)),
    "scaled afterwards": make_pipeline(
        make_column_transformer(
            (OneHotEncoder(), ["sex", "job", "rooms"]), remainder="passthrough"
        ),
        StandardScaler(with_mean=False),
        LogisticRegression(),
    ),
    "chosen by type": make_pipeline(
        make_column_transformer(
            (OneHotEncoder(), make_column_selector(dtype_exclude=np.number)),
            (StandardScaler(), make_column_selector(dtype_include=np.number)),
        ),
        LogisticRegression(),
    ),
    "some columns only": make_pipeline(
        make_column_transformer((OneHotEncoder(), ["sex"]), (StandardScaler(), ["age"])),
        LogisticRegression(),
    ),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_predicts_from_codes(name: str, dump: Any, load_model: Any) -> None:
    path = dump(PIPELINES[name])
    schema = _schema()
    handle = load_model(LOADER, path, schema=schema)
    assert handle.facts["categorical columns"] == "sex, job as words; rooms as numbers"
    fitted = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    x = _codes(FRAME, schema)
    expected = fitted.predict_proba(FRAME)
    np.testing.assert_allclose(handle.predict_proba(x), expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(handle.predict(x), expected.argmax(axis=1))
    assert Needs.GRADIENTS | Needs.LOGITS in handle.offers, dict(handle.facts)
    module = handle.torch_module()
    rows = torch.tensor(x, requires_grad=True)
    scores = module(rows)
    np.testing.assert_allclose(
        torch.softmax(scores, dim=1).detach().numpy(), expected, rtol=0, atol=1e-10
    )
    # Gradients against differences: exact in numbers, nothing in categories.
    (found,) = torch.autograd.grad((scores[:, 1] - scores[:, 0]).sum(), rows)
    step = 1e-5
    for column in (0, 4):
        up, down = x.copy(), x.copy()
        up[:, column] += step
        down[:, column] -= step
        slope = _odds(fitted, up, schema) - _odds(fitted, down, schema)
        np.testing.assert_allclose(found[:, column], slope / (2 * step), rtol=1e-4, atol=1e-6)
    decoded = [i for i, n in enumerate(NAMES) if n in ("sex", "job")]
    assert not found[:, decoded].any()


def _odds(fitted: Any, x: np.ndarray, schema: DataSchema) -> Any:
    """Return the log-odds of rows of codes, spelled out by hand."""
    words = {
        name: [schema.categories[name][int(code)] for code in x[:, i]]
        if name in ("sex", "job")
        else x[:, i]
        if name != "rooms"
        else [float(schema.categories[name][int(code)]) for code in x[:, i]]
        for i, name in enumerate(schema.features)
    }
    proba = fitted.predict_proba(pd.DataFrame(words))
    return np.log(proba[:, 1]) - np.log(proba[:, 0])


def test_columns_in_another_order(dump: Any, load_model: Any, refused: Check) -> None:
    path = dump(_pipeline())
    turned = NAMES[::-1]
    schema = _schema(features=turned)
    handle = load_model(LOADER, path, schema=schema)
    same = load_model(LOADER, path, schema=_schema())
    found = handle.predict_proba(_codes(FRAME, schema))
    np.testing.assert_array_equal(found, same.predict_proba(_codes(FRAME, _schema())))
    lacking = _schema(features=("age", "sex", "work", "rooms", "pay"), categories={})
    refused(lambda: load_model(LOADER, path, schema=lacking), "columns that the data lacks ('job')")


def test_a_model_of_fewer_columns(dump: Any, load_model: Any) -> None:
    part = FRAME[["pay", "sex"]]
    estimator = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["sex"]), remainder="passthrough"),
        LogisticRegression(),
    )
    handle = load_model(LOADER, dump(estimator, part), schema=_schema())
    x = _codes(FRAME, _schema())
    np.testing.assert_allclose(handle.predict_proba(x), estimator.predict_proba(part), atol=1e-12)
    assert Needs.GRADIENTS in handle.offers
    plain = LogisticRegression()
    handle = load_model(LOADER, dump(plain, FRAME[["pay", "age"]]), schema=_schema())
    expected = plain.predict_proba(FRAME[["pay", "age"]])
    np.testing.assert_allclose(handle.predict_proba(x), expected, atol=1e-12)
    with torch.inference_mode():
        scores = handle.torch_module()(torch.tensor(x))
    np.testing.assert_allclose(torch.softmax(scores, 1).numpy(), expected, atol=1e-10)


def test_missing_values(dump: Any, load_model: Any, refused: Check) -> None:
    gaps = FRAME.copy()
    gaps.loc[::7, "job"] = np.nan
    gaps.loc[::5, "pay"] = np.nan
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "pay"]),
        (
            make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()),
            ["sex", "job"],
        ),
    )
    schema = _schema(missing=("job", "pay"))
    for estimator in (
        make_pipeline(columns, LogisticRegression()),
        _pipeline(HistGradientBoostingClassifier(max_iter=5, random_state=0)),  # NaN as a category
    ):
        handle = load_model(LOADER, dump(estimator, gaps), schema=schema)
        x = _codes(gaps, schema)
        assert np.isnan(x).any()
        np.testing.assert_allclose(
            handle.predict_proba(x), estimator.predict_proba(gaps), rtol=0, atol=1e-12
        )
        if Needs.GRADIENTS in handle.offers:
            with torch.inference_mode():
                scores = torch.softmax(handle.torch_module()(torch.tensor(x)), dim=1)
            np.testing.assert_allclose(scores.numpy(), estimator.predict_proba(gaps), atol=1e-10)
    none = load_model(LOADER, dump(_pipeline()), schema=schema)
    refused(lambda: none.predict(x), "unknown categories [nan]")


def test_blanks_around_words_and_an_unknown_one(dump: Any, load_model: Any, refused: Check) -> None:
    """Read without skipping blanks, Adult's words begin with one."""
    blank = FRAME.assign(sex=" " + FRAME.sex, job=" " + FRAME.job)
    estimator = _pipeline()
    handle = load_model(LOADER, dump(estimator, blank), schema=_schema())
    np.testing.assert_allclose(
        handle.predict_proba(_codes(FRAME, _schema())), estimator.predict_proba(blank), atol=1e-12
    )
    more = _schema({**CATEGORIES, "job": ("baker", "clerk", "monk", "smith")})
    handle = load_model(LOADER, dump(_pipeline()), schema=more)  # none of the data's yet
    x = _codes(FRAME, more)
    assert len(handle.predict(x)) == N
    x[3, 2] = 0.0
    refused(lambda: handle.predict(x), "unknown categories", "baker")
    ignoring = _pipeline(categorical=OneHotEncoder(handle_unknown="ignore"))
    handle = load_model(LOADER, dump(ignoring), schema=more)
    words = FRAME.assign(job=FRAME.job.where(FRAME.index != 3, "baker"))
    expected = ignoring.predict_proba(words)
    np.testing.assert_allclose(handle.predict_proba(x), expected, atol=1e-12)
    with torch.inference_mode():
        scores = torch.softmax(handle.torch_module()(torch.tensor(x)), dim=1)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-10)


def test_a_code_that_an_attack_made_is_the_nearest(dump: Any, load_model: Any) -> None:
    handle = load_model(LOADER, dump(_pipeline()), schema=_schema())
    x = _codes(FRAME, _schema())
    moved = x.copy()
    moved[:, 1] += 0.3
    moved[:, 2] = np.where(x[:, 2] == 2, 7.5, x[:, 2] - 0.4)
    np.testing.assert_array_equal(handle.predict_proba(moved), handle.predict_proba(x))
    module = handle.torch_module()
    with torch.inference_mode():
        np.testing.assert_array_equal(module(torch.tensor(moved)), module(torch.tensor(x)))


def test_codes_stay_codes_for_a_model_of_numbers(dump: Any, load_model: Any) -> None:
    """Fitted on codes with names: words would be refused, so it is given what it was fitted on."""
    schema = _schema({"sex": ("f", "m"), "job": ("clerk", "monk", "smith")})
    coded = pd.DataFrame(_codes(FRAME, schema), columns=NAMES)
    for estimator in (LogisticRegression(max_iter=5000), RandomForestClassifier(5, random_state=0)):
        handle = load_model(LOADER, dump(estimator, coded), schema=schema)
        np.testing.assert_allclose(
            handle.predict_proba(coded.to_numpy()), estimator.predict_proba(coded), atol=1e-12
        )
        assert handle.facts["categorical columns"] == "sex, job as codes"
    encoded = _pipeline(categorical=OneHotEncoder())
    handle = load_model(LOADER, dump(encoded, coded), schema=schema)
    np.testing.assert_allclose(
        handle.predict_proba(coded.to_numpy()), encoded.predict_proba(coded), atol=1e-12
    )


@pytest.mark.parametrize("how", ["from_dtype", ["sex", "job"]])
def test_histogram_boosting_of_categories(how: Any, dump: Any, load_model: Any) -> None:
    typed = FRAME.astype({"sex": "category", "job": "category"})
    if how != "from_dtype":
        typed = FRAME.assign(sex=typed.sex.cat.codes, job=typed.job.cat.codes)
    estimator = HistGradientBoostingClassifier(max_iter=8, categorical_features=how)
    schema = _schema({"sex": ("f", "m"), "job": ("clerk", "monk", "smith")})
    handle = load_model(LOADER, dump(estimator, typed), schema=schema)
    np.testing.assert_array_equal(
        handle.predict_proba(_codes(FRAME, schema)), estimator.predict_proba(typed)
    )


def test_without_names(dump: Any, load_model: Any) -> None:
    """Fitted on an array of objects, an encoder still says which words it knows."""
    table = FRAME[["sex", "pay"]].to_numpy(dtype=object)
    estimator = make_pipeline(
        make_column_transformer((OneHotEncoder(), [0]), (StandardScaler(), [1])),
        LogisticRegression(),
    )
    schema = _schema({"sex": ("f", "m")}, features=("sex", "pay"), input_shape=(2,))
    handle = load_model(LOADER, dump(estimator, table), schema=schema)
    x = _codes(FRAME, schema)
    np.testing.assert_allclose(handle.predict_proba(x), estimator.predict_proba(table), atol=1e-12)
    assert Needs.GRADIENTS in handle.offers


def test_refit_and_regression(dump: Any, load_model: Any) -> None:
    target = 3.0 * FRAME.age + 7.0 * (FRAME.job == "monk") + 2.0
    estimator = _pipeline(LinearRegression())
    schema = _schema(task="regression", classes=())
    handle = load_model(LOADER, dump(estimator, FRAME, target), schema=schema)
    x = _codes(FRAME, schema)
    np.testing.assert_allclose(handle.predict(x), target, rtol=1e-9)
    again = handle.refit(x[::2], target.to_numpy()[::2], seed=1)
    np.testing.assert_allclose(again.predict(x), target, rtol=1e-9)
    with torch.inference_mode():
        np.testing.assert_allclose(again.torch_module()(torch.tensor(x))[:, 0], target, rtol=1e-9)


def test_no_twin_says_why(dump: Any, load_model: Any) -> None:
    words = FRAME[["sex", "job"]]
    schema = _schema({"sex": ("f", "m"), "job": ("clerk", "monk", "smith")},
                     features=("sex", "job"), input_shape=(2,))  # fmt: skip
    estimator = make_pipeline(OneHotEncoder(), LogisticRegression())
    handle = load_model(LOADER, dump(estimator, words), schema=schema)
    x = _codes(FRAME, schema)
    np.testing.assert_allclose(handle.predict_proba(x), estimator.predict_proba(words), atol=1e-12)
    assert Needs.GRADIENTS not in handle.offers
    assert "every column is categorical" in handle.facts["gradients"]
    undeclared = _schema({"sex": ("f", "m"), "job": ("clerk", "monk", "smith")})
    numbers = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["rooms", "sex", "job"]),
                                remainder="passthrough"),
        LogisticRegression(),
    )  # fmt: skip
    handle = load_model(LOADER, dump(numbers), schema=undeclared)
    assert "not declared categorical" in handle.facts["gradients"]


def test_words_and_booleans_side_by_side(dump: Any, load_model: Any) -> None:
    """Words reach an encoder that tells where they were missing, booleans the model itself."""
    frame = FRAME.assign(own=FRAME.pay > 0)
    rich = np.where((FRAME.job == "monk") + 1.0 * frame.own > 0.5, ">50K", "<=50K")
    names = (*NAMES, "own")
    for words in (("False", "True"), ("True", "False")):
        schema = _schema({**CATEGORIES, "own": words}, features=names, input_shape=(len(names),))
        x = np.column_stack([_codes(frame, _schema()), [words.index(str(v)) for v in frame.own]])
        for told in (True, False):
            impute = SimpleImputer(strategy="most_frequent", add_indicator=told)
            columns = make_column_transformer(
                (make_pipeline(impute, OneHotEncoder(handle_unknown="ignore")), ["job"]),
                (OneHotEncoder(), ["sex"]),
                remainder="passthrough",
            )
            estimator = make_pipeline(columns, RandomForestClassifier(9, random_state=0))
            handle = load_model(LOADER, dump(estimator, frame, rich), schema=schema)
            expected = estimator.predict_proba(frame)
            np.testing.assert_array_equal(handle.predict_proba(x), expected)
            assert handle.facts["categorical columns"].startswith("sex, job as words")
            assert Needs.TREES in handle.offers, handle.facts["trees"]


@pytest.mark.parametrize("coded", [("grade",), ("grade", "level")])
def test_each_column_in_the_form_that_the_model_takes(
    coded: tuple[str, ...], dump: Any, load_model: Any
) -> None:
    """Nothing says which words an encoder in a union knows; other words were codes when fitted."""
    rng = np.random.default_rng(1)
    known = ("high", "low", "mid")
    frame = FRAME[["job", "pay"]].assign(**{name: rng.integers(0, 3, N) for name in coded})
    rich = np.where((frame.job == "monk") + (frame.grade > 1) + frame.pay > 1, ">50K", "<=50K")
    columns = make_column_transformer(
        (FeatureUnion([("words", OneHotEncoder(handle_unknown="ignore"))]), ["job"]),
        remainder="passthrough",
    )
    estimator = make_pipeline(columns, RandomForestClassifier(9, random_state=0))
    names = tuple(frame.columns)
    schema = _schema(
        {"job": CATEGORIES["job"], **dict.fromkeys(coded, known)},
        features=names, input_shape=(len(names),),
    )  # fmt: skip
    handle = load_model(LOADER, dump(estimator, frame, rich), schema=schema)
    x = frame.assign(job=[CATEGORIES["job"].index(word) for word in frame.job]).to_numpy(float)
    np.testing.assert_array_equal(handle.predict_proba(x), estimator.predict_proba(frame))
    said = f"job as words; {', '.join(coded)} as codes"
    assert handle.facts["categorical columns"] == said
