"""A table as it stands in its file: names, and columns of numbers or of text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import DataError
from robreport_plugins.loaders.wording import listed, shown

Array = npt.NDArray[Any]

LONGEST_NAME = 200
MOST_COLUMNS = 100_000
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTable:
    """The columns in use of a file.

    Attributes
    ----------
    rows : int
    columns : mapping of name to array (rows,)
        Numbers with NaN for missing values, or objects: text, and None for missing values.
    decimal : str
        What separates the whole part of a number in text.
    """

    rows: int
    columns: Mapping[str, Array]
    decimal: str = "."

    def absent(self, name: str) -> npt.NDArray[np.bool_]:
        """Return which rows miss a value in a column."""
        column = self.columns[name]
        if column.dtype.kind == "f":
            return np.isnan(column)
        if column.dtype.kind == "O":
            return np.array([value is None for value in column.tolist()], dtype=np.bool_)
        return np.zeros(self.rows, dtype=np.bool_)

    def text(self, name: str) -> list[str | None]:
        """Return a column as text; 3.0 among numbers is "3"."""
        column = self.columns[name]
        if column.dtype.kind == "O":
            return column.tolist()  # type: ignore[no-any-return]
        return [None if value != value else _spelled(value) for value in column.tolist()]

    def numbers(self, name: str, where: str) -> npt.NDArray[np.float64]:
        """Return a column as float64, NaN for missing values.

        Raises
        ------
        DataError
            A value is no number, or is infinite; the sentence names its row.
        """
        column = self.columns[name]
        if column.dtype.kind == "O":
            column = self._parsed(column.tolist(), where)
        values = column.astype(np.float64)
        infinite = np.isinf(values)
        if infinite.any():
            row = int(np.argmax(infinite))
            raise DataError(
                f"{where}: holds {values[row]} in row {row} (counted from 0); infinite and too "
                "large values cannot be audited, so correct or remove them."
            )
        return values

    def _parsed(self, column: list[str | None], where: str) -> npt.NDArray[np.float64]:
        values = np.full(len(column), np.nan)
        wrong: list[int] = []
        for row, value in enumerate(column):
            if value is None:
                continue
            # with another decimal mark, a point could be one of thousands: that is not guessed
            other = self.decimal != "."
            plain = value.replace(self.decimal, ".", 1) if other and "." not in value else value
            if _NUMBER.fullmatch(plain) and not (other and "." in value):
                values[row] = float(plain)
            else:
                wrong.append(row)
        if not wrong:
            return values
        if len(wrong) < np.count_nonzero([value is not None for value in column]):
            raise DataError(
                f"{where}: holds {shown(column[wrong[0]])} in row {wrong[0]} (counted from 0), and "
                f"numbers in others ({len(wrong):,} values are none); correct it, name it in "
                "missing, or declare the column in schema.categorical."
            )
        found = sorted({str(value) for value in column if value is not None})
        raise DataError(
            f"{where}: holds text ({listed(map(shown, found), 4)}); declare it in "
            "schema.categorical, or leave it out with schema.drop."
        )


def check_names(names: Iterable[str], where: str, *, advice: str) -> None:
    """Check the names of a table's columns.

    Raises
    ------
    DataError
        A name is empty, too long or stands twice, or there are too many.
    """
    every = list(names)
    if len(every) > MOST_COLUMNS:
        raise DataError(
            f"{where}: has {len(every):,} columns; at most {MOST_COLUMNS:,} are read. Is it the "
            "right delimiter?"
        )
    twice = [name for name, count in Counter(every).items() if count > 1]
    if twice:
        raise DataError(
            f"{where}: the column names {listed(map(shown, twice))} repeat; rename them{advice}."
        )
    if "" in every:
        raise DataError(f"{where}: column {every.index('') + 1} has no name; name it{advice}.")
    long = next((name for name in every if len(name) > LONGEST_NAME), None)
    if long is not None:
        raise DataError(
            f"{where}: the name of column {every.index(long) + 1} has {len(long):,} characters; at "
            f"most {LONGEST_NAME} are taken{advice}."
        )


def _spelled(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
