"""Read delimited text into columns, with bounds and clear refusals."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from robreport import DataError
from robreport_plugins.loaders.bounded import LARGEST
from robreport_plugins.loaders.raw_table import MOST_COLUMNS, Array, RawTable, check_names
from robreport_plugins.loaders.short_rows import first_short_row
from robreport_plugins.loaders.wording import one_line

if TYPE_CHECKING:
    import pandas as pd

_LONGEST_LINE = 16 * 2**20
_FIELDS = re.compile(r"Expected ([0-9]+) fields in line ([0-9]+), saw ([0-9]+)")
_OPEN_QUOTE = re.compile(r"EOF inside string starting at row ([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextForm:
    """How a table is written down: what stands between columns, in numbers, and for nothing."""

    delimiter: str
    decimal: str
    header: bool
    missing: tuple[str, ...]


class DelimitedText:
    """A table in delimited text, whose columns are read once it is known what they are."""

    def __init__(
        self, data: bytes | bytearray, form: TextForm, names: Sequence[str], where: str
    ) -> None:
        # Blank lines before the header would be skipped by one reading and not by the other.
        self._data = data.lstrip(b"\r\n")
        self._form = form
        self._where = where
        self._check_size()
        top = self._guarded(lambda: self._read(None, top=True))
        first = [str(name).strip() for name in top.iloc[0]]
        if names and len(names) != len(first):
            raise DataError(
                f"{where}: names gives {len(names)} columns, and the file has {len(first)}; "
                "name each, the label included."
            )
        found = [*names] or (first if form.header else [str(i) for i in range(len(first))])
        advice = ", or say header = false if the first row is data" if form.header else ""
        check_names(found, where, advice="" if names else advice)
        self.names = tuple(found)

    def read(self, used: Iterable[str], as_text: Iterable[str]) -> RawTable:
        """Return the columns in use: numbers where all values are, else text.

        Parameters
        ----------
        used : names
        as_text : names
            Columns whose values are kept as they are spelled, also where they look like numbers.

        Raises
        ------
        DataError
            No rows, rows of unequal length, or quotes that do not close.
        """
        form, where = self._form, self._where
        asked = frozenset(as_text)
        frame = self._guarded(lambda: self._read(asked))
        if not len(frame):
            raise DataError(f"{where}: has a header and no rows; export it again.")
        self._refuse_short_rows(frame)
        absent = frozenset(form.missing)
        columns = {name: _plain(frame[name], absent) for name in dict.fromkeys(used)}
        return RawTable(rows=len(frame), columns=columns, decimal=form.decimal)

    def _check_size(self) -> None:
        """Refuse what would have more columns or more cells than are read, before it is parsed."""
        line = self._data.partition(b"\n")[0].partition(b"\r")[0]
        if len(line) > _LONGEST_LINE:
            raise DataError(
                f"{self._where}: its first line has {len(line):,} bytes; at most "
                f"{_LONGEST_LINE:,} are read. Is it a table?"
            )
        wide = line.count(self._form.delimiter.encode()) + 1
        if wide > MOST_COLUMNS:
            raise DataError(
                f"{self._where}: has {wide:,} columns; at most {MOST_COLUMNS:,} are read. Is it "
                "the right delimiter?"
            )
        # lines may end in any of three ways
        ends = self._data.count(b"\n") + self._data.count(b"\r") - self._data.count(b"\r\n")
        cells = (ends + 1) * wide
        if cells * 8 > LARGEST:
            raise DataError(
                f"{self._where}: has about {cells:,} cells; at most {LARGEST // 8:,} are read, so "
                "split it into parts."
            )

    def _read(self, as_text: frozenset[str] | None, *, top: bool = False) -> pd.DataFrame:
        """Return the first row as text, or all rows."""
        import pandas as pd

        form = self._form
        # From 3.1 on, pandas reads every number to the nearest float and wants no say in it.
        version = tuple(int(part) for part in pd.__version__.split(".")[:2])
        exact: dict[str, Any] = {} if version >= (3, 1) else {"float_precision": "round_trip"}
        frame: pd.DataFrame = pd.read_csv(
            io.BytesIO(self._data),
            sep=form.delimiter,
            decimal=form.decimal,
            header=None,
            names=None if top else list(self.names),
            index_col=False,
            skiprows=0 if top or not form.header else 1,
            nrows=1 if top else None,
            dtype=str if top else dict.fromkeys(as_text or (), str),
            engine="c",
            encoding="utf-8",
            skipinitialspace=True,
            keep_default_na=False,
            na_values=[] if top else list(form.missing),
            low_memory=False,
            on_bad_lines="error",
            **exact,
        )
        return frame

    def _refuse_short_rows(self, frame: pd.DataFrame) -> None:
        """Refuse a row with fewer cells than columns, which would read as missing values."""
        width = len(self.names)
        if width == 1 or not frame[self.names[-1]].isna().any():
            return
        short = first_short_row(self._data, self._form.delimiter, width, self._where)
        if short is not None:
            row = short - (1 if self._form.header else 0)
            raise DataError(
                f"{self._where}: rows differ in their number of columns: row {row} (counted from "
                f"0) has fewer than {width}; correct it."
            )

    def _guarded(self, read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return what is read, or say in one sentence why it cannot be."""
        import pandas as pd

        where = self._where
        try:
            with warnings.catch_warnings():
                # pandas warns and cuts where a row has more entries than there are columns.
                warnings.simplefilter("error", pd.errors.ParserWarning)
                return read()
        except pd.errors.EmptyDataError:
            raise DataError(f"{where}: has no rows; export it again.") from None
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            raise DataError(
                f"{where}: {_unreadable(str(error))}; is delimiter = {self._form.delimiter!r} "
                "right?"
            ) from None
        except UnicodeDecodeError:
            raise DataError(
                f"{where}: is not UTF-8 text; name its encoding, such as encoding = 'latin-1'."
            ) from None
        except (ValueError, OverflowError) as error:
            raise DataError(f"{where}: cannot be read as a table ({one_line(error)}).") from None


def _unreadable(said: str) -> str:
    """Return what pandas found wrong with the rows in words of our own."""
    found = _FIELDS.search(said)
    if found is not None:
        wanted, line, there = (f"{int(number):,}" for number in found.groups())
        return (
            f"rows differ in their number of columns: line {line} has {there}, and those before "
            f"it {wanted}"
        )
    found = _OPEN_QUOTE.search(said)
    if found is not None:
        return f"a quote is opened in row {int(found[1]):,} (counted from 0) and never closed"
    if "overflow" in said:
        return "a value is too large to be read"
    return "rows differ in their number of columns, or quotes do not close"


def _plain(column: pd.Series[Any], missing: frozenset[str]) -> Array:
    """Return a column as numbers, or as stripped text with None where nothing is."""
    if column.dtype.kind in "biuf":
        return np.asarray(column.to_numpy())
    values = column.astype(object).to_numpy()
    there = ~np.asarray(column.isna())
    truths = [type(value) is bool for value in values[there].tolist()]
    if truths and all(truths):
        # as pandas reads them where none is missing
        numbers = np.full(len(values), np.nan)
        numbers[there] = values[there].astype(np.float64)
        return numbers
    kept = np.full(len(values), None, dtype=object)
    for row in np.flatnonzero(there).tolist():
        text = str(values[row]).strip()
        if text not in missing:
            kept[row] = text
    return kept
