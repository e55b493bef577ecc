"""What a classifier answered on the test set, checked before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Bundle, Caveat, Context, Finding, Needs, SkipMetric
from robreport_plugins.methods.class_names import short_names

FloatArray = npt.NDArray[np.float64]

# Single-precision softmax over a thousand classes misses 1 by less than this.
_SUM_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Labels, predictions and, where the model gives them, probabilities.

    ``refusal`` says why scores of probabilities are not given; ``rankable`` whether they can at
    least be ordered.
    """

    y: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    names: tuple[str, ...]
    proba: FloatArray | None
    refusal: str
    rankable: bool
    caveats: tuple[Caveat, ...]
    findings: tuple[Finding, ...]

    @property
    def n(self) -> int:
        return int(self.y.size)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Which examples were labelled right."""
        return np.asarray(self.y == self.predicted)


def read_predictions(bundle: Bundle, ctx: Context) -> Predictions:
    """Ask the model once and return what it said.

    Raises
    ------
    SkipMetric
        The test set is empty.
    ValueError
        Predictions of a wrong length or outside the classes, or probabilities for another number
        of classes: nothing that follows would mean anything.
    """
    test = bundle.split("test")
    y = np.asarray(test.labels)
    classes = bundle.schema.n_classes or bundle.model.n_outputs
    if not len(test):
        raise SkipMetric("the test set is empty")
    ctx.progress(0, 3, "labelling the test set")
    predicted = _labels(bundle.model.predict(test.x), len(test), "prediction", classes)
    y = _labels(y, len(test), "label", classes)
    ctx.progress(1, 3, "reading probabilities")
    proba: FloatArray | None = None
    refusal, rankable = "the model gives no probabilities", False
    findings: tuple[Finding, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    if Needs.PROBABILITIES in bundle.model.offers:
        proba = np.asarray(bundle.model.predict_proba(test.x), dtype=np.float64)
        if proba.shape != (len(test), classes):
            raise ValueError(
                f"the model gave probabilities of shape {proba.shape}, but the data has "
                f"{len(test)} examples of {classes} classes; declare the model's classes"
            )
        refusal, rankable, findings = _judge(proba)
        proba = proba if refusal else np.clip(proba, 0.0, 1.0)
        if rankable:
            caveats = _disagreement(proba, predicted)
    else:
        caveats = (
            Caveat(
                code="probabilities-missing",
                detail="The model gives labels only; scores of probabilities are left out.",
            ),
        )
    ctx.progress(2, 3, "scoring")
    return Predictions(
        y=y,
        predicted=predicted,
        names=short_names(bundle.schema.classes or tuple(str(i) for i in range(classes))),
        proba=proba,
        refusal=refusal,
        rankable=rankable,
        caveats=caveats,
        findings=findings,
    )


def _labels(values: Any, n: int, word: str, classes: int) -> npt.NDArray[np.int64]:
    labels = np.asarray(values)
    if labels.shape != (n,):
        raise ValueError(f"need one {word} per example, ({n},), found shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"a {word} must be a class index, found {labels.dtype} values")
    if labels.min() < 0 or labels.max() >= classes:
        worst = labels.max() if labels.max() >= classes else labels.min()
        raise ValueError(
            f"{word} {worst} is not one of the data's {classes} classes (0 … {classes - 1})"
        )
    return labels.astype(np.int64)


def _judge(proba: FloatArray) -> tuple[str, bool, tuple[Finding, ...]]:
    """Return why these are no probabilities, whether they can be ordered, and the finding."""
    broken = int(np.count_nonzero(~np.isfinite(proba).all(axis=1)))
    if broken:
        text = f"the outputs hold NaN or infinity for {broken:,} of {len(proba):,} examples"
        return text, False, (_not_probabilities(text, "high"),)
    sums = proba.sum(axis=1)
    off = (np.abs(sums - 1) > _SUM_TOLERANCE) | (proba.min(axis=1) < -_SUM_TOLERANCE)
    if off.any():
        text = (
            f"the outputs are no probabilities: {int(off.sum()):,} of {len(proba):,} rows are "
            f"negative somewhere or do not sum to 1 (sums {sums.min():.4g} to {sums.max():.4g})"
        )
        return text, True, (_not_probabilities(text, "medium"),)
    return "", True, ()


def _not_probabilities(text: str, severity: Any) -> Finding:
    return Finding(
        severity=severity,
        claim=f"{text[0].upper()}{text[1:]}.",
        evidence=("log_loss",),
        recommendation="Do not read the outputs as confidence; normalise them or fix the model.",
    )


def _disagreement(proba: FloatArray, predicted: npt.NDArray[np.int64]) -> tuple[Caveat, ...]:
    """Say so where the label is not the most probable class; a tie is no disagreement."""
    own = proba[np.arange(predicted.size), predicted]
    apart = int(np.count_nonzero(own < proba.max(axis=1)))
    if not apart:
        return ()
    detail = f"{apart:,} of {predicted.size:,} labels are not the class of highest probability."
    return (Caveat(code="label-not-most-probable", detail=detail),)
