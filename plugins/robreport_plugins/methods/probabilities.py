"""Scores of predicted probabilities, example by example, and averages made from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Statistic = Callable[[FloatArray], FloatArray]

# A probability below the spacing of floats at 1 is counted as that: its logarithm is finite.
FLOOR = float(np.finfo(np.float64).eps)


def log_losses(proba: FloatArray, y: npt.NDArray[Any]) -> FloatArray:
    """Return ``-ln p(true class)`` of each example ``(n,)``, in nats.

    Probabilities below 2.2e-16 are counted as that, so that a probability of 0 costs 36.04.
    """
    right: FloatArray = np.clip(proba[np.arange(y.size), y], FLOOR, 1.0)
    return -np.log(right)


def brier_scores(proba: FloatArray, y: npt.NDArray[Any]) -> FloatArray:
    """Return ``sum_k (p_k - [y = k])^2`` of each example ``(n,)``, between 0 and 2.

    The multi-class sum form (Brier 1950): for two classes twice the one-column form.
    """
    right = proba[np.arange(y.size), y]
    return np.asarray(np.sum(proba**2, axis=1) - 2 * right + 1, dtype=np.float64)


def entropies(proba: FloatArray) -> FloatArray:
    """Return ``-sum_k p_k ln p_k`` of each example ``(n,)``, in nats; ``0 ln 0 = 0``."""
    safe = np.where(proba > 0, proba, 1.0)
    return np.asarray(-np.sum(proba * np.log(safe), axis=1), dtype=np.float64)


def top_hits(proba: FloatArray, y: npt.NDArray[Any], top: int) -> FloatArray:
    """Return the chance that the true class is among the `top` most probable, ``(n,)``.

    0 or 1 without ties; with the true class in a tie of g classes for r places left, ``r / g``.
    """
    right = proba[np.arange(y.size), y][:, None]
    above, tied = np.sum(proba > right, axis=1), np.sum(proba == right, axis=1)
    chance: FloatArray = np.clip((top - above) / tied, 0.0, 1.0)
    return chance


def counted_tail_mean(losses: FloatArray, share: float) -> Statistic:
    """Return a statistic of resample counts: the mean of the worst `share` of the losses.

    Conditional value at risk in the discrete form: the last loss enters with the fraction of an
    example that fills ``share * n`` (Rockafellar and Uryasev 2002).

    Raises
    ------
    ValueError
        `share` outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], found {share}")
    order = np.argsort(-losses, kind="stable")
    worst = losses[order]

    def statistic(counts: FloatArray) -> FloatArray:
        held = counts[:, order]
        wanted = share * counts.sum(axis=1, keepdims=True)
        before = np.cumsum(held, axis=1) - held
        taken = np.clip(wanted - before, 0.0, held)
        return np.asarray(taken @ worst / wanted[:, 0], dtype=np.float64)

    return statistic


def counted_rejection_area(uncertainty: FloatArray, correct: npt.NDArray[np.bool_]) -> Statistic:
    """Return a statistic of resample counts: the area under the accuracy-rejection curve.

    ``(1/n) sum_k accuracy of the k least uncertain``: 1 for a model that is always right; the
    accuracy for an uncertainty that says nothing. Ties in uncertainty are averaged over their
    orders: a group of g with c hits, after W examples with C hits, adds
    ``c + (C - c W / g) (H(W + g) - H(W))``, H being harmonic numbers.
    """
    values, group = np.unique(uncertainty, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(values.size))
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, correct.size + 1))])
    right = correct[order].astype(np.float64)
    untied = values.size == correct.size

    def statistic(counts: FloatArray) -> FloatArray:
        size = counts[:, order]
        hits = size * right
        share: FloatArray = right
        if not untied:
            size = np.add.reduceat(size, starts, axis=1)
            hits = np.add.reduceat(hits, starts, axis=1)
            share = hits / np.maximum(size, 1)
        upto, won = np.cumsum(size, axis=1), np.cumsum(hits, axis=1)
        passed = harmonic[upto.astype(np.intp)]
        stretch = np.diff(passed, axis=1, prepend=0.0)
        won -= hits
        won -= share * (upto - size)
        area = np.sum(hits, axis=1) + np.einsum("ij,ij->i", won, stretch)
        return np.asarray(area / upto[:, -1], dtype=np.float64)

    return statistic
