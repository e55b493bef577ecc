"""Carlini and Wagner's attack for the smallest L2 perturbation, by projected Adam."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.geometry import norms
from robreport_plugins.methods.perturb import Attempt, Bounds, frozen
from robreport_plugins.methods.perturb_penalty import Constants, Progress
from robreport_plugins.methods.perturb_screen import Screen, screen, try_first
from robreport_plugins.methods.perturb_smallest import (
    TINY,
    Smallest,
    check_steps,
    column,
)

# Adam's memories of the gradient and of its square.
SLOW, SLOWER = 0.9, 0.999
# Adam's first step in each coordinate, in root-mean-square coordinates of the linearised optimum;
# it falls along half a cosine to nothing.
STEP = 0.6
# The first constant, in those that a linear model needs.
FIRST = 1.5
# How often a search asks which examples still get better.
CHECKS = 5


def cw(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm = Norm.L2,
    bounds: Bounds | None = None,
    steps: int = 1000,
    searches: int = 9,
    generator: torch.Generator | None = None,
) -> Attempt:
    """Return the smallest L2 perturbation found by trading its square against the margin.

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
        Gradients that each example may take in all, over all searches; at least 1.
    searches : int
        How many constants are tried, at most; at least 1.
    generator : torch.Generator or None
        Not used: nothing here is random.

    Raises
    ------
    ModelError
        A gradient is not finite.
    ValueError
        Another norm, or `steps` or `searches` below 1.

    Notes
    -----
    Carlini and Wagner, "Towards evaluating the robustness of neural networks" (2017): minimise
    ``||delta||_2^2 + c * max(z_y - max over j != y of z_j, 0)`` by Adam, and search the smallest c
    that succeeds. Different here: Adam moves delta itself and is projected onto the bounds, since
    a hyperbolic tangent has no gradient where a pixel stands at its bound and needs bounds at all;
    the first iterate, the first c and Adam's step come from the model linearised at x, so that
    the scales of data and logits do not matter; later searches start from the best point; an
    example leaves a search when its loss stops falling; a bisection towards x closes the attack.
    """
    check_steps(steps)
    if searches < 1:
        raise ValueError(f"searches must be at least 1, found {searches}")
    record = Smallest(module, x, y, norm, bounds, (Norm.L2,))
    with frozen(module):
        rows, logits = record.open()
        if len(rows):
            nearest = screen(record, rows, logits, steps)
            count = min(searches, max(1, steps // CHECKS))
            _search(record, rows, nearest, steps, count)
            record.tighten()
    return record.attempt()


def _search(record: Smallest, rows: Tensor, nearest: Screen, steps: int, searches: int) -> None:
    x = record.x[rows]
    start = try_first(record, rows, nearest)
    left = steps - nearest.taken
    size = nearest.distance
    unit = STEP * size / math.sqrt(max(1, x[0].numel()))
    constants = Constants(FIRST * 2 * size.square() / nearest.gap.clamp_min(TINY))
    for turn in range(searches):
        length = left // searches + (turn < left % searches)
        adam = _Adam(record, rows, constants.value, unit)
        constants.narrow(adam.run(start, length))
        known = torch.isfinite(record.size[rows])
        start = torch.where(column(known, x), record.best[rows] - x, start)


class _Adam:
    """One search, with the constants given: the examples still in play, shrinking."""

    def __init__(self, record: Smallest, rows: Tensor, constants: Tensor, unit: Tensor) -> None:
        self.record, self.rows, self.constants, self.unit = record, rows, constants, unit
        self.where = torch.arange(len(rows), device=rows.device)

    def run(self, start: Tensor, length: int) -> Tensor:
        """Return where the search met an adversarial."""
        found = torch.zeros(len(start), dtype=torch.bool, device=start.device)
        delta, mean, square = start, torch.zeros_like(start), torch.zeros_like(start)
        progress = Progress(self.unit)
        check = max(1, length // CHECKS)
        for k in range(length):
            x = self.record.x[self.rows]
            probe = self.record.probe(self.rows, self.record.inside(self.rows, x + delta))
            found[self.where[probe.hit]] = True
            hinge = torch.where(probe.hit, 0.0, -probe.value).clamp_min(0)
            progress.note(norms(delta, Norm.L2).square() + self.constants * hinge)
            weight = torch.where(probe.hit, 0.0, self.constants)
            slope = 2 * delta - column(weight, delta) * probe.gradient
            mean = SLOW * mean + (1 - SLOW) * slope
            square = SLOWER * square + (1 - SLOWER) * slope.square()
            fall = (1 + math.cos(math.pi * k / length)) / 2
            pace = mean / (1 - SLOW ** (k + 1))
            spread = (square / (1 - SLOWER ** (k + 1))).sqrt()
            step = pace / spread.clamp_min(TINY) * column(self.unit * fall, delta)
            delta = self.record.inside(self.rows, x + delta - step) - x
            if (k + 1) % check == 0 and k + 1 < length:
                stay = progress.going_on()
                if not bool(stay.all()):
                    progress.keep(stay)
                    self._keep(stay)
                    delta, mean, square = delta[stay], mean[stay], square[stay]
                if len(self.rows) == 0:
                    return found
        x = self.record.x[self.rows]
        hit = self.record.try_out(self.rows, self.record.inside(self.rows, x + delta))
        found[self.where[hit]] = True
        return found

    def _keep(self, stay: Tensor) -> None:
        self.rows, self.where = self.rows[stay], self.where[stay]
        self.constants, self.unit = self.constants[stay], self.unit[stay]
