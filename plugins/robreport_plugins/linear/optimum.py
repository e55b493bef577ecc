"""The best linear classifier for the robust hinge loss, with the proof: a duality gap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Norm
from robreport_plugins.linear.certificate import Bound
from robreport_plugins.linear.linear_model import Floats, LinearModel, dual_length, robust_hinge
from robreport_plugins.linear.problem import checked_problem

Progress = Callable[[int, int], None]

# What a gap is relative to, at least: a loss of zero has no relative gap.
FLOOR = 1e-3
# A Newton system of one unknown per feature is dense: at this many it takes 0.8 GB.
MOST_FEATURES = 10_000
# Weights below these parts of the largest are put to zero, where that costs next to nothing.
_SHARES = (1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
# For eps = 0: the weights that the bound holds for, in units of one over the largest input.
REACH = 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """A model, its mean robust hinge, and a lower bound that no model can go below.

    Attributes
    ----------
    model : LinearModel
    primal : float
        Mean robust hinge of `model` on the training rows.
    dual : float
        Value of a feasible dual: no linear model has a smaller mean robust hinge.
    gap : float
        ``primal - dual``, not negative.
    iterations : int
    converged : bool
        Whether ``gap / max(1e-3, primal)`` is within the tolerance.
    """

    model: LinearModel
    primal: float
    dual: float
    gap: float
    iterations: int
    converged: bool


def solve(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    *,
    eps: float,
    norm: Norm,
    tolerance: float = 1e-6,
    iterations: int = 100,
    progress: Progress = lambda done, total: None,
) -> Optimum:
    """Return the linear classifier of least mean robust hinge on the rows.

    Parameters
    ----------
    x : array (n, d)
    y : array (n,)
        Labels -1 and +1, both of them.
    eps, norm
        Radius of the perturbations, and their norm: L1, L2 or Linf.
    tolerance : float
        Of ``gap / max(1e-3, primal)``.
    iterations : int
        At most; a problem takes 10 to 40.
    progress : callable (done, total)
        Called after each iteration, with the most there can be for a total.

    Returns
    -------
    Optimum
        The best model found and the best bound, whether or not they meet (``converged``). Where
        some model classifies every row with a margin above ``eps ||w||_q``, the least loss is 0 and
        such a model is returned, scaled so that it has it; among them it is no particular one.
        Where the perturbation is so large that nothing beats the constant answer, the weights are
        zero and the bias is the sign of the commoner class (+1 where both are as common). For
        ``eps = 0`` the bound is for models with ``||w||_2`` of at most ten thousand over the
        largest distance of a feature from the middle of its range.

    Raises
    ------
    ValueError
        As for training, or more than 10,000 features that vary.

    Notes
    -----
    An interior-point method on the linear program (L1, Linf) or cone program (L2). The bound comes
    from its multipliers, made feasible apart from it (`certificate`), so an error in the method
    shows as a gap. Time per iteration grows with ``n d^2``.
    """
    rows, labels = checked_problem(x, y, eps=eps, norm=norm)
    if not tolerance > 0 or iterations < 1:
        raise ValueError(
            "the tolerance must be above 0 and the iterations at least 1, "
            f"found {tolerance!r} and {iterations}"
        )
    search = _Search(rows, labels, float(eps), norm)
    done = 0
    for iterate in search.iterates():
        done += 1
        search.consider(*iterate)
        progress(done, iterations)
        if search.relative_gap() <= tolerance or done == iterations:
            break
    search.tidy(tolerance)
    return Optimum(
        model=search.model,
        primal=search.primal,
        dual=search.proven(),
        gap=max(0.0, search.primal - search.proven()),
        iterations=done,
        converged=search.relative_gap() <= tolerance,
    )


class _Search:
    """The best model and the best bound so far, in the units of the data."""

    def __init__(self, rows: Floats, labels: Floats, eps: float, norm: Norm) -> None:
        self.rows, self.labels, self.eps, self.norm = rows, labels, eps, norm
        self.bound = Bound(rows, labels, eps=eps, norm=norm)
        # A feature that does not vary is a part of the bias, and its weight at best zero.
        self.varying = np.flatnonzero(rows.min(axis=0) < rows.max(axis=0))
        if self.varying.size > MOST_FEATURES:
            raise ValueError(
                f"the optimum over {self.varying.size:,} features needs too large a matrix (at "
                f"most {MOST_FEATURES:,}); train by gradient descent, or choose features"
            )
        n = labels.size
        self.unit = float(np.abs(self.bound.rows).max())
        self.reach = REACH / max(self.unit, 1e-200)
        self.primal, self.dual = np.inf, 0.0
        self.model = LinearModel(w=np.zeros(rows.shape[1]), b=0.0)
        # The constant answer, and the bound that proves it the best where the classes' means are
        # near enough to each other.
        self.try_weights(self.model.w)
        self.constant = self.model
        self.try_multipliers(np.full(n, 1.0 / n))

    def iterates(self) -> Iterator[tuple[Floats, float, Floats]]:
        """Yield models and multipliers in the units of the data, while there is hope of better."""
        from robreport_plugins.linear.interior_point import iterates

        if self.primal <= self.dual or not self.varying.size:
            return
        centred = self.bound.rows[:, self.varying]
        unit = self.unit
        if unit < 1e-200:
            # Weights of that size would leave the numbers; nothing but the constant is sensible.
            return
        for found in iterates(centred / unit, self.labels, self.eps / unit, self.norm):
            w = np.zeros(self.rows.shape[1])
            w[self.varying] = found.w / unit
            b = found.b - float(w @ self.bound.middle)
            yield w, b, found.multipliers / self.labels.size

    def consider(self, w: Floats, b: float, multipliers: Floats) -> None:
        if not (np.isfinite(w).all() and np.isfinite(b) and np.isfinite(multipliers).all()):
            return
        self.try_model(LinearModel(w=w, b=b))
        self.try_weights(w)
        self.try_multipliers(multipliers)

    def proven(self) -> float:
        """The proven bound; 0 where it stands above a loss that was reached.

        At eps = 0 it holds for weights up to a size only: a dual above the loss says that the
        weights are beyond it, where nothing is proven.
        """
        rounding = 1e-12 * max(1.0, self.primal)
        return self.dual if self.dual <= self.primal + rounding else 0.0

    def relative_gap(self) -> float:
        return max(0.0, self.primal - self.proven()) / max(FLOOR, self.primal)

    def try_model(self, model: LinearModel) -> None:
        loss = self.loss(model)
        if loss < self.primal:
            self.primal, self.model = loss, model

    def loss(self, model: LinearModel) -> float:
        return float(
            robust_hinge(model, self.rows, self.labels, eps=self.eps, norm=self.norm).mean()
        )

    def try_weights(self, w: Floats) -> None:
        """Take the weights with the bias that is best for them, scaled up where they separate."""
        outputs = self.rows @ w
        kinks = outputs * -1.0 + self.labels * (1.0 + self.eps * dual_length(w, self.norm))
        # Below all kinks the loss falls by one for each row of class +1, and at each by one less.
        positive = int(np.count_nonzero(self.labels > 0))
        around = np.partition(kinks, (positive - 1, positive))[positive - 1 : positive + 1]
        # Without weights a bias in the middle would be on the boundary for every row.
        best = around.mean() if w.any() else around.max()
        self.try_model(LinearModel(w=w, b=float(best)))
        top = float(outputs[self.labels < 0].max())
        bottom = float(outputs[self.labels > 0].min())
        spare = (bottom - top) / 2 - self.eps * dual_length(w, self.norm)
        if spare > 1e-9 * (abs(bottom) + abs(top)) and 1 / spare < 1e100:
            scale = (1 + 1e-6) / spare
            self.try_model(LinearModel(w=scale * w, b=-scale * (top + bottom) / 2))

    def try_multipliers(self, multipliers: Floats) -> None:
        self.dual = max(self.dual, self.bound.value(multipliers, reach=self.reach))

    def tidy(self, tolerance: float) -> None:
        """Put weights to zero that the method left next to it, where that costs next to nothing."""
        best, proven = self.model, self.proven()
        size = np.abs(best.w)
        wiped = [np.where(size > share * size.max(), best.w, 0.0) for share in _SHARES]
        kept_models = [LinearModel(w=w, b=best.b) for w in wiped]
        for kept in (self.constant, *kept_models):
            loss = self.loss(kept)
            if loss - proven <= max(self.primal - proven, tolerance / 2 * max(FLOOR, loss)):
                self.model, self.primal = kept, loss
                return
