"""Attacks run again, to test the attacks: with all room, more steps, another loss, by asking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robreport import ThreatModel
from robreport_plugins.attacks.campaign import Again, Flood, How, broken
from robreport_plugins.attacks.catalogue import CATALOGUE, Attack
from robreport_plugins.attacks.params import SuiteParams
from robreport_plugins.attacks.runner import PROBES, Runner
from robreport_plugins.attacks.target import Ints

# Examples left by all attacks that are attacked again.
LONGER = 200
# Of them, those that a black-box attack asks about, and its questions about each.
ASKED = 100
QUESTIONS = 300
# The length of all steps together, in radii, of an attack that is to cross the data's range.
_REACHES = 2.5


def retries(
    runner: Runner, runs: Sequence[tuple[ThreatModel, Sequence[Attack]]]
) -> tuple[tuple[Flood, ...], tuple[Again, ...]]:
    """Run the strongest iterative attack of each arena again, and attacks that it lacks.

    Parameters
    ----------
    runner : Runner
        After all its trials.
    runs : sequence of (arena, its attacks)
    """
    floods: list[Flood] = []
    again: list[Again] = []
    for place, attacks in runs:
        known = [t for t in runner.trials if t.arena == place and t.eps > 0]
        if not known:
            continue
        climbers = [a for a in attacks if a.iterative]
        # the one that broke most at the largest radius; of equals the first
        last = {t.attack.name: int(t.broken.sum()) for t in known}
        attack = max(climbers, key=lambda a: last.get(a.name, 0)) if climbers else None
        if attack is not None and (flood := _flood(runner, place, climbers, attack)) is not None:
            floods.append(flood)
        # where all attacks together break some and leave some there is most to learn
        values = dict.fromkeys(t.eps for t in known)
        fell = {eps: broken([t for t in known if t.eps == eps]) for eps in values}
        left = {eps: np.flatnonzero(runner.right & ~one) for eps, one in fell.items()}
        eps = max(fell, key=lambda eps: min(len(left[eps]), int(fell[eps].sum())))
        second = _Second(runner, place, eps, left[eps])
        if attack is not None:
            usual = attack.settings(runner.params)
            twice = usual.model_copy(update={"steps": 2 * usual.steps})
            again.append(second.look("longer", attack, LONGER, twice))
        if attack is not None and runner.target.module is not None:
            followed = attack.loss or usual.loss
            other = "cross-entropy" if followed == "margin" else "margin"
            changed = usual.model_copy(update={"loss": other})
            again.append(second.look("other loss", CATALOGUE["pgd"], LONGER, changed))
        if _asks_nothing(runner, place, attacks):
            few = runner.params.model_copy(update={"queries": QUESTIONS})
            again.append(second.look("black box", CATALOGUE["square"], ASKED, few))
    return tuple(floods), tuple(again)


def _flood(
    runner: Runner, place: ThreatModel, climbers: Sequence[Attack], attack: Attack
) -> Flood | None:
    """Attack some inputs with a radius that reaches from one end of the data to the other.

    None where there is no such radius, or a class is aimed at, which may be out of all reach.
    """
    eps = runner.target.span(place)
    if eps is None or place.goal == "targeted":
        return None
    rows = np.flatnonzero(runner.right)[:PROBES]
    # of a radius so large a random start alone is often of another class: none where the suite
    # has an attack that can do without; nor steps of a fixed length, which would end half-way
    still = runner.params.model_copy(
        update={"random_start": False, "restarts": 1, "step": None, "relative_step": _REACHES}
    )
    plain = next((a for a in climbers if a.from_input), attack)
    fallen = runner.probe(plain, place, eps, rows, "flood", still)
    return Flood(attack=plain, arena=place, eps=eps, attacked=len(rows), left=len(rows) - fallen)


class _Second:
    """A second look at what all attacks of an arena left at one radius.

    Under a targeted threat, with the class as the aim that most were moved to.
    """

    def __init__(self, runner: Runner, place: ThreatModel, eps: float, left: Ints) -> None:
        self.runner, self.place, self.eps = runner, place, eps
        self.aim: int | None = None
        self.left = left
        if place.goal == "targeted":
            reached = runner.reached[place, eps].sum(axis=0)
            self.aim = int((reached if reached.any() else np.bincount(runner.target.y)).argmax())
            self.left = left[runner.target.y[left] != self.aim]

    def look(self, how: How, attack: Attack, most: int, params: SuiteParams) -> Again:
        rows = self.left[:most]
        fallen = self.runner.probe(attack, self.place, self.eps, rows, how, params, self.aim)
        return Again(
            how=how, attack=attack, arena=self.place, eps=self.eps, loss=params.loss, aim=self.aim,
            survivors=len(self.left), attacked=len(rows), fallen=fallen,
        )  # fmt: skip


def _asks_nothing(runner: Runner, place: ThreatModel, attacks: Sequence[Attack]) -> bool:
    """Whether attacks follow gradients, none asks the model, and Square could."""
    return (
        any(a.sees == "gradients" and a.kind != "step" for a in attacks)
        and all(a.knowledge == "white box" or a.kind == "noise" for a in attacks)
        and place.norm in CATALOGUE["square"].norms
        and runner.target.scored
        and runner.target.space(place).smooth
    )
