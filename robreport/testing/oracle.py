"""A linear classifier whose robustness is known in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from robreport.bundle import ModelHandle, Needs
from robreport.testing.halfspace import dual_length, shortest_steps
from robreport.threat import Norm

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]
Bounds = tuple[float | tuple[float, ...] | Array, float | tuple[float, ...] | Array]


class LinearOracle(ModelHandle):
    """A linear model z = W x + b that knows its exact minimal norms and robust accuracy.

    A point x of class y is misclassified as soon as some z_c reaches z_y, so its distance to the
    decision boundary is the least of the distances to k − 1 half-spaces: without bounds
    (z_y − z_c) / ‖w_y − w_c‖_q with 1/p + 1/q = 1, within bounds a small convex problem that is
    solved exactly. A measure that is held against it is held against the truth.

    Parameters
    ----------
    weights : array (k, d)
        Rounded to float32, so that `torch_module` has the very same ones.
    bias : array (k,)
    input_shape : tuple of int or None
        Shape of one input, its product d; ``(d,)`` when left out.
    name : str

    Raises
    ------
    ValueError
        Shapes that do not fit, fewer than two classes, or values that are not finite.
    """

    offers = (
        Needs.CLASSIFICATION
        | Needs.PROBABILITIES
        | Needs.LOGITS
        | Needs.GRADIENTS
        | Needs.PARAMETERS
        | Needs.REFIT
    )

    def __init__(
        self,
        weights: Array,
        bias: Array,
        *,
        input_shape: tuple[int, ...] | None = None,
        name: str = "linear",
    ) -> None:
        super().__init__()
        w = np.asarray(weights, dtype=np.float32).astype(np.float64)
        b = np.asarray(bias, dtype=np.float32).astype(np.float64)
        if w.ndim != 2 or w.shape[0] < 2 or b.shape != (w.shape[0],):
            raise ValueError(
                f"weights (k, d) and bias (k,), k >= 2, are needed; found {w.shape} and {b.shape}"
            )
        shape = (w.shape[1],) if input_shape is None else tuple(input_shape)
        if int(np.prod(shape)) != w.shape[1]:
            raise ValueError(f"input_shape {shape} does not hold {w.shape[1]} values")
        if not (np.isfinite(w).all() and np.isfinite(b).all()):
            raise ValueError("weights and bias must be finite")
        self.weights, self.bias = w, b
        self.input_shape = shape
        self.n_outputs = w.shape[0]
        self.name = name
        self.kind = f"linear oracle, {w.shape[0]} classes, {w.shape[1]} inputs"
        self._module: torch.nn.Module | None = None

    @classmethod
    def seeded(
        cls, seed: int, *, input_shape: tuple[int, ...] = (6,), classes: int = 3
    ) -> LinearOracle:
        """Return a model with random weights whose boundary passes near the centre of [0, 1]^d."""
        rng = np.random.default_rng(seed)
        w = rng.normal(size=(classes, int(np.prod(input_shape))))
        return cls(w, -0.5 * w.sum(axis=1), input_shape=input_shape)

    @classmethod
    def binary(cls, w: Array, b: float) -> LinearOracle:
        """Return the two-class model that decides by the sign of w · x + b."""
        half = 0.5 * np.asarray(w, dtype=np.float64).reshape(1, -1)
        return cls(np.concatenate([-half, half]), np.array([-0.5 * b, 0.5 * b]))

    @classmethod
    def fitted(
        cls, x: Array, y: Array, *, classes: int, scale: float = 8.0, ridge: float = 0.1
    ) -> LinearOracle:
        """Return the ridge regression of one-hot labels on x, its outputs times `scale`."""
        flat = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
        design = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
        target = np.eye(classes)[np.asarray(y, dtype=np.int64)]
        normal = design.T @ design + ridge * np.eye(design.shape[1])
        solution = scale * np.linalg.solve(normal, design.T @ target)
        return cls(solution[:-1].T, solution[-1], input_shape=tuple(x.shape[1:]))

    def logits(self, x: Array) -> Array:
        """Return W x + b, float64 ``(n, k)``."""
        flat = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
        return np.asarray(flat @ self.weights.T + self.bias)

    def predict(self, x: Array) -> Array:
        return np.asarray(self.logits(x).argmax(axis=1), dtype=np.int64)

    def predict_proba(self, x: Array) -> Array:
        return softmax(self.logits(x))

    def torch_module(self) -> torch.nn.Module:
        """Return flatten and linear layer with these weights; the same module at each call."""
        if self._module is None:
            self._module = linear_module(self.weights, self.bias)
        return self._module

    def refit(self, x: Array, y: Array, seed: int) -> LinearOracle:
        """Return the ridge fit on ``(x, y)``; it has one solution, so `seed` changes nothing."""
        return LinearOracle.fitted(x, y, classes=self.n_outputs)

    def min_norm(self, x: Array, y: Array, norm: Norm, bounds: Bounds | None = None) -> Array:
        """Return each point's distance to the nearest wrong prediction, ``(n,)`` float64.

        0 where the point is misclassified as it stands, infinity where no step (within `bounds`)
        can change the prediction. It is the infimum: at this distance the logits tie.

        Parameters
        ----------
        x : array (n, *input_shape)
            Inside `bounds` when these are given.
        y : array (n,)
            True classes.
        norm : Norm
            L0 counts changed inputs.
        bounds : (low, high) or None
            Each a float, or one per feature.

        Raises
        ------
        ValueError
            A point lies outside the bounds.
        """
        return self._nearest(x, y, norm, bounds)[0]

    def min_norm_adversarial(
        self,
        x: Array,
        y: Array,
        norm: Norm,
        bounds: Bounds | None = None,
        overshoot: float = 0.0,
    ) -> Array:
        """Return a nearest misclassified input for each point, shaped like `x`, float64.

        Points that are misclassified already, or cannot be, are returned unchanged. With
        ``overshoot=0`` the logits tie up to rounding; an overshoot of 1e-6 asks for that share
        more of the margin, where there is room.
        """
        length, target = self._nearest(x, y, norm, bounds)
        flat, down, up = self._room(x, bounds)
        moved = flat.copy()
        margin = self.margins(x, y)
        for own, other, rows in _pairs(np.asarray(y), target, np.isfinite(length) & (length > 0)):
            direction = self.weights[other] - self.weights[own]
            needed = margin[rows, other]
            delta, reach = shortest_steps(
                direction, needed * (1.0 + overshoot), down[rows], up[rows], norm
            )
            short = np.isinf(reach)  # no room for the overshoot: go as far as the tie
            delta[short] = shortest_steps(
                direction, needed[short], down[rows[short]], up[rows[short]], norm
            )[0]
            moved[rows] += delta
        return moved.reshape(x.shape)

    def robust_accuracy(
        self, x: Array, y: Array, norm: Norm, eps: float, bounds: Bounds | None = None
    ) -> float:
        """Return the exact share of points that no perturbation up to `eps` gets wrong."""
        robust = self.min_norm(x, y, norm, bounds) > eps
        if eps == 0:
            robust = self.predict(x) == np.asarray(y)
        return float(robust.mean())

    def margins(self, x: Array, y: Array) -> Array:
        """Return z_y − z_c for every class c, ``(n, k)``; 0 in column y."""
        z = self.logits(x)
        return np.asarray(z[np.arange(len(z)), np.asarray(y, dtype=np.int64)][:, None] - z)

    def _nearest(
        self, x: Array, y: Array, norm: Norm, bounds: Bounds | None
    ) -> tuple[Array, Array]:
        """Return the distance to the nearest other class, and that class."""
        truth = np.asarray(y, dtype=np.int64)
        known = (truth >= 0) & (truth < self.n_outputs)
        if truth.shape != (len(x),) or not known.all():
            raise ValueError(f"y must hold {len(x)} classes from 0 to {self.n_outputs - 1}")
        _, down, up = self._room(x, bounds)
        margin = self.margins(x, truth)
        wrong = self.predict(x) != truth
        distance = np.full((len(x), self.n_outputs), np.inf)
        for own in range(self.n_outputs):
            rows = np.flatnonzero((truth == own) & ~wrong)
            for other in range(self.n_outputs):
                if other == own or rows.size == 0:
                    continue
                direction = self.weights[other] - self.weights[own]
                needed = margin[rows, other]
                if bounds is None:
                    # an exact tie is already at distance 0; two equal rows never meet
                    dual = dual_length(direction, norm)
                    if norm is Norm.L0:
                        found = np.where(needed > 0, 1.0, 0.0)
                    else:
                        found = needed / dual if dual > 0 else np.full(rows.size, np.inf)
                    distance[rows, other] = found if dual > 0 else np.inf
                else:
                    _, reach = shortest_steps(direction, needed, down[rows], up[rows], norm)
                    distance[rows, other] = reach
        nearest = distance.argmin(axis=1)
        length = distance[np.arange(len(x)), nearest]
        length[wrong] = 0.0
        return length, nearest

    def _room(self, x: Array, bounds: Bounds | None) -> tuple[Array, Array, Array]:
        flat = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
        if flat.shape[1] != self.weights.shape[1]:
            raise ValueError(
                f"x holds {flat.shape[1]} values a point; the model takes {self.weights.shape[1]}"
            )
        low, high = (-np.inf, np.inf) if bounds is None else bounds
        down = flat - np.asarray(low, dtype=np.float64).reshape(1, -1)
        up = np.asarray(high, dtype=np.float64).reshape(1, -1) - flat
        if (down < 0).any() or (up < 0).any():
            raise ValueError("a point lies outside the bounds; a step inside them has no start")
        return flat, down, up


def softmax(z: Array) -> Array:
    """Return class probabilities of logits ``(n, k)``, float64."""
    shifted = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def linear_module(weights: Array, bias: Array) -> torch.nn.Module:
    """Return flatten and one linear layer, in eval mode, without touching torch's random state."""
    import torch

    layer = torch.nn.utils.skip_init(torch.nn.Linear, weights.shape[1], weights.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weights)))
        layer.bias.copy_(torch.from_numpy(np.ascontiguousarray(bias)))
    return torch.nn.Sequential(torch.nn.Flatten(), layer).eval()


def _pairs(truth: Array, target: Array, chosen: Array) -> list[tuple[int, int, Array]]:
    """Group the chosen rows by (own class, nearest other class)."""
    found = []
    for own in np.unique(truth[chosen]):
        for other in np.unique(target[chosen & (truth == own)]):
            rows = np.flatnonzero(chosen & (truth == own) & (target == other))
            found.append((int(own), int(other), rows))
    return found
