"""What every attack shares: losses, input gradients, its room, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from robreport import ModelError, Norm

LossName = Literal["cross-entropy", "margin", "dlr"]
Bounds = tuple[float | Tensor, float | Tensor]

# Broken examples leave the batch once they are this share of it: smaller steps would have the
# convolution libraries prepare themselves for a new batch size at nearly every iteration.
LEAVE_SHARE = 0.15
# A lead of this share of the larger of two competing logits outlasts the rounding of float32, and
# the step back into the ball that the caller may take.
CLEAR_LEAD = 1e-5


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
    own, rival = competing(logits, y)
    return rival - own


def competing(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return y's logit and that of the likeliest other class, each ``(n,)``."""
    others = logits.scatter(1, y[:, None], -torch.inf)
    return logits.gather(1, y[:, None]).squeeze(1), others.amax(1)


def lead_over(logits: Tensor, y: Tensor, other: Tensor) -> Tensor:
    """Return ``z[other] - z[y]`` for each example, ``(n,)``."""
    return (logits.gather(1, other[:, None]) - logits.gather(1, y[:, None])).squeeze(1)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Return the difference-of-logits ratio for each example, ``(n,)``.

    The margin over the gap between the first and the third largest logit, so that neither a
    shift nor a rescaling of the logits changes it (Croce and Hein, 2020, equation 6). With two
    classes there is no third, and the ratio would be the sign alone: it is the margin then.
    """
    if logits.shape[1] < 3:
        return margin(logits, y)
    top = logits.topk(3, dim=1).values
    return margin(logits, y) / (top[:, 0] - top[:, 2]).clamp_min(SMALLEST_GAP)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Return the difference-of-logits ratio towards a class for each example, ``(n,)``.

    ``z[target] - z[y]`` over the gap between the largest logit and the mean of the third and the
    fourth (Croce and Hein, 2020, equation 7). With fewer than four classes it is the numerator
    alone: a ratio to logits that are themselves in the numerator rises without any success.
    """
    lead = lead_over(logits, y, target)
    if logits.shape[1] < 4:
        return lead
    top = logits.topk(4, dim=1).values
    return lead / (top[:, 0] - top[:, 2:].mean(1)).clamp_min(SMALLEST_GAP)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": cross_entropy,
    "margin": margin,
    "dlr": dlr,
}
# Below it a gap between logits is a tie, and a ratio to it means nothing.
SMALLEST_GAP = 1e-12


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
    loss : "cross-entropy", "margin" or "dlr"

    Raises
    ------
    ModelError
        As for `input_gradient`.
    """
    logits, _, gradient = input_gradient(module, x, lambda z: LOSSES[loss](z, y), loss)
    return logits, gradient


def input_gradient(
    module: nn.Module, x: Tensor, objective: Callable[[Tensor], Tensor], name: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(logits, values, gradient)`` of an objective of the logits, in the inputs.

    Parameters
    ----------
    module : nn.Module
        Maps ``(n, *shape)`` to logits ``(n, k)``, k >= 2, each example by itself.
    x : Tensor (n, *shape)
    objective : callable
        Maps logits ``(n, k)`` to one value for each example, ``(n,)``.
    name : str
        What errors call it.

    Raises
    ------
    ModelError
        The gradient holds a NaN or an infinity, or the outputs do not depend on the inputs
        through differentiable operations.
    """
    leaf = x.detach().requires_grad_(True)
    logits = module(leaf)
    check_differentiable(logits)
    values = objective(logits)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    check_finite(gradient, name)
    return logits.detach(), values.detach(), gradient


def class_gradients(
    module: nn.Module, x: Tensor, y: Tensor, others: Tensor, name: str
) -> tuple[Tensor, Iterator[tuple[Tensor, Tensor]]]:
    """Return the logits, and for each of some classes ``(z[other] - z[y], its gradient)``.

    Parameters
    ----------
    module, x, name
        As for `input_gradient`.
    y : Tensor (n,) of int64
    others : Tensor (n, m) of int64, m >= 1
        The classes of each example, one column after the other: one forward pass serves all.

    Raises
    ------
    ModelError
        As for `input_gradient`.
    """
    leaf = x.detach().requires_grad_(True)
    logits = module(leaf)
    check_differentiable(logits)

    def each() -> Iterator[tuple[Tensor, Tensor]]:
        for left, other in zip(reversed(range(others.shape[1])), others.unbind(1), strict=True):
            lead = lead_over(logits, y, other)
            (gradient,) = torch.autograd.grad(lead.sum(), leaf, retain_graph=left > 0)
            check_finite(gradient, name)
            yield lead.detach(), gradient

    return logits.detach(), each()


def check_differentiable(logits: Tensor) -> None:
    """Raise a ModelError unless the outputs depend on the inputs that ask for gradients."""
    if not logits.requires_grad:
        raise ModelError(
            "the model's outputs do not depend on its inputs through differentiable operations, "
            "so there is no gradient to attack with; declare it with a loader without gradients"
        )


def check_finite(gradient: Tensor, name: str) -> None:
    """Raise a ModelError, naming the loss, if the gradient holds a NaN or an infinity."""
    # A sum is the cheapest probe; it may overflow though every entry is finite, hence the rest.
    if not bool(torch.isfinite(gradient.sum())):
        broken = int((~torch.isfinite(gradient.flatten(1)).all(1)).sum())
        if broken:
            raise ModelError(
                f"the gradient of the {name} loss with respect to the input is not finite for "
                f"{broken} of {len(gradient)} inputs of a batch; look for a division by zero, a "
                "logarithm or square root at zero, or an overflow in the model"
            )


def likely_others(logits: Tensor, y: Tensor, most: int) -> Tensor:
    """Return the classes other than y, most likely first: at most `most`, and at most k - 1.

    Parameters
    ----------
    logits : Tensor (n, k)
    y : Tensor (n,) of int64

    Returns
    -------
    Tensor (n, m) of int64
    """
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.topk(min(most, logits.shape[1] - 1), dim=1).indices


def outputs(module: nn.Module, x: Tensor) -> Tensor:
    """Return the logits, ``(n, k)``, without a graph for gradients."""
    with torch.no_grad():
        logits: Tensor = module(x)
    return logits


def hits(logits: Tensor, y: Tensor, targeted: bool = False) -> Tensor:
    """Return where a wrong class (the target) leads by more than rounding explains, ``(n,)``."""
    own, rival = competing(logits, y)
    return (own - rival if targeted else rival - own) > rounding(own, rival)


def rounding(own: Tensor, rival: Tensor) -> Tensor:
    """Return the lead of one logit over another that rounding explains, ``(n,)``.

    Of these two alone: a class that is masked by a logit of -1e9 says nothing about theirs.
    """
    return CLEAR_LEAD * torch.maximum(own.abs(), rival.abs())


def least_lead(logits: Tensor, y: Tensor) -> Tensor:
    """Return the lead of the likeliest other class over y that rounding explains, ``(n,)``."""
    return rounding(*competing(logits, y))


def everyone(x: Tensor, among: Tensor | None) -> Tensor:
    """Return which examples are to be attacked, ``(n,)`` of bool: all, or those asked for."""
    chosen = torch.ones(len(x), dtype=torch.bool, device=x.device)
    return chosen if among is None else chosen & among


def let_go(stay: Tensor) -> bool:
    """Whether so many examples are finished that the batch is better built anew without them."""
    return int(stay.sum()) <= (1 - LEAVE_SHARE) * len(stay)


def check_counts(**counts: int) -> None:
    """Raise a ValueError, naming the count, unless each is at least 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, found {count}")


def full_box(x: Tensor, bounds: Bounds | None) -> tuple[Tensor, Tensor]:
    """Return (low, high) shaped like `x`, widened to hold `x` itself; infinite without bounds."""
    low, high = (-torch.inf, torch.inf) if bounds is None else bounds
    ends = [torch.as_tensor(end, dtype=x.dtype, device=x.device) for end in (low, high)]
    return torch.minimum(x, ends[0]), torch.maximum(x, ends[1])


def room_in_ball(
    x: Tensor, norm: Norm, eps: float, bounds: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return (low, high) narrowed to a ball where that is a box too: in Linf."""
    low, high = bounds
    if norm is not Norm.Linf:
        return low, high
    return torch.maximum(low, x - eps), torch.minimum(high, x + eps)
