"""Hold exported trees against the library that they were taken from, before they are offered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Tree, TreeEnsemble

Array = npt.NDArray[Any]

_ROWS = 512
_MISSING = 0.1


class NoTrees(Exception):
    """Why a model's trees are not offered, as the clause of a sentence."""


def verified_trees(
    ensemble: TreeEnsemble, expected: Callable[[Array], Array], found: Callable[[Array], Array]
) -> TreeEnsemble:
    """Return the ensemble when it answers probe rows exactly as its library does.

    A format that a future version of a library changes thus costs a model its trees, and never
    gives it wrong ones.

    Parameters
    ----------
    ensemble : TreeEnsemble
    expected, found : callable
        What the library and the arrays give for rows ``(n, n_features)``; compared bit for bit.

    Raises
    ------
    NoTrees
        They differ on some row.
    """
    x = probe_rows(ensemble)
    theirs, ours = np.asarray(expected(x), dtype=np.float64), np.asarray(found(x))
    if theirs.shape != ours.shape:
        raise NoTrees(f"its outputs have shape {theirs.shape}, and those of its trees {ours.shape}")
    same = (theirs == ours).reshape(len(x), -1).all(axis=1)
    if not same.all():
        raise NoTrees(f"they answer {int((~same).sum())} of {len(x)} probe rows otherwise")
    return ensemble


def probe_rows(ensemble: TreeEnsemble, rows: int = _ROWS, seed: int = 0) -> Array:
    """Return rows ``(n, n_features)`` on, beside and between thresholds, and missing values.

    Every value of a row is drawn among the thresholds of its feature, the next numbers on both
    sides of each, its categories, the next category that none has, and plain normal numbers.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, ensemble.n_features))
    for feature, values in _tested(ensemble).items():
        drawn = rng.choice(values, size=rows)
        kind = np.dtype(ensemble.input_dtype).type
        with np.errstate(over="ignore"):
            rounded = drawn.astype(kind)
            beside = np.nextafter(rounded, kind(np.inf) * rng.choice([-1, 1], rows).astype(kind))
        which = rng.integers(0, 4, rows)
        choices = [drawn, rounded.astype(np.float64), beside.astype(np.float64)]
        x[:, feature] = np.where(which == 3, x[:, feature], np.choose(which % 3, choices))
    for feature, categories in _categories(ensemble).items():
        pool = np.append(categories, categories.max(initial=0.0) + 1)
        if ensemble.category_rounding == "nearest":
            pool = np.concatenate([pool, pool - 0.25, pool + 0.5])
        x[:, feature] = rng.choice(pool, size=rows)
    largest = np.finfo(ensemble.input_dtype).max
    x = np.clip(x, -largest, largest)
    _meet_thresholds(ensemble, x[: rows // 2], rng)
    if ensemble.takes_missing:
        x[rng.random(x.shape) < _MISSING] = np.nan
    return x


def _meet_thresholds(ensemble: TreeEnsemble, x: Array, rng: np.random.Generator) -> None:
    """Move each row, in place, to the very edge of the leaf that it reaches in some tree.

    Deep in a tree hardly any row comes by a node with a value beside its threshold by chance, and
    there an arithmetic that is not quite the library's would show.
    """
    kind = np.dtype(ensemble.input_dtype).type
    leaves = ensemble.leaves(x)
    chosen = rng.integers(0, len(ensemble.trees), len(x))
    for row, number in enumerate(chosen):
        tree = ensemble.trees[number]
        moved = set()
        # the deepest test of a feature is the closest on its side
        for node, left in _path(tree, int(leaves[row, number])):
            feature, bar = int(tree.feature[node]), kind(tree.threshold[node])
            if feature in moved or node in tree.categories or not np.isfinite(bar):
                continue
            moved.add(feature)
            if not np.isnan(x[row, feature]):
                inside = bar if ensemble.comparison == "<=" else np.nextafter(bar, kind(-np.inf))
                beyond = np.nextafter(inside, kind(np.inf))
                x[row, feature] = inside if left else beyond


def _path(tree: Tree, leaf: int) -> list[tuple[int, bool]]:
    """Return the inner nodes above a leaf, the deepest first, and whether it lies left of each."""
    inner = np.flatnonzero(~tree.is_leaf)
    parent = np.full(len(tree), -1, dtype=np.int64)
    parent[tree.left[inner]] = inner
    parent[tree.right[inner]] = inner
    path, node = [], leaf
    while parent[node] >= 0:
        above = int(parent[node])
        path.append((above, bool(tree.left[above] == node)))
        node = above
    return path


def _tested(ensemble: TreeEnsemble) -> dict[int, Array]:
    """Return the finite thresholds of each feature."""
    feature = np.concatenate([tree.feature for tree in ensemble.trees])
    threshold = np.concatenate([tree.threshold for tree in ensemble.trees])
    kept = (feature >= 0) & np.isfinite(threshold)
    return {int(j): np.unique(threshold[kept & (feature == j)]) for j in np.unique(feature[kept])}


def _categories(ensemble: TreeEnsemble) -> dict[int, Array]:
    """Return every category that a node or the ensemble names, by feature."""
    named: dict[int, list[Array]] = {j: [kept] for j, kept in ensemble.known_categories.items()}
    if ensemble.category_rounding == "nearest":
        return {j: kept for j, (kept,) in named.items()}  # no set has others
    for tree in ensemble.trees:
        for node, kept in tree.categories.items():
            named.setdefault(int(tree.feature[node]), []).append(kept)
    return {j: np.unique(np.concatenate(parts)) for j, parts in named.items()}
