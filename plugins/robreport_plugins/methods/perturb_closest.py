"""The closest adversarial, by damped steps onto averaged linearisations of the boundary."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.geometry import column, uniform_in_ball
from robreport_plugins.methods.geometry_hyperplane import shortest_step
from robreport_plugins.methods.perturb import Attempt, Bounds
from robreport_plugins.methods.perturb_screen import screen, towards
from robreport_plugins.methods.perturb_smallest import Smallest, inner, search_smallest

# Share of the old linearisation in the average. Without it the walk zigzags over the kinks of a
# ReLU network and ends in the wrong place.
MEMORY = 0.7
# A walk gains little after so many steps; what is left is worth more in another walk.
LONGEST_WALK, LONGEST_FINISH = 40, 100
# Shares of the way to the linearised optimum that a walk goes, from its first step to its last.
WALK, FINISH = (1.0, 0.1), (0.5, 0.05)
# By which share the linearised boundary is overshot, at the first step and later at the root of
# the step's share, so that iterates come to lie behind it; and what each step adds while nothing
# was found.
BEYOND, HASTE = 0.02, 0.05
# Random starts lie in the ball of so many times the best radius.
SPREAD = 2.0
# Every so manieth of them aims at another class than the best so far.
EXPLORE = 4


def closest(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    bounds: Bounds | None = None,
    steps: int = 100,
    generator: torch.Generator | None = None,
) -> Attempt:
    """Return the smallest perturbation found by walks along the linearised decision boundary.

    Parameters
    ----------
    module : nn.Module
        Maps ``(n, *shape)`` to logits ``(n, k)``, k >= 2, each example by itself.
    x : Tensor (n, *shape)
    y : Tensor (n,) of int64
        The true classes.
    norm : Norm
        L1, L2 or Linf: what is made small.
    bounds : (low, high) or None
        Of the data; floats or tensors that broadcast to `x` (per feature, or per example).
    steps : int
        Gradients that each example may take in all, at least 1.
    generator : torch.Generator on the CPU
        Source of the random starts, of which there are none below some 300 steps.

    Raises
    ------
    ModelError
        A gradient is not finite.
    ValueError
        The norm is L0, or `steps` is below 1.

    Notes
    -----
    An attack of our own. It shares with FAB (Croce and Hein, 2020) the projection of the example
    itself onto the linearised boundary cut by the box, exact in each norm; new are the average,
    the screening and the schedule.

    1. Screening: for the likeliest wrong classes c, the gradient of ``f_c = z_c - z_y`` at x and
       the smallest perturbation that reaches ``f_c = 0`` in the linear model order the classes.
    2. Walks, to the three nearest classes first: with the gradients averaged,
       ``G <- 0.7 G + 0.3 grad f_c(u)``, let d be the smallest perturbation in the box with
       ``<G, d> = (1 + b) (<G, u - x> - f_c(u))`` (and what a clear lead takes beyond rounding), and
       go ``u <- u + s (x + d - u)``. Each walk begins at x. The share s falls from 1 to 0.1, and
       ``b = 0.02 sqrt(s)``; until a first success s stays 1 and b grows by 0.05 a step.
    3. More walks, as the budget allows, from random points of the ball of twice the best radius,
       towards the class that was best.
    4. A last walk from the best point with small s, and a bisection towards x.
    """
    record = Smallest(module, x, y, norm, bounds, (Norm.L1, Norm.L2, Norm.Linf))
    return search_smallest(
        record, steps, lambda rows, logits: _Walks(record, rows, logits).spend(steps, generator)
    )


class _Walks:
    """The examples that the module gets right, the classes to aim at, and first steps to them."""

    def __init__(self, record: Smallest, rows: Tensor, logits: Tensor) -> None:
        self.record, self.rows, self.norm = record, rows, record.norm
        self.x, self.y = record.x[rows], record.y[rows]
        self.low, self.high = record.low[rows] - self.x, record.high[rows] - self.x
        self.logits = logits

    def spend(self, steps: int, generator: torch.Generator | None) -> None:
        """Use up at most `steps` gradients of each example."""
        nearest = screen(self.record, self.rows, self.logits, steps)
        classes, radius = nearest.classes, nearest.distance
        left = steps - nearest.taken
        finish = min(left // 2, LONGEST_FINISH)
        walked = len(nearest.steps)
        length = min((left - finish) // walked, LONGEST_WALK)
        for rank, step in enumerate(nearest.steps):
            start = self.record.inside(self.rows, self.x + step)
            self._walk(classes[:, rank], start, length, WALK)
        left -= walked * length
        for turn in range((left - finish) // length if length else 0):
            target = self._best_class(classes)
            if turn % EXPLORE == EXPLORE - 1:
                target = classes[:, turn // EXPLORE % nearest.taken]
            found = self.record.size[self.rows]
            wider = (2 * radius).clamp_max(self.record.farthest)
            radius = torch.where(torch.isfinite(found), found, wider)
            draw = uniform_in_ball(self.x, self.norm, SPREAD, generator)
            start = self.record.inside(self.rows, self.x + column(radius, self.x) * draw)
            self._walk(target, start, length, WALK)
            left -= length
        self._walk(self._best_class(classes), self.record.best[self.rows], left, FINISH)

    def _walk(self, target: Tensor, at: Tensor, length: int, shares: tuple[float, float]) -> None:
        """Walk towards the boundary with a class and along it; the record keeps what is found."""
        first, last = shares
        normal = None
        for k in range(length):
            probe = self.record.probe(self.rows, at, towards(target, self.y))
            delta = at - self.x
            normal = (
                probe.gradient
                if normal is None
                else MEMORY * normal + (1 - MEMORY) * probe.gradient
            )
            # Large and ever further steps until something is found, then small and closer ones.
            known = torch.isfinite(self.record.size[self.rows])
            share = first * (last / first) ** (k / length)
            beyond = torch.where(known, BEYOND * share**0.5, BEYOND + HASTE * k)
            step = self._onto(normal, (1 + beyond) * (inner(normal, delta) - probe.value))
            share_each = column(torch.where(known, share, 1.0), delta)
            at = self.record.inside(self.rows, at + share_each * (step - delta))
        self.record.try_out(self.rows, at)

    def _onto(self, normal: Tensor, gap: Tensor) -> Tensor:
        rise = self.record.aim(self.rows, gap, 1.0)
        return self.record.bounded(shortest_step(normal, rise, self.norm, self.low, self.high))

    def _best_class(self, classes: Tensor) -> Tensor:
        """The class at the best point, the nearest by linearisation where there is none yet."""
        label = self.record.label[self.rows]
        return torch.where(label < 0, classes[:, 0], label)
