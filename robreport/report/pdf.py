"""The document as PDF/A-3a: tagged, with the record attached, the same bytes every time."""

from __future__ import annotations

import gc
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from robreport.document import Document
from robreport.errors import RenderError
from robreport.outcome import Status
from robreport.report import fonts, icons, pdf_page, print_svg
from robreport.report.figures import drawn_figures, fill_charts
from robreport.report.page import chart_url, icon_url, render_page, style_sheet
from robreport.report.pdf_objects import make_once
from robreport.report.records import RecordFiles
from robreport.report.theme import Theme

_ROOT = re.compile(r":root\s*\{([^{}]*)\}")
_PROPERTY = re.compile(r"(--[\w-]+)\s*:\s*([^;{}]+);?")
_VAR = re.compile(r"var\(\s*(--[\w-]+)\s*\)")
_FONT_URL = "robreport-font:"
_EPOCH = datetime(1980, 1, 1, tzinfo=UTC)


def render_pdf(
    document: Document, theme: Theme, record: RecordFiles, *, cache: Path | None = None
) -> bytes:
    """Return the report as a PDF with audit.json, arrays.npz and audit.toml attached.

    ``cache`` is the folder of the charts' drawings, the user's own when None.

    Raises
    ------
    RenderError
        WeasyPrint's libraries are missing, or a template of the theme is wrong.
    """
    # drawn first: WeasyPrint takes a second to import
    document = fill_charts(document, theme, cache=cache)
    finished = _moment(record.finished or document.finished)
    page = render_page(
        document, theme, medium="print", more={"stamp": finished.isoformat(timespec="seconds")}
    )
    weasyprint = _weasyprint()
    with _source_date(finished), _without_collector(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        fetcher = _fetcher(weasyprint, theme, document)
        configuration = weasyprint.text.fonts.FontConfiguration()
        rules = flattened(style_sheet(theme, "print"))
        style = weasyprint.CSS(
            string=_font_faces(theme) + rules,
            font_config=configuration,
            url_fetcher=fetcher,
        )
        source = pdf_page.source(weasyprint, page, rules, fetcher)
        output: bytes = source.write_pdf(
            stylesheets=[style],
            font_config=configuration,
            pdf_variant="pdf/a-3a",
            attachments=_attachments(weasyprint, record, finished),
            finisher=make_once,
        )
    return output


def _weasyprint() -> Any:
    try:
        with warnings.catch_warnings():
            # it announces that a library will be needed by some later version
            warnings.simplefilter("ignore", DeprecationWarning)
            import weasyprint
            import weasyprint.html
            import weasyprint.text.fonts
    except OSError as error:
        raise RenderError(
            "the PDF needs the Pango library, which this machine does not have "
            f"({str(error).splitlines()[0]}); install it, for instance with "
            "'apt-get install libpango-1.0-0 libpangoft2-1.0-0', or ask for HTML only."
        ) from error
    return weasyprint


def _moment(text: str) -> datetime:
    """The record's own time; documents of a record without one are stamped 1980-01-01."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return _EPOCH
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(when.astimezone(UTC).replace(microsecond=0), _EPOCH)


@contextmanager
def _source_date(when: datetime) -> Iterator[None]:
    """Stamp subset fonts with the record's time instead of the clock's."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = str(int(when.timestamp()))
    try:
        yield
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the garbage collector from walking millions of boxes that are all still in use."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():
                # makes all of them old at once: else the next collection of young objects,
                # which follows immediately, would walk them
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def flattened(style: str) -> str:
    """Return a style sheet with the custom properties of ``:root`` put in where they are used.

    WeasyPrint would look each of them up for every element.
    """
    values: dict[str, str] = {}
    for block in _ROOT.findall(style):
        values.update({name: value.strip() for name, value in _PROPERTY.findall(block)})
    for _ in range(4):  # properties may be made of properties
        style = _VAR.sub(lambda m: values.get(m[1], m[0]), style)
    return _ROOT.sub(lambda m: "" if not _PROPERTY.sub("", m[1]).strip() else m[0], style)


def _attachments(weasyprint: Any, record: RecordFiles, when: datetime) -> list[Any]:
    files = (
        ("audit.json", record.audit_json, "The record of this audit", "Data"),
        ("arrays.npz", record.arrays_npz, "Per-example values of the record", "Data"),
        ("audit.toml", record.spec_toml, "The spec of this audit, verbatim", "Source"),
    )
    return [
        weasyprint.Attachment(
            file_obj=BytesIO(data),
            name=name,
            description=description,
            created=when,
            modified=when,
            relationship=relationship,
        )
        for name, data, description, relationship in files
    ]


def _font_faces(theme: Theme) -> str:
    return "\n".join(
        f'@font-face{{font-family:"{font.family}";font-weight:{font.weight};'
        f'src:url("{_FONT_URL}{quote(font.path.name)}") format("truetype")}}'
        for font in fonts.font_files(theme.font_folder, "ttf")
    )


def _fetcher(weasyprint: Any, theme: Theme, document: Document) -> Any:
    """A fetcher that knows this document's drawings, the theme's fonts and ``data:``, no more.

    Drawings have names instead of ``data:`` URIs: the parser of the page is slow on long ones.
    """
    files = {
        f"{_FONT_URL}{quote(font.path.name)}": ("font/ttf", font.path)
        for font in fonts.font_files(theme.font_folder, "ttf")
    }
    advances = print_svg.advances_of(theme.font_folder)
    drawings = {
        chart_url(figure): print_svg.plain(figure.svg, advances).encode("utf-8", "replace")
        for figure in drawn_figures(document)
    }
    drawings.update({icon_url(status): icons.drawing(status).encode() for status in Status})

    class Closed(weasyprint.urls.URLFetcher):  # type: ignore[misc]
        def fetch(self, url: str, headers: Any = None) -> Any:
            response = weasyprint.urls.URLFetcherResponse
            if url in files:
                kind, path = files[url]
                return response(url, path.read_bytes(), {"Content-Type": kind})
            if url in drawings:
                return response(url, drawings[url], {"Content-Type": "image/svg+xml"})
            if url.lower().startswith("data:"):
                return super().fetch(url, headers)
            raise ValueError("nothing outside the document is fetched")

    return Closed(allowed_protocols=("data",))
