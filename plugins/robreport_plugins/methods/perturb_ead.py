"""EAD, the elastic-net attack for small L1 perturbations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.geometry import TINY, column, norms
from robreport_plugins.methods.perturb import Attempt, Bounds, check_counts
from robreport_plugins.methods.perturb_penalty import FIRST, Descent, search_constants
from robreport_plugins.methods.perturb_screen import screen
from robreport_plugins.methods.perturb_smallest import Probe, Smallest, search_smallest

# The first step of the descent, in units of the largest coordinate of the linearised optimum; it
# falls with the square root of what is left of the search.
STEP = 0.005


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
    check_counts(searches=searches)
    if not weight >= 0:
        raise ValueError(f"weight must not be negative, found {weight}")
    record = Smallest(module, x, y, norm, bounds, (Norm.L1,))
    return search_smallest(
        record, steps, lambda rows, logits: _search(record, rows, logits, steps, searches, weight)
    )


def _search(
    record: Smallest, rows: Tensor, logits: Tensor, steps: int, searches: int, weight: float
) -> None:
    nearest = screen(record, rows, logits, steps)
    unit = nearest.steps[0].flatten(1).abs().amax(1).clamp_min(TINY)
    first = FIRST * (weight + 2) * nearest.distance / unit / nearest.gap.clamp_min(TINY)
    search_constants(
        record, rows, nearest, steps, searches, first,
        lambda constants, start: _Shrinkage(record, rows, constants, unit, start, weight),
    )  # fmt: skip


class _Shrinkage(Descent):
    """Steps along the gradient with momentum, each shrunk coordinate by coordinate."""

    _rows = (*Descent._rows, "ahead")

    def __init__(
        self,
        record: Smallest,
        rows: Tensor,
        constants: Tensor,
        unit: Tensor,
        start: Tensor,
        weight: float,
    ) -> None:
        super().__init__(record, rows, constants, unit, start)
        self.ahead, self.weight = start, weight

    def advance(self, k: int, length: int) -> tuple[Probe, Tensor]:
        unit = column(self.unit, self.delta)
        ahead = self.cut(self.ahead)
        probe = self.record.probe(self.rows, self.record.x[self.rows] + ahead)
        u = ahead / unit
        size = norms(u, Norm.L2).square() + self.weight * norms(u, Norm.L1)
        loss = size + self.shortfall(probe)
        constants = torch.where(probe.hit, 0.0, self.constants)
        slope = 2 * ahead / unit - column(constants, ahead) * unit * probe.gradient
        step = STEP * (1 - k / length) ** 0.5
        moved = ahead - step * unit * slope
        shrunk = moved.sign() * (moved.abs() - step * self.weight * unit).clamp_min(0)
        shrunk = self.cut(shrunk)
        self.ahead = shrunk + k / (k + 3) * (shrunk - self.delta)
        self.delta = shrunk
        return probe, loss
