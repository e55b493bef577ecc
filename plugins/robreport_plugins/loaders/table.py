"""The ``csv`` loader: tables of numbers, categories and a label in delimited text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from robreport import DataFile, DataGuess, LoadedData, Params, SplitSource
from robreport_plugins.loaders.packed_text import check_encoding, read_text
from robreport_plugins.loaders.table_columns import find_columns
from robreport_plugins.loaders.table_options import TableOptions


class CsvOptions(TableOptions):
    """Keys of ``loader = "csv"`` under [data] or one of its splits."""

    path: str = Field(
        min_length=1,
        description="The file, relative to root; may be packed (.gz, .xz, .bz2, or a .zip of one).",
    )
    header: bool = Field(True, description="Whether the first row names the columns.")
    delimiter: str = Field(",", min_length=1, max_length=1, description="What separates columns.")
    decimal: str = Field(
        ".",
        min_length=1,
        max_length=1,
        description="What separates the whole part of a number from the rest.",
    )
    encoding: Annotated[str, AfterValidator(check_encoding)] = Field(
        "utf-8", description="Encoding of the text, such as 'latin-1'."
    )

    @model_validator(mode="after")
    def _told_apart(self) -> CsvOptions:
        if self.decimal == self.delimiter:
            raise ValueError(f"decimal and delimiter are both {self.decimal!r}")
        if self.decimal.isalnum() or self.decimal in "+-\"'":
            raise ValueError(f"decimal = {self.decimal!r} stands in numbers for something else")
        if self.delimiter in '"\r\n' or not self.delimiter.isascii():
            raise ValueError(f"delimiter = {self.delimiter!r} cannot separate columns")
        return self


class CsvLoader:
    """Loads tables from delimited text."""

    Options: ClassVar[type[Params]] = CsvOptions
    summary: ClassVar[str] = "Table in delimited text (CSV), packed or not"

    def recognise(self, question: DataFile) -> DataGuess | None:
        """Return what a table is for a drafted audit; None when it is something else."""
        from robreport_plugins.loaders.table_guess import guess_text

        return guess_text(question, CsvOptions.model_fields["missing"].default)

    def files(self, source: SplitSource) -> tuple[Path, ...]:
        """Return the file that `load` reads."""
        path: str = source.options.path
        return (source.root / path,)

    def load(self, source: SplitSource) -> LoadedData:
        """Return a table ``(n, d)`` float64 with its columns' names, and the label.

        Raises
        ------
        DataError
            The file is damaged, a value is no number, or a column is not there.
        """
        from robreport_plugins.loaders.delimited import DelimitedText, TextForm
        from robreport_plugins.loaders.table_data import table_data

        options: CsvOptions = source.options
        path = source.root / options.path
        where = f"data.{source.role} ({path.name})"
        form = TextForm(
            delimiter=options.delimiter,
            decimal=options.decimal,
            header=options.header,
            missing=options.missing,
        )
        data = read_text(path, options.encoding, where)
        text = DelimitedText(data, form, options.names, where)
        columns = find_columns(options, source.declared_schema, text.names, source.role, where)
        table = text.read(columns.used, columns.spelled(source.task))
        return table_data(table, columns, text.names, source, where)
