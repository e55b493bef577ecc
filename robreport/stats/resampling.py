"""Bootstrap of any statistic over examples, as counts of how often each one came."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from robreport.result import Interval
from robreport.stats.checks import FloatArray, alpha, finite, percent

Statistic = Callable[[FloatArray], FloatArray]
Kind = Literal["percentile", "basic", "bca"]

# Elements of one block of resamples: 2 MB of float64, which the caches hold, whatever the draws.
_BLOCK = 1 << 18
# More undefined draws than this share, and the rest no longer stands for the sampling spread.
_UNDEFINED = 0.05


def resample_counts(n: int, *, rng: np.random.Generator, draws: int) -> Iterator[FloatArray]:
    """Yield blocks of bootstrap samples as counts: row = draw, column = how often an example came.

    Shape ``(block, n)``, each row summing to `n`; a block is 2 MB, or one row.

    Raises
    ------
    ValueError
        `n` or `draws` below 1.
    """
    if n < 1 or draws < 1:
        raise ValueError(f"need at least one example and one draw, found {n} and {draws}")
    rows = max(1, min(draws, _BLOCK // n))
    for start in range(0, draws, rows):
        size = min(rows, draws - start)
        picked = rng.integers(n, size=(size, n))
        picked += n * np.arange(size)[:, None]
        counts = np.bincount(picked.ravel(), minlength=size * n)
        yield counts.reshape(size, n).astype(np.float64)


def bootstrap_many(
    statistic: Statistic,
    n: int,
    *,
    rng: np.random.Generator,
    draws: int = 1000,
    level: float = 0.95,
    kind: Kind = "percentile",
) -> tuple[Interval | None, ...]:
    """Return the bootstrap intervals of several statistics over the same resamples.

    Parameters
    ----------
    statistic : callable
        Takes counts ``(draws, n)`` of how often each example stands in each resample and returns
        ``(draws, s)``; with all counts 1 it is the observed statistic. NaN: undefined there.
    n : int
        Number of examples.
    rng : Generator
        Where the resamples come from; the same state gives the same interval.
    draws : int
    kind : "percentile", "basic" or "bca"
        Quantiles of the draws; those mirrored at the observed value (corrects a bias of the
        statistic); or bias-corrected and accelerated, which is second-order correct (Efron 1987)
        and costs a jackknife more.

    Returns
    -------
    tuple of Interval or None
        None where the observed value, or more than 5 % of the draws, are undefined.
    """
    alpha(level)
    blocks = [_stacked(statistic(c)) for c in resample_counts(n, rng=rng, draws=draws)]
    values = np.concatenate(blocks)
    observed = _stacked(statistic(np.ones((1, n))))[0]
    slopes = _accelerations(statistic, n) if kind == "bca" else np.zeros(observed.size)
    return tuple(
        _one_interval(values[:, i], float(observed[i]), float(slopes[i]), level, kind)
        for i in range(observed.size)
    )


def bootstrap(
    statistic: Statistic,
    n: int,
    *,
    rng: np.random.Generator,
    draws: int = 1000,
    level: float = 0.95,
    kind: Kind = "percentile",
) -> Interval:
    """Return the bootstrap interval of one statistic; arguments as in `bootstrap_many`.

    Raises
    ------
    ValueError
        The statistic is undefined on the sample, or on more than 5 % of the draws.
    """
    found = bootstrap_many(statistic, n, rng=rng, draws=draws, level=level, kind=kind)
    if len(found) != 1 or found[0] is None:
        raise ValueError("the statistic is undefined on the sample or on over 5 % of its draws")
    return found[0]


def bootstrap_mean(
    values: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    draws: int = 1000,
    level: float = 0.95,
    kind: Kind = "percentile",
) -> Interval:
    """Return the bootstrap interval of a mean.

    Raises
    ------
    ValueError
        No value, or one that is not finite.
    """
    array = finite(values, "values")

    def mean(counts: FloatArray) -> FloatArray:
        return np.asarray(counts @ array / array.size, dtype=np.float64)

    return bootstrap(mean, array.size, rng=rng, draws=draws, level=level, kind=kind)


def paired_bootstrap(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    draws: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Return the bootstrap interval of ``mean(first - second)``, both of the same examples.

    Raises
    ------
    ValueError
        Different lengths, no value, or one that is not finite.
    """
    a, b = finite(first, "first"), finite(second, "second")
    if a.shape != b.shape:
        raise ValueError(f"pairs need equal lengths, found {a.size} and {b.size}")
    found = bootstrap_mean(a - b, rng=rng, draws=draws, level=level)
    method = f"{percent(level)} paired bootstrap, {draws:,} draws"
    return Interval(low=found.low, high=found.high, method=method, level=level)


def _stacked(values: FloatArray) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    return array[:, None] if array.ndim == 1 else array


def _accelerations(statistic: Statistic, n: int) -> FloatArray:
    """Return BCa's acceleration from a jackknife over examples, or over at most 2,000 groups."""
    groups = min(n, 2000)
    member = np.arange(n) * groups // n
    rows = max(1, _BLOCK // n)
    parts = []
    for start in range(0, groups, rows):
        left_out = np.arange(start, min(groups, start + rows))
        keep = (member[None, :] != left_out[:, None]).astype(np.float64)
        parts.append(_stacked(statistic(keep)))
    values = np.concatenate(parts)
    spread = values.mean(axis=0) - values
    size = np.sum(spread**2, axis=0) ** 1.5
    slopes: FloatArray = np.zeros(size.size)
    np.divide(np.sum(spread**3, axis=0), 6 * size, out=slopes, where=size > 0)
    return slopes


def _one_interval(
    values: FloatArray, observed: float, slope: float, level: float, kind: Kind
) -> Interval | None:
    defined = values[np.isfinite(values)]
    lost = values.size - defined.size
    if not math.isfinite(observed) or lost > _UNDEFINED * values.size:
        return None
    half = alpha(level) / 2
    if kind == "bca":
        ends = _bca_levels(defined, observed, slope, half)
    else:
        ends = (half, 1 - half)
    low, high = (float(q) for q in np.quantile(defined, ends))
    if kind == "basic":
        low, high = 2 * observed - high, 2 * observed - low
    word = {"percentile": "bootstrap", "basic": "basic bootstrap", "bca": "BCa bootstrap"}[kind]
    method = f"{percent(level)} {word}, {values.size:,} draws"
    if lost:
        method += f" ({lost} undefined)"
    return Interval(low=low, high=high, method=method, level=level)


def _bca_levels(
    values: FloatArray, observed: float, slope: float, half: float
) -> tuple[float, float]:
    from scipy.special import ndtr, ndtri

    below = np.mean(values < observed) + np.mean(values == observed) / 2
    # Kept off 0 and 1, where the correction would be infinite.
    bias = ndtri(np.clip(below, 0.5 / values.size, 1 - 0.5 / values.size))

    def level(z: Any) -> float:
        shifted = bias + z
        return float(ndtr(bias + shifted / (1 - slope * shifted)))

    return level(ndtri(half)), level(ndtri(1 - half))
