"""Turn the columns of a table into inputs, labels and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import DataError, LoadedData, SplitSource, names_in_order
from robreport_plugins.loaders.bounded import LARGEST
from robreport_plugins.loaders.labels import (
    check_lengths,
    name_finder,
    named_codes,
    whole_number,
)
from robreport_plugins.loaders.raw_table import RawTable
from robreport_plugins.loaders.seeded_split import Part, part_of_role, split_rows
from robreport_plugins.loaders.table_columns import TableColumns
from robreport_plugins.loaders.table_options import TableOptions
from robreport_plugins.loaders.wording import did_you_mean, listed, shown

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]

LONGEST_CATEGORY = 1000


def table_data(
    table: RawTable, columns: TableColumns, names: Sequence[str], source: SplitSource, where: str
) -> LoadedData:
    """Return one split of a table: ``(n, d)`` float64, categories as codes, and the label.

    Labels of a classification are numbered by the declared classes, or else by the values that
    occur in the file, in their order; the names go along, so that splits are matched by name.
    So are categories.

    Raises
    ------
    DataError
        A value is no number, infinite, or not among those declared; a label is missing; missing
        values are to be refused; or too few rows are left.
    """
    options: TableOptions = source.options
    kept, left_out = _kept_rows(table, columns, options, where)
    if len(kept) * len(columns.features) * 8 > LARGEST:
        raise DataError(
            f"{where}: its {len(kept):,} rows of {len(columns.features):,} columns need more than "
            f"{LARGEST:,} bytes; split it into parts."
        )
    x = np.empty((len(kept), len(columns.features)), dtype=np.float64)
    categories: dict[str, tuple[str, ...]] = {}
    for i, name in enumerate(columns.features):
        place = f"{where}, column {shown(name)}"
        if name in columns.categorical:
            declared = options.categories.get(name, ())
            codes, categories[name] = _codes(table.text(name), declared, place)
        else:
            codes = table.numbers(name, place)
        x[:, i] = codes[kept]
    y: Array | None = None
    classes: tuple[str, ...] = ()
    if columns.label is not None:
        y, classes = _labels(table, columns.label, kept, source, where)
    rows, share = _rows(options, source, y, len(kept), where)
    groups = None
    if columns.group is not None:
        groups = _groups(table, columns.group, kept[rows], where)
    return LoadedData(
        x=x[rows],
        y=None if y is None else y[rows],
        layout="table",
        source=f"table {_file_name(options.path)}, {share}{len(rows):,} rows of "
        f"{len(columns.features)} columns{left_out}",
        classes=classes,
        features=columns.features,
        index=kept[rows],
        categories=categories,
        columns=tuple(names),
        target=columns.label or "",
        missing=True,
        groups=groups,
        group=columns.group or "",
    )


def _groups(table: RawTable, name: str, rows: Rows, where: str) -> Array:
    """Return the groups of rows as an array, each of whose texts has room for the longest."""
    words = table.text(name)
    found = [words[row] or "" for row in rows.tolist()]
    check_lengths(found, f"{where}, column {shown(name)}", "a group's name")
    size = 4 * len(found) * max(map(len, found), default=0)
    if size > LARGEST:
        raise DataError(
            f"{where}, column {shown(name)}: its groups need {size:,} bytes, more than "
            f"{LARGEST:,}; give them shorter names, or split the table into parts."
        )
    return np.array(found, dtype=np.str_)


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _kept_rows(
    table: RawTable, columns: TableColumns, options: TableOptions, where: str
) -> tuple[Rows, str]:
    """Return the rows in use, and words for those that are left out."""
    every = np.arange(table.rows, dtype=np.int64)
    inputs = {name: table.absent(name) for name in columns.features}
    checked = dict(inputs) if options.missing_values != "keep" else {}
    if columns.label is not None:
        checked[columns.label] = table.absent(columns.label)
    gaps = {name: int(absent.sum()) for name, absent in checked.items() if absent.any()}
    if not gaps:
        return every, ""
    absent = np.logical_or.reduce([checked[name] for name in gaps])
    count = int(absent.sum())
    if options.missing_values != "drop":
        each = listed(f"{shown(name)}: {n:,}" for name, n in gaps.items())
        label_only = options.missing_values == "keep"
        raise DataError(
            f"{where}: {count:,} of {table.rows:,} rows have missing "
            f"{'labels' if label_only else 'values'} ({each}), the first of them row "
            f"{int(absent.argmax())} (counted from 0); fill them, or say missing_values = 'drop'."
        )
    if count == table.rows:
        raise DataError(f"{where}: every row has a missing value, so that none is left.")
    return every[~absent], f", without {count:,} that miss a value"


def _rows(
    options: TableOptions, source: SplitSource, y: Array | None, count: int, where: str
) -> tuple[Rows, str]:
    """Return the rows of this split among those kept, and words for the part that they are."""
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


def _codes(
    values: list[str | None], declared: tuple[str, ...], where: str
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """Return the codes of a column of categories, NaN where missing, and what they stand for.

    What only this file has is numbered in its order; all splits get one numbering afterwards.
    """
    found = {value for value in values if value is not None}
    check_lengths(found, where, "a category", LONGEST_CATEGORY)
    names = declared or names_in_order(found)
    code_of = {name: float(code) for code, name in enumerate(names)}
    codes = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if value is None:
            continue
        code = code_of.get(value)
        if code is None:
            raise DataError(
                f"{where}: holds {shown(value)} in row {row} (counted from 0), and categories "
                f"declares {listed(map(shown, names))}.{did_you_mean(value, names)}"
            )
        codes[row] = code
    return codes, names


def _labels(
    table: RawTable, label: str, kept: Rows, source: SplitSource, where: str
) -> tuple[Array, tuple[str, ...]]:
    """Return class codes and the classes they stand for, or the values of a regression."""
    options: TableOptions = source.options
    where = f"{where}, column {shown(label)}"
    if source.task == "regression":
        try:
            return table.numbers(label, where)[kept], ()
        except DataError as error:
            said = str(error).removesuffix(".")
            raise DataError(f"{said} (a regression needs numbers).") from None
    words = table.text(label)
    # rows without a label are not among those kept
    found = [str(words[row]) for row in kept.tolist()]
    if options.label_map:
        found = _mapped(found, options.label_map, table.decimal)
    declared = _declared_classes(found, source)
    return named_codes(found, declared, where, decimal=table.decimal)


def _mapped(found: list[str], label_map: Mapping[str, str], decimal: str) -> list[str]:
    """Return the labels that are meant; where the map has "1", also for "1.0"."""
    meant = {
        text: label_map.get(text, label_map.get(whole_number(text, decimal), text))
        for text in dict.fromkeys(found)
    }
    return [meant[text] for text in found]


def _declared_classes(found: list[str], source: SplitSource) -> tuple[str, ...]:
    """Return the declared order of the classes: the loader's, or the schema's where it has each.

    The schema's names may also be display names of other labels, such as 0 and 1.
    """
    options: TableOptions = source.options
    if options.classes:
        return options.classes
    names = tuple(source.declared_schema.get("classes") or ())
    same = name_finder(names)
    return names if all(same(text) for text in dict.fromkeys(found)) else ()
