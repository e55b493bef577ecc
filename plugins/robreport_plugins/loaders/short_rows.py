"""Find the row of a delimited text that has too few cells."""

from __future__ import annotations

import csv
import io

import numpy as np

from robreport import DataError


def first_short_row(data: bytes | bytearray, delimiter: str, width: int, where: str) -> int | None:
    """Return the number, from 0, of the first row with fewer than `width` cells; None for none.

    pandas fills such a row up with empty cells, so that it would pass for one of missing values.
    Rows of nothing but blanks do not count, as pandas skips them.

    Raises
    ------
    DataError
        A cell is longer than Python's own reader takes.
    """
    if b'"' in data:
        return _by_reader(data, delimiter, width, where)
    # Without quotes, delimiters are counted in one go.
    text = bytes(data).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not text.endswith(b"\n"):
        text += b"\n"
    letters = np.frombuffer(text, dtype=np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    marks = np.flatnonzero(letters == ord(delimiter))
    cells = np.searchsorted(marks, ends) - np.searchsorted(marks, starts) + 1
    blanks = b" \t".replace(delimiter.encode(), b"")
    for skipped, line in enumerate(np.flatnonzero(cells < width).tolist()):
        if text[starts[line] : ends[line]].strip(blanks):
            return int(line - skipped)
    return None


def _by_reader(data: bytes | bytearray, delimiter: str, width: int, where: str) -> int | None:
    stream = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace", newline="")
    row = 0
    try:
        for cells in csv.reader(stream, delimiter=delimiter, skipinitialspace=True):
            if not cells or (len(cells) == 1 and not cells[0].strip()):
                continue
            if len(cells) < width:
                return row
            row += 1
    except csv.Error as error:
        raise DataError(f"{where}: has a row that cannot be read ({error}); correct it.") from None
    return None
