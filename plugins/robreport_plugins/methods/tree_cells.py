"""The cells that an ensemble's tests cut each feature into: a tree cannot see inside of them.

All values of a cell go the same way at every node, so a row is one cell for each feature, and `<`
or `<=`, rounding to float32, missing zeros and categories are dealt with once and for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import TreeEnsemble

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.floating]

_WHOLE: dict[str, Callable[[Floats], Floats]] = {
    "floor": np.floor, "trunc": np.trunc, "nearest": np.rint,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """An ensemble as nodes over cells, for inputs of one floating type.

    Attributes
    ----------
    start : array (d + 1,)
        Feature j has the cells ``start[j]`` to ``start[j + 1] - 1``, in ascending order.
    low, high : array (cells,) float64
        The first and the last number of the inputs' type in each cell.
    root : array (trees,)
        Of the nodes of all trees, one after the other.
    feature, left, right : array (nodes,)
        -1 at leaves.
    cut : array (nodes,)
        A threshold sends the feature's cells up to this one (counted from its first) to the left.
    special : array (nodes,)
        Where in `table` a node that is no threshold has one entry for each cell of its feature:
        1 goes left; -1 for thresholds.
    value : array (nodes, k) float64
        Rounded to the type in which the ensemble sums.
    output : array (trees,)
        The output that a tree adds to, -1 for all.
    border_start, border_tree : arrays (cells + 1,) and (pairs,)
        The trees that can tell cell c from the next: those from ``border_start[c]`` on.
    """

    start: Ints
    low: Floats
    high: Floats
    root: Ints
    feature: Ints
    left: Ints
    right: Ints
    cut: Ints
    special: Ints
    table: Bytes
    value: Floats
    output: Ints
    border_start: Ints
    border_tree: Ints

    def locate(self, x: Rows) -> Ints:
        """Return the cell of each value of ``x (n, d)``, counted from its feature's first."""
        found = np.zeros(x.shape, dtype=np.int64)
        for j in np.flatnonzero(np.diff(self.start) > 1):
            ends = self.high[self.start[j] : self.start[j + 1]]
            found[:, j] = np.minimum(np.searchsorted(ends, x[:, j]), len(ends) - 1)
        return found


@lru_cache(maxsize=2)
def cells_of(ensemble: TreeEnsemble, dtype: npt.DTypeLike) -> Cells:
    """Return the cells of an ensemble for inputs of this type, float32 or float64.

    Those of the last two ensembles are kept: every batch of an audit asks for the same.

    Raises
    ------
    ValueError
        Another type.
    """
    kind: np.dtype[Any] = np.dtype(dtype)
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"cells are of float32 or float64 inputs, found {kind}")
    nodes = _Nodes(ensemble)
    ends = _Ends(ensemble, kind)
    threshold_end = ends.last_not_above(nodes.threshold, strict=ensemble.comparison == "<")
    start, low, high = [0], [], []
    cut = np.full(len(nodes.feature), -1, dtype=np.int64)
    special = np.full(len(nodes.feature), -1, dtype=np.int64)
    tables: list[Bytes] = []
    borders: list[tuple[Ints, Ints]] = []
    tabled = 0
    order = np.argsort(nodes.feature, kind="stable")
    places = np.searchsorted(nodes.feature[order], np.arange(ensemble.n_features + 1))
    for j in range(ensemble.n_features):
        own = order[places[j] : places[j + 1]]
        plain, odd = own[~nodes.odd[own]], own[nodes.odd[own]]
        breaks = [threshold_end[own[~nodes.categorical[own]]]]
        if len(odd):
            breaks.append(ends.around(nodes.special_values(odd, j)))
        last = np.unique(np.concatenate([*breaks, [ends.largest]]))
        last = last[last >= -ends.largest]
        first = np.concatenate([[-ends.largest], ends.following(last[:-1])])
        cut[plain] = np.searchsorted(last, threshold_end[plain])
        # a test that nothing passes ends before the first cell
        cut[plain[threshold_end[plain] < -ends.largest]] = -1
        borders.append((cut[plain] + start[-1], nodes.tree[plain]))
        # thousands of nodes may ask the same
        asked: dict[object, tuple[int, Ints]] = {}
        seen = ends.seen(first)
        for node in odd:
            key = nodes.question(int(node), threshold_end[node])
            if key not in asked:
                sends = nodes.goes_left(int(node), seen, threshold_end[node], first)
                asked[key] = tabled, np.flatnonzero(sends[1:] != sends[:-1]) + start[-1]
                tables.append(sends.astype(np.uint8))
                tabled += len(sends)
            special[node], turns = asked[key]
            borders.append((turns, np.full(len(turns), nodes.tree[node])))
        low.append(first)
        high.append(last)
        start.append(start[-1] + len(last))
    border_start, border_tree = _pairs(borders, start[-1], len(ensemble.trees))
    return Cells(
        start=np.asarray(start, dtype=np.int64), low=np.concatenate(low),
        high=np.concatenate(high), root=nodes.root, feature=nodes.feature, left=nodes.left,
        right=nodes.right, cut=cut, special=special,
        table=np.concatenate(tables) if tables else np.zeros(1, dtype=np.uint8),
        value=nodes.value, output=nodes.output,
        border_start=border_start, border_tree=border_tree,
    )  # fmt: skip


class _Nodes:
    """The nodes of all trees one after the other."""

    def __init__(self, ensemble: TreeEnsemble) -> None:
        self.ensemble = ensemble
        trees = ensemble.trees
        self.root = np.cumsum([0, *(len(tree) for tree in trees[:-1])]).astype(np.int64)
        self.tree = np.repeat(np.arange(len(trees)), [len(tree) for tree in trees])
        shift = self.root[self.tree]
        left = np.concatenate([tree.left for tree in trees])
        right = np.concatenate([tree.right for tree in trees])
        inner = left >= 0
        self.left = np.where(inner, left + shift, -1)
        self.right = np.where(inner, right + shift, -1)
        self.feature = np.where(inner, np.concatenate([tree.feature for tree in trees]), -1)
        self.threshold = np.concatenate([tree.threshold for tree in trees])
        self.threshold = np.where(inner, self.threshold, 0.0)
        self.categorical = np.zeros(len(inner), dtype=bool)
        self.zero = np.zeros(len(inner), dtype=bool)
        width = max(tree.value.shape[1] for tree in trees)
        self.value = np.zeros((len(inner), width))
        for at, tree in zip(self.root, trees, strict=True):
            self.categorical[[at + node for node in tree.categories if tree.left[node] >= 0]] = True
            if tree.zero_missing is not None:
                self.zero[at : at + len(tree)] = tree.zero_missing & ~tree.is_leaf
            self.value[at : at + len(tree), : tree.value.shape[1]] = tree.value
        self.value = self.value.astype(ensemble.sum_dtype).astype(np.float64)
        self.threshold[self.categorical] = 0.0
        self.odd = self.categorical | self.zero
        self.output = np.asarray(
            [-1 if tree.output is None else tree.output for tree in trees], dtype=np.int64
        )

    def special_values(self, odd: Ints, feature: int) -> Floats:
        """Return all numbers that the feature's nodes that are no thresholds ask for."""
        wanted = [np.zeros(1)]
        known = self.ensemble.known_categories.get(feature)
        # what is rounded to a known category needs no others
        nearest = self.ensemble.category_rounding == "nearest"
        for node in odd[self.categorical[odd] & (not nearest)]:
            number = self.tree[node]
            wanted.append(self.ensemble.trees[number].categories[int(node - self.root[number])])
        if known is not None:
            wanted.append(known)
        return np.unique(np.concatenate(wanted))

    def question(self, node: int, end: float) -> object:
        """Return what nodes of one feature have in common that send all cells alike."""
        number = int(self.tree[node])
        tree, inside = self.ensemble.trees[number], int(node - self.root[number])
        known = tree.categories[inside].tobytes() if self.categorical[node] else float(end)
        return known, bool(self.zero[node]), bool(tree.missing_left[inside])

    def goes_left(
        self, node: int, seen: Floats, end: float, first: Floats
    ) -> npt.NDArray[np.bool_]:
        """Return where the node sends cells, given what the trees see of their first numbers."""
        number = int(self.tree[node])
        tree, inside = self.ensemble.trees[number], int(node - self.root[number])
        if not self.categorical[node]:
            left, absent = first <= end, np.zeros(len(seen), dtype=bool)
        else:
            codes, absent = self.ensemble.categories_of(int(self.feature[node]), seen)
            left = np.isin(codes, tree.categories[inside])
        if self.zero[node]:
            absent |= seen == 0
        return np.asarray(np.where(absent, tree.missing_left[inside], left))


class _Ends:
    """Where, among the numbers of the inputs' type, a test of what the trees see changes."""

    def __init__(self, ensemble: TreeEnsemble, kind: np.dtype[np.floating]) -> None:
        self.ensemble, self.kind = ensemble, kind
        read = np.dtype(ensemble.input_dtype)
        # what is not finite in either type is no input of the library
        self.largest = min(float(np.finfo(each).max) for each in (kind, read))
        self.keys = np.int32 if kind.itemsize == 4 else np.int64
        self.rounding = ensemble.category_rounding

    def seen(self, values: Floats) -> Floats:
        """Return what the trees compare: the input rounded to their type, a small one as 0."""
        read = values.astype(self.ensemble.input_dtype).astype(np.float64)
        return np.where(np.abs(read) <= self.ensemble.zero_band, 0.0, read)

    def following(self, values: Floats) -> Floats:
        """Return the next number of the inputs' type."""
        return np.nextafter(values.astype(self.kind), self.kind.type(np.inf)).astype(np.float64)

    def last_not_above(self, bars: Floats, *, strict: bool) -> Floats:
        """Return the last number that passes ``seen <= bar`` (``<``); -inf where none does."""
        different, back = np.unique(bars, return_inverse=True)
        if strict:
            return self._last(lambda v: self.seen(v) < different, len(different))[back]
        return self._last(lambda v: self.seen(v) <= different, len(different))[back]

    def around(self, values: Floats) -> Floats:
        """Return the ends of all stretches that a category, or a value itself, could be."""
        found = [self.last_not_above(values, strict=strict) for strict in (False, True)]
        if self.rounding != "exact":
            whole = _WHOLE[self.rounding]
            n = len(values)
            found.append(self._last(lambda v: whole(self.seen(v)) <= values, n))
            found.append(self._last(lambda v: whole(self.seen(v)) < values, n))
        return np.concatenate(found)

    def _last(self, passes: Callable[[Floats], npt.NDArray[np.bool_]], count: int) -> Floats:
        """Return the last number that passes each test, found by halving; -inf where none does.

        Floats of one sign are ordered like the integers that share their bits.
        """
        top = int(np.asarray(self.largest, dtype=self.kind).view(self.keys))
        low = np.full(count, -top - 1, dtype=np.int64)
        high = np.full(count, top, dtype=np.int64)
        while (low < high).any():
            # the mean rounded up, without the overflow of a sum
            middle = (low >> 1) + (high >> 1) + ((low | high) & 1)
            good = passes(self._number(np.maximum(middle, -top)))
            good &= middle >= -top
            low, high = np.where(good, middle, low), np.where(good, high, middle - 1)
        found = self._number(np.maximum(low, -top))
        return np.where(low < -top, -np.inf, found)

    def _number(self, keys: Ints) -> Floats:
        size = np.abs(keys).astype(self.keys).view(self.kind).astype(np.float64)
        return np.asarray(np.where(keys < 0, -size, size))


def _pairs(borders: list[tuple[Ints, Ints]], cells: int, trees: int) -> tuple[Ints, Ints]:
    """Return the different (border, tree) as rows of a compressed table."""
    border = np.concatenate([where for where, _ in borders])
    tree = np.concatenate([numbers for _, numbers in borders])
    kept = np.unique(border[border >= 0] * trees + tree[border >= 0])
    start = np.searchsorted(kept // trees, np.arange(cells + 1))
    return np.asarray(start, dtype=np.int64), np.asarray(kept % trees, dtype=np.int64)
