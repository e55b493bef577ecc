"""FMN, the fast minimum-norm attack, in L0, L1, L2 and Linf."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.geometry import TINY, column, norms, project
from robreport_plugins.methods.geometry_hyperplane import shortest_step
from robreport_plugins.methods.perturb import Attempt, Bounds
from robreport_plugins.methods.perturb_screen import screen, try_first
from robreport_plugins.methods.perturb_smallest import Smallest, direction, search_smallest

# Step and change of the radius fall along half a cosine to these shares of the first.
LAST_STEP, LAST_CHANGE = 0.01, 0.02
# The first step, in L2 distances to the boundary linearised at the example.
UNIT = 2.0


def fmn(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    bounds: Bounds | None = None,
    steps: int = 100,
    change: float = 0.05,
    generator: torch.Generator | None = None,
) -> Attempt:
    """Return the smallest perturbation found by projected steps in a ball of adapting radius.

    Parameters
    ----------
    module, x, y, bounds, steps, generator
        As for `ddn`.
    norm : Norm
        L0, L1, L2 or Linf.
    change : float
        By which share the radius changes at first, once an adversarial is known.

    Raises
    ------
    ModelError
        A gradient is not finite.
    ValueError
        `steps` is below 1.

    Notes
    -----
    Pintor et al., "Fast minimum-norm adversarial attacks through adaptive norm constraints"
    (NeurIPS 2021): ascend the margin by a step of unit direction, project onto the ball; before
    the first success the radius is what the linearised model needs from there, later it shrinks
    below the best at each success and grows elsewhere. Different here: the first gradients, one
    for each of nine classes at most, find the nearest class by linearisation at x, and the smallest
    perturbation that reaches it is where the search begins, instead of x; distances to the
    linearised boundary and projections (L1, L2, Linf) are exact for ball and box together; the
    unit of the steps is twice the L2 distance to the linearised boundary at x instead of 1; the
    radius never shrinks before the first success; and a bisection towards x closes the search, in
    L0 over how many of the largest changes are kept.
    """
    record = Smallest(module, x, y, norm, bounds, (Norm.L0, Norm.L1, Norm.L2, Norm.Linf))
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
    x = record.x[rows]
    low, high = record.low[rows] - x, record.high[rows] - x
    # What L0 may need is found from the L1 step, which moves the fewest coordinates.
    near = Norm.L1 if record.norm is Norm.L0 else record.norm
    radius = norms(nearest.steps[0], record.norm)
    unit = UNIT * nearest.l2
    delta = try_first(record, rows, nearest)
    for k in range(nearest.taken, steps):
        probe = record.probe(rows, record.inside(rows, x + delta))
        rise = (-probe.value).clamp_min(0)
        step = record.bounded(shortest_step(probe.gradient, rise, near, low - delta, high - delta))
        fall = (1 + math.cos(math.pi * k / steps)) / 2
        now = change * (LAST_CHANGE + (1 - LAST_CHANGE) * fall)
        radius = _adapt(record, rows, radius, norms(delta, record.norm), step, probe.hit, now)
        length = column((LAST_STEP + (1 - LAST_STEP) * fall) * unit, x)
        delta = delta + length * direction(probe.gradient, generator)
        delta = _into_ball(delta, record.norm, radius, low, high)
        delta = record.inside(rows, x + delta) - x
    record.try_out(rows, record.inside(rows, x + delta))


def _adapt(
    record: Smallest,
    rows: Tensor,
    radius: Tensor,
    size: Tensor,
    step: Tensor,
    hit: Tensor,
    change: float,
) -> Tensor:
    """Return the radius of the next iterate."""
    best = record.size[rows]
    # Never less than before: where the model is flat behind a kink, it would go back and forth.
    needed = torch.maximum(size + norms(step, record.norm), radius * (1 + change))
    least = 1.0 if record.norm is Norm.L0 else 0.0
    shrunk = torch.minimum(radius * (1 - change), torch.minimum(radius, best) - least)
    grown = torch.maximum(radius * (1 + change), radius + least)
    known = torch.isfinite(best)
    smaller = torch.where(hit, torch.minimum(shrunk, best), grown)
    return torch.where(known, smaller, needed).clamp(least, record.farthest)


def _into_ball(delta: Tensor, norm: Norm, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the nearest point of ball and box, with a radius of its own for each example."""
    if norm is Norm.L0:
        cut = torch.minimum(torch.maximum(delta, low), high)
        order = cut.flatten(1).abs().argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        kept = (order < radius[:, None]).view_as(delta)
        return torch.where(kept, cut, torch.zeros_like(cut))
    scale = column(radius.clamp_min(TINY), delta)
    return scale * project(delta / scale, norm, 1.0, low / scale, high / scale)
