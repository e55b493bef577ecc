"""Every attack of a suite on every radius of every norm, and what the model said of the results."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from robreport import Norm, ThreatModel
from robreport_plugins.attacks.catalogue import CATALOGUE, Attack
from robreport_plugins.attacks.params import SuiteParams
from robreport_plugins.attacks.target import Bools, Floats, Ints, Target
from robreport_plugins.methods.perturb import loss_gradient

# How many examples that fell at a smaller radius are attacked again at each larger one. Without
# them the monotone envelope would hide an attack that loses strength as the radius grows.
PROBES = 50
# Inputs whose outputs are computed twice, to see whether they repeat.
REPEATED = 256

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One attack with one radius.

    Attributes
    ----------
    attack : Attack
    norm, eps
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
    norm: Norm
    eps: float
    attacked: int
    broken: Bools
    size: npt.NDArray[np.float64]
    gradients: int
    queries: int
    unconfirmed: int
    probed: int
    held: int


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
class Campaign:
    """Everything that a run of the suite saw.

    Attributes
    ----------
    predicted, right : array (n,)
        Classes without an attack, and whether they are the labels.
    trials : tuple of Trial
        In the order run: norms, attacks, rising radii.
    shown : mapping of Norm to tuple of Shown
    flat : array (n,) of bool
        Right without an attack, and every entry of the loss's gradient is exactly zero.
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
    shown: dict[Norm, tuple[Shown, ...]]
    flat: Bools
    repeatable: bool
    strangers: int
    probabilities: bool

    @property
    def n(self) -> int:
        return int(self.right.size)

    def of(self, norm: Norm, eps: float) -> tuple[Trial, ...]:
        """Return the trials of one norm and radius, in the order of the attacks."""
        return tuple(t for t in self.trials if t.norm is norm and t.eps == eps)

    def broken(self, norm: Norm, eps: float) -> Bools:
        """Return which examples some attack broke at this radius or a smaller one."""
        found = np.zeros(self.n, dtype=bool)
        for trial in self.of(norm, eps):
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
    attacks = [CATALOGUE[name] for name in params.attacks]
    steps = sum(len(values) for values in grid.values()) * len(attacks)
    with _repeatable_kernels(target.device):
        everything = np.arange(target.n)
        logits = target.logits(everything)
        predicted = target.predict(target.x)
        right = predicted == target.y
        again = everything[:REPEATED]
        repeatable = bool(
            np.allclose(target.logits(again), logits[again], rtol=1e-5, atol=1e-6)
            and np.array_equal(target.predict(target.x[again]), predicted[again])
        )
        runner = _Runner(target, params, right, seed, progress, total=steps * target.n)
        flat = runner.flat()
        for norm, values in grid.items():
            for attack in attacks:
                if norm in attack.norms:
                    runner.climb(attack, norm, values)
                else:
                    runner.skip(len(values))
    return Campaign(
        target=target,
        predicted=predicted,
        right=right,
        trials=tuple(runner.trials),
        shown={
            norm: tuple(found[r] for r in sorted(found)) for norm, found in runner.shown.items()
        },
        flat=flat,
        repeatable=repeatable,
        strangers=int((logits.argmax(axis=1) != predicted).sum()),
        probabilities=_look_like_probabilities(logits),
    )


def radii(threats: Sequence[ThreatModel]) -> dict[Norm, tuple[float, ...]]:
    """Return the radii of each norm, rising, each once though several threats name it."""
    found: dict[Norm, set[float]] = {}
    for threat in threats:
        found.setdefault(threat.norm, set()).update(eps.value for eps in threat.eps)
    return {norm: tuple(sorted(values)) for norm, values in found.items()}


@dataclass
class _Tally:
    """Counts of one trial while its batches run."""

    gradients: int = 0
    queries: int = 0
    unconfirmed: int = 0
    fallen: list[int] = field(default_factory=list)


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
        self.shown: dict[Norm, dict[int, Shown]] = {}

    def flat(self) -> Bools:
        """Return the right examples whose input gradient is zero in every entry."""
        found = np.zeros(self.target.n, dtype=bool)
        for rows in self.target.batches(np.flatnonzero(self.right)):
            x, y = self.target.tensors(rows)
            _, gradient = loss_gradient(self.target.module, x, y, self.params.loss)
            found[rows] = (gradient == 0).flatten(1).all(1).cpu().numpy()
        return found

    def skip(self, trials: int) -> None:
        """Count trials that are not defined as done."""
        self.done += trials * self.target.n

    def climb(self, attack: Attack, norm: Norm, values: Sequence[float]) -> None:
        """Run one attack with rising radii, carrying over what it broke."""
        n = self.target.n
        broken = np.zeros(n, dtype=bool)
        size = np.full(n, np.inf)
        for eps in values:
            what = f"{attack.title} {norm.symbol} \u03b5 = {eps:g}"
            self.progress(self.done, self.total, what)
            todo = np.flatnonzero(self.right & ~broken) if eps > 0 else np.zeros(0, dtype=np.int64)
            probes = np.flatnonzero(broken)[:PROBES] if attack.iterative else todo[:0]
            tally = _Tally()
            self._strike(attack, norm, eps, todo, tally, broken, size, what)
            again = _Tally()
            self._strike(attack, norm, eps, probes, again, None, None, what)
            self.trials.append(
                Trial(
                    attack=attack,
                    norm=norm,
                    eps=eps,
                    attacked=len(todo),
                    broken=broken.copy(),
                    size=size.copy(),
                    gradients=tally.gradients,
                    queries=tally.queries,
                    unconfirmed=tally.unconfirmed,
                    probed=len(probes),
                    held=len(probes) - len(again.fallen),
                )
            )
            self.done += n
        self.progress(self.done, self.total, f"{attack.title} {norm.symbol}")

    def _strike(
        self,
        attack: Attack,
        norm: Norm,
        eps: float,
        rows: Ints,
        tally: _Tally,
        broken: Bools | None,
        size: npt.NDArray[np.float64] | None,
        what: str,
    ) -> None:
        """Attack these rows in batches; write into `broken` and `size` unless it is a probe."""
        probe = "" if broken is not None else " again"
        for number, batch in enumerate(self.target.batches(rows)):
            if broken is not None:
                self.progress(self.done + number * self.params.batch_size, self.total, what)
            generator = _generator(self.seed, f"{attack.name} {norm} {eps!r} {number}{probe}")
            case = self.target.case(batch, norm, eps, generator)
            attempt = attack.run(case, self.params)
            verdict = self.target.judge(batch, case, attempt)
            tally.gradients += attempt.gradients
            tally.queries += attempt.queries + len(batch)
            tally.unconfirmed += verdict.unconfirmed
            tally.fallen += batch[verdict.broken].tolist()
            if broken is None or size is None:
                continue
            broken[batch] = verdict.broken
            size[batch[verdict.broken]] = verdict.size[verdict.broken]
            self._show(norm, eps, attack, batch, verdict.broken, verdict.x_adv, verdict.size,
                       verdict.predicted)  # fmt: skip

    def _show(
        self,
        norm: Norm,
        eps: float,
        attack: Attack,
        rows: Ints,
        fallen: Bools,
        x_adv: Floats,
        size: npt.NDArray[np.float64],
        predicted: Ints,
    ) -> None:
        """Keep the first broken examples, each with the smallest perturbation seen."""
        kept = self.shown.setdefault(norm, {})
        for place in np.flatnonzero(fallen):
            row = int(rows[place])
            if row in kept:
                if size[place] >= kept[row].size:
                    continue
            elif len(kept) >= self.params.gallery:
                continue
            kept[row] = Shown(
                row=row,
                x_adv=x_adv[place].copy(),
                predicted=int(predicted[place]),
                size=float(size[place]),
                attack=attack.title,
                eps=eps,
            )


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
