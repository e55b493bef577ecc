"""Which attacks of the catalogue a model and a threat admit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


_NO_ACCESS = ("needs gradients", "needs scores")


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
        None can be, or there is nothing that an attacker may change.
    """
    if target.space(threat).fixed.all():
        raise SkipMetric("every feature is held fixed, so that there is nothing to attack")
    wanted = list(named(params))
    found = [attack for attack in wanted if not obstacle(attack, target, threat)]
    if "default" in params.attacks and all(attack.kind == "noise" for attack in found):
        wanted += [CATALOGUE[name] for name in LAST_RESORT]
        found = [attack for attack in wanted if not obstacle(attack, target, threat)]
    if all(attack.kind == "noise" for attack in found):
        reasons = [(a.title, obstacle(a, target, threat)) for a in wanted]
        told = because((title, why) for title, why in reasons if why)
        raise SkipMetric(f"no attack can be run: {told or 'noise alone is none'}")
    return tuple(found)


def because(left_out: Iterable[tuple[str, str]]) -> str:
    """Return which attacks were left out for which reason, in words."""
    reasons: dict[str, list[str]] = {}
    for title, why in left_out:
        reasons.setdefault(why, []).append(title)
    return "; ".join(f"{', '.join(titles)} ({why})" for why, titles in reasons.items())


def admitted(
    params: SuiteParams, target: Target, threats: Sequence[ThreatModel]
) -> tuple[tuple[ThreatModel, ...], dict[ThreatModel, str]]:
    """Return the threats that attacks can be run for, and the others with the reason.

    Raises
    ------
    SkipMetric
        There is none.
    """
    able, refused = [], {}
    for threat in threats:
        try:
            chosen(params, target, threat)
        except SkipMetric as reason:
            refused[threat] = str(reason)
        else:
            able.append(threat)
    if not able:
        reasons = dict.fromkeys(refused.values())
        each = [f"threat {threat.name}: {why}" for threat, why in refused.items()]
        raise SkipMetric("; ".join(each if len(reasons) > 1 else reasons))
    return tuple(able), refused


def left_out(params: SuiteParams, target: Target, threat: ThreatModel) -> dict[str, str]:
    """Return why attacks that were asked for cannot be run, by their titles.

    Of a preset, those that the model gives no access for; that it leaves out attacks of other
    norms and other data is what it is for.
    """
    found = {}
    for attack in named(params):
        why = obstacle(attack, target, threat)
        if why and (attack.name in params.attacks or why.startswith(_NO_ACCESS)):
            found[attack.title] = why
    return found


def obstacle(attack: Attack, target: Target, threat: ThreatModel) -> str:
    """Return why an attack cannot be run; empty where it can."""
    norms = attack.norms | (attack.table_norms if target.x.ndim == 2 else frozenset())
    if threat.norm not in norms:
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
