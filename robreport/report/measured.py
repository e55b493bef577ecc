"""Tables of the values that a measurement gave: what, how sure, of how many examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from robreport.document import Note, Quantity, TableBlock
from robreport.outcome import Computed
from robreport.report import wording
from robreport.report.entries import Anchors, Entry
from robreport.result import Column, Scalar

MODELS_PER_TABLE = 5
_LEVEL = "95 % "
MOST_METHODS = 3
"""Where more kinds of interval stand in one table, each row names its own."""


def measured_values(
    entry: Entry, anchors: Anchors, threats: wording.Threats, several: bool
) -> list[TableBlock]:
    """Return the values that no other table of the measurement shows, models side by side."""
    computed = [o for o in entry.computed if _listed(o)]
    if not computed:
        return []
    if len(computed) == 1:
        subject = (computed[0].about.model or "") if several else ""
        return [_of_one(computed[0], anchors.of("values", entry.name, "0"), threats, subject)]
    parts = range(0, len(computed), MODELS_PER_TABLE)
    return [
        _of_several(
            computed[i : i + MODELS_PER_TABLE],
            anchors.of("values", entry.name, str(part)),
            threats,
            "Measured values" if part == 0 else "Measured values, further models",
        )
        for part, i in enumerate(parts)
    ]


def quantity_of(scalar: Scalar) -> Quantity:
    """Return a scalar as a page shows it."""
    return Quantity(
        value=scalar.value,
        low=scalar.low,
        high=scalar.high,
        n=int(scalar.n),
        unit=scalar.unit,
        censored=scalar.censored,
        bound=scalar.bound,
        reason=scalar.reason if scalar.value is None else "",
    )


def _of_one(outcome: Computed, anchor: str, threats: wording.Threats, subject: str) -> TableBlock:
    scalars = _listed(outcome)
    labels = wording.scalar_labels(scalars, threats)
    return TableBlock(
        anchor=anchor,
        title=f"Measured values, {subject}" if subject else "Measured values",
        columns=(
            Column(key="what", title="Measure"),
            Column(key="value", title="Value and interval", kind="number"),
            Column(key="n", title="n", kind="integer"),
            Column(key="method", title="Interval"),
        ),
        rows=tuple(
            (_what(labels[name], s), quantity_of(s), s.n, _method(s)) for name, s in scalars.items()
        ),
    )


def _of_several(
    computed: Sequence[Computed], anchor: str, threats: wording.Threats, title: str
) -> TableBlock:
    scalars: dict[str, Scalar] = {}
    for outcome in computed:
        for name, scalar in _listed(outcome).items():
            scalars.setdefault(name, scalar)
    labels = wording.scalar_labels(scalars, threats)
    everything = [s for o in computed for s in _listed(o).values()]
    row_by_row = len({s.method for s in everything if s.low is not None}) > MOST_METHODS
    sizes = {s.n for s in everything}
    level = _LEVEL if all(s.method.startswith(_LEVEL) for s in everything if s.method) else ""
    caption = f"n = {next(iter(sizes)):,} throughout." if len(sizes) == 1 else ""
    if row_by_row and level:
        caption += f" {level}intervals."
    caption += f" {_interval_words(everything, methods=not row_by_row)}"
    rows = []
    for name, first in scalars.items():
        cells = [_listed(o).get(name) for o in computed]
        present = [s for s in cells if s is not None]
        unit = first.unit if {s.unit for s in present} == {first.unit} else ""
        unit = "" if unit == "share" else unit
        values = [_shown(s, unit) if s is not None else None for s in cells]
        label = f"{labels[name]} ({unit})" if unit else labels[name]
        own = dict.fromkeys(s.n for s in present)
        n = (", ".join(f"{size:,}" for size in own),) if len(sizes) > 1 else ()
        methods = (_families(present, level),) if row_by_row else ()
        rows.append((_what(label, first), *values, *n, *methods))
    return TableBlock(
        anchor=anchor,
        title=title,
        columns=(
            Column(key="what", title="Measure"),
            *(
                Column(key=f"m{i}", title=o.about.model or "", kind="number")
                for i, o in enumerate(computed)
            ),
            *((Column(key="n", title="n", kind="number"),) if len(sizes) > 1 else ()),
            *((Column(key="method", title="Interval"),) if row_by_row else ()),
        ),
        rows=tuple(rows),
        caption=caption.strip(),
    )


def _what(label: str, scalar: Scalar) -> Any:
    if scalar.bound == "exact":
        return label
    return (label, Note(text=wording.BOUNDS.get(scalar.bound, scalar.bound)))


def _method(scalar: Scalar) -> str:
    return scalar.method if scalar.low is not None else scalar.reason


def _shown(scalar: Scalar, unit: str) -> Quantity:
    """A scalar as a cell shows it, where the row says its unit."""
    return replace(quantity_of(scalar), unit="") if unit else quantity_of(scalar)


def _families(scalars: Sequence[Scalar], level: str) -> str:
    """How a row's intervals were made, without what differs from model to model."""
    heads = (s.method.split(", ")[0].split(" (")[0] for s in scalars if s.low is not None)
    return "; ".join(dict.fromkeys(head.removeprefix(level) for head in heads if head))


def _interval_words(scalars: Sequence[Scalar], methods: bool) -> str:
    names = sorted({s.method for s in scalars if s.low is not None and s.method})
    missing = sorted({s.reason for s in scalars if s.low is None and s.value is not None})
    text = f"Intervals: {'; '.join(names)}." if names and methods else ""
    if missing:
        text += f" Without interval: {'; '.join(part.rstrip('.') for part in missing)}."
    return text.strip()


def _listed(outcome: Computed) -> dict[str, Scalar]:
    """The scalars that no table of the result shows."""
    return {name: s for name, s in outcome.result.scalars.items() if not s.table}
