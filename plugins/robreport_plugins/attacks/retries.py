"""The strongest attack run again, with all room and with more steps, to test the attacks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robreport import ThreatModel
from robreport_plugins.attacks.campaign import Flood, Longer, broken
from robreport_plugins.attacks.catalogue import Attack
from robreport_plugins.attacks.runner import PROBES, Runner

# Examples left by all attacks that are attacked again with twice the steps.
LONGER = 200


def retries(
    runner: Runner, runs: Sequence[tuple[ThreatModel, Sequence[Attack]]]
) -> tuple[tuple[Flood, ...], tuple[Longer, ...]]:
    """Try the strongest iterative attack of each arena with all room, and with more steps.

    Parameters
    ----------
    runner : Runner
        After all its trials.
    runs : sequence of (arena, its attacks)
    """
    floods, longer = [], []
    for place, attacks in runs:
        known = [t for t in runner.trials if t.arena == place and t.eps > 0]
        climbers = [a for a in attacks if a.iterative]
        if not climbers or not known or place.goal == "targeted":
            continue
        # the one that broke most at the largest radius; of equals the first
        last = {t.attack.name: int(t.broken.sum()) for t in known}
        attack = max(climbers, key=lambda a: last.get(a.name, 0))
        if (eps := runner.target.span(place)) is not None:
            rows = np.flatnonzero(runner.right)[:PROBES]
            fallen = runner.probe(attack, place, eps, rows, "flood")
            floods.append(Flood(attack=attack, arena=place, eps=eps, attacked=len(rows),
                                left=len(rows) - fallen))  # fmt: skip
        # where all attacks together break some and leave some there is most to learn
        values = dict.fromkeys(t.eps for t in known)
        fell = {eps: broken([t for t in known if t.eps == eps]) for eps in values}
        left = {eps: np.flatnonzero(runner.right & ~one) for eps, one in fell.items()}
        eps = max(fell, key=lambda eps: min(len(left[eps]), int(fell[eps].sum())))
        rows = left[eps][:LONGER]
        usual = attack.settings(runner.params)
        twice = usual.model_copy(update={"steps": 2 * usual.steps})
        fallen = runner.probe(attack, place, eps, rows, "longer", twice)
        longer.append(Longer(attack=attack, arena=place, eps=eps, survivors=len(left[eps]),
                             attacked=len(rows), fallen=fallen))  # fmt: skip
    return tuple(floods), tuple(longer)
