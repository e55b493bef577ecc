"""Specifications become drawings that cannot hurt the page, and failures become sentences."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from robreport.document import FailureBlock, FigureBlock, FigureGroup
from robreport.errors import RenderError
from robreport.report import chart_theme, drawing_cache, figures, fonts, svg
from robreport.report.builtin import DEFAULT_THEME
from robreport.report.compose import compose
from robreport.report.drawing_cache import DrawingCache
from robreport.report.figures import ChartProcess, fill_charts, render_charts
from robreport.report.theme import Theme
from tests.report import sample


def block(spec: Mapping[str, Any], anchor: str = "chart") -> FigureBlock:
    return FigureBlock(anchor=anchor, spec=spec, title="T", caption="C", alt="What it shows.")


def chart(**rest: Any) -> dict[str, Any]:
    """A small chart, its parts overridable."""
    spec: dict[str, Any] = {
        "data": {"values": [{"x": i, "y": i * i, "s": "ab"[i % 2]} for i in range(6)]},
        "mark": {"type": "line", "clip": True},
        "encoding": {
            "x": {"field": "x", "type": "quantitative"},
            "y": {"field": "y", "type": "quantitative"},
            "color": {"field": "s", "type": "nominal"},
        },
    }
    spec.update(rest)
    return spec


def wrapped(inside: str, attributes: str = "") -> str:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="10" height="20" {attributes}>{inside}</svg>'
    )


def test_charts_fill_the_column_in_the_theme_s_font() -> None:
    drawings = render_charts([block(chart(), "one"), block(chart(), "two")], DEFAULT_THEME)
    for anchor, drawing in zip(("one", "two"), drawings, strict=True):
        assert isinstance(drawing, svg.Drawing)
        assert abs(drawing.width - chart_theme.COLUMN_WIDTH) <= 2
        root = ElementTree.fromstring(drawing.svg)
        families = {t.get("font-family") for t in root.iter() if t.tag.endswith("text")}
        assert families == {"Inter"}
        ids = re.findall(r'\bid="([^"]+)"', drawing.svg)
        assert ids
        assert all(name.startswith(f"{anchor}_") for name in ids)
        assert set(re.findall(r"url\(#([^)]+)\)", drawing.svg)) <= set(ids)
        assert set(re.findall(r"url\(([^)]{3})", drawing.svg)) == {f"#{anchor[:2]}"}
    # the second of two equal charts is the first with other ids
    first, second = (d.svg for d in drawings if isinstance(d, svg.Drawing))
    assert first.replace("one_", "two_") == second


@pytest.mark.parametrize(
    "spec",
    [
        chart(data={"url": "https://example.org/data.csv"}),
        chart(data={"url": "data.csv"}),
        chart(mark={"type": "image", "url": "http://example.org/a.png"}),
        chart(layer=[{"mark": {"type": "text", "href": "javascript:alert(1)"}}]),
    ],
)
def test_a_chart_that_reaches_outside_is_refused(spec: dict[str, Any]) -> None:
    (reason,) = render_charts([block(spec)], DEFAULT_THEME)
    assert isinstance(reason, str)
    assert "outside the record" in reason


def test_a_picture_from_outside_that_only_the_data_name_is_refused() -> None:
    spec = {
        "data": {"values": [{"u": "https://example.org/a.png"}]},
        "mark": {"type": "image", "width": 9, "height": 9},
        "encoding": {"url": {"field": "u", "type": "nominal"}},
    }
    (reason,) = render_charts([block(spec)], DEFAULT_THEME)
    assert reason == "the chart shows a picture that is not part of the record"


def test_a_chart_that_fails_becomes_a_sentence_and_the_others_stand() -> None:
    document = compose(sample.audit(("cnn",)))
    section = document.sections[3].sections[0]
    good = next(b for b in section.blocks if isinstance(b, FigureBlock))
    bad = replace(good, anchor="bad", spec={"mark": "no such mark", "data": {"values": []}})
    broken = replace(good, anchor="nan", spec={"width": float("nan")})
    group = FigureGroup(figures=(bad, good, broken))
    results = replace(section, blocks=(group,), sections=())
    filled = fill_charts(replace(document, sections=(results,)), DEFAULT_THEME)
    first, second, third = filled.sections[0].blocks[0].figures  # type: ignore[union-attr]
    assert isinstance(first, FailureBlock)
    assert isinstance(third, FailureBlock)
    assert (first.anchor, third.anchor) == ("bad", "nan")
    assert first.reason.startswith("This chart could not be drawn")
    assert good.alt in first.reason
    assert isinstance(second, FigureBlock)
    assert second.svg.startswith("<svg")
    again = fill_charts(filled, DEFAULT_THEME).sections[0].blocks[0].figures  # type: ignore[union-attr]
    assert again == (first, second, third)


def test_drawn_figures_are_not_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    document = compose(sample.audit(("cnn",), outcomes=[], requirements=[]))
    figure = replace(block(chart()), svg="<svg/>", width=1.0)
    section = replace(document.sections[0], blocks=(figure,))
    monkeypatch.setattr(figures, "ChartProcess", None)
    document = replace(document, sections=(section,))
    assert fill_charts(document, DEFAULT_THEME) is document


def _script(folder: Path, body: str) -> Path:
    script = folder / "drawer.py"
    script.write_text("import json, os, signal, sys, time\nfor line in sys.stdin:\n"
                      "    request = json.loads(line)\n"
                      "    if 'fonts' in request:\n"
                      "        print('{}', flush=True)\n        continue\n"
                      "    if request['spec'].get('name') == 'bad':\n        " + body + "\n"
                      "    text = '<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1\" "
                      "height=\"1\"/>'\n"
                      "    print(json.dumps({'svg': text}), flush=True)\n")  # fmt: skip
    return script


@pytest.mark.parametrize(
    ("body", "seconds", "reason"),
    [
        ("time.sleep(600)", 0.5, "stopped after 0.5 s"),
        ("os._exit(3)", 20.0, "ended while drawing"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 20.0, "ended while drawing"),
    ],
)
def test_a_chart_that_hangs_or_kills_its_process_loses_only_itself(
    body: str, seconds: float, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "_SCRIPT", _script(tmp_path, body))
    specs = [block({"name": name}, name) for name in ("good", "bad", "fine")]
    if "sleep" in body:
        # starting Python may take longer than the limit: only the bad chart has the short one
        with ChartProcess(tmp_path) as process:
            assert "svg" in process.ask('{"spec": {}}', 60.0)
            answer = process.ask('{"spec": {"name": "bad"}}', seconds)
            assert reason in answer["error"]
            assert not process.alive
            assert "has ended" in process.ask('{"spec": {}}', 1.0)["error"]
            pid = process._process.pid
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        return
    good, bad, fine = render_charts(specs, DEFAULT_THEME, seconds)
    assert isinstance(good, svg.Drawing)
    assert isinstance(fine, svg.Drawing)
    assert isinstance(bad, str)
    assert reason in bad


def test_what_was_drawn_before_needs_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = [block(chart(), "one"), block(chart(mark="bar"), "two"), block({"mark": "no"}, "bad")]
    drawn = render_charts(blocks, DEFAULT_THEME, cache=tmp_path)
    kept = sorted((tmp_path / "charts").iterdir())
    assert len(kept) == 2  # what failed is tried again
    assert isinstance(drawn[2], str)
    assert drawn == render_charts(blocks, DEFAULT_THEME)
    with monkeypatch.context() as patch:
        patch.setattr(figures, "ChartProcess", None)
        assert render_charts(blocks[:2], DEFAULT_THEME, cache=tmp_path) == drawn[:2]
        moved = render_charts([replace(blocks[0], anchor="six")], DEFAULT_THEME, cache=tmp_path)
    assert isinstance(moved[0], svg.Drawing)
    assert isinstance(drawn[0], svg.Drawing)
    assert moved[0].svg == drawn[0].svg.replace("one_", "six_")
    # neither a damaged file nor another look is answered from the cache
    for path, damage in zip(kept, (b"", kept[1].read_bytes()[:-9] + b"</svg>\xff"), strict=True):
        path.write_bytes(damage)
    assert render_charts(blocks[:2], DEFAULT_THEME, cache=tmp_path) == drawn[:2]
    other = replace(DEFAULT_THEME, chart_config={"axis": {"gridColor": "#123456"}})
    (bar,) = render_charts(blocks[1:2], other, cache=tmp_path)
    assert isinstance(bar, svg.Drawing)
    assert "#123456" in bar.svg
    assert len(list((tmp_path / "charts").iterdir())) == 3


def test_another_font_of_the_same_name_is_another_drawing(tmp_path: Path) -> None:
    folder = DEFAULT_THEME.font_folder
    for name, content in (("a", "Inter-Regular.ttf"), ("b", "Inter-Bold.ttf")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Inter-Regular.ttf").write_bytes((folder / content).read_bytes())
    one, same, other = (DrawingCache(tmp_path, tmp_path / name) for name in ("a", "a", "b"))
    one.put("spec", "<svg/>")
    assert same.get("spec") == "<svg/>"
    assert other.get("spec") is None
    assert same.get("spec ") is None


def test_the_oldest_drawings_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DrawingCache(tmp_path, DEFAULT_THEME.font_folder)
    for i in range(4):
        cache.put(str(i), "x" * 100)
        os.utime(cache._path(str(i)), (i, i))
    assert cache.get("0") is not None  # used now, so the youngest
    monkeypatch.setattr(drawing_cache, "MOST_FILES", 3)
    cache.prune()
    assert [cache.get(str(i)) is not None for i in range(4)] == [True, False, True, True]
    monkeypatch.setattr(drawing_cache, "MOST_BYTES", 2 * cache._path("0").stat().st_size)
    os.utime(cache._path("2"), (1, 1))
    cache.prune()
    assert [cache.get(str(i)) is not None for i in range(4)] == [True, False, False, True]


def test_a_cache_that_cannot_be_written_is_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = DrawingCache(tmp_path / "file", DEFAULT_THEME.font_folder)
    cache.put("spec", "<svg/>")
    cache.prune()
    assert cache.get("spec") is None


def test_only_shapes_and_text_stay_in_a_drawing() -> None:
    drawing = svg.clean(
        wrapped(
            "<script>alert(1)</script><style>*{fill:url(http://x)}</style>"
            '<foreignObject><b xmlns="http://www.w3.org/1999/xhtml">x</b></foreignObject>'
            '<a xlink:href="javascript:alert(1)"><text font-family="Comic">a &lt;b&gt;</text></a>'
            '<rect id="clip0" onclick="alert(1)" style="fill:red" fill="url(http://x/y)"/>'
            '<g clip-path="url(#clip0)"><path d="M0,0"/></g><g/><path d=""/>',
            'onload="alert(1)"',
        ),
        "fig",
        "Inter",
    )
    assert drawing.svg == (
        '<svg width="10" height="20" viewBox="0 0 10 20" xmlns="http://www.w3.org/2000/svg">'
        '<text font-family="Inter">a &lt;b&gt;</text><rect id="fig_1" />'
        '<g clip-path="url(#fig_1)"><path d="M0,0" /></g></svg>'
    )


def test_lines_of_one_look_become_one_path_and_empty_groups_go() -> None:
    drawing = svg.clean(
        wrapped(
            '<g><g><line transform="translate(0,-30.5)" x2="0" y2="30" stroke="red"/>'
            '<line transform="translate(5,0)" x2="0" y2="30" stroke="red"/>'
            '<line x2="9" stroke="blue"/></g></g>'
            '<line transform="rotate(9)" x2="1" stroke="blue"/><path d="M1,1" stroke="blue"/>'
        ),
        "fig",
        "Inter",
    )
    inside = drawing.svg[drawing.svg.index(">") + 1 : drawing.svg.rindex("<")]
    assert inside == (
        '<path d="M0,-30.5L0,-0.5M5,0L5,30" stroke="red" /><path d="M0,0L9,0" stroke="blue" />'
        '<line transform="rotate(9)" x2="1" stroke="blue" /><path d="M1,1" stroke="blue" />'
    )


@pytest.mark.parametrize(
    "text",
    [
        "<html/>",
        "<svg",
        '<!DOCTYPE svg [<!ENTITY a "b">]>' + wrapped("&a;"),
        '<svg xmlns="http://www.w3.org/2000/svg"/>',
        wrapped('<image href="file:///etc/passwd"/>'),
        wrapped('<image href="data:text/html;base64,AAAA"/>'),
    ],
)
def test_what_is_no_drawing_is_refused(text: str) -> None:
    with pytest.raises(RenderError):
        svg.clean(text, "a", "Inter")


def test_control_characters_do_not_cost_the_drawing() -> None:
    drawing = svg.clean(wrapped("<text>\x1b[31m\ud800</text>"), "a", "Inter")
    assert "\ufffd[31m\ufffd" in drawing.svg


def test_the_theme_s_config_lies_between_the_default_and_the_chart_s_own() -> None:
    theme = Theme(name="t", chart_config={"axis": {"gridColor": "red"}, "line": {"strokeWidth": 9}})
    spec = chart(
        config={"line": {"strokeWidth": 1}, "view": {"continuousWidth": 300}},
        usermeta={"embedOptions": {"ast": False}},
    )
    drawn = chart_theme.prepare(spec, theme)
    assert drawn["config"]["axis"]["gridColor"] == "red"
    assert drawn["config"]["axis"]["labelColor"] == chart_theme.MUTED
    assert drawn["config"]["line"] == {"strokeWidth": 1}
    assert drawn["config"]["view"]["continuousWidth"] == 520
    assert drawn["config"]["font"] == "Inter"
    assert "usermeta" not in drawn
    assert spec["config"]["line"] == {"strokeWidth": 1}


def test_sizes_that_the_author_chose_stay() -> None:
    assert chart_theme.prepare(chart(width=100, height=50), DEFAULT_THEME)["width"] == 100
    heat = chart(encoding={"x": {"field": "a", "type": "nominal"},
                           "y": {"field": "b", "type": "ordinal"}})  # fmt: skip
    assert "width" not in chart_theme.prepare(heat, DEFAULT_THEME)
    assert "width" not in chart_theme.prepare({"hconcat": [chart(), chart()]}, DEFAULT_THEME)


def test_a_font_folder_holds_one_family(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="has no FAMILY-Regular"):
        fonts.font_files(tmp_path, "ttf")
    for name in ("One-Regular.ttf", "Two-Bold.ttf", "OFL.txt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(RenderError, match="several families"):
        fonts.font_files(tmp_path, "ttf")
