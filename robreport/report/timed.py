"""Tables with the seconds that the record keeps apart from what is the same in every run."""

from __future__ import annotations

from dataclasses import replace

from robreport.result import Result, Table


def timed(result: Result, key: str) -> Table:
    """Return a table of a result, with seconds where its cells name what they were spent on."""
    table = result.tables[key]
    places = [i for i, column in enumerate(table.columns) if column.kind == "spent"]
    if not places:
        return table
    columns = tuple(
        replace(column, kind="number", unit=column.unit or "s")
        if column.kind == "spent"
        else column
        for column in table.columns
    )
    rows = tuple(
        tuple(result.spent.get(str(cell)) if i in places else cell for i, cell in enumerate(row))
        for row in table.rows
    )
    return replace(table, columns=columns, rows=rows)
