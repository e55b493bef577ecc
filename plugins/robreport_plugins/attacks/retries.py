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
        if not known or place.goal == "targeted":
            continue
        climbers = [a for a in attacks if a.iterative]
        # the one that broke most at the largest radius; of equals the first
        last = {t.attack.name: int(t.broken.sum()) for t in known}
        attack = max(climbers, key=lambda a: last.get(a.name, 0)) if climbers else None
        if attack is not None and (eps := runner.target.span(place)) is not None:
            rows = np.flatnonzero(runner.right)[:PROBES]
            # of a radius so large a random start alone is often of another class: none where the
            # suite has an attack that can do without
            still = runner.params.model_copy(update={"random_start": False, "restarts": 1})
            plain = next((a for a in climbers if a.from_input), attack)
            fallen = runner.probe(plain, place, eps, rows, "flood", still)
            floods.append(Flood(attack=plain, arena=place, eps=eps, attacked=len(rows),
                                left=len(rows) - fallen))  # fmt: skip
        # where all attacks together break some and leave some there is most to learn
        values = dict.fromkeys(t.eps for t in known)
        fell = {eps: broken([t for t in known if t.eps == eps]) for eps in values}
        left = {eps: np.flatnonzero(runner.right & ~one) for eps, one in fell.items()}
        eps = max(fell, key=lambda eps: min(len(left[eps]), int(fell[eps].sum())))
        if attack is not None:
            usual = attack.settings(runner.params)
            twice = usual.model_copy(update={"steps": 2 * usual.steps})
            again.append(_again(runner, "longer", attack, place, eps, left[eps], LONGER, twice))
        if attack is not None and runner.target.module is not None:
            followed = attack.loss or usual.loss
            other = "cross-entropy" if followed == "margin" else "margin"
            changed = usual.model_copy(update={"loss": other})
            again.append(_again(runner, "other loss", CATALOGUE["pgd"], place, eps, left[eps],
                                LONGER, changed))  # fmt: skip
        if _asks_nothing(runner, place, attacks):
            few = runner.params.model_copy(update={"queries": QUESTIONS})
            again.append(_again(runner, "black box", CATALOGUE["square"], place, eps, left[eps],
                                ASKED, few))  # fmt: skip
    return tuple(floods), tuple(again)


def _again(
    runner: Runner,
    how: How,
    attack: Attack,
    place: ThreatModel,
    eps: float,
    left: Ints,
    most: int,
    params: SuiteParams,
) -> Again:
    rows = left[:most]
    fallen = runner.probe(attack, place, eps, rows, how, params)
    return Again(how=how, attack=attack, arena=place, eps=eps, loss=params.loss,
                 survivors=len(left), attacked=len(rows), fallen=fallen)  # fmt: skip


def _asks_nothing(runner: Runner, place: ThreatModel, attacks: Sequence[Attack]) -> bool:
    """Whether attacks follow gradients, none asks the model, and Square could."""
    return (
        any(a.sees == "gradients" and a.kind != "step" for a in attacks)
        and all(a.knowledge == "white box" or a.kind == "noise" for a in attacks)
        and place.norm in CATALOGUE["square"].norms
        and runner.target.scored
        and runner.target.space(place).smooth
    )
