"""Carlini and Wagner's attack for the smallest L2 perturbation, by projected Adam."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.geometry import TINY, column, norms
from robreport_plugins.methods.perturb import Attempt, Bounds, check_counts
from robreport_plugins.methods.perturb_penalty import FIRST, Descent, search_constants
from robreport_plugins.methods.perturb_screen import screen
from robreport_plugins.methods.perturb_smallest import Probe, Smallest, search_smallest

# Adam's memories of the gradient and of its square.
SLOW, SLOWER = 0.9, 0.999
# Adam's first step in each coordinate, in root-mean-square coordinates of the linearised optimum;
# it falls along half a cosine to nothing.
STEP = 0.6


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
    check_counts(searches=searches)
    record = Smallest(module, x, y, norm, bounds, (Norm.L2,))
    return search_smallest(
        record, steps, lambda rows, logits: _search(record, rows, logits, steps, searches)
    )


def _search(record: Smallest, rows: Tensor, logits: Tensor, steps: int, searches: int) -> None:
    nearest = screen(record, rows, logits, steps)
    size = nearest.distance
    unit = STEP * size / math.sqrt(max(1, record.x[0].numel()))
    first = FIRST * 2 * size.square() / nearest.gap.clamp_min(TINY)
    search_constants(
        record, rows, nearest, steps, searches, first,
        lambda constants, start: _Adam(record, rows, constants, unit, start),
    )  # fmt: skip


class _Adam(Descent):
    """Adam on the perturbation, projected onto the bounds."""

    _rows = (*Descent._rows, "mean", "square")

    def __init__(
        self, record: Smallest, rows: Tensor, constants: Tensor, unit: Tensor, start: Tensor
    ) -> None:
        super().__init__(record, rows, constants, unit, start)
        self.mean, self.square = torch.zeros_like(start), torch.zeros_like(start)

    def advance(self, k: int, length: int) -> tuple[Probe, Tensor]:
        x, delta = self.record.x[self.rows], self.delta
        probe = self.record.probe(self.rows, self.at(delta))
        loss = norms(delta, Norm.L2).square() + self.shortfall(probe)
        weight = torch.where(probe.hit, 0.0, self.constants)
        slope = 2 * delta - column(weight, delta) * probe.gradient
        self.mean = SLOW * self.mean + (1 - SLOW) * slope
        self.square = SLOWER * self.square + (1 - SLOWER) * slope.square()
        fall = (1 + math.cos(math.pi * k / length)) / 2
        pace = self.mean / (1 - SLOW ** (k + 1))
        spread = (self.square / (1 - SLOWER ** (k + 1))).sqrt()
        step = pace / spread.clamp_min(TINY) * column(self.unit * fall, delta)
        self.delta = self.record.inside(self.rows, x + delta - step) - x
        return probe, loss
