"""Numbers for sections, figures and tables, and the labels that references show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from robreport.document import (
    Block,
    FailureBlock,
    FigureBlock,
    FigureGroup,
    FindingList,
    ImageBlock,
    Section,
    TableBlock,
)


@dataclass(slots=True)
class _Counter:
    figures: int = 0
    tables: int = 0
    labels: dict[str, str] = field(default_factory=dict)

    def figure(self, anchor: str) -> int:
        self.figures += 1
        if anchor:
            self.labels[anchor] = f"Figure {self.figures}"
        return self.figures

    def table(self, anchor: str) -> int:
        self.tables += 1
        self.labels[anchor] = f"Table {self.tables}"
        return self.tables


def number(sections: Sequence[Section]) -> tuple[tuple[Section, ...], dict[str, str]]:
    """Return the sections with everything in them numbered, and the label of each anchor."""
    counter = _Counter()
    numbered = tuple(_section(s, str(i), counter) for i, s in enumerate(sections, start=1))
    return numbered, counter.labels


def _section(section: Section, given: str, counter: _Counter) -> Section:
    counter.labels[section.id] = f"Section {given}"
    blocks = tuple(_block(block, counter) for block in section.blocks)
    inner = tuple(
        _section(s, f"{given}.{i}", counter) for i, s in enumerate(section.sections, start=1)
    )
    return replace(section, number=given, blocks=blocks, sections=inner)


def _block(block: Block, counter: _Counter) -> Block:
    if isinstance(block, FigureBlock | ImageBlock):
        return replace(block, number=counter.figure(block.anchor))
    if isinstance(block, FigureGroup):
        return FigureGroup(figures=tuple(_grouped(f, counter) for f in block.figures))
    if isinstance(block, TableBlock) and block.anchor:
        return replace(block, number=counter.table(block.anchor))
    if isinstance(block, FindingList):
        for item in block.items:
            if item.anchor:
                counter.labels[item.anchor] = item.id
    return block


def _grouped(
    figure: FigureBlock | ImageBlock | FailureBlock, counter: _Counter
) -> FigureBlock | ImageBlock | FailureBlock:
    if isinstance(figure, FailureBlock):
        return figure
    return replace(figure, number=counter.figure(figure.anchor))
