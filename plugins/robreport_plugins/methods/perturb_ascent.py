"""One run of Auto-PGD: momentum, halved steps and restarts from the best, or adaptive sparsity."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.geometry import norms, project, unit_direction
from robreport_plugins.methods.perturb import hits, input_gradient, let_go, outputs, room_in_ball

# (logits, true class, target) to one value for each example; higher is closer to success.
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

# Croce and Hein, 2020: the weight of the new step against the momentum, the share of rising steps
# below which a step is halved, and the checkpoints in hundredths of all steps.
NEW_SHARE = 0.75
RISING_SHARE = 0.75
FIRST_CHECK, CLOSER, CLOSEST = 22, 3, 6
# Croce and Hein, 2021: the share of coordinates that the first steps move, the share of the steps
# between checkpoints, by what the step shrinks, and how far at most.
FIRST_MOVED = 0.2
SPARSE_CHECK = 0.04
SHRINK, MOST_SHRUNK, SPARSER = 1.5, 10.0, 0.95


class Ascent:
    """The examples still in play in Linf or L2, with their state, shrinking as they break.

    Parameters
    ----------
    module : nn.Module, frozen by the caller
    x, y, target : Tensor
        Inputs, true classes (or classes aimed at, when `targeted`), targets of the loss.
    bounds : (low, high), full tensors
    norm, eps
    loss : Loss
    name : str
        Of the loss, for errors.
    targeted : bool
        Whether reaching `y` is the success.
    eot : int
        Evaluations averaged.
    """

    # Tensors with one row for each example in play.
    _rows: tuple[str, ...] = (
        "x", "y", "target", "low", "high", "where", "adv", "before", "gradient", "best",
        "best_gradient", "best_value", "value", "checked_value", "rises", "length", "held",
    )  # fmt: skip

    def __init__(
        self,
        module: nn.Module,
        x: Tensor,
        y: Tensor,
        target: Tensor,
        bounds: tuple[Tensor, Tensor],
        norm: Norm,
        eps: float,
        loss: Loss,
        name: str,
        targeted: bool,
        eot: int,
    ) -> None:
        self.module, self.norm, self.eps = module, norm, eps
        self.loss, self.name, self.targeted, self.eot = loss, name, targeted, eot
        self.x, self.y, self.target = x, y, target
        self.low, self.high = room_in_ball(x, norm, eps, bounds)
        self.length = self._column(2 * eps)
        self.gradients = 0
        self.queries = 0

    def run(
        self, start: Tensor, steps: int, early_stop: bool, *, ask: bool
    ) -> tuple[Tensor, Tensor]:
        """Return (candidates, where the module gave another class).

        Parameters
        ----------
        start : Tensor (n, *shape), inside ball and bounds
        steps : int
        early_stop : bool
            Broken examples leave the batch.
        ask : bool
            Whether misclassified iterates are wanted; else the highest loss is.
        """
        found = start.clone()
        claimed = torch.zeros(len(start), dtype=torch.bool, device=start.device)
        self.where = torch.arange(len(start), device=start.device)
        self.adv = self.before = start
        marks = self._checkpoints(steps)
        for step in range(steps + 1):
            if step:
                self._advance(first=step == 1)
            logits, values = self._evaluate(last=step == steps)
            if ask:
                hit = hits(logits, self.y, self.targeted)
                if early_stop:
                    hit &= ~claimed[self.where]
                found[self.where[hit]] = self.adv[hit]
                claimed[self.where[hit]] = True
            self._compare(values, first=step == 0)
            if step in marks:
                self._check(marks[step])
            if early_stop:
                stay = ~claimed[self.where]
                if let_go(stay):
                    self._keep(stay)
                    if len(self.where) == 0:
                        return found, claimed
        held = ~claimed[self.where]
        found[self.where[held]] = self.best[held]
        return found, claimed

    def _column(self, value: float) -> Tensor:
        shape = (len(self.x), *[1] * (self.x.ndim - 1))
        return torch.full(shape, value, dtype=self.x.dtype, device=self.x.device)

    def _checkpoints(self, steps: int) -> dict[int, int]:
        """Return {step: steps since the checkpoint before}, in whole numbers throughout."""
        marks: dict[int, int] = {}
        hundredths, gap, last = FIRST_CHECK, FIRST_CHECK, 0
        while hundredths < 100:
            step = -(-hundredths * steps // 100)
            if last < step < steps:
                marks[step] = step - last
                last = step
            gap = max(gap - CLOSER, CLOSEST)
            hundredths += gap
        return marks

    def _evaluate(self, last: bool) -> tuple[Tensor, Tensor]:
        """Return logits and losses at the iterate, and take the gradient unless it is the last."""
        logits, values = torch.zeros(()), torch.zeros(())
        gradient = torch.zeros(())
        y, target = self.y, self.target
        for turn in range(self.eot):
            if last:
                new_logits = outputs(self.module, self.adv)
                new_values, new_gradient = self.loss(new_logits, y, target), gradient
            else:
                new_logits, new_values, new_gradient = input_gradient(
                    self.module, self.adv, lambda z: self.loss(z, y, target), self.name
                )
            if turn == 0:
                logits, values, gradient = new_logits, new_values, new_gradient
            else:
                logits = logits + new_logits
                values = values + new_values
                gradient = gradient + new_gradient
        if self.eot > 1:
            logits, values, gradient = (part / self.eot for part in (logits, values, gradient))
        if last:
            self.queries += self.eot * len(self.adv)
        else:
            self.gradients += self.eot * len(self.adv)
            self.gradient = gradient
        return logits, values

    def _compare(self, values: Tensor, first: bool) -> None:
        """Keep count of what rose, and the best iterate of each example."""
        if first:
            self.value = self.best_value = self.checked_value = values
            self.best, self.best_gradient = self.adv, self.gradient
            self.rises = torch.zeros_like(self.y)
            # Nothing was gained "since the last checkpoint" only from the second one on.
            self.held = torch.zeros(len(values), dtype=torch.bool, device=values.device)
            return
        self.rises = self.rises + (values > self.value)
        self.value = values
        better = values > self.best_value
        wide = better.view(self.length.shape)
        self.best = torch.where(wide, self.adv, self.best)
        self.best_gradient = torch.where(wide, self.gradient, self.best_gradient)
        self.best_value = torch.where(better, values, self.best_value)

    def _check(self, since: int) -> None:
        """Halve the step and go back to the best where the ascent circles or stands still."""
        circles = self.rises < RISING_SHARE * since
        stands = self.held & (self.best_value <= self.checked_value)
        halve = circles | stands
        self._return(halve)
        self.length = torch.where(halve.view(self.length.shape), self.length / 2, self.length)
        self.held = ~halve
        self.checked_value = self.best_value
        self.rises = torch.zeros_like(self.rises)

    def _return(self, back: Tensor) -> None:
        wide = back.view(self.length.shape)
        self.adv = torch.where(wide, self.best, self.adv)
        self.gradient = torch.where(wide, self.best_gradient, self.gradient)

    def _keep(self, stay: Tensor) -> None:
        for name in self._rows:
            setattr(self, name, getattr(self, name)[stay])

    def _advance(self, first: bool) -> None:
        """Step uphill and back into ball and bounds, then weigh in the momentum, and back."""
        adv, before = self.adv, self.before
        self.before = adv
        if self.norm is Norm.Linf:
            point = torch.sign(self.gradient).mul_(self.length).add_(adv)
            point.clamp_(self.low, self.high)
            if not first:
                point.mul_(NEW_SHARE).add_(adv, alpha=2 * (1 - NEW_SHARE))
                point.sub_(before, alpha=1 - NEW_SHARE).clamp_(self.low, self.high)
            self.adv = point
            return
        point = self._inside(adv + unit_direction(self.gradient) * self.length)
        if not first:
            point = adv + NEW_SHARE * (point - adv) + (1 - NEW_SHARE) * (adv - before)
            point = self._inside(point)
        self.adv = point

    def _inside(self, point: Tensor) -> Tensor:
        room = self.low - self.x, self.high - self.x
        delta = project(point - self.x, self.norm, self.eps, *room)
        return torch.minimum(torch.maximum(self.x + delta, self.low), self.high)


class SparseAscent(Ascent):
    """The same in L1, where the number of coordinates that a step moves adapts."""

    _rows = (*Ascent._rows, "moved", "count")

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.features = math.prod(self.x.shape[1:])
        self.length = self._column(self.eps)
        like = self.x.flatten(1)[:, 0]
        # Coordinates that a step moves, and the best point's number of coordinates moved.
        self.moved = torch.full_like(like, FIRST_MOVED * self.features)
        self.count = torch.full_like(like, float(self.features))

    def inherit(self, start: Tensor) -> None:
        """Take the sparsity from a start that a search in a wider ball left."""
        self.count = norms(start - self.x, Norm.L0)
        self.moved = self.count / SHRINK

    def _checkpoints(self, steps: int) -> dict[int, int]:
        gap = max(int(SPARSE_CHECK * steps), 1)
        return dict.fromkeys(range(gap, steps, gap), gap)

    def _check(self, since: int) -> None:
        """Take the sparsity from the best point; start afresh where it became sparser."""
        count = norms(self.best - self.x, Norm.L0)
        sparser = count < SPARSER * self.count
        wide = sparser.view(self.length.shape)
        shrunk = (self.length / SHRINK).clamp_min(self.eps / MOST_SHRUNK)
        self.length = torch.where(wide, torch.full_like(self.length, self.eps), shrunk)
        self.moved = count / SHRINK
        self.count = count
        self._return(sparser)

    def _advance(self, first: bool) -> None:
        """Move the steepest coordinates that have room, all by the same amount."""
        free = torch.where(self.gradient > 0, self.high > self.adv, self.low < self.adv)
        steep = (self.gradient.abs() * free).flatten(1)
        place = (self.moved.round().long() - 1).clamp_min(0)
        least = steep.sort(dim=1, descending=True).values.gather(1, place[:, None])
        chosen = (steep >= least) & (steep > 0)
        share = chosen / chosen.sum(1, keepdim=True).clamp_min(1)
        move = (share * self.gradient.flatten(1).sign()).view_as(self.adv) * self.length
        self.before = self.adv
        self.adv = self._inside(self.adv + move)
