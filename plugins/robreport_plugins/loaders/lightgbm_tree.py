"""One tree of a LightGBM text model, checked, as arrays."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Tree

Array = npt.NDArray[Any]

_MOST_LEAVES = 1 << 24
_DEEPEST = 10_000
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_ZERO = 1
_KNOWN = frozenset(
    (
        "num_leaves", "num_cat", "split_feature", "split_gain", "threshold", "decision_type",
        "left_child", "right_child", "leaf_value", "leaf_weight", "leaf_count", "internal_value",
        "internal_weight", "internal_count", "cat_boundaries", "cat_threshold", "is_linear",
        "shrinkage", "leaf_const", "num_features", "leaf_features", "leaf_coeff",
    )
)  # fmt: skip


def plain_tree(keys: dict[str, str], features: int, output: int) -> Tree:
    """Return the tree; inner nodes first, then leaves.

    Raises
    ------
    ValueError
        Lists of other lengths than the number of leaves says, or nodes that do not exist.
    KeyError
        A list is missing.
    """
    if unknown := set(keys) - _KNOWN:
        raise ValueError(f"has the unknown key {min(unknown)[:40]!r}")
    leaves = int(keys["num_leaves"])
    if not 1 <= leaves <= _MOST_LEAVES:
        raise ValueError(f"says that it has {leaves} leaves")
    inner = leaves - 1
    value = _list(keys, "leaf_value", np.float64, leaves)
    for name, count in (("leaf_weight", leaves), ("leaf_count", leaves), ("split_gain", inner),
                        ("internal_value", inner), ("internal_weight", inner),
                        ("internal_count", inner)):  # fmt: skip
        # LightGBM leaves some of them empty in a tree of one leaf.
        if keys.get(name, "").strip():
            _list(keys, name, np.float64, count)
    sets = _sets(keys)
    if not inner:
        return Tree(
            feature=np.array([-1]), threshold=np.zeros(1), left=np.array([-1]),
            right=np.array([-1]), missing_left=np.zeros(1, dtype=bool), value=value[:, None],
            output=output,
        )  # fmt: skip
    feature = _list(keys, "split_feature", np.int64, inner)
    if ((feature < 0) | (feature >= features)).any():
        raise ValueError("asks for a feature that does not exist")
    threshold = _list(keys, "threshold", np.float64, inner)
    kind = _list(keys, "decision_type", np.int64, inner)
    if ((kind < 0) | (kind > 11)).any():
        raise ValueError("has a kind of decision that is not known")
    left, right = (
        _children(_list(keys, f"{side}_child", np.int64, inner), inner, leaves)
        for side in ("left", "right")
    )
    categorical, missing = (kind & _CATEGORICAL) != 0, kind >> 2
    categories = {}
    for node in np.flatnonzero(categorical):
        which = threshold[node]
        if not (which.is_integer() and 0 <= which < len(sets)):
            raise ValueError(f"asks at node {int(node)} for categories that do not exist")
        categories[int(node)] = sets[int(which)]
    # What is missing where NaN is no value of its own counts as zero.
    missing_left = np.where(missing == 0, threshold >= 0, (kind & _DEFAULT_LEFT) != 0)
    zero = (missing == _ZERO) & ~categorical
    none, end = np.full(leaves, -1), np.zeros(leaves, dtype=bool)
    tree = Tree(
        feature=np.concatenate([feature, none]),
        threshold=np.concatenate([np.where(categorical, 0.0, threshold), np.zeros(leaves)]),
        left=np.concatenate([left, none]),
        right=np.concatenate([right, none]),
        missing_left=np.concatenate([missing_left & ~categorical, end]),
        value=np.concatenate([np.zeros(inner), value])[:, None],
        categories=categories,
        zero_missing=np.concatenate([zero, end]) if zero.any() else None,
        output=output,
    )
    if tree.depth > _DEEPEST:
        raise ValueError(f"is deeper than {_DEEPEST:,} nodes")
    return tree


def linear_tree(keys: dict[str, str], features: int) -> None:
    """Check the linear models in a tree's leaves.

    Raises
    ------
    ValueError
        They read features that do not exist, or their lists have other lengths.
    """
    leaves = int(keys["num_leaves"])
    _list(keys, "leaf_const", np.float64, leaves)
    counts = _list(keys, "num_features", np.int64, leaves)
    total = int(counts.sum())
    if (counts < 0).any():
        raise ValueError("has a leaf with less than no features")
    named = _list(keys, "leaf_features", np.int64, total)
    _list(keys, "leaf_coeff", np.float64, total)
    if ((named < 0) | (named >= features)).any():
        raise ValueError("has a leaf with a feature that does not exist")


def _list(keys: dict[str, str], name: str, kind: Any, count: int) -> Array:
    words = keys[name].split()
    if len(words) != count:
        raise ValueError(f"has {len(words)} numbers in {name}, where {count} belong")
    try:
        return np.array([int(w) for w in words] if kind is np.int64 else words, dtype=kind)
    except (ValueError, OverflowError):
        raise ValueError(f"has a {name} that is no list of numbers") from None


def _children(child: Array, inner: int, leaves: int) -> Array:
    """Return node numbers: an inner node's own, and those of leaves behind them."""
    if ((child >= inner) | (child < -leaves)).any():
        raise ValueError("has a child that does not exist")
    return np.where(child >= 0, child, inner + ~child)


def _sets(keys: dict[str, str]) -> list[Array]:
    """Return the categories of each set that the tree has."""
    count = int(keys.get("num_cat", "0"))
    if count == 0:
        return []
    words = keys["cat_threshold"].split()
    bounds = _list(keys, "cat_boundaries", np.int64, count + 1)
    if bounds[0] != 0 or bounds[-1] != len(words) or (np.diff(bounds) < 0).any():
        raise ValueError("has sets of categories that overlap or do not exist")
    bits = _list(keys, "cat_threshold", np.int64, len(words))
    if ((bits < 0) | (bits >= 1 << 32)).any():
        raise ValueError("has a set of categories out of range")
    raw = bits.astype("<u4")
    return [
        np.flatnonzero(np.unpackbits(raw[a:b].view(np.uint8), bitorder="little")).astype(np.float64)
        for a, b in pairwise(bounds)
    ]
