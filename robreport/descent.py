"""Rows go down a tree, all at once, in plain NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_COMPACT = 4


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
    categorical: Array | None
    zero_missing: Array | None
    categories: Mapping[int, Array]
    depth: int


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
        if tree.categorical is not None:
            go_left, absent = _categorical(rules, tree, node, feature, x, go_left, absent)
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
    tree: PackedTree,
    node: Array,
    feature: Array,
    x: Array,
    go_left: Array,
    absent: Array | None,
) -> tuple[Array, Array | None]:
    """Answer for the rows at categorical nodes, one node after the other."""
    if tree.categorical is None or not tree.categorical[node].any():
        return go_left, absent
    go_left = go_left.copy()
    absent = np.isnan(x) if absent is None else absent.copy()
    for place in np.unique(node[tree.categorical[node]]):
        rows = node == place
        values = x[rows]
        known = rules.known.get(int(feature[rows][0]))
        if known is not None:
            absent[rows] |= ~np.isin(values, known)
        if rules.rounding != "exact":
            values = np.floor(values) if rules.rounding == "floor" else np.trunc(values)
        go_left[rows] = np.isin(values, tree.categories[int(place)])
    return go_left, absent
