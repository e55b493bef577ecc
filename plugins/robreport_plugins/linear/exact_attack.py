"""The exact worst case of a linear classifier within a norm ball, clipped to bounds or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from robreport import Norm
from robreport_plugins.linear.linear_model import Floats, LinearModel, dual_length
from robreport_plugins.linear.problem import checked_labels, checked_radius, checked_rows
from robreport_plugins.methods.perturb_confine import confine

if TYPE_CHECKING:
    from robreport_plugins.linear._kernels import Moves

# Lower and upper bound of the inputs, each a number or an array (d,).
Bounds = tuple[Any, Any]

# Cells of the table by which an eps is found, per eps.
_CELLS = 4


def worst_margins(
    model: LinearModel,
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    eps: npt.ArrayLike,
    norm: Norm,
    bounds: Bounds | None = None,
) -> Floats:
    """Return the least ``y f(x')`` over perturbed inputs for each row and eps, ``(n, k)``.

    Parameters
    ----------
    model : LinearModel
    x : array (n, d)
    y : array (n,)
        Labels -1 and +1.
    eps : array (k,)
        Radii in input units, in any order.
    norm : Norm
        L1, L2 or Linf.
    bounds : (low, high), optional
        Numbers or arrays ``(d,)``; infinite where there is none. Perturbed inputs stay inside; a
        value that lies outside already may stay where it is or come closer, as for every attack.

    Raises
    ------
    ValueError
        Inputs, labels, radii or bounds that do not fit together or are not finite.

    Notes
    -----
    Exact up to rounding. Coordinate j can lower ``y f`` by ``|w_j|`` per unit, up to the room r_j
    that the bounds leave it. Linf: ``sum |w_j| min(eps, r_j)``. L1: a fractional knapsack, the
    largest weights first. L2: ``min(t |w_j|, r_j)``, where t follows in closed form between the
    sorted breakpoints ``r_j / |w_j|``. Without bounds the gain is ``eps ||w||_q``.
    """
    rows, labels = _checked(model, x, y)
    radius = _checked_radii(eps, norm)
    clean = labels * model.decision(rows)
    if bounds is None:
        found: Floats = clean[:, None] - radius * dual_length(model.w, norm)
        return found
    low, high = _checked_bounds(bounds, rows.shape[1])
    return np.asarray(clean[:, None] - _gains(model.w, rows, labels, radius, norm, low, high)[0])


def perturbed_accuracy(
    model: LinearModel,
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    eps: npt.ArrayLike,
    norm: Norm,
    bounds: Bounds | None = None,
) -> Floats:
    """Return the share of rows that no perturbation within eps misclassifies, ``(k,)``.

    A row counts while its least ``y f(x')`` is above zero: on the boundary it is lost. Parameters
    and errors as for `worst_margins`.
    """
    right = worst_margins(model, x, y, eps, norm, bounds) > 0
    return np.asarray(np.count_nonzero(right, axis=0) / len(right))


def worst_inputs(
    model: LinearModel,
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    eps: float,
    norm: Norm,
    bounds: Bounds | None = None,
) -> Floats:
    """Return the perturbed inputs with the least ``y f``, ``(n, d)``.

    They stay in the ball and the bounds despite rounding. Features whose weight is zero do not
    move. Parameters and errors as for `worst_margins`; without bounds, L1 moves the first feature
    of the largest weight alone.
    """
    rows, labels = _checked(model, x, y)
    radius = _checked_radii([eps], norm)
    limits = (-np.inf, np.inf) if bounds is None else bounds
    low, high = _checked_bounds(limits, rows.shape[1])
    size = np.abs(model.w)
    falls = labels[:, None] * model.w > 0
    free = np.where(falls, np.maximum(rows - low, 0.0), np.maximum(high - rows, 0.0))
    # A room beyond the radius is never used up, and infinity would spoil the sums.
    free = np.where(size > 0, np.minimum(free, eps), 0.0)
    if norm is Norm.Linf:
        step = free
    elif norm is Norm.L1:
        order = _steepest(model.w)
        ordered = free[:, order]
        taken = np.clip(eps - (np.cumsum(ordered, axis=1) - ordered), 0.0, ordered)
        step = np.zeros_like(free)
        step[:, order] = taken
    else:
        stretch = _gains(model.w, rows, labels, radius, norm, low, high)[1]
        with np.errstate(invalid="ignore"):
            step = np.where(size > 0, np.minimum(stretch * size, free), 0.0)
    return np.asarray(confine(rows, np.where(falls, -step, step), norm, float(eps), low, high))


def flip_radius(
    model: LinearModel,
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    norm: Norm,
    bounds: Bounds | None = None,
) -> Floats:
    """Return how far each row must move to reach the decision boundary, ``(n,)``.

    Without bounds it is ``y f(x) / ||w||_q``. Zero where the row is misclassified or on the
    boundary already, infinity where no perturbation (inside the bounds) reaches it. Parameters and
    errors as for `worst_margins`.
    """
    rows, labels = _checked(model, x, y)
    checked_radius(0.0, norm)
    limits = None if bounds is None else _checked_bounds(bounds, rows.shape[1])
    return _radii(model.w, rows, labels, labels * model.decision(rows), norm, limits)


def worst_margins_multiclass(
    models: Sequence[LinearModel],
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    eps: npt.ArrayLike,
    norm: Norm,
    bounds: Bounds | None = None,
) -> Floats:
    """Return the least lead of class y over every other class, for each row and eps, ``(n, k)``.

    The predicted class is the one whose model decides highest; y holds whole numbers from 0. The
    least over the other classes j of the least ``(w_y - w_j) . x' + b_y - b_j`` is exact, since
    both are minima. Parameters and errors as for `worst_margins`.
    """
    rows, classes = _checked_classes(models, x, y)
    radius = _checked_radii(eps, norm)
    limits = None if bounds is None else _checked_bounds(bounds, rows.shape[1])
    found = np.full((len(rows), radius.size), np.inf)
    for pair in _pairs(models, rows, classes):
        if limits is None:
            gain = radius * dual_length(pair.w, norm)
        else:
            gain = _gains(pair.w, pair.rows, pair.labels, radius, norm, *limits)[0]
        found[pair.index] = np.minimum(found[pair.index], pair.lead[:, None] - gain)
    return found


def flip_radius_multiclass(
    models: Sequence[LinearModel],
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    norm: Norm,
    bounds: Bounds | None = None,
) -> Floats:
    """Return how far each row must move until another class draws level with y, ``(n,)``.

    Parameters, conventions and errors as for `flip_radius` and `worst_margins_multiclass`.
    """
    rows, classes = _checked_classes(models, x, y)
    checked_radius(0.0, norm)
    limits = None if bounds is None else _checked_bounds(bounds, rows.shape[1])
    found = np.full(len(rows), np.inf)
    for pair in _pairs(models, rows, classes):
        radius = _radii(pair.w, pair.rows, pair.labels, pair.lead, norm, limits)
        found[pair.index] = np.minimum(found[pair.index], radius)
    return found


# --------------------------------------------------------------------------------- one direction


def _gains(
    w: Floats, x: Floats, y: Floats, eps: Floats, norm: Norm, low: Floats, high: Floats
) -> tuple[Floats, Floats]:
    """Return what each row loses at each eps, ``(n, k)``, and for L2 its stretch."""
    from robreport_plugins.linear import _kernels

    order = np.argsort(eps, kind="stable")
    grid = np.ascontiguousarray(eps[order])
    gain = np.zeros((len(x), grid.size))
    stretch = np.zeros_like(gain) if norm is Norm.L2 else gain
    moves = _moves(w, low, high)
    if grid.size and norm is Norm.Linf:
        guide, per_width = _guide(grid)
        _kernels.gains_linf(x, y, moves, np.append(grid, np.inf), guide, per_width, gain)
    elif grid.size and norm is Norm.L1:
        _kernels.gains_l1(x, y, moves, grid, gain)
    elif grid.size:
        _kernels.gains_l2(x, y, moves, grid, gain, stretch)
    back = np.argsort(order, kind="stable")
    return gain[:, back], stretch[:, back]


def _guide(grid: Floats) -> tuple[npt.NDArray[np.int64], float]:
    """Cells from zero to the last eps, and the index of an eps at or before each cell's first."""
    cells = _CELLS * grid.size
    with np.errstate(over="ignore", divide="ignore"):
        per_width = float(cells / grid[-1])
    if not np.isfinite(per_width):
        # No cells of such a width can be told apart: two of them, for rooms of less than infinity.
        return np.array([0, grid.size - 1]), float(np.nextafter(0, 1))
    # A little to the left of each cell, since the product that finds a cell is rounded.
    edges = np.arange(cells + 1) / per_width * (1 - 1e-12)
    return np.minimum(np.searchsorted(grid, edges), grid.size - 1), per_width


def _moves(w: Floats, low: Floats, high: Floats) -> Moves:
    """Return how features can move, for the kernels, the largest weight first."""
    from robreport_plugins.linear._kernels import Moves

    columns = _steepest(w)
    falls = np.stack([w[columns] < 0, w[columns] > 0])
    sense = np.where(falls, 1.0, -1.0)
    offset = np.where(falls, -low[columns], high[columns])
    return Moves(columns, np.abs(w[columns]), sense, offset)


def _radii(
    w: Floats, x: Floats, y: Floats, clean: Floats, norm: Norm, limits: tuple[Floats, Floats] | None
) -> Floats:
    """Return the least radius at which each row loses its `clean` margin."""
    from robreport_plugins.linear import _kernels

    found = np.full(len(x), np.inf)
    if limits is None:
        length = dual_length(w, norm)
        if length > 0:
            found = clean / length
    elif norm is Norm.L1:
        _kernels.radii_l1(x, y, _moves(w, *limits), clean, found)
    else:
        _kernels.radii(x, y, _moves(w, *limits), norm is Norm.L2, clean, found)
    return np.where(clean > 0, found, 0.0)


def _steepest(w: Floats) -> npt.NDArray[np.int64]:
    """Features of weight other than zero, the largest first."""
    order = np.argsort(-np.abs(w), kind="stable")
    return np.ascontiguousarray(order[w[order] != 0], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Rows of one class against one other class: a binary problem with labels +1."""

    index: npt.NDArray[np.int64]
    rows: Floats
    labels: Floats
    w: Floats
    lead: Floats


def _pairs(models: Sequence[LinearModel], x: Floats, y: npt.NDArray[np.int64]) -> Iterator[_Pair]:
    decisions = np.stack([model.decision(x) for model in models], axis=1)
    for c in np.unique(y).tolist():
        index = np.flatnonzero(y == c)
        rows, labels = x[index], np.ones(index.size)
        for j, other in enumerate(models):
            if j != c:
                lead = decisions[index, c] - decisions[index, j]
                yield _Pair(index, rows, labels, models[c].w - other.w, lead)


# ---------------------------------------------------------------------------------------- checks


def _checked(model: LinearModel, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    rows = checked_rows(x)
    _check_width(model, rows)
    return rows, checked_labels(y, len(rows))


def _checked_classes(
    models: Sequence[LinearModel], x: npt.NDArray[Any], y: npt.NDArray[Any]
) -> tuple[Floats, npt.NDArray[np.int64]]:
    rows = checked_rows(x)
    if len(models) < 2:
        raise ValueError(f"a choice of class needs two models or more, found {len(models)}")
    for model in models:
        _check_width(model, rows)
    classes = np.asarray(y)
    if classes.shape != (len(rows),) or classes.dtype.kind not in "iu":
        raise ValueError(
            f"{len(rows):,} rows need as many whole-number labels, found {classes.dtype} of "
            f"shape {classes.shape}"
        )
    if classes.min() < 0 or classes.max() >= len(models):
        raise ValueError(
            f"labels must go from 0 to {len(models) - 1}, one for each model, found "
            f"{classes.min()} to {classes.max()}"
        )
    return rows, classes.astype(np.int64)


def _check_width(model: LinearModel, rows: Floats) -> None:
    if model.w.size != rows.shape[1]:
        raise ValueError(
            f"the model has {model.w.size:,} weights, the inputs have {rows.shape[1]:,} features"
        )


def _checked_radii(eps: npt.ArrayLike, norm: Norm) -> Floats:
    radius = np.asarray(eps, dtype=np.float64)
    if radius.ndim != 1:
        raise ValueError(f"eps must be a list of radii, found shape {radius.shape}")
    for value in radius[~(np.isfinite(radius) & (radius >= 0))][:1]:
        raise ValueError(f"eps must be finite and at least 0, found {value}")
    checked_radius(0.0, norm)
    return radius


def _checked_bounds(bounds: Bounds, d: int) -> tuple[Floats, Floats]:
    """Return the bounds as arrays ``(d,)``."""
    sides = []
    for side in bounds:
        values = np.asarray(side, dtype=np.float64)
        if values.shape not in ((), (d,)):
            raise ValueError(f"a bound is one number or {d:,} of them, found shape {values.shape}")
        sides.append(np.ascontiguousarray(np.broadcast_to(values, (d,))))
    low, high = sides
    if not (low <= high).all():
        raise ValueError("a lower bound lies above its upper bound, or is NaN")
    return low, high
