"""The process that sets the type: its protocol, and what becomes of one that breaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest

from robreport.errors import RenderError
from robreport.report import pdf_process, pdf_typeset
from robreport.report.pdf_job import Attachment, read_job, read_parts, write_job, write_parts

JOB = replace(
    pdf_typeset._FIRST,
    drawings={"a:b": "<svg>\u03b5</svg>"},
    attachments=(
        Attachment(name="a.bin", description="A", relationship="Data", content=b"\n1 2\n\x00"),
        Attachment(name="b.bin", description="B", relationship="Data", content=b""),
    ),
)


def test_a_job_arrives_as_it_was_sent() -> None:
    pipe = BytesIO()
    write_job(JOB, pipe)
    write_job(pdf_typeset._FIRST, pipe)
    pipe.seek(0)
    assert read_job(pipe) == JOB
    assert read_job(pipe) == pdf_typeset._FIRST
    assert read_job(pipe) is None


@pytest.mark.parametrize("text", [b"x\n", b"-1\n", b"5\nabc", b"999999999999999\n", b"3 1\nabc"])
def test_damaged_input_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_parts(BytesIO(text))


def test_parts_may_hold_anything() -> None:
    pipe = BytesIO()
    write_parts(pipe, b"", b"\n", b"12 3\n")
    pipe.seek(0)
    assert read_parts(pipe) == [b"", b"\n", b"12 3\n"]
    assert read_parts(pipe) == []


def test_the_process_answers_job_after_job_with_the_same_bytes() -> None:
    first = pdf_process.begin(JOB)()
    assert first.startswith(b"%PDF-")
    (process,) = pdf_process._IDLE
    assert pdf_process.begin(JOB)() == first == pdf_typeset.typeset(JOB)
    assert [process] == pdf_process._IDLE


TEXTS = """<!DOCTYPE html><html lang="en"><head><title>Texts</title></head><body>
<p>Plain words in a narrow column, which are broken where there is room for no more of them.</p>
<p class="spread">Words that are spread so that each line but the last fills the whole column.</p>
<p class="cut">What does not fit into its line ends in three points, however much there is.</p>
<p class="first">The first letter is large, and so is the first line's ink another.</p>
<p class="apart">Letters and words apart, <u>underlined</u> and <s>struck through</s>.</p>
<p class="narrow">a b
c d
second one</p><p>line\u2028separator in words</p>
<pre>two	columns

  and an empty line</pre>
<p>A separator, a soft hy­phen, שלום in between, and thecompletelyunbreakableword.</p>
<p dir="rtl">שלום עולם, one two</p>
<table><thead><tr><th>Head, on each page</th></tr></thead><tbody>
<tr><td>1</td></tr><tr><td>2</td></tr><tr><td>3</td></tr><tr><td>4</td></tr></tbody></table>
<img src="a:b" alt="words" /></body></html>"""
BOXES = """<!DOCTYPE html><html lang="en"><head><title>Boxes</title></head><body>
<div class="half">half <div class="half">of half</div></div><div class="least">at least</div>
<div class="bordered"><p>in a border</p></div><div class="high"><div class="half">high</div></div>
<div class="flex"><p>one</p><p>two words</p><p class="half">three</p></div>
<div class="grid"><p>one</p><p>two</p><p>three</p><p class="high">four</p></div>
<table class="a"><tr><td>1</td><td class="half">2</td></tr><tr><td colspan="2">3</td></tr></table>
<table class="b"><tr><th>1</th><td style="padding:3px">2</td></tr></table>
<p class="float">left</p><p>beside what floats, in <span class="inline">a box</span></p>
<p class="calc">so wide</p><div class="columns"><p>in two</p><p>columns</p></div></body></html>"""
LOOK = """@page{size:6cm 5cm;margin:.4cm;@bottom-right{content:counter(page) " of " counter(pages)}}
p,pre{hyphens:manual;overflow-wrap:break-word} .spread{text-align:justify;hyphens:auto}
.cut{white-space:nowrap;overflow:hidden;text-overflow:ellipsis} .first::first-letter{font-size:2em}
.first::first-line{color:red} .apart{letter-spacing:2px;word-spacing:6px} tr{height:1cm}
.narrow{white-space:pre-wrap;width:39px;font-size:10px}"""

LAYOUT = """@page{size:9cm 12cm;margin:8% 1cm} *{box-sizing:border-box} p{margin:2px}
.half{width:50%;padding:2%;min-height:12px} .least{width:4px;min-width:2cm;max-width:40%}
.bordered{border:3px solid;padding:4px;width:4cm;box-sizing:content-box;height:1cm;max-height:20px}
.high{height:1.5cm;border:1px solid} .flex{display:flex;gap:3px} .flex p{flex:1}
.grid{display:grid;grid-template-columns:1fr 2fr} .a{border-collapse:collapse;width:80%}
.a td{border:2px solid;padding:1px} .b{border-spacing:4px} .b th{border:1px solid;width:30%}
.float{float:left;width:2cm;height:1cm;margin:auto} .inline{display:inline-block;width:1cm}
.calc{width:calc(50% - 3px)} .columns{columns:2}"""


@pytest.mark.parametrize("rules", [LAYOUT, LAYOUT.replace("*{box-sizing:border-box}", "")])
def test_boxes_of_every_kind_are_the_same_as_when_each_is_measured(rules: str) -> None:
    job = replace(JOB, page=BOXES, rules=rules)
    assert pdf_process.begin(job)() == pdf_typeset.typeset(job)


def test_texts_of_every_kind_are_the_same_as_when_nothing_is_kept() -> None:
    svg = (
        "<svg xmlns='http://www.w3.org/2000/svg' width='90' height='20'>"
        "<text x='2 9 16' y='12' font-size='9'>words</text></svg>"
    )
    job = replace(JOB, page=TEXTS, rules=LOOK, drawings={"a:b": svg})
    assert pdf_process.begin(job)() == pdf_typeset.typeset(job)


def test_lines_beyond_those_that_are_kept_are_set_again() -> None:
    job = replace(JOB, page=TEXTS, rules=LOOK)
    code = (
        "import sys; from robreport.report import pdf_job, pdf_lengths, pdf_lines, pdf_typeset;"
        "pdf_lines.keep_lines(int(sys.argv[1])); pdf_lengths.resolve_once();"
        "from weasyprint.layout import block; from weasyprint.text import line_break;"
        "assert line_break.Layout.kept is not None and block.resolve_percentages.once;"
        "made = pdf_typeset.typeset(pdf_job.read_job(sys.stdin.buffer));"
        "sys.stdout.buffer.write(made)"
    )
    sent = BytesIO()
    write_job(job, sent)
    made = {
        subprocess.run(
            [sys.executable, "-c", code, str(most)],
            input=sent.getvalue(), capture_output=True, check=True,
        ).stdout
        for most in (0, 3)
    }  # fmt: skip
    assert made == {pdf_typeset.typeset(job)}


def test_two_jobs_at_a_time_have_a_process_each() -> None:
    one, two = pdf_process.begin(JOB), pdf_process.begin(replace(JOB, page="<p>two</p>"))
    pages = two(), one()
    assert pages[0] != pages[1]
    assert pdf_process.begin(JOB)() == pages[1]


def test_a_process_that_was_ended_is_replaced() -> None:
    pdf_process.begin(JOB)()
    for idle in pdf_process._IDLE:
        idle._process.kill()
        idle._process.wait()
    assert pdf_process.begin(JOB)().startswith(b"%PDF-")


def test_a_process_that_ends_at_its_job_is_named_and_gone() -> None:
    finish = pdf_process.begin(JOB)
    working = pdf_process._ALIVE[-1]
    os.kill(working._process.pid, signal.SIGSTOP)
    working._process.kill()
    while working._process.stdout is not None and working._process.stdout.read(65536):
        pass  # what it had answered already
    with pytest.raises(RenderError, match=r"ended early \(exit status -9\)"):
        finish()
    assert working not in pdf_process._ALIVE
    assert working not in pdf_process._IDLE


def test_ctrl_c_is_for_the_one_who_asks() -> None:
    pdf_process.begin(JOB)()
    (process,) = pdf_process._IDLE
    os.kill(process._process.pid, signal.SIGINT)
    assert pdf_process.begin(JOB)().startswith(b"%PDF-")
    assert [process] == pdf_process._IDLE


def test_a_page_that_breaks_the_library_is_a_clear_error() -> None:
    broken = replace(JOB, fonts={"robreport-font:x": "/nowhere"}, finished=-1e300)
    with pytest.raises(RenderError, match="the PDF could not be set: "):
        pdf_process.begin(broken)()
    assert pdf_process.begin(JOB)().startswith(b"%PDF-")


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Any:
        raise OSError("cannot load library 'libpango'\nmore")

    monkeypatch.setattr(pdf_typeset, "import_weasyprint", missing)
    kind, text = pdf_typeset._answer(JOB)
    assert (kind, text) == (b"missing", b"cannot load library 'libpango'")
    with pytest.raises(RenderError, match=r"needs the Pango library.*'libpango'\); install it"):
        pdf_process._content(kind, text)


@pytest.fixture(autouse=True)
def _alone() -> Any:
    """Begin and end without idle processes."""
    while pdf_process._ALIVE:
        pdf_process._ALIVE[0].close()
    pdf_process._IDLE.clear()
    yield
    while pdf_process._ALIVE:
        pdf_process._ALIVE[0].close()
    pdf_process._IDLE.clear()
