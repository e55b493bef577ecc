"""Widths of printed columns: no number is broken, whatever else has to give way."""

from __future__ import annotations

import pytest

from robreport.document import TableBlock
from robreport.report import columns
from robreport.result import Column


def block(*of: tuple[str, str, object], rows: int = 3) -> TableBlock:
    made = tuple(
        Column(key=f"c{i}", title=title, kind=kind) for i, (title, kind, _) in enumerate(of)
    )  # type: ignore[arg-type]
    return TableBlock(title="", caption="", columns=made, rows=((*(c for *_, c in of),),) * rows)


def room(given: columns.Widths, place: int) -> float:
    """Characters that fit into a column, by the size that its table is set in."""
    line = next(line for size, line, *_ in columns._SIZES if size == given.size)
    return given.columns[place] / 100 * given.table / 100 * line


def test_few_columns_are_set_as_the_text_is() -> None:
    assert columns.widths(block(("a", "text", "words"), ("b", "number", 1.5)), {}).size == ""


@pytest.mark.parametrize("count", [8, 10, 12, 14])
def test_numbers_of_many_columns_stay_whole(count: int) -> None:
    wide = [
        ("knowledge", "text", "white box"), ("attack", "text", "HopSkipJump"),
        ("\u03b5", "text", "0.0625"), ("left", "share_interval", [0.495, 0.424, 0.566]),
    ]  # fmt: skip
    more = [("gradients", "integer", 2_973_413)] * (count - len(wide))
    given = columns.widths(block(*wide, *more), {})
    assert given.size
    assert sum(given.columns) == pytest.approx(100, abs=0.2)
    assert room(given, 2) >= 6
    for place in range(4, count):
        assert room(given, place) >= len("2,973,413")


def test_text_gets_smaller_before_words_are_broken() -> None:
    sizes = [
        columns.widths(block(*[("heading", "text", "elevenchars")] * count), {}).size
        for count in (3, 8, 10)
    ]
    assert sizes == ["", "dense", "dense denser"]


def test_a_short_word_of_broad_letters_stays_whole() -> None:
    """A label such as ">50K" is broader than four letters."""
    long = ("changes", "text", "of many words " * 9)
    given = columns.widths(
        block(("label", "text", "<=50K"), *[("changed", "integer", 1)] * 5, long), {}
    )
    assert room(given, 0) - 2.2 >= 1.2 * len("<=50K")


def test_words_behind_a_column_of_numbers_have_room_for_their_distance() -> None:
    """The style sheet sets them off; where that was left out, the label was broken."""
    long = (
        "capital-gain: 0 to 13,818; marital-status: Never-married to Married-civ-spouse, and more"
    )
    table = block(
        ("row", "integer", 16), ("label", "text", "<=50K"), ("predicted", "text", ">50K"),
        ("\u03b5", "number", 2.0), ("size (L0)", "number", 2.0), ("features changed", "integer", 2),
        ("largest changes", "text", long),
    )  # fmt: skip
    # what stays free behind a column of words, and before one behind numbers
    assert room(columns.widths(table, {}), 1) - 2.2 - 1.6 >= 1.2 * len("<=50K")
