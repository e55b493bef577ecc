"""The arrays of scikit-learn's histogram gradient boosting, with its categorical splits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Tree, TreeEnsemble
from robreport_plugins.loaders.tree_columns import TreeColumn
from robreport_plugins.loaders.verified_trees import NoTrees

Array = npt.NDArray[Any]

_VALUES = {"squared_error": "identity", "absolute_error": "identity", "quantile": "identity",
           "poisson": "exp", "gamma": "exp"}  # fmt: skip


def histogram_ensemble(model: Any) -> TreeEnsemble:
    """Return the trees over the columns that the model was fitted on.

    The model moves categorical columns to the front and numbers their categories; here they
    stand where the data has them, with the data's own values.

    Raises
    ------
    NoTrees
        A loss or categories that are not known here.
    """
    width = int(model.n_trees_per_iteration_)
    column, known = _columns(model)
    classifies = hasattr(model, "classes_")
    if classifies:
        link: Any = "sigmoid" if width == 1 else "softmax"
    else:
        link = _VALUES.get(model.loss)
    if link is None or (classifies and model.loss != "log_loss"):
        raise NoTrees(f"its loss {model.loss!r} is not known here")
    return TreeEnsemble(
        trees=tuple(
            _tree(predictor, column, known, output)
            for stage in model._predictors
            for output, predictor in enumerate(stage)
        ),
        n_features=int(model.n_features_in_),
        n_outputs=width,
        base=np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1),
        link=link,
        takes_missing=True,
        known_categories=known,
    )


def binned(model: Any, columns: Sequence[TreeColumn]) -> list[TreeColumn]:
    """Return the columns with words as the numbers that the model's own encoder gives them."""
    found = list(columns)
    for j, kept in _fitted(model).items():
        column = found[j]
        if _are_numbers(kept) or column.made is None:
            continue
        number = {word: float(place) for place, word in enumerate(_there(kept))}
        made = [number.get(word, math.nan) for word in column.made.tolist()]
        found[j] = replace(column, made=np.array(made))
    return found


def _columns(model: Any) -> tuple[Array, dict[int, Array]]:
    """Return the fitted column of each feature of the nodes, and the values of categories.

    Words are numbered as the model's encoder has them.
    """
    count = int(model.n_features_in_)
    fitted = _fitted(model)
    numbers = [j for j in range(count) if j not in fitted]
    column = np.array([*fitted, *numbers], dtype=np.int64)
    known = {
        j: np.array(_there(kept) if _are_numbers(kept) else range(len(_there(kept))), dtype=float)
        for j, kept in fitted.items()
    }
    return column, known


def _fitted(model: Any) -> dict[int, Array]:
    """Return the categories of each fitted column that has any, in the columns' order."""
    encoder = getattr(model, "_preprocessor", None)
    if encoder is None:
        if getattr(model, "is_categorical_", None) is not None:
            raise NoTrees("its categories are kept in the manner of an older scikit-learn")
        return {}
    places = np.flatnonzero(np.asarray(model.is_categorical_, dtype=bool)).tolist()
    values = encoder.named_transformers_["encoder"].categories_
    return {j: np.asarray(kept) for j, kept in zip(places, values, strict=True)}


def _are_numbers(kept: Array) -> bool:
    return kept.dtype.kind in "iufb"


def _there(kept: Array) -> list[Any]:
    """Return the categories without the missing one."""
    return [value for value in kept.tolist() if value is not None and value == value]


def _tree(predictor: Any, column: Array, known: dict[int, Array], output: int) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    feature = np.where(leaf, -1, column[np.where(leaf, 0, nodes["feature_idx"])])
    bits = np.asarray(predictor.raw_left_cat_bitsets, dtype="<u4")
    categories = {}
    for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf):
        row = bits[nodes["bitset_idx"][node]].view(np.uint8)
        codes = np.flatnonzero(np.unpackbits(row, bitorder="little"))
        values = known[int(feature[node])]
        categories[int(node)] = values[codes[codes < len(values)]]
    return Tree(
        feature=feature,
        threshold=np.asarray(nodes["num_threshold"]),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=np.asarray(nodes["value"])[:, None],
        categories=categories,
        output=output,
    )
