"""The shortest way onto a hyperplane inside the data's box, in Linf, L2 and L1, in torch."""

from __future__ import annotations

import torch
from torch import Tensor

from robreport import Norm
from robreport_plugins.methods.geometry import column, unit_scale

# Entries of a normal below this share of its largest cannot carry a step in float32.
LEAST_ENTRY = 1e-12


def shortest_step(normal: Tensor, rise: Tensor, norm: Norm, low: Tensor, high: Tensor) -> Tensor:
    """Return the smallest ``delta`` in the box with ``<normal, delta> = rise``, for each example.

    Parameters
    ----------
    normal : Tensor (n, *shape)
        Of the hyperplane.
    rise : Tensor (n,)
        What the linear function has to gain (or lose, where negative).
    norm : Norm
        L1, L2 or Linf: in which `delta` is smallest.
    low, high : Tensor, broadcastable to normal
        Room below (<= 0) and above (>= 0); infinite where there is none.

    Returns
    -------
    Tensor (n, *shape)
        Where the box does not reach the hyperplane, the corner that comes closest; zero where
        the normal is zero.

    Raises
    ------
    ValueError
        The norm is L0.

    Notes
    -----
    With ``a = |normal|`` and ``room`` in the direction of the rise, the coordinates move by
    ``min(t, room)`` (Linf) or ``min(t * a, room)`` (L2), with the one ``t`` that gains the rise;
    in L1 the steepest coordinates go as far as they may, one after the other. A coordinate that
    stands at its bound in a partial solution does so in the final one, so ``t`` grows from step
    to step and is exact after finitely many (each fixes a coordinate); no sorting is needed
    except in L1.
    """
    if norm is Norm.L0:
        raise ValueError("the way onto a hyperplane is found in L1, L2 and Linf")
    sign = normal.sign() * column(rise.sign(), normal)
    room = torch.where(sign > 0, high, -low).expand_as(normal).flatten(1)
    raw = normal.flatten(1).abs()
    steep = unit_scale(raw)
    top = raw.amax(1)
    zero = torch.zeros((), dtype=raw.dtype, device=raw.device)
    # Beyond float32 the hyperplane is out of reach of any box that has walls.
    gain = (rise.abs() / top).clamp_max(torch.finfo(raw.dtype).max / 4)
    gain = torch.where(top > 0, gain, zero)[:, None]
    steep = torch.where(steep > LEAST_ENTRY, steep, zero)
    # No coordinate moves beyond what would reach the hyperplane by itself.
    alone = (gain / steep).clamp_max(torch.finfo(raw.dtype).max / 4)
    room = torch.where(steep > 0, torch.minimum(room, alone), zero)
    if norm is Norm.L1:
        moved = _steepest_first(steep, room, gain)
    else:
        moved = _together(steep, room, gain, torch.ones_like(steep) if norm is Norm.Linf else steep)
    return (moved * sign.flatten(1)).view_as(normal)


def _together(steep: Tensor, room: Tensor, gain: Tensor, speed: Tensor) -> Tensor:
    """Move all coordinates at their speeds until they gain what is asked or stand at bounds."""
    zero = torch.zeros((), dtype=steep.dtype, device=steep.device)
    rate = steep * speed
    t = gain / rate.sum(1, keepdim=True).clamp_min(torch.finfo(steep.dtype).tiny)
    moved = torch.minimum(t * speed, room)
    fixed = torch.zeros_like(steep, dtype=torch.bool)
    while True:
        hit = (t * speed >= room) & ~fixed
        if not bool(hit.any()):
            return moved
        fixed |= hit
        rest = gain - torch.where(fixed, steep * room, zero).sum(1, keepdim=True)
        free = torch.where(fixed, zero, rate).sum(1, keepdim=True)
        # Nothing is free any more: the corner is as close as the box comes.
        grown = torch.where(free > 0, rest / free, t)
        t = torch.maximum(t, grown)
        moved = torch.minimum(t * speed, room)


def _steepest_first(steep: Tensor, room: Tensor, gain: Tensor) -> Tensor:
    """Spend the steepest coordinates' room first, until the gain is reached."""
    sorted_steep, order = steep.sort(dim=1, descending=True, stable=True)
    sorted_room = room.gather(1, order)
    gained = sorted_steep * sorted_room
    before = gained.cumsum(1) - gained
    zero = torch.zeros((), dtype=steep.dtype, device=steep.device)
    share = torch.where(sorted_steep > 0, (gain - before).clamp_min(0) / sorted_steep, zero)
    taken = torch.minimum(share, sorted_room)
    return torch.zeros_like(steep).scatter_(1, order, taken)
