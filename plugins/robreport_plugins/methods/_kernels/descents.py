"""From a state that gives another class to a smaller change: by trades, or by smaller balls."""

from __future__ import annotations

from robreport_plugins.methods._kernels.compiled import within
from robreport_plugins.methods._kernels.ensemble import fooled, margin, refresh
from robreport_plugins.methods._kernels.moves import ascend, make, reduce, repair, scan_all
from robreport_plugins.methods._kernels.options import (
    go_home,
    heaviest_first,
    home_of,
    keep,
    set_option,
    size,
)
from robreport_plugins.methods._kernels.structures import Case, Records, State


@within
def improve(case: Case, state: State, kept: State, moves: Records, trades: Records) -> float:
    """Trade one coordinate for another until no trade that is tried makes the change smaller."""
    best = reduce(case, state)
    better = True
    while better and best > 0.0 and state.progress[0].steps < case.steps:
        count = scan_all(case, state, best, moves)
        lead = margin(case, state)
        keep(state, kept)
        found = _try_pairs(case, state, kept, moves, trades, count, lead, best)
        if not found < best:
            found = _try_farther(case, state, kept, moves, trades, count, lead, best)
        if not found < best:
            found = _try_homes(case, state, kept, moves, best)
        better = found < best
        best = found
    return best


@within
def _try_pairs(
    case: Case, state: State, kept: State, moves: Records, trades: Records,
    count: int, lead: float, best: float,
) -> float:  # fmt: skip
    """Move one coordinate nearer and another farther, as if their margins added up.

    Like its sisters, returns the smaller weight and leaves the state there, or returns `best` and
    leaves the state as it was.
    """
    # a literal would have functions compiled once more
    filled = count * 0
    for b in range(count):
        nearer = moves[b]
        spared = state.coordinates[nearer.coordinate].weight - nearer.weight
        if spared <= 0.0:
            continue
        if nearer.margin > 0:
            filled = _rank(trades, filled, b, b, best - spared)
            continue
        for a in range(count):
            farther = moves[a]
            added = farther.weight - state.coordinates[farther.coordinate].weight
            if farther.coordinate == nearer.coordinate or added >= spared:
                continue
            if farther.margin + nearer.margin - lead > 0:
                filled = _rank(trades, filled, b, a, best - spared + added)
    for i in range(filled):
        make(case, state, moves, trades[i].first)
        if trades[i].second != trades[i].first:
            make(case, state, moves, trades[i].second)
        if size(case, state) < best and fooled(case, state):
            return reduce(case, state)
        keep(kept, state)
    return best


@within
def _try_farther(
    case: Case, state: State, kept: State, moves: Records, trades: Records,
    count: int, lead: float, best: float,
) -> float:  # fmt: skip
    """Move one coordinate farther, then as many nearer as that allows."""
    filled = count * 0
    for a in range(count):
        added = moves[a].weight - state.coordinates[moves[a].coordinate].weight
        if moves[a].margin > lead:
            pays = max(added, 0.0) / (moves[a].margin - lead)
            filled = _rank(trades, filled, a, a, pays)
    for i in range(filled):
        if state.progress[0].steps > case.steps:
            break
        make(case, state, moves, trades[i].first)
        if fooled(case, state):
            found = reduce(case, state)
            if found < best:
                return found
        keep(kept, state)
    return best


@within
def _try_homes(case: Case, state: State, kept: State, moves: Records, best: float) -> float:
    """Move one coordinate all the way back, then as many farther as are needed."""
    for c in heaviest_first(kept):
        if kept.coordinates[c].weight == 0.0:
            break
        go_home(case, state, c)
        if repair(case, state, best, moves, c):
            found = reduce(case, state)
            if found < best:
                return found
        keep(kept, state)
    return best


@within
def _rank(trades: Records, filled: int, first: int, second: int, worth: float) -> int:
    """Keep the trades of the smallest worth in order; return how many there are."""
    if filled == trades.size:
        if worth >= trades[filled - 1].worth:
            return filled
        filled -= 1
    i = filled
    while i > 0 and trades[i - 1].worth > worth:
        trades[i] = trades[i - 1]
        i -= 1
    trade = trades[i]
    trade.first, trade.second, trade.worth = first, second, worth
    return filled + 1


@within
def shrink(case: Case, state: State, kept: State, moves: Records) -> float:
    """Find another class in smaller and smaller Linf balls; return the last that had one."""
    best = size(case, state)
    keep(state, kept)
    while best > 0.0 and state.progress[0].steps < case.steps:
        if not _in_a_smaller_ball(case, state, kept, moves, best):
            break
        best = size(case, state)
        keep(state, kept)
    # what was moved without need goes back
    refresh(case, state)
    for c in range(state.coordinates.size):
        at = state.coordinates[c].option
        if at != home_of(case, state, c):
            go_home(case, state, c)
            if not fooled(case, state):
                set_option(case, state, c, at)
    return size(case, state)


@within
def _in_a_smaller_ball(case: Case, state: State, kept: State, moves: Records, best: float) -> bool:
    """Return whether a ball smaller than `best` has another class; else the state is as it was."""
    for share in (0.5, 0.8, 0.95, 1.0):
        for fresh in (False, True):
            if fresh:
                for c in range(state.coordinates.size):
                    go_home(case, state, c)
            if ascend(case, state, best * share, moves):
                return True
            keep(kept, state)
    return False
