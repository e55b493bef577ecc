"""Charts and tables of several models as one: when they go together, and what they then hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import altair as alt
import pytest

from robreport.report.builtin import DEFAULT_THEME
from robreport.report.chart_theme import COLUMN_WIDTH
from robreport.report.figures import render_charts
from robreport.report.panels import MOST_PANELS, one_figure
from robreport.report.said_once import in_every_row, same_throughout, without
from robreport.report.side_by_side import MOST_COLUMNS, one_table
from robreport.report.svg import Drawing
from robreport.result import Column, Figure, Table
from tests.report.test_figures import block


def curve(top: float, **more: Any) -> Figure:
    """A line up to `top`; further words go to the chart."""
    rows = [{"eps": i, "accuracy": top * i, "name": "a", "params": 1} for i in range(3)]
    chart = alt.Chart(alt.InlineData(values=rows)).mark_line().encode(x="eps:Q", y="accuracy:Q")
    if more:
        chart = chart.properties(**more)
    return Figure.from_chart(chart, title="Curve", caption="What it shows.", alt=f"Up to {top}.")


def test_one_chart_is_never_put_together() -> None:
    assert one_figure([]) is None
    assert one_figure([("cnn", curve(1))]) is None


def test_each_model_has_a_panel_with_its_own_data_on_shared_axes() -> None:
    made = one_figure([("cnn", curve(1)), ("tree", curve(5)), ("logistic", curve(2))])
    assert made is not None
    panels = made.spec["concat"]
    assert [panel["title"]["text"] for panel in panels] == ["cnn", "tree", "logistic"]
    assert made.spec["resolve"] == {"scale": {"x": "shared", "y": "shared"}}
    tops = []
    for panel in panels:
        rows = made.spec["datasets"][panel["data"]["name"]]
        tops.append(max(row["accuracy"] for row in rows))
        assert panel["width"] < COLUMN_WIDTH / 3
        assert not {"config", "$schema", "datasets"} & set(panel)
    assert tops == [2, 10, 4]
    assert made.alt == "cnn: Up to 1. tree: Up to 5. logistic: Up to 2."
    assert made.caption == "What it shows."
    (drawn,) = render_charts([block(made.spec)], DEFAULT_THEME)
    assert isinstance(drawn, Drawing)
    assert drawn.width <= COLUMN_WIDTH * 1.1
    # the axis that all share reaches the largest value
    assert drawn.svg.count(">10<") == 1
    titles = [panel["encoding"]["y"].get("axis", {}).get("title", "own") for panel in panels]
    assert titles == ["own", None, None]
    names = [panel["encoding"]["x"].get("axis", {}).get("title", "own") for panel in panels]
    assert names == [None, "own", None]


@pytest.mark.parametrize(("count", "named"), [(2, [0]), (3, [1]), (4, [0, 2]), (5, [1, 3]),
                                              (7, [1, 4, 6])])  # fmt: skip
def test_each_row_of_panels_names_its_axis_once(count: int, named: list[int]) -> None:
    made = one_figure([(f"m{i}", curve(i + 1)) for i in range(count)])
    assert made is not None
    axes = [panel["encoding"]["x"].get("axis", {}) for panel in made.spec["concat"]]
    assert [i for i, axis in enumerate(axes) if "title" not in axis] == named


@pytest.mark.parametrize("count", [2, 4, MOST_PANELS, MOST_PANELS + 1])
def test_panels_stand_in_rows_of_two_or_three(count: int) -> None:
    made = one_figure([(f"m{i}", curve(i)) for i in range(count)])
    if count > MOST_PANELS:
        assert made is None
    else:
        assert made is not None
        assert made.spec["columns"] == (2 if count in (2, 4) else 3)


def test_captions_that_differ_say_of_whom_they_speak() -> None:
    figures = [("a", curve(1)), ("b", replace(curve(2), caption="Other.")), ("c", curve(3))]
    made = one_figure(figures)
    assert made is not None
    assert made.caption == "a, c: What it shows. b: Other."


@pytest.mark.parametrize(
    "other",
    [
        replace(curve(2), title="Another"),
        curve(2, name="view"),
        curve(2, title="its own"),
        replace(curve(2), spec={**curve(2).spec, "config": {"mark": {"opacity": 0.5}}}),
        replace(curve(2), spec={**curve(2).spec, "params": [{"name": "p", "value": 1}]}),
        replace(curve(2), spec={"hconcat": [curve(2).spec]}),
        replace(curve(2), spec={**curve(2).spec, "encoding": {"row": {"field": "a"}, "facet": {}},
                                "facet": {"field": "a"}}),
    ],
)  # fmt: skip
def test_charts_that_would_clash_stay_apart(other: Figure) -> None:
    assert one_figure([("cnn", curve(1)), ("tree", other)]) is None


def test_data_of_one_name_and_other_content_stay_apart() -> None:
    one, two = ({"data": {"name": "d"}, "datasets": {"d": [{"a": i}]}, "mark": "point"}
                for i in range(2))  # fmt: skip
    figures = [Figure(spec=spec, title="T", caption="C", alt="A") for spec in (one, two)]
    assert one_figure(list(zip("ab", figures, strict=True))) is None
    again = one_figure(list(zip("ab", [figures[0], figures[0]], strict=True)))
    assert again is not None
    assert again.spec["datasets"] == {"d": [{"a": 0}]}


def table(values: list[Any], more: int = 0) -> Table:
    """Ranks with a value each, and further columns."""
    return Table(
        title="By rank",
        columns=(
            Column(key="rank", title="Rank", kind="integer"),
            Column(key="score", title="Score", unit="nats", kind="number"),
            *(Column(key=f"c{i}", title=f"C{i}") for i in range(more)),
        ),
        rows=tuple((i, v, *(f"{v}{j}" for j in range(more))) for i, v in enumerate(values)),
    )


def test_tables_share_the_columns_in_which_they_agree() -> None:
    made = one_table([("cnn", table([1, 2])), ("tree", table([3, None]))])
    assert made is not None
    assert [(c.title, c.unit, c.kind) for c in made.columns] == [
        ("Rank", "", "integer"),
        ("Score, cnn", "nats", "number"),
        ("Score, tree", "nats", "number"),
    ]  # fmt: skip
    assert made.rows == ((0, 1, 3), (1, 2, None))
    assert len({c.key for c in made.columns}) == 3


@pytest.mark.parametrize(
    "tables",
    [
        [],
        [("cnn", table([1]))],
        [("cnn", table([1])), ("tree", table([1, 2]))],
        [("cnn", table([1])), ("tree", replace(table([2]), title="Other"))],
        [("cnn", table([1])), ("tree", replace(table([2]), caption="Other"))],
        [("cnn", table([1])), ("tree", replace(table([2]), rows=((5, 2),)))],
        [("cnn", table([1])), ("tree", table([2], more=1))],
        [(f"m{i}", table([i], more=2)) for i in range(MOST_COLUMNS // 3 + 1)],
    ],
)
def test_tables_that_do_not_fit_beside_each_other_stay_apart(tables: list[Any]) -> None:
    assert one_table(tables) is None


def test_tables_that_say_the_same_throughout_stay_apart() -> None:
    assert one_table([("cnn", table([1])), ("tree", table([1]))]) is None


def wide(values: list[Any], norm: str = "L2") -> Table:
    """Eight columns, of which the second and the last say one word in each row."""
    kinds = ("number", "text", "share_interval", "integer", "text", "number", "text", "text")
    return Table(
        title="Attacks",
        columns=tuple(Column(key=f"k{i}", title=f"c{i}", kind=kind)
                      for i, kind in enumerate(kinds)),
        rows=tuple((i, norm, [0.9, 0.8, 0.95], 7, f"t{v}", None, "", "a; b.")
                   for i, v in enumerate(values)),
    )  # fmt: skip


def test_words_that_all_rows_say_are_said_once() -> None:
    tables = [("cnn", wide([1, 2, 3])), ("tree", wide([1, 1, 1], norm="L1"))]
    shown = [table for _, table in tables]
    places = same_throughout(shown)
    # what varies in one of them stays in both; so do numbers, and what nobody knows
    assert places == (1, 7)
    assert same_throughout(shown[1:]) == (1, 4, 7)
    assert [c.title for c in without(shown[0], places).columns] == [
        "c0", "c2", "c3", "c4", "c5", "c6",
    ]  # fmt: skip
    assert without(shown[0], places).rows[1] == (1, [0.9, 0.8, 0.95], 7, "t2", None, "")
    assert in_every_row(tables, places) == "In every row, c1: L2 (cnn), L1 (tree); c7: a; b."
    assert in_every_row(tables[:1], (1,)) == "In every row, c1: L2."
    assert in_every_row(tables, ()) == ""


@pytest.mark.parametrize(
    "tables",
    [
        [],
        [wide([1, 1])],
        [table([1, 1, 1], more=4)],
        [wide([1, 2, 3]), table([1, 2, 3], more=5)],
        [Table(title="T", columns=tuple(Column(key=f"k{i}", title=f"c{i}") for i in range(8)),
               rows=tuple(("a",) * 7 + (str(i),) for i in range(3)))],
    ],
)  # fmt: skip
def test_few_rows_few_columns_and_nothing_left_stay_as_they_are(tables: list[Table]) -> None:
    assert same_throughout(tables) == ()
