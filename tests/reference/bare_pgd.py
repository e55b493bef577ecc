"""PGD in Linf as anybody writes it down first: no restarts, nothing leaves the batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def bare_pgd(
    module: nn.Module, x: Tensor, y: Tensor, eps: float, step: float, steps: int
) -> Tensor:
    """Return the last iterate."""
    x_adv = x.clone()
    for _ in range(steps):
        x_adv.requires_grad_(True)
        loss = nn.functional.cross_entropy(module(x_adv), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = x_adv.detach() + step * gradient.sign()
        x_adv = torch.min(torch.max(x_adv, x - eps), x + eps).clamp(0, 1)
    return x_adv
