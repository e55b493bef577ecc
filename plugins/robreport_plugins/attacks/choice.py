"""Which attacks of the catalogue a model and a threat admit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from robreport import Needs, SkipMetric, ThreatModel
from robreport_plugins.attacks.catalogue import (
    CATALOGUE,
    LAST_RESORT,
    PRESETS,
    PUBLISHED,
    Attack,
)

if TYPE_CHECKING:
    from robreport_plugins.attacks.params import SuiteParams
    from robreport_plugins.attacks.target import Target


def named(params: SuiteParams) -> tuple[Attack, ...]:
    """Return the attacks that the parameters name, presets spelled out, each once."""
    found: dict[str, Attack] = {}
    for name in params.attacks:
        for single in PRESETS.get(name, (name,)):
            # of two budgets the published one, whatever stands first
            if single not in found or name in PUBLISHED:
                found[single] = replace(CATALOGUE[single], sets=PUBLISHED.get(name, ()))
    return tuple(found.values())


def needed(params: SuiteParams) -> Needs:
    """Return what a model must offer so that at least one of the named attacks can be run."""
    base = Needs.LABELS | Needs.CLASSIFICATION
    if "default" in params.attacks:
        return base
    seen = {attack.sees for attack in named(params) if attack.kind != "noise"}
    if "decisions" in seen:
        return base
    if seen == {"gradients"}:
        return base | Needs.GRADIENTS
    if seen == {"trees"}:
        return base | Needs.TREES
    if seen == {"scores"}:
        return base | Needs.PROBABILITIES
    return base


def chosen(params: SuiteParams, target: Target, threat: ThreatModel) -> tuple[Attack, ...]:
    """Return the named attacks that can be run, in order.

    Raises
    ------
    SkipMetric
        None can be.
    """
    reasons: list[str] = []
    found = []
    for attack in named(params):
        why = obstacle(attack, target, threat)
        if why:
            reasons.append(f"{attack.title} {why}")
        else:
            found.append(attack)
    if "default" in params.attacks and all(attack.kind == "noise" for attack in found):
        resorts = [CATALOGUE[name] for name in LAST_RESORT]
        found += [a for a in resorts if not obstacle(a, target, threat)]
    if all(attack.kind == "noise" for attack in found):
        why = f": {'; '.join(dict.fromkeys(reasons))}" if reasons else ", and noise alone is none"
        raise SkipMetric(f"no attack can be run{why}")
    return tuple(found)


def obstacle(attack: Attack, target: Target, threat: ThreatModel) -> str:
    """Return why an attack cannot be run; empty where it can."""
    if threat.norm not in attack.norms:
        return f"does not work in {threat.norm.symbol}"
    if threat.knowledge == "black box" and attack.knowledge == "white box":
        return "looks into the model, which the threat's attacker cannot"
    if threat.goal == "targeted" and not attack.aims:
        return "cannot aim at a class"
    if attack.tables and target.x.ndim != 2:
        return "is for tables"
    if attack.sees == "gradients" and target.module is None:
        return "needs gradients, which the model does not offer"
    if attack.sees == "trees" and target.trees is None:
        return "needs trees, and the model is not made of them"
    if attack.sees == "scores" and not target.scored:
        return "needs scores, and the model gives classes only"
    return ""
