"""A document as one HTML text, for the screen and for print: templates, filters, styles."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import numpy as np
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemBytecodeCache,
    FileSystemLoader,
    StrictUndefined,
)
from jinja2.bccache import Bucket
from jinja2.exceptions import TemplateError
from markupsafe import Markup, escape

import robreport
from robreport.document import (
    AnswerList,
    Callout,
    Chip,
    Document,
    FailureBlock,
    FigureBlock,
    FigureGroup,
    Limit,
    Link,
    Note,
    Prose,
    Quantity,
    Section,
    TableBlock,
)
from robreport.errors import RenderError
from robreport.outcome import Status
from robreport.report import columns, fonts, icons, images, numbers
from robreport.report.text import printable
from robreport.report.theme import Theme, default_folder
from robreport.result import Column

_FEW_ROWS = 5
_CAMEL = re.compile(r"(?<!^)(?=[A-Z])")
_CODE = re.compile(r"`([^`]+)`")
_KINDS = {Quantity: "quantity", Limit: "limit", Chip: "chip", Link: "link", Note: "note"}
_GROUP_WIDTHS = ((3, 205.0), (2, 316.0))


class _Compiled(FileSystemBytecodeCache):
    """Templates compiled once, kept where and as Python keeps what it compiles of this package."""

    def __init__(self) -> None:
        folder = default_folder().parent / "__pycache__"
        super().__init__(str(folder), pattern=f"%s.jinja-{version('jinja2')}")
        self._known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if known := self._known.get(f"{bucket.key}{bucket.checksum}"):
            bucket.bytecode_from_string(known)
        else:
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[f"{bucket.key}{bucket.checksum}"] = bucket.bytecode_to_string()
        if not sys.dont_write_bytecode:
            with suppress(OSError):
                super().dump_bytecode(bucket)


_COMPILED = _Compiled()


def render_page(
    document: Document, theme: Theme, *, medium: str, more: Mapping[str, Any] | None = None
) -> str:
    """Return the whole page; `medium` is ``screen`` or ``print``.

    Raises
    ------
    RenderError
        A template of the theme is wrong.
    """
    environment = _environment(theme)
    environment.globals.update(
        medium=medium,
        labels=document.labels,
        icon_shape=lambda status: Markup(icons.shape(status)),
        icon_uri=icon_url,
        chart=lambda block: _chart(block, medium),
        pictures=images.grid,
        columns_of=_columns_of,
        widths=lambda block: columns.widths(block, document.labels),
        block_template=_block_template,
        kind_of=_kind_of,
        is_brief=_is_brief,
    )
    style = style_sheet(theme, medium).replace("</", "<\\/") if medium == "screen" else ""
    try:
        page = environment.get_template("report.html").render(
            document=document,
            theme=theme,
            label=theme.label or document.label,
            version=robreport.__version__,
            style=Markup(style),
            **(more or {}),
        )
    except TemplateError as error:
        raise RenderError(f"theme {theme.name!r}: a template is wrong: {error}") from error
    return printable(page)


def _environment(theme: Theme) -> Environment:
    default = FileSystemLoader(default_folder())
    loader: BaseLoader = default
    if theme.template_loader is not None:
        loader = ChoiceLoader([theme.template_loader, default])
    environment = Environment(
        loader=loader,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        bytecode_cache=_COMPILED,
    )
    environment.filters.update(
        code=code,
        stop=_stop,
        numeric=_numeric,
        integer=numbers.integer,
        quantity=numbers.quantity,
        quantity_interval=numbers.quantity_interval,
        limit=numbers.limit,
        plain_cell=plain_cell,
    )
    return environment


def style_sheet(theme: Theme, medium: str) -> str:
    """Return the style sheets in the order of their weight: the default's, then the theme's."""
    folder = default_folder() / "css"
    family = fonts.family(theme.font_folder).replace('"', "")
    parts = [(folder / name).read_text("utf-8") for name in ("document.css", f"{medium}.css")]
    faces = fonts.font_faces(theme.font_folder, "woff2") if medium == "screen" else ""
    root = f':root{{--family:"{family}"}}'
    return "\n".join([faces, root, *parts, theme.css])


def code(text: object) -> Markup:
    """Return text with what stands between backticks as ``<code>``; all of it escaped."""
    parts = _CODE.split(str(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part)
        for i, part in enumerate(parts)
    )


def _stop(text: str) -> str:
    return text if text.endswith((".", "?", "!", ":")) else f"{text}."


def _numeric(column: Column) -> bool:
    return column.kind != "text"


def _kind_of(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "several"
    return _KINDS.get(type(value), "plain")


def plain_cell(value: Any, column: Column, bare: bool = False) -> Markup:
    """Return a plain cell as its column wants it shown; `bare` is without elements of its own."""
    as_share = column.kind in ("share", "share_interval")
    if isinstance(value, list):
        value = [None if part is None else float(part) for part in value]
        if len(value) == 3 and value[0] is not None:
            shown = numbers.share(value[0]) if as_share else numbers.number(value[0])
            if value[1] is None or value[2] is None:
                return Markup('<span class="value">{}</span>').format(shown)
            between = numbers.interval(value[1], value[2], "share" if as_share else "")
            if bare:
                return escape(f"{shown} ({between})")
            return Markup('<span class="value">{}</span> <span class="between">{}</span>').format(
                shown, between
            )
        return Markup('<span class="nothing">–</span>')
    if isinstance(value, bool | np.bool_):
        return Markup("yes" if value else "no")
    if isinstance(value, int | float | np.integer | np.floating):
        if as_share:
            return escape(numbers.share(float(value)))
        if column.kind == "integer":
            return escape(numbers.integer(float(value)))
        return escape(numbers.number(value))
    return escape(str(value))


def _block_template(block: object) -> str:
    return f"blocks/{_CAMEL.sub('_', type(block).__name__).lower()}.html"


def _is_brief(section: Section) -> bool:
    """Whether a section is a few lines only, and needs no page of its own."""
    plain = (Prose, FailureBlock, Callout, AnswerList)
    return not section.sections and all(
        isinstance(block, plain)
        or (isinstance(block, TableBlock) and not block.anchor and len(block.rows) <= _FEW_ROWS)
        for block in section.blocks
    )


def spec_id(figure: FigureBlock) -> str:
    """Return the id of the element that carries a figure's specification."""
    return f"{figure.anchor}_spec"


def chart_url(figure: FigureBlock) -> str:
    """Return the name by which the printed page asks for a drawing."""
    return f"robreport-drawing:{figure.anchor}"


def icon_url(status: Status) -> str:
    """Return the name by which the printed page asks for a status icon."""
    return f"robreport-icon:{status.value}"


def _chart(figure: FigureBlock, medium: str) -> Markup:
    """The drawing: inline on screen, an image with its text alternative in print."""
    if medium == "print":
        return Markup('<img class="chart" alt="{}" style="width:{}px" src="{}"/>').format(
            figure.alt, f"{figure.width:g}", chart_url(figure)
        )
    return Markup(
        '<div class="chart" role="img" aria-label="{}" data-spec="{}" style="--width:{}px">{}</div>'
    ).format(figure.alt, spec_id(figure), f"{figure.width:g}", Markup(figure.svg))


def _columns_of(group: FigureGroup) -> int:
    """How many of a group's charts stand side by side: as many as need not shrink."""
    widths = [
        f.width if isinstance(f, FigureBlock) else images.grid_width(f)
        for f in group.figures
        if not isinstance(f, FailureBlock)
    ]
    for side_by_side, widest in _GROUP_WIDTHS:
        if len(widths) >= side_by_side and max(widths) <= widest:
            return side_by_side
    return 1
