"""The Square attack: random search on the scores alone, in Linf, L2 and L1."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from robreport import Norm
from robreport_plugins.methods.geometry import TINY, check_ball, linear_maximum, norms, project
from robreport_plugins.methods.perturb import (
    Attempt,
    Bounds,
    check_counts,
    everyone,
    full_box,
    least_lead,
    margin,
    room_in_ball,
)

Scores = Callable[[Tensor], Tensor]
Window = tuple[slice, slice, slice | Tensor, slice | Tensor]
# A window and what stood in it, where a proposal was written over the best.
Undo = tuple[Window, Tensor] | None

# Share of the features that a proposal changes, halved at these shares of ten thousand queries
# (Andriushchenko et al., 2020, section 4).
HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
# Tiles along each side of the first perturbation in L2 and L1.
TILES = 5
LEAST_SIDE = 3


def square(
    scores: Scores,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    eps: float,
    bounds: Bounds | None = None,
    queries: int = 5000,
    share: float = 0.8,
    targeted: bool = False,
    generator: torch.Generator | None = None,
    among: Tensor | None = None,
) -> Attempt:
    """Return what random search over squares of pixels (or sets of features) finds.

    Parameters
    ----------
    scores : callable
        Maps ``(n, *shape)`` to ``(n, k)``, larger is more likely: logits, log-probabilities or
        probabilities. Nothing else is asked of the model.
    x : Tensor (n, *shape)
        ``(n, channels, height, width)`` are images; every other shape is a table.
    y : Tensor (n,) of int64
        The true classes, or the classes aimed at when `targeted`.
    norm : Norm
        L1, L2 or Linf.
    eps : float
        Radius, in input units.
    bounds : (low, high) or None
        Of the data; floats or tensors that broadcast to `x` (per feature, or per example).
    queries : int
        Predictions of each example at most, at least 1. Broken examples leave at once.
    share : float
        Of the features that the first proposals change, in (0, 1].
    generator : torch.Generator on the CPU
        Source of the proposals. What one example is offered does not depend on the others.
    among : Tensor (n,) of bool, or None
        Attack these only; the others are handed back as they are.

    Raises
    ------
    ValueError
        The norm is L0, the radius is negative or not finite, or `queries` or `share` is out of
        its range.

    Notes
    -----
    Andriushchenko et al. (ECCV 2020); the L1 version after Croce and Hein (ICML 2021). A
    proposal is kept where the margin of the wrong classes rises. In Linf a square is set to one
    corner of the ball in each channel, beginning with vertical stripes; in L2 and L1 one square
    hands its share of the radius to another, in which a pyramid is added. Features of a table
    have no neighbours: a set of features at random stands in for the square, and each gets a
    sign of its own. In L2 the perturbation is stretched until it uses up the radius inside the
    bounds.
    """
    check_ball(norm, eps)
    check_counts(queries=queries)
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], found {share!r}")
    search = _Corners if norm is Norm.Linf else _Pyramids
    return search(scores, x, y, norm, eps, bounds, targeted, generator, among).run(queries, share)


class _Walk(ABC):
    """The examples still in play, as (n, channels, height, width), shrinking as they break."""

    def __init__(
        self,
        scores: Scores,
        x: Tensor,
        y: Tensor,
        norm: Norm,
        eps: float,
        bounds: Bounds | None,
        targeted: bool,
        generator: torch.Generator | None,
        among: Tensor | None,
    ) -> None:
        self.scores, self.norm, self.eps, self.targeted = scores, norm, eps, targeted
        self.generator = generator
        self.whole, self.shape = x, x.shape[1:]
        self.where = torch.nonzero(everyone(x, among)).squeeze(1)
        low, high = full_box(x, bounds)
        self.image = x.ndim == 4
        seen = (len(x), *(self.shape if self.image else (1, 1, math.prod(self.shape))))
        self.c, self.h, self.w = seen[1:]
        self.everyone = len(x)
        self.x, self.low, self.high = (part.reshape(seen)[self.where] for part in (x, low, high))
        self.y = y[self.where]
        self.queries = 0

    def run(self, queries: int, share: float) -> Attempt:
        """Ask at most so many times for each example."""
        found = self.whole.clone()
        claimed = torch.zeros(self.everyone, dtype=torch.bool, device=found.device)
        self.best = self.first()
        self.best_lead = torch.full_like(self.x[:, 0, 0, 0], -torch.inf)
        for query in range(queries):
            if len(self.where) == 0:
                break
            proposal, undo = self.best, None
            if query:
                proposal, undo = self.propose(self._side(share, query - 1, queries))
            answers = self.scores(proposal.reshape(len(proposal), *self.shape)).detach()
            self.queries += len(proposal)
            lead = margin(answers, self.y)
            if self.targeted:
                lead = -lead
            hit = lead > least_lead(answers, self.y)
            better = (lead > self.best_lead) | hit
            self.best_lead = torch.where(better, lead, self.best_lead)
            if query:
                self.settle(proposal, better, undo)
            if bool(hit.any()):
                rows = self.where[hit]
                found[rows] = self.best[hit].reshape(len(rows), *self.shape)
                claimed[rows] = True
                self.keep(~hit)
        if len(self.where):
            found[self.where] = self.best.reshape(len(self.where), *self.shape)
        return Attempt(x_adv=found, claimed=claimed, gradients=0, queries=self.queries)

    @abstractmethod
    def first(self) -> Tensor:
        """Return the first perturbed inputs."""

    @abstractmethod
    def propose(self, features: float) -> tuple[Tensor, Undo]:
        """Return perturbed inputs to ask about, and what `settle` needs."""

    @abstractmethod
    def settle(self, proposal: Tensor, better: Tensor, undo: Undo) -> None:
        """Keep the proposals that are better."""

    def keep(self, stay: Tensor) -> None:
        """Go on with these."""
        for name in ("x", "low", "high", "y", "where", "best", "best_lead"):
            setattr(self, name, getattr(self, name)[stay])

    def signs(self, *shape: int) -> Tensor:
        """Return +1 and -1 at random."""
        draw = torch.randint(0, 2, shape, generator=self.generator)
        return (draw * 2 - 1).to(device=self.x.device, dtype=self.x.dtype)

    def signs_of_each(self, *shape: int) -> Tensor:
        """Return signs for the examples in play, drawn for all so that none depends on them."""
        return self.signs(self.everyone, *shape)[self.where]

    def number(self, below: int) -> int:
        """Return a whole number at random."""
        return int(torch.randint(0, below, (1,), generator=self.generator))

    def window(self, features: float, least: int, odd: bool) -> tuple[Window, int]:
        """Return where a proposal changes something, and the square's side (features of a table).

        The square is `features` of the image in size, at least `least` wide and inside it.
        """
        if not self.image:
            count = min(max(round(features * self.w), 1), self.w)
            chosen = torch.randperm(self.w, generator=self.generator)[:count].to(self.x.device)
            return (slice(None), slice(None), slice(None), chosen), count
        side = max(round(math.sqrt(features * self.h * self.w)), least)
        side = min(side + (odd and side % 2 == 0), self.h, self.w)
        top, left = self.number(self.h - side + 1), self.number(self.w - side + 1)
        return (
            slice(None), slice(None), slice(top, top + side), slice(left, left + side)
        ), side  # fmt: skip

    def _side(self, share: float, asked: int, queries: int) -> float:
        """Return the share of the features that a proposal changes by now."""
        progress = asked / queries * 10000
        return share / 2.0 ** sum(progress > mark for mark in HALVED_AT)


class _Corners(_Walk):
    """Linf: every feature stands at one end of its room."""

    def first(self) -> Tensor:
        """Return vertical stripes, or a random corner for tables."""
        self.low, self.high = room_in_ball(self.x, self.norm, self.eps, (self.low, self.high))
        up = self.signs_of_each(self.c, 1, self.w) > 0
        return torch.where(up, self.high, self.low)

    def propose(self, features: float) -> tuple[Tensor, Undo]:
        """Change the window in place; `undo` holds what stood there."""
        window, side = self.window(features, 1, odd=False)
        signs = self.signs(1, self.c, 1, 1 if self.image else side)
        before = self.best[window].clone()
        self.best[window] = torch.where(signs > 0, self.high[window], self.low[window])
        return self.best, (window, before)

    def settle(self, proposal: Tensor, better: Tensor, undo: Undo) -> None:
        """Put back what stood in the window of the others."""
        if undo is not None:
            window, before = undo
            now = proposal[window]
            proposal[window] = torch.where(better[:, None, None, None], now, before)


class _Pyramids(_Walk):
    """L2 and L1: one window hands its share of the radius to another."""

    def first(self) -> Tensor:
        """Return tiles of pyramids with random signs; for tables a random sign for each."""
        delta = torch.zeros_like(self.x)
        if not self.image:
            return self._inside(self.signs_of_each(1, 1, self.w))
        side = max(min(self.h, self.w) // TILES, 1)
        pattern = self._pyramid(side)
        down, across = self.h // side, self.w // side
        top, left = (self.h - down * side) // 2, (self.w - across * side) // 2
        signs = self.signs_of_each(self.c, down, across)
        tiles = torch.kron(signs, pattern)
        delta[..., top : top + down * side, left : left + across * side] = tiles
        return self._inside(delta)

    def propose(self, features: float) -> tuple[Tensor, Undo]:
        """Return the best with one window emptied and a pyramid added to another."""
        delta = self.best - self.x
        gaining, side = self.window(features, LEAST_SIDE, odd=True)
        losing, _ = self.window(features, LEAST_SIDE, odd=True)
        if self.image:
            pattern = self._pyramid(side) * self.signs_of_each(self.c, 1, 1)
        else:
            pattern = self.signs_of_each(1, 1, side)
        old = delta[gaining].clone()
        added = pattern + old / self._size(old).clamp_min(1e-12)
        both = torch.zeros_like(delta)
        both[gaining] = delta[gaining]
        both[losing] = delta[losing]
        power = 2 if self.norm is Norm.L2 else 1
        spent = _total(delta, power)
        spare = ((self.eps**power - spent).clamp_min(0) + _total(both, power)) / self.c
        delta[losing] = 0
        delta[gaining] = added / self._size(added).clamp_min(1e-12) * spare ** (1 / power)
        return self._inside(delta), None

    def settle(self, proposal: Tensor, better: Tensor, undo: Undo) -> None:
        """Take the better ones."""
        self.best = torch.where(better[:, None, None, None], proposal, self.best)

    def _size(self, part: Tensor) -> Tensor:
        size: Tensor = torch.linalg.vector_norm(part, ord=self.norm.order, dim=(2, 3), keepdim=True)
        return size

    def _inside(self, delta: Tensor) -> Tensor:
        """Stretch the perturbation to the radius, inside the bounds."""
        low, high = self.low - self.x, self.high - self.x
        if self.norm is Norm.L2:
            delta = linear_maximum(delta, Norm.L2, self.eps, low, high)
        else:
            size = norms(delta, Norm.L1).clamp_min(TINY)[:, None, None, None]
            delta = project(delta * (self.eps / size), Norm.L1, self.eps, low, high)
        return torch.minimum(torch.maximum(self.x + delta, self.low), self.high)

    def _pyramid(self, side: int) -> Tensor:
        """Return a two-peaked pattern of the given side, one peak up and one down, of norm one."""
        tall = torch.zeros(side, side)
        half = side // 2
        for columns, sign in ((slice(0, half), -1.0), (slice(half, side), 1.0)):
            width = columns.stop - columns.start
            if width:
                tall[:, columns] = sign * _peak(side, width)
        if self.number(2):
            tall = tall.T.contiguous()
        size: Tensor = torch.linalg.vector_norm(tall.flatten(), ord=self.norm.order)
        return (tall / size).to(device=self.x.device, dtype=self.x.dtype)


def _total(delta: Tensor, power: int) -> Tensor:
    total: Tensor = delta.abs().pow(power).sum((1, 2, 3), keepdim=True)
    return total


def _peak(height: int, width: int) -> Tensor:
    """Return a bump that falls off from its middle in rectangular rings."""
    rings = min((height + 1) // 2, (width + 1) // 2)
    bump = torch.zeros(height, width)
    for ring in range(rings):
        # The outermost ring lies at the border, the innermost around the middle.
        edge = (height - 1) // 2 * ring // max(rings - 1, 1)
        bump[edge : height - edge, ring : width - ring] += 1.0 / (rings - ring) ** 2
    return bump
