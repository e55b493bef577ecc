"""Which wrong classes lie nearest by linearisation at the input, and the steps to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robreport import Norm
from robreport_plugins.methods.geometry import TINY, norms
from robreport_plugins.methods.geometry_hyperplane import shortest_step
from robreport_plugins.methods.perturb import lead_over, likely_others
from robreport_plugins.methods.perturb_smallest import Smallest, inner

# At most so many classes compete, and at most a third of the gradients goes into it.
MOST_CLASSES = 9
SHARE = 3
# Steps are kept to so many of the nearest.
KEPT = 3


@dataclass(frozen=True, slots=True)
class Screen:
    """The likeliest wrong classes, nearest first.

    Attributes
    ----------
    classes : Tensor (m, c) of int64
    steps : Tensor (min(c, 3), m, *shape)
        The smallest perturbations in the box that take the first of them clearly into the lead in
        the model linearised at x.
    distance : Tensor (m,)
        The size of the first; 1 where the linear model reaches no class.
    gap : Tensor (m,)
        By how much the true class leads the first.
    l2 : Tensor (m,)
        The L2 distance, without the box, to the linearised boundary with the first.
    taken : int
        Gradients spent on each example.
    """

    classes: Tensor
    steps: Tensor
    distance: Tensor
    gap: Tensor
    l2: Tensor
    taken: int


def screen(record: Smallest, rows: Tensor, logits: Tensor, steps: int) -> Screen:
    """Return the nearest classes of some examples; it takes a gradient for each class.

    Parameters
    ----------
    record : Smallest
    rows : Tensor (m,)
        The examples; the module gets them right.
    logits : Tensor (m, k)
        At the examples.
    steps : int
        The budget of gradients for each example, of which at most a third is spent here.

    Notes
    -----
    In L0 the steps are those of L1, which move the fewest coordinates.
    """
    x, y = record.x[rows], record.y[rows]
    low, high = record.low[rows] - x, record.high[rows] - x
    norm = Norm.L1 if record.norm is Norm.L0 else record.norm
    count = min(logits.shape[1] - 1, MOST_CLASSES, max(1, steps // SHARE))
    classes = likely_others(logits, y, count)
    moves, distances, gaps, lengths = [], [], [], []
    for each in classes.unbind(1):
        probe = record.probe(rows, x, towards(each, y))
        gap = -probe.value
        record.note_rounding(rows, x, probe.gradient)
        move = record.bounded(shortest_step(probe.gradient, record.aim(rows, gap), norm, low, high))
        short = inner(probe.gradient, move) < 0.99 * gap
        moves.append(move)
        distances.append(torch.where(short, torch.inf, norms(move, norm)))
        gaps.append(gap)
        lengths.append(gap / norms(probe.gradient, Norm.L2).clamp_min(TINY))
    table = torch.stack(distances, 1)
    order = table.argsort(dim=1, stable=True)
    nearest = table.amin(1)
    each_row = torch.arange(len(order), device=order.device)
    return Screen(
        classes=classes.gather(1, order),
        steps=torch.stack(moves)[order.T[:KEPT], each_row],
        distance=torch.where(nearest.isfinite(), nearest, 1.0),
        gap=torch.stack(gaps)[order[:, 0], each_row],
        l2=torch.stack(lengths)[order[:, 0], each_row].clamp_max(record.farthest),
        taken=count,
    )


def try_first(record: Smallest, rows: Tensor, nearest: Screen) -> Tensor:
    """Return the step to the nearest class, cut to the box, after trying it out."""
    x = record.x[rows]
    at = record.inside(rows, x + nearest.steps[0])
    record.try_out(rows, at)
    return at - x


def towards(target: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the objective ``z[target] - z[y]``."""
    return lambda logits: lead_over(logits, y, target)
