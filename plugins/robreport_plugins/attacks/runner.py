"""Runs attacks batch by batch, has the model judge them, and keeps count."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch

from robreport import ThreatModel
from robreport_plugins.attacks.campaign import Shown, Trial
from robreport_plugins.attacks.case import Case, Exact
from robreport_plugins.attacks.catalogue import Attack
from robreport_plugins.attacks.judging import Bools, Ints, Judged, judge
from robreport_plugins.attacks.params import SuiteParams
from robreport_plugins.attacks.target import Target
from robreport_plugins.methods.perturb import Attempt, loss_gradient

# How many examples that fell at a smaller radius are attacked again at each larger one. Without
# them the monotone envelope would hide an attack that loses strength as the radius grows.
PROBES = 50

Progress = Callable[[int, int, str], None]

_NOBODY: Ints = np.zeros(0, dtype=np.int64)


@dataclass
class _Fallen:
    """What one attack broke so far in one arena, and the work of the radius under way.

    Attributes
    ----------
    broken, size, taken : array (n,)
        Whether, how small, and taken for what.
    """

    attack: Attack
    place: ThreatModel
    broken: Bools
    size: npt.NDArray[np.float64]
    taken: Ints
    gradients: int = field(default=0, init=False)
    queries: int = field(default=0, init=False)
    unconfirmed: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    @classmethod
    def of(cls, attack: Attack, place: ThreatModel, n: int) -> _Fallen:
        """Return a record of nothing."""
        nothing = np.zeros(n, dtype=bool), np.full(n, np.inf), np.full(n, -1, dtype=np.int64)
        return cls(attack, place, *nothing)

    def trial(self, eps: float, attacked: int, probed: int, held: int) -> Trial:
        """Return what there is by now as the trial of one radius, and count from nothing again."""
        found = Trial(
            attack=self.attack, arena=self.place, eps=eps, attacked=attacked,
            broken=self.broken.copy(), size=self.size.copy(), gradients=self.gradients,
            queries=self.queries, seconds=self.seconds, unconfirmed=self.unconfirmed,
            probed=probed, held=held,
        )  # fmt: skip
        self.gradients = self.queries = self.unconfirmed = 0
        self.seconds = 0.0
        return found

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the seconds of what runs inside."""
        began = perf_counter()
        yield
        self.seconds += perf_counter() - began


class Runner:
    """Runs trials, keeping count of work done and examples to show.

    Parameters
    ----------
    target : Target
    params : SuiteParams
    right : array (n,) of bool
        Which examples the model gets right, and are attacked.
    seed : int
    progress : callable (done, total, words)
    total : int
        Examples times radii times attacks.
    """

    def __init__(
        self,
        target: Target,
        params: SuiteParams,
        right: Bools,
        *,
        seed: int,
        progress: Progress,
        total: int,
    ) -> None:
        self.target, self.params, self.right, self.seed = target, params, right, seed
        self.progress, self.total, self.done = progress, total, 0
        self.trials: list[Trial] = []
        self.shown: dict[ThreatModel, dict[int, Shown]] = {}
        self.taken: dict[tuple[ThreatModel, float], Ints] = {}
        self.reached: dict[tuple[ThreatModel, float], Bools] = {}

    def flat(self) -> Bools:
        """Return the right examples whose input gradient is zero in every entry."""
        found = np.zeros(self.target.n, dtype=bool)
        if self.target.module is None:
            return found
        for rows in self.target.batches(np.flatnonzero(self.right)):
            x, y = self.target.tensors(rows)
            _, gradient = loss_gradient(self.target.module, x, y, self.params.loss)
            found[rows] = (gradient == 0).flatten(1).all(1).cpu().numpy()
        return found

    def climb(self, attack: Attack, place: ThreatModel, values: Sequence[float]) -> None:
        """Run one attack with rising radii, carrying over what it broke."""
        record = _Fallen.of(attack, place, self.target.n)
        for eps in values:
            what = f"{attack.title} {place.norm.symbol} \u03b5 = {eps:g}"
            self.progress(self.done, self.total, what)
            todo = np.flatnonzero(self.right & ~record.broken) if eps > 0 else _NOBODY
            probes = np.flatnonzero(record.broken)[:PROBES] if attack.iterative else _NOBODY
            for number, rows in enumerate(self.target.batches(todo)):
                self.progress(self.done + number * self.params.batch_size, self.total, what)
                self._judge(record, eps, *self._attempt(record, eps, rows, f"{number}"))
            fallen = self.probe(attack, place, eps, probes, "again")
            self._note(record, eps, len(todo), len(probes), len(probes) - fallen)
        self.progress(self.done, self.total, f"{attack.title} {place.norm.symbol}")

    def reach(self, attack: Attack, place: ThreatModel, values: Sequence[float]) -> None:
        """Run one attack for the smallest perturbations, and judge them at every radius."""
        record = _Fallen.of(attack, place, self.target.n)
        largest = max(values)
        what = f"{attack.title} {place.norm.symbol}"
        todo = np.flatnonzero(self.right) if largest > 0 else _NOBODY
        attempts: list[tuple[Case, Attempt]] = []
        for number, rows in enumerate(self.target.batches(todo)):
            self.progress(self.done + number * self.params.batch_size, self.total, what)
            attempts.append(self._attempt(record, largest, rows, f"{number}"))
        for eps in values:
            attacked = 0
            for case, attempt in attempts:
                left = np.flatnonzero(~record.broken[case.rows])
                if eps > 0 and len(left):
                    attacked += len(left)
                    part = case.only(left, eps)
                    self._judge(record, eps, part, _some(attempt, left, part))
            self._note(record, eps, attacked)
        self.progress(self.done, self.total, what)

    def aim(self, attack: Attack, place: ThreatModel, values: Sequence[float]) -> None:
        """Run one attack towards each of the commonest classes, with rising radii."""
        target, params = self.target, self.params
        common = np.argsort(-np.bincount(target.y), kind="stable")[: params.targets].tolist()
        reached = np.zeros((target.n, max(*common, int(target.y.max())) + 1), dtype=bool)
        record = _Fallen.of(attack, place, target.n)
        for eps in values:
            attacked = np.zeros(target.n, dtype=bool)
            for turn, aim in enumerate(common):
                what = f"{attack.title} {place.norm.symbol} \u03b5 = {eps:g} to class {aim}"
                self.progress(self.done + turn * target.n // len(common), self.total, what)
                todo = self.right & (target.y != aim) & ~reached[:, aim]
                attacked |= todo
                for number, rows in enumerate(target.batches(np.flatnonzero(todo & (eps > 0)))):
                    attempt = self._attempt(record, eps, rows, f"{number} to {aim}", aim)
                    reached[self._judge(record, eps, *attempt), aim] = True
            known = self.reached.setdefault((place, eps), np.zeros_like(reached))
            known |= reached
            self._note(record, eps, int(attacked.sum()))
        self.progress(self.done, self.total, f"{attack.title} {place.norm.symbol}")

    def probe(
        self,
        attack: Attack,
        place: ThreatModel,
        eps: float,
        rows: Ints,
        word: str,
        params: SuiteParams | None = None,
        aim: int | None = None,
    ) -> int:
        """Return how many of these rows an attack breaks, apart from what is reported."""
        fallen = 0
        for number, part in enumerate(self.target.batches(rows)):
            generator = _generator(self.seed, attack, place, eps, f"{number} {word}")
            case = self.target.case(part, place, eps, generator, aim)
            attempt = attack.run(case, attack.settings(params or self.params))
            fallen += int(judge(case, attempt).broken.sum())
        return fallen

    def _attempt(
        self, record: _Fallen, eps: float, rows: Ints, which: str, aim: int | None = None
    ) -> tuple[Case, Attempt]:
        """Run the attack on one batch."""
        generator = _generator(self.seed, record.attack, record.place, eps, which)
        case = self.target.case(rows, record.place, eps, generator, aim)
        with record.timed():
            attempt = record.attack.run(case, record.attack.settings(self.params))
        record.gradients += attempt.gradients
        record.queries += attempt.queries
        return case, attempt

    def _judge(self, record: _Fallen, eps: float, case: Case, attempt: Attempt) -> Ints:
        """Have the model decide a batch, keep what it says, and return the rows that fell."""
        with record.timed():
            verdict = judge(case, attempt)
        record.queries += verdict.queries
        record.unconfirmed += verdict.unconfirmed
        hit = case.rows[verdict.broken]
        record.broken[hit] = True
        record.size[hit] = verdict.size[verdict.broken]
        record.taken[hit] = verdict.predicted[verdict.broken]
        self._show(record, eps, case.rows, verdict)
        return hit

    def _note(
        self, record: _Fallen, eps: float, attacked: int, probed: int = 0, held: int = 0
    ) -> None:
        """Close one radius."""
        self.trials.append(record.trial(eps, attacked, probed, held))
        # of several attacks the first that broke an example says what it was taken for
        nothing = np.full(self.target.n, -1, dtype=np.int64)
        known = self.taken.setdefault((record.place, eps), nothing)
        new = record.broken & (known < 0)
        known[new] = record.taken[new]
        self.done += self.target.n

    def _show(self, record: _Fallen, eps: float, rows: Ints, verdict: Judged) -> None:
        """Keep the first broken examples of the data, each with the smallest perturbation seen."""
        kept = self.shown.setdefault(record.place, {})
        for i in np.flatnonzero(verdict.broken):
            row = int(rows[i])
            if row in kept:
                if verdict.size[i] >= kept[row].size:
                    continue
            elif len(kept) >= self.params.gallery:
                last = max(kept, default=-1)
                if row >= last:
                    continue
                del kept[last]
            kept[row] = Shown(
                row=row,
                x_adv=verdict.x_adv[i].copy(),
                predicted=int(verdict.predicted[i]),
                size=float(verdict.size[i]),
                attack=record.attack.title,
                eps=eps,
            )


def _some(attempt: Attempt, places: Ints, case: Case) -> Attempt:
    """Return some candidates of an attempt, for a batch of these alone and a radius of its own.

    What is claimed of a candidate is claimed for radii that reach it.
    """
    here = torch.from_numpy(places)
    found = replace(attempt, x_adv=attempt.x_adv[here], claimed=attempt.claimed[here],
                    gradients=0, queries=0)  # fmt: skip
    if isinstance(found, Exact):
        found = replace(found, data=found.data[places])
    return replace(found, claimed=found.claimed & torch.from_numpy(case.within(found)))


def _generator(
    seed: int, attack: Attack, place: ThreatModel, eps: float, which: str
) -> torch.Generator:
    """Return a generator that depends on the seed and on what is run, not on what ran before."""
    # of an arena without constraints the norm alone says which it is
    name = repr(place) if place.constrained else str(place.norm)
    words = zlib.crc32(f"{attack.name} {name} {eps!r} {which}".encode())
    state = np.random.SeedSequence((seed, words)).generate_state(2, np.uint32)
    return torch.Generator().manual_seed((int(state[0]) << 31) ^ int(state[1]))
