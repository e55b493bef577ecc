"""What all rows of a wide table are about, said once in its caption instead of in a column.

Only words move there: numbers are what a table is read for, and stand in it however equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from robreport.result import Table

LEAST_ROWS, LEAST_COLUMNS = 3, 7
"""Fewer rows are as soon read as a sentence; fewer columns have room."""
_KEPT = 2
"""Columns that a table has to have left."""


def same_throughout(tables: Sequence[Table]) -> tuple[int, ...]:
    """Return the places of the columns of text that say one thing in each of the tables.

    The tables are those of a measurement's models; what they say may differ between them.
    """
    columns = tables[0].columns if tables else ()
    if len(columns) < LEAST_COLUMNS or any(
        table.columns != columns or len(table.rows) < LEAST_ROWS for table in tables
    ):
        return ()
    still = tuple(
        j
        for j, column in enumerate(columns)
        if column.kind == "text" and all(_one_word(table, j) for table in tables)
    )
    return still if len(columns) - len(still) >= _KEPT else ()


def without(table: Table, places: Sequence[int]) -> Table:
    """Return a table without the columns at those places."""
    left = [j for j in range(len(table.columns)) if j not in places]
    return replace(
        table,
        columns=tuple(table.columns[j] for j in left),
        rows=tuple(tuple(row[j] for j in left) for row in table.rows),
    )


def in_every_row(tables: Sequence[tuple[str, Table]], places: Sequence[int]) -> str:
    """Return what those columns say, naming each (model, table) where they do not agree."""
    if not places:
        return ""
    told = "; ".join(_said(tables, j) for j in places)
    return f"In every row, {told}{'' if told.endswith('.') else '.'}"


def _one_word(table: Table, place: int) -> bool:
    first = table.rows[0][place]
    return bool(isinstance(first, str) and first) and all(r[place] == first for r in table.rows)


def _said(tables: Sequence[tuple[str, Table]], place: int) -> str:
    title = tables[0][1].columns[place].title
    words = [str(table.rows[0][place]) for _, table in tables]
    if len(set(words)) == 1:
        return f"{title}: {words[0]}"
    named = (f"{word} ({model})" for word, (model, _) in zip(words, tables, strict=True))
    return f"{title}: {', '.join(named)}"
