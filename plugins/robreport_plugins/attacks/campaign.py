"""What a run of the suite saw: each attack at each radius, and the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from robreport import Norm, ThreatModel
from robreport_plugins.attacks.catalogue import Attack
from robreport_plugins.attacks.judging import Bools, Floats, Ints
from robreport_plugins.attacks.rules import symbol
from robreport_plugins.attacks.target import Target, arena

# Inputs whose outputs are computed twice, to see whether they repeat.
REPEATED = 256


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
    seconds : float
        Of the attack and of judging it; differs from run to run.
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
    seconds: float
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


How = Literal["longer", "other loss", "black box"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """One attack, run otherwise than before, on examples that all attacks together had left.

    ``how`` is "longer" with twice the steps, "other loss", or "black box" for one that asks only;
    ``aim`` is the class that it was to bring them to, if any.
    """

    how: How
    attack: Attack
    arena: ThreatModel
    eps: float
    loss: str
    aim: int | None
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
    floods, again : tuple
        The attacks run to test the attacks: see `Flood` and `Again`.
    flat : array (n,) of bool
        Right without an attack, and every entry of the loss's gradient is exactly zero; none
        where no attack follows gradients.
    repeatable : bool
        Whether the same inputs gave the same outputs twice.
    strangers : int
        Examples whose class differs between the model and the module that gave the gradients.
    probabilities : bool
        Whether the module's outputs look like probabilities instead of logits.
    left_out : tuple of (str, str)
        Titles of attacks that were asked for and not run, and why.
    written : mapping of float to str
        The radii as the audit spells them.
    """

    target: Target
    predicted: Ints
    right: Bools
    trials: tuple[Trial, ...]
    shown: dict[ThreatModel, tuple[Shown, ...]]
    taken: dict[tuple[ThreatModel, float], Ints]
    reached: dict[tuple[ThreatModel, float], Bools]
    floods: tuple[Flood, ...]
    again: tuple[Again, ...]
    flat: Bools
    repeatable: bool
    strangers: int
    probabilities: bool
    left_out: tuple[tuple[str, str], ...]
    written: dict[float, str]

    @property
    def n(self) -> int:
        return int(self.right.size)

    @property
    def follows(self) -> bool:
        """Whether any of the attacks follows gradients."""
        return any(trial.attack.sees == "gradients" for trial in self.trials)

    def text(self, eps: float) -> str:
        """Return a radius as the audit spells it."""
        return self.written.get(eps, f"{eps:g}")

    def at(self, place: ThreatModel, eps: float) -> str:
        """Return where something was seen, in words: "L∞ ε = 0.1"."""
        return f"{symbol(place)} \u03b5 = {self.text(eps)}"

    def of(self, threat: ThreatModel, eps: float) -> tuple[Trial, ...]:
        """Return the trials of one threat and radius, in the order of the attacks."""
        place = arena(threat)
        return tuple(t for t in self.trials if t.arena == place and t.eps == eps)

    def broken(self, threat: ThreatModel, eps: float) -> Bools:
        """Return which examples some attack broke at this radius or a smaller one."""
        trials = self.of(threat, eps)
        return broken(trials) if trials else np.zeros(self.n, dtype=bool)


def broken(trials: Sequence[Trial]) -> Bools:
    """Return which examples at least one of these trials broke, ``(n,)``."""
    found: Bools = np.logical_or.reduce([trial.broken for trial in trials])
    return found
