"""What a classifier's numbers show that a reviewer should know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from robreport import Finding, Scalar, stats
from robreport_plugins.methods.labels import ClassScores, IntArray
from robreport_plugins.performance.tables import confused_pairs

_SIGNIFICANT = 0.05
# Differences that are certain but smaller than these are nothing to act on.
_RECALL_GAP = 0.05
_CONFIDENCE_GAP = 0.02


def of_labels(
    names: tuple[str, ...], matrix: IntArray, scores: ClassScores, scalars: Mapping[str, Scalar]
) -> tuple[Finding, ...]:
    """Return findings about classes: no better than guessing, weak classes, unused labels."""
    found = [*_guessing(names, scores, scalars), *_weak(names, matrix, scores)]
    unused = np.flatnonzero(scores.present & (scores.predictions == 0))
    if unused.size:
        listed = ", ".join(names[i] for i in unused[:5]) + (" …" if unused.size > 5 else "")
        examples = int(scores.examples[unused].sum())
        found.append(
            Finding(
                severity="medium",
                claim=f"The model never answers {listed}, though {examples:,} test examples are.",
                evidence=("per_class", "confusion"),
                recommendation="Check the training data and the order of the model's outputs.",
                affected=listed,
            )
        )
    return tuple(found)


def _guessing(
    names: tuple[str, ...], scores: ClassScores, scalars: Mapping[str, Scalar]
) -> list[Finding]:
    accuracy = scalars["clean_accuracy"]
    commonest = int(np.argmax(scores.examples))
    share = float(scores.examples[commonest] / scores.examples.sum())
    # With one class present, always answering it is right always: nothing to compare with.
    if share == 1 or accuracy.low is None or accuracy.low > share:
        return []
    return [
        Finding(
            severity="high",
            claim=(
                f"Accuracy is not shown to exceed always answering {names[commonest]!r}, which "
                f"is right for {100 * share:.1f} % of the test set."
            ),
            evidence=("clean_accuracy", "per_class"),
            recommendation="Do not use the model before it beats the most common class.",
        )
    ]


def _weak(names: tuple[str, ...], matrix: IntArray, scores: ClassScores) -> list[Finding]:
    """Each class against all others together: Fisher's exact test, Holm over the classes."""
    from scipy.stats import fisher_exact

    classes = [int(c) for c in np.flatnonzero(scores.present)]
    if len(classes) < 2:
        return []
    n, hits = scores.examples, scores.hits
    p, rest = [], {}
    for c in classes:
        others, right = int(n.sum() - n[c]), int(hits.sum() - hits[c])
        rest[c] = right / others
        table = np.array([[hits[c], n[c] - hits[c]], [right, others - right]])
        p.append(float(fisher_exact(table, alternative="less").pvalue))
    weak = [
        c
        for c, adjusted in zip(classes, stats.holm(p), strict=True)
        if adjusted < _SIGNIFICANT and rest[c] - scores.recall[c] >= _RECALL_GAP
    ]
    found = []
    for c in sorted(weak, key=lambda c: (float(scores.recall[c]), c))[:3]:
        recall, other = float(scores.recall[c]), rest[c]
        severity: Literal["high", "medium", "low"] = "medium" if other - recall >= 0.1 else "low"
        taken = [(j, count) for i, j, count in confused_pairs(matrix) if i == c][:1]
        mostly = f"; most often taken for {names[taken[0][0]]} ({taken[0][1]:,})" if taken else ""
        found.append(
            Finding(
                severity="high" if recall < other / 2 else severity,
                claim=(
                    f"Class {names[c]} is labelled right in {100 * recall:.1f} % of "
                    f"{int(n[c]):,} examples, the other classes in {100 * other:.1f} %{mostly}."
                ),
                evidence=("per_class", "confusion"),
                recommendation=f"Collect or reweight examples of {names[c]}, or exclude its use.",
                affected=names[c],
            )
        )
    return found


def of_confidence(scalars: Mapping[str, Scalar]) -> tuple[Finding, ...]:
    """Return a finding where confidence and accuracy differ by more than chance and a little."""
    names = ("confidence_gap", "expected_calibration_error", "calibration_error_if_calibrated")
    if any(name not in scalars or scalars[name].value is None for name in names):
        return ()
    gap, error, floor = (scalars[name] for name in names)
    if gap.value is None or error.value is None or floor.high is None:
        return ()
    evidence = (*names, "reliability")
    recommendation = "Recalibrate on held-out data (temperature scaling) before confidence is used."
    size = f"{100 * abs(gap.value):.1f} percentage points"
    if gap.low is not None and gap.low > 0 and gap.value >= _CONFIDENCE_GAP:
        return (
            Finding(
                severity="medium" if gap.value >= 0.05 else "low",
                claim=f"The model is overconfident: confidence exceeds accuracy by {size}.",
                evidence=evidence,
                recommendation=recommendation,
            ),
        )
    if gap.high is not None and gap.high < 0 and gap.value <= -_CONFIDENCE_GAP:
        return (
            Finding(
                severity="low",
                claim=f"The model is underconfident: accuracy exceeds confidence by {size}.",
                evidence=evidence,
                recommendation=recommendation,
            ),
        )
    if error.value > floor.high and error.value >= 2 * _CONFIDENCE_GAP:
        return (
            Finding(
                severity="low",
                claim=(
                    "Confidence is right on average but not in detail: the calibration error is "
                    f"{100 * error.value:.1f} %, a calibrated model's {100 * floor.high:.1f} % at "
                    "most."
                ),
                evidence=evidence,
                recommendation=recommendation,
            ),
        )
    return ()
