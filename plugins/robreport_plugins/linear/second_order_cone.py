"""Steps inside the second-order cone ``t >= ||w||_2``, with the scaling of Nesterov and Todd."""

from __future__ import annotations

import math

import numpy as np

from robreport_plugins.linear.linear_model import Floats


class Scaling:
    """The symmetric map W that takes multiplier and slack of a cone to one point, W z = W^-1 s.

    ``W = beta (2 v v' - J)`` with ``J = diag(1, -1, ..., -1)`` and ``v' J v = 1``.
    """

    def __init__(self, slack: Floats, multiplier: Floats) -> None:
        lengths = [math.sqrt(_hyperbolic(point)) for point in (slack, multiplier)]
        if not min(lengths) > 0:
            raise FloatingPointError("a point has left the inside of its cone")
        s, z = slack / lengths[0], multiplier / lengths[1]
        middle = s + _flipped(z)
        middle /= math.sqrt(2 * (1 + float(s @ z)))
        middle[0] += 1.0
        self._v: Floats = middle / math.sqrt(2 * float(middle[0]))
        self._beta = math.sqrt(lengths[0] / lengths[1])
        self.point: Floats = self.apply(multiplier)

    def apply(self, x: Floats) -> Floats:
        """Return W x."""
        found: Floats = self._beta * (2 * float(self._v @ x) * self._v - _flipped(x))
        return found

    def unapply(self, x: Floats) -> Floats:
        """Return W^-1 x."""
        v = _flipped(self._v)
        found: Floats = (2 * float(v @ x) * v - _flipped(x)) / self._beta
        return found

    def inverse_square(self) -> Floats:
        """Return the matrix W^-2, ``(d + 1, d + 1)``."""
        v = _flipped(self._v)
        found: Floats = 4 * float(v @ v) * np.outer(v, v)
        crossed = np.outer(v, self._v)
        found -= 2 * (crossed + crossed.T)
        found[np.diag_indices_from(found)] += 1.0
        found /= self._beta**2
        return found

    def divided(self, x: Floats) -> Floats:
        """Return the g with ``point o g = x`` in the cone's Jordan product."""
        head, tail = self.point[0], self.point[1:]
        first = (head * x[0] - float(tail @ x[1:])) / _hyperbolic(self.point)
        return np.concatenate([[first], (x[1:] - first * tail) / head])


def product(x: Floats, y: Floats) -> Floats:
    """Return the Jordan product ``(x . y, x_0 y_1 + y_0 x_1)``."""
    return np.concatenate([[float(x @ y)], x[0] * y[1:] + y[0] * x[1:]])


def longest_step(point: Floats, direction: Floats) -> float:
    """Return the largest step along `direction` that stays in the cone, perhaps infinity."""
    a = direction[0] ** 2 - float(direction[1:] @ direction[1:])
    b = float(point[0] * direction[0] - point[1:] @ direction[1:])
    c = _hyperbolic(point)
    inside = b * b - a * c
    below = -b + math.sqrt(inside) if inside >= 0 else 0.0
    return c / below if below > 0 else math.inf


def _flipped(x: Floats) -> Floats:
    """J x."""
    found = -x
    found[0] = x[0]
    return found


def _hyperbolic(x: Floats) -> float:
    """``x' J x``, without the cancellation of two squares."""
    length = float(np.linalg.norm(x[1:]))
    return (float(x[0]) - length) * (float(x[0]) + length)
