"""The built-in renderers and theme, offered through the same hooks as anybody's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robreport import hookimpl
from robreport.document import Document
from robreport.report.records import RecordFiles
from robreport.report.render import RenderContext
from robreport.report.theme import Theme

DEFAULT_THEME = Theme(name="default")


def html_renderer(
    document: Document,
    theme: Theme,
    record: RecordFiles,
    context: RenderContext | None = None,
) -> bytes:
    """Return the document as one HTML file."""
    from robreport.report.html import render_html

    return render_html(document, theme, record, cache=context.cache if context else None)


def pdf_renderer(
    document: Document,
    theme: Theme,
    record: RecordFiles,
    context: RenderContext | None = None,
) -> bytes:
    """Return the document as PDF/A-3a."""
    from robreport.report.pdf import render_pdf

    return render_pdf(document, theme, record, cache=context.cache if context else None)


def _begin_pdf(
    document: Document,
    theme: Theme,
    record: RecordFiles,
    context: RenderContext | None = None,
) -> Callable[[], bytes]:
    from robreport.report.pdf import begin_pdf

    return begin_pdf(document, theme, record, cache=context.cache if context else None)


pdf_renderer.begin = _begin_pdf  # type: ignore[attr-defined]


@hookimpl
def register_renderers(register: Callable[[str, Any], None]) -> None:
    """Offer html and pdf."""
    register("html", html_renderer)
    register("pdf", pdf_renderer)


@hookimpl
def register_themes(register: Callable[[Any], None]) -> None:
    """Offer the default theme."""
    register(DEFAULT_THEME)
