"""Look at the beginning of delimited text: what divides it, its header, and its columns."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from robreport import DataError
from robreport_plugins.loaders.bounded import UNPACKING, open_packed
from robreport_plugins.loaders.regular_file import DAMAGED, beginning
from robreport_plugins.loaders.wording import one_line, shown

MOST_BYTES = 64 << 20
MOST_ROWS = 200_000
_MOST_VALUES = 20_000
_DELIMITERS = (",", ";", "\t", "|")
_LOOKED_AT = 60
_COMMA = re.compile(r"([+-]?[0-9]+),([0-9]+)")
_POINT = re.compile(r"[+-]?[0-9]+\.[0-9]+")


@dataclass(slots=True)
class Column:
    """What a column holds, as far as it was read."""

    name: str
    numbers: int = 0
    whole: bool = True
    texts: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)
    missing: int = 0

    @property
    def many(self) -> bool:
        """Whether it holds more different values than are counted."""
        return len(self.values) >= _MOST_VALUES


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSample:
    """The beginning of a table."""

    columns: tuple[Column, ...]
    rows: int
    complete: bool
    header: bool = True
    delimiter: str = ","
    decimal: str = "."
    encoding: str = "utf-8"


def sample_table(path: Path, missing: tuple[str, ...]) -> TableSample | None:
    """Return the columns of delimited text, packed or not; None when it is none.

    At most `MOST_BYTES` and `MOST_ROWS` are read: the loader reads the whole later.
    """
    head, _ = beginning(path, path.name, DataError)
    stream, _ = open_packed(path, head)
    try:
        with stream:
            data = stream.read(MOST_BYTES)
    except UNPACKING as error:
        raise DataError(f"{path.name}: is damaged ({error}); copy or download it again.") from None
    complete = len(data) < MOST_BYTES
    if b"\0" in data[: 1 << 16]:
        return None
    if not complete:
        data = data[: data.rfind(b"\n") + 1]
    encoding = "utf-8"
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if any(byte < 9 or 13 < byte < 32 for byte in data[: 1 << 16]):
            return None
        encoding, text = "latin-1", data.decode("latin-1")
    delimiter = _delimiter(text)
    if delimiter is None:
        return None
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        table = [[cell.strip() for cell in row] for row in itertools.islice(rows, MOST_ROWS) if row]
    except csv.Error:
        return None
    width = len(table[0])
    table = [row for row in table if len(row) == width]
    decimal = "," if delimiter != "," and _decimal_commas(table) else "."
    if decimal == ",":
        table = [
            [_COMMA.sub(r"\1.\2", cell) if _COMMA.fullmatch(cell) else cell for cell in row]
            for row in table
        ]
    header = _has_header(table, missing, path.name)
    names = table[0] if header else [str(i) for i in range(width)]
    columns = tuple(Column(name) for name in names)
    body = table[1:] if header else table
    for row in body:
        for column, cell in zip(columns, row, strict=True):
            _count(column, cell, missing)
    return TableSample(
        columns=columns,
        rows=len(body),
        complete=complete and len(table) < MOST_ROWS,
        header=header,
        delimiter=delimiter,
        decimal=decimal,
        encoding=encoding,
    )


def sample_parquet(path: Path, missing: tuple[str, ...]) -> TableSample:
    """Return the columns of a Parquet file's first `MOST_ROWS` rows.

    Raises
    ------
    DataError
        It is damaged, or pyarrow is missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise DataError(
            f"{path.name}: reading Parquet needs pyarrow; pip install robreport[parquet]."
        ) from None
    damaged: tuple[type[Exception], ...] = (pyarrow.ArrowException, *DAMAGED)
    try:
        with parquet.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
            columns = tuple(Column(str(name)) for name in file.schema_arrow.names)
            rows = 0
            for batch in file.iter_batches(batch_size=10_000):
                for column, values in zip(columns, batch.columns, strict=True):
                    for value in values.to_pylist():
                        gap = value is None or value != value
                        _count(column, "" if gap else str(value), ("", *missing))
                rows += batch.num_rows
                if rows >= MOST_ROWS:
                    break
            return TableSample(columns=columns, rows=rows, complete=rows >= file.metadata.num_rows)
    except damaged as error:
        raise DataError(
            f"{path.name}: is a damaged Parquet file ({one_line(error)}); export it again."
        ) from None


def is_number(cell: str) -> bool:
    """Whether the text is a finite number as tables have them."""
    try:
        return "_" not in cell and math.isfinite(float(cell))
    except ValueError:
        return False


def _count(column: Column, cell: str, missing: tuple[str, ...]) -> None:
    if cell in missing:
        column.missing += 1
        return
    if not column.many:
        column.values[cell] += 1
    if is_number(cell):
        column.numbers += 1
        column.whole = column.whole and float(cell) == math.floor(float(cell))
    elif len(column.texts) < _MOST_VALUES:
        column.texts[cell] += 1


def _decimal_commas(table: list[list[str]]) -> bool:
    """Whether numbers such as 3,14 occur, and none such as 3.14."""
    cells = [cell for row in table[1:1000] for cell in row]
    return any(map(_COMMA.fullmatch, cells)) and not any(map(_POINT.fullmatch, cells))


def _delimiter(text: str) -> str | None:
    """Return what divides every one of the first lines into the same number of cells."""
    # as the reader divides lines: a name may hold what only Unicode counts as a line's end
    start = io.StringIO(text[: 1 << 20], newline="")
    lines = [line for line in itertools.islice(start, _LOOKED_AT + 1) if line.strip()]
    if len(lines) < 2:
        return None
    best, most = None, 1
    for delimiter in _DELIMITERS:
        try:
            rows = list(csv.reader(lines[:_LOOKED_AT], delimiter=delimiter, skipinitialspace=True))
        except csv.Error:
            continue
        counts = {len(row) for row in rows}
        if len(counts) == 1 and (count := counts.pop()) > most:
            best, most = delimiter, count
    return best


def _has_header(table: list[list[str]], missing: tuple[str, ...], where: str) -> bool:
    """Whether the first row names the columns: no numbers in it, and unlike what follows.

    Raises
    ------
    DataError
        It does, and gives two columns one name.
    """
    first, rest = table[0], table[1:1000]
    if any(is_number(cell) or not cell for cell in first) or not rest:
        return False
    below = [[row[i] for row in rest] for i in range(len(first))]
    numbers = any(sum(map(is_number, column)) > len(column) / 2 for column in below)
    if len(set(first)) < len(first):
        twice = next(cell for cell in first if first.count(cell) > 1)
        if numbers and twice not in missing:
            raise DataError(f"{where}: two of its columns are called {shown(twice)}; rename one.")
        return False
    if numbers:
        return True
    return all(name not in column for name, column in zip(first, below, strict=True))
