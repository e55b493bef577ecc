"""The nearest leaf of one tree that gives a class that is looked for."""

from __future__ import annotations

import numpy as np

from robreport_plugins.methods._kernels.compiled import entry, within
from robreport_plugins.methods._kernels.goals import reached
from robreport_plugins.methods._kernels.places import (
    choice_fits,
    members_of,
    place,
    plus,
    weigh,
    write_choice,
)
from robreport_plugins.methods._kernels.structures import STAY, Floats, Ints, Leaves, Records, Room


@entry
def nearest_leaves(room: Room, leaves: Leaves, best: Floats, x_adv: Floats) -> None:
    """Fill ``best (n,)`` with the least weight of such a leaf, ``x_adv`` with its row.

    Leaf l asks the features ``asked[start[l] : start[l + 1]]``, those of a group one after the
    other, to lie in one of the stretches ``stretch_start[i] : stretch_start[i + 1]``. `x_adv` comes
    with the rows themselves, which stay where there is no such leaf; their weight is infinity.
    """
    for row in range(best.size):
        best[row] = np.inf
        nearest = leaves.given.size
        for leaf in range(leaves.given.size):
            if not reached(room.goal[row], leaves.given[leaf]):
                continue
            weight = 0.0
            i, end = leaves.start[leaf], leaves.start[leaf + 1]
            while i < end and weight < best[row]:
                i, added, _, _ = _next_part(room, leaves, room.spots[row], i, end)
                weight = plus(weight, added, room.norm)
            if weight < best[row]:
                best[row], nearest = weight, leaf
        if nearest < leaves.given.size:
            i, end = leaves.start[nearest], leaves.start[nearest + 1]
            while i < end:
                j = leaves.asked[i]
                i, _, value, choice = _next_part(room, leaves, room.spots[row], i, end)
                if room.features[j].kind != 3:
                    x_adv[row, j] = value
                elif choice > STAY:
                    group = room.features[j].group
                    members = members_of(room.group_start, room.group_member, group)
                    write_choice(x_adv[row], members, choice)


@within
def _next_part(
    room: Room, leaves: Leaves, spots: Records, i: int, end: int
) -> tuple[int, float, float, int]:
    """Return how a row enters a leaf by the feature of entry i, or by its group.

    That is: the entry after those, the least weight, and the feature's value or the group's choice.
    """
    j = leaves.asked[i]
    feature, spot = room.features[j], spots[j]
    if feature.kind == 3:
        stop = i + 1
        while stop < end and room.features[leaves.asked[stop]].group == feature.group:
            stop += 1
        members = members_of(room.group_start, room.group_member, feature.group)
        choice = _choose(leaves, spots, members, i, stop)
        if choice < STAY:
            return stop, np.inf, spot.x, choice
        return stop, 1.0 if choice > STAY else 0.0, spot.x, choice
    least, nearest = np.inf, spot.x
    for s in range(leaves.stretch_start[i], leaves.stretch_start[i + 1]):
        stretch = leaves.stretches[s]
        found, value = place(stretch.low, stretch.high, spot, feature.kind)
        if found:
            weight = weigh(value, spot.x, feature, room.norm)
            if weight < least:
                least, nearest = weight, value
    return i + 1, least, nearest, STAY


@within
def _choose(leaves: Leaves, spots: Records, members: Ints, first: int, stop: int) -> int:
    """Return the member of a group to set for a leaf, -1 to leave it, -2 when nothing will do."""
    for choice in range(-1, members.size):
        if choice > STAY and not choice_fits(spots, members, choice):
            continue
        fits = True
        for i in range(first, stop):
            j = leaves.asked[i]
            value = spots[j].x
            if choice > STAY:
                value = 1.0 if members[choice] == j else 0.0
            held = False
            for s in range(leaves.stretch_start[i], leaves.stretch_start[i + 1]):
                if leaves.stretches[s].low <= value <= leaves.stretches[s].high:
                    held = True
                    break
            if not held:
                fits = False
                break
        if fits:
            return choice
    return -2
