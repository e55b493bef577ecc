"""Read delimited text, packed or not, into a data frame, with bounds and clear refusals."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robreport import DataError
from robreport_plugins.loaders.bounded import open_packed, read_all
from robreport_plugins.loaders.regular_file import beginning
from robreport_plugins.loaders.wording import listed, one_line

if TYPE_CHECKING:
    import pandas as pd

_LARGEST_TEXT = 2 * 2**30


def read_table(
    path: Path, *, delimiter: str, header: bool, missing: tuple[str, ...], where: str
) -> pd.DataFrame:
    """Return the table: numeric columns as numbers, others as text, missing values as NaN.

    Parameters
    ----------
    path : Path
    delimiter : str
        One character.
    header : bool
        Whether the first row names the columns; otherwise they are named "0", "1", ...
    missing : tuple of str
        What stands for a missing value, and nothing else does.
    where : str
        How sentences begin.

    Raises
    ------
    DataError
        Missing, damaged or not UTF-8; no rows; names that repeat; rows of unequal length.
    """
    import pandas as pd

    head, _ = beginning(path, where, DataError)
    stream, _ = open_packed(path, head)
    with stream:
        # Blank lines before the header would be skipped by one reading and not by the other.
        data = read_all(stream, where, _LARGEST_TEXT).lstrip(b"\r\n")
    if b"\x00" in data:
        raise DataError(f"{where}: holds zero bytes, so it is no text table; save it as UTF-8.")

    # From 3.1 on, pandas reads every number to the nearest float and wants no say in it.
    version = tuple(int(part) for part in pd.__version__.split(".")[:2])
    exact: dict[str, Any] = {} if version >= (3, 1) else {"float_precision": "round_trip"}

    def read(first: bool, names: list[str] | None, skip: int) -> pd.DataFrame:
        frame: pd.DataFrame = pd.read_csv(
            io.BytesIO(data),
            sep=delimiter,
            header=None,
            names=names,
            index_col=False,
            skiprows=skip,
            nrows=1 if first else None,
            dtype=str if first else None,
            engine="c",
            encoding="utf-8-sig",
            skipinitialspace=True,
            keep_default_na=False,
            na_values=[] if first else list(missing),
            **exact,
            low_memory=False,
            on_bad_lines="error",
        )
        return frame

    try:
        with warnings.catch_warnings():
            # pandas warns and cuts where a row has more entries than there are columns.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            top = [str(name).strip() for name in read(True, None, 0).iloc[0]]
            names = top if header else [str(i) for i in range(len(top))]
            _check_names(names, where)
            frame = read(False, names, 1 if header else 0)
    except pd.errors.EmptyDataError:
        raise DataError(f"{where}: has no rows; export it again.") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise DataError(
            f"{where}: rows differ in their number of columns, or quotes do not close "
            f"({one_line(error)}); is delimiter = {delimiter!r} right?"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{where}: is not UTF-8 text; save it as UTF-8.") from None
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: cannot be read as a table ({one_line(error)}).") from None
    if not len(frame):
        raise DataError(f"{where}: has a header and no rows; export it again.")
    return frame


def _check_names(names: list[str], where: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{where}: the column names {listed(map(repr, twice))} repeat; rename them, or say "
            "header = false if the first row is data."
        )
    if "" in names:
        raise DataError(
            f"{where}: column {names.index('') + 1} has no name; name it, or say header = false "
            "if the first row is data."
        )
