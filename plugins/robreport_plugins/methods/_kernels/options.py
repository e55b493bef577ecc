"""Giving a coordinate another option, and what all options together weigh."""

from __future__ import annotations

import numpy as np

from robreport_plugins.methods._kernels.compiled import within
from robreport_plugins.methods._kernels.ensemble import set_feature
from robreport_plugins.methods._kernels.places import choice_is_new, members_of, place, plus, weigh
from robreport_plugins.methods._kernels.structures import STAY, Case, Ints, Record, State


@within
def spot_of(case: Case, state: State, j: int) -> Record:
    """Return the feature of the row that is searched."""
    return case.spots[state.progress[0].row, j]


@within
def home_of(case: Case, state: State, c: int) -> int:
    """Return the option of a coordinate that is the row's own."""
    j = case.coordinate[c]
    return STAY if j < 0 else int(spot_of(case, state, j).home)


@within
def reach(case: Case, state: State, j: int, option: int) -> tuple[bool, float]:
    """Return whether a feature can go to one of its cells, and the nearest value there."""
    feature = case.features[j]
    cell = case.cells[feature.start + option]
    return place(cell.low, cell.high, spot_of(case, state, j), feature.kind)


@within
def members_at(case: Case, j: int) -> Ints:
    """Return the features of the group that is coordinate j."""
    return members_of(case.group_start, case.group_member, -1 - j)


@within
def can_choose(case: Case, state: State, members: Ints, choice: int) -> bool:
    """Return whether a group can go to a member that is not the row's own."""
    return choice_is_new(case.spots[state.progress[0].row], members, choice)


@within
def set_option(case: Case, state: State, c: int, option: int) -> None:
    """Give a coordinate another option: a cell of its feature, or a member of its group."""
    coordinate = state.coordinates[c]
    coordinate.option = option
    j = case.coordinate[c]
    if j >= 0:
        set_feature(case, state, j, option)
        _, value = reach(case, state, j, option)
        x = spot_of(case, state, j).x
        coordinate.weight = weigh(value, x, case.features[j], case.norm)
        return
    members = members_at(case, j)
    for i in range(members.size):
        wanted = spot_of(case, state, members[i]).home
        if option != STAY:
            member = case.features[members[i]]
            wanted = member.one if i == option else member.zero
        set_feature(case, state, members[i], wanted)
    coordinate.weight = 0.0 if option == STAY else 1.0


@within
def go_home(case: Case, state: State, c: int) -> None:
    """Give a coordinate the row's own option."""
    set_option(case, state, c, home_of(case, state, c))


@within
def go_to(case: Case, state: State, reference: Ints, choices: Ints) -> None:
    """Go to the cells of a reference row, or as near to them as the room allows."""
    for c in range(case.coordinate.size):
        j = case.coordinate[c]
        if j < 0:
            wanted = choices[-1 - j]
            if wanted >= 0 and can_choose(case, state, members_at(case, j), wanted):
                set_option(case, state, c, wanted)
            continue
        option, home = reference[j], spot_of(case, state, j).home
        while option != home and not reach(case, state, j, option)[0]:
            option += 1 if option < home else -1
        set_option(case, state, c, option)


@within
def size(case: Case, state: State) -> float:
    """Return what all options together weigh."""
    total = 0.0
    for c in range(state.coordinates.size):
        total = plus(total, state.coordinates[c].weight, case.norm)
    return total


@within
def heaviest_first(state: State) -> Ints:
    """Return the coordinates, the heaviest first; of equal ones the first."""
    order = np.empty(state.coordinates.size, np.int64)
    for c in range(order.size):
        i = c
        while i > 0 and state.coordinates[order[i - 1]].weight < state.coordinates[c].weight:
            order[i] = order[i - 1]
            i -= 1
        order[i] = c
    return order


@within
def keep(state: State, kept: State) -> None:
    """Copy where a search stands; not its marks and its progress."""
    for j in range(state.cell.size):
        kept.cell[j] = state.cell[j]
    for tree in range(state.leaf.size):
        kept.leaf[tree] = state.leaf[tree]
    for o in range(state.total.size):
        kept.total[o] = state.total[o]
    for c in range(state.coordinates.size):
        kept.coordinates[c].option = state.coordinates[c].option
        kept.coordinates[c].weight = state.coordinates[c].weight
