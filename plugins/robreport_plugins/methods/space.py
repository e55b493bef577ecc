"""Where an attacker may go: the units of a budget, and what keeps an example valid.

Arrays are inputs in data space, ``(n, *shape)``; the arithmetic is float64. The model of a space:
an example is moved coordinate by coordinate, ``u = (x' - x) / unit``, except that a categorical
column, or a group of one-hot columns, is one coordinate that is 0 or, when it changes, 1. The size
of a change is the norm of these coordinates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import DataError, DataSchema, Norm, ThreatModel
from robreport_plugins.methods.perturb_confine import RADIUS_TOLERANCE, confine

Array = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The examples that an attacker can reach from a given one.

    Attributes
    ----------
    shape : tuple of int
        Of one input.
    low, high : float64 array, scalar or shaped like one input
        The data's bounds; infinite where there are none.
    unit : float64 array ``shape`` or None
        What a budget of 1 is, for each feature; None for the data's own units throughout.
    fixed, up, down, whole : bool array ``shape``
        Features that stay, that may only grow or only shrink, and that hold whole numbers.
    codes : mapping of int to int
        Number of categories of each categorical column, by its position.
    groups : tuple of int arrays
        Positions of the columns of each one-hot group.
    """

    shape: tuple[int, ...]
    low: Floats
    high: Floats
    unit: Floats | None
    fixed: Bools
    up: Bools
    down: Bools
    whole: Bools
    codes: Mapping[int, int]
    groups: tuple[Ints, ...]

    @property
    def plain(self) -> bool:
        """Whether every real number between the room's ends is allowed, in the data's units."""
        return self.unit is None and not (self.whole.any() or self.codes or self.groups)

    @property
    def smooth(self) -> bool:
        """Whether every feature that may move at all may move by as little as it likes."""
        free = (self.whole | self.discrete) & ~self.fixed
        return not bool(free.any())

    @property
    def discrete(self) -> Bools:
        """Which features are codes, or members of a one-hot group, ``shape``."""
        found = np.zeros(self.fixed.size, dtype=bool)
        found[list(self.codes)] = True
        for group in self.groups:
            found[group] = True
        return found.reshape(self.shape)

    def room(self, x: Array) -> tuple[Floats, Floats]:
        """Return the lowest and highest value of every feature of every example.

        An input that lies outside of the bounds may stay where it is.
        """
        base = _float64(x)
        low, high = np.minimum(self.low, base), np.maximum(self.high, base)
        low = np.where(self.fixed | self.up, base, low)
        high = np.where(self.fixed | self.down, base, high)
        return low, high

    def reach(self, x: Array, norm: Norm, eps: float) -> tuple[Floats, Floats]:
        """Return the part of the room that small steps can make use of inside a ball.

        Codes stay where they are, and so do the members of a one-hot group where no change of a
        group fits into the ball. Whole numbers go no further than to the last one inside the
        ball.
        """
        base = _float64(x)
        low, high = self.room(x)
        held = np.zeros(self.fixed.size, dtype=bool)
        held[list(self.codes)] = True
        if _places(norm, eps) < 1:
            for group in self.groups:
                held[group] = True
        held = held.reshape(self.shape)
        most = eps * (1 + RADIUS_TOLERANCE)
        if norm is Norm.L0:
            most = np.inf if most >= 1 else 0.0
        step = most * (1.0 if self.unit is None else self.unit)
        floor = np.minimum(np.ceil(np.maximum(low, base - step)), base)
        ceiling = np.maximum(np.floor(np.minimum(high, base + step)), base)
        low, high = np.where(self.whole, floor, low), np.where(self.whole, ceiling, high)
        return np.where(held, base, low), np.where(held, base, high)

    def stretch(self, delta: Array, norm: Norm, eps: float) -> Floats:
        """Return changes that fill the ball in their direction, codes and groups as they are.

        In L0, where no direction fills a ball, they are the changes given.
        """
        flat = _float64(delta).reshape(len(delta), -1)
        if norm is Norm.L0:
            return flat.reshape(np.shape(delta))
        free = ~self.discrete.reshape(-1)
        moved = flat if self.unit is None else flat / self.unit.reshape(1, -1)
        size = np.linalg.norm(moved[:, free], ord=norm.order, axis=1) if free.any() else 0.0
        times = np.where(size > 0, eps / np.where(size > 0, size, 1.0), 1.0)
        grown = np.where(free, flat * np.reshape(times, (-1, 1)), flat)
        return np.asarray(grown).reshape(np.shape(delta))

    def land(self, x: Array, delta: Array, norm: Norm, eps: float) -> Array:
        """Return valid inputs near ``x + delta`` inside the ball, in x's own dtype.

        Parameters
        ----------
        x : array (n, *shape), float32 or float64
        delta : array (n, *shape)
            What an attack wants; rows that are not finite are left out.
        norm, eps
            L0, L1, L2 or Linf, and the radius.

        Notes
        -----
        The change is cut to the room. Each category goes to the nearest one, a one-hot group to
        its largest member; where the ball has no place for all that changed, those that the
        attack wanted least go back. The rest of the radius is for the other features, which are
        shrunk into it. Whole numbers are rounded to the nearest, as many as the ball allows,
        else towards x, so that nothing ever leaves the ball.
        """
        low, high = self.room(x)
        if self.plain and norm is not Norm.L0:
            return confine(x, delta, norm, eps, low, high)
        flat = _Rows(self, x, delta, low, high)
        left = flat.place_categories(norm, eps)
        flat.shrink(norm, left)
        flat.round_whole(norm, left)
        return flat.cast()

    def sizes(self, x: Array, x_adv: Array, norm: Norm) -> Floats:
        """Return how far each example was moved, ``(n,)``, in the units of the budget."""
        moved = self.coordinates(x, x_adv)
        if norm is Norm.L0:
            return np.asarray(np.count_nonzero(moved, axis=1), dtype=np.float64)
        return np.asarray(np.linalg.norm(moved, ord=norm.order, axis=1), dtype=np.float64)

    def coordinates(self, x: Array, x_adv: Array) -> Floats:
        """Return the change in the units of the budget, ``(n, d)``.

        A categorical column that changed has 1; of a one-hot group the first member stands for
        all.
        """
        base = _float64(x).reshape(len(x), -1)
        moved = _float64(x_adv).reshape(len(x), -1) - base
        if self.unit is not None:
            moved = moved / self.unit.reshape(1, -1)
        for place in self.codes:
            moved[:, place] = moved[:, place] != 0
        for group in self.groups:
            changed = (moved[:, group] != 0).any(axis=1)
            moved[:, group] = 0.0
            moved[:, group[0]] = changed
        return moved

    def inside(self, x: Array, x_adv: Array, norm: Norm, eps: float) -> Bools:
        """Return whether each example lies in the ball, in its room, and is valid."""
        within = self.sizes(x, x_adv, norm) <= eps * (1 + RADIUS_TOLERANCE)
        return np.asarray(within & self.valid(x, x_adv))

    def valid(self, x: Array, x_adv: Array) -> Bools:
        """Return whether each example lies in its room and could be an example of the data.

        Whole numbers are whole, codes are codes, one of a group is 1 and the others are 0; what
        was none of this in `x` may stay as it is.
        """
        low, high = self.room(x)
        base, moved = _float64(x), _float64(x_adv)
        good = ((moved >= low) & (moved <= high)).reshape(len(x), -1)
        same = (moved == base).reshape(len(x), -1)
        flat = moved.reshape(len(x), -1)
        whole = self.whole.reshape(-1)
        good[:, whole] &= same[:, whole] | (flat[:, whole] == np.rint(flat[:, whole]))
        for place, count in self.codes.items():
            code = flat[:, place]
            known = (code == np.rint(code)) & (code >= 0) & (code < count)
            good[:, place] &= same[:, place] | known
        for group in self.groups:
            members = flat[:, group]
            one = ((members == 0) | (members == 1)).all(axis=1) & (members.sum(axis=1) == 1)
            good[:, group] &= (same[:, group].all(axis=1) | one)[:, None]
        return np.asarray(good.all(axis=1))


class _Rows:
    """A batch on its way from what an attack wants to what is allowed."""

    def __init__(self, space: Space, x: Array, delta: Array, low: Floats, high: Floats) -> None:
        self.space, self.x = space, x
        self.base = _float64(x).reshape(len(x), -1)
        self.low, self.high = low.reshape(self.base.shape), high.reshape(self.base.shape)
        wanted = np.array(_float64(delta).reshape(self.base.shape))
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
        kept = changed & (rank < _places(norm, eps))
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
            outside = np.abs(_float64(landed) - self.base) > reach
            if not outside.any():
                break
            landed = np.where(outside, np.nextafter(landed, x), landed)
        return landed.reshape(self.x.shape)


def space_of(
    schema: DataSchema,
    threat: ThreatModel,
    shape: tuple[int, ...],
    reference: Array | None = None,
) -> Space:
    """Return the space of a threat model on data of this schema.

    Parameters
    ----------
    schema : DataSchema
    threat : ThreatModel
    shape : tuple of int
        Of one input.
    reference : array (m, *shape) or None
        The inputs that ``scale`` is measured on; missing values are left out.

    Raises
    ------
    DataError
        A column that is not there, bounds that do not fit, or a scale without a reference.
    """
    size = int(np.prod(shape))

    def mask(names: Iterable[str], what: str) -> Bools:
        found = np.zeros(size, dtype=bool)
        found[_positions(schema, names, f"threats.{threat.name}.{what}")] = True
        return found.reshape(shape)

    low, high = bounds_of(schema, shape)
    frozen = dict.fromkeys((*schema.frozen, *threat.frozen))
    groups = tuple(
        np.asarray(_positions(schema, names, f"threats.{threat.name}.one_hot"), dtype=np.intp)
        for names in threat.one_hot
    )
    members = [int(place) for group in groups for place in group]
    if len(set(members)) != len(members) or any(len(group) < 2 for group in groups):
        raise DataError(
            f"threats.{threat.name}.one_hot: each group needs two columns or more, and a column "
            "belongs to one group"
        )
    codes = {
        _positions(schema, [name], "data.schema.categorical")[0]: len(values)
        for name, values in schema.categories.items()
    }
    whole = mask(schema.integer, "integer") | mask(threat.integer, "integer")
    whole.reshape(-1)[members] = False
    unit = _unit(schema, threat, shape, reference)
    if unit is not None:
        unit.reshape(-1)[[*codes, *members]] = 1.0
    return Space(
        shape=shape, low=low, high=high, unit=unit, fixed=mask(frozen, "frozen"),
        up=mask(threat.increase, "increase"), down=mask(threat.decrease, "decrease"),
        whole=whole, codes=codes, groups=groups,
    )  # fmt: skip


def bounds_of(schema: DataSchema, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return (low, high), scalars or shaped like one input; infinite where nothing is declared.

    Raises
    ------
    DataError
        They do not fit the inputs, or a lower end lies above its upper end.
    """
    if schema.bounds is None:
        return np.asarray(-np.inf), np.asarray(np.inf)
    ends = []
    for end in schema.bounds:
        values = np.asarray(end, dtype=np.float64)
        if values.ndim:
            if values.size != int(np.prod(shape)):
                raise DataError(
                    f"data.bounds holds {values.size} values an end, but an input has "
                    f"{int(np.prod(shape))}; give one number, or one for each feature"
                )
            values = values.reshape(shape)
        ends.append(values)
    low, high = ends
    if not (low <= high).all():
        raise DataError("data.bounds has a lower end above its upper end")
    return low, high


def _unit(
    schema: DataSchema, threat: ThreatModel, shape: tuple[int, ...], reference: Array | None
) -> Floats | None:
    if threat.scale == "none":
        return None
    if reference is None or not len(reference):
        raise DataError(f"threats.{threat.name}.scale needs inputs to measure the columns on")
    values = _float64(reference).reshape(len(reference), -1)
    with np.errstate(invalid="ignore"):
        width = np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
        unit = np.nanstd(values, axis=0) if threat.scale == "std" else width
    # a column that never differs has no unit of its own, though its deviation may round to one
    own = np.isfinite(unit) & (unit > 0) & (width > 0)
    return np.asarray(np.where(own, unit, 1.0)).reshape(shape)


def _positions(schema: DataSchema, names: Iterable[str], where: str) -> list[int]:
    wanted = list(names)
    missing = [name for name in wanted if name not in schema.features]
    if missing:
        shown = ", ".join(schema.features[:8]) + (", \u2026" if len(schema.features) > 8 else "")
        known = f"the columns are {shown}" if schema.features else "the data has no named columns"
        raise DataError(f"{where} names {missing[0]!r}, which is no column; {known}")
    return list(schema.positions(wanted))


def _places(norm: Norm, eps: float) -> Any:
    """How many categories may change inside a ball of this radius."""
    room = eps * (1 + RADIUS_TOLERANCE)
    if norm is Norm.Linf or np.isinf(room):
        return np.inf if room >= 1 else 0
    return int(np.floor(room * room if norm is Norm.L2 else room))


def _float64(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)
