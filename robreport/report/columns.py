"""Widths of a table's columns in print, from the length of what stands in them.

WeasyPrint can find them itself, but sets every word of every cell for that: most of the time
that a report takes. In HTML the browser does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robreport.document import Chip, Limit, Link, Note, Quantity, TableBlock
from robreport.report import numbers

LINE = 112
"""Characters of table text that fit into the text column."""
ROOMY, NARROWEST = 1.6, 45.0
"""A table of few short columns is not stretched over the whole page."""
_GAP = 2.2
_LONGEST = 56
_NUMBERS = ("number", "share", "interval", "share_interval", "integer")
_SAMPLE = 80


@dataclass(frozen=True, slots=True)
class Widths:
    """Width of a table, and of each of its columns within it, in percent."""

    table: float
    columns: tuple[float, ...]


def widths(block: TableBlock, labels: Mapping[str, str]) -> Widths:
    """Return how wide a table and its columns should be.

    A column gets what its longest line needs where all fit; else each gets its longest word,
    and the rest is shared by what is left to set.
    """
    step = max(1, len(block.rows) // _SAMPLE)
    sample = block.rows[::step]
    least, whole, most = [], [], []
    for j, column in enumerate(block.columns):
        heading = f"{column.title} ({column.unit})" if column.unit else column.title
        cells = [_parts(row[j], column.kind, labels) for row in sample]
        words = [_word(heading) * 1.12] + [_word(part) for parts in cells for part in parts]
        lines = [len(heading) * 1.05] + [sum(len(p) + 1 for p in parts) - 1 for parts in cells]
        least.append(min(max(words), 24) + _GAP)
        whole.append(max(least[-1], max(lines) + _GAP if column.kind in _NUMBERS else 0.0))
        most.append(min(max(lines), _LONGEST * 2) + _GAP)
    if sum(whole) <= LINE:
        # a number keeps its interval on its line
        least = whole
    most = [max(a, b) for a, b in zip(least, most, strict=True)]
    table = 100.0
    if sum(most) * ROOMY < LINE:
        table = max(NARROWEST, 100 * sum(most) * ROOMY / LINE)
    if sum(most) <= LINE:
        # what is left goes to the columns of text; numbers stay together
        given = _spread(most, [m if c.kind == "text" else 1.0
                               for m, c in zip(most, block.columns, strict=True)],
                        LINE * table / 100 - sum(most))  # fmt: skip
    elif sum(least) <= LINE:
        room = [b - a for a, b in zip(least, most, strict=True)]
        given = _spread(least, [r**0.75 for r in room], LINE - sum(least))
    else:
        given = least
    total = sum(given)
    shares = tuple(round(100 * one / total, 2) for one in given)
    return Widths(table=round(table, 1), columns=shares)


def _spread(base: Sequence[float], weights: Sequence[float], extra: float) -> list[float]:
    total = sum(weights) or 1.0
    return [one + extra * weight / total for one, weight in zip(base, weights, strict=True)]


def _word(text: str) -> float:
    """Length of the longest piece that should not be broken."""
    return max((len(word) for word in text.replace("-", "- ").split(" ")), default=0)


def _parts(cell: Any, kind: str, labels: Mapping[str, str]) -> list[str]:
    """The texts of a cell; a unit and its number stay one word."""
    if cell is None:
        return ["–"]
    if isinstance(cell, tuple):
        return [part for one in cell for part in _parts(one, kind, labels)]
    if isinstance(cell, Quantity):
        reason = cell.reason if cell.value is None else ""
        shown = numbers.quantity(cell).replace(" ", numbers.NARROW)
        return [shown, numbers.quantity_interval(cell).replace(" ", numbers.NARROW), reason]
    if isinstance(cell, Limit):
        return [numbers.limit(cell).replace(" ", numbers.NARROW)]
    if isinstance(cell, Chip):
        return [f"{cell.words or cell.status.value}_____".replace(" ", "_"), cell.text]
    if isinstance(cell, Link):
        return [cell.text or labels.get(cell.anchor, cell.anchor)]
    if isinstance(cell, Note):
        return [cell.text]
    share = kind in ("share", "share_interval")
    if isinstance(cell, list):
        known = [part for part in cell if part is not None]
        if len(cell) != 3 or len(known) != 3:
            return ["100.0 %"]
        between = numbers.interval(known[1], known[2], "share" if share else "")
        value = numbers.share(known[0]) if share else numbers.number(known[0])
        return [f"{value}{numbers.NARROW}({between})".replace(" ", numbers.NARROW)]
    if isinstance(cell, str):
        return [cell]
    return [numbers.share(float(cell)) if share else numbers.number(cell)]
