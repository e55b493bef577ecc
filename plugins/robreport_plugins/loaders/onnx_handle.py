"""A loaded ONNX network as a `ModelHandle`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import nn

from robreport import ModelError, ModelHandle, Needs, NotOffered, Split
from robreport_plugins.loaders.data_space import Outputs
from robreport_plugins.loaders.onnx_input import NetworkInput
from robreport_plugins.loaders.onnx_session import Session
from robreport_plugins.loaders.wording import listed

if TYPE_CHECKING:
    from robreport_plugins.loaders.onnx_agreement import BothRuntimes

Array = npt.NDArray[Any]

ROUNDING = 1e-5
"""A forest of trees adds its shares up in float32: 1 minus their sum may be below 0 by less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxSetup:
    """What a network's values mean.

    Attributes
    ----------
    name, kind : str
    where : str
        How error sentences begin.
    input_shape : tuple of int
        Shape of one input in data space.
    n_outputs : int
        Classes, or 1 for a value.
    outputs : "logits", "probabilities" or "value"
        What the network's own output is.
    before : bool
        Whether the session's second value is what the last softmax or sigmoid reads.
    labels : tuple
        The labels that the network's label output gives, by column; empty without one.
    index : array of int64
        The data's class of each column of the scores.
    """

    name: str
    kind: str
    where: str
    input_shape: tuple[int, ...]
    n_outputs: int
    outputs: Outputs
    before: bool
    labels: tuple[Any, ...]
    index: Array


class OnnxHandle(ModelHandle):
    """An ONNX network: predictions by onnxruntime, gradients by a conversion that agrees."""

    input_shape: tuple[int, ...]

    def __init__(
        self,
        setup: OnnxSetup,
        entry: NetworkInput,
        session: Session,
        module: nn.Module | None,
        both: BothRuntimes | None = None,
    ) -> None:
        super().__init__()
        self._setup = setup
        self._entry = entry
        self._session = session
        self._module = module
        self._both = both
        self.name = setup.name
        self.kind = setup.kind
        self.input_shape = setup.input_shape
        self.n_outputs = setup.n_outputs
        if setup.outputs == "value":
            self.offers = Needs.REGRESSION
        else:
            self.offers = Needs.CLASSIFICATION | Needs.PROBABILITIES
            whole = len(setup.index) == setup.n_outputs
            if whole and (setup.before or setup.outputs == "logits"):
                self.offers |= Needs.LOGITS
        if module is not None:
            self.offers |= Needs.GRADIENTS
            if any(True for _ in module.parameters()):
                self.offers |= Needs.PARAMETERS

    def predict(self, x: Array) -> Array:
        """Return class indices ``(n,)`` int64, the lowest among equals; or values, float64.

        A network with an output of labels is taken at its word.

        Raises
        ------
        ModelError
            It gives NaN, or a label that it did not name.
        """
        setup = self._setup
        if setup.outputs == "value":
            return self._run(x)[0][:, 0]
        if setup.labels:
            return self._classes(self._run(x)[-1])
        values = self._run(x)
        scores = two_columns(values[1] if setup.before else values[0], self._scored)
        return np.asarray(setup.index[scores.argmax(axis=1)], dtype=np.int64)

    def predict_proba(self, x: Array) -> Array:
        """Return class probabilities ``(n, k)`` float64; 0 for a class that it does not know.

        They are the network's own divided by their sum, or the softmax of its scores.

        Raises
        ------
        ModelError
            Its probabilities are negative or do not sum to 1 within 0.001.
        NotOffered
            It predicts values.
        """
        setup = self._setup
        if setup.outputs == "value":
            raise NotOffered(f"{self.name}: predict_proba")
        scores = two_columns(self._run(x)[0], setup.outputs)
        if setup.outputs == "logits":
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        else:
            check_probabilities(scores, setup.where)
            scores = np.maximum(scores, 0)
        found = np.zeros((len(scores), setup.n_outputs))
        found[:, setup.index] = scores / scores.sum(axis=1, keepdims=True)
        return found

    def logits(self, x: Array) -> Array:
        """Return scores ``(n, k)`` float64: those before a last softmax where there is one."""
        if Needs.LOGITS not in self.offers:
            raise NotOffered(f"{self.name}: logits")
        values = self._run(x)
        scores = two_columns(values[1] if self._setup.before else values[0], "logits")
        return np.asarray(scores[:, np.argsort(self._setup.index)])

    def torch_module(self) -> nn.Module:
        """Return a copy of the conversion: data space to logits, differentiable."""
        if self._module is None:
            raise NotOffered(f"{self.name}: torch_module")
        return copy.deepcopy(self._module)

    def examine(self, splits: Mapping[str, Split]) -> Mapping[str, str | int | float]:
        """Return how far onnxruntime and the conversion are apart on each split.

        Raises
        ------
        ModelError
            They part on some row; the sentence says on which, for which class, and by how much.
        """
        return {} if self._both is None else self._both.compare(splits)

    @property
    def _scored(self) -> Outputs:
        return "logits" if self._setup.before else self._setup.outputs

    def _classes(self, found: Array) -> Array:
        setup = self._setup
        codes = {_plain(label): int(c) for label, c in zip(setup.labels, setup.index, strict=True)}
        plain = [_plain(label) for label in found.reshape(-1).tolist()]
        unknown = sorted({str(label) for label in plain if label not in codes})
        if unknown or len(plain) != len(found):
            raise ModelError(
                f"{setup.where}: predicts the labels {listed(unknown)}, and names "
                f"{listed(map(repr, codes))}; export it again."
            )
        return np.array([codes[label] for label in plain], dtype=np.int64)

    def _run(self, x: Array) -> list[Array]:
        """Return the session's values for data-space inputs: numbers as float64 ``(n, k)``."""
        setup = self._setup
        if tuple(x.shape[1:]) != setup.input_shape:
            raise ModelError(
                f"{setup.where}: takes inputs of shape {setup.input_shape}, and was given "
                f"{tuple(x.shape[1:])}; check the model's input.shape against the data."
            )
        # a network need not take none at all: one stands in, and is dropped again
        given = x if len(x) else np.zeros((1, *setup.input_shape), dtype=x.dtype)
        step = max(self._session.batch, 4096 // self._session.batch * self._session.batch)
        parts = [
            self._session.run(self._entry.array(given[i : i + step], setup.where))
            for i in range(0, len(given), step)
        ]
        values = [np.concatenate(part)[: len(x)] for part in zip(*parts, strict=True)]
        numbers = 2 if setup.before else 1
        return [table(v, setup.where) for v in values[:numbers]] + values[numbers:]


def table(values: Array, where: str) -> Array:
    """Return scores as float64 ``(n, k)``.

    Raises
    ------
    ModelError
        They have another shape, are no numbers, or not finite.
    """
    if values.dtype.kind not in "fiub":
        raise ModelError(f"{where}: its scores are no numbers but {values.dtype}.")
    long = [size for size in values.shape[1:] if size != 1]
    if len(long) > 1 or 0 in values.shape[1:]:
        raise ModelError(
            f"{where}: returns shape {values.shape}, and one score per class is needed; check "
            "which of its outputs they are, and name it with output = 'NAME'."
        )
    found = values.reshape(len(values), -1 if len(values) else max(long, default=1))
    found = found.astype(np.float64)
    bad = int((~np.isfinite(found).all(axis=1)).sum())
    if bad:
        raise ModelError(
            f"{where}: gives NaN or infinite outputs on {bad:,} of {len(found):,} inputs; "
            "check its weights and its input declaration."
        )
    return found


def two_columns(scores: Array, outputs: Outputs) -> Array:
    """Return one column per class: a single one is that of the second of two."""
    if scores.shape[1] > 1:
        return scores
    first = 1.0 - scores if outputs == "probabilities" else np.zeros_like(scores)
    return np.concatenate([first, scores], axis=1)


def look_like_probabilities(found: Array) -> bool:
    """Whether rows sum to 1 and none is negative, as far as float32 can tell."""
    off = np.abs(found.sum(axis=1) - 1).max(initial=0.0)
    return bool(found.min(initial=0.0) >= -ROUNDING and off < 1e-4)


def check_probabilities(found: Array, where: str) -> None:
    """Refuse what cannot be probabilities.

    Raises
    ------
    ModelError
        Negative beyond rounding, or rows that do not sum to 1 within 0.001.
    """
    off = np.abs(found.sum(axis=1) - 1)
    if len(found) and (found.min() < -ROUNDING or off.max() > 1e-3):
        raise ModelError(
            f"{where}: its outputs are taken for probabilities, and range from {found.min():.4g} "
            f"to {found.max():.4g} with row sums off by up to {off.max():.4g}; declare "
            "outputs = 'logits' if they are scores."
        )


def _plain(label: Any) -> Any:
    """Return a label as text or a whole number, so that both sides can be compared."""
    if isinstance(label, bytes):
        return label.decode("utf-8", "replace")
    return label if isinstance(label, str) else int(label)
