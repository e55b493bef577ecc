"""A job to a PDF, by WeasyPrint; `python -m robreport.report.pdf_typeset` serves jobs.

It runs in a process of its own: its native libraries can take nothing else down with them, what
it is given stays apart from what measured, and it works while the HTML is being made.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from robreport.report import pdf_page, pdf_painters, print_svg
from robreport.report.lifeline import die_with_parent
from robreport.report.pdf_job import PdfJob, read_job, write_parts
from robreport.report.pdf_lengths import resolve_once
from robreport.report.pdf_letters import measure_once
from robreport.report.pdf_lines import copy_set_up, keep_lines, set_once, share
from robreport.report.pdf_objects import list_pages_once, make_once
from robreport.report.pdf_quick import answer_quickly


def typeset(job: PdfJob, painters: int = 1) -> bytes:
    """Return the PDF of a job, whose pages this many processes paint.

    Raises
    ------
    OSError
        WeasyPrint's libraries are missing.
    """
    weasyprint = import_weasyprint()
    measure_once()
    with _source_date(job.finished), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        fetcher = closed_fetcher(weasyprint, job)
        configuration = weasyprint.text.fonts.FontConfiguration()
        source, more = pdf_page.source(
            weasyprint, job.page, job.rules, fetcher, shipped=job.shipped
        )
        style = weasyprint.CSS(
            string=job.faces + job.rules + more, font_config=configuration, url_fetcher=fetcher
        )
        share(configuration, job.rules + more + job.page)
        options = {
            "stylesheets": [style],
            "pdf_variant": "pdf/a-3a",
            "attachments": _attachments(weasyprint, job),
        }
        document = source.render(font_config=configuration, **options)
        with pdf_painters.shared(document.pages, painters):
            output: bytes = document.write_pdf(finisher=make_once, **options)
    return output


def import_weasyprint() -> Any:
    """Return the library; OSError where Pango is missing."""
    try:
        with _known_by_their_names():
            return _import_weasyprint()
    except OSError:
        return _import_weasyprint()


def _import_weasyprint() -> Any:
    with warnings.catch_warnings():
        # it announces that a library will be needed by some later version
        warnings.simplefilter("ignore", DeprecationWarning)
        import weasyprint
        import weasyprint.html
        import weasyprint.text.fonts
    return weasyprint


@contextmanager
def _known_by_their_names() -> Iterator[None]:
    """Have native libraries looked for by the names that WeasyPrint gives, the linker's among them.

    For each name that the linker does not know, Python would ask other programs (``ldconfig``,
    a compiler): twenty times and for a quarter of a second or more in all.
    """
    import ctypes.util

    look = ctypes.util.find_library
    ctypes.util.find_library = lambda name: None
    try:
        yield
    finally:
        ctypes.util.find_library = look


@contextmanager
def _source_date(seconds: float) -> Iterator[None]:
    """Stamp subset fonts with the record's time instead of the clock's."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = str(int(seconds))
    try:
        yield
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before


def _attachments(weasyprint: Any, job: PdfJob) -> list[Any]:
    when = datetime.fromtimestamp(job.finished, UTC)
    return [
        weasyprint.Attachment(
            file_obj=BytesIO(one.content),
            name=one.name,
            description=one.description,
            created=when,
            modified=when,
            relationship=one.relationship,
        )
        for one in job.attachments
    ]


def _plain_charts(job: PdfJob) -> dict[str, str]:
    if not job.charts:
        return {}
    advances = print_svg.advances_of(Path(job.letters))
    return {url: print_svg.plain(svg, advances) for url, svg in job.charts.items()}


def closed_fetcher(weasyprint: Any, job: PdfJob) -> Any:
    """Return a fetcher that knows this job's drawings and fonts and ``data:``, no more.

    Drawings have names instead of ``data:`` URIs: the parser of the page is slow on long ones.
    """
    drawings = {**job.drawings, **_plain_charts(job)}

    class Closed(weasyprint.urls.URLFetcher):  # type: ignore[misc]
        def fetch(self, url: str, headers: Any = None) -> Any:
            response = weasyprint.urls.URLFetcherResponse
            if url in job.fonts:
                return response(
                    url, Path(job.fonts[url]).read_bytes(), {"Content-Type": "font/ttf"}
                )
            if url in drawings:
                drawing = drawings[url].encode("utf-8", "replace")
                return response(url, drawing, {"Content-Type": "image/svg+xml"})
            if url.lower().startswith("data:"):
                return super().fetch(url, headers)
            raise ValueError("nothing outside the document is fetched")

    return Closed(allowed_protocols=("data",))


_FIRST = PdfJob(
    page="<!DOCTYPE html><html lang='en'><head><title>first</title></head><body><h1>One</h1>"
    "<table><thead><tr><th>two</th></tr></thead><tbody><tr><td>3 <b>4</b></td></tr></tbody>"
    "</table></body></html>",
    rules="table{border-collapse:collapse;table-layout:fixed}td{border-bottom:1px solid}",
    faces="",
    fonts={},
    drawings={},
    charts={},
    letters="",
    attachments=(),
    finished=0.0,
)
"""A page that has the libraries and the fonts of the system read before the first job."""


def main() -> None:
    """Answer each job of standard input with ``pdf``, ``missing`` or ``fault`` and its bytes."""
    die_with_parent()
    # Ctrl-C is for the asking process, which ends this one or lets it finish
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # whatever a library prints must not mix with the answers
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # it would walk millions of boxes that are all still in use
    gc.disable()
    # while the job is being made; what is wrong is said in the answer to it
    with suppress(Exception):
        list_pages_once()
        keep_lines()
        set_once()
        copy_set_up()
        resolve_once()
        answer_quickly()
        typeset(_FIRST)
    with suppress(BrokenPipeError):
        while (job := read_job(sys.stdin.buffer)) is not None:
            write_parts(answers, *_answer(job))
            del job
            gc.collect()
    # nothing is left to do for the millions of boxes: not even to free them
    os._exit(0)


def _answer(job: PdfJob) -> tuple[bytes, bytes]:
    try:
        import_weasyprint()
    except OSError as error:
        lines = str(error).splitlines()
        return b"missing", (lines[0] if lines else type(error).__name__).encode()
    try:
        return b"pdf", typeset(job, pdf_painters.hands())
    except Exception as error:  # noqa: BLE001 - of anybody's theme; the asker says what it was
        return b"fault", f"{type(error).__name__}: {error}".encode("utf-8", "replace")


if __name__ == "__main__":
    main()
