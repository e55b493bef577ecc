"""What is prepared for print looks as before: letters in their places, the same pages and bytes."""

from __future__ import annotations

import re
import zlib
from io import BytesIO
from typing import Any
from xml.etree import ElementTree as ET

import pydyf  # type: ignore[import-untyped]
import pytest
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

from robreport.report import pdf_page, pdf_typeset, print_svg
from robreport.report.builtin import DEFAULT_THEME
from robreport.report.pdf_objects import make_once
from robreport.report.print_svg import plain


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
        page = pdf_page.source(weasyprint, text, "", fetcher)
        assert page.etree_element.tag == "html"
        assert page.etree_element.find("body/p") is not None
        assert page.wrapper_element.etree_element is page.etree_element


def test_only_pages_without_notes_do_without_their_styles() -> None:
    weasyprint = pdf_typeset.import_weasyprint()
    html = "<!DOCTYPE html><html><body><ul><li>a<i>one</i></li></ul></body></html>"
    boxes = []
    for style in ("", "i { float: footnote }"):
        page = pdf_page.source(weasyprint, html, style, weasyprint.urls.URLFetcher())
        sheet = weasyprint.CSS(string=f"li {{ list-style-position: inside }} {style}")
        done = page.render(stylesheets=[sheet]).pages[0]._page_box
        boxes.append(" ".join(box.text for box in done.descendants() if hasattr(box, "text")))
    assert "\u2022" in boxes[0]
    assert "\u2022" in boxes[1]
    assert "1." in boxes[1]
    assert "1." not in boxes[0]
