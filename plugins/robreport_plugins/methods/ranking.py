"""Area under the ROC curve of every class against the rest, and of all together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Interval, stats

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneVersusRest:
    """Areas of the classes that have examples and are not alone, their mean and its interval."""

    classes: tuple[int, ...]
    areas: FloatArray
    macro: float
    interval: Interval


def one_versus_rest(scores: FloatArray, y: npt.NDArray[Any]) -> OneVersusRest:
    """Return each class's area against the rest and their plain mean.

    The interval is DeLong's, carried over to the mean: with ``v10`` and ``v01`` the placement
    values of class c, example i moves the mean by the average over classes of
    ``(v10[i] - area_c) / n_c`` where it is of class c and ``(v01[i] - area_c) / (n - n_c)`` where
    it is not (each enlarged by ``sqrt(m / (m - 1))``); the variance is the sum of squares. One
    class alone gives DeLong's variance exactly.

    Raises
    ------
    ValueError
        Fewer than two classes have examples, or a score that is not finite.
    """
    present = [int(c) for c in np.unique(y)]
    if len(present) < 2:
        raise ValueError("an area needs examples of two classes, found one class")
    areas, moves, pairs = [], np.zeros(y.size), y.size
    for c in present:
        mark = y == c
        area, v10, v01 = stats.auc_placements(scores[:, c], mark)
        areas.append(area)
        moves[mark] += _moves(v10, area)
        moves[~mark] += _moves(v01, area)
        pairs = min(pairs, v10.size, v01.size)
    macro = float(np.mean(areas))
    variance = float(np.sum((moves / len(present)) ** 2))
    return OneVersusRest(
        classes=tuple(present),
        areas=np.asarray(areas),
        macro=macro,
        interval=stats.auc_interval(macro, variance, pairs, method="DeLong"),
    )


def _moves(placements: FloatArray, area: float) -> FloatArray:
    m = placements.size
    return np.asarray((placements - area) / m * np.sqrt(m / max(1, m - 1)), dtype=np.float64)
