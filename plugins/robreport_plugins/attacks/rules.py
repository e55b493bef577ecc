"""What an attacker may not do, in words."""

from __future__ import annotations

from collections.abc import Sequence

from robreport import DataSchema, Norm, ThreatModel

_UNITS = {"std": "standard deviations of each column", "range": "ranges of each column"}
COUNTED = "changed features"


def rules(schema: DataSchema, threats: Sequence[ThreatModel]) -> str:
    """Return what held for the perturbed inputs, as sentences after a caption; often none."""
    said = {threat.name: _of(schema, threat) for threat in threats}
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    return "".join(f" Threat {name}:{words}" for name, words in said.items() if words)


def units(threat: ThreatModel) -> str:
    """Return the units of a threat's budgets."""
    if threat.norm is Norm.L0:
        return COUNTED
    return _UNITS.get(threat.scale, "input units")


def _of(schema: DataSchema, threat: ThreatModel) -> str:
    frozen = list(dict.fromkeys((*schema.frozen, *threat.frozen)))
    whole = list(dict.fromkeys((*schema.integer, *threat.integer)))
    free = [name for name in schema.categories if name not in frozen]
    groups = [f"{{{', '.join(group)}}}" for group in threat.one_hot]
    parts = (
        ("\u03b5 is in", [units(threat)] if threat.scale != "none" else []),
        ("Held fixed:", frozen),
        ("Only growing:", list(threat.increase)),
        ("Only shrinking:", list(threat.decrease)),
        ("Whole numbers:", [name for name in whole if name not in frozen]),
        ("From one category to another, a change of size 1:", free + groups),
    )
    return "".join(f" {words} {', '.join(names)}." for words, names in parts if names)


def symbol(threat: ThreatModel) -> str:
    """Return how pages write the norm of a threat, with its units: L∞, "L∞ (std)"."""
    return threat.norm.symbol + ("" if threat.scale == "none" else f" ({threat.scale})")
