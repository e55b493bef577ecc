"""The same table of several models as one, with columns for each model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from robreport.result import Column, Table

MOST_COLUMNS = 8
"""A wider table is harder to read than one for each model."""


def one_table(tables: Sequence[tuple[str, Table]]) -> Table | None:
    """Return one table of each (model, table); None where they do not go together.

    They do when they say the same in their first columns, row by row, and the columns that
    differ fit beside each other.
    """
    shown = [table for _, table in tables]
    if len(shown) < 2:
        return None
    first = shown[0]
    if any(
        (t.columns, t.title, t.caption, t.appendix) != (
            first.columns, first.title, first.caption, first.appendix,
        ) or len(t.rows) != len(first.rows)
        for t in shown
    ):  # fmt: skip
        return None
    same = 0
    while same < len(first.columns) and all(
        [row[same] for row in t.rows] == [row[same] for row in first.rows] for t in shown
    ):
        same += 1
    own = first.columns[same:]
    if not same or not own or same + len(own) * len(shown) > MOST_COLUMNS:
        return None
    columns = first.columns[:same] + tuple(
        Column(key=f"m{i}_{column.key}", title=f"{column.title}, {model}", unit=column.unit,
               kind=column.kind)
        for column in own
        for i, (model, _) in enumerate(tables)
    )  # fmt: skip
    rows = tuple(
        (*lines[0][:same], *(line[same + j] for j in range(len(own)) for line in lines))
        for lines in zip(*(t.rows for t in shown), strict=True)
    )
    return replace(first, columns=columns, rows=rows)
