"""The PDF report: an archive file with its record inside, the same bytes every time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pikepdf
import pytest

from robreport.report import pdf, pdf_typeset
from robreport.report.builtin import DEFAULT_THEME
from robreport.report.compose import compose
from robreport.report.pdf import flattened
from tests.report import sample
from tests.report.conftest import Rendered

TWICE = """
import hashlib, sys, time
from pathlib import Path
from tests.report import sample
from robreport.report.builtin import html_renderer, pdf_renderer, DEFAULT_THEME
from robreport.report.compose import compose
from robreport.report.figures import fill_charts
from robreport.report.render import RenderContext
run = sample.audit(("cnn",))
record = sample.record(run)
document = fill_charts(compose(run), DEFAULT_THEME)
context = RenderContext(cache=Path(sys.argv[1]))
for renderer in (html_renderer, pdf_renderer):
    made = renderer(document, DEFAULT_THEME, record, context)
    Path(sys.argv[2]).write_bytes(made)
    print(len(made), hashlib.sha256(made).hexdigest())
"""


@pytest.fixture(scope="module")
def document(hostile: Rendered) -> pikepdf.Pdf:
    return pikepdf.open(BytesIO(hostile.pdf))


def test_it_is_a_tagged_pdf_a_3a(document: pikepdf.Pdf) -> None:
    with document.open_metadata() as metadata:
        assert metadata["pdfaid:part"] == "3"
        assert metadata["pdfaid:conformance"] == "A"
        assert metadata["dc:title"] == "MNIST digits, release 3, Robustness and privacy audit"
    root = document.Root
    assert root.Lang == "en"
    assert bool(root.MarkInfo.Marked)
    assert "/StructTreeRoot" in root
    assert root.OutputIntents[0].S == "/GTS_PDFA1"
    assert str(document.docinfo["/Author"]) == "Model Risk"


def test_the_record_is_attached(document: pikepdf.Pdf, hostile: Rendered) -> None:
    record = hostile.record
    wanted = {
        "audit.json": record.audit_json,
        "arrays.npz": record.arrays_npz,
        "audit.toml": record.spec_toml,
    }
    assert {n: f.get_file().read_bytes() for n, f in document.attachments.items()} == wanted
    for name in wanted:
        stamps = document.attachments[name].get_file().obj.Params
        assert str(stamps.CreationDate).startswith("D:20261120184210")
        assert str(stamps.ModDate).startswith("D:20261120184210")
    assert str(document.docinfo["/CreationDate"]).startswith("D:20261120184210")


def test_parts_are_bookmarks(document: pikepdf.Pdf) -> None:
    with document.open_outline() as outline:
        names = [" ".join(item.title.split()) for item in outline.root]
        results = outline.root[names.index("4 Results")]
        inner = [" ".join(item.title.split()) for item in results.children]
    assert names[:4] == [
        "MNIST digits, release 3", "Contents", "1 Summary", "2 Scope and threat model",
    ]  # fmt: skip
    assert inner == [
        "4.1 Performance pass",
        "4.2 Robust accuracy under attack fail",
        "4.3 Membership inference not-run",
        "4.4 Leakage of single records error",
    ]


def test_charts_have_a_text_alternative(document: pikepdf.Pdf) -> None:
    alts = {
        str(item.Alt)
        for item in document.objects
        if isinstance(item, pikepdf.Dictionary) and "/Alt" in item
    }
    assert any("Accuracy falls from 99 %" in text for text in alts)
    assert any("Heat map of 5 classes" in text for text in alts)
    assert any("clean, 0 → 1" in text for text in alts)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} (poppler-utils) is not installed")
    return found


@dataclass(frozen=True)
class Twice:
    """What two processes printed of what they made, and the PDF of the second."""

    printed: tuple[str, str]
    path: Path


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory, root: Path, cache: Path) -> Twice:
    folder = tmp_path_factory.mktemp("twice")
    path = os.pathsep.join([str(root), *sys.path])
    first, second = (
        subprocess.run(
            [sys.executable, "-c", TWICE, str(cache), str(folder / "report.pdf")],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed, "TZ": zone},
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    )
    return Twice((first, second), folder / "report.pdf")


@pytest.mark.slow
def test_it_is_the_same_in_two_processes_seconds_apart(twice: Twice) -> None:
    assert twice.printed[0] == twice.printed[1]
    assert twice.printed[0].count("\n") == 2


@pytest.mark.slow
def test_only_the_shipped_family_is_used_and_embedded(twice: Twice) -> None:
    tool = _tool("pdffonts")
    table = subprocess.run([tool, twice.path], capture_output=True, text=True, check=True).stdout
    rows = table.splitlines()[2:]
    assert len(rows) >= 3
    for row in rows:
        assert re.match(r"[A-Z]{6}\+Inter\b", row), row
        assert re.search(r"Identity-H +yes yes yes", row), row


def test_every_page_but_the_first_says_where_it_is(tmp_path: Path, hostile: Rendered) -> None:
    tool = _tool("pdftotext")
    path = tmp_path / "report.pdf"
    path.write_bytes(hostile.pdf)
    text = subprocess.run([tool, "-layout", path, "-"], capture_output=True, text=True, check=True)
    pages = text.stdout.split("\f")[:-1]
    assert "page" not in pages[0]
    for i, page in enumerate(pages[1:], start=2):
        assert f"page {i} of {len(pages)}" in page
        assert "MNIST digits, release 3 · 7q2mkd81" in page
    contents = re.findall(r"^\s*(\d) +(\w.*?) {3,}(\d+)$", pages[1], flags=re.M)
    assert [title for _, title, _ in contents][:4] == [
        "Summary", "Scope and threat model", "Method", "Results",
    ]  # fmt: skip
    for number, title, at in contents:
        assert re.search(rf"^\s*{number} +{title}$", pages[int(at) - 1], flags=re.M)


def test_nothing_outside_the_document_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.css"
    secret.write_text("body { display: none }")
    asked: list[str] = []
    original = pdf_typeset.closed_fetcher

    def watching(*given: Any) -> Any:
        fetcher = original(*given)
        inner = fetcher.fetch

        def fetch(url: str, headers: object = None) -> object:
            asked.append(url)
            return inner(url, headers)

        fetcher.fetch = fetch
        return fetcher

    monkeypatch.setattr(pdf_typeset, "closed_fetcher", watching)
    css = f'@import url("{secret.as_uri()}"); .lead {{ background: url("http://127.0.0.1:9/x") }}'
    run = sample.audit(("cnn",), outcomes=[], requirements=[])
    theme = replace(DEFAULT_THEME, css=css)
    job = pdf.job_of(compose(run), theme, sample.record(run))
    assert pikepdf.open(BytesIO(pdf_typeset.typeset(job))).pages
    fetcher = original(pdf_typeset.import_weasyprint(), job)
    for url in (secret.as_uri(), "http://127.0.0.1:9/x", "robreport-font:../OFL.txt"):
        with pytest.raises(ValueError, match="nothing outside"):
            fetcher.fetch(url)
    assert [u for u in asked if u.startswith("robreport-font:")]


def test_custom_properties_are_put_in_where_they_are_used() -> None:
    style = ":root{--a:#111;--b:var(--a)} p{color:var(--b);margin:var( --none )} :root{--a:#222}"
    assert flattened(style).split() == ["p{color:#222;margin:var(", "--none", ")}"]
    kept = ":root{--a:1px;color:red}p{top:var(--a)}"
    assert flattened(kept) == ":root{--a:1px;color:red}p{top:1px}"


def test_a_record_without_a_time_has_a_time_all_the_same() -> None:
    assert pdf._moment("").isoformat() == "1980-01-01T00:00:00+00:00"
    assert pdf._moment("0001-01-01T00:00:00").isoformat() == "1980-01-01T00:00:00+00:00"
    assert pdf._moment("2026-11-20T20:42:10.5+02:00").isoformat() == "2026-11-20T18:42:10+00:00"


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    with pdf_typeset._source_date(pdf._moment("2026-11-20T18:42:10+00:00").timestamp()):
        assert os.environ["SOURCE_DATE_EPOCH"] == "1795200130"
    assert os.environ["SOURCE_DATE_EPOCH"] == "7"
