"""Read and check an XGBoost model file before the library sees it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import ModelError, Tree
from robreport_plugins.loaders.boosted_categories import Categories, category_words
from robreport_plugins.loaders.bounded import read_all
from robreport_plugins.loaders.regular_file import beginning
from robreport_plugins.loaders.ubjson import read_ubjson
from robreport_plugins.loaders.wording import one_line

Array = npt.NDArray[Any]

LARGEST = 512 * 2**20
_DEEPEST = 10_000
_MOST_FEATURES = 1 << 24
_MOST_CLASSES = 1 << 16
# The smallest numbers a C++ float counts as a category, and the largest.
_LARGEST_CATEGORY = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class XgboostFile:
    """What a model file says, checked.

    Attributes
    ----------
    data : bytes
        The file's content, to be given to the library.
    booster : "gbtree", "dart" or "gblinear"
    objective : str
    base_score : array (groups,) float32
    groups : int
        Scores of a row.
    n_features : int
    names, types : tuple of str
        Of the features; empty where the file has none.
    categories : mapping of int to tuple of str
        The names of features' categories in the order of their codes, where a data frame had them.
    trees : tuple of Tree
        All of them, with the dropout's weights multiplied in; empty for gblinear.
    ends : tuple of int
        How many trees there are after each round.
    best : int or None
        The best round, where training stopped early.
    wrapped : bool
        Whether scikit-learn's wrapper saved it.
    version : str
    """

    data: bytes
    booster: str
    objective: str
    base_score: Array
    groups: int
    n_features: int
    names: tuple[str, ...]
    types: tuple[str, ...]
    categories: Categories
    trees: tuple[Tree, ...]
    ends: tuple[int, ...]
    best: int | None
    wrapped: bool
    version: str


class _Faulty(ValueError):
    """What is wrong with the document, as the clause of a sentence."""


def read_xgboost(path: Path, where: str) -> XgboostFile:
    """Return what the file holds, every tree's nodes checked.

    Raises
    ------
    ModelError
        It is neither JSON nor UBJSON of XGBoost, damaged, or describes trees that cannot be.
    """
    head, size = beginning(path, where, ModelError)
    if size > LARGEST:
        raise ModelError(f"{where}: has {size:,} bytes, and {LARGEST:,} are the most.")
    with path.open("rb") as stream:
        data = bytes(read_all(stream, where, LARGEST))
    if not head.lstrip().startswith(b"{"):
        raise ModelError(
            f"{where}: is no XGBoost model in JSON or UBJSON; save it with "
            "save_model('model.json') or save_model('model.ubj')."
        )
    try:
        document = _json(data) if head.lstrip()[1:].lstrip()[:1] in (b'"', b"}") else None
        document = read_ubjson(data) if document is None else document
    except (ValueError, RecursionError, MemoryError) as error:
        raise ModelError(
            f"{where}: is a damaged or truncated XGBoost model ({one_line(error)}); save it again."
        ) from None
    try:
        return _checked(document, data)
    except _Faulty as fault:
        raise ModelError(f"{where}: {fault}.") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise ModelError(
            f"{where}: is no XGBoost model that is known here ({one_line(error)}); save it again "
            "with XGBoost 2 or later."
        ) from None


def _json(data: bytes) -> Any:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        kept = dict(found)
        if len(kept) != len(found):
            raise ValueError("it repeats a key")
        return kept

    # XGBoost 2 writes NaN for the threshold of a categorical node; elsewhere it is refused below.
    return json.loads(data, object_pairs_hook=pairs)


def _checked(document: Any, data: bytes) -> XgboostFile:
    learner = document["learner"]
    parameters, booster = learner["learner_model_param"], learner["gradient_booster"]
    kind = booster["name"]
    if kind not in ("gbtree", "dart", "gblinear"):
        raise _Faulty(f"has a booster {kind!r}, which is none of gbtree, dart and gblinear")
    features = _whole(parameters["num_feature"], 1, _MOST_FEATURES, "features")
    groups = max(1, _whole(parameters["num_class"], 0, _MOST_CLASSES, "classes"))
    if _whole(parameters.get("num_target", 1), 0, _MOST_CLASSES, "targets") > 1:
        raise _Faulty("has several targets, and one is needed")
    names, types = (_texts(learner.get(key, []), features, key) for key in
                    ("feature_names", "feature_types"))  # fmt: skip
    trees: tuple[Tree, ...] = ()
    ends: tuple[int, ...] = ()
    categories: Categories = {}
    if kind == "gblinear":
        weights = np.asarray(booster["model"]["weights"], dtype=np.float64)
        if weights.shape != ((features + 1) * groups,) or not np.isfinite(weights).all():
            raise _Faulty(f"has {weights.size} weights for {features} features")
    else:
        model = booster["gbtree"]["model"] if kind == "dart" else booster["model"]
        weight = booster["weight_drop"] if kind == "dart" else None
        trees = _trees(model, features, groups, weight)
        ends = _ends(model, len(trees), groups)
        categories = _names_of_categories(model.get("cats") or {}, features)
    attributes = learner.get("attributes", {})
    best = attributes.get("best_iteration")
    return XgboostFile(
        data=data,
        booster=kind,
        objective=str(learner["objective"]["name"]),
        base_score=_base_score(parameters["base_score"], groups),
        groups=groups,
        n_features=features,
        names=names,
        types=types,
        categories=categories,
        trees=trees,
        ends=ends,
        best=None if best is None else _whole(best, 0, max(len(ends) - 1, 0), "rounds"),
        wrapped="scikit_learn" in attributes,
        version=".".join(str(int(part)) for part in document["version"]),
    )


def _names_of_categories(found: Any, features: int) -> Categories:
    """Return the categories that a data frame had: numbers, or texts as bytes one after another."""
    encoded = found.get("enc") or []
    if len(encoded) not in (0, features):
        raise _Faulty(f"names the categories of {len(encoded)} features, of {features}")
    named = {}
    for feature, item in enumerate(encoded):
        values = _numbers(item["values"], np.int64, "categories' names")
        if "offsets" not in item:
            named[feature] = category_words(values.tolist())
            continue
        ends = _numbers(item["offsets"], np.int64, "categories' names")
        if not len(ends):
            continue
        if ends[0] != 0 or ends[-1] > len(values) or (np.diff(ends) < 0).any():
            raise _Faulty("names categories out of range")
        raw = values.astype(np.int8).tobytes()
        try:
            named[feature] = tuple(raw[a:b].decode("utf-8") for a, b in pairwise(ends.tolist()))
        except UnicodeDecodeError:
            continue  # XGBoost counts characters and writes bytes: such names are cut
    return named


def _whole(word: Any, least: int, most: int, what: str) -> int:
    number = int(word)
    if not least <= number <= most:
        raise _Faulty(f"says {number:,} for its number of {what}")
    return number


def _texts(found: Any, count: int, what: str) -> tuple[str, ...]:
    texts = tuple(str(word) for word in found)
    if texts and len(texts) != count:
        raise _Faulty(f"has {len(texts)} {what} for {count} features")
    return texts


def _base_score(word: Any, groups: int) -> Array:
    """Return one number a group: a text "5E-1", or since XGBoost 3.1 "[1E-1,2E-1]"."""
    values = [float(part) for part in str(word).strip().strip("[]").split(",")]
    if len(values) not in (1, groups) or not all(map(math.isfinite, values)):
        raise _Faulty(f"has the base score {str(word)[:40]!r} for {groups} outputs")
    return np.resize(np.array(values, dtype=np.float32), groups)


def _ends(model: Any, count: int, groups: int) -> tuple[int, ...]:
    parallel = _whole(model["gbtree_model_param"].get("num_parallel_tree", 1), 0, count, "trees")
    step = max(1, parallel) * groups
    starts = model.get("iteration_indptr") or list(range(0, count + 1, step))
    found = _numbers(starts, np.int64, "iteration_indptr")
    if not len(found) or found[0] != 0 or found[-1] != count or (np.diff(found) < 0).any():
        raise _Faulty("says otherwise how many trees it has in its rounds")
    return tuple(found[1:].tolist())


def _trees(model: Any, features: int, groups: int, weight: Any) -> tuple[Tree, ...]:
    listed, output = model["trees"], _numbers(model["tree_info"], np.int64, "tree_info")
    count = _whole(model["gbtree_model_param"]["num_trees"], 0, 1 << 24, "trees")
    if not isinstance(listed, list) or not len(listed) == len(output) == count:
        raise _Faulty(f"says that it has {count} trees, and holds {len(listed)}")
    if not count:
        raise _Faulty("has no trees, so there is nothing to audit; train it first")
    if ((output < 0) | (output >= groups)).any():
        raise _Faulty("has a tree for an output that does not exist")
    weights = np.ones(count) if weight is None else _numbers(weight, np.float64, "weight_drop")
    if weights.shape != (count,) or not np.isfinite(weights).all():
        raise _Faulty("has other than one weight a tree")
    trees = []
    for number, found in enumerate(listed):
        if int(found["tree_param"].get("size_leaf_vector", 1)) > 1:
            raise _Faulty(
                "has leaves of several values at once, which are not audited; train it with "
                "multi_strategy = 'one_output_per_tree'"
            )
        try:
            tree = _tree(found, features, int(output[number]), float(weights[number]))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            what = error if isinstance(error, ValueError) else f"lacks {one_line(error)}"
            raise _Faulty(
                f"has a tree {number} that {what}; the file is damaged or forged"
            ) from None
        trees.append(tree)
    return tuple(trees)


def _tree(found: Any, features: int, output: int, weight: float) -> Tree:
    param = found["tree_param"]
    left, right = (_numbers(found[key], np.int64, key) for key in
                   ("left_children", "right_children"))  # fmt: skip
    count = len(left)
    if int(param["num_nodes"]) != count or int(param.get("num_feature", features)) != features:
        raise ValueError("says otherwise how many nodes or features it has")
    columns = {key: _numbers(found[key], kind, key) for key, kind in (
        ("split_indices", np.int64), ("split_conditions", np.float64), ("default_left", np.int64),
        ("parents", np.int64), ("base_weights", np.float64), ("loss_changes", np.float64),
        ("sum_hessian", np.float64))}  # fmt: skip
    kinds = _numbers(found.get("split_type", [0] * count), np.int64, "split_type")
    if any(len(column) != count for column in [right, kinds, *columns.values()]):
        raise ValueError("has lists of different lengths")
    leaf = left == -1
    feature = np.where(leaf, -1, columns["split_indices"])
    if (feature >= features).any() or (feature[~leaf] < 0).any():
        raise ValueError("asks for a feature that does not exist")
    categories = _categories(found, count, kinds)
    condition = columns["split_conditions"].astype(np.float32)
    kept = {node: chosen for node, chosen in categories.items() if not leaf[node]}
    # XGBoost sends the chosen categories to the right, a `Tree` to the left.
    swap = np.isin(np.arange(count), list(kept))
    default_left = columns["default_left"] != 0
    tree = Tree(
        feature=feature,
        threshold=np.where(leaf | swap, 0.0, condition),
        left=np.where(swap, right, left),
        right=np.where(swap, left, right),
        missing_left=default_left ^ swap,
        value=np.where(leaf, condition * np.float32(weight), 0.0)[:, None],
        categories=kept,
        output=output,
    )
    if tree.depth > _DEEPEST:
        raise ValueError(f"is deeper than {_DEEPEST:,} nodes")
    return tree


def _categories(found: Any, count: int, kinds: Array) -> dict[int, Array]:
    """Return the categories at each categorical node."""
    keys = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
    values, nodes, starts, sizes = (_numbers(found.get(key, []), np.int64, key) for key in keys)
    if not len(nodes) == len(starts) == len(sizes) == len(set(nodes.tolist())):
        raise ValueError("has lists of categories of different lengths")
    ends = starts + sizes
    if ((starts < 0) | (sizes < 1) | (ends > len(values)) | (nodes < 0) | (nodes >= count)).any():
        raise ValueError("has categories out of range")
    if ((values < 0) | (values >= _LARGEST_CATEGORY)).any():
        raise ValueError("has a category out of range")
    if set(nodes.tolist()) != set(np.flatnonzero(kinds == 1).tolist()) or (kinds > 1).any():
        raise ValueError("says otherwise which of its nodes are categorical")
    spans = zip(nodes.tolist(), starts.tolist(), ends.tolist(), strict=True)
    return {node: values[start:end].astype(np.float64) for node, start, end in spans}


def _numbers(found: Any, kind: Any, what: str) -> Array:
    """Return a list of plain numbers; whole ones where they must be."""
    array = np.asarray(found) if len(found) else np.zeros(0, dtype=kind)
    allowed = "iub" if kind is np.int64 else "iuf"
    if array.ndim != 1 or array.dtype.kind not in allowed:
        raise ValueError(f"has a {what} that is no list of numbers")
    return array.astype(kind)
