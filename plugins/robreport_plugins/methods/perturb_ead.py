"""EAD, the elastic-net attack for small L1 perturbations."""

from __future__ import annotations

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

# The first step of the descent, in units of the largest coordinate of the linearised optimum; it
# falls with the square root of what is left of the search.
STEP = 0.005
# The first constant, in those that a linear model needs.
FIRST = 1.5
# How often a search asks which examples still get better.
CHECKS = 5


def ead(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm = Norm.L1,
    bounds: Bounds | None = None,
    steps: int = 1000,
    searches: int = 9,
    weight: float = 10.0,
    generator: torch.Generator | None = None,
) -> Attempt:
    """Return the smallest L1 perturbation found by an elastic-net descent.

    Parameters
    ----------
    module, x, y, bounds, steps, searches, generator
        As for `cw`.
    norm : Norm
        L1.
    weight : float
        Of the L1 norm against the squared L2 norm, where both are measured in units of the
        largest coordinate of the linearised optimum.

    Raises
    ------
    ModelError
        A gradient is not finite.
    ValueError
        Another norm, `steps` or `searches` below 1, or a negative weight.

    Notes
    -----
    Chen et al., "EAD: elastic-net attacks" (AAAI 2018): minimise ``||u||_2^2 + weight ||u||_1 +
    c * max(z_y - max over j != y of z_j, 0)`` by the fast iterative shrinkage-thresholding
    algorithm, and search the smallest c that succeeds; the smallest in L1 is kept. Different here:
    ``u = delta / s`` with s the largest coordinate of the smallest L1 perturbation that reaches
    the boundary linearised at x, which is also the first iterate and gives the first c, so that
    the scales of data and logits do not matter; the threshold is the exact proximal step, weight
    times step; later searches start from the best point; an example leaves a search when its loss
    stops falling; a bisection towards x closes the attack.
    """
    check_steps(steps)
    if searches < 1:
        raise ValueError(f"searches must be at least 1, found {searches}")
    if not weight >= 0:
        raise ValueError(f"weight must not be negative, found {weight}")
    record = Smallest(module, x, y, norm, bounds, (Norm.L1,))
    with frozen(module):
        rows, logits = record.open()
        if len(rows):
            nearest = screen(record, rows, logits, steps)
            count = min(searches, max(1, steps // CHECKS))
            _search(record, rows, nearest, steps, count, weight)
            record.tighten()
    return record.attempt()


def _search(
    record: Smallest, rows: Tensor, nearest: Screen, steps: int, searches: int, weight: float
) -> None:
    x = record.x[rows]
    start = try_first(record, rows, nearest)
    left = steps - nearest.taken
    unit = nearest.steps[0].flatten(1).abs().amax(1).clamp_min(TINY)
    constants = Constants(
        FIRST * (weight + 2) * nearest.distance / unit / nearest.gap.clamp_min(TINY)
    )
    for turn in range(searches):
        length = left // searches + (turn < left % searches)
        shrinkage = _Shrinkage(record, rows, constants.value, unit, weight)
        constants.narrow(shrinkage.run(start, length))
        known = torch.isfinite(record.size[rows])
        start = torch.where(column(known, x), record.best[rows] - x, start)


class _Shrinkage:
    """One search, with the constants given: the examples still in play, shrinking."""

    def __init__(
        self, record: Smallest, rows: Tensor, constants: Tensor, unit: Tensor, weight: float
    ) -> None:
        self.record, self.rows, self.constants = record, rows, constants
        self.unit, self.weight = unit, weight
        self.where = torch.arange(len(rows), device=rows.device)

    def run(self, start: Tensor, length: int) -> Tensor:
        """Return where the search met an adversarial."""
        found = torch.zeros(len(start), dtype=torch.bool, device=start.device)
        delta = ahead = start
        progress = Progress(self.unit)
        check = max(1, length // CHECKS)
        for k in range(length):
            x, unit = self.record.x[self.rows], column(self.unit, start)
            ahead = self.record.inside(self.rows, x + ahead) - x
            probe = self.record.probe(self.rows, x + ahead)
            found[self.where[probe.hit]] = True
            progress.note(self._loss(ahead, probe.value, probe.hit))
            constants = torch.where(probe.hit, 0.0, self.constants)
            slope = 2 * ahead / unit - column(constants, ahead) * unit * probe.gradient
            step = STEP * (1 - k / length) ** 0.5
            moved = ahead - step * unit * slope
            shrunk = moved.sign() * (moved.abs() - step * self.weight * unit).clamp_min(0)
            shrunk = self.record.inside(self.rows, x + shrunk) - x
            ahead = shrunk + k / (k + 3) * (shrunk - delta)
            delta = shrunk
            if (k + 1) % check == 0 and k + 1 < length:
                stay = progress.going_on()
                if not bool(stay.all()):
                    progress.keep(stay)
                    self._keep(stay)
                    delta, ahead = delta[stay], ahead[stay]
                if len(self.rows) == 0:
                    return found
        x = self.record.x[self.rows]
        hit = self.record.try_out(self.rows, self.record.inside(self.rows, x + delta))
        found[self.where[hit]] = True
        return found

    def _loss(self, delta: Tensor, value: Tensor, hit: Tensor) -> Tensor:
        u = delta / column(self.unit, delta)
        size = norms(u, Norm.L2).square() + self.weight * norms(u, Norm.L1)
        return size + self.constants * torch.where(hit, 0.0, -value).clamp_min(0)

    def _keep(self, stay: Tensor) -> None:
        self.rows, self.where = self.rows[stay], self.where[stay]
        self.constants, self.unit = self.constants[stay], self.unit[stay]
