"""Trees as plain arrays: what an attack or a proof needs to know of a tree ensemble, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from robreport.descent import NodeSets, PackedTree, Rules, categories, descend

Array = npt.NDArray[Any]

Link = Literal["identity", "exp", "distribution", "sigmoid", "softmax"]

_ROWS = 8192
# Above this a float64 no longer tells whole numbers apart; no library numbers categories so.
_LARGEST_CATEGORY = 2.0**53


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """One decision tree; node 0 is its root.

    At an inner node a row goes left when its value is missing and ``missing_left`` says so, or
    when it is not missing and passes the node's test: ``x <= threshold`` (or ``<``: the ensemble
    says which), or, at a categorical node, when it is one of ``categories[node]``.

    Attributes
    ----------
    feature : array (nodes,) int64
        Position in the flattened input of the value that is tested; -1 at a leaf.
    threshold : array (nodes,) float64
        Not NaN at an inner node; of no meaning at leaves and categorical nodes.
    left, right : array (nodes,) int64
        Node numbers; -1 at a leaf.
    missing_left : array (nodes,) bool
        Where a missing value goes.
    value : array (nodes, k) float64
        What a leaf gives; of no meaning at inner nodes. k is the ensemble's ``n_outputs``, or 1
        when ``output`` is set. Weights and learning rates are multiplied in.
    categories : mapping of int to array of float64
        The sorted categories that go left, for each categorical node; empty without any.
    zero_missing : array (nodes,) bool or None
        Nodes where zero counts as missing; None for no node.
    output : int or None
        The one output that the tree adds to; None when it adds to all.

    Raises
    ------
    ValueError
        Arrays of differing length, a child that does not exist or that two nodes share, a loop,
        a NaN threshold, a leaf value that is not finite.
    """

    feature: Array
    threshold: Array
    left: Array
    right: Array
    missing_left: Array
    value: Array
    categories: Mapping[int, Array] = field(default_factory=dict)
    zero_missing: Array | None = None
    output: int | None = None
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        count = len(np.atleast_1d(self.feature))
        kinds = {"feature": np.int64, "threshold": np.float64, "left": np.int64, "right": np.int64}
        for name, kind in {**kinds, "missing_left": np.bool_}.items():
            _freeze(self, name, kind, (count,))
        _freeze(self, "value", np.float64, (count, None))
        if self.zero_missing is not None:
            _freeze(self, "zero_missing", np.bool_, (count,))
        # thousands of nodes may share an array: each is sorted once
        given = {id(kept): kept for kept in self.categories.values()}
        ready = {key: np.unique(_floats(kept)) for key, kept in given.items()}
        for kept in ready.values():
            kept.setflags(write=False)
        sets = {int(node): ready[id(kept)] for node, kept in self.categories.items()}
        object.__setattr__(self, "categories", sets)
        object.__setattr__(self, "depth", self._check())

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self.feature)

    @property
    def is_leaf(self) -> Array:
        """Whether each node is a leaf ``(nodes,)``."""
        return np.asarray(self.left < 0)

    def _check(self) -> int:
        """Return the depth; each node is reached from the root once at most."""
        count = len(self)
        if count < 1:
            raise ValueError("has no nodes")
        leaf = (self.left == -1) & (self.right == -1)
        wrong = ~leaf & ((self.left < 0) | (self.right < 0))
        wrong |= (self.left >= count) | (self.right >= count)
        if wrong.any():
            raise ValueError(f"has a node {int(np.argmax(wrong))} whose children do not exist")
        seen = np.zeros(count, dtype=bool)
        level, depth = np.zeros(1, dtype=np.int64), -1
        while len(level):
            if seen[level].any() or len(np.unique(level)) != len(level):
                raise ValueError("has a node that is reached in two ways, or a loop")
            seen[level] = True
            depth += 1
            inner = level[~leaf[level]]
            level = np.concatenate([self.left[inner], self.right[inner]])
        numeric = seen & ~leaf
        numeric[[node for node in self.categories if 0 <= node < count]] = False
        if np.isnan(self.threshold[numeric]).any():
            raise ValueError("has a threshold that is not a number")
        if (self.feature[seen & ~leaf] < 0).any():
            raise ValueError("asks for a feature that does not exist")
        if not np.isfinite(self.value[seen & leaf]).all():
            raise ValueError("has a leaf whose value is not finite")
        for node, kept in self.categories.items():
            if not 0 <= node < count or (seen[node] and leaf[node]):
                raise ValueError(f"has categories at node {node}, which is no inner node")
            if not (np.abs(kept) <= _LARGEST_CATEGORY).all():
                raise ValueError(f"has a category at node {node} that is no number")
        return depth


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TreeEnsemble:
    """A whole tree model in data space, which predicts as its library does, to the last bit.

    A row's raw scores are ``base`` plus, in order, the values of the leaves it reaches, summed
    in ``sum_dtype``; each divided by the number of trees that add to it when ``aggregation`` is
    ``"mean"``. The link
    makes predictions of them.

    Attributes
    ----------
    trees : tuple of Tree
        In the order of summation.
    n_features : int
        Length of a flattened input.
    n_outputs : int
        Raw scores of a row: one for regression and for ``"sigmoid"``, else one per class.
    base : array (n_outputs,) float64
        What the sum starts from.
    aggregation : "sum" or "mean"
    link : "identity", "exp", "distribution", "sigmoid" or "softmax"
        Values as they are; exp of them; class probabilities as they are; the probability of
        class 1 of two; one score per class.
    link_scale : float
        What raw scores are multiplied with before ``"sigmoid"`` and ``"softmax"``.
    comparison : "<=" or "<"
        The test that sends a row to the left.
    input_dtype : "float32" or "float64"
        What inputs are rounded to before they are compared.
    sum_dtype : "float32" or "float64"
    takes_missing : bool
        Whether NaN is a value like any other; if not, it is refused.
    zero_band : float
        Values no further from zero than this are read as 0.
    category_rounding : "exact", "floor", "trunc" or "nearest"
        How a value becomes a category: as it is; the largest whole number not above it; without
        its digits after the point; the nearest whole number between the first and the last known
        category of its feature.
    known_categories : mapping of int to array of float64
        For some features, the values that are no missing ones (before they are rounded, unless to
        the nearest, which is never missing); elsewhere all are.
    class_order : array of int64 or None
        The order in which the library has the classes, whose first wins a tie (with ``"sigmoid"``
        a score of 0); None for 0, 1, ...

    Raises
    ------
    ValueError
        No trees, a feature or an output that does not exist, values of the wrong width.
    """

    trees: tuple[Tree, ...]
    n_features: int
    n_outputs: int
    base: Array
    link: Link
    aggregation: Literal["sum", "mean"] = "sum"
    link_scale: float = 1.0
    comparison: Literal["<=", "<"] = "<="
    input_dtype: Literal["float32", "float64"] = "float64"
    sum_dtype: Literal["float32", "float64"] = "float64"
    takes_missing: bool = False
    zero_band: float = 0.0
    category_rounding: Literal["exact", "floor", "trunc", "nearest"] = "exact"
    known_categories: Mapping[int, Array] = field(default_factory=dict)
    class_order: Array | None = None
    _packed: list[PackedTree] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _freeze(self, "base", np.float64, (self.n_outputs,))
        object.__setattr__(self, "trees", tuple(self.trees))
        object.__setattr__(self, "_packed", [])
        known = {int(j): np.unique(_floats(kept)) for j, kept in self.known_categories.items()}
        object.__setattr__(self, "known_categories", known)
        if not self.trees:
            raise ValueError("has no trees")
        if self.class_order is not None:
            _freeze(self, "class_order", np.int64, (None,))
            if len(set(self.class_order) & set(range(self.n_classes))) != len(self.class_order):
                raise ValueError("has an order of classes that do not exist")
        if self.link == "sigmoid" and self.n_outputs != 1:
            raise ValueError(f"has {self.n_outputs} outputs, and a sigmoid takes one")
        for number, tree in enumerate(self.trees):
            width = tree.value.shape[1]
            wrong_output = tree.output is not None and not 0 <= tree.output < self.n_outputs
            if wrong_output or width != (self.n_outputs if tree.output is None else 1):
                raise ValueError(f"has a tree {number} whose values do not fit its outputs")
            if tree.feature.max() >= self.n_features:
                raise ValueError(f"has a tree {number} with a feature that does not exist")
            if self.category_rounding == "nearest" and not all(
                len(known.get(int(tree.feature[node]), ())) for node in tree.categories
            ):
                raise ValueError(f"has a tree {number} that rounds to categories it does not know")

    @property
    def n_nodes(self) -> int:
        """Number of nodes of all trees."""
        return sum(len(tree) for tree in self.trees)

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for regression."""
        if self.link in ("identity", "exp"):
            return 0
        return 2 if self.link == "sigmoid" else self.n_outputs

    @property
    def plain(self) -> bool:
        """Whether every test is a threshold: no categories, no zero that counts as missing."""
        return not any(tree.categories or tree.zero_missing is not None for tree in self.trees)

    def leaves(self, x: Array) -> Array:
        """Return the leaf that each row reaches in each tree ``(n, trees)``, int64.

        Parameters
        ----------
        x : array (n, *shape)
            Inputs in data space; flattened they have `n_features` values.

        Raises
        ------
        ValueError
            Another number of features, or NaN where none is taken.
        """
        table = self._table(x)
        rules = Rules(
            strict=self.comparison == "<",
            rounding=self.category_rounding,
            known=self.known_categories,
        )
        found = np.empty((len(table), len(self.trees)), dtype=np.int64)
        for start in range(0, len(table), _ROWS):
            part = np.ascontiguousarray(table[start : start + _ROWS])
            missing = bool(np.isnan(part).any())
            for number, packed in enumerate(self._pack()):
                found[start : start + _ROWS, number] = descend(rules, packed, part, missing)
        return found

    def categories_of(self, feature: int, values: Array) -> tuple[Array, Array]:
        """Return what categorical nodes see of a feature's values, and which count as missing.

        Parameters
        ----------
        feature : int
        values : array (n,)
            As the trees compare them: of `input_dtype`, those of the `zero_band` as 0.

        Returns
        -------
        codes : array (n,) float64
        absent : array (n,) of bool
        """
        known = self.known_categories.get(feature)
        return categories(values, self.category_rounding, known)

    def predict_raw(self, x: Array) -> Array:
        """Return raw scores ``(n, n_outputs)`` float64, summed in the library's order and type."""
        leaves = self.leaves(x)
        kind = np.dtype(self.sum_dtype)
        total = np.tile(self.base.astype(kind), (len(leaves), 1))
        for number, tree in enumerate(self.trees):
            given = tree.value[leaves[:, number]].astype(kind)
            if tree.output is None:
                total += given
            else:
                total[:, tree.output] += given[:, 0]
        if self.aggregation == "mean":
            total /= self._shares().astype(kind)
        return total.astype(np.float64)

    def predict_proba(self, x: Array) -> Array:
        """Return class probabilities ``(n, n_classes)`` float64.

        Raises
        ------
        ValueError
            A regression has none.
        """
        if not self.n_classes:
            raise ValueError("a regression has no probabilities")
        return probabilities(self.predict_raw(x), self.link, self.link_scale)

    def predict(self, x: Array) -> Array:
        """Return class indices ``(n,)`` int64, or values ``(n,)`` float64."""
        raw = self.predict_raw(x)
        if self.link == "sigmoid":
            tied = 0 if self.class_order is None else self.class_order[0]
            return np.where(raw[:, 0] == 0, tied, raw[:, 0] > 0).astype(np.int64)
        if self.n_classes:
            order = np.arange(self.n_classes) if self.class_order is None else self.class_order
            return np.asarray(order[raw[:, order].argmax(axis=1)], dtype=np.int64)
        return np.asarray(np.exp(raw[:, 0]) if self.link == "exp" else raw[:, 0])

    def _shares(self) -> Array:
        """Return how many trees add to each output ``(n_outputs,)``."""
        shares = np.zeros(self.n_outputs)
        for tree in self.trees:
            shares[slice(None) if tree.output is None else tree.output] += 1
        return np.maximum(shares, 1)

    def _table(self, x: Array) -> Array:
        x = np.asarray(x)
        table = np.asarray(x.reshape(len(x), -1) if len(x) else x.reshape(0, self.n_features))
        if table.shape[1] != self.n_features:
            raise ValueError(
                f"the trees take {self.n_features} features, and were given {table.shape[1]}"
            )
        with np.errstate(over="ignore"):
            table = table.astype(self.input_dtype).astype(np.float64)
        if self.zero_band:
            table[np.abs(table) <= self.zero_band] = 0.0
        if not self.takes_missing and np.isnan(table).any():
            raise ValueError("the trees were given missing values (NaN), which they do not take")
        return table

    def _pack(self) -> list[PackedTree]:
        if not self._packed:
            self._packed.extend(_pack(tree) for tree in self.trees)
        return self._packed


def probabilities(raw: Array, link: Link, scale: float = 1.0) -> Array:
    """Return class probabilities ``(n, k)`` float64 of raw scores."""
    raw = np.asarray(raw, dtype=np.float64)
    if link == "distribution":
        return raw.copy()
    scores = raw * scale
    if link == "sigmoid":
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _pack(tree: Tree) -> PackedTree:
    own, leaf = np.arange(len(tree)), tree.is_leaf
    child = np.stack([np.where(leaf, own, tree.right), np.where(leaf, own, tree.left)], axis=1)
    return PackedTree(
        feature=np.maximum(tree.feature, 0),
        threshold=tree.threshold,
        child=child.reshape(-1),
        leaf=leaf,
        missing_left=tree.missing_left,
        sets=NodeSets(len(tree), tree.categories) if tree.categories else None,
        zero_missing=tree.zero_missing,
        depth=tree.depth,
    )


def _floats(values: Any) -> Array:
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _freeze(owner: Any, name: str, kind: Any, shape: tuple[int | None, ...]) -> None:
    """Replace a field by a read-only copy of that type and shape."""
    given = np.asarray(getattr(owner, name))
    if given.dtype.kind not in ("biuf" if kind is not np.int64 else "iu"):
        raise ValueError(f"has a {name} of {given.dtype} values")
    fits = given.ndim == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, given.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"has a {name} of shape {given.shape}")
    kept = np.array(given, dtype=kind, order="C")
    kept.setflags(write=False)
    object.__setattr__(owner, name, kept)
