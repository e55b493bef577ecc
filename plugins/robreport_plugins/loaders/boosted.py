"""Models of the boosting libraries behind one face: raw scores, a link, classes, trees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import (
    DataSchema,
    ModelError,
    ModelHandle,
    ModelSource,
    Needs,
    NotOffered,
    TreeEnsemble,
)
from robreport_plugins.loaders.boosted_categories import Categories, check_categories
from robreport_plugins.loaders.class_labels import match_labels
from robreport_plugins.loaders.tree_space import in_data_classes, in_data_order
from robreport_plugins.loaders.verified_trees import NoTrees, verified_trees
from robreport_plugins.loaders.wording import did_you_mean, listed

Array = npt.NDArray[Any]

_ROWS = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Boosted:
    """What a library's file gives, over its own features and classes.

    Attributes
    ----------
    library : str
        As a reviewer reads it: "XGBoost 3.2.0".
    raw : callable
        Raw scores ``(n, groups)`` float64 of rows ``(n, n_features)``.
    link : "identity", "sigmoid" or "softmax"
    link_scale : float
    groups, n_features : int
    names : tuple of str
        The features that it was trained on; empty where it knows none.
    categories : mapping of int to tuple of str
        The names of features' categories in the order of their codes, where the file has them.
    trees : callable
        The ensemble; raises `NoTrees` with the reason.
    refit : callable or None
        ``refit(x, y, seed)`` trains on its own features and class numbers and returns another.
    facts : mapping
    """

    library: str
    raw: Callable[[Array], Array]
    link: Any
    link_scale: float
    groups: int
    n_features: int
    names: tuple[str, ...]
    categories: Categories
    trees: Callable[[], TreeEnsemble]
    refit: Callable[[Array, Array, int], Boosted] | None
    facts: dict[str, str | int | float]


class BoostedHandle(ModelHandle):
    """A boosting library's model: its own raw scores, the link computed in float64."""

    input_shape: tuple[int, ...]

    def __init__(self, model: Boosted, place: Place) -> None:
        super().__init__()
        self._model, self._place = model, place
        self.name = place.name
        self.input_shape = place.input_shape
        self.n_outputs = 1 if place.regression else place.classes
        self.facts = dict(model.facts)
        self._trees: TreeEnsemble | None = None
        if place.regression:
            self.offers = Needs.REGRESSION
        else:
            self.offers = Needs.CLASSIFICATION | Needs.PROBABILITIES
            if len(place.index) == place.classes:
                self.offers |= Needs.LOGITS
        if model.refit is not None:
            self.offers |= Needs.REFIT
        self._add_trees()
        self.kind = model.library

    def _add_trees(self) -> None:
        place = self._place
        try:
            ensemble = in_data_order(self._model.trees(), place.order)
            if not place.regression:
                ensemble = in_data_classes(ensemble, place.index, place.classes)
            # Labels that are turned around negate the scores of two classes: exactly.
            turned = ensemble.link == "sigmoid" and place.index[0] == 1
            sign = -1.0 if turned else 1.0
            columns = np.argsort(place.index) if ensemble.n_outputs > 1 else slice(None)
            self._trees = verified_trees(
                ensemble, lambda x: sign * self._scores(x)[:, columns], ensemble.predict_raw
            )
        except NoTrees as reason:
            self.facts = {**self.facts, "trees": f"not offered as arrays ({reason})"}
            return
        self.offers |= Needs.TREES
        words = f"{len(ensemble.trees):,} as arrays, {ensemble.n_nodes:,} nodes"
        self.facts = {**self.facts, "trees": words}

    def predict(self, x: Array) -> Array:
        """Return class indices ``(n,)`` int64 into the data's classes, or values, float64.

        Raises
        ------
        ModelError
            The library refuses the inputs, or returns NaN.
        """
        scores = self._scores(x)
        if self._place.regression:
            return scores[:, 0]
        best = scores[:, 0] > 0 if self._model.link == "sigmoid" else scores.argmax(axis=1)
        return self._place.index[best.astype(np.int64)]

    def logits(self, x: Array) -> Array:
        """Return scores ``(n, k)`` float64, whose softmax are the probabilities."""
        if Needs.LOGITS not in self.offers:
            raise NotOffered(f"{self.name}: logits")
        found = self._scores(x) * self._model.link_scale
        if self._model.link == "sigmoid":
            found = np.concatenate([np.zeros_like(found), found], axis=1)
        logits = np.empty((len(found), self.n_outputs))
        logits[:, self._place.index] = found
        return logits

    def predict_proba(self, x: Array) -> Array:
        """Return class probabilities ``(n, k)`` float64; 0 for a class that it does not know."""
        if self._place.regression:
            raise NotOffered(f"{self.name}: predict_proba")
        found = self._scores(x) * self._model.link_scale
        if self._model.link == "sigmoid":
            found = np.concatenate([np.zeros_like(found), found], axis=1)
        raised = np.exp(found - found.max(axis=1, keepdims=True))
        chances = np.zeros((len(found), self.n_outputs))
        chances[:, self._place.index] = raised / raised.sum(axis=1, keepdims=True)
        return chances

    def trees(self) -> TreeEnsemble:
        """Return the trees as arrays over flattened data space.

        Raises
        ------
        NotOffered
            There are none, or the arrays would not predict as the library does (see the facts).
        """
        if self._trees is None:
            raise NotOffered(f"{self.name}: trees")
        return self._trees

    def refit(self, x: Array, y: Array, seed: int) -> BoostedHandle:
        """Return a model trained on ``(x, y)`` with the settings that the file keeps.

        Raises
        ------
        ModelError
            A class that the model does not know, or data that the library refuses.
        NotOffered
            The file does not keep its settings.
        """
        place, train = self._place, self._model.refit
        if train is None:
            raise NotOffered(f"{self.name}: refit")
        y = np.asarray(y)
        if not place.regression:
            code_of = np.full(place.classes, -1, dtype=np.int64)
            code_of[place.index] = np.arange(len(place.index))
            known = (y >= 0) & (y < place.classes)
            if not known.all() or (code_of[y] < 0).any():
                raise ModelError(
                    f"{place.where}: cannot be trained again on classes that it does not know."
                )
            y = code_of[y]
        again = BoostedHandle(train(self._flat(x), y, seed), place)
        again.facts = {**again.facts, "trained again with seed": int(seed)}
        return again

    def _flat(self, x: Array) -> Array:
        """Return rows as the model was trained on them: flat, float64, in its own order."""
        place = self._place
        x = np.asarray(x)
        if tuple(x.shape[1:]) != place.input_shape and x.shape[1:] != (place.width,):
            raise ModelError(
                f"{place.where}: takes inputs of shape {place.input_shape}, and was given "
                f"{tuple(x.shape[1:])}."
            )
        flat = np.array(x, dtype=np.float64, order="C").reshape(len(x), place.width)
        return flat if place.order is None else np.ascontiguousarray(flat[:, place.order])

    def _scores(self, x: Array) -> Array:
        flat = self._flat(x)
        parts = [self._model.raw(flat[i : i + _ROWS]) for i in range(0, len(flat), _ROWS)]
        scores = np.concatenate(parts) if parts else np.zeros((0, self._model.groups))
        bad = int((~np.isfinite(scores).all(axis=1)).sum())
        if bad:
            raise ModelError(
                f"{self._place.where}: gives NaN or infinite scores on {bad:,} of "
                f"{len(scores):,} inputs."
            )
        return scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a model stands among the data: its columns and classes."""

    name: str
    where: str
    regression: bool
    input_shape: tuple[int, ...]
    order: Array | None
    index: Array
    classes: int

    @property
    def width(self) -> int:
        """Length of a flattened input."""
        return int(np.prod(self.input_shape))


def placed(model: Boosted, source: ModelSource, where: str) -> Place:
    """Return how the data's columns and classes map to the model's.

    Raises
    ------
    ModelError
        Another task, another number of features or classes, or features of other names.
    """
    schema, regression = source.schema, model.link == "identity"
    if schema is not None and regression != (schema.task == "regression"):
        raise ModelError(
            f"{where}: its objective makes it a {'regressor' if regression else 'classifier'}, "
            f"which does not suit a {schema.task} audit."
        )
    shape = tuple(schema.input_shape) if schema is not None else (model.n_features,)
    if int(np.prod(shape)) != model.n_features:
        raise ModelError(
            f"{where}: was trained on {model.n_features} features, and the data has "
            f"{int(np.prod(shape))} (inputs of shape {shape}); audit it on data of the same "
            "columns."
        )
    index, classes = np.zeros(0, dtype=np.int64), 0
    if not regression:
        count = 2 if model.link == "sigmoid" else model.groups
        labels = list(source.options.classes) or list(range(count))
        if len(labels) != count:
            raise ModelError(
                f"{where}: has {count} classes, and classes lists {len(labels)}; name each one."
            )
        names = schema.classes if schema is not None else ()
        if names and count > len(names):
            raise ModelError(
                f"{where}: has {count} classes, and the data has {len(names)} "
                f"({listed(map(repr, names))}); audit it on data with its own classes."
            )
        reading: Any = "auto" if source.options.classes else "codes"
        index, classes = match_labels(labels, names, reading, where), len(names) or count
    order = _order(model.names, schema, where)
    check_categories(model.categories, model.n_features, order, schema, where)
    return Place(
        name=source.name,
        where=where,
        regression=regression,
        input_shape=shape,
        order=order,
        index=index,
        classes=classes,
    )


def _order(names: tuple[str, ...], schema: DataSchema | None, where: str) -> Array | None:
    """Return the data's column of each feature; None when they stand in the same order."""
    # LightGBM writes a blank as an underscore.
    features = [name.replace(" ", "_") for name in schema.features] if schema else []
    wanted = [name.replace(" ", "_") for name in names]
    if not wanted or not features or wanted == features:
        return None
    if len(set(wanted)) != len(wanted) or len(set(features)) != len(features):
        raise ModelError(f"{where}: has features of the same name, so columns cannot be matched.")
    missing = [name for name in wanted if name not in features]
    if missing:
        raise ModelError(
            f"{where}: was trained on columns that the data lacks ({listed(map(repr, missing))})."
            f"{did_you_mean(missing[0], features)}"
        )
    return np.array([features.index(name) for name in wanted], dtype=np.int64)
