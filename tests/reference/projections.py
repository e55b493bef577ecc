"""Projections and linear maxima one coordinate and one example at a time, by bisection."""

from __future__ import annotations

import math


def clip(value: float, low: float, high: float) -> float:
    """Return value, no lower than low and no higher than high."""
    return min(max(value, low), high)


def project(
    delta: list[float], p: float, eps: float, low: list[float], high: list[float]
) -> list[float]:
    """Return the nearest point of the ball cut by the box."""
    inside = [clip(d, a, b) for d, a, b in zip(delta, low, high, strict=True)]
    if p == math.inf:
        return [clip(v, -eps, eps) for v in inside]
    if size(inside, p) <= eps:
        return inside

    def at(s: float) -> list[float]:
        moved = []
        for d, a, b in zip(delta, low, high, strict=True):
            shrunk = d / (1 + s) if p == 2 else math.copysign(max(abs(d) - s, 0.0), d)
            moved.append(clip(shrunk, a, b))
        return moved

    return bisect(at, p, eps)


def linear_maximum(
    gradient: list[float], p: float, eps: float, low: list[float], high: list[float]
) -> list[float]:
    """Return the point of the ball cut by the box with the largest inner product."""
    ends = [
        b if g > 0 else a if g < 0 else 0.0 for g, a, b in zip(gradient, low, high, strict=True)
    ]
    if p == math.inf:
        return [clip(v, -eps, eps) for v in ends]
    if p == 1:
        moved = [0.0] * len(gradient)
        left = eps
        for i in sorted(range(len(gradient)), key=lambda i: -abs(gradient[i])):
            step = min(abs(ends[i]), left)
            moved[i] = math.copysign(step, gradient[i]) if step else 0.0
            left -= step
        return moved
    if size(ends, p) <= eps:
        return ends
    scale = max(abs(g) for g in gradient)

    def at(s: float) -> list[float]:
        t = 1 / s if s > 0 else 1e300
        return [
            clip(g / scale * t, a, b) if g else 0.0
            for g, a, b in zip(gradient, low, high, strict=True)
        ]

    return bisect(at, p, eps)


def bisect(at, p: float, eps: float) -> list[float]:  # type: ignore[no-untyped-def]
    """Return at(s) for the smallest s whose point lies in the ball."""
    a, b = 0.0, 1.0
    while size(at(b), p) > eps:
        b *= 2
    for _ in range(200):
        middle = (a + b) / 2
        if size(at(middle), p) > eps:
            a = middle
        else:
            b = middle
    return at(b)


def size(values: list[float], p: float) -> float:
    """Return the L1 or L2 norm."""
    return sum(abs(v) for v in values) if p == 1 else math.sqrt(sum(v * v for v in values))
