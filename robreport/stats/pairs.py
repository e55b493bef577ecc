"""Two models on the same examples, and corrections for asking many questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robreport.result import Interval
from robreport.stats.checks import FloatArray, percent, z_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """Two models on the same examples: who alone is right how often, the p-value, the difference.

    ``difference`` is accuracy of the first minus the second; ``interval`` is its interval.
    """

    first_only: int
    second_only: int
    n: int
    p_value: float
    difference: float
    interval: Interval


def mcnemar(first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = 0.95) -> PairedTest:
    """Return McNemar's exact test of two models' hits on the same examples.

    The p-value is the two-sided binomial one of the discordant pairs; the interval of the
    difference is Bonett and Price's (2012), with one pair added to each discordant cell and two to
    the total.

    Raises
    ------
    ValueError
        No pair, or different lengths.
    """
    from scipy.special import bdtr

    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise ValueError(f"pairs need equal lengths above 0, found {a.shape} and {b.shape}")
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    discordant = only_a + only_b
    tail = float(bdtr(min(only_a, only_b), discordant, 0.5)) if discordant else 1.0
    p, q = (only_a + 1) / (a.size + 2), (only_b + 1) / (a.size + 2)
    half = z_of(level) * math.sqrt((p + q - (p - q) ** 2) / (a.size + 2))
    method = f"{percent(level)} Bonett-Price"
    return PairedTest(
        first_only=only_a,
        second_only=only_b,
        n=int(a.size),
        p_value=min(1.0, 2 * tail),
        difference=(only_a - only_b) / a.size,
        interval=Interval(
            low=max(-1.0, p - q - half), high=min(1.0, p - q + half), method=method, level=level
        ),
    )


def holm(p_values: Sequence[float] | npt.ArrayLike) -> FloatArray:
    """Return Holm's adjusted p-values, in the order given (family-wise error, Holm 1979).

    Raises
    ------
    ValueError
        A p-value outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise ValueError("p-values must be one row of numbers between 0 and 1")
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, steps)
    return adjusted
