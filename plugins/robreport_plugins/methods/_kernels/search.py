"""The search over many trees for the smallest change, row by row."""

from __future__ import annotations

import numpy as np

from robreport_plugins.methods._kernels.compiled import entry, within
from robreport_plugins.methods._kernels.descents import improve, shrink
from robreport_plugins.methods._kernels.ensemble import add_up, descend, fooled, refresh
from robreport_plugins.methods._kernels.goals import reached
from robreport_plugins.methods._kernels.moves import ascend, repair
from robreport_plugins.methods._kernels.options import go_to, keep, members_at, reach
from robreport_plugins.methods._kernels.places import write_choice
from robreport_plugins.methods._kernels.references import case_of, state_at
from robreport_plugins.methods._kernels.structures import (
    STAY,
    Case,
    Floats,
    Ints,
    Records,
    State,
)


@entry
def search(
    given: Case,
    near: Ints,
    reference: Ints,
    choices: Ints,
    starts: int,
    states: State,
    moves: Records,
    trades: Records,
    best: Floats,
    x_adv: Floats,
) -> None:
    """Fill ``best (n,)`` with the least weight found, ``x_adv`` with its rows.

    ``near (n, m)`` numbers the reference rows to start from, -1 for none, in the order in which
    they are tried; ``reference (r, d)`` holds their cells and ``choices (r, groups)`` the member
    that is 1 in each group, -1 for none. `x_adv` comes with the rows themselves, which stay where
    nothing is found; their weight is infinity. Four states, moves and trades are room to work in.
    """
    case = case_of(given)
    # of the row, of the search, the last one to go back to, and of the best find
    origin, state = state_at(states, 0), state_at(states, 1)
    kept, top = state_at(states, 2), state_at(states, 3)
    for i in range(best.size):
        state.progress[0].row = i
        best[i] = np.inf
        _begin(case, origin, i)
        if reached(case.goal[i], add_up(case, origin.leaf, origin.total)):
            best[i] = 0.0
            continue
        left = starts
        for attempt in range(near.shape[1] + 1):
            last = attempt == near.shape[1]
            if not last and (left == 0 or near[i, attempt] < 0):
                continue
            state.progress[0].steps = 0
            keep(origin, state)
            if not last:
                go_to(case, state, reference[near[i, attempt]], choices[near[i, attempt]])
                refresh(case, state)
                arrived = fooled(case, state)
            # from the input outwards
            elif case.norm == 3:
                arrived = ascend(case, state, best[i], moves)
            else:
                arrived = repair(case, state, best[i], moves, case.coordinate.size)
            if not arrived:
                continue
            left -= 1
            if case.norm == 3:
                found = shrink(case, state, kept, moves)
            else:
                found = improve(case, state, kept, moves, trades)
            if found < best[i]:
                best[i] = found
                keep(state, top)
        if best[i] < np.inf:
            top.progress[0].row = i
            _write(case, top, x_adv[i])


@within
def _begin(case: Case, origin: State, i: int) -> None:
    """Put a state where row i is."""
    for j in range(origin.cell.size):
        origin.cell[j] = case.spots[i, j].home
    for tree in range(origin.leaf.size):
        origin.leaf[tree] = descend(case, origin.cell, tree)
    for c in range(origin.coordinates.size):
        j = case.coordinate[c]
        origin.coordinates[c].option = STAY if j < 0 else origin.cell[j]
        origin.coordinates[c].weight = 0.0


@within
def _write(case: Case, state: State, out: Floats) -> None:
    """Write the row of a state, the nearest one in its cells."""
    for c in range(state.coordinates.size):
        j, option = case.coordinate[c], state.coordinates[c].option
        if j >= 0:
            out[j] = reach(case, state, j, option)[1]
        elif option != STAY:
            write_choice(out, members_at(case, j), option)
