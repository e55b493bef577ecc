"""Loops over trees, compiled: the nearest leaf of one tree, and the search over many trees.

Norms are numbers here: 0, 1, 2, and 3 for Linf. Kinds of features: 0 any number, 1 whole numbers,
2 codes, 3 members of a one-hot group. Weights are what the norm adds up: changes for L0, sizes
for L1, squares for L2; for Linf their largest counts. What is called from kernels only is compiled
without a way in from Python, which would take most of the time of compiling.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
# root, feature, left, right, cut, special, table, value, output, cell_start, low, high,
# border_start, border_tree
Model = tuple[
    Ints, Ints, Ints, Ints, Ints, Ints, Bytes, Floats, Ints, Ints, Floats, Floats, Ints, Ints
]
# base, shares, order of the classes, [sums are float32, one output is the logit of class 1], [how
# far rounding can carry a running margin]
Sums = tuple[Floats, Floats, Ints, Ints, Floats]
# unit, kind, group of each feature, group_start, group_member, cells of 0 and of 1 (d, 2),
# feature of each coordinate (a group is -1 - its number)
Frame = tuple[Floats, Ints, Ints, Ints, Ints, Ints, Ints]
# x, floor, ceiling, cells of x
Row = tuple[Floats, Floats, Floats, Ints]
# cell of each feature, leaf of each tree, totals, marks of trees, [last mark, steps, their limit],
# option of each coordinate, its weight
State = tuple[Ints, Ints, Floats, Ints, Ints, Ints, Floats]
# coordinate, option, weight and margin of single moves
Moves = tuple[Ints, Ints, Floats, Floats]

_STAY = -1

_within = nb.njit(  # type: ignore[call-overload]
    cache=True, nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)


@_within
def _place(
    low: float, high: float, x: float, floor: float, ceiling: float, kind: int
) -> tuple[bool, float]:
    """Return (whether there is one, the value nearest to x that the stretch and the room hold)."""
    if low <= x <= high:
        return True, x
    bottom, top = max(low, floor), min(high, ceiling)
    if kind > 0:
        bottom, top = np.ceil(bottom), np.floor(top)
    if not bottom <= top:
        return False, x
    return True, bottom if x < bottom else top


@_within
def _weigh(value: float, x: float, unit: float, kind: int, norm: int) -> float:
    """Return what a change from x to `value` adds to the norm."""
    if value == x:
        return 0.0
    if norm == 0 or kind == 2:
        return 1.0
    size = abs(value - x) / unit
    return size * size if norm == 2 else size


@_within
def _choice_fits(x: Floats, floor: Floats, ceiling: Floats, members: Ints, choice: int) -> bool:
    """Return whether the room lets this member be 1 and the others 0."""
    for i in range(members.size):
        j = members[i]
        wanted = 1.0 if i == choice else 0.0
        if not floor[j] <= wanted <= ceiling[j]:
            return False
    return True


# ------------------------------------------------------------------------------------- one tree


@nb.njit(cache=True, nogil=True, error_model="numpy")
def nearest_leaves(
    x: Floats,
    floor: Floats,
    ceiling: Floats,
    y: Ints,
    leaf_class: Ints,
    leaf_start: Ints,
    asked: Ints,
    stretch_start: Ints,
    low: Floats,
    high: Floats,
    unit: Floats,
    kind: Ints,
    group: Ints,
    group_start: Ints,
    group_member: Ints,
    norm: int,
    best: Floats,
    x_adv: Floats,
) -> None:
    """Fill ``best (n,)`` with the least weight of a leaf of another class, ``x_adv`` with its row.

    Leaf l asks the features ``asked[leaf_start[l] : leaf_start[l + 1]]``, those of a group one
    after the other, to lie in one of the stretches ``stretch_start[i] : stretch_start[i + 1]``.
    Rows without such a leaf get infinity and themselves.
    """
    spare = np.empty(x.shape[1])
    for row in range(x.shape[0]):
        best[row] = np.inf
        x_adv[row] = x[row]
        for leaf in range(leaf_class.size):
            if leaf_class[leaf] == y[row]:
                continue
            weight = 0.0
            i, end = leaf_start[leaf], leaf_start[leaf + 1]
            while i < end and weight < best[row]:
                j = asked[i]
                if kind[j] == 3:
                    stop = i + 1
                    while stop < end and group[asked[stop]] == group[j]:
                        stop += 1
                    members = group_member[group_start[group[j]] : group_start[group[j] + 1]]
                    choice = _choose(
                        x[row], floor[row], ceiling[row], members,
                        asked[i:stop], stretch_start[i : stop + 1], low, high,
                    )  # fmt: skip
                    if choice < _STAY:
                        weight = np.inf
                    elif choice > _STAY:
                        added = 1.0
                        weight = max(weight, added) if norm == 3 else weight + added
                    i = stop
                    continue
                least = np.inf
                for s in range(stretch_start[i], stretch_start[i + 1]):
                    found, value = _place(
                        low[s], high[s], x[row, j], floor[row, j], ceiling[row, j], kind[j]
                    )
                    if found:
                        least = min(least, _weigh(value, x[row, j], unit[j], kind[j], norm))
                weight = max(weight, least) if norm == 3 else weight + least
                i += 1
            if weight < best[row]:
                best[row] = weight
                spare[:] = x[row]
                _enter(
                    leaf, spare, x[row], floor[row], ceiling[row], leaf_start, asked,
                    stretch_start, low, high, unit, kind, group, group_start, group_member, norm,
                )  # fmt: skip
                x_adv[row] = spare


@_within
def _choose(
    x: Floats,
    floor: Floats,
    ceiling: Floats,
    members: Ints,
    asked: Ints,
    stretch_start: Ints,
    low: Floats,
    high: Floats,
) -> int:
    """Return the member of a group to set for a leaf, -1 to leave it, -2 when nothing will do."""
    for choice in range(-1, members.size):
        if choice > _STAY and not _choice_fits(x, floor, ceiling, members, choice):
            continue
        fits = True
        for i in range(asked.size):
            value = x[asked[i]]
            if choice > _STAY:
                value = 1.0 if members[choice] == asked[i] else 0.0
            held = False
            for s in range(stretch_start[i], stretch_start[i + 1]):
                if low[s] <= value <= high[s]:
                    held = True
                    break
            if not held:
                fits = False
                break
        if fits:
            return choice
    return -2


@_within
def _enter(
    leaf: int,
    out: Floats,
    x: Floats,
    floor: Floats,
    ceiling: Floats,
    leaf_start: Ints,
    asked: Ints,
    stretch_start: Ints,
    low: Floats,
    high: Floats,
    unit: Floats,
    kind: Ints,
    group: Ints,
    group_start: Ints,
    group_member: Ints,
    norm: int,
) -> None:
    """Write the nearest row of a leaf that can be reached."""
    i, end = leaf_start[leaf], leaf_start[leaf + 1]
    while i < end:
        j = asked[i]
        if kind[j] == 3:
            stop = i + 1
            while stop < end and group[asked[stop]] == group[j]:
                stop += 1
            members = group_member[group_start[group[j]] : group_start[group[j] + 1]]
            choice = _choose(
                x, floor, ceiling, members, asked[i:stop], stretch_start[i : stop + 1], low, high
            )
            if choice > _STAY:
                for k in range(members.size):
                    out[members[k]] = 1.0 if k == choice else 0.0
            i = stop
            continue
        least = np.inf
        for s in range(stretch_start[i], stretch_start[i + 1]):
            found, value = _place(low[s], high[s], x[j], floor[j], ceiling[j], kind[j])
            if found:
                weight = _weigh(value, x[j], unit[j], kind[j], norm)
                if weight < least:
                    least = weight
                    out[j] = value
        i += 1


# ------------------------------------------------------------------------------------ an ensemble


@_within
def _descend(model: Model, cell: Ints, tree: int) -> int:
    """Return the leaf that a row of cells reaches."""
    root, feature, left, right, cut, special, table, _, _, _, _, _, _, _ = model
    node = root[tree]
    while left[node] >= 0:
        own = cell[feature[node]]
        if special[node] >= 0:
            goes_left = table[special[node] + own] == 1
        else:
            goes_left = own <= cut[node]
        node = left[node] if goes_left else right[node]
    return int(node)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def add_up(model: Model, sums: Sums, leaf: Ints, total: Floats) -> int:
    """Fill `total` with the scores of these leaves as the library sums them; return the class."""
    value, output = model[7], model[8]
    base, shares, order, flags, _ = sums
    single = flags[0] == 1
    total[:] = base
    for tree in range(leaf.size):
        if output[tree] >= 0:
            o = output[tree]
            total[o] += value[leaf[tree], 0]
            if single:
                # rounding a float64 sum of two float32 numbers is adding in float32
                total[o] = np.float64(np.float32(total[o]))
        else:
            for o in range(total.size):
                total[o] += value[leaf[tree], o]
                if single:
                    total[o] = np.float64(np.float32(total[o]))
    for o in range(total.size):
        if shares[o] != 1.0:
            total[o] /= shares[o]
            if single:
                total[o] = np.float64(np.float32(total[o]))
    if flags[1] == 1:
        return 1 if total[0] > 0 else 0
    winner = order[0]
    for i in range(1, order.size):
        if total[order[i]] > total[winner]:
            winner = order[i]
    return int(winner)


@_within
def _margin(sums: Sums, total: Floats, y: int) -> float:
    """Return by how much the best other class leads the own one."""
    if sums[3][1] == 1:
        return float(-total[0] if y == 1 else total[0])
    best = -np.inf
    for o in sums[2]:
        if o != y and total[o] > best:
            best = total[o]
    return float(best - total[y])


@_within
def _fooled(model: Model, sums: Sums, state: State, y: int) -> bool:
    """Return whether the ensemble gives another class in this state."""
    total = state[2]
    lead = _margin(sums, total, y)
    if abs(lead) > sums[4][0]:
        return bool(lead > 0)
    # so near to zero only the sum as the library forms it can tell
    exact = np.empty_like(total)
    return add_up(model, sums, state[1], exact) != y


@_within
def _set_feature(model: Model, sums: Sums, state: State, j: int, wanted: int) -> None:
    """Move one feature to another cell, and the trees that notice to their leaves."""
    cell, leaf, total, mark, last, _, _ = state
    shares = sums[1]
    value, output, start, border_start, border_tree = (
        model[7], model[8], model[9], model[12], model[13],
    )  # fmt: skip
    before = cell[j]
    if before == wanted:
        return
    cell[j] = wanted
    last[0] += 1
    first = start[j] + min(before, wanted)
    for i in range(border_start[first], border_start[first + abs(wanted - before)]):
        tree = border_tree[i]
        if mark[tree] == last[0]:
            continue
        mark[tree] = last[0]
        last[1] += 1
        new, old = _descend(model, cell, tree), leaf[tree]
        if new == old:
            continue
        leaf[tree] = new
        if output[tree] >= 0:
            o = output[tree]
            total[o] += (value[new, 0] - value[old, 0]) / shares[o]
        else:
            for o in range(total.size):
                total[o] += (value[new, o] - value[old, o]) / shares[o]


@_within
def _set(
    model: Model, sums: Sums, frame: Frame, row: Row, state: State, norm: int, c: int, option: int
) -> None:
    """Give a coordinate another option: a cell of its feature, or a member of its group."""
    unit, kind, _, group_start, group_member, binary, coordinate = frame
    x, floor, ceiling, home = row
    options, weight = state[5], state[6]
    start, low, high = model[9], model[10], model[11]
    options[c] = option
    j = coordinate[c]
    if j < 0:
        g = -1 - j
        for i in range(group_start[g], group_start[g + 1]):
            member = group_member[i]
            wanted = home[member]
            if option != _STAY:
                wanted = binary[member, 1 if i - group_start[g] == option else 0]
            _set_feature(model, sums, state, member, wanted)
        weight[c] = 0.0 if option == _STAY else 1.0
        return
    _set_feature(model, sums, state, j, option)
    a = start[j] + option
    _, value = _place(low[a], high[a], x[j], floor[j], ceiling[j], kind[j])
    weight[c] = _weigh(value, x[j], unit[j], kind[j], norm)


@_within
def _home(frame: Frame, row: Row, c: int) -> int:
    j = frame[6][c]
    return _STAY if j < 0 else int(row[3][j])


@_within
def _size(weight: Floats, norm: int) -> float:
    total = 0.0
    for c in range(weight.size):
        total = max(total, weight[c]) if norm == 3 else total + weight[c]
    return total


@_within
def _order(weight: Floats) -> Ints:
    """Return the coordinates, the heaviest first; of equal ones the first."""
    order = np.empty(weight.size, np.int64)
    for c in range(weight.size):
        i = c
        while i > 0 and weight[order[i - 1]] < weight[c]:
            order[i] = order[i - 1]
            i -= 1
        order[i] = c
    return order


@_within
def _scan(
    model: Model,
    sums: Sums,
    frame: Frame,
    row: Row,
    state: State,
    norm: int,
    y: int,
    c: int,
    limit: float,
    moves: Moves,
    count: int,
) -> int:
    """Append the single moves of a coordinate below `limit` that pay; return their number.

    From the input outwards, a move pays if it leaves a larger margin than all nearer ones. The
    state is as before afterwards.
    """
    unit, kind, _, group_start, group_member, _, coordinate = frame
    x, floor, ceiling, home = row
    start, low, high = model[9], model[10], model[11]
    coordinates, options, weights, margins = moves
    at, at_weight = state[5][c], state[6][c]
    capacity = coordinates.size
    j = coordinate[c]
    if j < 0:
        g = -1 - j
        members = group_member[group_start[g] : group_start[g + 1]]
        for option in range(-1, members.size):
            if option == at or count == capacity:
                continue
            if option != _STAY:
                if limit <= 1.0 or not _choice_fits(x, floor, ceiling, members, option):
                    continue
                same = True
                for i in range(members.size):
                    same = same and x[members[i]] == (1.0 if i == option else 0.0)
                if same:
                    continue
            _set(model, sums, frame, row, state, norm, c, option)
            coordinates[count], options[count] = c, option
            weights[count], margins[count] = state[6][c], _margin(sums, state[2], y)
            count += 1
        _set(model, sums, frame, row, state, norm, c, at)
        return count
    size = start[j + 1] - start[j]
    for side in (-1, 1):
        _set_feature(model, sums, state, j, home[j])
        best = _margin(sums, state[2], y)
        if side == -1 and at != home[j] and count < capacity:
            coordinates[count], options[count] = c, home[j]
            weights[count], margins[count] = 0.0, best
            count += 1
        option = home[j] + side
        while 0 <= option < size and count < capacity:
            a = start[j] + option
            if low[a] > ceiling[j] or high[a] < floor[j]:
                break
            found, value = _place(low[a], high[a], x[j], floor[j], ceiling[j], kind[j])
            if found:
                weight = _weigh(value, x[j], unit[j], kind[j], norm)
                if weight >= limit:
                    break
                _set_feature(model, sums, state, j, option)
                lead = _margin(sums, state[2], y)
                if lead > best:
                    best = lead
                    if option != at:
                        coordinates[count], options[count] = c, option
                        weights[count], margins[count] = weight, lead
                        count += 1
            option += side
    _set_feature(model, sums, state, j, at)
    state[6][c] = at_weight
    return count


@_within
def _scan_all(
    model: Model,
    sums: Sums,
    frame: Frame,
    row: Row,
    state: State,
    norm: int,
    y: int,
    limit: float,
    moves: Moves,
) -> int:
    # the running totals start afresh, so that nothing adds up over many moves
    add_up(model, sums, state[1], state[2])
    count = state[5].size * 0
    for c in range(state[5].size):
        count = _scan(model, sums, frame, row, state, norm, y, c, limit, moves, count)
    return count


@_within
def _reduce(
    model: Model, sums: Sums, frame: Frame, row: Row, state: State, norm: int, y: int
) -> float:
    """Draw coordinates towards the input, the largest first, while another class is given."""
    x, floor, ceiling, home = row
    kind, coordinate = frame[1], frame[6]
    start, low, high = model[9], model[10], model[11]
    options, weight = state[5], state[6]
    again = True
    while again:
        again = False
        add_up(model, sums, state[1], state[2])
        for c in _order(weight):
            at = options[c]
            near = _home(frame, row, c)
            if at == near:
                continue
            _set(model, sums, frame, row, state, norm, c, near)
            if _fooled(model, sums, state, y):
                again = True
                continue
            j = coordinate[c]
            if j < 0 or kind[j] == 2 or norm == 0:
                _set(model, sums, frame, row, state, norm, c, at)
                continue
            side = 1 if at > home[j] else -1
            option = home[j] + side
            while option != at:
                a = start[j] + option
                found, _ = _place(low[a], high[a], x[j], floor[j], ceiling[j], kind[j])
                if found:
                    _set_feature(model, sums, state, j, option)
                    if _fooled(model, sums, state, y):
                        again = True
                        break
                option += side
            _set(model, sums, frame, row, state, norm, c, option)
    return float(_size(weight, norm))


@_within
def _keep(state: State, kept: State) -> None:
    kept[0][:] = state[0]
    kept[1][:] = state[1]
    kept[2][:] = state[2]
    kept[5][:] = state[5]
    kept[6][:] = state[6]


@_within
def _repair(
    model: Model,
    sums: Sums,
    frame: Frame,
    row: Row,
    state: State,
    norm: int,
    y: int,
    limit: float,
    moves: Moves,
    barred: int,
) -> bool:
    """Move outwards, most margin for its weight first, until another class is given.

    Returns whether that was reached with less than `limit`; coordinate `barred` stays.
    """
    weight = state[6]
    for _ in range(4 * weight.size + 8):
        total = _size(weight, norm)
        if total >= limit or state[4][1] > state[4][2]:
            return False
        if _fooled(model, sums, state, y):
            return True
        count = _scan_all(model, sums, frame, row, state, norm, y, limit, moves)
        lead = _margin(sums, state[2], y)
        chosen, best, least = -1, 0.0, np.inf
        for i in range(count):
            c = moves[0][i]
            added = moves[2][i] - weight[c]
            if c == barred or moves[3][i] <= lead or total + added >= limit:
                continue
            if moves[3][i] > 0:
                if added < least:
                    chosen, least = i, added
            elif least == np.inf:
                pays = (moves[3][i] - lead) / max(added, 1e-12)
                if pays > best:
                    chosen, best = i, pays
        if chosen < 0:
            return False
        _set(model, sums, frame, row, state, norm, moves[0][chosen], moves[1][chosen])
    return False


@_within
def _improve(
    model: Model,
    sums: Sums,
    frame: Frame,
    row: Row,
    state: State,
    kept: State,
    norm: int,
    y: int,
    moves: Moves,
    kicks: int,
) -> float:
    """Trade one coordinate for another until no trade that is tried makes the change smaller."""
    weight = state[6]
    best = _reduce(model, sums, frame, row, state, norm, y)
    first = np.empty(kicks, dtype=np.int64)
    second = np.empty(kicks, dtype=np.int64)
    worth = np.empty(kicks)
    better = True
    while better and best > 0.0 and state[4][1] < state[4][2]:
        better = False
        count = _scan_all(model, sums, frame, row, state, norm, y, best, moves)
        lead = _margin(sums, state[2], y)
        _keep(state, kept)
        # pairs: one nearer, one farther, as if their margins added up
        filled = 0
        for b in range(count):
            spared = weight[moves[0][b]] - moves[2][b]
            if spared <= 0.0:
                continue
            if moves[3][b] > 0:
                filled = _rank(first, second, worth, filled, b, -1, best - spared)
                continue
            for a in range(count):
                added = moves[2][a] - weight[moves[0][a]]
                if moves[0][a] == moves[0][b] or added >= spared:
                    continue
                if moves[3][a] + moves[3][b] - lead > 0:
                    filled = _rank(first, second, worth, filled, b, a, best - spared + added)
        for i in range(filled):
            _set(model, sums, frame, row, state, norm, moves[0][first[i]], moves[1][first[i]])
            if second[i] >= 0:
                a = second[i]
                _set(model, sums, frame, row, state, norm, moves[0][a], moves[1][a])
            if _size(weight, norm) < best and _fooled(model, sums, state, y):
                best = _reduce(model, sums, frame, row, state, norm, y)
                better = True
                break
            _keep(kept, state)
        if better:
            continue
        # one farther, then as many nearer as that allows
        filled = 0
        for a in range(count):
            added = moves[2][a] - weight[moves[0][a]]
            if moves[3][a] > lead:
                pays = max(added, 0.0) / (moves[3][a] - lead)
                filled = _rank(first, second, worth, filled, a, -1, pays)
        for i in range(filled):
            if state[4][1] > state[4][2]:
                break
            _set(model, sums, frame, row, state, norm, moves[0][first[i]], moves[1][first[i]])
            if _fooled(model, sums, state, y):
                found = _reduce(model, sums, frame, row, state, norm, y)
                if found < best:
                    best = found
                    better = True
                    break
            _keep(kept, state)
        if better:
            continue
        # one all the way back, then as many farther as are needed
        for c in _order(kept[6]):
            if kept[6][c] == 0.0:
                break
            _set(model, sums, frame, row, state, norm, c, _home(frame, row, c))
            if _repair(model, sums, frame, row, state, norm, y, best, moves, c):
                found = _reduce(model, sums, frame, row, state, norm, y)
                if found < best:
                    best = found
                    better = True
                    break
            _keep(kept, state)
    return float(best)


@_within
def _rank(
    first: Ints, second: Ints, worth: Floats, filled: int, b: int, a: int, value: float
) -> int:
    """Keep the smallest values in order; return how many there are."""
    if filled == worth.size:
        if value >= worth[filled - 1]:
            return filled
        filled -= 1
    i = filled
    while i > 0 and worth[i - 1] > value:
        worth[i], first[i], second[i] = worth[i - 1], first[i - 1], second[i - 1]
        i -= 1
    worth[i], first[i], second[i] = value, b, a
    return filled + 1


@_within
def _ascend(
    model: Model,
    sums: Sums,
    frame: Frame,
    row: Row,
    state: State,
    norm: int,
    y: int,
    limit: float,
    moves: Moves,
) -> bool:
    """Raise the margin coordinate by coordinate inside an open Linf ball; return if it sufficed."""
    options, weight = state[5], state[6]
    # a literal would have functions compiled once more
    none = options.size * 0
    # what lies outside comes to its best place inside
    for c in range(options.size):
        if weight[c] >= limit:
            _set(model, sums, frame, row, state, norm, c, _home(frame, row, c))
    for _ in range(20):
        add_up(model, sums, state[1], state[2])
        moved = False
        for c in range(options.size):
            if _fooled(model, sums, state, y):
                return True
            count = _scan(model, sums, frame, row, state, norm, y, c, limit, moves, none)
            best, chosen = _margin(sums, state[2], y) + 1e-12, -1
            for i in range(count):
                if moves[3][i] > best:
                    best, chosen = moves[3][i], i
            if chosen >= 0:
                moved = True
                _set(model, sums, frame, row, state, norm, c, moves[1][chosen])
        if not moved:
            break
    return bool(_fooled(model, sums, state, y))


@_within
def _shrink(
    model: Model,
    sums: Sums,
    frame: Frame,
    row: Row,
    state: State,
    kept: State,
    norm: int,
    y: int,
    moves: Moves,
) -> float:
    """Find another class in smaller and smaller Linf balls; return the last that had one."""
    best = _size(state[6], norm)
    _keep(state, kept)
    while best > 0.0 and state[4][1] < state[4][2]:
        found = False
        for share in (0.5, 0.8, 0.95, 1.0):
            for fresh in (False, True):
                if fresh:
                    for c in range(state[5].size):
                        _set(model, sums, frame, row, state, norm, c, _home(frame, row, c))
                if _ascend(model, sums, frame, row, state, norm, y, best * share, moves):
                    found = True
                    break
                _keep(kept, state)
            if found:
                break
        if not found:
            break
        best = _size(state[6], norm)
        _keep(state, kept)
    # what was moved without need goes back
    add_up(model, sums, state[1], state[2])
    for c in range(state[5].size):
        at = state[5][c]
        if at != _home(frame, row, c):
            _set(model, sums, frame, row, state, norm, c, _home(frame, row, c))
            if not _fooled(model, sums, state, y):
                _set(model, sums, frame, row, state, norm, c, at)
    return float(_size(state[6], norm))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def search(
    model: Model,
    sums: Sums,
    frame: Frame,
    x: Floats,
    floor: Floats,
    ceiling: Floats,
    cells: Ints,
    y: Ints,
    near: Ints,
    reference: Ints,
    choices: Ints,
    norm: int,
    starts: int,
    kicks: int,
    steps: int,
    capacity: int,
    best: Floats,
    x_adv: Floats,
) -> None:
    """Fill ``best (n,)`` with the least weight found for another class, ``x_adv`` with its rows.

    ``near (n, m)`` numbers the reference rows to start from, -1 for none, in the order in which
    they are tried; ``reference (r, d)`` holds their cells and ``choices (r, groups)`` the member
    that is 1 in each group, -1 for none. Rows without a find get infinity and themselves.
    """
    _, kind, _, group_start, group_member, _, coordinate = frame
    start, low, high = model[9], model[10], model[11]
    n, d = x.shape
    trees, wide = model[0].size, sums[0].size
    size = coordinate.size
    state = (
        np.empty(d, np.int64), np.empty(trees, np.int64), np.empty(wide),
        np.zeros(trees, np.int64), np.zeros(3, np.int64), np.empty(size, np.int64), np.zeros(size),
    )  # fmt: skip
    kept = (
        np.empty(d, np.int64), np.empty(trees, np.int64), np.empty(wide),
        np.zeros(trees, np.int64), np.zeros(3, np.int64), np.empty(size, np.int64), np.zeros(size),
    )  # fmt: skip
    top = (
        np.empty(d, np.int64), np.empty(trees, np.int64), np.empty(wide),
        np.zeros(trees, np.int64), np.zeros(3, np.int64), np.empty(size, np.int64), np.zeros(size),
    )  # fmt: skip
    moves = (
        np.empty(capacity, np.int64), np.empty(capacity, np.int64),
        np.empty(capacity), np.empty(capacity),
    )  # fmt: skip
    origin = np.empty(trees, np.int64)
    for i in range(n):
        row = (x[i], floor[i], ceiling[i], cells[i])
        for tree in range(trees):
            origin[tree] = _descend(model, cells[i], tree)
        best[i] = np.inf
        x_adv[i] = x[i]
        if add_up(model, sums, origin, state[2]) != y[i]:
            best[i] = 0.0
            continue
        left = starts
        for attempt in range(near.shape[1] + 1):
            if left == 0 and attempt < near.shape[1]:
                continue
            last = attempt == near.shape[1]
            state[4][1], state[4][2] = 0, steps
            if not last and near[i, attempt] < 0:
                continue
            state[0][:] = cells[i]
            state[1][:] = origin
            add_up(model, sums, origin, state[2])
            for c in range(size):
                state[5][c] = _home(frame, row, c)
            state[6][:] = 0.0
            if last:
                # from the input outwards
                if norm == 3:
                    reached = _ascend(model, sums, frame, row, state, norm, y[i], best[i], moves)
                else:
                    reached = _repair(
                        model, sums, frame, row, state, norm, y[i], best[i], moves, size
                    )
            else:
                _go_to(
                    model, sums, frame, row, state, norm,
                    reference[near[i, attempt]], choices[near[i, attempt]],
                )  # fmt: skip
                add_up(model, sums, state[1], state[2])
                reached = _fooled(model, sums, state, y[i])
            if not reached:
                continue
            left -= 1
            if norm == 3:
                found = _shrink(model, sums, frame, row, state, kept, norm, y[i], moves)
            else:
                found = _improve(model, sums, frame, row, state, kept, norm, y[i], moves, kicks)
            if found < best[i]:
                best[i] = found
                _keep(state, top)
        if best[i] == np.inf:
            continue
        for c in range(size):
            j = coordinate[c]
            if j >= 0:
                a = start[j] + top[0][j]
                _, x_adv[i, j] = _place(
                    low[a], high[a], x[i, j], floor[i, j], ceiling[i, j], kind[j]
                )
            elif top[5][c] != _STAY:
                g = -1 - j
                for k in range(group_start[g], group_start[g + 1]):
                    x_adv[i, group_member[k]] = 1.0 if k - group_start[g] == top[5][c] else 0.0


@_within
def _go_to(
    model: Model,
    sums: Sums,
    frame: Frame,
    row: Row,
    state: State,
    norm: int,
    reference: Ints,
    choices: Ints,
) -> None:
    """Go to the cells of a reference row, or as near to them as the room allows."""
    x, floor, ceiling, home = row
    kind, group_start, group_member, coordinate = frame[1], frame[3], frame[4], frame[6]
    start, low, high = model[9], model[10], model[11]
    for c in range(coordinate.size):
        j = coordinate[c]
        if j < 0:
            g = -1 - j
            members = group_member[group_start[g] : group_start[g + 1]]
            wanted = choices[g]
            if wanted < 0 or not _choice_fits(x, floor, ceiling, members, wanted):
                continue
            same = True
            for i in range(members.size):
                same = same and x[members[i]] == (1.0 if i == wanted else 0.0)
            if not same:
                _set(model, sums, frame, row, state, norm, c, wanted)
            continue
        option = reference[j]
        while option != home[j]:
            a = start[j] + option
            found, _ = _place(low[a], high[a], x[j], floor[j], ceiling[j], kind[j])
            if found:
                break
            option += 1 if option < home[j] else -1
        _set(model, sums, frame, row, state, norm, c, option)
