"""Move a tree ensemble from the space its model was fitted in to that of the audit's data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Tree, TreeEnsemble
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
        return replace(ensemble, trees=trees, base=-ensemble.base)
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


def before_scaling(ensemble: TreeEnsemble, scale: Callable[[Array, Array], Array]) -> TreeEnsemble:
    """Return the ensemble for inputs that have not been scaled yet.

    Floating-point scaling never decreases when its input grows, so the inputs that pass a test
    are all those up to some float64. That number is found by halving, with the arithmetic of the
    scaling itself, and becomes the threshold: nothing is rounded.

    Parameters
    ----------
    ensemble : TreeEnsemble
        With tests of the form ``x <= threshold``.
    scale : callable
        ``scale(feature, x)`` gives the scaled values of x ``(n,)`` of those features ``(n,)``.

    Raises
    ------
    NoTrees
        Some tests are not thresholds.
    """
    if not ensemble.plain or ensemble.comparison != "<=":
        raise NoTrees("it tests categories behind a scaling")
    tests = [(t.feature[t.feature >= 0], t.threshold[t.feature >= 0]) for t in ensemble.trees]
    feature = np.concatenate([f for f, _ in tests])
    wanted = np.concatenate([t for _, t in tests])
    moved = _largest_passing(feature, wanted, scale, ensemble.input_dtype)
    trees, start = [], 0
    for tree in ensemble.trees:
        inner = tree.feature >= 0
        threshold = tree.threshold.copy()
        threshold[inner] = moved[start : start + int(inner.sum())]
        start += int(inner.sum())
        trees.append(_changed(tree, threshold=threshold))
    return replace(ensemble, trees=tuple(trees), input_dtype="float64")


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
