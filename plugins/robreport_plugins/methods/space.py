"""Where an attacker may go: the units of a budget, and what keeps an example valid.

Arrays are inputs in data space, ``(n, *shape)``; the arithmetic is float64. The model of a space:
an example is moved coordinate by coordinate, ``u = (x' - x) / unit``, except that a categorical
column, or a group of one-hot columns, is one coordinate that is 0 or, when it changes, 1. The size
of a change is the norm of these coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robreport import Norm
from robreport_plugins.methods.perturb_confine import RADIUS_TOLERANCE, confine
from robreport_plugins.methods.space_landing import Landing, changes_in, float64

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
        base = float64(x)
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
        base = float64(x)
        low, high = self.room(x)
        held = np.zeros(self.fixed.size, dtype=bool)
        held[list(self.codes)] = True
        if changes_in(norm, eps) < 1:
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

    def stretch(self, x: Array, delta: Array, norm: Norm, eps: float) -> Floats:
        """Return changes that fill the ball in their direction, codes and groups as they are.

        In L0, where a feature's change costs the same however far it goes, each goes to the end
        of its room, if there is one.
        """
        flat = float64(delta).reshape(len(delta), -1)
        free = ~self.discrete.reshape(-1)
        if norm is Norm.L0:
            low, high = (float64(end - float64(x)).reshape(flat.shape) for end in self.room(x))
            end = np.where(flat > 0, high, np.where(flat < 0, low, 0.0))
            return np.where(free & np.isfinite(end), end, flat).reshape(np.shape(delta))
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
        flat = Landing(self, x, delta, low, high)
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
        base = float64(x).reshape(len(x), -1)
        moved = float64(x_adv).reshape(len(x), -1) - base
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
        base, moved = float64(x), float64(x_adv)
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
