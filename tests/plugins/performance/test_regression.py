"""performance.regression against scikit-learn and NumPy, and on hostile models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics as skm
from pydantic import ValidationError

from robreport import Bundle, Context, DataSchema, ModelHandle, Needs, SkipMetric, Split, stats
from robreport.result import check_result
from robreport_plugins.methods.residuals import counted_errors, weighted_quantiles
from robreport_plugins.performance.metrics import RegressionParams, RegressionPerformance


class Says(ModelHandle):
    """A model that says what it is given."""

    offers = Needs.REGRESSION

    def __init__(self, values: np.ndarray) -> None:
        super().__init__()
        self.name, self.n_outputs, self.values = "says", 1, values

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.values


def measured(y: np.ndarray, predicted: np.ndarray, **params: Any) -> Any:
    test = Split(role="test", x=np.zeros((len(y), 1)), y=y, index=np.arange(len(y)), digest="d")
    given = Bundle(
        model=Says(predicted),
        splits={"test": test},
        schema=DataSchema(task="regression", input_shape=(1,), layout="table", target="price"),
        offers=Needs.REGRESSION | Needs.LABELS,
    )
    result = RegressionPerformance().compute(given, RegressionParams(**params), Context(seed=2))
    return check_result(result)


@pytest.fixture
def values() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.normal(1000, 20, 250)
    return y, y + rng.standard_t(4, 250) * 5 + 1


def test_scalars_equal_scikit_learn(values: tuple[np.ndarray, np.ndarray]) -> None:
    y, predicted = values
    result = measured(y, predicted)
    value = {name: scalar.value for name, scalar in result.scalars.items()}
    assert value["r2"] == pytest.approx(skm.r2_score(y, predicted))
    assert value["mean_absolute_error"] == pytest.approx(skm.mean_absolute_error(y, predicted))
    rmse = skm.root_mean_squared_error(y, predicted)
    assert value["root_mean_squared_error"] == pytest.approx(rmse)
    median = skm.median_absolute_error(y, predicted)
    assert value["median_absolute_error"] == pytest.approx(median)
    assert value["bias"] == pytest.approx(np.mean(predicted - y))
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        found = value[f"residual_quantile[{q:g}]"]
        assert found == pytest.approx(np.quantile(predicted - y, q))
    for scalar in result.scalars.values():
        assert scalar.low <= scalar.value <= scalar.high
        assert scalar.n == 250
    assert result.arrays["residual"] == pytest.approx(predicted - y)
    assert all(check.passed for check in result.checks)
    assert "price" in result.answer


def test_statistics_of_counts_are_those_of_the_resample() -> None:
    rng = np.random.default_rng(1)
    y, residual = rng.normal(50, 3, 30), rng.normal(size=30).round(1)
    statistic = counted_errors(y, residual, (0.1, 0.5, 1.0))
    counts = next(stats.resample_counts(30, rng=rng, draws=6))
    for row, found in zip(counts, statistic(counts), strict=True):
        pick = np.repeat(np.arange(30), row.astype(int))
        t, r = y[pick], residual[pick]
        expected = [
            skm.r2_score(t, t + r), np.abs(r).mean(), np.sqrt((r**2).mean()),
            np.median(np.abs(r)), r.mean(), *np.quantile(r, [0.1, 0.5, 1.0]),
        ]  # fmt: skip
        assert found == pytest.approx(expected)


def test_weighted_quantiles_equal_numpy() -> None:
    rng = np.random.default_rng(3)
    ordered, q = np.sort(rng.random(9)), (0.0, 0.2, 0.5, 0.99, 1.0)
    counts = rng.integers(0, 3, (5, 9)).astype(float) + np.eye(5, 9)
    found = weighted_quantiles(ordered, counts, q)
    for row, values in zip(counts, found, strict=True):
        assert values == pytest.approx(np.quantile(np.repeat(ordered, row.astype(int)), q))


def test_constant_truth_has_no_explained_share() -> None:
    result = measured(np.full(120, 5.0), np.linspace(4, 6, 120))
    assert result.scalars["r2"].value is None
    assert "the same" in result.scalars["r2"].reason
    assert "do not vary" in result.answer


def test_a_perfect_model_has_points_without_intervals() -> None:
    y = np.arange(200.0)
    result = measured(y, y)
    assert result.scalars["mean_absolute_error"].value == 0
    assert result.scalars["mean_absolute_error"].low is None
    assert result.findings == ()


def test_bias_and_uselessness_are_found(values: tuple[np.ndarray, np.ndarray]) -> None:
    y, predicted = values
    (biased,) = measured(y, predicted + 12).findings
    assert biased.severity == "medium"
    assert "too high" in biased.claim
    useless = measured(y, np.random.default_rng(0).permutation(predicted)).findings
    assert [f.severity for f in useless] == ["high"]


@pytest.mark.parametrize(
    ("predicted", "words"),
    [
        (np.zeros(3), "one prediction per example"),
        (np.array([0.0, np.nan, 0, 0]), "prediction of test example 1 is nan"),
        (np.array([0.0, 0, 0, np.inf]), "prediction of test example 3 is inf"),
    ],
)
def test_what_does_not_fit_is_refused(predicted: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        measured(np.arange(4.0), predicted)


def test_a_column_of_predictions_is_taken_and_small_sets_are_said() -> None:
    result = measured(np.arange(40.0), np.arange(40.0)[:, None] + 1)
    assert result.scalars["bias"].value == pytest.approx(1)
    assert [c.code for c in result.caveats] == ["small-sample"]


def test_quantiles_outside_are_refused() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        measured(np.arange(4.0), np.arange(4.0), quantiles=(0.5, 1.5))


def test_an_empty_set_is_skipped() -> None:
    with pytest.raises(SkipMetric, match="empty"):
        measured(np.zeros(0), np.zeros(0))


def test_figures_do_not_grow_with_the_data() -> None:
    rng = np.random.default_rng(4)
    y = rng.normal(size=20_000)
    result = measured(y, y + rng.normal(size=20_000), draws=100)
    assert all(len(str(f.spec)) < 120_000 for f in result.figures.values())
