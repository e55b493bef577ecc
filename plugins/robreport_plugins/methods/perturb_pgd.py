"""FGSM and projected gradient descent in Linf, L2 and L1, inside the data's bounds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.geometry import (
    linear_maximum,
    project,
    uniform_in_ball,
    unit_direction,
)
from robreport_plugins.methods.perturb import (
    Attempt,
    Bounds,
    LossName,
    check_counts,
    frozen,
    full_box,
    hits,
    let_go,
    loss_gradient,
    outputs,
    room_in_ball,
)

# (candidates, their places in the batch) to the inputs that they are judged as.
Settle = Callable[[Tensor, Tensor], Tensor]


def fgsm(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    eps: float,
    bounds: Bounds | None = None,
    loss: LossName = "cross-entropy",
    targeted: bool = False,
) -> Attempt:
    """Return one step to where the linearised loss is largest in the ball cut by the bounds.

    Parameters
    ----------
    module : nn.Module
        Maps ``(n, *shape)`` to logits ``(n, k)``, each example by itself.
    x : Tensor (n, *shape)
    y : Tensor (n,) of int64
        The true classes, or the classes aimed at when `targeted`.
    norm : Norm
        L1, L2 or Linf.
    eps : float
        Radius, in input units.
    bounds : (low, high) or None
        Of the data; floats or tensors that broadcast to `x` (per feature, or per example).
    loss : "cross-entropy", "margin" or "dlr"

    Raises
    ------
    ModelError
        A gradient is not finite.
    ValueError
        The norm is L0, or the radius is negative or not finite.

    Notes
    -----
    Linf: ``x + eps * sign(g)``, clipped (Goodfellow et al., 2015). In L2 and L1 the step is the
    exact maximum of ``<g, u>`` over the ball and the box together, which for a linear binary
    classifier is the optimal attack.
    """
    low, high = full_box(x, bounds)
    with frozen(module):
        _, gradient = loss_gradient(module, x, y, loss)
        if targeted:
            gradient = -gradient
        x_adv = x + linear_maximum(gradient, norm, eps, low - x, high - x)
        x_adv = torch.minimum(torch.maximum(x_adv, low), high)
        claimed = hits(outputs(module, x_adv), y, targeted)
    return Attempt(x_adv=x_adv, claimed=claimed, gradients=len(x), queries=len(x))


def pgd(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    eps: float,
    bounds: Bounds | None = None,
    steps: int = 40,
    step: float | None = None,
    restarts: int = 1,
    random_start: bool = True,
    generator: torch.Generator | None = None,
    loss: LossName = "cross-entropy",
    targeted: bool = False,
    early_stop: bool = True,
    settle: Settle | None = None,
) -> Attempt:
    """Return what `steps` projected steepest-ascent steps on the loss find.

    Parameters
    ----------
    module, x, y, norm, eps, bounds, loss, targeted
        As for `fgsm`.
    steps : int
        Steps of each restart, at least 1.
    step : float or None
        Length of a step in the norm, in input units; None for ``2.5 * eps / steps``.
    restarts : int
        How often to start; all but the first start at random whatever `random_start` says.
    random_start : bool
        Start uniformly in the ball, clipped to the bounds; else at `x`.
    generator : torch.Generator on the CPU
        Source of the random starts.
    early_stop : bool
        An example leaves the batch at the first iterate that is misclassified; else only the
        last iterate of each restart counts.
    settle : callable (candidates, their places in `x`) to inputs, or None
        Where candidates will be put before they are judged: a restart is for the examples that
        are not broken there. None where they are judged as they are.

    Raises
    ------
    ModelError
        A gradient is not finite.
    ValueError
        The norm is L0, the radius is negative or not finite, or steps or restarts are below 1.

    Notes
    -----
    The steps are steepest in their norm: ``sign(g)`` for Linf (Madry et al., 2018),
    ``g / ||g||_2`` for L2, and for L1 the steepest coordinates one after the other, each as far
    as its bound allows, until the step's length is spent. The projections are exact for ball and
    bounds together (`geometry.project`); in L1 that is what makes the attack strong (Croce and
    Hein, 2021).
    """
    check_counts(steps=steps, restarts=restarts)
    length = 2.5 * eps / steps if step is None else step
    low, high = full_box(x, bounds)
    x_adv = x.clone()
    claimed = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    gradients = queries = 0
    with frozen(module):
        for restart in range(restarts):
            left = torch.nonzero(~claimed).squeeze(1)
            if len(left) == 0:
                break
            part = x[left]
            room = low[left], high[left]
            start = part
            if random_start or restart:
                start = part + uniform_in_ball(part, norm, eps, generator)
                start = torch.minimum(torch.maximum(start, room[0]), room[1])
            climb = _Climb(module, part, y[left], room, norm, eps, length, loss, targeted)
            x_adv[left], claimed[left] = climb.run(start, steps, early_stop)
            gradients += climb.gradients
            queries += climb.queries
            if settle is not None:
                settled = outputs(module, settle(x_adv[left], left))
                claimed[left] = hits(settled, y[left], targeted)
                queries += len(left)
    return Attempt(x_adv=x_adv, claimed=claimed, gradients=gradients, queries=queries)


class _Climb:
    """One restart: the examples still in play, with their room, shrinking as they break."""

    def __init__(
        self,
        module: nn.Module,
        x: Tensor,
        y: Tensor,
        bounds: tuple[Tensor, Tensor],
        norm: Norm,
        eps: float,
        length: float,
        loss: LossName,
        targeted: bool,
    ) -> None:
        self.module, self.loss, self.targeted = module, loss, targeted
        self.norm, self.eps, self.length = norm, eps, length
        self.x, self.y = x, y
        self.low, self.high = room_in_ball(x, norm, eps, bounds)
        self.gradients = 0
        self.queries = 0

    def run(self, start: Tensor, steps: int, early_stop: bool) -> tuple[Tensor, Tensor]:
        """Return (candidates, where the module gave another class)."""
        found = start.clone()
        claimed = torch.zeros(len(start), dtype=torch.bool, device=start.device)
        where = torch.arange(len(start), device=start.device)
        adv = start
        for _ in range(steps):
            logits, gradient = loss_gradient(self.module, adv, self.y, self.loss)
            self.gradients += len(adv)
            if early_stop:
                hit = hits(logits, self.y, self.targeted) & ~claimed[where]
                if bool(hit.any()):
                    found[where[hit]] = adv[hit]
                    claimed[where[hit]] = True
                    stay = ~claimed[where]
                    if let_go(stay):
                        where, adv, gradient = where[stay], adv[stay], gradient[stay]
                        self._keep(stay)
                        if len(where) == 0:
                            return found, claimed
            adv = self._advance(adv, gradient.neg() if self.targeted else gradient)
        hit = hits(outputs(self.module, adv), self.y, self.targeted) & ~claimed[where]
        self.queries += len(adv)
        last = ~claimed[where]
        found[where[last]] = adv[last]
        claimed[where[hit]] = True
        return found, claimed

    def _keep(self, stay: Tensor) -> None:
        self.x, self.y = self.x[stay], self.y[stay]
        self.low, self.high = self.low[stay], self.high[stay]

    def _advance(self, adv: Tensor, gradient: Tensor) -> Tensor:
        """Step uphill and back into the ball and the bounds."""
        if self.norm is Norm.Linf:
            return adv.add(gradient.contiguous().sign_(), alpha=self.length).clamp_(
                self.low, self.high
            )
        delta = adv - self.x
        low, high = self.low - self.x, self.high - self.x
        if self.norm is Norm.L2:
            delta = delta + unit_direction(gradient) * self.length
        else:
            delta = delta + linear_maximum(
                gradient, Norm.L1, self.length, low - delta, high - delta
            )
        delta = project(delta, self.norm, self.eps, low, high)
        return torch.minimum(torch.maximum(self.x + delta, self.low), self.high)
