"""The results part: each measurement with the same anatomy, its models side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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
    Link,
    Prose,
    Section,
    TableBlock,
)
from robreport.outcome import Computed, Failed, Skipped, Status
from robreport.report import wording
from robreport.report.checks import checks_table
from robreport.report.entries import Anchors, Entry
from robreport.report.measured import measured_values
from robreport.report.panels import one_figure
from robreport.report.requirements import pointer
from robreport.report.said_once import in_every_row, same_throughout, without
from robreport.report.side_by_side import one_table
from robreport.report.timed import timed
from robreport.result import Figure, Table

INLINE_ROWS = 30
"""Longer tables stand in the appendix."""
MOST_ROWS = 1000
"""Longer tables are cut there; the record holds them whole."""


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
        required = pointer(entry, self.anchors)
        blocks += [required] if required is not None else []
        if entry.about.reading and entry.computed:
            text = wording.sentence(entry.about.reading)
            blocks.append(Callout(title="How to read it.", text=text))
        blocks += self._figures(entry)
        blocks += measured_values(entry, self.anchors, self.threats, self.several)
        blocks += self._images(entry)
        blocks += self._tables(entry)
        checks = checks_table(entry, self.anchors)
        blocks += [checks] if checks is not None else []
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
            given = [(o.about.model, table) for o, table in _given(entry, key) if o.about.model]
            once = same_throughout([table for _, table in given])
            made = one_table([(model, without(table, once)) for model, table in given])
            self._tables_of_all[place] = made and _add(made, in_every_row(given, once))
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
                else self._apart(entry, key)
            )
            moved = [block for block, appendix in shown if appendix]
            blocks += [block for block, appendix in shown if not appendix]
            if moved:
                self.long_tables += moved
                links = tuple(Link(anchor=block.anchor) for block in moved)
                title = _first(entry, key).title
                blocks.append(Prose(text=f"{title}: in the appendix,", links=links))
        return blocks

    def _apart(self, entry: Entry, key: str) -> list[tuple[TableBlock, bool]]:
        """The tables of the models one by one, all with the same columns."""
        given = _given(entry, key)
        once = same_throughout([table for _, table in given])
        return [
            self._table(
                entry, outcome, key, _add(without(table, once), in_every_row([("", table)], once))
            )
            for outcome, table in given
        ]

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


def _given(entry: Entry, key: str) -> list[tuple[Computed, Table]]:
    """The tables of that key, and whose they are."""
    return [(o, timed(o.result, key)) for o in entry.computed if key in o.result.tables]


def _add(table: Table, sentence: str) -> Table:
    return replace(table, caption=f"{table.caption} {sentence}".strip()) if sentence else table


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
    caveats = [
        f"{_of(o)}{wording.sentence(c.detail)} (`{c.code}`)"
        for o in entry.computed
        for c in o.result.caveats
    ]
    if caveats:
        blocks.append(Callout(title="Caveats.", items=tuple(caveats), tone="caution"))
    if about.limits and entry.computed:
        blocks.append(Callout(title="What it does not show.", text=wording.sentence(about.limits)))
    return blocks


def _of(outcome: Computed) -> str:
    return f"{outcome.about.model}: " if outcome.about.model else ""
