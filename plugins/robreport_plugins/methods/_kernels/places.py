"""The nearest number of a stretch, what going there weighs, and the members of one-hot groups."""

from __future__ import annotations

import numpy as np

from robreport_plugins.methods._kernels.compiled import within
from robreport_plugins.methods._kernels.structures import Floats, Ints, Record, Records


@within
def place(low: float, high: float, spot: Record, kind: int) -> tuple[bool, float]:
    """Return (whether there is one, the value nearest to x that the stretch and the room hold)."""
    if low <= spot.x <= high:
        return True, spot.x
    bottom, top = max(low, spot.floor), min(high, spot.ceiling)
    if kind > 0:
        bottom, top = np.ceil(bottom), np.floor(top)
    if not bottom <= top:
        return False, spot.x
    return True, bottom if spot.x < bottom else top


@within
def weigh(value: float, x: float, feature: Record, norm: int) -> float:
    """Return what a change from x to `value` adds to the norm."""
    if value == x:
        return 0.0
    if norm == 0 or feature.kind == 2:
        return 1.0
    size = abs(value - x) / feature.unit
    return float(size * size) if norm == 2 else float(size)


@within
def plus(total: float, weight: float, norm: int) -> float:
    """Return the weight of two changes together."""
    return max(total, weight) if norm == 3 else total + weight


@within
def members_of(start: Ints, member: Ints, group: int) -> Ints:
    """Return the features of a one-hot group."""
    return member[start[group] : start[group + 1]]


@within
def choice_fits(spots: Records, members: Ints, choice: int) -> bool:
    """Return whether the room lets this member be 1 and the others 0."""
    for i in range(members.size):
        wanted = 1.0 if i == choice else 0.0
        spot = spots[members[i]]
        if not spot.floor <= wanted <= spot.ceiling:
            return False
    return True


@within
def choice_is_new(spots: Records, members: Ints, choice: int) -> bool:
    """Return whether this member is 1 and the others 0 is possible and not so in the row."""
    if not choice_fits(spots, members, choice):
        return False
    same = True
    for i in range(members.size):
        same = same and spots[members[i]].x == (1.0 if i == choice else 0.0)
    return not same


@within
def write_choice(out: Floats, members: Ints, choice: int) -> None:
    """Set one member to 1 and the others to 0."""
    for i in range(members.size):
        out[members[i]] = 1.0 if i == choice else 0.0
