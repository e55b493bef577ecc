"""A lower bound on the robust hinge of every linear model, from a dual made feasible.

Minimising ``mean max(0, 1 - y f(x) + eps ||w||_q)`` has the dual: maximise ``sum a_i`` over
``0 <= a_i <= 1/n`` with ``sum a_i y_i = 0`` and ``||sum a_i y_i x_i||_p <= eps sum a_i``. Any such
`a` bounds the loss of every model from below. A solver's `a` is only nearly feasible, so here it is
made feasible in whole numbers, and the last condition is checked with a bound on the rounding.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Norm
from robreport_plugins.linear.linear_model import Floats
from robreport_plugins.linear.problem import checked_problem

Integers = npt.NDArray[np.int64]

# Whole numbers up to here are floats, so that sums of them are exact in any order.
_EXACT_BITS = 52
_UNIT = 2.0**-53
# Shares nearer than this to 0 or 1, or to where a condition is tight, may be taken to be there.
_NEAR = 1e-6
# Violations beyond this part of what is allowed are not repaired, smaller ones in so many rounds.
_REPAIRABLE, _ROUNDS = 1e-2, 4
# How many times the violation lies between a condition and one that its repair may disturb.
_ALSO = 10.0
# Singular values of a repair's equations below this part of the largest count as zero.
_RANK = 1e-13


def dual_value(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    alpha: npt.NDArray[Any],
    *,
    eps: float,
    norm: Norm,
    reach: float = 1e6,
) -> float:
    """Return the value of a feasible dual near `alpha`: a bound from below on the mean loss.

    Parameters
    ----------
    x : array (n, d)
    y : array (n,)
        Labels -1 and +1, both of them.
    alpha : array (n,)
        Multipliers of the rows, from a solver; entries outside of [0, 1/n] are cut to it.
    eps, norm
        Of the perturbation ball.
    reach : float
        For ``eps = 0`` only, where the last condition is an equation that floats fulfil up to a
        remainder r: the value is then lower by ``reach * ||r||_2``, which bounds the loss of all
        models with ``||w||_2 <= reach``.

    Returns
    -------
    value : float
        At least 0, which the loss never goes below; 0 where `alpha` cannot be made feasible.

    Raises
    ------
    ValueError
        As for training, or multipliers of another shape or not finite.

    Notes
    -----
    ``n a_i`` is rounded to a whole multiple of 2^-b with b such that sums over all rows are exact;
    the larger class is scaled down until both classes weigh the same, exactly. What remains is
    ``||sum a_i y_i x_i||_p <= eps sum a_i``, checked with the largest error that its summation in
    float64 can have. The value is that of the rounded multipliers. Multipliers that violate it
    by little are first moved to the nearest ones that fulfil it, by least squares.
    """
    rows, labels = checked_problem(x, y, eps=eps, norm=norm)
    bound = Bound(rows, labels, eps=eps, norm=norm)
    return bound.value(_checked(alpha, labels.size), reach=reach)


class Bound:
    """Lower bounds on the loss of one checked problem; see `dual_value`.

    Attributes
    ----------
    middle : array (d,)
        Of the range of each feature.
    rows : array (n, d)
        The rows less `middle`.
    """

    def __init__(self, rows: Floats, labels: Floats, *, eps: float, norm: Norm) -> None:
        # Without a radius no norm is in the problem; the remainder is then measured in L2.
        self._eps, self._norm = eps, norm if eps > 0 else Norm.L2
        n = labels.size
        self._bits = _EXACT_BITS - n.bit_length()
        self._labels = labels
        self._positive = labels > 0
        # The classes weigh the same, so any constant may be taken from a feature. The middle of
        # its range keeps the numbers, and with them the rounding, small.
        self.middle: Floats = (rows.min(axis=0) + rows.max(axis=0)) / 2
        self.rows: Floats = rows - self.middle
        # The largest error of a sum of n products relative to the sum of their sizes, with that of
        # the subtraction above; the largest size of each feature; what underflow can add.
        self._relative = (n + 4) * _UNIT / (1 - (n + 4) * _UNIT)
        self._largest = np.maximum(self.rows.max(axis=0), -self.rows.min(axis=0))
        self._tiny = n * 5e-324

    def value(self, alpha: Floats, *, reach: float = 1e6) -> float:
        """Return the value of a feasible dual near ``alpha (n,)``, at least 0."""
        given = np.clip(alpha * self._labels.size, 0.0, 1.0)
        snapped = np.where(given < _NEAR, 0.0, np.where(given > 1 - _NEAR, 1.0, given))
        best = max(self._if_feasible(self._whole(shares), reach) for shares in (given, snapped))
        if best == -math.inf or self._eps == 0:
            moved = self._moved(given)
            best = max(best, self._if_feasible(self._whole(moved), reach))
        return max(best, 0.0)

    def _whole(self, shares: Floats) -> Integers:
        """``n alpha`` as whole multiples of ``2^-b``, with both classes of equal weight."""
        return self._balanced(np.rint(shares * (1 << self._bits)).astype(np.int64))

    def _moved(self, shares: Floats) -> Floats:
        """Shares that fulfil the conditions but for rounding, if `shares` nearly do."""
        for _ in range(_ROUNDS):
            directions, with_eps, excess = self._tight(shares)
            if not np.abs(excess).max(initial=0.0) <= _REPAIRABLE * float(shares.sum()) * (
                self._eps or 1.0
            ):
                return shares
            # Shares at a bound stay there; others move the more the farther from it they are.
            free = np.flatnonzero((shares > 0) & (shares < 1))
            able = np.minimum(shares[free], 1 - shares[free])
            signed = self._labels[free] * able
            system = np.empty((excess.size + 1, free.size))
            system[:-1] = directions @ (self.rows[free] * signed[:, None]).T
            system[:-1] -= np.outer(self._eps * with_eps, able)
            system[-1] = signed
            wanted = -np.append(excess, self._labels @ shares)
            step = np.linalg.lstsq(system @ system.T, wanted, rcond=_RANK)[0] @ system
            shares = shares.copy()
            shares[free] = np.clip(shares[free] + able * step, 0.0, 1.0)
        return shares

    def _tight(self, shares: Floats) -> tuple[Floats, Floats, Floats]:
        """Linear equations that make the last condition hold, for a small change of the shares.

        Directions ``(k, d)``, whether eps times the sum of the shares stands on the other side
        ``(k,)``, and by how much the left is too large ``(k,)``.
        """
        sums = (self._labels * shares) @ self.rows
        size, total = np.abs(sums), float(shares.sum())
        one = np.eye(sums.size)
        if self._eps == 0:
            return one, np.zeros(sums.size), sums
        # What the check will add for rounding, and what the rounding of the shares can do.
        slack = (self._relative * total + self._labels.size * 2.0**-self._bits) * self._largest
        allowed = self._eps * total - 2 * float(np.linalg.norm(slack, ord=self._norm.order))
        if self._norm is Norm.Linf:
            # Those that are tight, and those that a step of the size of the violation may make so.
            near = size > allowed - max(_NEAR * allowed, _ALSO * float(size.max() - allowed))
            directions = one[near] * np.sign(sums[near])[:, None]
            return directions, np.ones(len(directions)), np.maximum(size[near] - allowed, 0.0)
        length = float(np.linalg.norm(sums, ord=self._norm.order))
        if length <= allowed:
            return one[:0], np.ones(0), np.zeros(0)
        if self._norm is Norm.L2:
            return sums[None] / length, np.ones(1), np.array([length - allowed])
        # Sums next to zero are held there: a change of theirs in either direction adds length.
        small = size < max(_NEAR * float(size.max()), _ALSO * (length - allowed))
        slope = np.where(small, 0.0, np.sign(sums))
        return (
            np.vstack([slope, one[small]]),
            np.append(1.0, np.zeros(int(small.sum()))),
            np.append(float(size[~small].sum()) - allowed, sums[small]),
        )

    def _balanced(self, whole: Integers) -> Integers:
        """Scale the heavier class down to the weight of the lighter one, exactly."""
        positive = int(whole[self._positive].sum())
        negative = int(whole[~self._positive].sum())
        heavier = self._positive if positive > negative else ~self._positive
        target, weight = sorted((positive, negative))
        if target == weight:
            return whole
        found = whole.copy()
        part = found[heavier]
        part = np.minimum(part, np.floor(part * (target / weight)).astype(np.int64))
        # The floor has taken away, or rounding left, at most a few units for each row.
        missing = target - int(part.sum())
        room = whole[heavier] - part if missing > 0 else part
        while missing:
            able = np.flatnonzero(room > 0)[: abs(missing)]
            step = 1 if missing > 0 else -1
            part[able] += step
            room[able] -= 1
            missing -= step * able.size
        found[heavier] = part
        return found

    def _if_feasible(self, whole: Integers, reach: float) -> float:
        """The value of balanced multipliers, -infinity where they may be infeasible."""
        total = int(whole.sum())
        n = self._labels.size
        if total == 0:
            return 0.0
        weights = whole.astype(np.float64)
        sums = np.abs((self._labels * weights) @ self.rows)
        sums += self._relative * total * self._largest + self._tiny
        # In units of the largest, so that no square vanishes.
        top = float(sums.max())
        length = top * float(np.linalg.norm(sums / top, ord=self._norm.order))
        length *= 1 + (sums.size + 8) * 2 * _UNIT
        value = total / (n * (1 << self._bits))
        if length <= self._eps * total * (1 - 4 * _UNIT):
            return value
        if self._eps == 0:
            return value - reach * length / (n * (1 << self._bits))
        return -math.inf


def _checked(alpha: npt.NDArray[Any], n: int) -> Floats:
    found = np.asarray(alpha, dtype=np.float64)
    if found.shape != (n,) or not np.isfinite(found).all():
        raise ValueError(f"{n:,} rows need as many finite multipliers, found shape {found.shape}")
    return found
