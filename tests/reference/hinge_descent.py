"""Hinge training and the exact attack as plain loops, one number at a time."""

from __future__ import annotations

import math


def dual_length(w: list[float], q: int) -> float:
    """``||w||_q`` for q = 1, 2 and 0, the maximum."""
    sizes = [abs(v) for v in w]
    if q == 1:
        return sum(sizes)
    if q == 2:
        return math.sqrt(sum(v * v for v in sizes))
    return max(sizes)


def slope_of_length(w: list[float], q: int) -> list[float]:
    """A subgradient of ``||w||_q``: the middle one where signs or maxima leave a choice."""
    signs = [(v > 0) - (v < 0) for v in w]
    length = dual_length(w, q)
    if length == 0:
        return [0.0] * len(w)
    if q == 1:
        return [float(s) for s in signs]
    if q == 2:
        return [v / length for v in w]
    shared = sum(abs(v) == length for v in w)
    return [s / shared if abs(v) == length else 0.0 for v, s in zip(w, signs, strict=True)]


def descend(
    x: list[list[float]],
    y: list[float],
    order: list[int],
    state: list[float],
    velocity: list[float],
    batch: int,
    lr: float,
    momentum: float,
    mean: bool,
    eps: float,
    q: int,
) -> tuple[list[float], list[float]]:
    """State and velocity after one pass over the rows in `order`."""
    d = len(state) - 1
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        w, b = state[:d], state[d]
        length, slope = dual_length(w, q), slope_of_length(w, q)
        gradient = [0.0] * (d + 1)
        for i in rows:
            decision = sum(a * c for a, c in zip(x[i], w, strict=True)) + b
            if 1 - y[i] * decision + eps * length >= 0:
                for j in range(d):
                    gradient[j] += -y[i] * x[i][j] + eps * slope[j]
                gradient[d] += -y[i]
        if mean:
            gradient = [g / len(rows) for g in gradient]
        velocity = [momentum * v + g for v, g in zip(velocity, gradient, strict=True)]
        state = [s - lr * v for s, v in zip(state, velocity, strict=True)]
    return state, velocity


def rooms(x: list[float], y: float, w: list[float], low: list[float], high: list[float]):
    """(weight, room) of each coordinate that can lower ``y f``."""
    found = []
    for value, weight, a, b in zip(x, w, low, high, strict=True):
        if weight != 0:
            room = max(0.0, value - a) if y * weight > 0 else max(0.0, b - value)
            found.append((abs(weight), room))
    return found


def gain(pairs: list[tuple[float, float]], eps: float, norm: str) -> float:
    """The most that a step of length `eps` inside the rooms lowers ``y f``; L2 by bisection."""
    if norm == "Linf":
        return sum(size * min(eps, room) for size, room in pairs)
    if norm == "L1":
        total = 0.0
        for size, room in sorted(pairs, reverse=True):
            step = min(eps, room)
            total += size * step
            eps -= step
        return total

    def moved(t: float) -> list[float]:
        return [min(t * size, room) for size, room in pairs]

    low, high = 0.0, 1.0
    if math.hypot(*(room for _, room in pairs)) <= eps:
        return sum(size * room for size, room in pairs)
    while math.hypot(*moved(high)) < eps:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if math.hypot(*moved(middle)) < eps:
            low = middle
        else:
            high = middle
    return sum(size * step for (size, _), step in zip(pairs, moved(high), strict=True))


def radius(pairs: list[tuple[float, float]], needed: float, norm: str) -> float:
    """The least eps whose gain is `needed`, by bisection; infinity where there is none."""
    far = sum(room for _, room in pairs) + 1.0
    if gain(pairs, far, norm) < needed:
        return math.inf
    low, high = 0.0, far
    for _ in range(200):
        middle = (low + high) / 2
        if gain(pairs, middle, norm) < needed:
            low = middle
        else:
            high = middle
    return high
