"""How well a model's confidence matches how often it is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Binning = Literal["fixed", "adaptive"]

# Elements drawn at once: 2 MB.
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Examples sorted into bins of confidence.

    ``edges`` has one more entry than there are bins; ``member`` is each example's bin;
    ``confidence`` and ``accuracy`` are means over a bin, NaN where it is empty.
    """

    edges: FloatArray
    member: IntArray
    counts: IntArray
    hits: IntArray
    confidence: FloatArray
    accuracy: FloatArray

    @property
    def error(self) -> float:
        """Expected calibration error: mean of ``|accuracy - confidence|``, weighted by count."""
        gaps = np.abs(np.nan_to_num(self.accuracy - self.confidence))
        return float(gaps @ self.counts / self.counts.sum())


def reliability(
    confidence: FloatArray, correct: npt.NDArray[np.bool_], bins: int, binning: Binning = "fixed"
) -> Reliability:
    """Return the reliability of `confidence` in ``bins`` bins.

    Parameters
    ----------
    confidence : array (n,)
        Probability of the predicted label, in [0, 1].
    correct : array (n,) of bool
    bins : int
    binning : "fixed" or "adaptive"
        Bins of equal width over [0, 1], closed on the right; or bins of as equal a count as ties
        allow, which may be fewer than asked for.

    Raises
    ------
    ValueError
        No example, lengths that differ, fewer than one bin, or confidence outside [0, 1].
    """
    if not confidence.size or confidence.shape != correct.shape or confidence.ndim != 1:
        raise ValueError(f"{confidence.shape} confidences but {correct.shape} marks")
    if bins < 1:
        raise ValueError(f"need at least one bin, found {bins}")
    if not (confidence.min() >= 0 and confidence.max() <= 1):
        raise ValueError("confidence must lie in [0, 1]")
    if binning == "fixed":
        edges = np.linspace(0, 1, bins + 1)
    else:
        edges = np.unique(np.quantile(confidence, np.linspace(0, 1, bins + 1)))
        edges = np.array([0.0, 1.0]) if edges.size == 1 else edges
    inner = edges[1:-1]
    member = np.searchsorted(inner, confidence, side="left").astype(np.int64)
    size = edges.size - 1
    counts = np.bincount(member, minlength=size)
    hits = np.bincount(member, weights=correct, minlength=size)
    mass = np.bincount(member, weights=confidence, minlength=size)
    empty: FloatArray = np.full(size, np.nan)
    held = counts > 0
    return Reliability(
        edges=edges,
        member=member,
        counts=counts.astype(np.int64),
        hits=hits.astype(np.int64),
        confidence=np.divide(mass, counts, out=empty.copy(), where=held),
        accuracy=np.divide(hits, counts, out=empty.copy(), where=held),
    )


def counted_error(
    confidence: FloatArray, correct: npt.NDArray[np.bool_], found: Reliability
) -> Callable[[FloatArray], FloatArray]:
    """Return a statistic of resample counts: the calibration error with the bins held fixed."""
    from scipy.sparse import csr_array

    n, size = confidence.size, found.counts.size
    gaps = csr_array((correct - confidence, (found.member, np.arange(n))), shape=(size, n))

    def statistic(counts: FloatArray) -> FloatArray:
        sums: FloatArray = np.asarray(gaps @ counts.T, dtype=np.float64)
        return np.asarray(np.abs(sums).sum(axis=0) / counts.sum(axis=1), dtype=np.float64)

    return statistic


def error_if_calibrated(
    confidence: FloatArray, found: Reliability, *, rng: np.random.Generator, draws: int
) -> FloatArray:
    """Return calibration errors ``(draws,)`` of a model that is right as often as it says.

    Each draw makes example i correct with probability ``confidence[i]``, independently. A finite
    sample shows an error above 0 even then; this is how large.
    """
    n, size = confidence.size, found.counts.size
    rows = max(1, min(draws, _BLOCK // n))
    offset = size * np.arange(rows)[:, None]
    parts = []
    for start in range(0, draws, rows):
        b = min(rows, draws - start)
        gaps = (rng.random((b, n)) < confidence) - confidence
        cells: npt.NDArray[Any] = (found.member[None, :] + offset[:b]).ravel()
        sums = np.bincount(cells, weights=gaps.ravel(), minlength=b * size)
        parts.append(np.abs(sums.reshape(b, size)).sum(axis=1) / n)
    return np.concatenate(parts)
