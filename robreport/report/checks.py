"""The checks on a measurement, each once, with what was seen of every model."""

from __future__ import annotations

from collections.abc import Sequence

from robreport.document import Chip, TableBlock
from robreport.outcome import Status
from robreport.report import wording
from robreport.report.entries import Anchors, Entry
from robreport.result import Check, Column

_COLUMNS = (
    Column(key="check", title="Check"),
    Column(key="outcome", title="Outcome"),
    Column(key="seen", title="What was seen"),
)
_HELD, _IDLE = "holds", "does not apply"
# what failed stands first, what does not apply last
_ORDER: dict[object, int] = {_HELD: 1, _IDLE: 2}


def checks_table(entry: Entry, anchors: Anchors) -> TableBlock | None:
    """Return one row for each check of a measurement, the failed ones first; None without any.

    What models share is said once, what differs model by model.
    """
    seen: dict[str, list[tuple[str, Check]]] = {}
    for outcome in entry.computed:
        for check in outcome.result.checks:
            seen.setdefault(check.name, []).append((outcome.about.model or "", check))
    if not seen:
        return None
    rows = sorted(
        ((name, *_outcome(found)) for name, found in seen.items()),
        key=lambda row: _ORDER.get(row[1], 0),
    )
    made = sum(outcome != _IDLE for _, outcome, _ in rows)
    count = f"{sum(outcome == _HELD for _, outcome, _ in rows)} of {made} hold"
    return TableBlock(
        anchor=anchors.of("checks", entry.name),
        title=f"Checks on the measurement: {count}",
        columns=_COLUMNS,
        rows=tuple(rows),
        caption="A check that fails makes a pass inconclusive; one without which no number counts, "
        "such as that the output is deterministic, makes a fail inconclusive too.",
    )


def _outcome(found: Sequence[tuple[str, Check]]) -> tuple[str | Chip, str]:
    """Return the outcome over all models and what was seen, told apart where models differ."""
    if failed := [one for one in found if not one[1].passed]:
        outcome: str | Chip = Chip(status=Status.FAIL)
    else:
        outcome = _HELD if any(check.applies for _, check in found) else _IDLE
    models: dict[tuple[bool, str], list[str]] = {}
    for model, check in (*failed, *(one for one in found if one[1].passed)):
        models.setdefault((check.passed, wording.sentence(check.detail)), []).append(model)
    if len(models) == 1:
        ((_, text),) = models
        return outcome, text
    return outcome, " ".join(f"{', '.join(names)}: {text}" for (_, text), names in models.items())
