"""Random noise of a given size: what any attack must do better than."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robreport import Norm
from robreport_plugins.methods.geometry import TINY, column, project, uniform_in_ball
from robreport_plugins.methods.perturb import Attempt, Bounds, check_counts, full_box


def noise(
    decide: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    eps: float,
    bounds: Bounds | None = None,
    tries: int = 10,
    generator: torch.Generator | None = None,
) -> Attempt:
    """Return the first of `tries` random perturbations of each example that changes its class.

    The draws alternate between the ball's uniform distribution, and a normal direction (Gaussian
    noise) of length eps, each put back into ball and bounds.

    Parameters
    ----------
    decide : callable, Tensor (m, *shape), Tensor (m,) -> Tensor (m,) of int64
        The model's classes of perturbed inputs, given which of the examples each belongs to.
    x : Tensor (n, *shape)
    y : Tensor (n,) of int64
        The true classes.
    norm : Norm
        L1, L2 or Linf.
    eps : float
        Radius, in the units of x.
    bounds : (low, high) or None
        Of the data; floats or tensors that broadcast to `x`.
    tries : int
        At least 1.
    generator : torch.Generator on the CPU

    Raises
    ------
    ValueError
        The norm is L0, the radius is negative or not finite, or `tries` is below 1.
    """
    check_counts(tries=tries)
    below, above = (end - x for end in full_box(x, bounds))
    x_adv = x.clone()
    claimed = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    queries = 0
    for turn in range(tries):
        left = torch.nonzero(~claimed).squeeze(1)
        if len(left) == 0:
            break
        # drawn for all, so that what one example gets does not depend on the others
        drawn = (
            uniform_in_ball(x, norm, eps, generator)
            if turn % 2 == 0
            else _normal(x, norm, eps, generator)
        )
        delta = project(drawn[left], norm, eps, below[left], above[left])
        candidate = x[left] + delta
        hit = decide(candidate, left) != y[left]
        queries += len(left)
        x_adv[left[hit]], claimed[left[hit]] = candidate[hit], True
    return Attempt(x_adv=x_adv, claimed=claimed, gradients=0, queries=queries)


def _normal(x: Tensor, norm: Norm, eps: float, generator: torch.Generator | None) -> Tensor:
    draw = torch.randn(x.shape, generator=generator).to(device=x.device, dtype=x.dtype)
    size = torch.linalg.vector_norm(draw.flatten(1), ord=norm.order, dim=1).clamp_min(TINY)
    scaled: Tensor = draw * column(eps / size, x)
    return scaled
