"""What an ensemble says of a state: its leaves, its scores, and by how much a wrong class leads."""

from __future__ import annotations

import numpy as np

from robreport_plugins.methods._kernels.compiled import entry, within
from robreport_plugins.methods._kernels.goals import reached
from robreport_plugins.methods._kernels.structures import Case, Floats, Ints, State


@within
def descend(case: Case, cell: Ints, tree: int) -> int:
    """Return the leaf that a row of cells reaches."""
    at = case.trees[tree].root
    while case.nodes[at].left >= 0:
        node = case.nodes[at]
        own = cell[node.feature]
        if node.special >= 0:
            goes_left = case.table[node.special + own] == 1
        else:
            goes_left = own <= node.cut
        at = node.left if goes_left else node.right
    return int(at)


@within
def _outputs(case: Case, tree: int) -> tuple[int, int]:
    """Return the first output that a tree adds to and the one after the last."""
    only = case.trees[tree].output
    if only >= 0:
        return only, only + 1
    return 0, case.outputs.size


@entry
def add_up(case: Case, leaf: Ints, total: Floats) -> int:
    """Fill `total` with the scores of these leaves as the library sums them; return the class."""
    for o in range(total.size):
        total[o] = case.outputs[o].offset
    for tree in range(leaf.size):
        first, end = _outputs(case, tree)
        for o in range(first, end):
            total[o] = _rounded(case, total[o] + case.value[leaf[tree], o - first])
    for o in range(total.size):
        if case.outputs[o].share != 1.0:
            total[o] = _rounded(case, total[o] / case.outputs[o].share)
    if case.binary:
        if total[0] == 0:
            return int(case.order[0])
        return 1 if total[0] > 0 else 0
    winner = case.order[0]
    for i in range(1, case.order.size):
        if total[case.order[i]] > total[winner]:
            winner = case.order[i]
    return int(winner)


@within
def _rounded(case: Case, value: float) -> float:
    # rounding a float64 sum of two float32 numbers is adding in float32
    return float(np.float64(np.float32(value))) if case.single else value


@within
def margin(case: Case, state: State) -> float:
    """Return by how much the class that is wanted leads, or the best other than the own one."""
    total, goal = state.total, case.goal[state.progress[0].row]
    aimed = goal < 0
    one = -1 - goal if aimed else goal
    if case.binary:
        return float(total[0] if (one == 1) == aimed else -total[0])
    best = -np.inf
    for i in range(case.order.size):
        o = case.order[i]
        if o != one and total[o] > best:
            best = total[o]
    return float(total[one] - best if aimed else best - total[one])


@within
def fooled(case: Case, state: State) -> bool:
    """Return whether the ensemble gives a class that is looked for in this state."""
    lead = margin(case, state)
    if abs(lead) > case.doubt:
        return bool(lead > 0)
    # so near to zero only the sum as the library forms it can tell
    given = add_up(case, state.leaf, state.exact)
    return reached(case.goal[state.progress[0].row], given)


@within
def refresh(case: Case, state: State) -> int:
    """Start the running totals afresh, so that no rounding adds up; return the class."""
    return int(add_up(case, state.leaf, state.total))


@within
def set_feature(case: Case, state: State, j: int, wanted: int) -> None:
    """Move one feature to another cell, and the trees that notice to their leaves."""
    before = state.cell[j]
    if before == wanted:
        return
    state.cell[j] = wanted
    progress = state.progress[0]
    progress.mark += 1
    first = case.features[j].start + min(before, wanted)
    last = first + abs(wanted - before)
    for i in range(case.cells[first].border, case.cells[last].border):
        tree = case.border_tree[i]
        if state.mark[tree] == progress.mark:
            continue
        state.mark[tree] = progress.mark
        progress.steps += 1
        new, old = descend(case, state.cell, tree), state.leaf[tree]
        if new == old:
            continue
        state.leaf[tree] = new
        start, end = _outputs(case, tree)
        for o in range(start, end):
            gained = case.value[new, o - start] - case.value[old, o - start]
            state.total[o] += gained / case.outputs[o].share
