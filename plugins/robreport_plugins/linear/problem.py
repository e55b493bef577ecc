"""The rows and labels of a binary linear problem, checked, as the solvers want them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Norm
from robreport_plugins.linear.linear_model import Floats

# Beyond it, products of inputs and weights leave the range of float64.
LARGEST = 1e100


def checked_rows(x: npt.NDArray[Any]) -> Floats:
    """Return the rows as contiguous float64, ``(n, d)``.

    Raises
    ------
    ValueError
        Not two-dimensional, empty, no numbers, not finite, or beyond 1e100.
    """
    array = np.asarray(x)
    if array.ndim != 2 or not array.size:
        raise ValueError(
            f"a linear classifier takes rows of features, found inputs of shape {array.shape}"
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"a linear classifier takes numbers, found {array.dtype}")
    found = np.ascontiguousarray(array, dtype=np.float64)
    # Two passes without a temporary array as large as the data; NaN fails the comparison.
    if not (found.min() >= -LARGEST and found.max() <= LARGEST):
        bad = np.flatnonzero(~(np.abs(found) <= LARGEST).all(axis=1))
        raise ValueError(
            f"{bad.size:,} of {len(found):,} rows hold NaN, infinity or numbers beyond "
            f"{LARGEST:g} (the first is row {bad[0]}); impute or drop them"
        )
    return found


def checked_labels(y: npt.NDArray[Any], n: int) -> Floats:
    """Return the labels -1 and +1 as float64, ``(n,)``.

    Raises
    ------
    ValueError
        Another shape, or labels other than -1 and +1.
    """
    array = np.asarray(y)
    if array.shape != (n,):
        raise ValueError(f"{n:,} rows need {n:,} labels, found labels of shape {array.shape}")
    if array.dtype.kind not in "iuf" or not np.isin(array, (-1, 1)).all():
        raise ValueError("the labels of a binary linear problem are -1 and +1")
    return np.ascontiguousarray(array, dtype=np.float64)


def checked_problem(
    x: npt.NDArray[Any], y: npt.NDArray[Any], *, eps: float, norm: Norm
) -> tuple[Floats, Floats]:
    """Return rows and labels that a robust hinge loss can be minimised on.

    Raises
    ------
    ValueError
        As for the rows, the labels and the radius, or the labels hold one class only.
    """
    rows = checked_rows(x)
    labels = checked_labels(y, len(rows))
    checked_radius(eps, norm)
    if (labels == labels[0]).all():
        raise ValueError(
            f"all {len(rows):,} labels are {labels[0]:+.0f}; a classifier needs rows of both "
            "classes"
        )
    return rows, labels


def checked_radius(eps: float, norm: Norm) -> float:
    """Return the radius of the perturbation ball.

    Raises
    ------
    ValueError
        Negative or not finite, or the norm is L0, which has no dual.
    """
    if norm is Norm.L0:
        raise ValueError("a robust hinge loss needs the norm L1, L2 or Linf; L0 has no dual")
    if not 0 <= eps <= LARGEST:
        raise ValueError(f"eps must be at least 0 and at most {LARGEST:g}, found {eps!r}")
    return float(eps)
