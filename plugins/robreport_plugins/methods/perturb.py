"""What every gradient attack shares: losses, input gradients, and what an attack returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from robreport import ModelError

LossName = Literal["cross-entropy", "margin"]
Bounds = tuple[float | Tensor, float | Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What an attack hands back; whether it succeeded is for the caller to judge.

    Attributes
    ----------
    x_adv : Tensor (n, *shape)
        The adversarial candidate of each example, like `x`.
    claimed : Tensor (n,) of bool
        Where the attack saw the module give another class (the target, when targeted).
    gradients : int
        Gradients of single examples that were evaluated.
    queries : int
        Predictions of single examples beyond those that came with a gradient.
    """

    x_adv: Tensor
    claimed: Tensor
    gradients: int
    queries: int


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return ``log sum exp(z) - z[y]`` for each example, ``(n,)``."""
    return nn.functional.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return ``max over j != y of z[j] - z[y]`` for each example, ``(n,)``.

    Unlike the cross-entropy its gradient does not vanish where the model is certain (Carlini and
    Wagner, 2017).
    """
    own = logits.gather(1, y[:, None])
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.amax(1) - own.squeeze(1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": cross_entropy,
    "margin": margin,
}


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Keep gradients away from the parameters inside the block, and put everything back after."""
    changed = [p for p in module.parameters() if p.requires_grad]
    for parameter in changed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad_(True)


def loss_gradient(
    module: nn.Module, x: Tensor, y: Tensor, loss: LossName = "cross-entropy"
) -> tuple[Tensor, Tensor]:
    """Return ``(logits, gradient)``: the outputs, and the loss's gradient in the inputs.

    Parameters
    ----------
    module : nn.Module
        Maps ``(n, *shape)`` to logits ``(n, k)``, k >= 2, each example by itself.
    x : Tensor (n, *shape)
    y : Tensor (n,) of int64
    loss : "cross-entropy" or "margin"

    Raises
    ------
    ModelError
        The gradient holds a NaN or an infinity, or the outputs do not depend on the inputs
        through differentiable operations.
    """
    leaf = x.detach().requires_grad_(True)
    logits = module(leaf)
    if not logits.requires_grad:
        raise ModelError(
            "the model's outputs do not depend on its inputs through differentiable operations, "
            "so there is no gradient to attack with; declare it with a loader without gradients"
        )
    (gradient,) = torch.autograd.grad(LOSSES[loss](logits, y).sum(), leaf)
    # A sum is the cheapest probe; it may overflow though every entry is finite, hence the rest.
    if not bool(torch.isfinite(gradient.sum())):
        broken = int((~torch.isfinite(gradient.flatten(1)).all(1)).sum())
        if broken:
            raise ModelError(
                f"the gradient of the {loss} loss with respect to the input is not finite for "
                f"{broken} of {len(x)} inputs of a batch; look for a division by zero, a "
                "logarithm or square root at zero, or an overflow in the model"
            )
    return logits.detach(), gradient
