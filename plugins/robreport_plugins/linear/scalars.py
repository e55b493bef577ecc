"""The numbers of the trained classifiers, each with its interval or the reason for none."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from robreport import Scalar, stats
from robreport_plugins.linear.dataset import Dataset
from robreport_plugins.linear.fitted import Campaign, Fitted

Floats = npt.NDArray[np.float64]

_TRAINED_ON = "no interval: these are the examples that it was trained on"


def share(hits: int, n: int, *, label: str, table: str) -> Scalar:
    """Return a share of the test set with its Clopper-Pearson interval."""
    return Scalar.of(
        hits / n, stats.clopper_pearson(hits, n), n=n, unit="share", better="higher", bound="exact",
        label=label, table=table,
    )  # fmt: skip


def median(radius: Floats, label: str, table: str) -> Scalar:
    """Return the median distance to the boundary with its order-statistic interval.

    With B ~ Binomial(n, 1/2) and l the largest integer with P(B < l) <= 0.025, the interval runs
    from the l-th smallest value to the l-th largest.
    """
    from scipy.stats import binom

    ordered, n = np.sort(radius), int(radius.size)
    middle = float(ordered[(n - 1) // 2])
    if not math.isfinite(middle):
        return Scalar(
            value=None, n=n, better="higher", label=label, table=table,
            reason="the model gives every input the same class: no perturbation changes it",
        )  # fmt: skip
    rank = int(binom.ppf(0.025, n, 0.5))
    if rank and math.isfinite(ordered[n - rank]):
        return Scalar(
            value=middle, n=n, low=float(ordered[rank - 1]), high=float(ordered[n - rank]),
            method="95 % order statistics", better="higher", label=label, table=table,
        )  # fmt: skip
    why = f"no interval: {n} inputs are too few" if not rank else "no interval: it has no end"
    return Scalar(value=middle, n=n, better="higher", label=label, table=table, reason=why)


def mean(values: Floats, label: str, table: str) -> Scalar:
    """Return a mean loss of the test set with Student's interval."""
    n, value = int(values.size), float(values.mean())
    if n < 2:
        return Scalar(
            value=value, n=n, better="lower", label=label, table=table,
            reason="no interval: one input",
        )  # fmt: skip
    return Scalar.of(value, stats.mean_t(values), n=n, better="lower", label=label, table=table)


def scalars_of(fitted: Fitted, data: Dataset, where: str) -> dict[str, Scalar]:
    """Return the scalars of one classifier by name; `where` is added to their labels."""
    own, found = fitted.attacked, {}
    label = f"{fitted.label}{where}"
    found[fitted.scalar("train_accuracy")] = Scalar(
        value=fitted.train_right / data.train.n, n=data.train.n, unit="share",
        better="higher", reason=_TRAINED_ON, label=f"Training accuracy, {label}", table="accuracy",
    )  # fmt: skip
    found[fitted.scalar("test_accuracy")] = share(
        int((own.margin > 0).sum()), own.n, label=f"Test accuracy, {label}", table="accuracy"
    )
    for place, eps in enumerate(fitted.task.attacked):
        found[fitted.scalar("robust_accuracy", eps.text)] = share(
            int(own.right[:, place].sum()), own.n,
            label=f"Robust accuracy at \u03b5 = {eps}, {label}", table=robust_key(fitted),
        )  # fmt: skip
    found[fitted.scalar("robust_hinge")] = mean(fitted.hinge, f"Robust hinge, {label}", "models")
    if (gap := fitted.classifier.gap) is not None:
        found[fitted.scalar("duality_gap")] = Scalar(
            value=gap, n=data.train.n, better="lower", bound="upper", table="models",
            label=f"Duality gap, {label}", reason="no interval: a proven bound, not an estimate",
        )  # fmt: skip
    found[fitted.scalar("zero_weights")] = Scalar(
        value=fitted.wiped, n=int(fitted.classifier.weights.size), unit="share",
        table="models", label=f"Wiped-out weights, {label}",
        reason="no interval: all weights were counted",
    )  # fmt: skip
    found[fitted.scalar("median_flip_radius")] = median(
        own.radius, f"Median flip radius, {label}", "models"
    )
    return found


def robust_key(fitted: Fitted) -> str:
    """Return the key of the table that shows robust accuracies in the classifier's norm."""
    return f"robust.{fitted.task.key}"


def scalars(campaign: Campaign, data: Dataset) -> dict[str, Scalar]:
    """Return every scalar of the entry by its name."""
    several = len(campaign.tasks) > 1
    found: dict[str, Scalar] = {}
    for fitted in campaign.fitted:
        where = f" ({fitted.task.norm.symbol})" if several else ""
        found |= scalars_of(fitted, data, where)
    for name, choice in campaign.choices.items():
        found[f"chosen_eps[{name}]"] = Scalar(
            value=choice.eps[choice.best].value, n=choice.n, table="choice",
            label="Training \u03b5 chosen by validation",
            reason="no interval: a choice, not an estimate",
        )  # fmt: skip
    return found


def cell(scalar: Scalar) -> list[float | None] | None:
    """Return a scalar as a cell of an interval column."""
    return None if scalar.value is None else [scalar.value, scalar.low, scalar.high]


def by_name(values: Mapping[str, Scalar], fitted: Fitted, base: str, *further: str) -> Scalar:
    """Return one scalar of a classifier."""
    return values[fitted.scalar(base, *further)]
