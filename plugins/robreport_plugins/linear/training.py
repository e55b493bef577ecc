"""Regular and robust hinge training of linear classifiers by stochastic gradient descent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from robreport import Norm
from robreport_plugins.linear.linear_model import Floats, LinearModel, dual_length
from robreport_plugins.linear.problem import LARGEST, checked_problem

Progress = Callable[[int, int], None]

# How the kernel knows the norm on the weights: 1, 2, and 0 for the maximum.
_DUAL = {Norm.Linf: 1, Norm.L2: 2, Norm.L1: 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How the descent goes: passes, batches and step.

    Attributes
    ----------
    epochs, batch : int
        Passes over the rows, and rows of one step; the last batch may be shorter.
    lr, momentum : float
        The step is ``lr * v`` with ``v = momentum * v + gradient``.
    loss : str
        Of a batch: the mean of its rows' losses, or their sum.
    shuffle : bool
        A new order of the rows for each pass; else the order that they are given in.

    Raises
    ------
    ValueError
        A value that no descent can have.
    """

    epochs: int = 10
    batch: int = 100
    lr: float = 0.1
    loss: Literal["mean", "sum"] = "mean"
    shuffle: bool = False
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch < 1:
            raise ValueError(
                "a schedule has epochs of at least 0 and batches of at least 1, "
                f"found {self.epochs} and {self.batch}"
            )
        if not (math.isfinite(self.lr) and self.lr > 0 and 0 <= self.momentum < 1):
            raise ValueError(
                "a schedule has a finite lr above 0 and a momentum from 0 to below 1, "
                f"found {self.lr!r} and {self.momentum!r}"
            )
        if self.loss not in ("mean", "sum"):
            raise ValueError(f"a schedule's loss is mean or sum, found {self.loss!r}")


# The published experiment: a regular classifier on the mean loss, robust ones on the summed loss.
BLOG_REGULAR = Schedule()
BLOG_ROBUST = Schedule(lr=1e-4, loss="sum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained model and what its training looked like.

    Attributes
    ----------
    model : LinearModel
    loss, robust_loss : array (epochs + 1,)
        Mean hinge and mean robust hinge at `eps` on the training rows, before and after each epoch.
    accuracy : array (epochs + 1,)
        Share of training rows with ``y f(x) > 0``.
    """

    model: LinearModel
    loss: Floats
    robust_loss: Floats
    accuracy: Floats
    eps: float
    norm: Norm


def train(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    *,
    eps: float,
    norm: Norm,
    schedule: Schedule,
    rng: np.random.Generator,
    start: LinearModel | None = None,
    progress: Progress = lambda done, total: None,
) -> Trained:
    """Return a linear classifier trained on the robust hinge loss (``eps = 0``: the hinge).

    Parameters
    ----------
    x : array (n, d)
    y : array (n,)
        Labels -1 and +1.
    eps : float
        Radius of the ball of perturbations in `norm`, in input units.
    norm : Norm
        L1, L2 or Linf; the loss of a row is ``max(0, 1 - y f(x) + eps ||w||_q)``, q the dual.
    schedule : Schedule
    rng : Generator
        Draws the start, unless `start` is given, and then the order of the rows of each pass, where
        the schedule shuffles.
    start : LinearModel, optional
        Else weights uniform in ±sqrt(6 / (d + 1)) and a bias of zero, as Keras starts a dense
        layer. Weights that no row moves, such as those of a picture's border, stay at their start,
        and an attack uses them.
    progress : callable (done, total)
        Called after each epoch.

    Raises
    ------
    ValueError
        Rows, labels or radius that no loss can be computed for, one class only, a start of another
        size, or a descent whose weights grow beyond 1e100.

    Notes
    -----
    All arithmetic is in float64. The subgradient at a kink is the one of automatic differentiation
    in torch for ``clamp(1 - y * f + eps * ||w||_q, min=0)``: the hinge passes its slope on at zero,
    the sign of zero is zero, and weights that share the maximum share its slope evenly.
    """
    rows, labels = checked_problem(x, y, eps=eps, norm=norm)
    n, d = rows.shape
    state = _start(d, rng, start)
    velocity = np.zeros(d + 1)
    found = np.empty(n)
    curves: list[tuple[float, float, float]] = []
    from robreport_plugins.linear._kernels import descend

    for epoch in range(schedule.epochs):
        order = rng.permutation(n) if schedule.shuffle else np.arange(n)
        length = dual_length(state[:d], norm)
        descend(
            rows, labels, order, state, velocity, schedule.batch, schedule.lr, schedule.momentum,
            schedule.loss == "mean", float(eps), _DUAL[norm], found,
        )  # fmt: skip
        curves.append(_summary(found, eps * length))
        if not np.abs(state).max() <= LARGEST:
            raise ValueError(
                f"the weights grew beyond {LARGEST:g} in epoch {epoch + 1}: take an lr smaller "
                f"than {schedule.lr:g}, or scale the features"
            )
        progress(epoch + 1, schedule.epochs)
    model = LinearModel(w=state[:d].copy(), b=float(state[d]))
    curves.append(_summary(labels * model.decision(rows), eps * dual_length(model.w, norm)))
    loss, robust, accuracy = (np.array(column) for column in zip(*curves, strict=True))
    return Trained(
        model=model, loss=loss, robust_loss=robust, accuracy=accuracy, eps=float(eps), norm=norm
    )


def _start(d: int, rng: np.random.Generator, start: LinearModel | None) -> Floats:
    if start is not None:
        if start.w.size != d:
            raise ValueError(f"the start has {start.w.size:,} weights for {d:,} features")
        return np.append(start.w, start.b)
    return np.append(rng.uniform(-1, 1, d) * math.sqrt(6 / (d + 1)), 0.0)


def _summary(found: Floats, loss_of_eps: float) -> tuple[float, float, float]:
    """Mean hinge, mean robust hinge and share of right rows, from the margins ``y f(x)``."""
    return (
        float(np.maximum(0.0, 1.0 - found).mean()),
        float(np.maximum(0.0, 1.0 - found + loss_of_eps).mean()),
        float((found > 0).mean()),
    )
