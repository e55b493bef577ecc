"""Auto-PGD in Linf on one example, as the paper writes it down (Croce and Hein, 2020)."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ask = Callable[[Floats], tuple[float, Floats]]

CHECKPOINTS = (0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99)


def plain_apgd(
    ask: Ask, x: Floats, start: Floats, eps: float, low: float, high: float, steps: int
) -> tuple[Floats, float]:
    """Return (point of the highest loss, that loss); `ask` gives loss and gradient."""

    def back(point: Floats) -> Floats:
        return np.clip(np.clip(point, x - eps, x + eps), low, high)

    checks = [ceil(round(p * steps, 9)) for p in CHECKPOINTS]
    length = 2 * eps
    before = point = start
    value, slope = ask(point)
    best, best_value, best_slope = point, value, slope
    rises, last = 0, 0
    best_then, stayed = value, False
    for k in range(1, steps + 1):
        onward = back(point + length * np.sign(slope))
        if k > 1:
            onward = back(point + 0.75 * (onward - point) + 0.25 * (point - before))
        before, point = point, onward
        new_value, slope = ask(point)
        rises += new_value > value
        value = new_value
        if value > best_value:
            best, best_value, best_slope = point, value, slope
        if k in checks and k < steps:
            first = rises < 0.75 * (k - last)
            second = stayed and best_value == best_then
            stayed = not (first or second)
            if not stayed:
                length /= 2
                point, slope = best, best_slope
            best_then, rises, last = best_value, 0, k
    return best, best_value
