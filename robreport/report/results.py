"""The results part: each measurement with the same anatomy, its models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from robreport.document import (
    Answer,
    AnswerList,
    Block,
    Callout,
    Chip,
    FailureBlock,
    FigureBlock,
    FigureGroup,
    ImageBlock,
    Limit,
    Link,
    Note,
    Prose,
    Quantity,
    Section,
    TableBlock,
)
from robreport.outcome import Computed, Failed, Requirement, Skipped, Status
from robreport.report import wording
from robreport.report.entries import Anchors, Entry
from robreport.report.panels import one_figure
from robreport.report.side_by_side import one_table
from robreport.result import Column, Figure, Scalar, Table

INLINE_ROWS = 30
"""Longer tables stand in the appendix."""
MOST_ROWS = 1000
"""Longer tables are cut there; the record holds them whole."""
MODELS_PER_TABLE = 5
_LEVEL = "95 % "
MOST_METHODS = 3
"""Where more kinds of interval stand in one table, each row names its own."""


class ResultsWriter:
    """Writes one section per measurement, and keeps what belongs into the appendix."""

    def __init__(self, anchors: Anchors, threats: wording.Threats, several: bool) -> None:
        self.anchors = anchors
        self.threats = threats
        self.several = several
        self.long_tables: list[TableBlock] = []
        # found once, though each finding's evidence asks again
        self._figures_of_all: dict[tuple[str, str], Figure | None] = {}
        self._tables_of_all: dict[tuple[str, str], Table | None] = {}

    def section(self, entry: Entry) -> Section:
        """Return the section of one measurement: question and answer, figures, limits."""
        blocks: list[Block] = []
        blocks += self._answers(entry)
        blocks += [self._failure(entry, o) for o in entry.outcomes if not isinstance(o, Computed)]
        blocks += self._requirements(entry)
        blocks += self._figures(entry)
        blocks += self._scalars(entry)
        blocks += self._images(entry)
        blocks += self._tables(entry)
        blocks += _asides(entry)
        return Section(
            id=self.anchors.of("result", entry.name),
            title=entry.title,
            question=entry.about.question,
            blocks=tuple(blocks),
            chips=(Chip(status=entry.status),),
        )

    def evidence(self, entry: Entry, outcome: Computed, name: str) -> str:
        """Return the anchor where the named scalar, table, figure or pictures stand."""
        result, model = outcome.result, outcome.about.model
        if name in result.figures:
            together = self._panels(entry, name) is not None
            return self.anchors.of("figure", entry.name, "" if together else model, name)
        if name in result.tables:
            together = self._columns(entry, name) is not None
            return self.anchors.of("table", entry.name, "" if together else model, name)
        if name in result.scalars and result.scalars[name].table:
            return self.evidence(entry, outcome, result.scalars[name].table)
        if name in result.images:
            return self.anchors.of("images", entry.name, model, name)
        return self.anchors.of("values", entry.name, "0")

    def _answers(self, entry: Entry) -> list[Block]:
        computed = entry.computed
        if not computed:
            return []
        if len(computed) == 1 and not self.several:
            return [Prose(text=computed[0].result.answer, lead=True)]
        if len(computed) == 1 and computed[0].about.model is None:
            return [Prose(text=computed[0].result.answer, lead=True)]
        return [
            AnswerList(
                items=tuple(
                    Answer(
                        subject=o.about.model or "all models",
                        text=o.result.answer,
                        status=entry.status_of(o),
                    )
                    for o in computed
                )
            )
        ]

    def _failure(self, entry: Entry, outcome: Computed | Failed | Skipped) -> FailureBlock:
        subject = outcome.about.model
        whom = f" on {subject}" if subject and self.several else ""
        if isinstance(outcome, Failed):
            kind = wording.FAILURES.get(outcome.kind, "It failed")
            return FailureBlock(
                status=Status.ERROR,
                title=f"{entry.title} has no result{whom}",
                reason=f"{kind}: {wording.sentence(outcome.error)}",
            )
        return FailureBlock(
            status=Status.NOT_RUN,
            title=f"{entry.title} did not run{whom}",
            reason=wording.why(outcome),
        )

    def _requirements(self, entry: Entry) -> list[Block]:
        if not entry.requirements:
            return []
        return [
            TableBlock(
                columns=requirement_columns(self.several, metric=False),
                rows=tuple(
                    self.requirement_row(entry, r, self.several) for r in entry.requirements
                ),
            )
        ]

    def requirement_row(self, entry: Entry, r: Requirement, model: bool) -> tuple[Any, ...]:
        """Return a requirement as a row: what, of which model, required, observed, status."""
        scalar = scalar_of(entry, r)
        wish = (Note(text="a wish: it warns, it does not fail"),) if r.level == "warn" else ()
        row: tuple[Any, ...] = ((wording.scalar_label(r.scalar, scalar, self.threats), *wish),)
        if model:
            row += (r.model or "all",)
        words = "" if r.words in r.status.value else r.words
        return (*row, limit_of(r, entry), observed(r), Chip(status=r.status, text=words))

    def _figures(self, entry: Entry) -> list[Block]:
        blocks: list[Block] = []
        for key in _keys(entry, "figures"):
            given = [(o, o.result.figures[key]) for o in entry.computed if key in o.result.figures]
            together = self._panels(entry, key)
            shown = (
                (self._figure(entry, None, key, together),)
                if together is not None
                else tuple(self._figure(entry, o, key, figure) for o, figure in given)
            )
            blocks.append(shown[0] if len(shown) == 1 else FigureGroup(figures=shown))
        return blocks

    def _figure(
        self, entry: Entry, outcome: Computed | None, key: str, figure: Figure
    ) -> FigureBlock:
        model = outcome.about.model if outcome is not None else ""
        return FigureBlock(
            anchor=self.anchors.of("figure", entry.name, model, key),
            spec=figure.spec,
            title=figure.title,
            caption=figure.caption,
            alt=figure.alt,
            subject=self._subject(outcome) if outcome is not None else "",
        )

    def _panels(self, entry: Entry, key: str) -> Figure | None:
        """The figure of all models, where theirs go together."""
        place = entry.name, key
        if place not in self._figures_of_all:
            self._figures_of_all[place] = one_figure(
                [
                    (o.about.model, o.result.figures[key])
                    for o in entry.computed
                    if o.about.model and key in o.result.figures
                ]
            )
        return self._figures_of_all[place]

    def _columns(self, entry: Entry, key: str) -> Table | None:
        """The table of all models, where theirs go together."""
        place = entry.name, key
        if place not in self._tables_of_all:
            self._tables_of_all[place] = one_table(
                [
                    (o.about.model, o.result.tables[key])
                    for o in entry.computed
                    if o.about.model and key in o.result.tables
                ]
            )
        return self._tables_of_all[place]

    def _images(self, entry: Entry) -> list[Block]:
        blocks: list[Block] = []
        for key in _keys(entry, "images"):
            grids = tuple(
                ImageBlock(
                    anchor=self.anchors.of("images", entry.name, o.about.model, key),
                    title=o.result.images[key].title,
                    images=o.result.images[key].images,
                    caption=o.result.images[key].caption,
                    alt=o.result.images[key].alt,
                    row_labels=o.result.images[key].row_labels,
                    column_labels=o.result.images[key].column_labels,
                    cell_labels=o.result.images[key].cell_labels,
                    subject=self._subject(o),
                )
                for o in entry.computed
                if key in o.result.images
            )
            blocks.append(grids[0] if len(grids) == 1 else FigureGroup(figures=grids))
        return blocks

    def _tables(self, entry: Entry) -> list[Block]:
        blocks: list[Block] = []
        for key in _keys(entry, "tables"):
            together = self._columns(entry, key)
            shown = (
                [self._table(entry, None, key, together)]
                if together is not None
                else [
                    self._table(entry, o, key, o.result.tables[key])
                    for o in entry.computed
                    if key in o.result.tables
                ]
            )
            moved = [block for block, appendix in shown if appendix]
            blocks += [block for block, appendix in shown if not appendix]
            if moved:
                self.long_tables += moved
                links = tuple(Link(anchor=block.anchor) for block in moved)
                title = _first(entry, key).title
                blocks.append(Prose(text=f"{title}: in the appendix,", links=links))
        return blocks

    def _table(
        self, entry: Entry, outcome: Computed | None, key: str, table: Table
    ) -> tuple[TableBlock, bool]:
        """Return a table as a block, and whether it stands in the appendix."""
        subject = self._subject(outcome) if outcome is not None else ""
        model = outcome.about.model if outcome is not None else ""
        block = TableBlock(
            anchor=self.anchors.of("table", entry.name, model, key),
            title=f"{table.title}, {subject}" if subject else table.title,
            columns=table.columns,
            rows=table.rows[:MOST_ROWS],
            caption=table.caption,
            rows_total=len(table.rows) if len(table.rows) > MOST_ROWS else 0,
        )
        return block, table.appendix or len(table.rows) > INLINE_ROWS

    def _subject(self, outcome: Computed) -> str:
        return outcome.about.model or "" if self.several else ""

    def _scalars(self, entry: Entry) -> list[Block]:
        computed = [o for o in entry.computed if _listed(o)]
        if not computed:
            return []
        if len(computed) == 1:
            return [self._scalars_of_one(entry, computed[0])]
        parts = range(0, len(computed), MODELS_PER_TABLE)
        return [
            self._scalars_of_several(entry, computed[i : i + MODELS_PER_TABLE], part)
            for part, i in enumerate(parts)
        ]

    def _scalars_of_one(self, entry: Entry, outcome: Computed) -> TableBlock:
        scalars = _listed(outcome)
        labels = wording.scalar_labels(scalars, self.threats)
        subject = self._subject(outcome)
        return TableBlock(
            anchor=self.anchors.of("values", entry.name, "0"),
            title=f"Measured values, {subject}" if subject else "Measured values",
            columns=(
                Column(key="what", title="Measure"),
                Column(key="value", title="Value and interval", kind="number"),
                Column(key="n", title="n", kind="integer"),
                Column(key="method", title="Interval"),
            ),
            rows=tuple(
                (self._what(labels[name], s), quantity_of(s), s.n, _method(s))
                for name, s in scalars.items()
            ),
        )

    def _scalars_of_several(
        self, entry: Entry, computed: Sequence[Computed], part: int
    ) -> TableBlock:
        scalars: dict[str, Scalar] = {}
        for outcome in computed:
            for name, scalar in _listed(outcome).items():
                scalars.setdefault(name, scalar)
        labels = wording.scalar_labels(scalars, self.threats)
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
            rows.append((self._what(label, first), *values, *n, *methods))
        return TableBlock(
            anchor=self.anchors.of("values", entry.name, str(part)),
            title="Measured values" if part == 0 else "Measured values, further models",
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

    def _what(self, label: str, scalar: Scalar) -> Any:
        if scalar.bound == "exact":
            return label
        return (label, Note(text=wording.BOUNDS.get(scalar.bound, scalar.bound)))


def requirement_columns(model: bool, metric: bool) -> tuple[Column, ...]:
    """Return the columns of a table of requirements."""
    return (
        *((Column(key="metric", title="Measurement"),) if metric else ()),
        Column(key="what", title="Requirement"),
        *((Column(key="model", title="Model"),) if model else ()),
        Column(key="limit", title="Required", kind="number"),
        Column(key="observed", title="Observed", kind="number"),
        Column(key="status", title="Status"),
    )


def scalar_of(entry: Entry, requirement: Requirement) -> Scalar | None:
    """Return the scalar that a requirement is about, of any model that has it."""
    for outcome in entry.computed:
        if requirement.scalar in outcome.result.scalars:
            return outcome.result.scalars[requirement.scalar]
    return None


def limit_of(r: Requirement, entry: Entry) -> Limit:
    """Return what a requirement asks, in the unit of what it limits."""
    scalar = scalar_of(entry, r)
    unit = r.unit or (scalar.unit if scalar is not None else "")
    return Limit(operator=r.operator, value=r.threshold, unit=unit, text=r.threshold_text)


def observed(r: Requirement) -> Quantity:
    """Return what was observed for a requirement."""
    return Quantity(value=r.observed, low=r.low, high=r.high, n=r.n, unit=r.unit)


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


def _first(entry: Entry, key: str) -> Table:
    """The table of that key, of the first model that has it."""
    return next(o.result.tables[key] for o in entry.computed if key in o.result.tables)


def _keys(entry: Entry, group: str) -> list[str]:
    """Keys of one kind of part over all models, in order of first appearance."""
    seen: dict[str, None] = {}
    for outcome in entry.computed:
        parts: Mapping[str, object] = getattr(outcome.result, group)
        seen.update(dict.fromkeys(parts))
    return list(seen)


def _asides(entry: Entry) -> list[Block]:
    about = entry.about
    blocks: list[Block] = []
    if about.reading and entry.computed:
        blocks.append(Callout(title="How to read it.", text=wording.sentence(about.reading)))
    checks = _checks(entry)
    if checks is not None:
        blocks.append(checks)
    caveats = [
        f"{_of(o)}{wording.sentence(c.detail)} (`{c.code}`)"
        for o in entry.computed
        for c in o.result.caveats
    ]
    if caveats:
        blocks.append(Callout(title="Caveats.", items=tuple(caveats), tone="caution"))
    if about.limits:
        blocks.append(Callout(title="What it does not show.", text=wording.sentence(about.limits)))
    return blocks


def _of(outcome: Computed) -> str:
    return f"{outcome.about.model}: " if outcome.about.model else ""


def _checks(entry: Entry) -> Callout | None:
    """Chips of all checks; one that failed for any model says for which, and what was seen."""
    passed: dict[str, bool] = {}
    details: list[str] = []
    for outcome in entry.computed:
        for check in outcome.result.checks:
            passed[check.name] = passed.get(check.name, True) and check.passed
            if not check.passed:
                details.append(f"{_of(outcome)}{check.name}: {wording.sentence(check.detail)}")
    if not passed:
        return None
    return Callout(
        title="Checks on the measurement.",
        chips=tuple(
            Chip(status=Status.PASS if ok else Status.FAIL, words=name)
            for name, ok in passed.items()
        ),
        items=tuple(details),
        tone="plain" if all(passed.values()) else "caution",
    )
