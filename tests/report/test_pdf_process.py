"""The process that sets the type: its protocol, and what becomes of one that breaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from base64 import b64encode
from dataclasses import replace
from io import BytesIO
from typing import Any

import pikepdf
import pytest
from fontTools.ttLib import TTFont
from PIL import Image

from robreport.errors import RenderError
from robreport.report import fonts, pdf_painters, pdf_process, pdf_typeset
from robreport.report.builtin import DEFAULT_THEME
from robreport.report.pdf_job import Attachment, read_job, read_parts, write_job, write_parts

JOB = replace(
    pdf_typeset._FIRST,
    drawings={"drawn:b": "<svg>\u03b5</svg>"},
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
<img src="drawn:b" alt="words" /></body></html>"""
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
    job = replace(JOB, page=TEXTS, rules=LOOK, drawings={"drawn:b": svg})
    assert pdf_process.begin(job)() == pdf_typeset.typeset(job)


@pytest.mark.slow
def test_lines_that_several_texts_share_are_those_that_each_would_have() -> None:
    # without the words by which a line is changed while it is painted
    rules = LOOK.replace("text-align:justify;", "").replace("text-overflow:ellipsis", "")
    rows = "".join(
        f"<p class='k{n % 5}'>The same words, {n % 3}; more of them, long enough for two lines.</p>"
        f"<p class='k{n % 5}'>– {n % 4} –</p><p class='k{n % 7}'>extraordinarily</p>"
        for n in range(40)
    )
    kinds = (
        ".k1{font-weight:700} .k2{width:2cm;hyphens:auto} .k3{text-decoration:underline}"
        ".k4{font-size:13px;letter-spacing:1px} .k5{color:red;width:1cm} .k6{white-space:nowrap}"
    )
    job = replace(JOB, page=TEXTS.replace("</body>", f"{rows}</body>"), rules=rules + kinds)
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


PAINTED = """<!DOCTYPE html><html lang="en"><head><title>Pages</title></head><body>
<p>1 one <u>underlined</u></p><p>2 <a href="#last">to the last</a></p>
<p style="opacity:.5">3 pale as a whole</p><p><img src="drawn:b" alt="words" />4</p>
<p>5 missing: \U000e0041\u0c95</p><p><img src="drawn:dot" alt="a dot" /> 6</p>
<p style="background:linear-gradient(red, blue)">7</p>
<p style="background:url(drawn:b)">8</p><p style="font-weight:700">9 first in bold</p>
<p style="font-weight:700">10 bold again</p><p style="color:rgba(1, 2, 3, .4)">11 pale</p>
<p style="font-size:30px">12 large: fi ffi AV</p><p><img src="drawn:pale" alt="pale" />13</p>
<p style="border:3px double">14</p><table><tr><th>15</th><td>a cell</td></tr></table>
<p style="position:relative;top:4px">16</p><p style="overflow:hidden">17</p>
<p style="transform:rotate(9deg)">18</p><p>19 last but <b>one</b></p><h1 id="last">20</h1>
</body></html>"""
BY_MANY = """
import os, sys, threading
from robreport.report import pdf_job, pdf_painters, pdf_typeset
def no_page(*given):
    raise MemoryError
taken, begun = [], []
take_over, begin = pdf_painters._take_over, pdf_painters._Crew._begin
pdf_painters._take_over = lambda *given: taken.append(take_over(*given)) or taken[-1]
if sys.argv[2] == "broken":
    pdf_painters._painted = no_page
if sys.argv[2] == "no copies":
    def no_copy():
        raise OSError
    os.fork = no_copy
made = pdf_typeset.typeset(pdf_job.read_job(sys.stdin.buffer), int(sys.argv[1]))
try:
    os.waitpid(-1, os.WNOHANG)
    sys.exit("a copy is left")
except ChildProcessError:
    pass
pdf_job.write_parts(sys.stdout.buffer, str(sum(taken)).encode(), made)
"""


def _painted_by(count: int, how: str, job: Any) -> tuple[int, bytes]:
    sent = BytesIO()
    write_job(job, sent)
    done = subprocess.run(
        [sys.executable, "-c", BY_MANY, str(count), how],
        input=sent.getvalue(), capture_output=True, check=True,
    )  # fmt: skip
    taken, made = read_parts(BytesIO(done.stdout))
    return int(taken), made


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")
def test_pages_painted_by_several_are_those_that_one_paints() -> None:
    svg = "<svg xmlns='http://www.w3.org/2000/svg' width='20' height='20'>{}</svg>"
    dot = Image.new("RGB", (3, 2), (9, 8, 7))
    file = BytesIO()
    dot.save(file, "PNG")
    inside = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
    job = replace(
        JOB,
        page=PAINTED.replace("drawn:dot", inside),
        rules="@page{size:8cm 5cm;margin:1cm;@bottom-left{content:counter(page)}}"
        "p,table,h1{break-after:page}",
        drawings={
            "drawn:b": svg.format("<path d='M1 1h9v9z' fill='#123' fill-opacity='.3'/>"),
            "drawn:pale": svg.format("<g opacity='.5'><path d='M1 1h9v9z' stroke='red'/></g>"),
        },
    )
    alone = pdf_typeset.typeset(job)
    assert len(pikepdf.open(BytesIO(alone)).pages) == 20
    for count in (2, 3, 4):
        taken, made = _painted_by(count, "", job)
        assert made == alone
        # what needs an object of its own, or begins a font, is painted by the first
        assert 5 <= taken < 16
    assert _painted_by(3, "broken", job) == (0, alone)
    assert _painted_by(3, "no copies", job) == (0, alone)
    assert _painted_by(9, "", replace(JOB, page="<p>1"))[0] == 0


def test_a_process_with_other_threads_paints_alone() -> None:
    assert 1 <= pdf_painters.hands() <= pdf_painters.MOST
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        assert pdf_painters.hands() == 1
    finally:
        done.set()
        other.join()


def test_letters_are_as_wide_as_their_font_says_whatever_comes_first() -> None:
    (font,) = [
        one for one in fonts.font_files(DEFAULT_THEME.font_folder, "ttf") if one.weight == 400
    ]
    known = TTFont(font.path)
    small, large = "<p style='font-size:7.3px'>nm: 0.95</p>", "<p style='font-size:31px'>nm</p>"
    job = replace(
        JOB,
        faces="@font-face{font-family:Own;src:url(robreport-font:own)}",
        fonts={"robreport-font:own": str(font.path)},
        rules="body{font-family:Own}",
    )
    found = []
    for text in (small + large, large + small):
        page = f"<html lang='en'><head><title>a</title></head><body>{text}</body></html>"
        made = pikepdf.open(BytesIO(pdf_typeset.typeset(replace(job, page=page))))
        (widths,) = [one["/W"] for one in made.objects
                     if isinstance(one, pikepdf.Dictionary) and "/W" in one]  # fmt: skip
        found.append({
            int(first) + place: int(width)
            for first, run in zip(widths[::2], widths[1::2], strict=True)
            for place, width in enumerate(run)
        })  # fmt: skip
    names = known.getGlyphOrder()
    em, metrics = known["head"].unitsPerEm, known["hmtx"].metrics
    assert found[0] == found[1]
    assert len(found[0]) >= 6
    assert found[0] == {glyph: round(metrics[names[glyph]][0] * 1000 / em) for glyph in found[0]}


@pytest.mark.skipif(sys.platform != "linux", reason="libraries have other names elsewhere")
def test_no_other_program_is_asked_where_the_libraries_are() -> None:
    code = (
        "import subprocess; from robreport.report.pdf_typeset import import_weasyprint\n"
        "def program(*given, **named): raise SystemExit('asked for a program')\n"
        "subprocess.Popen = program; import_weasyprint()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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
