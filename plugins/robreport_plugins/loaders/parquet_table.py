"""The ``parquet`` loader: tables in the columns' own types."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from robreport import DataError, DataFile, DataGuess, LoadedData, Params, SplitSource
from robreport_plugins.loaders.bounded import LARGEST
from robreport_plugins.loaders.raw_table import Array, RawTable, check_names
from robreport_plugins.loaders.regular_file import DAMAGED, beginning
from robreport_plugins.loaders.table_columns import find_columns
from robreport_plugins.loaders.table_options import TableOptions
from robreport_plugins.loaders.wording import one_line, shown

_MAGIC = b"PAR1"
_BATCH = 65_536


class ParquetOptions(TableOptions):
    """Keys of ``loader = "parquet"`` under [data] or one of its splits."""

    path: str = Field(min_length=1, description="The .parquet file, relative to root.")


class ParquetLoader:
    """Loads tables from Parquet files."""

    Options: ClassVar[type[Params]] = ParquetOptions
    summary: ClassVar[str] = "Table in a Parquet file (needs robreport[parquet])"

    def recognise(self, question: DataFile) -> DataGuess | None:
        """Return what a table is for a drafted audit; None when it is something else."""
        from robreport_plugins.loaders.table_guess import guess_parquet

        return guess_parquet(question, ParquetOptions.model_fields["missing"].default)

    def files(self, source: SplitSource) -> tuple[Path, ...]:
        """Return the file that `load` reads."""
        path: str = source.options.path
        return (source.root / path,)

    def load(self, source: SplitSource) -> LoadedData:
        """Return a table ``(n, d)`` float64 with its columns' names, and the label.

        Nulls are missing values, as are NaN and, in columns of text, the tokens of `missing`.

        Raises
        ------
        DataError
            pyarrow is missing, the file is damaged or too large, or a column in use is of a type
            that is neither number nor text.
        """
        from robreport_plugins.loaders.table_data import table_data

        options: ParquetOptions = source.options
        path = source.root / options.path
        where = f"data.{source.role} ({path.name})"
        head, _ = beginning(path, where, DataError)
        if not head.startswith(_MAGIC):
            raise DataError(f"{where}: is no Parquet file; name the loader that it is for.")
        try:
            import pyarrow
            import pyarrow.parquet as parquet
        except ImportError:
            raise DataError(
                f"{where}: reading Parquet needs pyarrow; pip install robreport[parquet]."
            ) from None
        damaged: tuple[type[Exception], ...] = (pyarrow.ArrowException, *DAMAGED)
        try:
            with parquet.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
                names = _names(file, options, where)
                columns = find_columns(options, source.declared_schema, names, source.role, where)
                words = columns.spelled(source.task)
                table = _read(file, names, columns.used, words, frozenset(options.missing), where)
        except damaged as error:
            raise DataError(
                f"{where}: is a damaged Parquet file ({one_line(error)}); export it again."
            ) from None
        return table_data(table, columns, names, source, where)


def _names(file: Any, options: ParquetOptions, where: str) -> tuple[str, ...]:
    own = [str(name) for name in file.schema_arrow.names]
    if options.names and len(options.names) != len(own):
        raise DataError(
            f"{where}: names gives {len(options.names)} columns, and the file has {len(own)}; "
            "name each, the label included."
        )
    found = options.names or tuple(own)
    check_names(found, where, advice="")
    return found


def _read(
    file: Any, names: tuple[str, ...], used: tuple[str, ...], words: frozenset[str],
    missing: frozenset[str], where: str,
) -> RawTable:  # fmt: skip
    """Return the columns in use, read a batch at a time so that their size is watched."""
    rows = int(file.metadata.num_rows)
    if rows < 1:
        raise DataError(f"{where}: has no rows; export it again.")
    if rows * len(used) * 8 > LARGEST:
        raise DataError(
            f"{where}: claims {rows:,} rows; with {len(used):,} columns in use they need more than "
            f"{LARGEST:,} bytes, so split it into parts."
        )
    positions = [names.index(name) for name in used]
    fields = [file.schema_arrow.field(position) for position in positions]
    for name, field in zip(used, fields, strict=True):
        _check_type(field.type, f"{where}, column {shown(name)}")
    own = [field.name for field in fields]
    if len(set(file.schema_arrow.names)) < len(file.schema_arrow.names):
        raise DataError(f"{where}: has two columns of the same name; rename them in the file.")
    parts: dict[str, list[Array]] = {name: [] for name in used}
    size = count = 0
    for batch in file.iter_batches(batch_size=_BATCH, columns=own, use_threads=False):
        size += batch.nbytes
        count += batch.num_rows
        if size > LARGEST or count > rows:
            raise DataError(
                f"{where}: unpacks to more than {LARGEST:,} bytes or more rows than it claims; "
                "split it into parts."
            )
        for name, column in zip(own, used, strict=True):
            parts[column].append(_values(batch.column(name), missing, spell=column in words))
    if count != rows:
        raise DataError(f"{where}: holds {count:,} of the {rows:,} rows that it claims.")
    return RawTable(rows=rows, columns={name: _joined(found) for name, found in parts.items()})


def _check_type(kind: Any, where: str) -> None:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    known = (
        types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_string,
        types.is_large_string, types.is_string_view, types.is_null,
    )  # fmt: skip
    if not any(is_it(kind) for is_it in known):
        raise DataError(
            f"{where}: is of the type {shown(kind)}, and numbers or text are needed; turn it into "
            "one, or leave it out with schema.drop."
        )


def _values(column: Any, missing: frozenset[str], *, spell: bool) -> Array:
    """Return a part of a column: numbers with NaN for nulls, or text with None.

    Whole numbers and truths are spelled where names are asked for: 1 is "1", true "True".
    """
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    if types.is_decimal(kind):
        values = [np.nan if value is None else float(value) for value in column.to_pylist()]
        return np.array(values, dtype=np.float64)
    if spell and (types.is_integer(kind) or types.is_boolean(kind)):
        names = [None if value is None else str(value) for value in column.to_pylist()]
        return np.array(names, dtype=object)
    if types.is_integer(kind) and not column.null_count:
        return np.asarray(column.to_numpy(zero_copy_only=False))
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False)).astype(np.float64)
    kept = np.full(len(column), None, dtype=object)
    for row, value in enumerate(column.to_pylist()):
        text = None if value is None else str(value).strip()
        if text is not None and text not in missing:
            kept[row] = text
    return kept


def _joined(parts: list[Array]) -> Array:
    """Return the parts as one column: text where any part is, None for its missing values."""
    if any(part.dtype.kind == "O" for part in parts):
        parts = [p if p.dtype.kind == "O" else np.full(len(p), None, dtype=object) for p in parts]
    return np.concatenate(parts)
