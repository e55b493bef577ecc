"""What a confusion matrix says: precision, recall and F1, per class and averaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """Per class: examples, predictions, hits, and the shares made from them.

    A recall without examples and a precision without predictions are NaN: not defined. ``f1`` is
    ``2 hits / (examples + predictions)``, NaN where both are 0.
    """

    examples: IntArray
    predictions: IntArray
    hits: IntArray
    precision: FloatArray
    recall: FloatArray
    f1: FloatArray

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Classes with at least one example, over which averages are taken."""
        return np.asarray(self.examples > 0)

    @property
    def macro_precision(self) -> float:
        """Mean precision of the present classes; one never predicted counts 0."""
        return float(np.nan_to_num(self.precision[self.present]).mean())

    @property
    def macro_recall(self) -> float:
        """Mean recall of the present classes: the balanced accuracy."""
        return float(self.recall[self.present].mean())

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the present classes."""
        return float(self.f1[self.present].mean())


def confusion(y: npt.NDArray[Any], predicted: npt.NDArray[Any], classes: int) -> IntArray:
    """Return how often each true class (row) was given each label (column).

    Raises
    ------
    ValueError
        Lengths differ, or a label outside ``0 … classes − 1``.
    """
    if y.shape != predicted.shape or y.ndim != 1:
        raise ValueError(f"{y.shape} labels but {predicted.shape} predictions")
    for word, labels in (("label", y), ("prediction", predicted)):
        if labels.size and (labels.min() < 0 or labels.max() >= classes):
            bad = labels[(labels < 0) | (labels >= classes)][0]
            raise ValueError(f"{word} {bad} is outside 0 … {classes - 1}")
    cells = y.astype(np.int64) * classes + predicted.astype(np.int64)
    counts = np.bincount(cells, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def class_scores(matrix: IntArray) -> ClassScores:
    """Return precision, recall and F1 of every class of a confusion matrix."""
    hits, examples, predictions = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return ClassScores(
        examples=examples,
        predictions=predictions,
        hits=hits,
        precision=_ratio(hits, predictions),
        recall=_ratio(hits, examples),
        f1=_ratio(2 * hits, examples + predictions),
    )


def counted_macro(
    y: npt.NDArray[Any], predicted: npt.NDArray[Any], classes: int
) -> Callable[[FloatArray], FloatArray]:
    """Return a statistic of resample counts: macro precision and macro F1, ``(draws, 2)``.

    A class that is absent from a resample does not enter its average.
    """
    from scipy.sparse import csr_array

    n, rows = y.size, np.arange(y.size)
    hit = y == predicted

    def marks(columns: npt.NDArray[Any], keep: npt.NDArray[np.bool_]) -> Any:
        return csr_array((np.ones(keep.sum()), (columns[keep], rows[keep])), shape=(classes, n))

    everyone = np.ones(n, dtype=bool)
    of_truth, of_label, of_hits = marks(y, everyone), marks(predicted, everyone), marks(y, hit)

    def statistic(counts: FloatArray) -> FloatArray:
        flipped = counts.T
        examples, labels, hits = (m @ flipped for m in (of_truth, of_label, of_hits))
        precision = np.where(examples > 0, np.nan_to_num(_ratio(hits, labels)), 0.0)
        f1 = np.where(examples > 0, np.nan_to_num(_ratio(2 * hits, examples + labels)), 0.0)
        held = (examples > 0).sum(axis=0)
        return np.stack([precision.sum(axis=0) / held, f1.sum(axis=0) / held], axis=1)

    return statistic


def _ratio(top: npt.NDArray[Any], bottom: npt.NDArray[Any]) -> FloatArray:
    shares: FloatArray = np.full(np.shape(top), np.nan)
    np.divide(top, bottom, out=shares, where=bottom > 0)
    return shares
