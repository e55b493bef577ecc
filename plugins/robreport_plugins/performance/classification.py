"""The performance of a classifier, put together: scalars, tables, figures and findings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Bundle, Caveat, Check, Context, Interval, Result, Scalar, stats
from robreport_plugins.methods import calibration, labels, probabilities, ranking
from robreport_plugins.methods.confusion_chart import confusion_chart
from robreport_plugins.performance import charts, findings, tables
from robreport_plugins.performance.metrics import ClassificationParams
from robreport_plugins.performance.predictions import Predictions, read_predictions

FloatArray = npt.NDArray[np.float64]

_NO_SPREAD = "every resample gives the same value, so its spread says nothing"
_SMALL = 100
_LABELS = {
    "macro_f1": "Macro F1",
    "top5_accuracy": "Top-5 accuracy",
    "roc_auc_ovr": "ROC AUC, each class against the rest",
    "calibration_error_if_calibrated": "The same of a calibrated model",
    "uncertainty_rejection_auc": "Accuracy as the least certain are rejected",
}


def measure(bundle: Bundle, params: ClassificationParams, ctx: Context) -> Result:
    """Return the performance of the bundle's model on its test set."""
    given = read_predictions(bundle, ctx)
    matrix = labels.confusion(given.y, given.predicted, len(given.names))
    per_class = labels.class_scores(matrix)
    scalars = _label_scalars(given, per_class, params, ctx)
    scores = _Scores.of(given, params)
    scalars |= _probability_scalars(given, scores, params, ctx)
    labelled = {**_LABELS, "cvar_log_loss": f"Mean of the worst {100 * params.tail:g} % log losses"}
    scalars = {n: replace(s, label=labelled.get(n, s.label)) for n, s in scalars.items()}
    made_tables = {"per_class": tables.per_class(given.names, per_class, matrix)}
    if (pairs := tables.confusion(given.names, matrix)) is not None:
        made_tables["confusion"] = pairs
    figures = {"confusion": confusion_chart(given.names, matrix)}
    arrays: dict[str, Any] = {"correct": given.correct}
    if scores is not None:
        made_tables["reliability"] = tables.reliability(scores.bins)
        figures["reliability"] = charts.reliability(scores.bins, scalars)
        arrays["log_loss"] = scores.losses
    ctx.progress(3, 3, "done")
    return Result(
        answer=_answer(scalars, scores is not None),
        scalars=scalars,
        tables=made_tables,
        figures=figures,
        findings=(
            *findings.of_labels(given.names, matrix, per_class, scalars),
            *findings.of_confidence(scalars),
            *given.findings,
        ),
        caveats=(*_caveats(given, per_class), *given.caveats, *_zero_caveat(given, scores)),
        checks=(
            Check(
                name="accuracy by two routes",
                passed=int(given.correct.sum()) == int(per_class.hits.sum()),
                detail="right answers counted one by one, and on the confusion matrix's diagonal",
            ),
        ),
        arrays=arrays,
    )


class _Scores:
    """Per-example scores of proper probabilities."""

    def __init__(self, proba: FloatArray, given: Predictions, params: ClassificationParams) -> None:
        self.losses = probabilities.log_losses(proba, given.y)
        self.brier = probabilities.brier_scores(proba, given.y)
        self.entropy = probabilities.entropies(proba)
        self.confidence: FloatArray = proba[np.arange(given.n), given.predicted]
        self.zeros = int(np.count_nonzero(proba[np.arange(given.n), given.y] == 0))
        self.bins = calibration.reliability(
            self.confidence, given.correct, params.bins, params.binning
        )

    @classmethod
    def of(cls, given: Predictions, params: ClassificationParams) -> _Scores | None:
        """Return the scores, or None where the outputs are no probabilities."""
        if given.proba is None or given.refusal:
            return None
        return cls(given.proba, given, params)


def _label_scalars(
    given: Predictions, per_class: labels.ClassScores, params: ClassificationParams, ctx: Context
) -> dict[str, Scalar]:
    share = stats.wilson if params.interval == "wilson" else stats.clopper_pearson
    hits, present = int(given.correct.sum()), per_class.present
    balanced = Scalar.of(
        per_class.macro_recall,
        stats.mean_of_shares(per_class.hits[present], per_class.examples[present]),
        n=given.n,
        unit="share",
        better="higher",
    )
    statistic = labels.counted_macro(given.y, given.predicted, len(given.names))
    precision, f1 = stats.bootstrap_many(statistic, given.n, rng=ctx.rng, draws=params.draws)
    asked = per_class.predictions[present]
    if np.all(asked > 0):
        precision = stats.mean_of_shares(per_class.hits[present], asked)
    return {
        "clean_accuracy": Scalar.of(
            hits / given.n, share(hits, given.n), n=given.n, unit="share", better="higher"
        ),
        "balanced_accuracy": balanced,
        "macro_precision": _scalar(
            per_class.macro_precision, precision, n=given.n, unit="share", better="higher"
        ),
        "macro_recall": balanced,
        "macro_f1": _scalar(per_class.macro_f1, f1, n=given.n, unit="share", better="higher"),
    }


def _scalar(value: float, interval: Interval | None, *, n: int, **rest: Any) -> Scalar:
    """Return a scalar whose interval is left out, with the reason, where it has no width."""
    if interval is None or not interval.low < interval.high:
        reason = _NO_SPREAD if interval is not None else "undefined in many resamples"
        return Scalar(value=value, n=n, reason=f"no interval: {reason}", **rest)
    return Scalar.of(value, interval, n=n, **rest)


def _probability_scalars(
    given: Predictions, scores: _Scores | None, params: ClassificationParams, ctx: Context
) -> dict[str, Scalar]:
    found = _ranking_scalars(given)
    if scores is None:
        for name, (unit, better) in _PROPER.items():
            found[name] = _refused(given.n, given.refusal, unit, better)
        return found
    tail_mean = probabilities.counted_tail_mean(scores.losses, params.tail)
    area = probabilities.counted_rejection_area(scores.entropy, given.correct)
    means = np.stack([scores.losses, scores.brier, scores.entropy], axis=1)
    gap = scores.confidence - given.correct

    def together(counts: FloatArray) -> FloatArray:
        return np.column_stack([counts @ means / given.n, tail_mean(counts), area(counts)])

    names = [
        "log_loss",
        "brier_score",
        "mean_entropy",
        "cvar_log_loss",
        "uncertainty_rejection_auc",
    ]
    values = together(np.ones((1, given.n)))[0]
    ends = stats.bootstrap_many(together, given.n, rng=ctx.rng, draws=params.draws)
    for name, value, interval in zip(names, values, ends, strict=True):
        unit, better = _PROPER[name]
        found[name] = _scalar(float(value), interval, n=given.n, unit=unit, better=better)
    found["expected_calibration_error"] = _calibration_scalar(given, scores, params, ctx)
    found["calibration_error_if_calibrated"] = _calibrated_scalar(given, scores, params, ctx)
    ends_of_gap = stats.mean_t(gap) if given.n > 1 else None
    found["confidence_gap"] = _scalar(
        float(gap.mean()), ends_of_gap, n=given.n, unit="share", better=None
    )
    return {name: found[name] for name in (*_ORDER, *found) if name in found}


# Unit and direction of what needs proper probabilities.
_PROPER: Mapping[str, tuple[str, Any]] = {
    "log_loss": ("nats", "lower"),
    "cvar_log_loss": ("nats", "lower"),
    "brier_score": ("", "lower"),
    "expected_calibration_error": ("share", "lower"),
    "calibration_error_if_calibrated": ("share", None),
    "confidence_gap": ("share", None),
    "mean_entropy": ("nats", None),
    "uncertainty_rejection_auc": ("share", "higher"),
}
_ORDER = ("top5_accuracy", "roc_auc_ovr", *_PROPER)


def _calibration_scalar(
    given: Predictions, scores: _Scores, params: ClassificationParams, ctx: Context
) -> Scalar:
    """The basic bootstrap, since noise in the bins pushes the error and every resample upwards."""
    statistic = calibration.counted_error(scores.confidence, given.correct, scores.bins)
    (found,) = stats.bootstrap_many(
        statistic, given.n, rng=ctx.rng, draws=params.draws, kind="basic"
    )
    if found is not None:
        low, high = max(0.0, found.low), min(1.0, max(0.0, found.high))
        how = f"{found.method}, {scores.bins.counts.size} {params.binning} bins"
        found = Interval(low=low, high=high, method=how, level=found.level)
    return _scalar(scores.bins.error, found, n=given.n, unit="share", better="lower")


def _calibrated_scalar(
    given: Predictions, scores: _Scores, params: ClassificationParams, ctx: Context
) -> Scalar:
    draws = calibration.error_if_calibrated(
        scores.confidence, scores.bins, rng=ctx.rng, draws=params.draws
    )
    low, high = (float(q) for q in np.quantile(draws, [0.025, 0.975]))
    how = f"95 % of {params.draws:,} simulated calibrated models"
    interval = Interval(low=low, high=high, method=how)
    return _scalar(float(draws.mean()), interval, n=given.n, unit="share", better=None)


def _ranking_scalars(given: Predictions) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    refusal = "" if given.rankable else given.refusal
    if len(given.names) > 5:
        if given.proba is None or refusal:
            found["top5_accuracy"] = _refused(given.n, refusal, "share", "higher")
        else:
            hits = float(probabilities.top_hits(given.proba, given.y, 5).sum())
            interval = stats.wilson(hits, given.n)
            found["top5_accuracy"] = Scalar.of(
                hits / given.n, interval, n=given.n, unit="share", better="higher"
            )
    present = np.unique(given.y).size
    if present < 2:
        refusal = refusal or "the test set holds examples of one class only"
    if given.proba is None or refusal:
        found["roc_auc_ovr"] = _refused(given.n, refusal, "share", "higher")
    else:
        areas = ranking.one_versus_rest(given.proba, given.y)
        found["roc_auc_ovr"] = Scalar.of(
            areas.macro, areas.interval, n=given.n, unit="share", better="higher"
        )
    return found


def _refused(n: int, reason: str, unit: str, better: Any) -> Scalar:
    return Scalar(value=None, n=n, reason=reason, unit=unit, better=better)


def _caveats(given: Predictions, per_class: labels.ClassScores) -> tuple[Caveat, ...]:
    found = []
    absent = [name for name, held in zip(given.names, per_class.present, strict=True) if not held]
    if absent:
        listed = ", ".join(absent[:10]) + (" …" if len(absent) > 10 else "")
        detail = f"{len(absent)} of {len(given.names)} classes have no test example: {listed}."
        found.append(Caveat(code="absent-class", detail=f"{detail} Averages leave them out."))
    if given.n < _SMALL:
        found.append(Caveat(code="small-sample", detail=f"{given.n} test examples."))
    return tuple(found)


def _zero_caveat(given: Predictions, scores: _Scores | None) -> tuple[Caveat, ...]:
    if scores is None or not scores.zeros:
        return ()
    detail = (
        f"{scores.zeros:,} of {given.n:,} true classes were given probability 0; each costs "
        f"{-math.log(probabilities.FLOOR):.2f} nats in the log-loss instead of infinity."
    )
    return (Caveat(code="zero-probability", detail=detail),)


def _answer(scalars: Mapping[str, Scalar], with_probabilities: bool) -> str:
    def percent(name: str) -> str:
        return f"{100 * (scalars[name].value or 0):.1f} %"

    right = scalars["clean_accuracy"]
    text = (
        f"The model labels {percent('clean_accuracy')} of {right.n:,} test examples right "
        f"(balanced over classes: {percent('balanced_accuracy')})"
    )
    if not with_probabilities:
        return f"{text}; its confidence could not be judged."
    gap = scalars["confidence_gap"]
    if gap.low is not None and gap.low > 0:
        word = "on average it is more confident than right"
    elif gap.high is not None and gap.high < 0:
        word = "on average it is less confident than right"
    else:
        word = "on average its confidence matches"
    return f"{text}; {word} (calibration error {percent('expected_calibration_error')})."
