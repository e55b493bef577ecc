"""What the kernels are given, by name: records of numbers, and what always travels together.

What is looked up together lies in one array of records: numba hands an array on as seven numbers,
so the fewer there are, the sooner everything is compiled. Norms are numbers here: 0, 1, 2, and 3
for Linf. Kinds of features: 0 any number, 1 whole numbers, 2 codes, 3 members of a one-hot group.
Weights are what the norm adds up: changes for L0, sizes for L1, squares for L2; for Linf their
largest counts.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Records: TypeAlias = "np.recarray[Any, np.dtype[np.void]]"
Record: TypeAlias = Any

# The option of a one-hot group that leaves the row's own members as they are.
STAY = -1


def _record(floats: str = "", ints: str = "") -> np.dtype[np.void]:
    fields = [(name, np.float64) for name in floats.split()]
    return np.dtype([*fields, *((name, np.int64) for name in ints.split())])


# Of a feature of a row: its value, the least and the largest that it may take, its cell.
SPOT = _record("x floor ceiling", "home")
# Numbers from `low` to `high`.
STRETCH = _record("low high")
# One of a feature's cells; `border` is where `border_tree` begins to name the trees that can tell
# it from the next.
CELL = _record("low high", "border")
# `start` is the feature's first cell, `cells` their number; a member of a group has its 0 in
# the cell `zero` and its 1 in `one`.
FEATURE = _record("unit", "kind group start cells zero one")
# See `tree_cells.Cells`.
NODE = _record("", "feature left right cut special")
TREE = _record("", "root output")
OUTPUT = _record("offset share")
# What a search may choose at a coordinate: a cell of its feature or a member of its group.
COORDINATE = _record("weight", "option")
# One coordinate gets another option; the weight and the margin that this alone leads to.
MOVE = _record("weight margin", "coordinate option")
# Two moves at once, or one that is named twice.
TRADE = _record("worth", "first second")
# The row that is searched, the last mark that was given to trees, descents of single trees.
PROGRESS = _record("", "row mark steps")


class Room(NamedTuple):
    """Rows, and where each of their features may go.

    ``spots (n, d)`` are `SPOT`, ``features (d,)`` are `FEATURE`; group g has the members
    ``group_member[group_start[g] : group_start[g + 1]]``; ``goal (n,)`` is the
    class that a row is to leave, or -1 - c for the class c that it is to reach.
    """

    spots: Records
    features: Records
    group_start: Ints
    group_member: Ints
    goal: Ints
    norm: int


class Leaves(NamedTuple):
    """The leaves of one tree, as `tree_leaves.Leaves`; `given` are their classes."""

    given: Ints
    start: Ints
    asked: Ints
    stretch_start: Ints
    stretches: Records


class Case(NamedTuple):
    """An ensemble over cells, and the rows to search from: what no search changes.

    Nodes are `NODE`, trees `TREE`, cells `CELL`, outputs `OUTPUT`; `order` lists the classes, of
    equal ones the first wins. The library sums in float32 where `single` is set; `binary` says that
    the only output is the logit of class 1. Rounding can carry a running margin as far as `doubt`.
    A `coordinate` is a feature, or a group g as -1 - g. The other fields are those of `Room`. Each
    search may take so many `steps`.
    """

    nodes: Records
    table: Bytes
    value: Floats
    trees: Records
    cells: Records
    border_tree: Ints
    outputs: Records
    order: Ints
    single: bool
    binary: bool
    doubt: float
    coordinate: Ints
    spots: Records
    features: Records
    group_start: Ints
    group_member: Ints
    goal: Ints
    norm: int
    steps: int


class State(NamedTuple):
    """Where a search stands.

    The cell of each feature, the leaf of each tree and its last mark, the running totals, room for
    exact ones, a `COORDINATE` for each coordinate, and one record of `PROGRESS`. Python makes
    several at once, with one axis more in front; see `references.state_at`.
    """

    cell: Ints
    leaf: Ints
    mark: Ints
    total: Floats
    exact: Floats
    coordinates: Records
    progress: Records
