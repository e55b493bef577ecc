"""A loaded scikit-learn estimator as a `ModelHandle`."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from robreport import ModelError, ModelHandle, Needs, NotOffered, TreeEnsemble
from robreport_plugins.loaders.frame_input import FrameInput
from robreport_plugins.loaders.scikit_trees import is_tree_model, scikit_ensemble, use_one_thread
from robreport_plugins.loaders.tree_space import in_data_classes
from robreport_plugins.loaders.twins import Columns, NoTwin
from robreport_plugins.loaders.verified_trees import NoTrees, verified_trees
from robreport_plugins.loaders.verified_twin import verified_twin
from robreport_plugins.loaders.wording import one_line

Array = npt.NDArray[Any]

_ROWS = 16384
# What fitting and predicting raise on data that the estimator cannot take.
_REFUSALS = (ValueError, TypeError, AttributeError, ArithmeticError, LookupError, RuntimeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorSetup:
    """What stays the same when an estimator is fitted again.

    Attributes
    ----------
    name : str
    where : str
        How error sentences begin.
    device : str
    regression : bool
    input_shape : tuple of int
        Shape of one input in data space; estimators read it flattened.
    n_outputs : int
        Classes of the data, or 1.
    labels : array
        The audited estimator's own labels (``classes_``); empty for regression.
    index : array of int64
        The data's class of each of those labels.
    frame : FrameInput
        How rows of data space become what the estimator reads.
    """

    name: str
    where: str
    device: str
    regression: bool
    input_shape: tuple[int, ...]
    n_outputs: int
    labels: Array
    index: Array
    frame: FrameInput


class EstimatorHandle(ModelHandle):
    """A scikit-learn estimator or pipeline; gradients where it has an exact torch twin."""

    input_shape: tuple[int, ...]

    def __init__(self, setup: EstimatorSetup, estimator: Any) -> None:
        super().__init__()
        self._setup = setup
        self._estimator = estimator
        self.name = setup.name
        self.kind = f"scikit-learn {describe(estimator)}"
        self.input_shape = setup.input_shape
        self.n_outputs = setup.n_outputs
        # A fold of the data may lack a class, and the refitted estimator then does not know it.
        self._own_labels = setup.labels if setup.regression else np.asarray(estimator.classes_)
        self._own_index = setup.index[_positions(setup.labels, self._own_labels, setup.where)]
        self._module: nn.Sequential | None = None
        self._module_kind = ""
        self.offers = Needs.REGRESSION if setup.regression else Needs.CLASSIFICATION
        if hasattr(estimator, "get_params") and hasattr(estimator, "fit"):
            self.offers |= Needs.REFIT
        if not setup.regression and hasattr(estimator, "predict_proba"):
            self.offers |= Needs.PROBABILITIES
        self._trees: TreeEnsemble | None = None
        self._add_twin()
        if is_tree_model(estimator):
            use_one_thread(estimator)
            self._add_trees()

    def _add_twin(self) -> None:
        """Offer gradients, parameters and logits if there is an exact twin; else say why not."""
        setup = self._setup
        try:
            if not setup.regression and len(self._own_index) != setup.n_outputs:
                raise NoTwin("it was fitted on fewer classes than the data has")
            twin, kind = verified_twin(self._estimator, setup.frame)
        except NoTwin as reason:
            self.facts = {"gradients": f"none, since there is no exact torch twin ({reason})"}
            return
        parts: list[nn.Module] = [nn.Flatten(), *twin]
        if not setup.regression and (self._own_index != np.arange(setup.n_outputs)).any():
            parts.append(Columns(np.argsort(self._own_index)))
        self._module = nn.Sequential(*parts).to(setup.device).eval().requires_grad_(False)
        self._module_kind = kind
        count = sum(p.numel() for p in self._module.parameters())
        self.kind += f", {count:,} parameters"
        self.facts = {"gradients": "exact torch twin", "parameters": count}
        self.offers |= Needs.GRADIENTS | Needs.PARAMETERS
        if not setup.regression:
            self.offers |= Needs.LOGITS
            self.facts["logits"] = (
                "log-probabilities up to a constant"
                if kind == "log-probabilities"
                else "margins of the decision function; their softmax is no probability"
            )

    def _add_trees(self) -> None:
        """Offer the trees as arrays where these predict bit for bit alike; else say why not."""
        setup = self._setup
        try:
            ensemble = scikit_ensemble(self._estimator, setup.frame)
            if not setup.regression:
                ensemble = in_data_classes(ensemble, self._own_index, setup.n_outputs)
            self._trees = self._verified(ensemble)
        except NoTrees as reason:
            self.facts = {**self.facts, "trees": f"not offered as arrays ({reason})"}
            return
        self.offers |= Needs.TREES
        self.facts = {
            **self.facts,
            "trees": f"{len(ensemble.trees):,} as arrays, {ensemble.n_nodes:,} nodes",
        }

    def _verified(self, ensemble: TreeEnsemble) -> TreeEnsemble:
        """Return trees that answer alike; without missing values where only these are refused."""
        try:
            return verified_trees(ensemble, *self._answers(ensemble))
        except ModelError as error:
            if not ensemble.takes_missing:
                raise NoTrees(f"it refuses probe rows ({one_line(error)})") from None
            # in a sparse table, for one, trees refuse what they take in a dense one
            return self._verified(replace(ensemble, takes_missing=False))

    def _answers(
        self, ensemble: TreeEnsemble
    ) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
        """Return what the estimator answers and what its arrays do, before links round them."""
        shape = self._setup.input_shape

        def shaped(x: Array) -> Array:
            return x.reshape(len(x), *shape)

        if self._setup.regression:
            return lambda x: self.predict(shaped(x)), ensemble.predict
        if ensemble.link == "distribution":
            return lambda x: self.predict_proba(shaped(x)), ensemble.predict_proba

        def scores(x: Array) -> Array:
            found = self._call(self._estimator.decision_function, shaped(x))
            if found.ndim == 1:
                return found[:, None] if self._own_index[0] == 0 else -found[:, None]
            ordered = np.empty_like(found)
            ordered[:, self._own_index] = found
            return ordered

        return scores, ensemble.predict_raw

    def trees(self) -> TreeEnsemble:
        """Return the trees as arrays over flattened data space.

        Raises
        ------
        NotOffered
            It is no tree model, or its arrays would not predict as it does (see its facts).
        """
        if self._trees is None:
            raise NotOffered(f"{self.name}: trees")
        return self._trees

    def predict(self, x: Array) -> Array:
        """Return class indices ``(n,)`` int64 into the data's classes, or values, float64.

        Raises
        ------
        ModelError
            The estimator refuses the inputs, or returns NaN or a label that it does not know.
        """
        setup = self._setup
        found = self._call(self._estimator.predict, x)
        if setup.regression:
            values = _one_column(found, len(x), setup.where).astype(np.float64)
            _check_finite(values[:, None], setup.where)
            return values
        labels = _one_column(found, len(x), setup.where)
        return self._own_index[_positions(self._own_labels, labels, setup.where)]

    def predict_proba(self, x: Array) -> Array:
        """Return class probabilities ``(n, k)`` float64; 0 for a class it was not fitted on.

        Raises
        ------
        ModelError
            The estimator's rows are no probabilities.
        NotOffered
            The estimator has none.
        """
        setup = self._setup
        if Needs.PROBABILITIES not in self.offers:
            raise NotOffered(f"{self.name}: predict_proba")
        found = np.asarray(self._call(self._estimator.predict_proba, x), dtype=np.float64)
        if found.shape != (len(x), len(self._own_index)):
            raise ModelError(
                f"{setup.where}: predict_proba gives shape {found.shape} for {len(x)} inputs and "
                f"{len(self._own_index)} classes."
            )
        _check_finite(found, setup.where)
        if len(found) and (found.min() < 0 or np.abs(found.sum(axis=1) - 1).max() > 1e-4):
            raise ModelError(
                f"{setup.where}: predict_proba gives rows that are negative or do not sum to 1."
            )
        whole = np.zeros((len(x), setup.n_outputs))
        whole[:, self._own_index] = found
        return whole

    def logits(self, x: Array) -> Array:
        """Return the twin's scores ``(n, k)`` in float64."""
        if Needs.LOGITS not in self.offers or self._module is None:
            raise NotOffered(f"{self.name}: logits")
        module, device = self._module, self._setup.device

        def scores(rows: Array) -> Array:
            with torch.inference_mode():
                return module(torch.from_numpy(rows).to(device)).cpu().numpy()  # type: ignore[no-any-return]

        flat = self._flat(x)
        parts = [scores(flat[i : i + _ROWS]) for i in range(0, len(flat), _ROWS)]
        found = np.concatenate(parts) if parts else np.zeros((0, self.n_outputs))
        _check_finite(found, self._setup.where)
        return found

    def torch_module(self) -> nn.Module:
        """Return a copy of the exact twin: data space to logits, in the precision of its input."""
        if self._module is None:
            raise NotOffered(f"{self.name}: torch_module")
        return copy.deepcopy(self._module)

    def refit(self, x: Array, y: Array, seed: int) -> EstimatorHandle:
        """Return a clone with the same hyper-parameters fitted on ``(x, y)``.

        Every ``random_state``, nested ones included, is set to the seed. A model found by a
        search is refitted with the hyper-parameters found, without searching again.

        Raises
        ------
        ModelError
            The estimator cannot be cloned, or refuses the data.
        """
        from sklearn.base import clone
        from sklearn.exceptions import ConvergenceWarning

        setup = self._setup
        if Needs.REFIT not in self.offers:
            raise NotOffered(f"{self.name}: refit")
        try:
            fresh = clone(getattr(self._estimator, "best_estimator_", self._estimator))
            names = [
                name
                for name in fresh.get_params(deep=True)
                if name == "random_state" or name.endswith("__random_state")
            ]
            fresh.set_params(**dict.fromkeys(names, int(seed) % 2**32))
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                fresh.fit(self._table(self._flat(x)), self._targets(y))
        except _REFUSALS as error:
            raise ModelError(
                f"{setup.where}: cannot be fitted again on {len(x):,} rows ({one_line(error)})."
            ) from error
        again = EstimatorHandle(setup, fresh)
        again.facts = {**again.facts, "fitted again with seed": int(seed)}
        for warning in caught:
            if issubclass(warning.category, ConvergenceWarning):
                again.facts["fitting"] = "stopped before it converged"
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
        return again

    def _targets(self, y: Array) -> Array:
        """Return the targets as the estimator knows them: its own labels, or values."""
        setup = self._setup
        if setup.regression:
            return np.asarray(y, dtype=np.float64)
        label_of = np.full(setup.n_outputs, -1, dtype=np.int64)
        label_of[setup.index] = np.arange(len(setup.index))
        y = np.asarray(y)
        if len(y) and (y.min() < 0 or y.max() >= setup.n_outputs or (label_of[y] < 0).any()):
            raise ModelError(
                f"{setup.where}: cannot be fitted again on classes that it does not know."
            )
        return np.asarray(setup.labels[label_of[y]])

    def _flat(self, x: Array) -> Array:
        """Return inputs as float64 ``(n, d)`` in data-space order."""
        shape = self._setup.input_shape
        if tuple(x.shape[1:]) != shape:
            raise ModelError(
                f"{self._setup.where}: takes inputs of shape {shape}, and was given "
                f"{tuple(x.shape[1:])}."
            )
        return np.array(x, dtype=np.float64, order="C").reshape(len(x), int(np.prod(shape)))

    def _table(self, flat: Array) -> Any:
        """Return ``(n, d)`` as the estimator was fitted: its columns, in its order and words."""
        return self._setup.frame.table(flat)

    def _call(self, method: Callable[[Any], Any], x: Array) -> Array:
        """Return a method's answer for all rows, a part at a time (kernel machines need it)."""
        flat = self._flat(x)
        if not len(flat):
            return np.zeros((0, self.n_outputs)) if "proba" in method.__name__ else np.zeros(0)
        try:
            parts = [
                np.asarray(method(self._table(flat[i : i + _ROWS])))
                for i in range(0, len(flat), _ROWS)
            ]
            return np.concatenate(parts)
        except _REFUSALS as error:
            raise ModelError(
                f"{self._setup.where}: {method.__name__} fails with {one_line(error)}."
            ) from error


def describe(estimator: Any) -> str:
    """Return "Pipeline (StandardScaler, LogisticRegression)" for such a pipeline."""
    name = type(estimator).__name__
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list) and steps:
        return f"{name} ({', '.join(type(step).__name__ for _, step in steps)})"
    best = getattr(estimator, "best_estimator_", None)
    return name if best is None else f"{name} ({describe(best)})"


def _positions(known: Array, found: Array, where: str) -> Array:
    """Return where each found label stands among the known ones."""
    if not len(found):
        return np.zeros(0, dtype=np.int64)
    sorter = np.argsort(known, kind="stable")
    slot = np.searchsorted(known, found, sorter=sorter)
    position = sorter[np.minimum(slot, len(known) - 1)]
    if not (known[position] == found).all():
        raise ModelError(f"{where}: predicts labels that are not among its classes.")
    return position


def _one_column(found: Array, count: int, where: str) -> Array:
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.shape != (count,):
        raise ModelError(
            f"{where}: predict gives shape {found.shape} for {count} inputs; one target per "
            "input is needed."
        )
    return found


def _check_finite(found: Array, where: str) -> None:
    bad = int((~np.isfinite(found).all(axis=1)).sum())
    if bad:
        raise ModelError(
            f"{where}: gives NaN or infinite outputs on {bad:,} of {len(found):,} inputs; "
            "check the estimator and the scale of its inputs."
        )
