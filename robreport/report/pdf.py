"""The document as PDF/A-3a: tagged, with the record attached, the same bytes every time."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from robreport.document import Document
from robreport.outcome import Status
from robreport.report import fonts, icons, pdf_process
from robreport.report.figures import drawn_figures, fill_charts
from robreport.report.page import chart_url, icon_url, render_page, style_sheet
from robreport.report.pdf_job import Attachment, PdfJob
from robreport.report.records import RecordFiles
from robreport.report.theme import Theme

_ROOT = re.compile(r":root\s*\{([^{}]*)\}")
_PROPERTY = re.compile(r"(--[\w-]+)\s*:\s*([^;{}]+);?")
_VAR = re.compile(r"var\(\s*(--[\w-]+)\s*\)")
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
    return begin_pdf(document, theme, record, cache=cache)()


def begin_pdf(
    document: Document, theme: Theme, record: RecordFiles, *, cache: Path | None = None
) -> Callable[[], bytes]:
    """Have the PDF made by another process; call what is returned to wait for it."""
    document = fill_charts(document, theme, cache=cache)
    return pdf_process.begin(job_of(document, theme, record))


def job_of(document: Document, theme: Theme, record: RecordFiles) -> PdfJob:
    """Return what it takes to set the document, its charts drawn.

    Raises
    ------
    RenderError
        A template of the theme is wrong.
    """
    finished = _moment(record.finished or document.finished)
    page = render_page(
        document, theme, medium="print", more={"stamp": finished.isoformat(timespec="seconds")}
    )
    files = fonts.font_files(theme.font_folder, "ttf")
    return PdfJob(
        page=page,
        rules=flattened(style_sheet(theme, "print")),
        faces="\n".join(
            f'@font-face{{font-family:"{font.family}";font-weight:{font.weight};'
            f'src:url("{_font_url(font.path)}") format("truetype")}}'
            for font in files
        ),
        fonts={_font_url(font.path): str(font.path) for font in files},
        drawings={icon_url(status): icons.drawing(status) for status in Status},
        # made plain where the library that reads fonts is loaded anyway
        charts={chart_url(figure): figure.svg for figure in drawn_figures(document)},
        letters=str(theme.font_folder),
        attachments=tuple(
            Attachment(name=name, description=words, relationship=relation, content=content)
            for name, content, words, relation in (
                ("audit.json", record.audit_json, "The record of this audit", "Data"),
                ("arrays.npz", record.arrays_npz, "Per-example values of the record", "Data"),
                ("audit.toml", record.spec_toml, "The spec of this audit, verbatim", "Source"),
            )
        ),
        finished=finished.timestamp(),
        # a theme may change values for the shipped rules to use
        shipped=theme.template_loader is None and not _ROOT.sub("", theme.css).strip(),
    )


def _font_url(path: Path) -> str:
    return f"robreport-font:{quote(path.name)}"


def _moment(text: str) -> datetime:
    """The record's own time; documents of a record without one are stamped 1980-01-01."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return _EPOCH
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(when.astimezone(UTC).replace(microsecond=0), _EPOCH)


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
