"""The answer and the findings, made from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from robreport import Finding, Scalar, ThreatModel
from robreport_plugins.attacks.rules import symbol
from robreport_plugins.attacks.summary import Point, points

if TYPE_CHECKING:
    from robreport_plugins.attacks.campaign import Campaign

# A model that keeps less than this share of its clean accuracy has collapsed.
COLLAPSED = 0.5


def percent(value: float | None) -> str:
    """Return a share in percent with one decimal."""
    return "not measured" if value is None else f"{100 * value:.1f} %"


def answer(campaign: Campaign, threats: Sequence[ThreatModel], clean: Scalar) -> str:
    """Return one sentence: what the attacks leave at each threat's largest radius."""
    inputs = f"{campaign.n} test input{'s' if campaign.n != 1 else ''}"
    without = f"{percent(clean.value)} of {inputs} are right without an attack"
    if not campaign.right.any():
        return f"The model gets none of {inputs} right, so there is no accuracy to attack."
    last = [max((p for p in points(campaign, threats) if p.threat is t), key=lambda p: p.eps)
            for t in threats]  # fmt: skip
    last.sort(key=lambda p: p.robust.value or 0.0)
    parts = [_part(p) for p in last[:3]]
    others = f"{len(last) - 3} more threats leave" if len(last) > 4 else "one more threat leaves"
    more = f"; {others} no less" if len(last) > 3 else ""
    return f"Under attack at most {_listed(parts)}{more}; {without}."


def findings(
    campaign: Campaign, threats: Sequence[ThreatModel], classes: int
) -> tuple[Finding, ...]:
    """Return what a reviewer must not miss: accuracy that collapses, and how early."""
    found = []
    worst = points(campaign, threats)
    clean = float(campaign.right.mean())
    for threat in threats:
        line = sorted((p for p in worst if p.threat is threat and p.eps.value > 0),
                      key=lambda p: p.eps)  # fmt: skip
        early = next((p for p in line if (p.robust.high or 0.0) < COLLAPSED * clean), None)
        if early is not None:
            found.append(_collapse(early, line, clean, classes))
    return tuple(sorted(found, key=lambda f: f.severity != "high"))


def _collapse(early: Point, line: Sequence[Point], clean: float, classes: int) -> Finding:
    name = early.threat.name
    where = f"{symbol(early.threat)} \u03b5 = {early.eps}"
    claim = (
        f"Under {where} at most {percent(early.robust.value)} of inputs stay right, "
        f"less than half of the {percent(clean)} without an attack"
    )
    largest = line[-1]
    guessing = classes > 1 and (largest.robust.high or 0.0) < 1 / classes
    severe = guessing or early.eps.value <= largest.eps.value / 2
    if early.eps.value < largest.eps.value:
        claim += f", though \u03b5 up to {largest.eps} was declared"
    if guessing:
        claim += f"; at \u03b5 = {largest.eps} it does worse than guessing among {classes} classes"
    evidence = ["clean_accuracy", f"robust_accuracy[{name}, {early.eps}]"]
    if guessing and largest is not early:
        evidence.append(f"robust_accuracy[{name}, {largest.eps}]")
    return Finding(
        severity="high" if severe else "medium",
        claim=claim + ".",
        evidence=(*evidence, "worst_case"),
        recommendation=f"Do not rely on this model where inputs can be changed by {where}; train "
        "it against such perturbations, or reject perturbed inputs before it.",
        affected=f"{symbol(early.threat)} perturbations",
    )


def _part(point: Point) -> str:
    robust, where = point.robust, f"{symbol(point.threat)} \u03b5 = {point.eps}"
    interval = f"{100 * (robust.low or 0):.1f}\u2013{percent(robust.high)}"
    return f"{percent(robust.value)} of inputs stay right at {where} (95 % interval {interval})"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
