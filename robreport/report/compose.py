"""An audit as a document: the only place for the order of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import robreport
from robreport.document import (
    Block,
    Document,
    FailureBlock,
    FigureBlock,
    FigureGroup,
    Heading,
    ImageBlock,
    Section,
    TableBlock,
)
from robreport.outcome import AuditRun, Status
from robreport.report import back, front, numbers, scope, wording
from robreport.report.entries import Anchors, entries_of, threats_of
from robreport.report.numbering import number
from robreport.report.requirements import requirements_section
from robreport.report.results import ResultsWriter

_BLOCKS = get_args(Block)
_ANCHORED = (TableBlock, FigureBlock, ImageBlock, FailureBlock, Heading)


def compose(run: AuditRun, extra_sections: Sequence[Section] = ()) -> Document:
    """Return the document of an audit, with plugins' sections placed by their ``order``.

    The same record gives the same document; what is volatile in it comes from ``execution``.
    """
    # what the page itself is made of keeps its names
    anchors = Anchors(taken={"cover", "contents", "main", "audit-record", "audit-arrays"})
    for name in ("summary", "scope", "method", "results", "requirements", "findings",
                 "limitations", "provenance", "appendix"):  # fmt: skip
        anchors.of(name)
    entries = entries_of(run)
    threats = threats_of(run)
    several = len(run.models) > 1
    writer = ResultsWriter(anchors, threats, several)
    results = tuple(writer.section(entry) for entry in entries)
    findings = back.findings_of(run, entries, writer, anchors)
    summary = front.SummaryWriter(run, entries, anchors, threats)
    parts = [
        summary.section(findings),
        scope.scope_section(run, entries, anchors, threats),
        back.method_section(run, entries, anchors),
        Section(id=anchors.of("results"), title="Results", sections=results, order=40),
        requirements_section(run, entries, anchors, writer.threats),
        back.findings_section(findings, anchors),
        back.limitations_section(run, entries, anchors, summary.not_shown()),
        back.provenance_section(run, anchors),
        back.appendix_section(run, entries, writer.long_tables, anchors),
    ]
    parts += [_foreign(section, anchors) for section in extra_sections]
    sections, labels = number(sorted(parts, key=lambda section: section.order))
    audit = run.audit
    title = str(audit.get("title") or "Untitled audit")
    marks = [wording.LABEL, title, _mark(run)]
    return Document(
        title=title,
        subtitle=front.subtitle(run),
        label=wording.LABEL,
        cover=front.cover(run, robreport.__version__),
        verdict=run.verdict,
        sections=sections,
        footer=" · ".join(mark for mark in marks if mark),
        author=str(audit.get("prepared_by") or ""),
        finished=str(run.execution.get("finished") or ""),
        labels=labels,
    )


def _mark(run: AuditRun) -> str:
    """What tells this audit from others on every page: its model's digest, or its id."""
    if len(run.models) == 1 and run.models[0].digest:
        return numbers.short_digest(run.models[0].digest)
    return str(run.audit.get("id") or "")[:12]


def _foreign(section: object, anchors: Anchors) -> Section:
    """Return a plugin's section as it may stand here: known blocks, anchors of its own."""
    if not isinstance(section, Section):
        return Section(
            id=anchors.free("section"),
            title="A plugin's section",
            blocks=(
                FailureBlock(
                    status=Status.ERROR,
                    title="A plugin's section could not be shown",
                    reason=f"The plugin returned a {type(section).__name__}, not a Section.",
                ),
            ),
        )
    blocks = tuple(_foreign_block(block, anchors) for block in section.blocks)
    inner = tuple(_foreign(s, anchors) for s in section.sections)
    return replace(section, id=anchors.free(section.id), blocks=blocks, sections=inner)


def _foreign_block(block: Block, anchors: Anchors) -> Block:
    known: bool = isinstance(block, _BLOCKS)
    if not known:  # whatever the annotation promises, a plugin made it
        return FailureBlock(
            status=Status.ERROR,
            title="A part of this section could not be shown",
            reason=f"The plugin returned a {type(block).__name__}, which is no block.",
        )
    if isinstance(block, FigureGroup):
        inner = tuple(_foreign_block(figure, anchors) for figure in block.figures)
        return FigureGroup(
            figures=tuple(
                f for f in inner if isinstance(f, FigureBlock | ImageBlock | FailureBlock)
            )
        )
    if isinstance(block, _ANCHORED) and block.anchor:
        moved: Block = replace(block, anchor=anchors.free(block.anchor))
        return moved
    return block
