"""What all rows of a wide table say alike, said once in its caption instead of in a column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from robreport.report import numbers
from robreport.result import Table

LEAST_ROWS, LEAST_COLUMNS = 3, 7
"""Fewer rows are as soon read as a sentence; fewer columns have room."""
_KEPT = 2
"""Columns that a table has to have left."""


def same_throughout(tables: Sequence[Table]) -> tuple[int, ...]:
    """Return the places of the columns that say one thing in each of the tables.

    The tables are those of a measurement's models; what they say may differ between them.
    """
    columns = tables[0].columns if tables else ()
    if len(columns) < LEAST_COLUMNS or any(
        table.columns != columns or len(table.rows) < LEAST_ROWS for table in tables
    ):
        return ()
    still = tuple(j for j in range(len(columns)) if all(_one_value(table, j) for table in tables))
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
    return f"In every row: {'; '.join(_said(tables, j) for j in places)}."


def _one_value(table: Table, place: int) -> bool:
    first = table.rows[0][place]
    return first is not None and all(row[place] == first for row in table.rows)


def _said(tables: Sequence[tuple[str, Table]], place: int) -> str:
    column = tables[0][1].columns[place]
    unit = f"{numbers.NARROW}{column.unit}" if column.unit else ""
    values = [numbers.cell(table.rows[0][place], column.kind) + unit for _, table in tables]
    if len(set(values)) == 1:
        return f"{column.title} {values[0]}"
    named = (f"{value} for {model}" for value, (model, _) in zip(values, tables, strict=True))
    return f"{column.title} {' and '.join(named)}"
