"""Greedy search over a table's columns, for any model that gives scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robreport import Norm
from robreport_plugins.methods.space import Space

Rows = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Scores = Callable[[Rows], npt.NDArray[np.floating]]

# Numbers in the rows that are built, and asked for, at a time.
_BLOCK = 4_000_000
# A radius of no end, as what lands inside of it can still be counted.
_FAR = 1e12
# How many times the range of a column lies between it and a value that is far outside.
_FAR_OUT = (1.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAttempt:
    """What a search over a table hands back; whether it succeeded is for the caller to judge.

    Attributes
    ----------
    x_adv : array (n, *shape)
        In x's own type, always valid and inside the ball.
    claimed : bool array (n,)
        Where the scores were seen to favour another class.
    queries : int
        Rows that were scored.
    """

    x_adv: Rows
    claimed: Bools
    queries: int


def greedy_search(
    scores: Scores,
    space: Space,
    x: Rows,
    y: npt.ArrayLike,
    *,
    norm: Norm,
    eps: float,
    reference: Rows,
    rng: np.random.Generator,
    steps: int = 50,
    quantiles: int = 9,
    restarts: int = 2,
    width: int = 600,
    tries: int = 0,
    shrink: bool = False,
    aim: int | None = None,
    onward: bool = False,
) -> TableAttempt:
    """Return rows that one best change after the other led to another class.

    Parameters
    ----------
    scores : callable
        Takes rows ``(m, *shape)`` in x's type, returns scores ``(m, k)``, k >= 2: of a class that
        is more likely, larger ones.
    space : Space
        Where the attacker may go.
    x : array (n, *shape), float32 or float64
        Without missing values.
    y : array (n,) of int
        The true classes.
    norm, eps
        L0, L1, L2 or Linf, and the radius; infinite for the room alone.
    reference : array (m, *shape)
        Rows of the data, whose quantiles are tried as values, and towards which restarts go.
    rng : Generator
    steps : int
        Changes of one start, at least 1.
    quantiles : int
        Of each column, at least 2.
    restarts : int
        Further starts, each part of the way to a random row of `reference`.
    width : int
        Changes that are looked at in a step for each row; where there are more, a random part.
    tries : int
        Random starts after those, of which only the start itself is looked at: for scores that
        tell no more than the class.
    shrink : bool
        Make what was found smaller while the class stays wrong: with ``eps = inf`` an upper bound
        on the smallest change.
    aim : int or None
        The class that all rows are to be moved to; None for any but their own.
    onward : bool
        Go on to the largest margin, and return where that is even where another class does not
        lead: for scores that only resemble those of the model to be fooled.

    Raises
    ------
    ValueError
        A count below its least, a radius that is negative, scores of another shape, or labels
        that there are no scores for.

    Notes
    -----
    A step tries, for each feature by itself, the quantiles, the ends of its room, what is left of
    the radius and parts of it, values far outside where neither room nor radius ends, and its own
    old value, since that makes room for others; each category, and each member of a group. Of all
    that is inside the ball and valid, the row takes what brings it the largest margin
    ``max over j != y of s[j] - s[y]``, or with an aim a
    ``s[a] - max over j != a of s[j]``, until the wanted class leads or nothing gains.
    """
    if steps < 1 or quantiles < 2 or min(restarts, tries) < 0 or width < 1 or not eps >= 0:
        raise ValueError(
            "steps and width must be at least 1, quantiles 2, restarts, tries and eps 0, found "
            f"{steps}, {width}, {quantiles}, {restarts}, {tries} and {eps}"
        )
    hunt = _Hunt(scores, space, x, np.asarray(y, dtype=np.int64), norm, eps, rng, width, aim)
    hunt.values = _quantiles(reference, quantiles, x.dtype)
    best = x.copy()
    claimed = np.zeros(len(x), dtype=bool)
    for start in range(restarts + 1):
        left = np.flatnonzero(~claimed)
        if not len(left):
            break
        begin = x[left] if start == 0 else hunt.scatter(left, reference)
        found, hit = hunt.climb(left, begin, steps, onward=onward)
        kept = hit | (onward and start == 0)
        best[left[kept]] = found[kept]
        claimed[left[hit]] = True
    for _ in range(tries):
        left = np.flatnonzero(~claimed)
        if not len(left):
            break
        begin = hunt.scatter(left, reference)
        hit = hunt.margins(begin, hunt.y[left]) > 0
        best[left[hit]] = begin[hit]
        claimed[left[hit]] = True
    if shrink:
        won = np.flatnonzero(claimed)
        best[won] = hunt.draw_in(won, best[won])
    return TableAttempt(x_adv=best, claimed=claimed, queries=hunt.queries)


class _Hunt:
    """One search: the inputs with what may become of them, and the rows asked for so far."""

    values: Floats

    def __init__(
        self,
        scores: Scores,
        space: Space,
        x: Rows,
        y: Ints,
        norm: Norm,
        eps: float,
        rng: np.random.Generator,
        width: int,
        aim: int | None = None,
    ) -> None:
        # the class that a margin is about: the own one, or the one aimed at
        y = y if aim is None else np.full_like(y, aim)
        self.scores, self.space, self.x, self.y = scores, space, x, y
        self.norm, self.eps, self.rng, self.width = norm, eps, rng, width
        self.aims = aim is not None
        self.queries = 0
        d = int(np.prod(space.shape))
        self.unit = np.ones(d) if space.unit is None else space.unit.reshape(-1)
        self.whole = space.whole.reshape(-1)
        movable = ~space.fixed.reshape(-1) & ~space.discrete.reshape(-1)
        self.plain = np.flatnonzero(movable)

    def margins(self, rows: Rows, y: Ints) -> Floats:
        """Return the lead of what is wanted, ``(m,)``: above 0 where the class is.

        Of the best other class over that of `y`, or the reverse where `y` is the aim.
        """
        found = np.empty(len(rows))
        size = max(1, _BLOCK // max(1, self.unit.size))
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            given = np.asarray(self.scores(rows[part]), dtype=np.float64)
            if given.ndim != 2 or len(given) != len(rows[part]) or given.shape[1] < 2:
                raise ValueError(f"scores gave shape {given.shape} for {len(rows[part])} rows")
            if y[part].min(initial=0) < 0 or y[part].max(initial=0) >= given.shape[1]:
                raise ValueError(f"there are labels beyond the {given.shape[1]} scores of a row")
            own = np.take_along_axis(given, y[part, None], axis=1)[:, 0]
            others = given.copy()
            np.put_along_axis(others, y[part, None], -np.inf, axis=1)
            lead = others.max(axis=1) - own
            # at a tie the first class wins
            won = (given.argmax(axis=1) == y[part]) == self.aims
            found[part] = np.where((lead == 0) & won, 5e-324, -lead if self.aims else lead)
        self.queries += len(rows)
        return found

    def scatter(self, rows: Ints, reference: Rows) -> Rows:
        """Return starts: some features go to those of a random row, as far as the ball allows."""
        x = self.x[rows]
        if not len(reference):
            return x
        aim = reference[self.rng.integers(len(reference), size=len(rows))].reshape(x.shape)
        chosen = self.rng.random(x.shape) < self.rng.choice([0.2, 0.5, 1.0])
        for group in self.space.groups:
            flat = chosen.reshape(len(x), -1)
            flat[:, group] = flat[:, group[:1]]
        delta = np.where(chosen & np.isfinite(aim), aim.astype(np.float64) - x, 0.0)
        return self.space.land(x, delta, self.norm, min(self.eps, _FAR))

    def climb(
        self, rows: Ints, at: Rows, steps: int, *, onward: bool = False
    ) -> tuple[Rows, Bools]:
        """Return (where the best changes lead, whether another class does)."""
        at = at.copy()
        lead = self.margins(at, self.y[rows])
        going = np.flatnonzero((lead <= 0) | onward)
        for _ in range(steps):
            if not len(going):
                break
            best, values = self._best(rows[going], at[going], gain=True)
            better = values > lead[going]
            moved = going[better]
            at[moved], lead[moved] = best[better], values[better]
            going = moved[(lead[moved] <= 0) | onward]
        return at, lead > 0

    def draw_in(self, rows: Ints, at: Rows) -> Rows:
        """Return smaller changes of the same effect: features go back, or half of the way."""
        at = at.copy()
        going = np.arange(len(rows))
        for _ in range(8 * self.unit.size):
            if not len(going):
                break
            best, values = self._best(rows[going], at[going], gain=False)
            now = self.space.sizes(self.x[rows[going]], at[going], self.norm)
            better = values < now
            going = going[better]
            at[going] = best[better]
        return at

    def _best(self, rows: Ints, at: Rows, *, gain: bool) -> tuple[Rows, Floats]:
        """Return the best trial of each row with its margin, or of the wrong ones the smallest."""
        best = at.copy()
        values = np.full(len(rows), -np.inf if gain else np.inf)
        size = max(1, _BLOCK // (self.unit.size * self._count(gain)))
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            owner, trial = self._trials(rows[part], at[part], gain)
            if not len(trial):
                continue
            own = rows[part][owner]
            sizes = self.space.sizes(self.x[own], trial, self.norm)
            lead = self.margins(trial, self.y[own])
            worth = lead if gain else np.where(lead > 0, -sizes, -np.inf)
            # of equal worth the smaller one, of equal size the first
            order = np.lexsort((np.arange(len(own)), sizes, -worth, owner))
            first = order[np.concatenate([[True], np.diff(owner[order]) > 0])]
            best[part][owner[first]] = trial[first]
            values[part][owner[first]] = worth[first] if gain else -worth[first]
        return best, values

    def _count(self, gain: bool) -> int:
        plain = len(self.plain) * ((self.values.shape[0] + 13) if gain else 2)
        jumps = sum(self.space.codes.values()) + sum(len(g) + 1 for g in self.space.groups)
        return max(1, plain + jumps)

    def _trials(self, rows: Ints, at: Rows, gain: bool) -> tuple[Ints, Rows]:
        """Return (number of the row, trial) for all that is new, valid and inside the ball."""
        x = self.x[rows].reshape(len(rows), -1).astype(np.float64)
        flat = at.reshape(len(rows), -1).astype(np.float64)
        column, value = self._values(x, flat, rows, gain)
        n, count = value.shape
        jumps = [(group, k) for group in self.space.groups for k in range(-1, len(group))]
        total = count + len(jumps)
        if not total:
            return np.zeros(0, dtype=np.int64), self.x[:0]
        kept = np.arange(total)
        if total > self.width:
            kept = np.sort(self.rng.choice(total, self.width, replace=False))
        trial = np.repeat(flat[:, None, :], len(kept), axis=1)
        single = kept[kept < count]
        trial[:, np.arange(len(single)), column[single]] = value[:, single]
        for slot, number in enumerate(kept[kept >= count], len(single)):
            group, k = jumps[number - count]
            trial[:, slot, group] = x[:, group] if k < 0 else np.eye(len(group))[k]
        owner = np.repeat(np.arange(n), len(kept))
        flat_trial = self._into_type(trial.reshape(n * len(kept), -1), x[owner])
        fresh = (flat_trial != flat.astype(self.x.dtype)[owner]).any(axis=1)
        owner, flat_trial = owner[fresh], flat_trial[fresh]
        found = flat_trial.reshape(-1, *self.x.shape[1:])
        if len(found):
            good = self.space.inside(self.x[rows][owner], found, self.norm, self.eps)
            owner, found = owner[good], found[good]
        return owner, found

    def _into_type(self, trial: Floats, x: Floats) -> Rows:
        """Return the trials in x's type, where rounding went outwards one number nearer to x."""
        with np.errstate(over="ignore"):
            cast = trial.astype(self.x.dtype)
        out = np.abs(cast.astype(np.float64) - x) > np.abs(trial - x)
        return np.where(out, np.nextafter(cast, x.astype(self.x.dtype)), cast)

    def _values(self, x: Floats, flat: Floats, rows: Ints, gain: bool) -> tuple[Ints, Floats]:
        """Return (columns ``(count,)``, values to try ``(n, count)``) of the single columns."""
        j = self.plain
        low, high = (end.reshape(len(rows), -1)[:, j] for end in self.space.room(self.x[rows]))
        own = x[:, j]
        options = [own, own + (flat[:, j] - own) / 2] if not gain else [own]
        if gain:
            reach = self._reach(x, flat)[:, j] * self.unit[j]
            for share in (1.0, 0.5, 0.1, 0.01):
                options += [own - reach * share, own + reach * share]
            options += [np.broadcast_to(row[j], own.shape) for row in self.values]
            # what the ball does not reach is tried at its edge
            options = [np.clip(v, own - reach, own + reach) for v in options]
            options += [low, high]
            if np.isinf(reach).any() and not (np.isfinite(low).all() and np.isfinite(high).all()):
                options += [np.broadcast_to(far, own.shape) for far in self._far(j)]
        columns, values = [], []
        whole = self.whole[j]
        for option in options:
            tried = np.clip(np.where(np.isfinite(option), option, own), low, high)
            inward = np.where(tried > own, np.floor(tried), np.ceil(tried))
            back = np.where(tried > own, inward <= own, inward >= own)
            columns.append(j)
            values.append(np.where(whole, np.where(back, own, inward), tried))
        for place, codes in self.space.codes.items():
            wanted = [x[:, place], *(np.full(len(x), float(code)) for code in range(codes))]
            for code in wanted if gain else wanted[:1]:
                columns.append(np.asarray([place]))
                values.append(code[:, None])
        if not columns:
            return np.zeros(0, dtype=np.int64), np.zeros((len(x), 0))
        return np.concatenate(columns), np.concatenate(values, axis=1)

    def _far(self, j: Ints) -> list[Floats]:
        """Return values far outside of those that occur: where nothing bounds a single change."""
        if not len(self.values):
            return []
        least, most = self.values[0, j], self.values[-1, j]
        wide = np.maximum(most - least, 1.0)
        return [end for times in _FAR_OUT for end in (least - times * wide, most + times * wide)]

    def _reach(self, x: Floats, flat: Floats) -> Floats:
        """Return how far each feature may go by itself, given where the others are, in units."""
        moved = np.abs(self.space.coordinates(x.reshape(-1, *self.space.shape),
                                              flat.reshape(-1, *self.space.shape)))  # fmt: skip
        if self.norm is Norm.L0 or np.isinf(self.eps):
            return np.full(moved.shape, np.inf)
        if self.norm is Norm.Linf:
            return np.full(moved.shape, self.eps)
        if self.norm is Norm.L1:
            rest = moved.sum(axis=1, keepdims=True) - moved
            return np.asarray(np.maximum(self.eps - rest, 0.0))
        squares = moved * moved
        rest = squares.sum(axis=1, keepdims=True) - squares
        return np.asarray(np.sqrt(np.maximum(self.eps * self.eps - rest, 0.0)))


def _quantiles(reference: Rows, count: int, dtype: np.dtype[np.floating]) -> Floats:
    """Return values that occur in each column, ``(count, d)``, from its least to its largest."""
    table = np.asarray(reference, dtype=dtype).astype(np.float64)
    table = table.reshape(len(table), int(np.prod(table.shape[1:])))
    table = table[np.isfinite(table).all(axis=1)]
    if not len(table):
        return np.zeros((0, table.shape[1]))
    found = np.quantile(table, np.linspace(0, 1, count), axis=0, method="nearest")
    return np.asarray(found, dtype=np.float64)
