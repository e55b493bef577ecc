"""Check decision trees from an untrusted file before they may predict.

scikit-learn follows a tree's child and feature numbers without looking whether they exist, so a
forged tree can crash the process or read memory that is not its own. skops therefore counts the
types as unsafe. A tree whose every number has been checked is not.
"""

from __future__ import annotations

import functools
import io
import pickle
from typing import Any

import numpy as np

from robreport import ModelError
from robreport_plugins.loaders.histogram_check import histogram_problem

# What skops lists when a file holds trees; each is looked at by `check_trees`.
CHECKED_TYPES = frozenset(
    {
        "sklearn.tree._tree.Tree",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        # A histogram model with categories keeps `partial(check_array, ...)`.
        "functools.partial",
        "sklearn.utils.validation.check_array",
    }
)

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
_BOOSTED = frozenset({"GradientBoostingClassifier", "GradientBoostingRegressor"})
_HISTOGRAM = frozenset({"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"})


class _Visitor(pickle.Pickler):
    """Sees every object that another holds, by pickling it to nowhere."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self.owners: list[Any] = []
        self.trees: list[Any] = []
        self.predictors: list[Any] = []
        self.partials: list[Any] = []

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind.__name__ == "Tree" and kind.__module__ == "sklearn.tree._tree":
            self.trees.append(obj)
            return (int, ())  # its arrays are not touched before they are checked
        if kind.__name__ == "TreePredictor" and kind.__module__.startswith("sklearn."):
            self.predictors.append(obj)
            return (int, ())
        if isinstance(obj, functools.partial):
            self.partials.append(obj)
        owns = ("tree_", "estimators_", "_predictors")
        if not isinstance(obj, type) and any(hasattr(obj, name) for name in owns):
            self.owners.append(obj)
        return NotImplemented


def check_trees(estimator: Any, where: str) -> int:
    """Return how many trees an estimator holds, each of which is sound.

    Raises
    ------
    ModelError
        A tree's child or feature does not exist, its nodes form a loop, its owner is of a class
        whose way of reading trees is not known here or says otherwise how many outputs there
        are, or a partial function wraps another one than scikit-learn's own check.
    """
    visitor = _Visitor()
    try:
        visitor.dump(estimator)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{where}: holds decision trees and parts that cannot be looked into "
            f"({type(error).__name__}); if you trust the file, say trusted = true."
        ) from None
    _check_partials(visitor.partials, where)
    owned: set[int] = set()
    for owner in visitor.owners:
        owned |= _owned(owner, where)
    for tree in [*visitor.trees, *visitor.predictors]:
        if id(tree) not in owned:
            raise ModelError(
                f"{where}: holds a decision tree outside of any estimator that is known here; "
                "if you trust the file, say trusted = true."
            )
    problem = next(filter(None, map(_problem, visitor.trees)), "")
    if not problem:
        # This asks the owner's own code, so every node must be sound by then.
        problem = next(filter(None, map(_owner_problem, visitor.owners)), "")
    if problem:
        raise ModelError(f"{where}: a decision tree {problem}; the file is damaged or forged.")
    return len(visitor.trees) + len(visitor.predictors)


def _kind(owner: Any) -> str:
    kind = type(owner)
    return kind.__name__ if kind.__module__.startswith("sklearn.") else ""


def _owned(owner: Any, where: str) -> set[int]:
    """Return the ids of the trees that an estimator reads."""
    if hasattr(owner, "_predictors"):
        members = [tree for stage in owner._predictors for tree in stage]
        known = _kind(owner) in _HISTOGRAM
        trees = members
    else:
        parts = np.asarray(getattr(owner, "estimators_", []), dtype=object).ravel()
        members = [part for part in parts if hasattr(part, "tree_")]
        known = _kind(owner) in _OWNERS | _BOOSTED
        trees = [part.tree_ for part in ([owner] if hasattr(owner, "tree_") else members)]
    if not known and (members or hasattr(owner, "tree_")):
        raise ModelError(
            f"{where}: holds decision trees in a {type(owner).__name__}, which are not checked; "
            "if you trust the file, say trusted = true."
        )
    for tree in trees:
        if hasattr(tree, "n_features") and tree.n_features != owner.n_features_in_:
            raise ModelError(
                f"{where}: a tree for {tree.n_features} features stands in a "
                f"{type(owner).__name__} for {owner.n_features_in_}; the file is damaged or "
                "forged."
            )
    return {id(tree) for tree in trees}


def _check_partials(partials: list[Any], where: str) -> None:
    from sklearn.utils.validation import check_array

    for partial in partials:
        if partial.func is not check_array:
            raise ModelError(
                f"{where}: holds a partial function that is not scikit-learn's own check; if you "
                "trust the file, say trusted = true."
            )


def _owner_problem(owner: Any) -> str:
    """Return what is wrong between an estimator and its trees, or nothing."""
    try:
        if _kind(owner) in _HISTOGRAM:
            return histogram_problem(owner)
        if _kind(owner) in _BOOSTED:
            return _boosting_problem(owner)
    except (AttributeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        return f"is in a {type(owner).__name__} of an unknown form ({type(error).__name__})"
    return ""


def _boosting_problem(model: Any) -> str:
    stages = model.estimators_
    if not isinstance(stages, np.ndarray) or stages.ndim != 2 or not stages.size:
        return "is not in the stages of its model"
    # The sums are written without a look at their length.
    row = np.zeros((1, model.n_features_in_), dtype=np.float32)
    start = np.asarray(model._raw_predict_init(row))
    if start.shape != (1, stages.shape[1]):
        return f"is one of {stages.shape[1]} a stage, where the model adds to {start.shape[-1]}"
    shapes = {tuple(member.tree_.value.shape[1:]) for member in stages.ravel()}
    return "" if shapes == {(1, 1)} else "has several values in a leaf where one is read"


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
    number = leaf | ~np.isnan(np.asarray(tree.threshold))
    if not number.all():
        return f"has a threshold at node {int(np.argmin(number))} that is not a number"
    return ""
