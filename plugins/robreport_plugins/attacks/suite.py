"""Every attack of a suite on every radius of every norm, and what the model said of the results."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from robreport import Norm, ThreatModel
from robreport_plugins.attacks.case import Case, Exact
from robreport_plugins.attacks.catalogue import Attack
from robreport_plugins.attacks.choice import chosen
from robreport_plugins.attacks.params import SuiteParams
from robreport_plugins.attacks.target import Bools, Floats, Ints, Judged, Target, arena
from robreport_plugins.methods.perturb import Attempt, loss_gradient

# How many examples that fell at a smaller radius are attacked again at each larger one. Without
# them the monotone envelope would hide an attack that loses strength as the radius grows.
PROBES = 50
# Examples left by an attack that are attacked again with twice the steps.
LONGER = 200
# Inputs whose outputs are computed twice, to see whether they repeat.
REPEATED = 256

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One attack with one radius.

    Attributes
    ----------
    attack : Attack
    arena : ThreatModel
        What the attacker may do, without name and budgets: see `target.arena`.
    eps : float
    attacked : int
        Examples attacked: right without an attack, and not broken by this attack at a smaller
        radius.
    broken : array (n,) of bool
        Examples that this attack broke at this radius or a smaller one, by the model's own word.
    size : array (n,) of float64
        Size of the confirmed perturbation of each broken example; infinite elsewhere.
    gradients, queries : int
    unconfirmed : int
        Successes that the attack claimed and the model did not share.
    probed, held : int
        Examples broken at a smaller radius that were attacked again, and how many of these
        withstood.
    """

    attack: Attack
    arena: ThreatModel
    eps: float
    attacked: int
    broken: Bools
    size: npt.NDArray[np.float64]
    gradients: int
    queries: int
    unconfirmed: int
    probed: int
    held: int

    @property
    def norm(self) -> Norm:
        return self.arena.norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One broken example with its perturbed input, for the gallery."""

    row: int
    x_adv: Floats
    predicted: int
    size: float
    attack: str
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """One attack with a radius as large as the data's range, which nothing should withstand."""

    attack: Attack
    arena: ThreatModel
    eps: float
    attacked: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Longer:
    """One attack with twice the steps on examples that it had left."""

    attack: Attack
    arena: ThreatModel
    eps: float
    survivors: int
    attacked: int
    fallen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Everything that a run of the suite saw.

    Attributes
    ----------
    predicted, right : array (n,)
        Classes without an attack, and whether they are the labels.
    trials : tuple of Trial
        In the order run: arenas, attacks, rising radii.
    shown : mapping of arena to tuple of Shown
    taken : mapping of (arena, eps) to array (n,) of int64
        The class that the worst-case input of each broken example was taken for; -1 elsewhere.
    reached : mapping of (arena, eps) to bool array (n, k)
        Of targeted threats: which examples were moved to which class.
    floods, longer : tuple
        The attacks run to test the attacks: see `Flood` and `Longer`.
    flat : array (n,) of bool
        Right without an attack, and every entry of the loss's gradient is exactly zero; nothing
        of a model without gradients.
    repeatable : bool
        Whether the same inputs gave the same outputs twice.
    strangers : int
        Examples whose class differs between the model and the module that gave the gradients.
    probabilities : bool
        Whether the module's outputs look like probabilities instead of logits.
    """

    target: Target
    predicted: Ints
    right: Bools
    trials: tuple[Trial, ...]
    shown: dict[ThreatModel, tuple[Shown, ...]]
    taken: dict[tuple[ThreatModel, float], Ints]
    reached: dict[tuple[ThreatModel, float], Bools]
    floods: tuple[Flood, ...]
    longer: tuple[Longer, ...]
    flat: Bools
    repeatable: bool
    strangers: int
    probabilities: bool

    @property
    def n(self) -> int:
        return int(self.right.size)

    def of(self, threat: ThreatModel, eps: float) -> tuple[Trial, ...]:
        """Return the trials of one threat and radius, in the order of the attacks."""
        place = arena(threat)
        return tuple(t for t in self.trials if t.arena == place and t.eps == eps)

    def broken(self, threat: ThreatModel, eps: float) -> Bools:
        """Return which examples some attack broke at this radius or a smaller one."""
        found = np.zeros(self.n, dtype=bool)
        for trial in self.of(threat, eps):
            found |= trial.broken
        return found


def run_suite(
    target: Target,
    threats: Sequence[ThreatModel],
    params: SuiteParams,
    *,
    seed: int,
    progress: Progress,
) -> Campaign:
    """Return what the attacks did to the target.

    Each attack runs by itself on every example that the model gets right, so that attacks can be
    compared; an example that it broke is not attacked again with a larger radius, since the same
    perturbation still breaks it there.

    Raises
    ------
    ModelError
        The model's outputs or gradients cannot be used.
    """
    grid = radii(threats)
    runs = [(place, values, chosen(params, target, place)) for place, values in grid.items()]
    steps = sum(len(values) * len(attacks) for _, values, attacks in runs)
    with _repeatable_kernels(target.device):
        logits = target.outputs()
        predicted = target.predict(target.x)
        right = predicted == target.y
        repeatable = np.array_equal(target.predict(target.x[:REPEATED]), predicted[:REPEATED])
        if logits is not None:
            again = target.scores(target.x[:REPEATED])
            repeatable &= np.allclose(again, logits[:REPEATED], rtol=1e-5, atol=1e-6)
        runner = _Runner(target, params, right, seed, progress, total=steps * target.n)
        flat = runner.flat()
        for place, values, attacks in runs:
            for attack in attacks:
                if place.goal == "targeted":
                    runner.aim(attack, place, values)
                elif attack.kind == "minimal":
                    runner.reach(attack, place, values)
                else:
                    runner.climb(attack, place, values)
        floods, longer = runner.tests([(place, attacks) for place, _, attacks in runs])
    module = logits if target.module is not None else None
    return Campaign(
        target=target,
        predicted=predicted,
        right=right,
        trials=tuple(runner.trials),
        shown={
            place: tuple(found[r] for r in sorted(found)) for place, found in runner.shown.items()
        },
        taken={place: np.where(right, taken, -1) for place, taken in runner.taken.items()},
        reached=runner.reached,
        floods=floods,
        longer=longer,
        flat=flat,
        repeatable=bool(repeatable),
        strangers=0 if module is None else int((module.argmax(axis=1) != predicted).sum()),
        probabilities=module is not None and _look_like_probabilities(module),
    )


def radii(threats: Sequence[ThreatModel]) -> dict[ThreatModel, tuple[float, ...]]:
    """Return the radii of each arena, rising, each once though several threats name it."""
    found: dict[ThreatModel, set[float]] = {}
    for threat in threats:
        found.setdefault(arena(threat), set()).update(eps.value for eps in threat.eps)
    return {place: tuple(sorted(values)) for place, values in found.items()}


_NOBODY: Ints = np.zeros(0, dtype=np.int64)


@dataclass
class _Tally:
    """Counts of one trial while its batches run."""

    gradients: int = 0
    queries: int = 0
    unconfirmed: int = 0
    fallen: int = 0


@dataclass(frozen=True, slots=True)
class _Fallen:
    """What one attack broke so far: whether, how small, taken for what."""

    broken: Bools
    size: npt.NDArray[np.float64]
    taken: Ints

    @classmethod
    def of(cls, n: int) -> _Fallen:
        """Return a record of nothing."""
        return cls(np.zeros(n, dtype=bool), np.full(n, np.inf), np.full(n, -1, dtype=np.int64))


class _Runner:
    """Runs trials, keeping count of work done and examples to show."""

    def __init__(
        self,
        target: Target,
        params: SuiteParams,
        right: Bools,
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
        record = _Fallen.of(self.target.n)
        for eps in values:
            what = f"{attack.title} {place.norm.symbol} \u03b5 = {eps:g}"
            self.progress(self.done, self.total, what)
            todo = np.flatnonzero(self.right & ~record.broken) if eps > 0 else _NOBODY
            probes = np.flatnonzero(record.broken)[:PROBES] if attack.iterative else _NOBODY
            tally, again = _Tally(), _Tally()
            for number, rows in enumerate(self.target.batches(todo)):
                self.progress(self.done + number * self.params.batch_size, self.total, what)
                case, attempt = self._attempt(attack, place, eps, rows, f"{number}", tally)
                self._judge(attack, place, eps, case, attempt, tally, record)
            for number, rows in enumerate(self.target.batches(probes)):
                case, attempt = self._attempt(attack, place, eps, rows, f"{number} again", again)
                again.fallen += int(self.target.judge(case, attempt).broken.sum())
            self._note(attack, place, eps, len(todo), tally, record, len(probes),
                       len(probes) - again.fallen)  # fmt: skip
        self.progress(self.done, self.total, f"{attack.title} {place.norm.symbol}")

    def reach(self, attack: Attack, place: ThreatModel, values: Sequence[float]) -> None:
        """Run one attack for the smallest perturbations, and judge them at every radius."""
        record = _Fallen.of(self.target.n)
        largest = max(values)
        what = f"{attack.title} {place.norm.symbol}"
        todo = np.flatnonzero(self.right) if largest > 0 else _NOBODY
        first = _Tally()
        attempts: list[tuple[Case, Attempt]] = []
        for number, rows in enumerate(self.target.batches(todo)):
            self.progress(self.done + number * self.params.batch_size, self.total, what)
            attempts.append(self._attempt(attack, place, largest, rows, f"{number}", first))
        for eps in values:
            tally = first if eps == values[0] else _Tally()
            attacked = 0
            for case, attempt in attempts:
                left = np.flatnonzero(~record.broken[case.rows])
                if eps > 0 and len(left):
                    attacked += len(left)
                    part = _some(attempt, left)
                    self._judge(attack, place, eps, case.only(left, eps), part, tally, record)
            self._note(attack, place, eps, attacked, tally, record, 0, 0)
        self.progress(self.done, self.total, what)

    def aim(self, attack: Attack, place: ThreatModel, values: Sequence[float]) -> None:
        """Run one attack towards each of the commonest classes, with rising radii."""
        target, params = self.target, self.params
        common = np.argsort(-np.bincount(target.y), kind="stable")[: params.targets].tolist()
        reached = np.zeros((target.n, max(*common, int(target.y.max())) + 1), dtype=bool)
        record = _Fallen.of(target.n)
        for eps in values:
            tally, attacked = _Tally(), np.zeros(target.n, dtype=bool)
            for turn, aim in enumerate(common):
                what = f"{attack.title} {place.norm.symbol} \u03b5 = {eps:g} to class {aim}"
                self.progress(self.done + turn * target.n // len(common), self.total, what)
                todo = self.right & (target.y != aim) & ~reached[:, aim]
                attacked |= todo
                for number, rows in enumerate(target.batches(np.flatnonzero(todo & (eps > 0)))):
                    case, attempt = self._attempt(
                        attack, place, eps, rows, f"{number} to {aim}", tally, aim
                    )
                    hit = self._judge(attack, place, eps, case, attempt, tally, record)
                    reached[hit, aim] = True
            known = self.reached.setdefault((place, eps), np.zeros_like(reached))
            known |= reached
            self._note(attack, place, eps, int(attacked.sum()), tally, record, 0, 0)
        self.progress(self.done, self.total, f"{attack.title} {place.norm.symbol}")

    def tests(
        self, runs: Sequence[tuple[ThreatModel, Sequence[Attack]]]
    ) -> tuple[tuple[Flood, ...], tuple[Longer, ...]]:
        """Try the strongest iterative attack of each arena with all room, and with more steps."""
        floods, longer = [], []
        for place, attacks in runs:
            known = [t for t in self.trials if t.arena == place and t.eps > 0]
            climbers = [a for a in attacks if a.iterative]
            if not climbers or not known or place.goal == "targeted":
                continue
            # the one that broke most at the largest radius; of equals the first
            last = {t.attack.name: int(t.broken.sum()) for t in known}
            attack = max(climbers, key=lambda a: last.get(a.name, 0))
            if (eps := self.target.span(place)) is not None:
                rows = np.flatnonzero(self.right)[:PROBES]
                fallen = self._probe(attack, place, eps, rows, self.params, "flood")
                floods.append(Flood(attack=attack, arena=place, eps=eps, attacked=len(rows),
                                    left=len(rows) - fallen))  # fmt: skip
            own = [t for t in known if t.attack.name == attack.name]
            # where it breaks some and leaves some there is most to learn
            left = [int((self.right & ~t.broken).sum()) for t in own]
            middle = max(own, key=lambda t: min(left[own.index(t)], int(t.broken.sum())))
            survivors = np.flatnonzero(self.right & ~middle.broken)
            rows = survivors[:LONGER]
            twice = self.params.model_copy(update={"steps": 2 * self.params.steps})
            fallen = self._probe(attack, place, middle.eps, rows, twice, "longer")
            longer.append(Longer(attack=attack, arena=place, eps=middle.eps,
                                 survivors=len(survivors), attacked=len(rows),
                                 fallen=fallen))  # fmt: skip
        return tuple(floods), tuple(longer)

    def _probe(
        self,
        attack: Attack,
        place: ThreatModel,
        eps: float,
        rows: Ints,
        params: SuiteParams,
        word: str,
    ) -> int:
        """Return how many of these rows an attack breaks, apart from what is reported."""
        fallen = 0
        for number, part in enumerate(self.target.batches(rows)):
            words = f"{attack.name} {_words(place)} {eps!r} {number} {word}"
            case = self.target.case(part, place, eps, _generator(self.seed, words))
            fallen += int(self.target.judge(case, attack.run(case, params)).broken.sum())
        return fallen

    def _attempt(
        self,
        attack: Attack,
        place: ThreatModel,
        eps: float,
        rows: Ints,
        which: str,
        tally: _Tally,
        aim: int | None = None,
    ) -> tuple[Case, Attempt]:
        """Run the attack on one batch."""
        words = f"{attack.name} {_words(place)} {eps!r} {which}"
        case = self.target.case(rows, place, eps, _generator(self.seed, words), aim)
        attempt = attack.run(case, self.params)
        tally.gradients += attempt.gradients
        tally.queries += attempt.queries
        return case, attempt

    def _judge(
        self,
        attack: Attack,
        place: ThreatModel,
        eps: float,
        case: Case,
        attempt: Attempt,
        tally: _Tally,
        record: _Fallen,
    ) -> Ints:
        """Have the model decide a batch, keep what it says, and return the rows that fell."""
        verdict = self.target.judge(case, attempt)
        tally.queries += len(case.rows)
        tally.unconfirmed += verdict.unconfirmed
        hit = case.rows[verdict.broken]
        record.broken[hit] = True
        record.size[hit] = verdict.size[verdict.broken]
        record.taken[hit] = verdict.predicted[verdict.broken]
        self._show(attack, place, eps, case.rows, verdict)
        return hit

    def _note(
        self,
        attack: Attack,
        place: ThreatModel,
        eps: float,
        attacked: int,
        tally: _Tally,
        record: _Fallen,
        probed: int,
        held: int,
    ) -> None:
        self.trials.append(
            Trial(
                attack=attack, arena=place, eps=eps, attacked=attacked,
                broken=record.broken.copy(), size=record.size.copy(), gradients=tally.gradients,
                queries=tally.queries, unconfirmed=tally.unconfirmed, probed=probed, held=held,
            )
        )  # fmt: skip
        # of several attacks the first that broke an example says what it was taken for
        known = self.taken.setdefault((place, eps), np.full(self.target.n, -1, dtype=np.int64))
        new = record.broken & (known < 0)
        known[new] = record.taken[new]
        self.done += self.target.n

    def _show(
        self, attack: Attack, place: ThreatModel, eps: float, rows: Ints, verdict: Judged
    ) -> None:
        """Keep the first broken examples, each with the smallest perturbation seen."""
        kept = self.shown.setdefault(place, {})
        for i in np.flatnonzero(verdict.broken):
            row = int(rows[i])
            if row in kept:
                if verdict.size[i] >= kept[row].size:
                    continue
            elif len(kept) >= self.params.gallery:
                continue
            kept[row] = Shown(
                row=row,
                x_adv=verdict.x_adv[i].copy(),
                predicted=int(verdict.predicted[i]),
                size=float(verdict.size[i]),
                attack=attack.title,
                eps=eps,
            )


def _some(attempt: Attempt, places: Ints) -> Attempt:
    """Return some candidates of an attempt; what it claims for one size it does not for others."""
    here = torch.from_numpy(places)
    found = replace(
        attempt, x_adv=attempt.x_adv[here], claimed=torch.zeros(len(here), dtype=torch.bool),
        gradients=0, queries=0,
    )  # fmt: skip
    return replace(found, data=found.data[places]) if isinstance(found, Exact) else found


def _words(place: ThreatModel) -> str:
    """Return what names an arena in a seed; of one without constraints the norm alone."""
    return repr(place) if place.constrained else str(place.norm)


def _generator(seed: int, words: str) -> torch.Generator:
    """Return a generator that depends on the seed and on what is run, not on what ran before."""
    state = np.random.SeedSequence((seed, zlib.crc32(words.encode()))).generate_state(2, np.uint32)
    return torch.Generator().manual_seed((int(state[0]) << 31) ^ int(state[1]))


def _look_like_probabilities(logits: npt.NDArray[np.float32]) -> bool:
    rows = logits.sum(axis=1, dtype=np.float64)
    return bool(((logits >= 0) & (logits <= 1)).all() and (np.abs(rows - 1) < 1e-4).all())


@contextmanager
def _repeatable_kernels(device: str) -> Iterator[None]:
    """Have cuDNN choose the same, repeatable algorithms each time."""
    if not device.startswith("cuda"):
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield
