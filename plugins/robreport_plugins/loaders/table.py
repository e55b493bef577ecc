"""The ``csv`` loader: tables of numbers, categories and a label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from robreport import DataError, LoadedData, Params, SplitSource
from robreport_plugins.loaders.labels import may_lack_labels, named_codes, target_values
from robreport_plugins.loaders.seeded_split import Part, part_of_role, split_rows
from robreport_plugins.loaders.wording import did_you_mean, listed

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
Position = Annotated[int, Field(strict=True)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]


class CsvOptions(Params):
    """Keys of ``loader = "csv"`` under [data] or one of its splits."""

    path: str = Field(
        min_length=1, description="The file, relative to root; may be packed (.gz, .xz, .bz2)."
    )
    label: str | Position | None = Field(
        None,
        description="Name or position of the label's column (-1 is the last); by default the "
        "label of [data] schema.",
    )
    columns: tuple[str | Position, ...] | None = Field(
        None,
        min_length=1,
        description="Names or positions of the columns to use, in this order; all but the label "
        "when left out.",
    )
    header: bool = Field(True, description="Whether the first row names the columns.")
    delimiter: str = Field(",", min_length=1, max_length=1, description="What separates columns.")
    missing: tuple[str, ...] = Field(
        ("", "?", "NA", "N/A", "NaN", "nan", "null"),
        description="What stands for a missing value; missing values are refused.",
    )
    categories: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Values of each column of categories, in the order of their codes 0, 1, 2 ...",
    )
    classes: tuple[str, ...] = Field(
        (), description="Values of the label in the order of their class numbers."
    )
    test_size: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of the rows that are the test part, where one file holds both.",
    )
    part: Literal["train", "test", "all"] | None = Field(
        None,
        description="Which part of a divided file; by default train for the train split and test "
        "for the test split.",
    )
    random_state: Seed = Field(0, description="Seed of the division.")
    stratify: bool = Field(True, description="Keep the share of each class the same in both parts.")


class CsvLoader:
    """Loads tables from delimited text."""

    Options: ClassVar[type[Params]] = CsvOptions
    summary: ClassVar[str] = "Table in delimited text (CSV), packed or not"

    def files(self, source: SplitSource) -> tuple[Path, ...]:
        """Return the file that `load` reads."""
        path: str = source.options.path
        return (source.root / path,)

    def load(self, source: SplitSource) -> LoadedData:
        """Return a table ``(n, d)`` float64 with its columns' names, and the label.

        Labels of a classification are numbered by `classes`, or else by the values that occur
        in the file, in their order; the names go along, so that splits can be matched by name.

        Raises
        ------
        DataError
            The file is damaged, a value is missing or no number, or a column is not there.
        """
        from robreport_plugins.loaders.delimited import read_table

        options: CsvOptions = source.options
        path = source.root / options.path
        where = f"data.{source.role} ({path.name})"
        frame = read_table(
            path,
            delimiter=options.delimiter,
            header=options.header,
            missing=options.missing,
            where=where,
        )
        names = [str(name) for name in frame.columns]
        label = _label(options, source.declared_schema, names, where)
        if label is None and not may_lack_labels(source.role):
            raise DataError(
                f"{where}: say which column is the label (label = 'NAME' or a position)."
            )
        features = _features(options, names, label, where)
        used = features if label is None else [*features, label]
        _refuse_missing(frame, used, where)
        x = np.column_stack(
            [_numbers(frame, name, options, source.declared_schema, where) for name in features]
        )
        y: Array | None = None
        classes: tuple[str, ...] = ()
        if label is not None:
            column = frame[label]
            if source.task == "regression":
                y = target_values(_plain(column), f"{where}, column {label!r}")
            else:
                values = _plain(column).tolist()
                y, classes = named_codes(values, options.classes, f"{where}, column {label!r}")
        rows, share = _rows(options, source, y, len(frame), where)
        return LoadedData(
            x=x[rows],
            y=None if y is None else y[rows],
            layout="table",
            source=f"table {path.name}, {share}{len(rows):,} rows of {len(features)} columns",
            classes=classes,
            features=tuple(features),
            index=rows,
        )


def _rows(
    options: CsvOptions, source: SplitSource, y: Array | None, count: int, where: str
) -> tuple[npt.NDArray[np.int64], str]:
    """Return the rows of this split, and words for the part that they are."""
    if options.test_size is None:
        if options.part not in (None, "all"):
            raise DataError(
                f"{where}: part = {options.part!r} needs test_size, the share of the test part."
            )
        return np.arange(count, dtype=np.int64), ""
    part: Part = part_of_role(source.role, options.part, where)
    rows = split_rows(
        y,
        count,
        part,
        test_size=options.test_size,
        random_state=options.random_state,
        stratify=options.stratify and source.task != "regression" and y is not None,
        where=where,
    )
    return rows, f"the {part} part, " if part != "all" else ""


def _column(given: str | int, names: list[str], key: str, where: str) -> str:
    """Return the name of a column given by name or position."""
    if isinstance(given, int):
        if not -len(names) <= given < len(names):
            raise DataError(
                f"{where}: {key} = {given} is no position among {len(names)} columns, "
                f"0 to {len(names) - 1}."
            )
        return names[given]
    if given not in names:
        raise DataError(
            f"{where}: {key} names the column {given!r}, and the file has {listed(names)}."
            f"{did_you_mean(given, names)}"
        )
    return given


def _label(
    options: CsvOptions, schema: Mapping[str, Any], names: list[str], where: str
) -> str | None:
    given = options.label if options.label is not None else schema.get("label")
    return None if given is None else _column(given, names, "label", where)


def _features(options: CsvOptions, names: list[str], label: str | None, where: str) -> list[str]:
    if options.columns is None:
        features = [name for name in names if name != label]
    else:
        features = [_column(given, names, "columns", where) for given in options.columns]
    if label in features:
        raise DataError(f"{where}: columns includes the label {label!r}; leave it out.")
    if len(set(features)) != len(features):
        raise DataError(f"{where}: columns names a column twice.")
    if not features:
        raise DataError(f"{where}: has no column beside the label.")
    unknown = [name for name in options.categories if name not in features]
    if unknown:
        raise DataError(
            f"{where}: categories names {listed(map(repr, unknown))}, which is no column in use."
            f"{did_you_mean(unknown[0], features)}"
        )
    return features


def _plain(column: pd.Series[Any]) -> Array:
    """Return a column as numbers or, if it is not all numbers, as Python strings."""
    if column.dtype.kind in "biuf":
        return np.asarray(column.to_numpy())
    return np.array([str(value) for value in column], dtype=np.str_)


def _refuse_missing(frame: pd.DataFrame, used: list[str], where: str) -> None:
    counts = {name: int(frame[name].isna().sum()) for name in used}
    gaps = {name: count for name, count in counts.items() if count}
    if gaps:
        rows = int(frame[used].isna().any(axis=1).sum())
        each = listed(f"{name!r}: {count:,}" for name, count in gaps.items())
        raise DataError(
            f"{where}: {rows:,} of {len(frame):,} rows have missing values ({each}); "
            "fill or remove them, or leave the columns out."
        )


def _numbers(
    frame: pd.DataFrame, name: str, options: CsvOptions, schema: Mapping[str, Any], where: str
) -> npt.NDArray[np.float64]:
    """Return one column as float64: numbers, or the codes of its categories.

    Codes are taken from a declaration, or from the whole file where both parts are rows of it:
    two files need not hold the same values, and their codes would then differ unseen.
    """
    values = _plain(frame[name])
    if name in options.categories:
        declared = options.categories[name]
        codes, _ = named_codes(values.tolist(), declared, f"{where}, column {name!r}")
        return codes.astype(np.float64)
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    found = sorted(set(values.tolist()))
    if name in schema.get("categorical", ()) and options.test_size is not None:
        codes, _ = named_codes(values.tolist(), (), f"{where}, column {name!r}")
        return codes.astype(np.float64)
    raise DataError(
        f"{where}: column {name!r} holds text ({listed(map(repr, found), 4)}); declare its values "
        f"in their order (categories.{name} = [...]), or leave it out with columns."
    )
