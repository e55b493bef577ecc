"""FAB, the fast adaptive boundary attack: small perturbations in Linf, L2 and L1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.geometry import TINY, column, norms, uniform_in_ball
from robreport_plugins.methods.geometry_hyperplane import shortest_step
from robreport_plugins.methods.perturb import (
    Attempt,
    Bounds,
    check_counts,
    class_gradients,
    competing,
    everyone,
    frozen,
    hits,
    input_gradient,
    lead_over,
    let_go,
    likely_others,
    outputs,
    rounding,
)
from robreport_plugins.methods.perturb_smallest import Nearest

# Croce and Hein, 2020: at most this weight on the way from the input itself, this much beyond
# the boundary, this share kept of a perturbation that was enough; random starts at half the
# smallest perturbation known.
MOST_FROM_INPUT = 0.1
BEYOND = 1.05
BACKWARDS = 0.9
START_SHARE = 0.5
# A cut of the last search aims this far past where the margin's secant crosses zero.
PAST_SECANT = 0.02
# What errors call the difference of two logits.
NAME = "class-difference"


def fab(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    bounds: Bounds | None = None,
    steps: int = 100,
    restarts: int = 1,
    classes: int | None = 9,
    within: float | None = None,
    cuts: int = 3,
    generator: torch.Generator | None = None,
    early_stop: bool = True,
    among: Tensor | None = None,
) -> Attempt:
    """Return the smallest adversarial example that steps along the decision boundary find.

    Parameters
    ----------
    module : nn.Module
        Maps ``(n, *shape)`` to logits ``(n, k)``, each example by itself.
    x : Tensor (n, *shape)
    y : Tensor (n,) of int64
        The true classes.
    norm : Norm
        L1, L2 or Linf.
    bounds : (low, high) or None
        Of the data; floats or tensors that broadcast to `x` (per feature, or per example).
    steps : int
        Steps of each start towards each class, at least 1.
    restarts : int
        Starts, at least 1: the first at `x`, the others at random.
    classes : int or None
        How many other classes to aim at in turn, most likely first (FAB-T: one gradient a step);
        None for the nearest boundary at each step (FAB: k - 1 gradients a step).
    within : float or None
        A radius that is small enough: perturbations above it are not claimed, and an example
        is finished once it has one below. None for the smallest that is found.
    cuts : int
        Predictions that the smallest perturbation of each example is cut with at the end, along
        the line to `x`; none where `within` is given.
    generator : torch.Generator on the CPU
        Source of the random starts. Each example's starts depend on its place in `x` alone.
    early_stop : bool
        With `within`: examples that are finished leave the batch.
    among : Tensor (n,) of bool, or None
        Attack these only; the others are handed back as they are.

    Raises
    ------
    ModelError
        A gradient is not finite.
    ValueError
        The norm is L0, a count is below 1, or `within` is negative or not finite.

    Notes
    -----
    Croce and Hein (ICML 2020, "Minimally distorted adversarial examples with a fast adaptive
    boundary attack", algorithm 1): the decision boundary is linearised at the iterate, and both
    the iterate and `x` are projected onto it inside the bounds, exactly
    (`geometry_hyperplane.shortest_step`); the next iterate is a mean of the two, weighted by how
    close each is. An iterate that is misclassified is kept where it is the smallest, and the
    next starts a tenth back towards `x`.
    """
    if norm is Norm.L0:
        raise ValueError("FAB is defined in L1, L2 and Linf")
    check_counts(steps=steps, restarts=restarts, classes=1 if classes is None else classes)
    if within is not None and not 0 <= within < torch.inf:
        raise ValueError(f"within must be finite and not negative, found {within!r}")
    hunt = _Hunt(module, x, y, norm, bounds, within, among)
    with frozen(module):
        logits = hunt.look()
        targets: list[Tensor | None] = [None]
        if classes is not None:
            targets = list(likely_others(logits, y, classes).unbind(1))
        for target in targets:
            for restart in range(restarts):
                if restart:
                    hunt.scatter(generator)
                else:
                    hunt.start = x
                hunt.chase(target, steps, early_stop)
        if within is None:
            hunt.cut(cuts)
    return hunt.attempt(within)


class _Hunt(Nearest):
    """The smallest perturbation of each example so far, over all starts and targets."""

    def __init__(
        self,
        module: nn.Module,
        x: Tensor,
        y: Tensor,
        norm: Norm,
        bounds: Bounds | None,
        within: float | None,
        among: Tensor | None,
    ) -> None:
        super().__init__(module, x, y, norm, bounds)
        self.enough = 0.0 if within is None else within
        # How far each walk got, for the random starts of examples that nothing was found for.
        self.reached = torch.zeros_like(self.size)
        self.among = everyone(x, among)
        self.start = x

    def look(self) -> Tensor:
        """Return the outputs of the inputs themselves, which may need no perturbation at all."""
        rows = torch.nonzero(self.among).squeeze(1)
        answers = outputs(self.module, self.x[rows])
        self.queries += len(rows)
        self.size[rows[hits(answers, self.y[rows])]] = 0.0
        logits = answers.new_zeros(len(self.x), answers.shape[1])
        logits[rows] = answers
        self.clean = logits
        return logits

    def scatter(self, generator: torch.Generator | None) -> None:
        """Start at random, at half of what is known to be enough or was walked in vain."""
        radius = torch.where(self.size < torch.inf, self.size, self.reached)
        if self.enough:
            radius = radius.clamp_max(self.enough)
        away = uniform_in_ball(self.x, self.norm, START_SHARE, generator)
        away = away / column(norms(away, self.norm).clamp_min(TINY), away)
        start = self.x + away * column(START_SHARE * radius, away)
        self.start = self.inside(torch.arange(len(start), device=start.device), start)

    def chase(self, target: Tensor | None, steps: int, early_stop: bool) -> None:
        """Walk along the boundary (to one class, or the nearest) from the start."""
        where = torch.nonzero(self.among & (self.size > self.enough)).squeeze(1)
        point = self.start[where]
        for _ in range(steps):
            if len(where) == 0:
                return
            x, y, low, high = (part[where] for part in (self.x, self.y, self.low, self.high))
            aims = None if target is None else target[where]
            lead, normal = self._boundary(point, y, aims)
            point = self._step(point, x, lead, normal, low, high)
            logits = outputs(self.module, point)
            self.queries += len(point)
            hit = hits(logits, y)
            size = norms(point - x, self.norm)
            self.reached[where] = size
            self.offer(where, point, size, hit)
            point = torch.where(column(hit, point), x + BACKWARDS * (point - x), point)
            if early_stop and self.enough:
                stay = self.size[where] > self.enough
                if let_go(stay):
                    where, point = where[stay], point[stay]

    def _boundary(self, point: Tensor, y: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return (z[j] - z[y], its gradient), for the target or the j whose boundary is nearest.

        The difference is taken from a clear lead, since steps that aim at a draw may end there.
        """
        if target is not None:
            aims = target
            self.gradients += len(point)
            logits, lead, normal = input_gradient(
                self.module, point, lambda z: lead_over(z, y, aims), NAME
            )
            return lead - _wanted(logits, y, aims), normal
        dual = {Norm.L1: torch.inf, Norm.L2: 2, Norm.Linf: 1}[self.norm]
        classes = torch.arange(self.clean.shape[1], device=y.device).expand(len(y), -1)
        others = classes[classes != y[:, None]].view(len(y), -1)
        self.gradients += others.numel()
        logits, leads = class_gradients(self.module, point, y, others, NAME)
        lead = normal = nearest = torch.zeros(())
        for rank, (other, (there, new)) in enumerate(zip(others.unbind(1), leads, strict=True)):
            new_lead = there - _wanted(logits, y, other)
            slope = torch.linalg.vector_norm(new.flatten(1), ord=dual, dim=1)
            distance = torch.where(slope > 0, new_lead.abs() / slope, torch.inf)
            if rank == 0:
                lead, normal, nearest = new_lead, new, distance
                continue
            closer = distance < nearest
            lead = torch.where(closer, new_lead, lead)
            normal = torch.where(column(closer, new), new, normal)
            nearest = torch.minimum(distance, nearest)
        return lead, normal

    def _step(
        self, point: Tensor, x: Tensor, lead: Tensor, normal: Tensor, low: Tensor, high: Tensor
    ) -> Tensor:
        """Return the mean of the iterate's and the input's way onto the boundary, a bit beyond."""
        here = shortest_step(normal, -lead, self.norm, low - point, high - point)
        climbed = (normal * (point - x)).flatten(1).sum(1)
        there = shortest_step(normal, climbed - lead, self.norm, low - x, high - x)
        near, far = (norms(way, self.norm).clamp_min(1e-8) for way in (here, there))
        weight = column((near / (near + far)).clamp_max(MOST_FROM_INPUT), point)
        moved = (1 - weight) * (point + BEYOND * here) + weight * (x + BEYOND * there)
        return torch.minimum(torch.maximum(moved, low), high)

    def cut(self, cuts: int) -> None:
        """Shorten what was found along the line to its input, by secants of the margin."""
        rows = torch.nonzero(self.among & (self.size > 0) & (self.size < torch.inf)).squeeze(1)
        if cuts < 1 or len(rows) == 0:
            return
        x, y = self.x[rows], self.y[rows]
        whole = self.best[rows] - x
        below, above = torch.zeros_like(self.size[rows]), torch.ones_like(self.size[rows])
        under = _clear_lead(self.clean[rows], y)
        over = _clear_lead(outputs(self.module, self.best[rows]), y)
        self.queries += len(rows)
        for _ in range(cuts):
            crossing = below - under * (above - below) / (over - under).clamp_min(TINY)
            share = crossing + PAST_SECANT * (above - crossing)
            point = self.inside(rows, x + whole * column(share, whole))
            lead = _clear_lead(outputs(self.module, point), y)
            self.queries += len(rows)
            size = norms(point - x, self.norm)
            hit = lead > 0
            self.offer(rows, point, size, hit)
            below, under = torch.where(hit, below, share), torch.where(hit, under, lead)
            above, over = torch.where(hit, share, above), torch.where(hit, lead, over)


def _wanted(logits: Tensor, y: Tensor, other: Tensor) -> Tensor:
    own, rival = (logits.gather(1, which[:, None]).squeeze(1) for which in (y, other))
    return 2 * rounding(own, rival)


def _clear_lead(logits: Tensor, y: Tensor) -> Tensor:
    """The margin beyond what rounding explains: positive exactly where `hits` says so."""
    own, rival = competing(logits, y)
    return rival - own - rounding(own, rival)
