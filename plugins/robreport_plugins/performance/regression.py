"""The performance of a regressor, put together: scalars, tables, figures and findings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import (
    Bundle,
    Caveat,
    Check,
    Column,
    Context,
    Finding,
    Interval,
    Result,
    Scalar,
    SkipMetric,
    Table,
    stats,
)
from robreport_plugins.methods.residuals import counted_errors
from robreport_plugins.performance import regression_charts
from robreport_plugins.performance.metrics import RegressionParams

FloatArray = npt.NDArray[np.float64]

_SMALL = 100
_ERRORS = ("r2", "mean_absolute_error", "root_mean_squared_error", "median_absolute_error", "bias")
_BETTER: Mapping[str, Any] = {
    "r2": "higher",
    "mean_absolute_error": "lower",
    "root_mean_squared_error": "lower",
    "median_absolute_error": "lower",
    "bias": None,
}


def measure(bundle: Bundle, params: RegressionParams, ctx: Context) -> Result:
    """Return the performance of the bundle's model on its test set."""
    test = bundle.split("test")
    if not len(test):
        raise SkipMetric("the test set is empty")
    ctx.progress(0, 2, "predicting the test set")
    y = _values(test.labels, len(test), "true value")
    predicted = _values(bundle.model.predict(test.x), len(test), "prediction")
    residual = predicted - y
    ctx.progress(1, 2, "scoring")
    quantiles = tuple(dict.fromkeys(params.quantiles))
    scalars = _scalars(y, residual, quantiles, params, ctx)
    target = bundle.schema.target
    rmse = scalars["root_mean_squared_error"].value or 0.0
    direct = math.sqrt(math.fsum(float(r) * float(r) for r in residual) / residual.size)
    ctx.progress(2, 2, "done")
    return Result(
        answer=_answer(scalars, target),
        scalars=scalars,
        tables={
            "residuals": _table(scalars, quantiles),
            "residual_histogram": regression_charts.histogram_table(residual),
        },
        figures={
            "residuals": regression_charts.residuals(residual, target),
            "predicted_against_true": regression_charts.predicted_against_true(
                y, predicted, target
            ),
        },
        findings=_findings(scalars),
        caveats=(
            (Caveat(code="small-sample", detail=f"{y.size} test examples."),)
            if y.size < _SMALL
            else ()
        ),
        checks=(
            Check(
                name="error by two routes",
                passed=math.isclose(rmse, direct, rel_tol=1e-9, abs_tol=1e-300),
                detail="root mean squared error from weighted sums, and added up exactly",
            ),
        ),
        arrays={"residual": residual},
    )


def _values(given: Any, n: int, word: str) -> FloatArray:
    values = np.asarray(given, dtype=np.float64)
    if values.shape not in ((n,), (n, 1)):
        raise ValueError(f"need one {word} per example, ({n},), found shape {values.shape}")
    values = values.reshape(n)
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"the {word} of test example {bad} is {values[bad]}, not a finite number")
    return values


def _scalars(
    y: FloatArray,
    residual: FloatArray,
    quantiles: tuple[float, ...],
    params: RegressionParams,
    ctx: Context,
) -> dict[str, Scalar]:
    statistic = counted_errors(y, residual, quantiles)
    values = statistic(np.ones((1, y.size)))[0]
    ends = stats.bootstrap_many(statistic, y.size, rng=ctx.rng, draws=params.draws)
    names = (*_ERRORS, *(f"residual_quantile[{q:g}]" for q in quantiles))
    found = {}
    for name, value, interval in zip(names, values, ends, strict=True):
        found[name] = _scalar(name, float(value), interval, y.size)
    return found


def _scalar(name: str, value: float, interval: Interval | None, n: int) -> Scalar:
    better = _BETTER.get(name)
    if not math.isfinite(value):
        return Scalar(value=None, n=n, better=better, reason="all true values are the same")
    if interval is None:
        return Scalar(value=value, n=n, better=better, reason="undefined in many resamples")
    if not interval.low < interval.high:
        reason = "no interval: every resample gives the same value, so its spread says nothing"
        return Scalar(value=value, n=n, better=better, reason=reason)
    return Scalar.of(value, interval, n=n, better=better)


def _table(scalars: Mapping[str, Scalar], quantiles: tuple[float, ...]) -> Table:
    rows = []
    for q in quantiles:
        scalar = scalars[f"residual_quantile[{q:g}]"]
        rows.append((q, [scalar.value, scalar.low, scalar.high], scalar.n))
    return Table(
        title="Quantiles of the residuals",
        columns=(
            Column(key="quantile", title="Quantile", kind="share"),
            Column(key="residual", title="Predicted − true", kind="interval"),
            Column(key="n", title="Examples", kind="integer"),
        ),
        rows=tuple(rows),
        caption="95 % bootstrap intervals, in the unit of the target.",
    )


def _findings(scalars: Mapping[str, Scalar]) -> tuple[Finding, ...]:
    found = []
    r2, bias, rmse = (scalars[k] for k in ("r2", "bias", "root_mean_squared_error"))
    if r2.value is not None and r2.low is not None and r2.low <= 0:
        found.append(
            Finding(
                severity="high",
                claim="The model is not shown to beat always answering the mean of the test set.",
                evidence=("r2", "predicted_against_true"),
                recommendation="Do not use the model before it does.",
            )
        )
    sure = bias.low is not None and bias.high is not None and (bias.low > 0 or bias.high < 0)
    if sure and bias.value is not None and rmse.value and abs(bias.value) >= 0.2 * rmse.value:
        way = "high" if bias.value > 0 else "low"
        share = 100 * (bias.value / rmse.value) ** 2
        found.append(
            Finding(
                severity="medium" if share >= 25 else "low",
                claim=(
                    f"Predictions are too {way} on average; the bias makes up {share:.0f} % of "
                    "the mean squared error."
                ),
                evidence=("bias", "root_mean_squared_error", "residuals"),
                recommendation="Look for a shift between training and test data, then recalibrate.",
            )
        )
    return tuple(found)


def _answer(scalars: Mapping[str, Scalar], target: str) -> str:
    mae, r2 = scalars["mean_absolute_error"], scalars["r2"]
    what = f"the true {target}" if target else "the true value"
    text = f"Over {mae.n:,} test examples the model misses {what} by {mae.value:.4g} on average"
    if r2.value is None:
        return f"{text}; the true values do not vary."
    if r2.value < 0:
        return f"{text}, worse than always answering their mean (R² = {r2.value:.3f})."
    return f"{text} and explains {100 * r2.value:.1f} % of their variance."
