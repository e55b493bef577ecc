"""Single moves of coordinates: all that pay, the way back to the row, the way outwards."""

from __future__ import annotations

import numpy as np

from robreport_plugins.methods._kernels.compiled import within
from robreport_plugins.methods._kernels.ensemble import fooled, margin, refresh, set_feature
from robreport_plugins.methods._kernels.options import (
    can_choose,
    go_home,
    heaviest_first,
    home_of,
    members_at,
    reach,
    set_option,
    size,
    spot_of,
)
from robreport_plugins.methods._kernels.places import weigh
from robreport_plugins.methods._kernels.structures import STAY, Case, Records, State


@within
def scan(case: Case, state: State, c: int, limit: float, moves: Records, count: int) -> int:
    """Append the single moves of a coordinate below `limit` that pay; return their number.

    From the input outwards, a move pays if it leaves a larger margin than all nearer ones. The
    state is as before afterwards.
    """
    at, at_weight = state.coordinates[c].option, state.coordinates[c].weight
    j = case.coordinate[c]
    if j < 0:
        members = members_at(case, j)
        for option in range(-1, members.size):
            if option == at or count == moves.size:
                continue
            if option != STAY and (limit <= 1.0 or not can_choose(case, state, members, option)):
                continue
            set_option(case, state, c, option)
            weight = state.coordinates[c].weight
            count = _append(moves, count, c, option, weight, margin(case, state))
        set_option(case, state, c, at)
        return count
    feature, spot = case.features[j], spot_of(case, state, j)
    for side in (-1, 1):
        set_feature(case, state, j, spot.home)
        best = margin(case, state)
        if side == -1 and at != spot.home:
            count = _append(moves, count, c, spot.home, 0.0, best)
        option = spot.home + side
        while 0 <= option < feature.cells and count < moves.size:
            cell = case.cells[feature.start + option]
            if cell.low > spot.ceiling or cell.high < spot.floor:
                break
            found, value = reach(case, state, j, option)
            if found:
                weight = weigh(value, spot.x, feature, case.norm)
                if weight >= limit:
                    break
                set_feature(case, state, j, option)
                lead = margin(case, state)
                if lead > best:
                    best = lead
                    if option != at:
                        count = _append(moves, count, c, option, weight, lead)
            option += side
    set_feature(case, state, j, at)
    state.coordinates[c].weight = at_weight
    return count


@within
def _append(moves: Records, count: int, c: int, option: int, weight: float, lead: float) -> int:
    if count == moves.size:
        return count
    move = moves[count]
    move.coordinate, move.option, move.weight, move.margin = c, option, weight, lead
    return count + 1


@within
def scan_all(case: Case, state: State, limit: float, moves: Records) -> int:
    """Fill `moves` with those of all coordinates; return their number."""
    refresh(case, state)
    # a literal would have functions compiled once more
    count = moves.size * 0
    for c in range(state.coordinates.size):
        count = scan(case, state, c, limit, moves, count)
    return count


@within
def reduce(case: Case, state: State) -> float:
    """Draw coordinates towards the input, the largest first, while another class is given."""
    again = True
    while again:
        again = False
        refresh(case, state)
        for c in heaviest_first(state):
            at, home = state.coordinates[c].option, home_of(case, state, c)
            if at == home:
                continue
            set_option(case, state, c, home)
            if fooled(case, state):
                again = True
                continue
            j = case.coordinate[c]
            option = at
            if j >= 0 and case.features[j].kind != 2 and case.norm != 0:
                option = _nearest_fooling(case, state, j, home, at)
                again = again or option != at
            set_option(case, state, c, option)
    return size(case, state)


@within
def _nearest_fooling(case: Case, state: State, j: int, home: int, at: int) -> int:
    """Return the first cell on the way from the row's own to `at` that gives another class."""
    side = 1 if at > home else -1
    option = home + side
    while option != at:
        if reach(case, state, j, option)[0]:
            set_feature(case, state, j, option)
            if fooled(case, state):
                break
        option += side
    return option


@within
def repair(case: Case, state: State, limit: float, moves: Records, barred: int) -> bool:
    """Move outwards, most margin for its weight first, until another class is given.

    Returns whether that was reached with less than `limit`; coordinate `barred` stays.
    """
    for _ in range(4 * state.coordinates.size + 8):
        total = size(case, state)
        if total >= limit or state.progress[0].steps > case.steps:
            return False
        if fooled(case, state):
            return True
        count = scan_all(case, state, limit, moves)
        lead = margin(case, state)
        chosen, best, least = count, 0.0, np.inf
        for i in range(count):
            move = moves[i]
            added = move.weight - state.coordinates[move.coordinate].weight
            if move.coordinate == barred or move.margin <= lead or total + added >= limit:
                continue
            if move.margin > 0:
                if added < least:
                    chosen, least = i, added
            elif least == np.inf:
                pays = (move.margin - lead) / max(added, 1e-12)
                if pays > best:
                    chosen, best = i, pays
        if chosen == count:
            return False
        make(case, state, moves, chosen)
    return False


@within
def make(case: Case, state: State, moves: Records, i: int) -> None:
    """Make one of the moves."""
    set_option(case, state, moves[i].coordinate, moves[i].option)


@within
def ascend(case: Case, state: State, limit: float, moves: Records) -> bool:
    """Raise the margin coordinate by coordinate inside an open Linf ball; return if it sufficed."""
    # a literal would have functions compiled once more
    none = moves.size * 0
    # what lies outside comes to its best place inside
    for c in range(state.coordinates.size):
        if state.coordinates[c].weight >= limit:
            go_home(case, state, c)
    for _ in range(20):
        refresh(case, state)
        moved = False
        for c in range(state.coordinates.size):
            if fooled(case, state):
                return True
            count = scan(case, state, c, limit, moves, none)
            best, chosen = margin(case, state) + 1e-12, count
            for i in range(count):
                if moves[i].margin > best:
                    best, chosen = moves[i].margin, i
            if chosen < count:
                moved = True
                make(case, state, moves, chosen)
        if not moved:
            break
    return fooled(case, state)
