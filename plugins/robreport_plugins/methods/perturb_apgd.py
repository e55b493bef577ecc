"""Auto-PGD in Linf, L2 and L1: the step's length and sparsity find themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.geometry import check_ball, project, uniform_in_ball
from robreport_plugins.methods.perturb import (
    LOSSES,
    Attempt,
    Bounds,
    LossName,
    check_counts,
    everyone,
    frozen,
    full_box,
    hits,
    likely_others,
    outputs,
    targeted_dlr,
)
from robreport_plugins.methods.perturb_ascent import Ascent, Loss, SparseAscent
from robreport_plugins.methods.perturb_pgd import Settle

# In L1 the search begins in balls of three and two times the radius, and ends in its own: shares
# of the steps for each (Croce and Hein, 2021, section 4.2).
WIDE_STAGES = ((3.0, 0.3), (2.0, 0.3))


def apgd(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    eps: float,
    bounds: Bounds | None = None,
    steps: int = 100,
    restarts: int = 1,
    loss: LossName = "cross-entropy",
    targeted: bool = False,
    eot: int = 1,
    generator: torch.Generator | None = None,
    early_stop: bool = True,
    among: Tensor | None = None,
    settle: Settle | None = None,
) -> Attempt:
    """Return what projected ascent with momentum and self-adjusting steps finds.

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
    steps : int
        Steps of each restart, at least 1: as many gradients, and one prediction at the end.
    restarts : int
        Random starts, at least 1; each attacks what the ones before it left.
    loss : "cross-entropy", "margin" or "dlr"
    eot : int
        Evaluations that are averaged at each step, for models whose outputs are random
        (expectation over transformation, Athalye et al., 2018).
    generator : torch.Generator on the CPU
        Source of the random starts. Each example's starts depend on its place in `x` alone, not
        on which other examples are attacked or broken.
    early_stop : bool
        An example leaves the batch at the first iterate that is misclassified.
    among : Tensor (n,) of bool, or None
        Attack these only; the others are handed back as they are.
    settle : callable (candidates, their places in `x`) to inputs, or None
        Where candidates will be put before they are judged: a restart is for the examples that
        are not broken there. None where they are judged as they are.

    Raises
    ------
    ModelError
        A gradient is not finite.
    ValueError
        The norm is L0, the radius is negative or not finite, or a count is below 1.

    Notes
    -----
    Linf and L2 follow algorithm 1 of Croce and Hein (ICML 2020): the step begins at twice the
    radius, and at checkpoints that come ever closer it is halved where fewer than three in four
    steps raised the loss, or where nothing was gained since the last checkpoint though the step
    stayed as it was; the ascent then goes on from the best point. L1 follows "Mind the box"
    (Croce and Hein, ICML 2021): steps along the sign of the steepest coordinates, as many as the
    best point so far suggests, projected exactly onto ball and bounds, first in wider balls.
    Examples that are not broken come back as the point of the highest loss.
    """
    check_ball(norm, eps)
    check_counts(steps=steps, restarts=restarts, eot=eot)
    chosen = LOSSES[loss]

    def value(logits: Tensor, y: Tensor, _: Tensor) -> Tensor:
        worth = chosen(logits, y)
        return -worth if targeted else worth

    search = _Search(
        module, x, y, norm, eps, bounds, steps, value, loss, targeted, eot, early_stop, among,
        settle,
    )  # fmt: skip
    return search.run((y for _ in range(restarts)), generator)


def apgd_targeted(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    eps: float,
    bounds: Bounds | None = None,
    steps: int = 100,
    restarts: int = 1,
    classes: int = 9,
    eot: int = 1,
    generator: torch.Generator | None = None,
    early_stop: bool = True,
    among: Tensor | None = None,
    settle: Settle | None = None,
) -> Attempt:
    """Return what Auto-PGD finds when it aims at the most likely other classes in turn.

    The loss is the targeted difference-of-logits ratio (`perturb.targeted_dlr`), and any other
    class counts as a success.

    Parameters
    ----------
    y : Tensor (n,) of int64
        The true classes.
    classes : int
        How many other classes to aim at, most likely first; k - 1 where there are no more.
    others
        As for `apgd`; `restarts` counts the starts for each class.

    Raises
    ------
    ModelError, ValueError
        As for `apgd`.
    """
    check_ball(norm, eps)
    check_counts(steps=steps, restarts=restarts, eot=eot, classes=classes)
    search = _Search(
        module, x, y, norm, eps, bounds, steps, targeted_dlr, "targeted DLR", False, eot,
        early_stop, among, settle,
    )  # fmt: skip
    rows = torch.nonzero(search.left).squeeze(1)
    ranked = likely_others(outputs(module, x[rows]), y[rows], classes)
    search.queries += len(rows)
    targets = y[:, None].repeat(1, ranked.shape[1])
    targets[rows] = ranked
    return search.run((t for t in targets.unbind(1) for _ in range(restarts)), generator)


class _Search:
    """The starts of one attack, one after the other, each on what is left."""

    def __init__(
        self,
        module: nn.Module,
        x: Tensor,
        y: Tensor,
        norm: Norm,
        eps: float,
        bounds: Bounds | None,
        steps: int,
        loss: Loss,
        name: str,
        targeted: bool,
        eot: int,
        early_stop: bool,
        among: Tensor | None,
        settle: Settle | None,
    ) -> None:
        self.module, self.x, self.y, self.norm, self.eps = module, x, y, norm, eps
        self.low, self.high = full_box(x, bounds)
        self.steps, self.loss, self.name = steps, loss, name
        self.targeted, self.eot, self.early_stop = targeted, eot, early_stop
        self.left = everyone(x, among)
        self.settle = settle
        self.gradients = 0
        self.queries = 0

    def run(self, targets: Iterator[Tensor], generator: torch.Generator | None) -> Attempt:
        """Attack towards each target in turn (which untargeted losses do not look at)."""
        x_adv = self.x.clone()
        claimed = torch.zeros_like(self.left)
        with frozen(self.module):
            for target in targets:
                rows = torch.nonzero(self.left).squeeze(1)
                if len(rows) == 0:
                    break
                # Drawn for all, so that no example's start depends on who else is left.
                noise = uniform_in_ball(self.x, self.norm, self.eps * self._widest(), generator)
                x_adv[rows], claimed[rows] = self._start(rows, noise[rows], target[rows])
                if self.settle is not None:
                    settled = outputs(self.module, self.settle(x_adv[rows], rows))
                    claimed[rows] = hits(settled, self.y[rows], self.targeted)
                    self.queries += len(rows)
                self.left &= ~claimed
        return Attempt(x_adv=x_adv, claimed=claimed, gradients=self.gradients, queries=self.queries)

    def _start(self, rows: Tensor, noise: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        x, y, low, high = (part[rows] for part in (self.x, self.y, self.low, self.high))
        make: Callable[..., Ascent] = Ascent if self.norm is not Norm.L1 else SparseAscent
        point = x + noise
        sparse = False
        for eps, steps, final in self._stages():
            room = low - x, high - x
            point = x + project(point - x, self.norm, eps, *room)
            point = torch.minimum(torch.maximum(point, low), high)
            ascent = make(
                self.module, x, y, target, (low, high), self.norm, eps, self.loss, self.name,
                self.targeted, self.eot,
            )  # fmt: skip
            if sparse and isinstance(ascent, SparseAscent):
                ascent.inherit(point)
            point, claimed = ascent.run(point, steps, self.early_stop and final, ask=final)
            self.gradients += ascent.gradients
            self.queries += ascent.queries
            sparse = True
        return point, claimed

    def _widest(self) -> float:
        return max(eps / self.eps if self.eps else 1.0 for eps, _, _ in self._stages())

    def _stages(self) -> list[tuple[float, int, bool]]:
        """(radius, steps, whether it is the threat's own), wider radii first."""
        stages = []
        left = self.steps
        if self.norm is Norm.L1:
            for times, share in WIDE_STAGES:
                if steps := int(share * self.steps):
                    stages.append((times * self.eps, steps, False))
                    left -= steps
        return [*stages, (self.eps, left, True)]
