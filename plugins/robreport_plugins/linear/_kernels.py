"""Loops of hinge training and of exact attacks on linear models; their callers check inputs."""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

# A weight of less than this part of the largest one counts as zero in an attack.
_NOTHING = 1e-150


# --------------------------------------------------------------------------------------- training


# Sums in any order, so that they fill the vector units: the one liberty taken with rounding here.
@nb.njit(cache=True, nogil=True, fastmath={"reassoc"})
def two_products(a: Floats, b: Floats, c: Floats) -> tuple[float, float]:
    """Return ``a . b`` and ``a . c``, with one pass over `a`."""
    first, second = 0.0, 0.0
    for j in range(a.size):
        first += a[j] * b[j]
        second += a[j] * c[j]
    return first, second


@nb.njit(cache=True, nogil=True)
def length_and_slope(w: Floats, q: int, slope: Floats) -> float:
    """Return ``||w||_q`` for q = 1, 2 or 0 (the maximum), and fill `slope` with its subgradient.

    Where there is a choice it is the one of automatic differentiation in torch: sign(0) = 0, the
    zero vector has slope zero, and weights that share the maximum share the slope evenly.
    """
    length = 0.0
    if q == 1:
        for j in range(w.size):
            length += abs(w[j])
            slope[j] = np.sign(w[j])
        return length
    if q == 2:
        for j in range(w.size):
            length += w[j] * w[j]
        length = float(np.sqrt(length))
        for j in range(w.size):
            slope[j] = w[j] / length if length > 0.0 else 0.0
        return length
    for j in range(w.size):
        length = max(length, abs(w[j]))
    shared = 0
    for j in range(w.size):
        if abs(w[j]) == length:
            shared += 1
    for j in range(w.size):
        slope[j] = np.sign(w[j]) / shared if abs(w[j]) == length else 0.0
    return length


@nb.njit(cache=True, nogil=True)
def descend(
    x: Floats,
    y: Floats,
    order: Indices,
    state: Floats,
    velocity: Floats,
    batch: int,
    lr: float,
    momentum: float,
    mean: bool,
    eps: float,
    q: int,
    margins: Floats,
) -> None:
    """Take one pass of gradient steps on the robust hinge loss over the rows in `order`.

    ``state (d + 1,)`` holds the weights and, last, the bias; ``velocity (d + 1,)`` what momentum
    carries over. ``margins (n,)`` becomes ``y f(x)`` at the weights before the pass, which costs
    little here, where each row passes through the cache anyway.
    """
    n, d = x.shape
    before = state.copy()
    slope = np.empty(d, np.float64)
    gradient = np.empty(d + 1, np.float64)
    w, start = state[:d], before[:d]
    for first in range(0, n, batch):
        last = min(first + batch, n)
        length = length_and_slope(w, q, slope)
        gradient[:] = 0.0
        wrong = 0
        for at in range(first, last):
            i = order[at]
            row = x[i]
            now, then = two_products(row, w, start)
            margins[i] = y[i] * (then + before[d])
            # At the kink torch's clamp passes the gradient on.
            if 1.0 - y[i] * (now + state[d]) + eps * length >= 0.0:
                wrong += 1
                gradient[d] -= y[i]
                if y[i] > 0.0:
                    for j in range(d):
                        gradient[j] -= row[j]
                else:
                    for j in range(d):
                        gradient[j] += row[j]
        scale = 1.0 / (last - first) if mean else 1.0
        for j in range(d):
            gradient[j] += wrong * eps * slope[j]
        for j in range(d + 1):
            velocity[j] = momentum * velocity[j] + scale * gradient[j]
            state[j] -= lr * velocity[j]


# ----------------------------------------------------------------------------------------- attack


class Moves(NamedTuple):
    """How the features can move that have a weight, the largest first.

    Features whose weight is zero never move: ``columns (m,)`` names the others, ``size (m,)`` holds
    their |w|. How far one can go in the direction that lowers ``y f`` is ``sense * x + offset``, or
    nothing where that is negative: one row of `sense` and ``offset (2, m)`` for y = -1, one for +1.
    """

    columns: Indices
    size: Floats
    sense: Floats
    offset: Floats


class Breakpoints(NamedTuple):
    """Of the coordinates that can move: |w| in units of the largest, room, level, what is left."""

    scaled: Floats
    limit: Floats
    level: Floats
    left: Floats


@nb.njit(cache=True, nogil=True)
def room(moves: Moves, row: Floats, label: float, j: int) -> float:
    """Return how far coordinate j can go, of the row of a label; nothing where that is negative."""
    side = 1 if label > 0.0 else 0
    return float(moves.sense[side, j] * row[moves.columns[j]] + moves.offset[side, j])


@nb.njit(cache=True, nogil=True, inline="never")
def first_at_least(eps: Floats, value: float) -> int:
    """Return the first index of the sorted `eps`, which ends with infinity, not below `value`."""
    low, high = 0, eps.size - 1
    while low < high:
        middle = (low + high) // 2
        if eps[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@nb.njit(cache=True, nogil=True)
def gains_linf(
    x: Floats,
    y: Floats,
    moves: Moves,
    eps: Floats,
    guide: Indices,
    per_width: float,
    gain: Floats,
) -> None:
    """Fill ``gain (n, k)`` with ``sum_j |w_j| min(eps, room_j)`` for the sorted `eps`.

    ``eps (k + 1,)`` ends with infinity. ``guide[c]`` is an index at or before the first eps that is
    at least the left end of cell c of equal cells, and that is at most k - 1.
    """
    columns, size, sense, offset = moves
    k, m = eps.size - 1, columns.size
    last = float(guide.size - 1)
    # By the first eps that covers a coordinate's room: its gain at the limit, its gain per unit.
    full, slope = np.empty(k + 1, np.float64), np.empty(k + 1, np.float64)
    limit, cell = np.empty(m, np.float64), np.empty(m, np.int64)
    for i in range(x.shape[0]):
        full[:] = 0.0
        slope[:] = 0.0
        side = 1 if y[i] > 0.0 else 0
        row, senses, offsets = x[i], sense[side], offset[side]
        # A loop of its own, without branches, which the compiler can vectorise.
        for j in range(m):
            free = senses[j] * row[columns[j]] + offsets[j]
            free = free if free > 0.0 else 0.0
            place = free * per_width
            limit[j] = free
            cell[j] = np.int64(place if place < last else last)
        for j in range(m):
            # Unsigned, so that no index is checked for being negative.
            at = np.uint64(guide[np.uint64(cell[j])])
            # One step without a branch is enough on an even grid of eps; else the rest is halved.
            at = np.uint64(at + np.uint64(eps[at] < limit[j]))
            if eps[at] < limit[j]:
                at = np.uint64(first_at_least(eps, limit[j]))
            full[at] += size[j] * limit[j]
            slope[at] += size[j]
        # From the far end, so that no slope is a difference of two large sums.
        left = slope[k]
        for e in range(k - 1, -1, -1):
            gain[i, e] = eps[e] * left
            left += slope[e]
        spent = 0.0
        for e in range(k):
            spent += full[e]
            gain[i, e] += spent


@nb.njit(cache=True, nogil=True)
def gains_l1(
    x: Floats,
    y: Floats,
    moves: Moves,
    eps: Floats,
    gain: Floats,
) -> None:
    """Fill ``gain (n, k)``: the radius goes to the largest weights first, each up to its room."""
    k, size = eps.size, moves.size
    for i in range(x.shape[0]):
        spent, gained = 0.0, 0.0
        at = 0
        for j in range(size.size):
            limit = max(room(moves, x[i], y[i], j), 0.0)
            while at < k and eps[at] - spent <= limit:
                gain[i, at] = gained + size[j] * (eps[at] - spent)
                at += 1
            if at == k:
                break
            spent += limit
            gained += size[j] * limit
        while at < k:
            gain[i, at] = gained
            at += 1


@nb.njit(cache=True, nogil=True)
def breakpoints(
    row: Floats, label: float, moves: Moves, squared: bool, points: Breakpoints
) -> tuple[int, float]:
    """Return how many coordinates can move and the unit of their sizes, sorted by their level.

    A coordinate moves by ``min(t speed, limit)``, its speed being its size ``|w_j| / unit``
    (`squared`) or 1, and stands still from the level ``t = limit / speed`` on. ``left[j]`` is
    what the coordinates from j on gain together per unit of t.
    """
    scaled, limit, level, left = points
    found = 0
    unit = 0.0
    for j in range(moves.size.size):
        free = room(moves, row, label, j)
        if free > 0.0:
            limit[found] = free
            scaled[found] = moves.size[j]
            unit = max(unit, moves.size[j])
            found += 1
    m = 0
    for j in range(found):
        # In units of the largest, so that no square overflows; beside it, what has a square of
        # zero gains nothing that a float could hold.
        part = scaled[j] / unit
        if part > _NOTHING:
            scaled[m], limit[m] = part, limit[j]
            level[m] = limit[m] / part if squared else limit[m]
            m += 1
    order = np.argsort(level[:m])
    parts, limits, levels = scaled[order], limit[order], level[order]
    # Not one slice after the other, for whose errors numba would compile the formatting of text.
    for j in range(m):
        scaled[j], limit[j], level[j] = parts[j], limits[j], levels[j]
    total = 0.0
    for j in range(m - 1, -1, -1):
        total += scaled[j] * scaled[j] if squared else scaled[j]
        left[j] = total
    return m, unit


@nb.njit(cache=True, nogil=True)
def gains_l2(
    x: Floats,
    y: Floats,
    moves: Moves,
    eps: Floats,
    gain: Floats,
    stretch: Floats,
) -> None:
    """Fill ``gain (n, k)`` and ``stretch (n, k)``: coordinate j moves by min(stretch |w_j|, room).

    The squared length at the level of each breakpoint says between which two an eps lies; there
    it is a quadratic function of the level, solved in closed form.
    """
    k = eps.size
    d = moves.size.size
    points = Breakpoints(np.empty(d), np.empty(d), np.empty(d), np.empty(d))
    scaled, limit, level, left = points
    for i in range(x.shape[0]):
        m, unit = breakpoints(x[i], y[i], moves, True, points)
        at, gained, spent, reached = 0, 0.0, 0.0, 0.0
        for e in range(k):
            square = eps[e] * eps[e]
            while at < m and square >= spent + level[at] * level[at] * left[at]:
                spent += limit[at] * limit[at]
                gained += scaled[at] * limit[at]
                reached = level[at]
                at += 1
            if at == m:
                gain[i, e] = unit * gained
                stretch[i, e] = np.inf
            else:
                t = np.sqrt(max(square - spent, 0.0) / left[at])
                t = min(max(t, reached), level[at])
                gain[i, e] = unit * (gained + t * left[at])
                stretch[i, e] = t / unit


@nb.njit(cache=True, nogil=True)
def radii(
    x: Floats,
    y: Floats,
    moves: Moves,
    squared: bool,
    needed: Floats,
    radius: Floats,
) -> None:
    """Fill ``radius (n,)``: the least L2 (`squared`) or Linf radius that gains `needed`, or inf."""
    d = moves.size.size
    points = Breakpoints(np.empty(d), np.empty(d), np.empty(d), np.empty(d))
    scaled, limit, level, left = points
    for i in range(x.shape[0]):
        m, unit = breakpoints(x[i], y[i], moves, squared, points)
        radius[i] = np.inf
        gained, spent = 0.0, 0.0
        for at in range(m):
            want = needed[i] / unit - gained
            if want <= level[at] * left[at]:
                t = max(want, 0.0) / left[at]
                radius[i] = np.sqrt(spent + t * t * left[at]) if squared else t
                break
            gained += scaled[at] * limit[at]
            spent += limit[at] * limit[at]


@nb.njit(cache=True, nogil=True)
def radii_l1(
    x: Floats,
    y: Floats,
    moves: Moves,
    needed: Floats,
    radius: Floats,
) -> None:
    """Fill ``radius (n,)``: the least L1 radius that gains `needed`, infinity where none does."""
    size = moves.size
    for i in range(x.shape[0]):
        radius[i] = np.inf
        spent, gained = 0.0, 0.0
        for j in range(size.size):
            limit = max(room(moves, x[i], y[i], j), 0.0)
            if needed[i] - gained <= size[j] * limit:
                radius[i] = spent + max(needed[i] - gained, 0.0) / size[j]
                break
            spent += limit
            gained += size[j] * limit
