"""DDN, the decoupled direction and norm attack for the smallest L2 perturbation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.geometry import TINY, column, norms
from robreport_plugins.methods.perturb import Attempt, Bounds, cross_entropy
from robreport_plugins.methods.perturb_screen import screen, try_first
from robreport_plugins.methods.perturb_smallest import Smallest, direction, search_smallest

# The step falls along half a cosine to this share of the first.
LAST_STEP = 0.01
# The first step, in distances to the boundary linearised at the example.
UNIT = 1.5


def ddn(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm = Norm.L2,
    bounds: Bounds | None = None,
    steps: int = 100,
    change: float = 0.05,
    generator: torch.Generator | None = None,
) -> Attempt:
    """Return the smallest L2 perturbation found on a sphere that shrinks at each success.

    Parameters
    ----------
    module : nn.Module
        Maps ``(n, *shape)`` to logits ``(n, k)``, k >= 2, each example by itself.
    x : Tensor (n, *shape)
    y : Tensor (n,) of int64
        The true classes.
    norm : Norm
        L2.
    bounds : (low, high) or None
        Of the data; floats or tensors that broadcast to `x` (per feature, or per example).
    steps : int
        Gradients that each example may take in all, at least 1.
    change : float
        By which share the radius shrinks where the iterate is adversarial, and grows elsewhere.
    generator : torch.Generator on the CPU
        Source of directions where a gradient is zero.

    Raises
    ------
    ModelError
        A gradient is not finite.
    ValueError
        Another norm, or `steps` below 1.

    Notes
    -----
    Rony et al., "Decoupling direction and norm" (CVPR 2019): ascend the cross-entropy by a step of
    unit direction, rescale the perturbation to the radius, clip to the bounds. Different here: the
    first gradients, one for each of nine classes at most, find the nearest class by linearisation
    at x, and the smallest perturbation that reaches it is where the search begins, instead of x;
    its size, instead of 1, is the first radius and 1.5 times that the unit of the steps, so that
    the scale of the data does not matter; and a bisection towards x closes the search.
    """
    record = Smallest(module, x, y, norm, bounds, (Norm.L2,))
    return search_smallest(
        record, steps, lambda rows, logits: _descend(record, rows, logits, steps, change, generator)
    )


def _descend(
    record: Smallest,
    rows: Tensor,
    logits: Tensor,
    steps: int,
    change: float,
    generator: torch.Generator | None,
) -> None:
    nearest = screen(record, rows, logits, steps)
    x, y = record.x[rows], record.y[rows]
    unit = UNIT * nearest.distance
    radius, delta = nearest.distance, try_first(record, rows, nearest)
    for k in range(nearest.taken, steps):
        probe = record.probe(rows, record.inside(rows, x + delta), lambda z: cross_entropy(z, y))
        share = LAST_STEP + (1 - LAST_STEP) * (1 + math.cos(math.pi * k / steps)) / 2
        delta = delta + column(share * unit, x) * direction(probe.gradient, generator)
        radius = torch.where(probe.hit, radius * (1 - change), radius * (1 + change))
        radius = radius.clamp_max(record.farthest)
        delta = column(radius / norms(delta, Norm.L2).clamp_min(TINY), x) * delta
        delta = record.inside(rows, x + delta) - x
    record.try_out(rows, record.inside(rows, x + delta))
