"""DeepFool, repeated steps onto the nearest linearised class boundary, in L2 and Linf."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.geometry import column, norms
from robreport_plugins.methods.geometry_hyperplane import shortest_step
from robreport_plugins.methods.perturb import Attempt, Bounds, class_gradients, likely_others
from robreport_plugins.methods.perturb_smallest import (
    OVERSHOOT,
    Smallest,
    inner,
    search_smallest,
)

# A step aims at a lead of this share of the first gap: mere hundredths of ever smaller steps would
# approach a curved boundary for ever and never cross it.
LEAST_LEAD = 0.01


def deepfool(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    bounds: Bounds | None = None,
    steps: int = 50,
    candidates: int = 10,
    generator: torch.Generator | None = None,
) -> Attempt:
    """Return where steps onto the nearest linearised class boundary first cross one.

    Parameters
    ----------
    module : nn.Module
        Maps ``(n, *shape)`` to logits ``(n, k)``, k >= 2, each example by itself.
    x : Tensor (n, *shape)
    y : Tensor (n,) of int64
        The true classes.
    norm : Norm
        L2 or Linf.
    bounds : (low, high) or None
        Of the data; floats or tensors that broadcast to `x` (per feature, or per example).
    steps : int
        Most steps of an example; each takes as many gradients as there are candidate classes.
    candidates : int
        How many of the likeliest classes compete, the true one among them; at least 2.
    generator : torch.Generator or None
        Not used: nothing here is random.

    Raises
    ------
    ModelError
        A gradient is not finite.
    ValueError
        Another norm, `steps` below 1 or `candidates` below 2.

    Notes
    -----
    Moosavi-Dezfooli et al., "DeepFool" (CVPR 2016): of the linearised ``z_c - z_y``, the boundary
    nearest to the iterate is stepped onto, ``x + 1.02 * sum of the steps``. Different here: steps
    are the smallest in the box (exact for box and hyperplane together), not clipped afterwards,
    and a bisection towards x closes the search. Examples leave the batch when they are broken.
    """
    if candidates < 2:
        raise ValueError(f"candidates must be at least 2, found {candidates}")
    record = Smallest(module, x, y, norm, bounds, (Norm.L2, Norm.Linf))
    return search_smallest(
        record, steps, lambda rows, logits: _cross(record, rows, logits, steps, candidates)
    )


def _cross(record: Smallest, rows: Tensor, logits: Tensor, steps: int, candidates: int) -> None:
    own = record.y[rows][:, None]
    rivals = likely_others(logits, record.y[rows], candidates - 1)
    gaps = logits.gather(1, own) - logits.gather(1, rivals)
    lead = LEAST_LEAD * gaps + 2 * record.least_lead[rows][:, None]
    total = torch.zeros_like(record.x[rows])
    at = record.x[rows]
    for _ in range(steps):
        x = record.x[rows]
        total = total + _nearest(record, rows, rivals, lead, at)
        at = record.inside(rows, x + OVERSHOOT * total)
        total = torch.minimum(torch.maximum(total, record.low[rows] - x), record.high[rows] - x)
        stay = ~record.try_out(rows, at)
        rows, rivals, lead = rows[stay], rivals[stay], lead[stay]
        total, at = total[stay], at[stay]
        if len(rows) == 0:
            return


def _nearest(record: Smallest, rows: Tensor, rivals: Tensor, lead: Tensor, at: Tensor) -> Tensor:
    """Return the smallest of the steps onto the boundaries with the rivals."""
    _, leads = class_gradients(record.module, at, record.y[rows], rivals, "margin")
    low, high = record.low[rows] - at, record.high[rows] - at
    best = torch.zeros_like(at)
    shortest = torch.full_like(lead[:, 0], torch.inf)
    for wanted, (there, gradient) in zip(lead.unbind(1), leads, strict=True):
        record.gradients += len(rows)
        record.note_rounding(rows, at, gradient)
        gap = (wanted - there).clamp_min(0)
        step = record.bounded(shortest_step(gradient, gap, record.norm, low, high))
        # A boundary that the box keeps out of reach counts as far, its corner as a last resort.
        short = inner(gradient, step) < 0.99 * gap
        size = norms(step, record.norm) * torch.where(short, 1e6, 1.0)
        nearer = size < shortest
        best = torch.where(column(nearer, best), step, best)
        shortest = torch.where(nearer, size, shortest)
    return best
