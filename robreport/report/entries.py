"""One declared measurement with the outcomes of all its models, and anchors for its parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robreport.outcome import AuditRun, Computed, Outcome, Requirement, Status, Subject
from robreport.report import wording


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of ``[[metrics]]``: its words, and what became of it model by model."""

    title: str
    about: Subject
    outcomes: tuple[Outcome, ...]
    requirements: tuple[Requirement, ...]

    @property
    def name(self) -> str:
        return self.about.name

    @property
    def computed(self) -> tuple[Computed, ...]:
        """The outcomes that have a result."""
        return tuple(o for o in self.outcomes if isinstance(o, Computed))

    @property
    def status(self) -> Status:
        """The worst status of its models."""
        return wording.worst([wording.status_of(o, self.requirements) for o in self.outcomes])

    def status_of(self, outcome: Outcome) -> Status:
        """The status of one of its outcomes."""
        return wording.status_of(outcome, self.requirements)


def entries_of(run: AuditRun) -> tuple[Entry, ...]:
    """Return the declared measurements in the order of the audit, models grouped."""
    grouped: dict[str, list[Outcome]] = {}
    for outcome in run.outcomes:
        grouped.setdefault(outcome.about.name, []).append(outcome)
    titles = [outcomes[0].about.title for outcomes in grouped.values()]
    return tuple(
        Entry(
            title=_title(outcomes[0].about, titles),
            about=outcomes[0].about,
            outcomes=tuple(outcomes),
            requirements=tuple(r for r in run.requirements if r.name == name),
        )
        for name, outcomes in grouped.items()
    )


def _title(about: Subject, titles: list[str]) -> str:
    return about.title if titles.count(about.title) == 1 else f"{about.title} ({about.name})"


def threats_of(run: AuditRun) -> Mapping[str, Mapping[str, Any]]:
    """Return the declared threat models by name."""
    declared = run.spec.get("threats")
    if not isinstance(declared, Mapping):
        return {}
    return {str(k): v for k, v in declared.items() if isinstance(v, Mapping)}


@dataclass(slots=True)
class Anchors:
    """Gives each part of the document one anchor: plain ASCII, unique, the same every time."""

    known: dict[tuple[str, ...], str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def of(self, *parts: str | None) -> str:
        """Return the anchor of the thing that the parts name together."""
        key = tuple(part or "" for part in parts)
        if key not in self.known:
            self.known[key] = self.free("-".join(part for part in key if part))
        return self.known[key]

    def free(self, wanted: str) -> str:
        """Return `wanted` as an anchor that nothing else has."""
        base = re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-")[:80] or "part"
        if not base[0].isalpha():
            base = f"part-{base}"
        anchor, again = base, 2
        while anchor in self.taken:
            anchor, again = f"{base}-{again}", again + 1
        self.taken.add(anchor)
        return anchor
