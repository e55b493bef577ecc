"""One classifier of any number of classes under the exact attack: curve, radii, worst inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robreport import Norm
from robreport_plugins.linear.exact_attack import (
    flip_radius,
    flip_radius_multiclass,
    worst_inputs,
    worst_margins,
    worst_margins_multiclass,
)
from robreport_plugins.linear.linear_model import LinearModel, dual_length

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bounds = tuple[Floats, Floats]
Models = Sequence[LinearModel]

# Rows attacked at a time: margins at 1,001 points of the curve then take 80 MB.
_ROWS = 10_000
_CONFIRMED = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked:
    """What the exact attack leaves of one classifier.

    Attributes
    ----------
    margin : array (n,)
        Lead of the right class without an attack; two classes: ``y f(x)``.
    grid : array (g,)
        Radii of the curve.
    free, clipped : array (g,) of int
        Inputs that stay right at each radius, whatever the perturbation; clipped to the bounds
        (None without bounds).
    right : array (n, e) of bool
        Which inputs stay right at the radii asked for, clipped where that was asked for.
    radius : array (n,)
        Distance to the nearest other decision, without bounds; 0 where misclassified.
    """

    margin: Floats
    grid: Floats
    free: Ints
    clipped: Ints | None
    right: npt.NDArray[np.bool_]
    radius: Floats

    @property
    def n(self) -> int:
        return int(self.margin.size)

    def curves(self, clip: bool) -> tuple[Ints, Ints | None]:
        """Return the curve of the attack that counts, and of the other one."""
        if clip and self.clipped is not None:
            return self.clipped, self.free
        return self.free, self.clipped


def lead(models: Models, x: Floats, y: Ints) -> Floats:
    """Return the right class's lead over the best other one, ``(n,)``."""
    if len(models) == 1:
        return np.asarray(np.where(y == 1, 1.0, -1.0) * models[0].decision(x))
    scores = np.stack([model.decision(x) for model in models], axis=1)
    own = scores[np.arange(y.size), y]
    scores[np.arange(y.size), y] = -np.inf
    return np.asarray(own - scores.max(axis=1))


def decided(models: Models, x: Floats) -> Ints:
    """Return the class of each row: the sign of the one score, or the largest of several."""
    if len(models) == 1:
        return np.asarray(models[0].decision(x) > 0, dtype=np.int64)
    scores = np.stack([model.decision(x) for model in models], axis=1)
    return np.asarray(scores.argmax(axis=1), dtype=np.int64)


def worst(
    models: Models, x: Floats, y: Ints, eps: Floats, norm: Norm, bounds: Bounds | None
) -> Floats:
    """Return the least lead of the right class within each radius, ``(n, e)``."""
    if len(models) == 1:
        sign = np.where(y == 1, 1.0, -1.0)
        return worst_margins(models[0], x, sign, eps, norm, bounds)
    return worst_margins_multiclass(models, x, y, eps, norm, bounds)


def attack(
    models: Models,
    x: Floats,
    y: Ints,
    *,
    eps: Floats,
    grid: Floats,
    norm: Norm,
    bounds: Bounds | None,
    clip: bool,
    progress: Callable[[], None] = lambda: None,
) -> Attacked:
    """Attack every row at every radius, exactly.

    Parameters
    ----------
    x : array (n, d)
    y : array (n,)
        Class positions.
    eps : array (e,)
        Radii whose flags are kept for each row.
    grid : array (g,)
        Radii of the curve.
    bounds : (low, high) or None
    clip : bool
        Whether `right` is of the attack within the bounds.
    """
    free = np.zeros(grid.size, dtype=np.int64)
    clipped = np.zeros(grid.size, dtype=np.int64) if bounds is not None else None
    right, radius, margin = [], [], []
    for start in range(0, y.size, _ROWS):
        rows = slice(start, start + _ROWS)
        free += (worst(models, x[rows], y[rows], grid, norm, None) > 0).sum(axis=0)
        if clipped is not None:
            clipped += (worst(models, x[rows], y[rows], grid, norm, bounds) > 0).sum(axis=0)
        kept = bounds if clip else None
        right.append(worst(models, x[rows], y[rows], eps, norm, kept) > 0)
        radius.append(_radius(models, x[rows], y[rows], norm))
        margin.append(lead(models, x[rows], y[rows]))
        progress()
    return Attacked(
        margin=np.concatenate(margin), grid=grid, free=free, clipped=clipped,
        right=np.concatenate(right), radius=np.concatenate(radius),
    )  # fmt: skip


def _radius(models: Models, x: Floats, y: Ints, norm: Norm) -> Floats:
    if len(models) == 1:
        return flip_radius(models[0], x, np.where(y == 1, 1.0, -1.0), norm)
    return flip_radius_multiclass(models, x, y, norm)


def perturbed(
    models: Models, x: Floats, y: Ints, eps: float, norm: Norm, bounds: Bounds | None
) -> Floats:
    """Return the worst input within the radius for each row, ``(n, d)``."""
    if not y.size:
        return np.array(x)
    if len(models) == 1:
        return worst_inputs(models[0], x, np.where(y == 1, 1.0, -1.0), eps, norm, bounds)
    least = np.full(y.size, np.inf)
    found = np.array(x)
    # Against each rival the problem is one of two classes; the rival that gains most is the worst.
    for own in np.unique(y).tolist():
        rows = np.flatnonzero(y == own)
        for other in range(len(models)):
            if other == own:
                continue
            pair = LinearModel(w=models[own].w - models[other].w, b=models[own].b - models[other].b)
            ones = np.ones(rows.size)
            margin = worst_margins(pair, x[rows], ones, np.array([eps]), norm, bounds)[:, 0]
            better = margin < least[rows]
            if better.any():
                found[rows[better]] = worst_inputs(
                    pair, x[rows[better]], ones[better], eps, norm, bounds
                )
                least[rows[better]] = margin[better]
    return found


def confirmed(
    models: Models, x: Floats, y: Ints, eps: float, norm: Norm, bounds: Bounds | None
) -> tuple[int, int, float]:
    """Evaluate the classifier at its worst inputs; return (agreeing, of, largest excess).

    An input agrees when its lead there is the predicted worst one to 9 digits; the excess is how
    far a worst input lies outside the radius, as a share of it.
    """
    x, y = x[:_CONFIRMED], y[:_CONFIRMED]
    moved = perturbed(models, x, y, eps, norm, bounds)
    claimed = worst(models, x, y, np.array([eps]), norm, bounds)[:, 0]
    size = np.abs(claimed) + eps * max(dual_length(m.w, norm) for m in models) + 1.0
    agree = np.abs(lead(models, moved, y) - claimed) <= 1e-9 * size
    length = np.linalg.norm(moved - x, ord=norm.order, axis=1) if x.size else np.zeros(1)
    excess = float(np.max(length / eps - 1.0)) if eps > 0 else float(np.max(length))
    if bounds is not None:
        outside = np.maximum(bounds[0] - moved, moved - bounds[1]).max(initial=0.0)
        excess = max(excess, float(outside))
    return int(agree.sum()), int(y.size), max(0.0, excess)
