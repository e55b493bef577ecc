"""The HTML report: one file, harmless, readable with scripts and without."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import numpy as np
import pytest

from robreport.document import ImageBlock, TableBlock
from robreport.errors import RenderError
from robreport.report import columns, images
from robreport.report.builtin import DEFAULT_THEME
from robreport.report.compose import compose
from robreport.report.html import render_html
from robreport.report.page import code, plain_cell
from robreport.report.theme import Theme
from robreport.result import Column
from tests.report import sample
from tests.report.conftest import HOSTILE, Rendered

VOID = {"meta", "img", "col", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """What a browser would make of a page: elements, scripts, text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.text: list[str] = []
        self.stack: list[str] = []
        self.problems: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.elements.append((tag, given))
        if tag == "script":
            self.scripts.append((given, ""))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.problems.append(tag)

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "script":
            given, before = self.scripts.pop()
            self.scripts.append((given, before + data))
        elif not self.stack or self.stack[-1] != "style":
            self.text.append(data)

    def values(self, attribute: str) -> list[str]:
        return [given[attribute] for _, given in self.elements if attribute in given]


@pytest.fixture(scope="module")
def page(hostile: Rendered) -> Page:
    return Page(hostile.html)


def test_the_page_is_whole(page: Page) -> None:
    assert page.problems == []
    assert page.stack == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    targets = {h[1:] for h in page.values("href")}
    assert targets <= set(ids)
    assert all(h.startswith("#") for h in page.values("href"))
    for attribute in ("aria-labelledby", "data-spec"):
        assert set(page.values(attribute)) <= set(ids)
    assert [g["lang"] for tag, g in page.elements if tag == "html"] == ["en"]


def test_words_of_a_record_stay_words(page: Page, hostile: Rendered) -> None:
    assert {tag for tag, _ in page.elements if tag in ("iframe", "object", "form", "link")} == set()
    assert not [g for _, g in page.elements if any(key.startswith("on") for key in g)]
    assert all(s.startswith("data:") for s in page.values("src"))
    assert len([g for g, _ in page.scripts if g.get("type") != "application/json"]) == 2
    text = "".join(page.text)
    for name in HOSTILE[:4]:
        assert name in text
    assert "\ufffd[31mred\ufffd" in text
    assert "\x1b" not in hostile.html
    assert 'title = "</pre><script>alert(3)</script>"' in text
    assert "49" not in "".join(t for t in page.text if "amp" in t)


def test_only_scripts_that_the_policy_names_may_run(page: Page) -> None:
    policy = next(g["content"] for _, g in page.elements
                  if g.get("http-equiv") == "Content-Security-Policy")  # fmt: skip
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert (rules["img-src"], rules["font-src"]) == ("data:", "data:")
    running = [text for given, text in page.scripts if not given.get("type")]
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in running
    }
    assert set(rules["script-src"].split()) == hashes


def test_the_record_is_embedded(page: Page, hostile: Rendered) -> None:
    data = {g["id"]: (g, json.loads(text)) for g, text in page.scripts if g.get("type")}
    given, tree = data["audit-record"]
    assert tree == json.loads(hostile.record.audit_json)
    assert given["data-sha256"] == hashlib.sha256(hostile.record.audit_json).hexdigest()
    arrays = data["audit-arrays"][1]
    assert base64.b64decode(arrays["base64"]) == hostile.record.arrays_npz
    assert arrays["bytes"] == len(hostile.record.arrays_npz)


def test_large_arrays_are_represented_by_their_digest(hostile: Rendered, cache: Path) -> None:
    large = bytes(500_001)
    record = replace(hostile.record, arrays_npz=large)
    page = Page(render_html(hostile.document, DEFAULT_THEME, record, cache=cache).decode())
    arrays = next(json.loads(text) for g, text in page.scripts if g.get("id") == "audit-arrays")
    assert arrays == {"sha256": hashlib.sha256(large).hexdigest(), "bytes": 500_001}


def test_charts_stand_in_place_and_bring_their_specification(page: Page) -> None:
    charts = [g for _, g in page.elements if g.get("class") == "chart"]
    assert len(charts) == 2
    assert all(g["role"] == "img" and g["aria-label"] for g in charts)
    specs = {g["id"]: json.loads(text) for g, text in page.scripts if g.get("type")}
    for given in charts:
        spec = specs[given["data-spec"]]
        assert spec["config"]["mark"] == {"tooltip": True}
        assert spec["config"]["font"] == "Inter"
    assert sum(tag == "svg" and "icon" not in g.get("class", "") for tag, g in page.elements) == 2


def test_what_tests_may_look_for(page: Page) -> None:
    sections = page.values("data-test-section")
    assert sections[:4] == ["summary", "scope", "method", "method-performance"]
    assert page.values("data-test-verdict") == ["fail"]
    assert page.values("data-test-card") == ["fail", "inconclusive", "pass", "pass"]
    figures = page.values("data-test-figure") + page.values("data-test-images")
    assert sorted(map(int, figures)) == list(range(1, 5))
    tables = list(map(int, page.values("data-test-table")))
    assert tables == list(range(1, len(tables) + 1))
    assert page.values("data-test-finding") == ["high", "medium"] * 2
    assert set(page.values("data-test-failure")) == {"error", "not-run"}


def test_pictures_have_a_text_each(page: Page) -> None:
    tiles = [g for tag, g in page.elements if g.get("class") == "tile"]
    assert len(tiles) == 2 * 18
    assert tiles[0]["alt"] == "clean, 0 → 1"


def test_the_size_stays_within_its_budget(hostile: Rendered) -> None:
    assert len(hostile.html) < 3_000_000


def test_the_bundle_is_made_once_per_version(hostile: Rendered, cache: Path) -> None:
    (kept,) = (cache / "charts").iterdir()
    text = kept.read_text()
    assert "</script" not in text
    assert text in hostile.html
    kept.write_text("window.other = 1;")
    try:
        again = render_html(hostile.document, DEFAULT_THEME, hostile.record, cache=cache)
    finally:
        kept.write_text(text)
    assert b"<script>window.other = 1;</script>" in again


def test_a_page_without_charts_runs_no_script(cache: Path) -> None:
    run = sample.audit(("cnn",), outcomes=[], requirements=[])
    html = render_html(compose(run), DEFAULT_THEME, sample.record(run), cache=cache).decode()
    assert "<script>" not in html
    assert "script-src &#39;none&#39;" in html


def test_a_theme_changes_logo_accent_and_label(cache: Path) -> None:
    run = sample.audit(("cnn",), outcomes=[], requirements=[])
    logo = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
    theme = Theme(
        name="house",
        css=":root { --accent: #00875a; }",
        logo=logo,
        label="Model risk review",
        template_loader=jinja2.DictLoader({"blocks/heading.html": "<h3>§ {{ block.text }}</h3>"}),
    )
    html = render_html(compose(run), theme, sample.record(run), cache=cache).decode()
    page = Page(html)
    assert logo in page.values("src")
    style = html[html.index("<style>") : html.index("</style>")]
    assert style.rindex("--accent: #00875a") > style.rindex("--accent: #1f5fd0")
    assert "Model risk review" in page.text
    assert "Robustness and privacy audit" not in page.text
    assert "§ Coverage" in page.text


def test_a_broken_template_of_a_theme_is_named() -> None:
    run = sample.audit(("cnn",), outcomes=[], requirements=[])
    theme = Theme(name="house", template_loader=jinja2.DictLoader({"report.html": "{{ no.such }}"}))
    with pytest.raises(RenderError, match="theme 'house': a template is wrong"):
        render_html(compose(run), theme, sample.record(run))


def test_backticks_are_code_and_nothing_else_is_interpreted() -> None:
    assert code("a `b<c` & `d") == "a <code>b&lt;c</code> &amp; `d"


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        (0.5, "share", "50.0\u202f%"),
        (1234, "integer", "1,234"),
        (1234.4, "integer", "1,234"),
        (0.12345, "number", "0.1235"),
        (0.12345, "text", "0.1235"),
        ("<b>", "text", "&lt;b&gt;"),
        (True, "text", "yes"),
        (np.float64(0.25), "share", "25.0\u202f%"),
        (
            [0.5, 0.25, 0.75],
            "share_interval",
            '<span class="value">50.0\u202f%</span> <span class="between">25.0–75.0</span>',
        ),
        ([2.0, None, None], "interval", '<span class="value">2</span>'),
        ([None, None, None], "interval", '<span class="nothing">–</span>'),
    ],
)
def test_cells_are_shown_as_their_column_wants(value: object, kind: str, shown: str) -> None:
    assert plain_cell(value, Column(key="k", title="K", kind=kind)) == shown  # type: ignore[arg-type]


def test_columns_share_a_table_by_what_stands_in_them() -> None:
    block = TableBlock(
        columns=(
            Column(key="a", title="Name"),
            Column(key="n", title="n", kind="integer"),
            Column(key="t", title="Explanation"),
        ),
        rows=tuple(("short", i, "a long explanation of many words " * 4) for i in range(50)),
    )
    given = columns.widths(block, {})
    assert sum(given.columns) == pytest.approx(100, abs=0.1)
    assert given.columns[2] > 4 * given.columns[0] > 4 * given.columns[1]
    assert given.table == 100
    narrow = columns.widths(replace(block, columns=block.columns[:2],
                                    rows=tuple(r[:2] for r in block.rows)), {})  # fmt: skip
    assert narrow.table == columns.NARROWEST


def test_a_number_keeps_its_interval_on_its_line_in_a_table_that_is_not_stretched() -> None:
    block = TableBlock(
        columns=(
            Column(key="c", title="class"),
            Column(key="n", title="n", kind="integer"),
            Column(key="r", title="robust, at most", kind="share_interval"),
            Column(key="t", title="taken for"),
        ),
        rows=tuple((str(i), 9, [1.0, 0.664, 1.0], "8 (1)") for i in range(10)),
    )
    given = columns.widths(block, {})
    assert columns.NARROWEST < given.table < 100
    letters = columns.LINE * given.table / 100 * given.columns[2] / 100
    assert letters > len("100.0 % (66.4\u2013100.0)") + 2


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_pictures_survive_as_png(shape: tuple[int, ...]) -> None:
    from io import BytesIO

    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 256, size=shape).astype(np.uint8)
    assert np.array_equal(np.asarray(Image.open(BytesIO(images.png(picture)))), picture)


@pytest.mark.parametrize(
    "picture",
    [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 2), np.uint8)],
)
def test_what_is_no_picture_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(RenderError):
        images.png(picture)


def test_pictures_are_enlarged_by_whole_factors() -> None:
    block = ImageBlock(anchor="a", title="T", images=np.zeros((1, 10, 28, 28), np.uint8),
                       caption="C", alt="A", cell_labels=(("<9",),))  # fmt: skip
    html = images.grid(block)
    assert set(re.findall(r"<img [^>]*width:(\d+)px", html)) == {"28"}
    assert "&lt;9" in html
    wide = replace(block, images=np.zeros((1, 2, 300, 600, 3), np.uint8))
    assert set(re.findall(r"width:(\d+)px;height:(\d+)px", images.grid(wide))) == {("120", "60")}


def test_a_section_of_text_only_needs_no_page_of_its_own(page: Page) -> None:
    brief = [g["id"] for tag, g in page.elements if tag == "section" and "brief" in g["class"]]
    assert [name for name in brief if name.startswith("result-")] == ["result-lira", "result-shapr"]
