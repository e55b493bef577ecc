"""What attacks for the smallest perturbation record: the best so far, and what it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.geometry import TINY, column, norms, unit_direction
from robreport_plugins.methods.perturb import (
    Attempt,
    Bounds,
    check_counts,
    frozen,
    full_box,
    hits,
    input_gradient,
    least_lead,
    margin,
    outputs,
)

# The closing bisection leaves a relative error of 2 ** -12, a fortieth of a percent.
BISECTIONS = 12
# The linearised boundary is overshot by this factor, so that iterates come to lie behind it.
OVERSHOOT = 1.02
# No coordinate moves by more than so many times the data's magnitude: a nearly flat model without
# bounds would send linearised steps to where its outputs overflow.
FARTHEST = 1e4
# Of the terms' sum, what rounding to float32 leaves uncertain, with room to spare.
ROUNDING = 1e-6

Objective = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Probe:
    """One gradient evaluation: ``logits (m, k)``, ``value (m,)``, ``gradient``, ``hit (m,)``."""

    logits: Tensor
    value: Tensor
    gradient: Tensor
    hit: Tensor


class Nearest:
    """The nearest adversarial seen of each example, with the gradients and queries it took.

    Parameters
    ----------
    module, x, y, norm, bounds
        As for the attack.

    Attributes
    ----------
    best, size : Tensor (n, *shape), (n,)
        The nearest adversarial, and how far it lies: `x` and infinity until one is found.
    gradients, queries : int
        As in `Attempt`.
    """

    def __init__(
        self, module: nn.Module, x: Tensor, y: Tensor, norm: Norm, bounds: Bounds | None
    ) -> None:
        self.module, self.x, self.y, self.norm = module, x, y, norm
        self.low, self.high = full_box(x, bounds)
        self.best = x.clone()
        self.size = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
        self.gradients = 0
        self.queries = 0

    def inside(self, rows: Tensor, at: Tensor) -> Tensor:
        """Return the points cut to the bounds of their examples."""
        return torch.minimum(torch.maximum(at, self.low[rows]), self.high[rows])

    def offer(self, rows: Tensor, at: Tensor, size: Tensor, hit: Tensor) -> Tensor:
        """Keep the adversarials among some points that are nearer, and return which, ``(m,)``."""
        better = hit & (size < self.size[rows])
        if bool(better.any()):
            self.best[rows[better]] = at.detach()[better]
            self.size[rows[better]] = size[better]
        return better

    def attempt(self, most: float | None = None) -> Attempt:
        """Return what was found; with `most`, only what lies within is claimed."""
        claimed = torch.isfinite(self.size) if most is None else self.size <= most
        return Attempt(
            x_adv=self.best, claimed=claimed, gradients=self.gradients, queries=self.queries
        )


class Smallest(Nearest):
    """The nearest adversarials of an attack that begins at the examples, with their classes.

    Parameters
    ----------
    module, x, y, norm, bounds
        As for the attack.
    allowed : tuple of Norm
        In which the attack is defined.

    Attributes
    ----------
    best, size, label : Tensor (n, *shape), (n,), (n,)
        The smallest adversarial, how far it lies, and its class. Size and class are 0 and -1
        where the module errs on `x` itself, infinite and -1 where nothing was found yet.
    least_lead : Tensor (n,)
        By how much another class must lead to count, from the competing logits at `x`.
    farthest : float
        How far a coordinate may be moved at all.
    gradients, queries : int
        As in `Attempt`.

    Raises
    ------
    ValueError
        Another norm.
    """

    def __init__(
        self,
        module: nn.Module,
        x: Tensor,
        y: Tensor,
        norm: Norm,
        bounds: Bounds | None,
        allowed: tuple[Norm, ...],
    ) -> None:
        if norm not in allowed:
            names = " and ".join(each.value for each in allowed)
            raise ValueError(f"this attack is defined in {names}, not in {norm.value}")
        super().__init__(module, x, y, norm, bounds)
        self.least_lead = torch.zeros_like(self.size)
        self.label = torch.full((len(x),), -1, dtype=torch.long, device=x.device)
        magnitude = x.detach().abs().amax() if x.numel() else torch.zeros(())
        self.farthest = FARTHEST * (1 + float(magnitude))

    def open(self) -> tuple[Tensor, Tensor]:
        """Return (rows, logits) of the examples that the module still gets right."""
        if len(self.x) == 0:
            nothing = torch.zeros(0, dtype=torch.long, device=self.x.device)
            return nothing, torch.zeros(0, 2, dtype=self.x.dtype, device=self.x.device)
        logits = outputs(self.module, self.x)
        self.queries += len(self.x)
        wrong = hits(logits, self.y)
        self.size[wrong] = 0.0
        # Near a boundary both logits may vanish, and a lead relative to them would mean nothing.
        self.least_lead = least_lead(logits, self.y)
        rows = torch.nonzero(~wrong).squeeze(1)
        return rows, logits[rows]

    def probe(self, rows: Tensor, at: Tensor, objective: Objective | None = None) -> Probe:
        """Return the gradient of an objective (the margin) at points of some examples.

        What is adversarial there is recorded.
        """
        y = self.y[rows]
        logits, value, gradient = input_gradient(
            self.module, at, objective or (lambda z: margin(z, y)), "margin"
        )
        self.gradients += len(rows)
        return Probe(logits, value, gradient, self._see(rows, at, logits))

    def try_out(self, rows: Tensor, at: Tensor) -> Tensor:
        """Return where points of some examples are adversarial, and record them."""
        if len(rows) == 0:
            return torch.zeros(0, dtype=torch.bool, device=self.x.device)
        self.queries += len(rows)
        return self._see(rows, at, outputs(self.module, at))

    def aim(self, rows: Tensor, gap: Tensor, overshoot: float = OVERSHOOT) -> Tensor:
        """Return the rise that takes a class from `gap` behind to a clear lead, ``(m,)``."""
        return (overshoot * gap + 2 * self.least_lead[rows]).clamp_min(0)

    def note_rounding(self, rows: Tensor, at: Tensor, gradient: Tensor) -> None:
        """Ask for leads that outlast the rounding of the terms that make up a linear model.

        Between two classes the logits near a boundary may all be small, though they are sums of
        large terms; gradient times input tells how large.
        """
        terms = ROUNDING * inner(gradient.abs(), at.abs())
        self.least_lead[rows] = torch.maximum(self.least_lead[rows], terms)

    def bounded(self, step: Tensor) -> Tensor:
        """Return a step without coordinates so long that the module would overflow."""
        return step.clamp(-self.farthest, self.farthest)

    def tighten(self) -> None:
        """Bisect between each example and its best adversarial, which is recorded if smaller."""
        rows = torch.nonzero(torch.isfinite(self.size) & (self.size > 0)).squeeze(1)
        start, delta = self.x[rows], self.best[rows] - self.x[rows]
        near = torch.zeros(len(rows), dtype=self.x.dtype, device=self.x.device)
        far = torch.ones_like(near)
        order = None
        if self.norm is Norm.L0:
            # The k largest changes are kept, and k is bisected.
            order = delta.flatten(1).abs().argsort(dim=1, descending=True, stable=True).argsort(1)
        for _ in range(BISECTIONS):
            middle = (near + far) / 2
            if order is None:
                part = column(middle, delta) * delta
            else:
                kept = order < (middle * self.size[rows]).ceil()[:, None]
                part = torch.where(kept.view_as(delta), delta, torch.zeros_like(delta))
            hit = self.try_out(rows, self.inside(rows, start + part))
            far = torch.where(hit, middle, far)
            near = torch.where(hit, near, middle)

    def _see(self, rows: Tensor, at: Tensor, logits: Tensor) -> Tensor:
        y = self.y[rows]
        hit = hits(logits, y) & (margin(logits, y) > self.least_lead[rows])
        size = norms(at - self.x[rows], self.norm)
        better = self.offer(rows, at, size, hit)
        if bool(better.any()):
            self.label[rows[better]] = rival(logits, y)[better]
        return hit


def search_smallest(
    record: Smallest, steps: int, seek: Callable[[Tensor, Tensor], None]
) -> Attempt:
    """Return what a search finds for the examples that the module gets right, bisected.

    Parameters
    ----------
    record : Smallest
        New: what the search finds is kept there.
    steps : int
        Gradients that each example may take in all, at least 1.
    seek : callable, Tensor (m,), Tensor (m, k)
        The search: which examples the module gets right, and its logits there.
    """
    check_counts(steps=steps)
    with frozen(record.module):
        rows, logits = record.open()
        if len(rows):
            seek(rows, logits)
            record.tighten()
    return record.attempt()


def rival(logits: Tensor, y: Tensor) -> Tensor:
    """Return the likeliest class other than `y`, ``(n,)``."""
    best: Tensor = logits.scatter(1, y[:, None], -torch.inf).argmax(1)
    return best


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each example's two arrays, ``(n,)``."""
    return (a * b).flatten(1).sum(1)


def direction(gradient: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return each gradient over its L2 norm; a random direction where it is zero."""
    found = unit_direction(gradient)
    flat = (gradient == 0).flatten(1).all(1)
    if bool(flat.any()):
        draw = torch.randn(gradient.flatten(1).shape, generator=generator).to(gradient)
        size = torch.linalg.vector_norm(draw, dim=1, keepdim=True).clamp_min(TINY)
        found = torch.where(column(flat, found), (draw / size).view_as(found), found)
    return found
