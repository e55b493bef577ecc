"""What is prepared for print looks as before: letters in their places, the same pages and bytes."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from io import BytesIO
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pydyf  # type: ignore[import-untyped]
import pytest
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from jinja2 import DictLoader

from robreport.report import pdf_page, pdf_typeset, print_svg
from robreport.report.builtin import DEFAULT_THEME
from robreport.report.compose import compose
from robreport.report.pdf import job_of
from robreport.report.pdf_objects import make_once
from robreport.report.print_svg import plain
from robreport.report.shared_styles import share_styles
from robreport.report.theme import Theme
from tests.report import sample


def half(text: str, weight: int) -> list[float] | None:
    """Each letter is half an em wide; there is no z."""
    return None if "z" in text else [0.5] * len(text)


def printed(inside: str) -> str:
    """What becomes of an SVG's inside."""
    made = plain(f'<svg xmlns="http://www.w3.org/2000/svg" width="9">{inside}</svg>', half)
    assert made.startswith('<svg width="9" xmlns="http://www.w3.org/2000/svg">')
    return made[made.index(">") + 1 : made.rindex("<")]


def test_neighbouring_texts_of_one_look_become_one_with_the_letters_where_they_were() -> None:
    look = 'font-size="10px" fill="#111" font-family="Inter"'
    made = printed(
        f'<text text-anchor="middle" transform="translate(20,3.5)" {look}>ab</text>'
        f'<text text-anchor="end" transform="translate(-9, 7)" {look} opacity="1">c d</text>'
        f'<text transform="translate(1,2)" {look}>e</text>'
        f'<text transform="translate(1,2)" {look} font-weight="500">f</text>'
    )
    first, second = ET.fromstring(f"<g>{made}</g>")
    assert first.text == "abc de"
    # ab: 20 - 10 / 2; c d: -9 - 15; e: 1
    assert first.get("x") == "15 20 -24 -19 -14 1"
    assert first.get("y") == "3.5 3.5 7 7 7 2"
    assert not {"text-anchor", "transform", "opacity"} & set(first.attrib)
    assert (second.text, second.get("font-weight")) == ("f", "500")


def test_a_turned_text_is_aligned_where_it_stands() -> None:
    turn = "translate(1,2) rotate(-90)"
    made = printed(f'<text text-anchor="middle" transform="{turn}" font-size="10px">abcd</text>')
    text = ET.fromstring(made)
    assert (text.get("x"), text.get("y"), text.get("transform")) == ("-10", None, turn)
    assert text.get("text-anchor") is None


@pytest.mark.parametrize(
    "text",
    [
        '<text text-anchor="middle" font-size="10px">xyz</text>',
        '<text text-anchor="middle" font-size="2em">ab</text>',
        '<text text-anchor="middle" font-size="10px" dx="3">ab</text>',
        '<text text-anchor="middle" font-size="10px" x="3">ab</text>',
        '<text text-anchor="middle" font-size="10px" font-weight="bolder">ab</text>',
        '<text text-anchor="middle" font-size="10px">a  b</text>',
        '<text text-anchor="middle" font-size="10px">a\u0301</text>',
        '<text text-anchor="middle" font-size="10px">\u05d0\u05d1</text>',
        '<text text-anchor="middle" font-size="10px"><tspan>ab</tspan></text>',
        '<text text-anchor="other" font-size="10px">ab</text>',
    ],
)
def test_a_text_of_another_kind_stays(text: str) -> None:
    assert printed(text) == text


@pytest.mark.parametrize(
    "text",
    [
        '<text text-anchor="middle" font-size="10px" />',
        '<text font-size="10px" opacity="0">ab</text>',
    ],
)
def test_a_text_that_nobody_sees_goes(text: str) -> None:
    assert printed(f'{text}<path d="M0,0h1" />') == '<path d="M0,0h1" />'


def test_neighbouring_areas_of_one_look_become_one_to_a_hundredth_of_a_pixel() -> None:
    one, two = '<path d="M0.12345,0h1v1Z" fill="red" />', '<path d="M2,-3.999h1v1Z" fill="red" />'
    assert printed(one + two) == '<path d="M0.12,0h1v1ZM2,-4h1v1Z" fill="red" />'
    for other in (
        '<path d="M2,0h1v1Z" fill="blue" />',
        '<path d="M2,0h1v1Z" fill="red" stroke="blue" />',
        '<path d="M2,0h1v1Z" fill="red" opacity="0.5" />',
        '<path d="m2,0h1v1Z" fill="red" />',
    ):
        assert printed(one + other).count("<path") == 2


def test_what_nobody_sees_goes_and_what_is_referred_to_stays() -> None:
    made = printed(
        '<g fill="none"><g transform="translate(0,0)"><path d="M0,0h1v1Z" />'
        '<path d="M1" stroke="red" opacity="1" /><rect id="a" /><path d="M2" fill="red" /></g></g>'
        '<g transform="translate(1,0)"><path d="M3" fill="none" /></g><path d="M4" />'
    )
    assert made == (
        '<g fill="none"><path d="M1" stroke="red" /><rect id="a" /><path d="M2" fill="red" /></g>'
        '<path d="M4" />'
    )


@pytest.mark.parametrize(
    ("shape", "made"),
    [
        ('<path d="M1" opacity="0.5" />', '<path d="M1" fill-opacity="0.5" />'),
        ('<g stroke="red" fill="none"><path d="M1" opacity="0.5" /></g>',
         '<g stroke="red" fill="none"><path d="M1" stroke-opacity="0.5" /></g>'),
        ('<path d="M1" fill="rgb(1, 2, 3)" stroke="none" opacity=".5" />',
         '<path d="M1" fill="rgb(1, 2, 3)" stroke="none" fill-opacity=".5" />'),
    ],
)  # fmt: skip
def test_the_opacity_of_a_shape_of_one_paint_is_its_paints(shape: str, made: str) -> None:
    assert printed(shape) == made


@pytest.mark.parametrize(
    "shape",
    [
        '<path d="M1" stroke="red" opacity="0.5" />',
        '<g stroke="red"><path d="M1" opacity="0.5" /></g>',
        '<g fill-opacity="0.5"><path d="M1" opacity="0.5" /></g>',
        '<path d="M1" fill-opacity="0.5" opacity="0.5" />',
        '<path d="M1" fill="rgba(1, 2, 3, 0.5)" opacity="0.5" />',
        '<path d="M1" fill="#12345678" opacity="0.5" />',
        '<path d="M1" fill="url(#a)" opacity="0.5" />',
        '<g opacity="0.5"><path d="M1" /></g>',
    ],
)
def test_what_overlaps_within_itself_keeps_its_opacity(shape: str) -> None:
    assert printed(shape) == shape


def test_a_ramp_of_colours_becomes_bands_from_its_first_colour_to_its_last() -> None:
    ramp = (
        '<svg xmlns="http://www.w3.org/2000/svg"><defs><linearGradient id="r" x1="0" x2="1" y1="0" '
        'y2="0"><stop offset="0" stop-color="rgb(250, 0, 0)"/><stop offset="0.5" '
        'stop-color="rgb(0, 100, 0)"/><stop offset="1" stop-color="rgb(0, 0, 200)"/>'
        '</linearGradient></defs><g><path d="M0,0h200v16h-200Z" fill="url(#r)" stroke="#ddd" '
        'stroke-width="0"/></g></svg>'
    )
    bands = re.findall(r'd="M([\d.]+),0H200[.0]*V16H[\d.]+Z" fill="#(\w+)"', plain(ramp, half))
    places = [float(place) for place, _ in bands]
    colours = [[int(c[i : i + 2], 16) for i in (0, 2, 4)] for _, c in bands]
    assert places == pytest.approx(np.arange(48) * 200 / 48, abs=0.01)
    centres = (np.arange(48) + 0.5) / 48
    for part, values in enumerate(([250, 0, 0], [0, 100, 0], [0, 0, 200])):
        wanted = np.interp(centres, [0, 0.5, 1], values)
        assert [c[part] for c in colours] == pytest.approx(wanted, abs=0.51)
    upright = ramp.replace('x2="1"', 'x2="0"').replace('y2="0"', 'y2="1"')
    assert "url(#r)" in plain(upright, half)


def test_letters_are_as_wide_as_the_font_says() -> None:
    advances = print_svg.advances_of(DEFAULT_THEME.font_folder)
    for weight, file in ((400, "Regular"), (500, "Medium"), (700, "Bold"), (900, "Bold")):
        font = TTFont(DEFAULT_THEME.font_folder / f"Inter-{file}.ttf")
        names = [font.getBestCmap()[ord(letter)] for letter in "1iW"]
        wanted = [font["hmtx"][name][0] / font["head"].unitsPerEm for name in names]
        assert advances("1iW", weight) == pytest.approx(wanted)
    assert advances("1\ue123", 400) is None


def test_objects_are_made_once_and_say_the_same() -> None:
    def document() -> Any:
        file = pydyf.PDF()
        stream = pydyf.Stream([b"q", 1.5, "Q", b"x" * 5000], {"Type": "/XObject"}, compress=True)
        for made in (stream, pydyf.Stream([b"raw\nendstream"]), pydyf.Dictionary({"A": 1.25})):
            file.add_object(made)
        file.add_page(pydyf.Dictionary({"Type": "/Page", "Parent": file.pages.reference}))
        return file

    plain_file, made_file = document(), document()
    make_once(None, made_file)
    assert [o.reference for o in made_file.objects] == [o.reference for o in plain_file.objects]
    for ours, theirs in zip(made_file.objects, plain_file.objects, strict=True):
        assert ours.compressible == theirs.compressible
        assert ours.free == theirs.free
        if theirs.free != "f" and not getattr(theirs, "compress", False):
            assert ours.data == theirs.data
    (packed,) = (
        one.data for one in made_file.objects if one.free != "f" and b"/XObject" in one.data
    )
    length = int(re.search(rb"/Length (\d+)", packed)[1])  # type: ignore[index]
    content = packed.partition(b"stream\n")[2][:length]
    assert zlib.decompress(content) == b"q\n1.5\nQ\n" + b"x" * 5000
    assert packed.startswith(b"<</Type /XObject/Filter /FlateDecode/Length ")
    assert packed.endswith(content + b"\nendstream")
    output = BytesIO()
    made_file.write(output, b"1.7", True, True)
    assert output.getvalue().endswith(b"%%EOF\n")


def test_a_page_that_is_no_xml_is_read_as_html() -> None:
    weasyprint = pdf_typeset.import_weasyprint()
    fetcher = weasyprint.urls.URLFetcher()
    for text in (
        "<!DOCTYPE html>\n<html lang='en'><body><p>a</p></body></html>",
        "<!DOCTYPE html><html lang=en><body><p>a<br></body>",
        "<html><body><p>&nbsp;",
    ):
        page, rules = pdf_page.source(weasyprint, text, "", fetcher, shipped=True)
        assert not rules
        assert page.etree_element.tag == "html"
        assert page.etree_element.find("body/p") is not None
        assert page.wrapper_element.etree_element is page.etree_element


def test_only_pages_without_notes_do_without_their_styles() -> None:
    weasyprint = pdf_typeset.import_weasyprint()
    html = "<!DOCTYPE html><html><body><ul><li>a<i>one</i></li></ul></body></html>"
    boxes = []
    for style in ("", "i { float: footnote }"):
        page, _ = pdf_page.source(weasyprint, html, style, weasyprint.urls.URLFetcher())
        sheet = weasyprint.CSS(string=f"li {{ list-style-position: inside }} {style}")
        done = page.render(stylesheets=[sheet]).pages[0]._page_box
        boxes.append(" ".join(box.text for box in done.descendants() if hasattr(box, "text")))
    assert "\u2022" in boxes[0]
    assert "\u2022" in boxes[1]
    assert "1." in boxes[1]
    assert "1." not in boxes[0]


def test_only_margins_that_a_style_sheet_fills_have_boxes() -> None:
    weasyprint = pdf_typeset.import_weasyprint()
    html = "<!DOCTYPE html><html><body><p>a</p></body></html>"
    style = "@page { @top-right { content: 'right' } @bottom-center { content: 'middle' } }"
    page, _ = pdf_page.source(weasyprint, html, style, weasyprint.urls.URLFetcher(), shipped=True)
    plain = weasyprint.HTML(string=html)
    sheet = weasyprint.CSS(string=style)
    places = [
        [(b.at_keyword, b.position_x, b.position_y, b.width, b.height, b.style["text_align_all"])
         for b in done.render(stylesheets=[sheet]).pages[0]._page_box.children
         if isinstance(b, weasyprint.formatting_structure.boxes.MarginBox)]
        for done in (page, plain)
    ]  # fmt: skip
    assert {name for name, *_ in places[0]} == {"@top-right", "@bottom-center"}
    assert places[0] == places[1]


@pytest.mark.parametrize(
    "body",
    [
        "<p>a</p><ul><li>b<ol><li>c</li></ol></li></ul><table><tr><td>d</td></tr></table>",
        "<p hidden='hidden'>a</p><ul dir='rtl'><li>b<ol><li>c</li></ol></li></ul>",
        "<table rules='all' frame='box'><tr><td>a</td><td hidden='hidden'>b</td></tr></table>",
        "<blockquote><abbr title='b'>a</abbr></blockquote><dl><dt>c</dt><dd dir='ltr'>d</dd></dl>",
        "<form><input value='a' type='text'/><select multiple='multiple'><option>b</option>"
        "</select><button>c</button></form><pre><code>d</code></pre><hr/><center>e</center>",
        "<P>a</P><UL><LI>b</LI></UL><BLOCKQUOTE>c</BLOCKQUOTE>",
        "<ruby>a<rp>(</rp><rt>b</rt></ruby><q>c</q><details><summary>d</summary>e</details>",
    ],
)
def test_rules_for_what_a_page_lacks_are_not_missed(body: str) -> None:
    weasyprint = pdf_typeset.import_weasyprint()
    html = f"<!DOCTYPE html><html lang='en'><body>{body}</body></html>"
    fetcher = weasyprint.urls.URLFetcher()
    page, _ = pdf_page.source(weasyprint, html, "", fetcher, shipped=True)
    assert page.write_pdf() == weasyprint.HTML(string=html).write_pdf()


PAGE = """<html><body>
<section id="part"><h2 id="part_title"><span>4</span> Results</h2>
<div id="table-1"><p id="table-1_caption"><b>Table 1.</b> All.</p>
<table style="width:50%" aria-labelledby="table-1_caption"><tr id="row"><td>1</td></tr></table>
</div></section>
<section id="next" aria-labelledby="next_title"><h2 id="next_title"><span>5</span> More</h2>
<p id="words">Words, then <b>others</b>.</p><table class="a" style="width:50%"><tr/></table>
<p style="width:50%;color:red">c</p><p style="content:'}'">d</p><p style="content:'}'">e</p>
<a href="#part">4</a><a href="#words">w</a></section></body></html>"""


def test_ids_move_to_elements_that_hold_no_others() -> None:
    root = ET.fromstring(PAGE)
    rules = share_styles(root)
    found = {one.get("id"): one for one in root.iter() if one.get("id")}
    # the heading's own id is named by nobody but keeps its place: the outer finds it taken
    assert {name: one.tag for name, one in found.items()} == {
        "part": "section", "part_title": "span", "table-1": "b", "row": "td", "next": "span",
        "words": "p",
    }  # fmt: skip
    assert rules == "\n.style-0:not(#style#style#style#style){width:50%}"
    first, second = root.iter("table")
    assert (first.get("class"), first.get("style")) == ("style-0", None)
    assert (second.get("class"), second.get("style")) == ("a style-0", None)
    # one of its kind, or what would end the rule early
    assert [one.get("style") for one in root.iter("p")][2:] == [
        "width:50%;color:red", "content:'}'", "content:'}'",
    ]  # fmt: skip


def test_the_page_of_a_theme_is_left_as_it_is() -> None:
    weasyprint = pdf_typeset.import_weasyprint()
    fetcher = weasyprint.urls.URLFetcher()
    page, rules = pdf_page.source(weasyprint, f"<!DOCTYPE html>{PAGE}", "", fetcher)
    assert not rules
    assert ET.tostring(page.etree_element) == ET.tostring(ET.fromstring(PAGE))


@pytest.mark.parametrize(
    ("theme", "shipped"),
    [
        (DEFAULT_THEME, True),
        (replace(DEFAULT_THEME, css=":root { --accent: #123456 }\n", label="Ours"), True),
        (replace(DEFAULT_THEME, css=".part-number { display: none }"), False),
        (replace(DEFAULT_THEME, template_loader=DictLoader({})), False),
    ],
)
def test_only_shipped_templates_and_rules_share_styles(theme: Theme, shipped: bool) -> None:
    run = sample.audit(("tree",))
    assert job_of(compose(run), theme, sample.record(run)).shipped is shipped


def test_a_shared_style_outweighs_the_style_sheet_as_an_own_one_does() -> None:
    weasyprint = pdf_typeset.import_weasyprint()
    html = (
        "<!DOCTYPE html><html><body id='b'><p style='width:30px'>a</p><p style='width:30px'>b</p>"
        "<p style='width:40px'>c</p></body></html>"
    )
    style = "#b p { width: 10px } p:last-child { width: 20px !important }"
    page, rules = pdf_page.source(
        weasyprint, html, style, weasyprint.urls.URLFetcher(), shipped=True
    )
    widths = [
        [box.width for box in done.render(stylesheets=[weasyprint.CSS(string=style + more)])
         .pages[0]._page_box.descendants() if box.element_tag == "p" and hasattr(box, "width")
         and isinstance(box, weasyprint.formatting_structure.boxes.BlockBox)]
        for done, more in ((page, rules), (weasyprint.HTML(string=html), ""))
    ]  # fmt: skip
    assert rules
    assert widths[0] == widths[1] == [30, 30, 20]
