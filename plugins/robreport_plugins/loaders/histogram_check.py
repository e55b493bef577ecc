"""Check the trees of scikit-learn's histogram gradient boosting from an untrusted file."""

from __future__ import annotations

from typing import Any

import numpy as np

from robreport_plugins.loaders.fitted_categories import fitted_categories


def histogram_problem(model: Any) -> str:
    """Return what is wrong with a histogram model's trees, or nothing.

    The compiled code follows the numbers of children, features and sets of categories without a
    look whether they exist, and reads as many columns as the model's own preparation gives it.
    """
    features = int(model.n_features_in_)
    prepared = model._preprocess_X(_row(model, features), reset=False)
    if np.shape(prepared) != (1, features):
        return f"is for {features} features, and its model prepares {np.shape(prepared)[-1]}"
    categorical = np.asarray(model._bin_mapper.is_categorical_)
    if categorical.shape != (features,):
        return "is in a model whose list of categorical features has another length"
    if not model._predictors:
        return "is missing: the model has no stages"
    for stage in model._predictors:
        if len(stage) != int(model.n_trees_per_iteration_):
            return f"is one of {len(stage)} a stage, for {model.n_trees_per_iteration_} outputs"
        for predictor in stage:
            problem = _problem(predictor, categorical.astype(bool))
            if problem:
                return problem
    return ""


def _row(model: Any, features: int) -> Any:
    """Return one row of zeros, with a word that it knows where the model encodes words."""
    row = np.zeros((1, features))
    words = {
        column: next(value for value in values.tolist() if isinstance(value, str))
        for column, values in fitted_categories(model, features).items()
        if any(isinstance(value, str) for value in values.tolist())
    }
    if words:
        row = row.astype(object)
        for column, word in words.items():
            row[0, column] = word
    return row


def _problem(predictor: Any, categorical: Any) -> str:
    nodes, bits = predictor.nodes, predictor.raw_left_cat_bitsets
    count = len(nodes)
    if not isinstance(nodes, np.ndarray) or nodes.ndim != 1 or not count:
        return "has no list of nodes"
    if not isinstance(bits, np.ndarray) or bits.ndim != 2 or bits.shape[1] != 8:
        return "has sets of categories of another size"
    leaf = nodes["is_leaf"] != 0
    left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
    own = np.arange(count)
    sound = leaf | ((left > own) & (left < count) & (right > own) & (right < count))
    if not sound.all():
        return f"has a node {int(np.argmin(sound))} whose children do not exist or lead back"
    feature = nodes["feature_idx"]
    exists = leaf | ((feature >= 0) & (feature < len(categorical)))
    if not exists.all():
        return f"asks at node {int(np.argmin(exists))} for a feature that does not exist"
    sets = ~leaf & (nodes["is_categorical"] != 0)
    named = ~sets | ((nodes["bitset_idx"] < len(bits)) & categorical[np.where(sets, feature, 0)])
    if not named.all():
        return f"asks at node {int(np.argmin(named))} for categories that do not exist"
    number = leaf | sets | ~np.isnan(nodes["num_threshold"])
    if not number.all():
        return f"has a threshold at node {int(np.argmin(number))} that is not a number"
    return ""
