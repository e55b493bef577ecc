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
MOST_COLUMNS = 7
"""A table of more is set smaller from the start."""
ROOMY, NARROWEST = 1.6, 45.0
"""A table of few short columns is not stretched over the whole page."""
# (class of the style sheet, characters of a line, those after a column of numbers, of words)
_SIZES = (("", LINE, 2.2, 2.2), ("dense", 126, 1.4, 2.2), ("dense denser", 147, 1.5, 2.5))
# what words keep from the numbers before them
_BESIDE = 1.6
# a digit is wider than most letters, a capital or a sign of arithmetic more so
_DIGIT = 1.1
_BROAD = 1.35
_SIGNS = frozenset("<>=+~\u00b1\u00d7\u2264\u2265%@")
# what a column of words keeps
_SHORT = 8.0
_LONGEST = 56
_NUMBERS = ("number", "share", "interval", "share_interval", "integer")
_SAMPLE = 80


@dataclass(frozen=True, slots=True)
class Widths:
    """Width of a table, and of each of its columns within it, in percent; the size of its text."""

    table: float
    columns: tuple[float, ...]
    size: str


def widths(block: TableBlock, labels: Mapping[str, str]) -> Widths:
    """Return how wide a table and its columns should be, and how small its text.

    A column gets what its longest line needs where all fit; else each gets its longest word,
    and the rest is shared by what is left to set. Where not even the words fit, the text is set
    smaller, and at last columns of words give way to those of numbers.
    """
    step = max(1, len(block.rows) // _SAMPLE)
    sample = block.rows[::step]
    for size in _SIZES[len(block.columns) > MOST_COLUMNS :]:
        text, line, *gaps = size
        least, whole, most = [], [], []
        for j, column in enumerate(block.columns):
            heading = f"{column.title} ({column.unit})" if column.unit else column.title
            cells = [_parts(row[j], column.kind, labels) for row in sample]
            gap = gaps[column.kind not in _NUMBERS]
            if j and column.kind not in _NUMBERS and block.columns[j - 1].kind in _NUMBERS:
                gap += _BESIDE
            words = [_word(heading) * 1.12] + [_word(p) for parts in cells for p in parts]
            lines = [len(heading) * 1.05] + [sum(len(p) + 1 for p in ps) - 1 for ps in cells]
            least.append(min(max(words), 24) + gap)
            whole.append(max(least[-1], max(lines) + gap if column.kind in _NUMBERS else 0.0))
            most.append(min(max(lines), _LONGEST * 2) + gap)
        if sum(least) <= line:
            break
    if sum(whole) <= line:
        # a number keeps its interval on its line
        least = whole
    most = [max(a, b) for a, b in zip(least, most, strict=True)]
    table = 100.0
    if sum(most) * ROOMY < line:
        table = max(NARROWEST, 100 * sum(most) * ROOMY / line)
    if sum(most) <= line:
        # what is left goes to the columns of text; numbers stay together
        given = _spread(most, [m if c.kind == "text" else 1.0
                               for m, c in zip(most, block.columns, strict=True)],
                        line * table / 100 - sum(most))  # fmt: skip
    elif sum(least) <= line:
        room = [b - a for a, b in zip(least, most, strict=True)]
        given = _spread(least, [r**0.75 for r in room], line - sum(least))
    else:
        given = _squeezed(least, [c.kind in _NUMBERS for c in block.columns], line)
    total = sum(given)
    shares = tuple(round(100 * one / total, 2) for one in given)
    return Widths(table=round(table, 1), columns=shares, size=text)


def _squeezed(least: Sequence[float], numbers: Sequence[bool], line: float) -> list[float]:
    """Take what is missing from the columns of words, from the widest first."""
    most = max((w for w, number in zip(least, numbers, strict=True) if not number), default=0.0)
    given = list(least)
    while sum(given) > line and most > _SHORT:
        most -= 0.25
        given = [w if n else min(w, most) for w, n in zip(least, numbers, strict=True)]
    return given


def _spread(base: Sequence[float], weights: Sequence[float], extra: float) -> list[float]:
    total = sum(weights) or 1.0
    return [one + extra * weight / total for one, weight in zip(base, weights, strict=True)]


def _word(text: str) -> float:
    """Length of the longest piece that should not be broken."""
    words = text.replace("-", "- ").split(" ")
    return max(map(_length, words), default=0.0)


def _length(word: str) -> float:
    digits = word[:1].isdigit()
    return sum(
        _BROAD if letter.isupper() or letter in _SIGNS
        else _DIGIT if digits or letter.isdigit()
        else 1.0
        for letter in word
    )  # fmt: skip


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
