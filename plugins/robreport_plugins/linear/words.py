"""How sentences of this family write shares, radii and lists, and where a curve falls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MINUS = "\u2212"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share of one in percent: 98.9 %."""
    return "\u2013" if value is None else f"{100 * value:.{digits}f}\u202f%"


def points(value: float) -> str:
    """Return a difference of shares in percentage points, without its sign."""
    size = 100 * abs(value)
    text = f"{size:.1f}" if size >= 1 or size == 0 else f"{size:.2g}"
    return f"{text} {'point' if text == '1.0' else 'points'}"


def number(value: float) -> str:
    """Return a number with three significant digits and a true minus sign."""
    return f"{value:.3g}".replace("-", MINUS)


def listed(parts: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def falls_below(
    grid: npt.NDArray[np.float64], right: npt.NDArray[np.int64], n: int, share: float
) -> float | None:
    """Return the first radius of the grid with less than this share right; None for none."""
    below = np.flatnonzero(right < share * n)
    return float(grid[below[0]]) if below.size else None
