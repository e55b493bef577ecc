"""The shortest step into a half-space, with or without a box around it: exact, any norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from robreport.threat import Norm

Array = npt.NDArray[Any]


def dual_length(direction: Array, norm: Norm) -> float:
    """Return how much a step of length 1 in `norm` gains along `direction`.

    This is the dual norm; for L0 the gain of one free coordinate is unbounded, so it is infinity
    for any direction but zero.
    """
    size = np.abs(direction)
    if norm is Norm.L0:
        return float("inf") if size.any() else 0.0
    if norm is Norm.L1:
        return float(size.max(initial=0.0))
    if norm is Norm.L2:
        return float(np.sqrt((size * size).sum()))
    return float(size.sum())


def shortest_steps(
    direction: Array, needed: Array, down: Array, up: Array, norm: Norm
) -> tuple[Array, Array]:
    """Return the shortest steps that gain `needed` along `direction`, and their lengths.

    Minimises ‖δ‖_p subject to direction · δ ≥ needed and −down ≤ δ ≤ up. Coordinate i gains
    a_i = |direction_i| a unit, up to its room r_i. L∞ and L2 move every coordinate by
    min(λ s_i, r_i) with s_i = 1 and s_i = a_i (the Karush-Kuhn-Tucker conditions), so the gain is
    concave and piecewise linear in λ and λ follows from its breakpoints r_i / s_i. L1 and L0 are
    greedy: by gain a unit, and by gain at full room.

    Parameters
    ----------
    direction : array (d,)
    needed : array (n,)
        Positive.
    down, up : array (n, d)
        Room on either side, not negative; infinity for none.
    norm : Norm

    Returns
    -------
    delta : array (n, d)
        Zero rows where no step within the room suffices.
    length : array (n,)
        Infinity there.
    """
    moving = np.flatnonzero(direction)
    delta = np.zeros((needed.size, direction.size))
    length = np.full(needed.size, np.inf)
    if moving.size == 0 or needed.size == 0:
        return delta, length
    gain = np.abs(direction[moving])
    room = np.where(direction[moving] > 0, up[:, moving], down[:, moving])
    if norm in (Norm.L0, Norm.L1):
        size, found = _greedy(gain, room, needed, norm)
    else:
        size, found = _levelled(gain, room, needed, norm)
    size[~found] = 0.0
    delta[:, moving] = size * np.sign(direction[moving])
    length[found] = lengths(size[found], norm)
    return delta, length


def lengths(delta: Array, norm: Norm) -> Array:
    """Return the norm of each row of `delta` (n, d)."""
    size = np.abs(delta)
    if norm is Norm.L0:
        return np.asarray(np.count_nonzero(size, axis=1), dtype=np.float64)
    if norm is Norm.L1:
        return np.asarray(size.sum(axis=1))
    if norm is Norm.L2:
        return np.asarray(np.sqrt((size * size).sum(axis=1)))
    return np.asarray(size.max(axis=1, initial=0.0))


def _levelled(gain: Array, room: Array, needed: Array, norm: Norm) -> tuple[Array, Array]:
    """Move coordinate i by min(λ s_i, room_i); the first segment that reaches `needed` has λ."""
    speed = gain if norm is Norm.L2 else np.ones_like(gain)
    breaks = room / speed
    order = np.argsort(breaks, axis=1, kind="stable")
    full = np.take_along_axis(gain * room, order, axis=1)
    slope = np.take_along_axis(np.broadcast_to(gain * speed, room.shape), order, axis=1)
    # slope left once the first j coordinates stand at their limit: summed from the far end, so
    # that it is never the difference of two large sums
    left = np.cumsum(slope[:, ::-1], axis=1)[:, ::-1]
    before = np.concatenate([np.zeros((needed.size, 1)), np.cumsum(full, axis=1)[:, :-1]], axis=1)
    with np.errstate(invalid="ignore"):
        level = (needed[:, None] - before) / left
        reached = level <= np.take_along_axis(breaks, order, axis=1)
    found = reached.any(axis=1)
    first = reached.argmax(axis=1)
    chosen = np.where(found, level[np.arange(needed.size), first], 0.0)
    return np.minimum(chosen[:, None] * speed, room), found


def _greedy(gain: Array, room: Array, needed: Array, norm: Norm) -> tuple[Array, Array]:
    """Use up the room of the best coordinates, and of the last only as much as is needed."""
    worth = gain * room if norm is Norm.L0 else np.broadcast_to(gain, room.shape)
    order = np.argsort(-worth, axis=1, kind="stable")
    spent = np.cumsum(np.take_along_axis(gain * room, order, axis=1), axis=1)
    enough = spent >= needed[:, None]
    found = enough.any(axis=1)
    last = enough.argmax(axis=1)
    rows = np.arange(needed.size)
    earlier = np.where(last > 0, spent[rows, np.maximum(last - 1, 0)], 0.0)
    place = np.arange(gain.size)
    sorted_size = np.where(place < last[:, None], np.take_along_axis(room, order, axis=1), 0.0)
    coordinate = order[rows, last]
    with np.errstate(invalid="ignore"):
        partial = (needed - earlier) / gain[coordinate]
        sorted_size[rows, last] = np.minimum(partial, room[rows, coordinate])
    size = np.empty_like(sorted_size)
    np.put_along_axis(size, order, sorted_size, axis=1)
    return size, np.asarray(found)
