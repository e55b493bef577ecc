"""Checks and quantiles that every interval starts from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def percent(level: float) -> str:
    """Return "95 %" for 0.95."""
    return f"{100 * level:g} %"


def alpha(level: float) -> float:
    """Return ``1 - level``; raise ValueError unless the level lies between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, found {level!r}")
    return 1 - level


def z_of(level: float) -> float:
    """Return the normal quantile of a two-sided interval: 1.96 for 0.95."""
    from scipy.special import ndtri

    return float(ndtri(1 - alpha(level) / 2))


def finite(values: npt.ArrayLike, name: str, least: int = 1) -> FloatArray:
    """Return `values` as one row of finite float64, or raise ValueError."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < least:
        noun = "number" if least == 1 else "numbers"
        raise ValueError(f"{name} must be one row of at least {least} {noun}, found {array.shape}")
    if not np.isfinite(array).all():
        count = np.count_nonzero(~np.isfinite(array))
        raise ValueError(f"{name} must be finite, found {count} that are not")
    return array
