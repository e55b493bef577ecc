"""One hostile audit, rendered once for all tests that only look at it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from robreport.document import Document
from robreport.outcome import AuditRun
from robreport.report.builtin import DEFAULT_THEME
from robreport.report.compose import compose
from robreport.report.figures import fill_charts
from robreport.report.html import render_html
from robreport.report.pdf import render_pdf
from robreport.report.records import RecordFiles
from tests.report import sample

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "]]>&amp;\"'`{{ 7*7 }}",
    "a" * 90,
    "\x1b[31mred\x00",
)


@dataclass(frozen=True)
class Rendered:
    """A record, its document with charts, and both formats."""

    run: AuditRun
    record: RecordFiles
    document: Document
    html: str

    @cached_property
    def pdf(self) -> bytes:
        """Made when first asked for: it takes seconds, and most tests look at the page."""
        return render_pdf(self.document, DEFAULT_THEME, self.record)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of the tests' own."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def hostile(cache: Path) -> Rendered:
    """Two models whose classes and words try to leave their place."""
    run = sample.audit(
        ("cnn", "tree"),
        classes=HOSTILE,
        spec_text='title = "</pre><script>alert(3)</script>"\n',
    )
    record = sample.record(run, {"classes": list(HOSTILE)})
    document = fill_charts(compose(run), DEFAULT_THEME)
    return Rendered(
        run=run,
        record=record,
        document=document,
        html=render_html(document, DEFAULT_THEME, record, cache=cache).decode(),
    )
