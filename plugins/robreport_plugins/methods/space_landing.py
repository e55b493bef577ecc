"""On the way from what an attack wants to what a space allows: one batch, landed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from robreport import Norm
from robreport_plugins.methods.perturb_confine import RADIUS_TOLERANCE

if TYPE_CHECKING:
    from robreport_plugins.methods.space import Space

Array = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]


class Landing:
    """A batch on its way from what an attack wants to what is allowed."""

    def __init__(self, space: Space, x: Array, delta: Array, low: Floats, high: Floats) -> None:
        self.space, self.x = space, x
        self.base = float64(x).reshape(len(x), -1)
        self.low, self.high = low.reshape(self.base.shape), high.reshape(self.base.shape)
        wanted = np.array(float64(delta).reshape(self.base.shape))
        wanted[~np.isfinite(wanted).all(axis=1)] = 0.0
        self.wanted = np.clip(wanted, self.low - self.base, self.high - self.base)
        self.target = self.base.copy()
        self.most = np.full(self.base.shape, np.inf)
        self.unit = np.ones(self.base.shape[1])
        if space.unit is not None:
            self.unit = space.unit.reshape(-1)
        self.smooth = ~space.discrete.reshape(-1)
        self.whole = space.whole.reshape(-1) & self.smooth

    def place_categories(self, norm: Norm, eps: float) -> Floats:
        """Set codes and groups, and return the radius that is left for the rest, ``(n,)``."""
        n = len(self.base)
        jumps: list[tuple[Bools, Floats, Ints, Floats]] = []
        for place, count in self.space.codes.items():
            code = np.rint(self.base[:, place] + self.wanted[:, place])
            code = np.clip(code, np.maximum(0, np.ceil(self.low[:, place])),
                           np.minimum(count - 1, np.floor(self.high[:, place])))  # fmt: skip
            strength = np.abs(self.wanted[:, place])
            changed = (code != self.base[:, place]) & (strength > 0)
            jumps.append((changed, strength, np.array([place]), code[:, None]))
        for group in self.space.groups:
            jumps.append(self._group_jump(group))
        if not jumps:
            return np.full(n, eps)
        changed = np.stack([jump[0] for jump in jumps], axis=1)
        strength = np.where(changed, np.stack([jump[1] for jump in jumps], axis=1), -1.0)
        rank = np.argsort(np.argsort(-strength, axis=1, kind="stable"), axis=1, kind="stable")
        kept = changed & (rank < changes_in(norm, eps))
        for j, (_, _, places, values) in enumerate(jumps):
            rows = kept[:, j]
            self.target[np.ix_(rows, places)] = values[rows]
        count = kept.sum(axis=1)
        if norm is Norm.Linf:
            return np.full(n, eps)
        if norm is Norm.L2:
            return np.asarray(np.sqrt(np.maximum(eps * eps - count, 0.0)))
        return np.asarray(eps - count, dtype=np.float64)

    def _group_jump(self, group: Ints) -> tuple[Bools, Floats, Ints, Floats]:
        """Return (changed, how much it is wanted, members, their new values) of a group."""
        before, after = self.base[:, group], self.base[:, group] + self.wanted[:, group]
        old, new = before.argmax(axis=1), after.argmax(axis=1)
        rows = np.arange(len(before))
        one = (before.sum(axis=1) == 1) & ((before == 0) | (before == 1)).all(axis=1)
        # a member that may not grow to 1 cannot be chosen, one that may not fall cannot be left
        free = (self.high[rows, group[new]] >= 1) & (self.low[rows, group[old]] <= 0)
        strength = after[rows, new] - after[rows, old]
        return one & free & (new != old), strength, group, np.eye(len(group))[new]

    def shrink(self, norm: Norm, left: Floats) -> None:
        """Move the other features as far as wanted, inside what is left of the radius."""
        u = np.where(self.smooth, self.wanted / self.unit, 0.0)
        if norm is Norm.Linf:
            u = np.clip(u, -left[:, None], left[:, None])
        elif norm is Norm.L0:
            rank = np.argsort(np.argsort(-np.abs(u), axis=1, kind="stable"), axis=1, kind="stable")
            u = np.where(rank < np.floor(left + RADIUS_TOLERANCE)[:, None], u, 0.0)
        else:
            size = np.linalg.norm(u, ord=norm.order, axis=1)
            u = u * np.where(size > left, left / np.where(size > 0, size, 1.0), 1.0)[:, None]
        moved = np.clip(self.base + u * self.unit, self.low, self.high)
        # the sum may have been rounded away from x
        self.most = np.where(self.smooth & ~self.whole, np.abs(u * self.unit), np.inf)
        self.target = np.where(self.smooth & (u != 0), moved, self.target)

    def round_whole(self, norm: Norm, left: Floats) -> None:
        """Make whole what must be: to the nearest as far as that fits, else towards the input."""
        if not self.whole.any():
            return
        moved = self.whole & (self.target != self.base)
        up = self.target > self.base
        towards = np.where(up, np.floor(self.target), np.ceil(self.target))
        back = np.where(up, towards <= self.base, towards >= self.base)
        towards = np.where(back, self.base, towards)
        nearest = np.rint(self.target)
        nearest = np.where((nearest >= self.low) & (nearest <= self.high), nearest, towards)
        nearest, towards = (np.where(moved, to, self.target) for to in (nearest, towards))
        # a change of less than half a step is none
        size = np.where(self.smooth, np.abs(nearest - self.base) / self.unit, 0.0)
        left = left * (1 + RADIUS_TOLERANCE)
        if norm is Norm.Linf:
            fits = size <= left[:, None]
        elif norm is Norm.L0:
            fits = (np.count_nonzero(size, axis=1) <= left)[:, None]
        else:
            fits = (np.linalg.norm(size, ord=norm.order, axis=1) <= left)[:, None]
        rounded = np.where(fits, nearest, towards)
        if norm in (Norm.L1, Norm.L2):
            rows = np.flatnonzero(~fits)
            rounded[rows] = self._round_some(rows, nearest[rows], towards[rows], norm, left[rows])
        self.target = rounded

    def _round_some(
        self, rows: Ints, nearest: Floats, towards: Floats, norm: Norm, left: Floats
    ) -> Floats:
        """Return what is rounded towards the input, but as much to the nearest as fits.

        What lies furthest from where it would go back to comes first, then the first column.
        """
        power = 2 if norm is Norm.L2 else 1
        base, each = self.base[rows], np.arange(len(rows))
        far, near = (
            np.where(self.smooth, np.abs(ends - base) / self.unit, 0.0) ** power
            for ends in (nearest, towards)
        )
        used, room = near.sum(axis=1), left**power
        lost = np.where(nearest == towards, -1.0, np.abs(self.target[rows] - towards))
        order = np.argsort(-lost, axis=1, kind="stable")
        found = towards.copy()
        for place in order.T[: int((lost >= 0).sum(axis=1).max(initial=0))]:
            with_it = used - near[each, place] + far[each, place]
            fits = (lost[each, place] >= 0) & (with_it <= room)
            found[each[fits], place[fits]] = nearest[each[fits], place[fits]]
            used = np.where(fits, with_it, used)
        return found

    def cast(self) -> Array:
        """Return the inputs in their own dtype, no further from x than they were to be."""
        x = self.x.reshape(self.base.shape)
        landed = self.target.astype(x.dtype)
        reach = np.minimum(np.abs(self.target - self.base), self.most)
        for _ in range(2):
            outside = np.abs(float64(landed) - self.base) > reach
            if not outside.any():
                break
            landed = np.where(outside, np.nextafter(landed, x), landed)
        return landed.reshape(self.x.shape)


def changes_in(norm: Norm, eps: float) -> Any:
    """How many categories may change inside a ball of this radius."""
    room = eps * (1 + RADIUS_TOLERANCE)
    if norm is Norm.Linf or np.isinf(room):
        return np.inf if room >= 1 else 0
    return int(np.floor(room * room if norm is Norm.L2 else room))


def float64(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)
