"""The arrays of scikit-learn's trees, forests and gradient boosting."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Tree, TreeEnsemble
from robreport_plugins.loaders.frame_input import FrameInput
from robreport_plugins.loaders.histogram_trees import binned, histogram_ensemble
from robreport_plugins.loaders.tree_columns import columns_behind
from robreport_plugins.loaders.tree_space import in_data_space
from robreport_plugins.loaders.verified_trees import NoTrees

Array = npt.NDArray[Any]

_SINGLE = {
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "ExtraTreeClassifier",
    "ExtraTreeRegressor",
}
_FORESTS = {
    "RandomForestClassifier",
    "RandomForestRegressor",
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
}
_BOOSTED = {"GradientBoostingClassifier", "GradientBoostingRegressor"}
_HISTOGRAM = {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"}


def is_tree_model(estimator: Any) -> bool:
    """Return whether an estimator, or the last step of a pipeline, predicts by trees."""
    return _name(_parts(estimator)[1]) in _SINGLE | _FORESTS | _BOOSTED | _HISTOGRAM


def scikit_ensemble(estimator: Any, frame: FrameInput) -> TreeEnsemble:
    """Return an estimator's trees over data space.

    In a pipeline, steps that make each column that the trees test of one column of the data are
    worked into the tests: scalings into thresholds, which stay exact, encoders into sets of
    categories, imputers into where missing values go.

    Parameters
    ----------
    estimator : fitted estimator
    frame : FrameInput
        How data space becomes its input.

    Raises
    ------
    NoTrees
        It is no tree model, or something before or within it is not known here.
    """
    steps, model = _parts(estimator)
    name = _name(model)
    try:
        if name in _SINGLE:
            ensemble = _forest(model, [model])
        elif name in _FORESTS:
            ensemble = _forest(model, list(model.estimators_))
        elif name in _BOOSTED:
            ensemble = _boosted(model)
        elif name in _HISTOGRAM:
            ensemble = histogram_ensemble(model)
        else:
            raise NoTrees(f"a {type(model).__name__} has none that are known here")
        columns = columns_behind(steps, frame)
        if name in _HISTOGRAM:
            columns = binned(model, columns)
        return in_data_space(ensemble, columns, frame.width)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise NoTrees(f"fitted attributes of another form ({type(error).__name__})") from None


def use_one_thread(estimator: Any) -> None:
    """Let a forest add up its trees in their order: threads would add them in any."""
    model = _parts(estimator)[1]
    if _name(model) in _FORESTS:
        model.n_jobs = None


def _parts(estimator: Any) -> tuple[list[Any], Any]:
    """Return the steps before the model that predicts, and that model."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    steps = getattr(estimator, "steps", None)
    if not isinstance(steps, list) or not steps:
        return [], estimator
    before, model = [step for _, step in steps[:-1]], steps[-1][1]
    inner, model = _parts(model)
    return before + inner, model


def _name(model: Any) -> str:
    kind = type(model)
    return kind.__name__ if kind.__module__.startswith("sklearn.") else ""


def _forest(model: Any, members: list[Any]) -> TreeEnsemble:
    classifies = hasattr(model, "classes_")
    width = len(model.classes_) if classifies else 1
    trees = []
    for member in members:
        value = np.asarray(member.tree_.value)
        if value.shape[1:] != (1, width):
            raise NoTrees("its leaves hold another number of outputs")
        trees.append(_tree(member.tree_, value[:, 0, :]))
    return TreeEnsemble(
        trees=tuple(trees),
        n_features=int(model.n_features_in_),
        n_outputs=width,
        base=np.zeros(width),
        link="distribution" if classifies else "identity",
        aggregation="mean",
        input_dtype="float32",
        takes_missing=_takes_missing(model),
    )


def _takes_missing(model: Any) -> bool:
    """Return whether the model predicts rows with NaN: it says so itself."""
    probe = np.full((1, int(model.n_features_in_)), np.nan, dtype=np.float32)
    try:
        with warnings.catch_warnings():
            # One fitted on named columns remarks that these have no names.
            warnings.simplefilter("ignore", UserWarning)
            model.predict(probe)
    except ValueError:
        return False
    return True


def _tree(tree: Any, value: Array, output: int | None = None) -> Tree:
    left = np.asarray(tree.children_left)
    absent = getattr(tree, "missing_go_to_left", None)
    return Tree(
        feature=np.where(left < 0, -1, tree.feature),
        threshold=tree.threshold,
        left=left,
        right=tree.children_right,
        missing_left=np.zeros(len(left), bool) if absent is None else np.asarray(absent) != 0,
        value=value,
        output=output,
    )


def _boosted(model: Any) -> TreeEnsemble:
    classifies = hasattr(model, "classes_")
    width = model.estimators_.shape[1]
    start = model.init_
    if not isinstance(start, str) and _name(start) not in ("DummyClassifier", "DummyRegressor"):
        raise NoTrees(f"it starts from the predictions of a {type(start).__name__}")
    base = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))[0]
    trees = [
        _tree(member.tree_, model.learning_rate * member.tree_.value[:, :, 0], output)
        for stage in model.estimators_
        for output, member in enumerate(stage)
    ]
    return TreeEnsemble(
        trees=tuple(trees),
        n_features=int(model.n_features_in_),
        n_outputs=width,
        base=base,
        link=("sigmoid" if width == 1 else "softmax") if classifies else "identity",
        link_scale=2.0 if classifies and model.loss == "exponential" else 1.0,
        # its class 1 is that of scores of 0 and above
        class_order=np.array([1, 0]) if classifies and width == 1 else None,
        input_dtype="float32",
    )
