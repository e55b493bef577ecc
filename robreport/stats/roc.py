"""The area under a ROC curve, and its interval."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from robreport.result import Interval
from robreport.stats.checks import FloatArray, alpha, finite, percent, z_of


def auc_placements(
    scores: npt.ArrayLike, positive: npt.ArrayLike
) -> tuple[float, FloatArray, FloatArray]:
    """Return the area under the ROC curve and the two sets of DeLong's placement values.

    The area is ``P(score of a positive > score of a negative)``, ties counted half;
    ``v10[i]`` is the share of negatives below positive i, ``v01[j]`` the share of positives above
    negative j. Their means are the area.

    Raises
    ------
    ValueError
        A score that is not finite, lengths that differ, or only one class.
    """
    values = finite(scores, "scores")
    marks = np.asarray(positive, dtype=bool)
    if marks.shape != values.shape:
        raise ValueError(f"{values.size} scores but {marks.size} marks")
    high, low = values[marks], values[~marks]
    if not high.size or not low.size:
        raise ValueError(f"need both classes, found {high.size} positive, {low.size} negative")
    v10 = _share_below(high, np.sort(low))
    v01 = 1 - _share_below(low, np.sort(high))
    return float(v10.mean()), v10, v01


def _share_below(values: FloatArray, ordered: FloatArray) -> FloatArray:
    under = np.searchsorted(ordered, values, side="left")
    upto = np.searchsorted(ordered, values, side="right")
    return np.asarray((under + upto) / (2 * ordered.size), dtype=np.float64)


def auc_delong(
    scores: npt.ArrayLike, positive: npt.ArrayLike, *, level: float = 0.95
) -> tuple[float, Interval]:
    """Return the area under the ROC curve and DeLong's interval, on the logit scale.

    Variance ``var(v10)/m + var(v01)/n`` (DeLong et al. 1988). Where it is zero (a perfect
    separation), see `auc_interval`.
    """
    area, v10, v01 = auc_placements(scores, positive)
    variance = sum(float(v.var(ddof=1)) / v.size for v in (v10, v01) if v.size > 1)
    pairs = min(v10.size, v01.size)
    return area, auc_interval(area, variance, pairs, level=level, method="DeLong")


def auc_hanley(area: float, positives: int, negatives: int, *, level: float = 0.95) -> Interval:
    """Return Hanley and McNeil's interval of an area, from the area and the two counts alone.

    With ``q1 = a/(2-a)`` and ``q2 = 2a^2/(1+a)``, the variance is
    ``(a(1-a) + (m-1)(q1-a^2) + (n-1)(q2-a^2)) / (mn)`` (Hanley and McNeil 1982).

    Raises
    ------
    ValueError
        An area outside [0, 1] or an empty class.
    """
    if not 0 <= area <= 1 or positives < 1 or negatives < 1:
        raise ValueError(f"no area: {area!r} from {positives} positive, {negatives} negative")
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area)
    spread += (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    variance = max(0.0, spread / (positives * negatives))
    pairs = min(positives, negatives)
    return auc_interval(area, variance, pairs, level=level, method="Hanley-McNeil")


def auc_interval(
    area: float, variance: float, pairs: int, *, level: float = 0.95, method: str = "normal"
) -> Interval:
    """Return an interval of an area from its variance, on the logit scale so that it stays inside.

    An area of 0 or 1 shows no variance. `pairs` disjoint pairs, each ordered rightly with
    probability a, are all right with probability ``a^pairs``: the one-sided exact bound from that
    takes its place, which is conservative.
    """
    from scipy.special import expit, logit

    name = percent(level)
    if not 0 < area < 1 or variance <= 0:
        slack = 1 - (alpha(level) / 2) ** (1 / pairs)
        low, high = max(0.0, area - slack), min(1.0, area + slack)
        return Interval(low=low, high=high, method=f"{name} exact, {pairs:,} pairs", level=level)
    half = z_of(level) * math.sqrt(variance) / (area * (1 - area))
    low, high = float(expit(logit(area) - half)), float(expit(logit(area) + half))
    return Interval(low=low, high=high, method=f"{name} {method}, logit scale", level=level)
