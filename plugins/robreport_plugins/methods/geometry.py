"""Norm balls cut by the data's box: projections, steepest steps and uniform draws, in torch.

Perturbations are written ``delta`` and live in ``{u : ||u|| <= eps, low <= u <= high}`` with
``low <= 0 <= high``, where ``low`` and ``high`` are the room that the data's bounds leave around
each example. All functions take a batch, ``(n, *shape)``, and treat each example by itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robreport import Norm

# Divides without a zero; far below any gradient or step that float32 can carry.
TINY = 1e-30


def norms(delta: Tensor, norm: Norm) -> Tensor:
    """Return the size of each perturbation, ``(n,)``, in the given norm.

    Parameters
    ----------
    delta : Tensor (n, *shape)
    norm : Norm
        L0 counts the coordinates that differ from zero.
    """
    flat = delta.flatten(1)
    if norm is Norm.L0:
        return (flat != 0).sum(1).to(flat.dtype)
    size: Tensor = torch.linalg.vector_norm(flat, ord=norm.order, dim=1)
    return size


def project(delta: Tensor, norm: Norm, eps: float, low: Tensor, high: Tensor) -> Tensor:
    """Return the nearest point (Euclidean) of the ball cut by the box, for each example.

    Parameters
    ----------
    delta : Tensor (n, *shape)
    norm : Norm
        L1, L2 or Linf.
    eps : float
        Radius, in input units.
    low, high : Tensor, broadcastable to delta
        Room below (<= 0) and above (>= 0); infinite where there is none.

    Raises
    ------
    ValueError
        L0, which has no convex ball, or a radius that is not finite or negative.

    Notes
    -----
    Linf is a box itself. For L2 the nearest point is ``clip(t * delta, low, high)`` with the
    largest ``t <= 1`` that respects the radius; for L1 it is
    ``clip(sign(delta) * max(|delta| - s, 0), low, high)`` with the smallest ``s >= 0`` that does
    (Croce and Hein, "Mind the box", ICML 2021, proposition 2.1). Both are found exactly, not by
    bisection.
    """
    check_ball(norm, eps)
    if norm is Norm.Linf:
        return delta.clamp(-eps, eps).clamp(low, high)
    flat = delta.flatten(1)
    sizes = flat.abs()
    room = _room(delta, low, high).flatten(1)
    if norm is Norm.L2:
        kept = torch.minimum(_stretch(sizes, room, eps, most=1.0) * sizes, room)
    else:
        kept = torch.minimum((sizes - _threshold(sizes, room, eps)).clamp_min(0), room)
    return (kept * flat.sign()).view_as(delta)


def linear_maximum(gradient: Tensor, norm: Norm, eps: float, low: Tensor, high: Tensor) -> Tensor:
    """Return the point of the ball cut by the box where a linear function is largest.

    Parameters
    ----------
    gradient : Tensor (n, *shape)
        Of the linear function ``u -> sum(gradient * u)``.
    norm, eps, low, high
        As for `project`.

    Raises
    ------
    ValueError
        As for `project`.

    Notes
    -----
    Linf: every coordinate as far as it may go. L2: ``clip(t * gradient, low, high)`` with ``t``
    such that the radius is used up (the Karush-Kuhn-Tucker condition). L1: the steepest
    coordinates are filled one after the other until the radius is used up (a fractional
    knapsack). A zero gradient gives zero.
    """
    check_ball(norm, eps)
    if norm is Norm.Linf:
        return (eps * gradient.sign()).clamp(low, high)
    room = _room(gradient, low, high).flatten(1)
    flat = gradient.flatten(1)
    sizes = unit_scale(flat.abs())
    room = torch.where(sizes > 0, room, torch.zeros((), dtype=room.dtype, device=room.device))
    if norm is Norm.L2:
        moved = torch.minimum(_stretch(sizes, room, eps, most=math.inf) * sizes, room)
    else:
        moved = _fill(sizes, room, eps)
    return (moved * flat.sign()).view_as(gradient)


def uniform_in_ball(
    like: Tensor, norm: Norm, eps: float, generator: torch.Generator | None = None
) -> Tensor:
    """Return one uniform draw from the ball (without a box) for each example.

    Parameters
    ----------
    like : Tensor (n, *shape)
        Gives shape, type and device.
    norm, eps
        L1, L2 or Linf, and the radius.
    generator : torch.Generator on the CPU, or None
        Draws are made on the CPU, so that a seed gives the same starts on every device.

    Raises
    ------
    ValueError
        As for `project`.

    Notes
    -----
    L2: a normal direction times ``u ** (1 / d)``. L1: ``d`` exponential variates over the sum of
    ``d + 1``, with random signs (Barthe et al., Annals of Probability 33, 2005).
    """
    check_ball(norm, eps)
    n, d = like.shape[0], math.prod(like.shape[1:])
    if norm is Norm.Linf:
        draw = torch.rand(n, d, generator=generator).mul_(2).sub_(1)
    elif norm is Norm.L2:
        draw = torch.randn(n, d, generator=generator)
        draw /= torch.linalg.vector_norm(draw, dim=1, keepdim=True).clamp_min(TINY)
        draw *= torch.rand(n, 1, generator=generator) ** (1.0 / d)
    else:
        spacings = torch.empty(n, d + 1).exponential_(generator=generator)
        signs = torch.randint(0, 2, (n, d), generator=generator) * 2 - 1
        draw = spacings[:, :d] / spacings.sum(1, keepdim=True) * signs
    return draw.mul_(eps).to(device=like.device, dtype=like.dtype).view_as(like)


def unit_scale(sizes: Tensor) -> Tensor:
    """Return each row over its largest entry, so that squares of tiny gradients do not vanish."""
    return sizes / sizes.amax(1, keepdim=True).clamp_min(torch.finfo(sizes.dtype).tiny)


def unit_direction(gradient: Tensor) -> Tensor:
    """Return each gradient over its L2 norm, however small it is; zero where it is zero."""
    flat = gradient.flatten(1)
    flat = unit_scale(flat.abs()) * flat.sign()
    size = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    unit: Tensor = flat / size.clamp_min(TINY)
    return unit.view_as(gradient)


def column(values: Tensor, like: Tensor) -> Tensor:
    """Return one value for each example, ``(n,)``, shaped to multiply ``(n, *shape)``."""
    return values.view(-1, *[1] * (like.ndim - 1))


def check_ball(norm: Norm, eps: float) -> None:
    """Raise a ValueError unless there is a convex ball of this norm and radius."""
    if norm is Norm.L0:
        raise ValueError("the L0 ball is not convex; use L1, L2 or Linf")
    if not (math.isfinite(eps) and eps >= 0):
        raise ValueError(f"the radius must be finite and not negative, found {eps!r}")


def _room(direction: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """How far each coordinate may go in the direction of its sign."""
    return torch.where(direction > 0, high, -low).expand_as(direction)


def _stretch(sizes: Tensor, room: Tensor, eps: float, most: float) -> Tensor:
    """The largest t <= most with ``||min(t * sizes, room)||_2 <= eps``, as a column.

    Starting from t for the ball alone, coordinates that hit their room are fixed there and the
    rest share what is left of the radius: t only grows, so each coordinate is fixed at most
    once and the loop ends.
    """
    total = torch.linalg.vector_norm(sizes, dim=1, keepdim=True)
    t = torch.where(total > 0, eps / total, torch.zeros_like(total)).clamp_max(most)
    fixed = torch.zeros_like(sizes, dtype=torch.bool)
    while True:
        hit = (t * sizes > room) & ~fixed
        if not bool(hit.any()):
            return t
        fixed |= hit
        zero = torch.zeros((), dtype=sizes.dtype, device=sizes.device)
        spent = torch.where(fixed, room, zero).square().sum(1, keepdim=True)
        free = torch.where(fixed, zero, sizes).square().sum(1, keepdim=True)
        grown = ((eps * eps - spent).clamp_min(0) / free).sqrt()
        # Nothing is free any more: everything stands at its bound, and t needs only be large.
        grown = torch.where(free > 0, grown, torch.full_like(grown, torch.finfo(t.dtype).max))
        t = torch.maximum(t, grown).clamp_max(most)


def _threshold(sizes: Tensor, room: Tensor, eps: float) -> Tensor:
    """The smallest s >= 0 with ``sum(clip(sizes - s, 0, room)) <= eps``, as a column.

    The sum is piecewise linear in s: coming down from above, its slope grows by one at each
    ``sizes`` and falls by one at each ``sizes - room``. Sorting these breakpoints gives its value
    at each, and the segment that holds ``eps`` gives s.
    """
    threshold = torch.zeros_like(sizes[:, :1])
    over = torch.minimum(sizes, room).sum(1) > eps
    if not bool(over.any()):
        return threshold
    top = sizes[over]
    bottom = (top - room[over]).clamp_min(0)
    points, order = torch.cat([top, bottom], 1).sort(dim=1, descending=True)
    slope = torch.where(order < sizes.shape[1], 1.0, -1.0).to(sizes.dtype).cumsum(1)
    below = torch.cat([points[:, 1:], torch.zeros_like(points[:, :1])], 1)
    value = (slope * (points - below)).cumsum(1)
    # The last value is the whole sum, which exceeds eps, so some segment holds eps.
    segment = (value < eps).sum(1, keepdim=True).clamp_max(value.shape[1] - 1)
    excess = value.gather(1, segment) - eps
    exact = below.gather(1, segment) + excess / slope.gather(1, segment).clamp_min(1)
    threshold[over] = exact.clamp_min(0)
    return threshold


def _fill(sizes: Tensor, room: Tensor, eps: float) -> Tensor:
    """Spend eps on the largest entries first, each at most its room."""
    order = sizes.argsort(dim=1, descending=True, stable=True)
    sorted_room = room.gather(1, order).clamp_max(eps)
    before = sorted_room.cumsum(1) - sorted_room
    taken = torch.minimum((eps - before).clamp_min(0), sorted_room)
    return torch.zeros_like(sizes).scatter_(1, order, taken)
