"""What was required of whom, what was observed, and how each was decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robreport.document import (
    Chip,
    KeyValues,
    Limit,
    Link,
    Note,
    Prose,
    Quantity,
    Section,
    TableBlock,
)
from robreport.outcome import AuditRun, Requirement
from robreport.report import wording
from robreport.report.entries import Anchors, Entry
from robreport.result import Column, Scalar


def requirements_section(
    run: AuditRun, entries: Sequence[Entry], anchors: Anchors, threats: wording.Threats
) -> Section:
    """Return every requirement, worst first."""
    by_name = {entry.name: entry for entry in entries}
    ordered = sorted(run.requirements, key=wording.weight)
    if not ordered:
        return Section(
            id=anchors.of("requirements"),
            title="Requirements",
            blocks=(
                Prose(text="No requirement was declared: the audit measures, it does not decide."),
            ),
            order=50,
        )
    several = len(run.models) > 1
    rows = tuple(
        (
            Link(anchor=anchors.of("result", r.name), text=by_name[r.name].title),
            *_row(by_name[r.name], r, several, threats),
        )
        for r in ordered
        if r.name in by_name
    )
    legend = tuple(
        (status.value, help_text)
        for status, help_text in wording.STATUS_HELP.items()
        if any(r.status is status for r in ordered)
    )
    return Section(
        id=anchors.of("requirements"),
        title="Requirements",
        blocks=(
            Prose(text=run.verdict.sentence, lead=True),
            TableBlock(
                anchor=anchors.of("requirements", "table"),
                title="Requirements, worst first",
                columns=_columns(several),
                rows=rows,
            ),
            KeyValues(pairs=legend, title="What the statuses mean"),
        ),
        order=50,
    )


def pointer(entry: Entry, anchors: Anchors) -> Prose | None:
    """Return the line of a measurement that counts its requirements and says where they stand."""
    if not entry.requirements:
        return None
    counts = wording.counts(r.status for r in entry.requirements)
    noun = wording.count(len(entry.requirements), "requirement")
    place = anchors.of("requirements", "table")
    return Prose(text=f"{noun}: {counts}, in", links=(Link(anchor=place),))


def _row(entry: Entry, r: Requirement, model: bool, threats: wording.Threats) -> tuple[Any, ...]:
    """Return a requirement as a row: what, of which model, required, observed, status."""
    scalar = _scalar_of(entry, r)
    wish = (Note(text="a wish: it warns, it does not fail"),) if r.level == "warn" else ()
    row: tuple[Any, ...] = ((wording.scalar_label(r.scalar, scalar, threats), *wish),)
    if model:
        row += (r.model or "all",)
    words = "" if r.words in r.status.value else r.words
    return (*row, limit_of(r, entry), observed(r), Chip(status=r.status, text=words))


def _columns(model: bool) -> tuple[Column, ...]:
    return (
        Column(key="metric", title="Measurement"),
        Column(key="what", title="Requirement"),
        *((Column(key="model", title="Model"),) if model else ()),
        Column(key="limit", title="Required", kind="number"),
        Column(key="observed", title="Observed", kind="number"),
        Column(key="status", title="Status"),
    )


def _scalar_of(entry: Entry, requirement: Requirement) -> Scalar | None:
    """Return the scalar that a requirement is about, of any model that has it."""
    for outcome in entry.computed:
        if requirement.scalar in outcome.result.scalars:
            return outcome.result.scalars[requirement.scalar]
    return None


def limit_of(r: Requirement, entry: Entry) -> Limit:
    """Return what a requirement asks, in the unit of what it limits."""
    scalar = _scalar_of(entry, r)
    unit = r.unit or (scalar.unit if scalar is not None else "")
    return Limit(operator=r.operator, value=r.threshold, unit=unit, text=r.threshold_text)


def observed(r: Requirement) -> Quantity:
    """Return what was observed for a requirement."""
    return Quantity(value=r.observed, low=r.low, high=r.high, n=r.n, unit=r.unit)
