"""The document between a record and its renderers: sections of plain blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from robreport.outcome import Status, Verdict
from robreport.result import Column


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number for a card or a cell, with its interval and unit; the renderer formats it.

    ``value`` is None when it was refused; then ``reason`` says why. ``censored`` is ">" or "<"
    when the true value lies beyond.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""
    censored: str = ""
    bound: str = "exact"
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a requirement asks: operator, number and unit; the renderer formats it."""

    operator: str
    value: float
    unit: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A reference to an anchor; without text, its own label is shown ("Figure 3")."""

    anchor: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A status with its icon; `words` replace the status' name, `text` follows the chip."""

    status: Status
    words: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Small muted text under or beside the rest of a table cell."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prose:
    """A paragraph; what stands between backticks is code, and links follow the text.

    ``lead`` is set large: a question's answer, a page's sentence.
    """

    text: str
    lead: bool = False
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading inside a section that stands in no table of contents."""

    text: str
    anchor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulletList:
    """Short texts, one under the other; backticks as in `Prose`."""

    items: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValues:
    """Pairs of a term and its text; backticks as in `Prose`."""

    pairs: tuple[tuple[str, str], ...]
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One model's answer to a section's question, with its status."""

    subject: str
    text: str
    status: Status
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerList:
    """The answers of several models, in the order of the audit."""

    items: tuple[Answer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One number of the summary: what, of which model, value, what is required, status."""

    title: str
    subtitle: str
    value: Quantity
    status: Status
    limit: Limit | None = None
    words: str = ""
    note: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarGrid:
    """Cards, four in a row."""

    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableBlock:
    """A table. With an anchor it is numbered and can be referred to.

    Cells are plain values, a list ``[value, low, high]``, `Quantity`, `Limit`, `Chip`, `Link`,
    `Note`, or a tuple of those, shown one after the other. ``rows_total`` is given when rows
    were left out.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    anchor: str = ""
    title: str = ""
    caption: str = ""
    number: int = 0
    rows_total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureBlock:
    """A chart with an anchor, a number, caption and alt text.

    ``svg`` is empty until `robreport.report.figures.fill_charts` has drawn it; ``width`` is
    that of the drawing in CSS pixels.
    """

    anchor: str
    spec: Mapping[str, Any]
    title: str
    caption: str
    alt: str
    number: int = 0
    subject: str = ""
    svg: str = ""
    width: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureGroup:
    """The same chart or pictures of several models; narrow ones stand side by side."""

    figures: tuple[FigureBlock | ImageBlock | FailureBlock, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBlock:
    """A grid of pictures (uint8), with an anchor, a number, labels, caption and alt text."""

    anchor: str
    title: str
    images: npt.NDArray[np.uint8]
    caption: str
    alt: str
    row_labels: tuple[str, ...] = ()
    column_labels: tuple[str, ...] = ()
    cell_labels: tuple[tuple[str, ...], ...] = ()
    number: int = 0
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingItem:
    """A finding as a row; `evidence` are anchors of this document."""

    id: str
    severity: str
    claim: str
    where: str
    evidence: tuple[str, ...]
    recommendation: str
    anchor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingList:
    """Findings, worst first. ``short`` is the summary's form."""

    items: tuple[FindingItem, ...]
    short: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureBlock:
    """A metric that failed or did not run: what, why, and what it left behind."""

    status: Status
    title: str
    reason: str
    trace: str = ""
    log: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callout:
    """A titled aside such as "How to read it": text, then items one under the other."""

    title: str
    text: str = ""
    items: tuple[str, ...] = ()
    tone: Literal["plain", "caution"] = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictBlock:
    """The verdict as the cover shows it."""

    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBlock:
    """Verbatim text, such as the spec."""

    text: str
    title: str = ""


Block = (
    Prose
    | Heading
    | BulletList
    | KeyValues
    | AnswerList
    | ScalarGrid
    | TableBlock
    | FigureBlock
    | FigureGroup
    | ImageBlock
    | FindingList
    | FailureBlock
    | Callout
    | VerdictBlock
    | CodeBlock
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A titled part with an anchor, blocks, then subsections.

    `order` places a plugin's section among the core's: summary 10, scope 20, method 30, results
    40, requirements 50, findings 55, limitations 60, provenance 80, appendix 90. ``number`` is
    given by `compose`.
    """

    id: str
    title: str
    blocks: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()
    question: str = ""
    order: int = 70
    number: str = ""
    chips: tuple[Chip, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole audit, ready to be rendered in any format.

    ``labels`` give each anchor the words that a reference shows ("Figure 3", "4.2").
    """

    title: str
    subtitle: str
    label: str
    cover: tuple[tuple[str, str], ...]
    verdict: Verdict
    sections: tuple[Section, ...]
    footer: str
    author: str = ""
    language: str = "en"
    finished: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
