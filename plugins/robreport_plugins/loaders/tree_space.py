"""Move a tree ensemble from the space its model was fitted in to that of the audit's data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Tree, TreeEnsemble
from robreport_plugins.loaders.tree_columns import TreeColumn
from robreport_plugins.loaders.verified_trees import NoTrees

Array = npt.NDArray[Any]

# Enough to come from all float64 to one: there are fewer than 2**64.
_HALVINGS = 64


def in_data_order(ensemble: TreeEnsemble, order: Array | None) -> TreeEnsemble:
    """Return the ensemble reading the data's columns; ``order[j]`` is that of its feature j."""
    if order is None:
        return ensemble
    order = np.asarray(order, dtype=np.int64)
    trees = tuple(
        _changed(tree, feature=np.where(tree.feature < 0, -1, order[tree.feature]))
        for tree in ensemble.trees
    )
    known = {int(order[j]): kept for j, kept in ensemble.known_categories.items()}
    return replace(ensemble, trees=trees, known_categories=known)


def in_data_classes(ensemble: TreeEnsemble, index: Array, classes: int) -> TreeEnsemble:
    """Return the ensemble scoring the data's classes; ``index[c]`` is that of its class c.

    Raises
    ------
    NoTrees
        The data has classes that the model does not score.
    """
    if len(index) == classes and (index == np.arange(classes)).all():
        return ensemble
    if ensemble.link != "distribution" and len(index) != classes:
        raise NoTrees("it was fitted on fewer classes than the data has")
    if ensemble.link == "sigmoid":
        # Its class 1 is the data's class 0: negated scores say the same of the other class.
        trees = tuple(_changed(tree, value=-tree.value) for tree in ensemble.trees)
        own = np.arange(2) if ensemble.class_order is None else ensemble.class_order
        return replace(ensemble, trees=trees, base=-ensemble.base, class_order=index[own])
    base = np.zeros(classes)
    base[index] = ensemble.base
    trees = tuple(_scoring(tree, index, classes) for tree in ensemble.trees)
    return replace(ensemble, trees=trees, base=base, n_outputs=classes, class_order=index)


def _scoring(tree: Tree, index: Array, classes: int) -> Tree:
    if tree.output is not None:
        return _changed(tree, output=int(index[tree.output]))
    value = np.zeros((len(tree), classes))
    value[:, index] = tree.value
    return _changed(tree, value=value)


def in_data_space(
    ensemble: TreeEnsemble, columns: Sequence[TreeColumn], width: int
) -> TreeEnsemble:
    """Return the ensemble over data space, where other steps make the columns that it tests.

    A test of a scaled number stays a threshold. Floating-point scaling never decreases when its
    input grows, so the inputs that pass are all those up to some float64. That number is found by
    halving, with the arithmetic of the scaling itself: nothing is rounded. A test of what
    categories were made into becomes the set of those that pass.

    Parameters
    ----------
    ensemble : TreeEnsemble
        With tests of the form ``x <= threshold``, or of categories.
    columns : sequence of TreeColumn, one for each of its features
    width : int
        Number of columns of data space.

    Raises
    ------
    NoTrees
        Categories are refused, tested behind a scaling, or none, or words; other tests.
    """
    coded = any(column.made is not None for column in columns)
    scaled = coded or any(column.scalings for column in columns)
    _check(ensemble, columns, coded)
    tests = [(t.feature[t.feature >= 0], t.threshold[t.feature >= 0]) for t in ensemble.trees]
    moved = np.concatenate([threshold for _, threshold in tests])
    if scaled:
        feature = np.concatenate([feature for feature, _ in tests])
        numbers = np.array([column.made is None for column in columns])[feature]
        scale = _scale(columns)
        moved[numbers] = _largest_passing(
            feature[numbers], moved[numbers], scale, ensemble.input_dtype
        )
    trees, start, passing = [], 0, _Passing(ensemble, columns)
    for tree in ensemble.trees:
        inner = np.flatnonzero(tree.feature >= 0)
        threshold = tree.threshold.copy()
        threshold[inner] = moved[start : start + len(inner)]
        start += len(inner)
        trees.append(passing.over_data(tree, threshold))
    known = {columns[j].source: kept for j, kept in ensemble.known_categories.items()}
    known |= {c.source: np.arange(len(c.made) - 1.0) for c in columns if c.made is not None}
    return replace(
        ensemble, trees=tuple(trees), n_features=width, known_categories=known,
        input_dtype="float64" if scaled else ensemble.input_dtype,
        category_rounding="nearest" if coded else ensemble.category_rounding,
        takes_missing=all(_takes_missing(ensemble, column) for column in columns),
    )  # fmt: skip


def _check(ensemble: TreeEnsemble, columns: Sequence[TreeColumn], coded: bool) -> None:
    if len(columns) != ensemble.n_features:
        raise NoTrees(f"{len(columns)} columns reach the {ensemble.n_features} that they test")
    if ensemble.comparison != "<=" or any(t.zero_missing is not None for t in ensemble.trees):
        raise NoTrees("they test otherwise than with a threshold")
    for column in columns:
        if column.made is None:
            continue
        if len(column.made) == 1:
            raise NoTrees("a categorical column of the data has no category")
        if column.made.dtype.kind == "O":
            raise NoTrees("a column of texts reaches them")
        lost = np.isnan(column.made[:-1]) & (not ensemble.takes_missing)
        lost |= False if column.refused is None else column.refused[:-1]
        if lost.any():
            raise NoTrees("some of the data's categories are refused")
    asked = {int(tree.feature[node]) for tree in ensemble.trees for node in tree.categories}
    plain = [columns[j] for j in asked if columns[j].made is None]
    if any(coded or column.scalings or not math.isnan(column.fill) for column in plain):
        raise NoTrees("it tests categories behind a scaling, or beside others that are encoded")


def _takes_missing(ensemble: TreeEnsemble, column: TreeColumn) -> bool:
    if column.refused is not None and column.refused[-1]:
        return False
    return ensemble.takes_missing or not math.isnan(column.absent)


def _scale(columns: Sequence[TreeColumn]) -> Callable[[Array, Array], Array]:
    """Return ``scale(feature, x)``: the scaled values of x ``(n,)`` of those features ``(n,)``."""
    kinds = list(dict.fromkeys(column.scalings for column in columns))
    kind = np.array([kinds.index(column.scalings) for column in columns])
    most = max(len(column.places) for column in columns)
    places = np.array([[*c.places, *[0] * (most - len(c.places))] for c in columns], dtype=np.int64)

    def scale(feature: Array, x: Array) -> Array:
        found = x.copy()
        for number in np.unique(kind[feature]):
            rows = kind[feature] == number
            for step, scaling in enumerate(kinds[number]):
                found[rows] = scaling(places[feature[rows], step], found[rows])
        return found

    return scale


class _Passing:
    """Which categories, and whether missing values, pass the tests of an ensemble."""

    def __init__(self, ensemble: TreeEnsemble, columns: Sequence[TreeColumn]) -> None:
        self.ensemble, self.columns = ensemble, columns
        self.source = np.array([column.source for column in columns])
        self.prepared = np.array([c.made is not None or not math.isnan(c.fill) for c in columns])
        self.known: dict[tuple[int, float, bool], tuple[Array, bool]] = {}

    def over_data(self, tree: Tree, threshold: Array) -> Tree:
        """Return a tree over data space; the thresholds of its numbers are given."""
        missing_left, categories = tree.missing_left.copy(), dict(tree.categories)
        # at a leaf the feature is -1
        for node in np.flatnonzero(self.prepared[tree.feature] & ~tree.is_leaf).tolist():
            column = self.columns[tree.feature[node]]
            if column.made is not None:
                categories[node], missing_left[node] = self._codes(tree, node)
            else:
                missing_left[node] = self._plain(np.array([column.fill]), tree.threshold[node])[0]
        feature = np.where(tree.feature < 0, -1, self.source[tree.feature])
        return replace(
            tree, feature=feature, threshold=threshold, missing_left=missing_left,
            categories=categories,
        )  # fmt: skip

    def _plain(self, values: Array, threshold: float) -> Array:
        with np.errstate(over="ignore"):
            read = values.astype(self.ensemble.input_dtype).astype(np.float64)
        return np.asarray(read <= threshold)

    def _codes(self, tree: Tree, node: int) -> tuple[Array, bool]:
        """Return the codes that go left at a node, and whether a missing value does."""
        feature, threshold = int(tree.feature[node]), float(tree.threshold[node])
        made = self.columns[feature].made
        if made is None:
            raise ValueError("a column of numbers has no categories")
        side = bool(tree.missing_left[node])
        if node in tree.categories:
            seen, absent = self.ensemble.categories_of(feature, made)
            left = np.where(absent | np.isnan(made), side, np.isin(seen, tree.categories[node]))
            return np.flatnonzero(left[:-1]).astype(np.float64), bool(left[-1])
        key = feature, threshold, side
        if key not in self.known:
            left = np.where(np.isnan(made), side, self._plain(made, threshold))
            self.known[key] = np.flatnonzero(left[:-1]).astype(np.float64), bool(left[-1])
        return self.known[key]


def _largest_passing(
    feature: Array, threshold: Array, scale: Callable[[Array, Array], Array], kind: str
) -> Array:
    """Return the largest float64 x whose scaled value is at most the threshold; -inf for none."""

    def passes(x: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(scale(feature, x).astype(kind).astype(np.float64) <= threshold)

    most = np.full(len(feature), np.finfo(np.float64).max)
    low, high = _rank(-most), _rank(most)
    none, all_pass = ~passes(-most), passes(most)
    for _ in range(_HALVINGS):
        # The mean without overflow: ranks span all of int64.
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        good = passes(_float(middle))
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    return np.where(none, -np.inf, np.where(all_pass, np.inf, _float(low)))


def _rank(x: Array) -> Array:
    """Return whole numbers that order as the float64 do."""
    bits = x.view(np.int64)
    return np.where(bits < 0, np.int64(np.iinfo(np.int64).min) - bits, bits)


def _float(rank: Array) -> Array:
    bits = np.where(rank < 0, np.int64(np.iinfo(np.int64).min) - rank, rank)
    return bits.view(np.float64)


def _changed(tree: Tree, **changes: Any) -> Tree:
    return replace(tree, **changes)
