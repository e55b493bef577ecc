"""Check decision trees from an untrusted file before they may predict.

scikit-learn follows a tree's child and feature numbers without looking whether they exist, so a
forged tree can crash the process or read memory that is not its own. skops therefore counts the
type as unsafe. A tree whose every number has been checked is not.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from robreport import ModelError

CHECKED_TYPE = "sklearn.tree._tree.Tree"

# Only these are known to read their trees in ways that the checks below cover.
_OWNERS = frozenset(
    {
        "DecisionTreeClassifier",
        "DecisionTreeRegressor",
        "ExtraTreeClassifier",
        "ExtraTreeRegressor",
        "RandomForestClassifier",
        "RandomForestRegressor",
        "ExtraTreesClassifier",
        "ExtraTreesRegressor",
    }
)


class _Visitor(pickle.Pickler):
    """Sees every object that another holds, by pickling it to nowhere."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self.owners: list[Any] = []
        self.trees: list[Any] = []

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind.__name__ == "Tree" and kind.__module__ == "sklearn.tree._tree":
            self.trees.append(obj)
            return (int, ())  # its arrays are not touched before they are checked
        if not isinstance(obj, type) and (hasattr(obj, "tree_") or hasattr(obj, "estimators_")):
            self.owners.append(obj)
        return NotImplemented


def check_trees(estimator: Any, where: str) -> int:
    """Return how many trees an estimator holds, each of which is sound.

    Raises
    ------
    ModelError
        A tree's child or feature does not exist, its nodes form a loop, or its owner is of a
        class whose way of reading trees is not known here.
    """
    visitor = _Visitor()
    try:
        visitor.dump(estimator)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{where}: holds decision trees and parts that cannot be looked into "
            f"({type(error).__name__}); if you trust the file, say trusted = true."
        ) from None
    owned: set[int] = set()
    for owner in visitor.owners:
        kind = type(owner)
        known = kind.__name__ in _OWNERS and kind.__module__.startswith("sklearn.")
        parts = np.asarray(getattr(owner, "estimators_", []), dtype=object).ravel()
        members = [part for part in parts if hasattr(part, "tree_")]
        if not known and (members or hasattr(owner, "tree_")):
            raise ModelError(
                f"{where}: holds decision trees in a {kind.__name__}, which are not checked; "
                "if you trust the file, say trusted = true."
            )
        for part in [owner] if hasattr(owner, "tree_") else members:
            if part.tree_.n_features != owner.n_features_in_:
                raise ModelError(
                    f"{where}: a tree for {part.tree_.n_features} features stands in a "
                    f"{kind.__name__} for {owner.n_features_in_}; the file is damaged or forged."
                )
            owned.add(id(part.tree_))
    for tree in visitor.trees:
        if id(tree) not in owned:
            raise ModelError(
                f"{where}: holds a decision tree outside of any estimator that is known here; "
                "if you trust the file, say trusted = true."
            )
        problem = _problem(tree)
        if problem:
            raise ModelError(f"{where}: a decision tree {problem}; the file is damaged or forged.")
    return len(visitor.trees)


def _problem(tree: Any) -> str:
    """Return what is wrong with a tree's nodes, or nothing."""
    count = int(tree.node_count)
    if not 1 <= count <= int(tree.capacity):
        return f"claims {count} nodes and holds {int(tree.capacity)}"
    left, right = np.asarray(tree.children_left), np.asarray(tree.children_right)
    own = np.arange(count)
    leaf = left == -1
    # Children stand after their parents, as scikit-learn writes them: so there is no loop.
    sound = leaf | ((left > own) & (left < count) & (right > own) & (right < count))
    if not sound.all():
        return f"has a node {int(np.argmin(sound))} whose children do not exist or lead back"
    feature = np.asarray(tree.feature)
    exists = leaf | ((feature >= 0) & (feature < tree.n_features))
    if not exists.all():
        return f"asks at node {int(np.argmin(exists))} for a feature that does not exist"
    return ""
