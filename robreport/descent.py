"""Rows go down a tree, all at once, in plain NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_COMPACT = 4
# Categories below this are looked up in a table of bits.
_TABLED = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedTree:
    """A tree as descending reads it: a leaf is its own child, so that no row needs a mask.

    ``child[2 * node]`` is the right child and ``child[2 * node + 1]`` the left one.
    """

    feature: Array
    threshold: Array
    child: Array
    leaf: Array
    missing_left: Array
    sets: NodeSets | None
    zero_missing: Array | None
    depth: int


class NodeSets:
    """The categories that go left at the categorical nodes of a tree.

    Attributes
    ----------
    slot : array (nodes,)
        The number of each categorical node's set; -1 at the others.
    """

    def __init__(self, nodes: int, sets: Mapping[int, Array]) -> None:
        # nodes may share a set
        shared = {id(kept): kept for kept in sets.values()}
        place = {key: number for number, key in enumerate(shared)}
        self.slot = np.full(nodes, -1, dtype=np.int64)
        self.slot[list(sets)] = [place[id(kept)] for kept in sets.values()]
        self._sets = list(shared.values())
        every = np.concatenate([np.zeros(1), *self._sets])
        top = int(every.max())
        self._table: Array | None = None
        if top < _TABLED and every.min() >= 0 and (every == np.rint(every)).all():
            # as bits: one look for all rows, whatever nodes they are at
            self._table = np.zeros((len(self._sets), top + 2), dtype=bool)
            for number, kept in enumerate(self._sets):
                self._table[number, kept.astype(np.int64)] = True

    def hold(self, node: Array, codes: Array) -> Array:
        """Return whether the set of each row's node ``(n,)`` holds its category ``(n,)``."""
        slot = self.slot.take(node)
        if self._table is not None:
            last = self._table.shape[1] - 1
            whole = (codes >= 0) & (codes < last) & (codes == np.rint(codes))
            return np.asarray(self._table[slot, np.where(whole, codes, last).astype(np.int64)])
        found = np.zeros(len(slot), dtype=bool)
        for number in np.unique(slot):
            rows = slot == number
            found[rows] = np.isin(codes[rows], self._sets[number])
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How all trees of an ensemble compare: see `TreeEnsemble`."""

    strict: bool
    rounding: str
    known: Mapping[int, Array]


def descend(rules: Rules, tree: PackedTree, table: Array, missing: bool) -> Array:
    """Return the leaf of each row ``(n,)``."""
    count, width = table.shape
    flat, start = table.reshape(-1), np.arange(count) * width
    reached = np.zeros(count, dtype=np.int64)
    node, lane = np.zeros(count, dtype=np.int64), np.arange(count)
    for step in range(tree.depth):
        feature = tree.feature.take(node)
        x = flat.take(start + feature)
        threshold = tree.threshold.take(node)
        go_left = x < threshold if rules.strict else x <= threshold
        absent = np.isnan(x) if missing else None
        if tree.sets is not None:
            go_left, absent = _categorical(rules, tree.sets, node, feature, x, go_left, absent)
        if tree.zero_missing is not None:
            zero = tree.zero_missing[node] & (x == 0)
            absent = zero if absent is None else absent | zero
        if absent is not None:
            go_left = np.where(absent, tree.missing_left[node], go_left)
        node = tree.child.take(2 * node + go_left)
        if step % _COMPACT == _COMPACT - 1:
            # most leaves lie well above the deepest one: rows that are there need no more steps
            going = np.flatnonzero(~tree.leaf.take(node))
            reached[lane] = node
            node, lane, start = node.take(going), lane.take(going), start.take(going)
    reached[lane] = node
    return reached


def _categorical(
    rules: Rules,
    sets: NodeSets,
    node: Array,
    feature: Array,
    x: Array,
    go_left: Array,
    absent: Array | None,
) -> tuple[Array, Array | None]:
    """Answer for the rows at categorical nodes."""
    rows = np.flatnonzero(sets.slot.take(node) >= 0)
    if not len(rows):
        return go_left, absent
    go_left = go_left.copy()
    absent = np.isnan(x) if absent is None else absent.copy()
    codes, asked = x[rows], feature[rows]
    for j in np.unique(asked):
        own = asked == j
        codes[own], unknown = categories(codes[own], rules.rounding, rules.known.get(int(j)))
        absent[rows[own]] |= unknown
    go_left[rows] = sets.hold(node[rows], codes)
    return go_left, absent


def categories(values: Array, rounding: str, known: Array | None) -> tuple[Array, Array]:
    """Return the categories that values ``(n,)`` stand for, and which of them count as missing.

    See `TreeEnsemble` for the roundings; NaN stays NaN.
    """
    if rounding == "nearest" and known is not None:
        return np.clip(np.rint(values), known[0], known[-1]), np.zeros(len(values), dtype=bool)
    unknown = np.zeros(len(values), dtype=bool) if known is None else ~np.isin(values, known)
    if rounding == "floor":
        return np.floor(values), unknown
    return np.trunc(values) if rounding == "trunc" else values, unknown
