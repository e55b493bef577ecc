"""Which rows of a split are attacked: the first that lack nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from robreport import DataError, SkipMetric

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]


def complete_rows(x: Floats, samples: int | None, at_a_time: int) -> tuple[slice | Ints, int]:
    """Return the first rows without missing values, and how many others stand among them.

    Parameters
    ----------
    x : array (n, *shape)
    samples : int or None
        How many, at most; None for all.
    at_a_time : int
        Rows that are looked at together.

    Raises
    ------
    DataError
        There are no rows, they are no floats, or some are infinite.
    SkipMetric
        Every row has missing values.
    """
    if not len(x):
        raise DataError("split test is empty; there is nothing to attack")
    if not np.issubdtype(x.dtype, np.floating):
        raise DataError(f"split test holds {x.dtype} inputs; attacks need float32 or float64")
    wanted = len(x) if samples is None else min(samples, len(x))
    found: list[Ints] = []
    count = 0
    for start in range(0, len(x), at_a_time):
        part = np.asarray(x[start : start + at_a_time]).reshape(-1, int(np.prod(x.shape[1:])))
        rows = np.flatnonzero(~np.isnan(part).any(axis=1))[: wanted - count]
        if np.isinf(part[rows]).any():
            raise DataError("split test holds inputs that are not finite; attacks need numbers")
        found.append(start + rows)
        count += len(rows)
        if count == wanted:
            break
    kept = np.concatenate(found)
    if not count:
        raise SkipMetric(
            "every row of the test set has missing values, and a perturbation of what is missing "
            "has no size; fill them before the audit"
        )
    passed_over = (int(kept[-1]) + 1 if count == wanted else len(x)) - count
    return (slice(0, count) if not passed_over else kept), passed_over
