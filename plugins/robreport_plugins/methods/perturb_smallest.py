"""What attacks for the smallest perturbation record: the best so far, and what it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.geometry import norms, unit_scale
from robreport_plugins.methods.perturb import (
    CLEAR_LEAD,
    Attempt,
    Bounds,
    full_box,
    hits,
    input_gradient,
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
# Divides without a zero; far below any gradient or step that float32 can carry.
TINY = 1e-30

Objective = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Probe:
    """One gradient evaluation: ``logits (m, k)``, ``value (m,)``, ``gradient``, ``hit (m,)``."""

    logits: Tensor
    value: Tensor
    gradient: Tensor
    hit: Tensor


class Smallest:
    """The smallest adversarial seen of each example, with the gradients and queries it took.

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
        By how much another class must lead to count, from the logits at `x`.
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
        self.module, self.x, self.y, self.norm = module, x, y, norm
        self.low, self.high = full_box(x, bounds)
        self.best = x.clone()
        self.size = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
        self.least_lead = torch.zeros_like(self.size)
        self.label = torch.full((len(x),), -1, dtype=torch.long, device=x.device)
        magnitude = x.detach().abs().amax() if x.numel() else torch.zeros(())
        self.farthest = FARTHEST * (1 + float(magnitude))
        self.gradients = 0
        self.queries = 0

    def open(self) -> tuple[Tensor, Tensor]:
        """Return (rows, logits) of the examples that the module still gets right."""
        if len(self.x) == 0:
            nothing = torch.zeros(0, dtype=torch.long, device=self.x.device)
            return nothing, torch.zeros(0, 2, dtype=self.x.dtype, device=self.x.device)
        logits = outputs(self.module, self.x)
        self.queries += len(self.x)
        wrong = hits(logits, self.y)
        self.size[wrong] = 0.0
        # Near a boundary all logits may vanish, and a lead relative to them would mean nothing.
        self.least_lead = CLEAR_LEAD * logits.abs().amax(1)
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

    def inside(self, rows: Tensor, at: Tensor) -> Tensor:
        """Return the points cut to the bounds of their examples."""
        return torch.minimum(torch.maximum(at, self.low[rows]), self.high[rows])

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

    def attempt(self) -> Attempt:
        """Return what was found."""
        return Attempt(
            x_adv=self.best,
            claimed=torch.isfinite(self.size),
            gradients=self.gradients,
            queries=self.queries,
        )

    def _see(self, rows: Tensor, at: Tensor, logits: Tensor) -> Tensor:
        y = self.y[rows]
        hit = hits(logits, y) & (margin(logits, y) > self.least_lead[rows])
        size = norms(at - self.x[rows], self.norm)
        better = hit & (size < self.size[rows])
        if bool(better.any()):
            self.best[rows[better]] = at.detach()[better]
            self.size[rows[better]] = size[better]
            self.label[rows[better]] = rival(logits, y)[better]
        return hit


def rival(logits: Tensor, y: Tensor) -> Tensor:
    """Return the likeliest class other than `y`, ``(n,)``."""
    best: Tensor = logits.scatter(1, y[:, None], -torch.inf).argmax(1)
    return best


def column(values: Tensor, like: Tensor) -> Tensor:
    """Return one value for each example, ``(n,)``, shaped to multiply ``(n, *shape)``."""
    return values.view(-1, *[1] * (like.ndim - 1))


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each example's two arrays, ``(n,)``."""
    return (a * b).flatten(1).sum(1)


def direction(gradient: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return each gradient over its L2 norm; a random direction where it is zero."""
    flat = gradient.flatten(1)
    flat = unit_scale(flat.abs()) * flat.sign()
    size = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    if bool((size == 0).any()):
        draw = torch.randn(flat.shape, generator=generator).to(flat)
        flat = torch.where(size > 0, flat, draw)
        size = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    unit: Tensor = flat / size.clamp_min(TINY)
    return unit.view_as(gradient)


def check_steps(steps: int, least: int = 1) -> None:
    """Raise a ValueError unless there are steps enough."""
    if steps < least:
        raise ValueError(f"steps must be at least {least}, found {steps}")
