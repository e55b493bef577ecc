"""Intervals of shares and means with a closed form."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from robreport.result import Interval
from robreport.stats.checks import alpha, finite, percent, z_of


def wilson(successes: float, n: float, *, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share.

    With z the normal quantile, the roots in p of ``(successes/n - p)^2 = z^2 p (1 - p) / n``
    (Wilson 1927). `successes` and `n` may be fractions: an effective sample size, or scores in
    [0, 1] instead of hits, for which the interval is conservative.

    Raises
    ------
    ValueError
        No example, or successes outside [0, n].
    """
    _check_share(successes, n)
    z = z_of(level)
    share, shrink = successes / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low=low, high=high, method=f"{percent(level)} Wilson", level=level)


def clopper_pearson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Return the exact interval of a share: never less coverage than `level`, often more.

    Quantiles of ``Beta(k, n - k + 1)`` and ``Beta(k + 1, n - k)`` (Clopper and Pearson 1934).

    Raises
    ------
    ValueError
        No example, or successes outside [0, n].
    """
    from scipy.special import betaincinv

    _check_share(successes, n)
    half = alpha(level) / 2
    low = float(betaincinv(successes, n - successes + 1, half)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - half)) if successes < n else 1.0
    return Interval(low=low, high=high, method=f"{percent(level)} Clopper-Pearson", level=level)


def mean_of_shares(
    successes: npt.ArrayLike, totals: npt.ArrayLike, *, level: float = 0.95
) -> Interval:
    """Return the interval of the plain mean of independent shares, such as recalls of classes.

    Each share's Wilson interval ``(l_i, u_i)`` is combined (MOVER, Zou and Donner 2008):
    ``mean(p) - sqrt(sum((p_i - l_i)^2)) / k`` and likewise upwards, so that it does not shrink
    to a point when every share is 0 or 1.

    Raises
    ------
    ValueError
        No share, a share without examples, or successes outside [0, n].
    """
    hits, sizes = finite(successes, "successes"), finite(totals, "totals")
    if hits.shape != sizes.shape:
        raise ValueError(f"{hits.size} successes but {sizes.size} totals")
    parts = [wilson(float(k), float(n), level=level) for k, n in zip(hits, sizes, strict=True)]
    shares = hits / sizes
    below = np.sqrt(np.sum((shares - [part.low for part in parts]) ** 2)) / hits.size
    above = np.sqrt(np.sum(([part.high for part in parts] - shares) ** 2)) / hits.size
    centre = float(shares.mean())
    return Interval(
        low=max(0.0, centre - float(below)),
        high=min(1.0, centre + float(above)),
        method=f"{percent(level)} Wilson per group, combined (MOVER)",
        level=level,
    )


def mean_t(values: npt.ArrayLike, *, level: float = 0.95) -> Interval:
    """Return Student's interval of a mean: ``mean ± t(n-1) s / sqrt(n)``.

    Raises
    ------
    ValueError
        Fewer than two values, or one that is not finite.
    """
    from scipy.special import stdtrit

    array = finite(values, "values", least=2)
    t = float(stdtrit(array.size - 1, 1 - alpha(level) / 2))
    half = t * float(array.std(ddof=1)) / math.sqrt(array.size)
    centre = float(array.mean())
    method = f"{percent(level)} t"
    return Interval(low=centre - half, high=centre + half, method=method, level=level)


def _check_share(successes: float, n: float) -> None:
    if not n > 0:
        raise ValueError(f"a share needs at least one example, found n = {n!r}")
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie between 0 and n = {n!r}, found {successes!r}")
