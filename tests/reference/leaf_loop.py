"""The nearest leaf of another class as plain loops over its stretches, one row at a time."""

from __future__ import annotations

import math
from typing import Any


def least_weight(leaves: Any, classes: Any, ways: Any, row: int, y: int, norm: int) -> float:
    """Return the least weight of a leaf of another class; infinite without one."""
    best = math.inf
    for leaf, given in enumerate(classes):
        if given == y:
            continue
        wanted: dict[int, list[tuple[float, float]]] = {}
        for entry in range(leaves.start[leaf], leaves.start[leaf + 1]):
            ends = range(leaves.stretch_start[entry], leaves.stretch_start[entry + 1])
            wanted[int(leaves.asked[entry])] = [(leaves.low[s], leaves.high[s]) for s in ends]
        parts = [
            _alone(ways, row, j, stretches, norm)
            for j, stretches in wanted.items()
            if ways.group[j] < 0
        ]
        for members in ways.groups:
            parts.append(_together(ways, row, [int(j) for j in members], wanted))
        best = min(best, max(parts, default=0.0) if norm == 3 else sum(parts))
    return best


def _alone(ways: Any, row: int, j: int, stretches: Any, norm: int) -> float:
    x, kind = float(ways.x[row, j]), int(ways.kind[j])
    best = math.inf
    for low, high in stretches:
        if low <= x <= high:
            return 0.0
        least, most = max(low, ways.floor[row, j]), min(high, ways.ceiling[row, j])
        if kind in (1, 2):
            least, most = (
                v if math.isinf(v) else float(r(v))
                for v, r in ((least, math.ceil), (most, math.floor))
            )
        if least > most:
            continue
        size = abs((least if x < least else most) - x) / float(ways.unit[j])
        if kind == 2 or norm == 0:
            size = 1.0
        best = min(best, size * size if norm == 2 else size)
    return best


def _together(ways: Any, row: int, members: list[int], wanted: Any) -> float:
    def fits(values: list[float]) -> bool:
        return all(
            any(low <= value <= high for low, high in wanted[j])
            for j, value in zip(members, values, strict=True)
            if j in wanted
        )

    if fits([float(ways.x[row, j]) for j in members]):
        return 0.0
    for choice in members:
        values = [float(j == choice) for j in members]
        room = all(
            ways.floor[row, j] <= value <= ways.ceiling[row, j]
            for j, value in zip(members, values, strict=True)
        )
        if room and fits(values):
            return 1.0
    return math.inf
