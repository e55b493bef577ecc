"""One set of columns for all splits of a table: order, categories, and what each column is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport.bundle import DataSchema
from robreport.classes import union_of_names
from robreport.errors import DataError, near_misses
from robreport.loading import LoadedData

Array = npt.NDArray[Any]
MOST_CATEGORIES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFacts:
    """What is known of a table's columns, by the names of `LoadedData.features`."""

    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sensitive: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    group: str = ""
    integer: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def leading(loaded: Mapping[str, LoadedData]) -> LoadedData:
    """Return the split that says what the columns are: test where there is one."""
    return loaded.get("test") or next(iter(loaded.values()))


def unify_columns(loaded: dict[str, LoadedData], declared: Mapping[str, Any]) -> ColumnFacts:
    """Give all tables the columns of the leading split, in its order, with the same codes for
    the same categories (changed in place), and return what is known of the columns.

    Parameters
    ----------
    loaded : dict of role to LoadedData
    declared : mapping
        ``[data] schema``, with lists of names and positions.

    Raises
    ------
    DataError
        A split lacks a column or has another one, a column is categorical in one split only or
        has too many values, or a declaration names no column.
    """
    group = next((data.group for data in loaded.values() if data.group), "")
    lead = leading(loaded)
    if lead.layout != "table":
        asked = [key for key in ("categorical", "sensitive", "frozen") if declared.get(key)]
        if asked:
            raise DataError(
                f"data.schema.{asked[0]} is for tables; these inputs are of the layout "
                f"{lead.layout!r}."
            )
        return ColumnFacts(group=group)
    _name_columns(loaded, declared)
    _same_order(loaded)
    _declared_categories(loaded, declared)
    tables = {role: data for role, data in loaded.items() if data.layout == "table"}
    lead = leading(loaded)
    categories = _same_codes(loaded, tables, lead.features)
    tables = {role: loaded[role] for role in tables}
    return ColumnFacts(
        categories=categories,
        sensitive=_features(declared.get("sensitive") or (), "sensitive", lead),
        frozen=_features(declared.get("frozen") or (), "frozen", lead),
        group=group,
        integer=tuple(
            name
            for i, name in enumerate(lead.features)
            if name not in categories and _is_whole([d.x[:, i] for d in tables.values()])
        ),
        missing=tuple(
            name
            for i, name in enumerate(lead.features)
            if any(d.missing and np.isnan(d.x[:, i]).any() for d in tables.values())
        ),
    )


def resolve(given: str | int, columns: Sequence[str], what: str) -> str:
    """Return the name of a column given by its name, or by its position (negative: from the end).

    Raises
    ------
    DataError
        There is no such column; `what` begins the sentence.
    """
    if isinstance(given, int):
        if not -len(columns) <= given < len(columns):
            raise DataError(
                f"{what} = {given} is no position among {len(columns)} columns, 0 to "
                f"{len(columns) - 1}."
            )
        return columns[given]
    if given not in columns:
        close = near_misses(given, columns)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise DataError(f"{what} names the column {given!r}; there are {_listed(columns)}.{hint}")
    return given


def probe_rows(x: Array, schema: DataSchema, count: int) -> Array:
    """Return the first `count` rows and, of a table, the first row with a missing value in each
    column that has any, and the first with each category: what a model may be unable to take.
    """
    rows = dict.fromkeys(range(min(count, len(x))))
    for column in schema.positions(schema.missing):
        rows |= dict.fromkeys(np.flatnonzero(np.isnan(x[:, column]))[:1].tolist())
    for column in schema.positions(schema.categories):
        codes, first = np.unique(x[:, column], return_index=True)
        rows |= dict.fromkeys(first[~np.isnan(codes)].tolist())
    return np.array(x[sorted(rows)])


def _name_columns(loaded: dict[str, LoadedData], declared: Mapping[str, Any]) -> None:
    """Take the declared names for tables whose loader knows none."""
    names = tuple(declared.get("features") or ())
    for role, data in loaded.items():
        if data.layout != "table":
            continue
        if data.features and len(data.features) != data.x.shape[1]:
            raise DataError(
                f"data.{role}: the loader names {len(data.features)} columns of {data.x.shape[1]}."
            )
        if not data.features and len(names) == data.x.shape[1]:
            loaded[role] = replace(data, features=names)


def _same_order(loaded: dict[str, LoadedData]) -> None:
    """Put every table's columns into the order of the leading one's, by name."""
    lead = leading(loaded)
    first = next(role for role, data in loaded.items() if data is lead)
    for role, data in loaded.items():
        if data.layout != "table" or not data.features or not lead.features:
            continue
        if data.features == lead.features:
            continue
        lacks = [name for name in lead.features if name not in data.features]
        extra = [name for name in data.features if name not in lead.features]
        if lacks or extra:
            parts = [f"lacks {_listed(lacks)}"] if lacks else []
            parts += [f"has {_listed(extra)} beside them"] if extra else []
            raise DataError(
                f"data.{role}: its columns are not those of data.{first}: it "
                f"{' and '.join(parts)}; splits are matched by the names of their columns."
            )
        order = [data.features.index(name) for name in lead.features]
        loaded[role] = replace(data, x=data.x[:, order], features=lead.features)


def _declared_categories(loaded: dict[str, LoadedData], declared: Mapping[str, Any]) -> None:
    """Number the values of columns declared categorical whose loader has codes and no names."""
    lead = leading(loaded)
    for given in declared.get("categorical") or ():
        name = resolve(given, lead.columns or lead.features, "data.schema.categorical")
        if name not in lead.features:
            continue  # the loader made something else of it, such as the group or the label
        tables = [(role, d) for role, d in loaded.items() if d.layout == "table"]
        without = [(role, d) for role, d in tables if name not in d.categories]
        if not without or len(without) < len(tables):
            continue
        column = lead.features.index(name)
        highest = 0
        for role, data in without:
            codes = data.x[:, column]
            codes = codes[~np.isnan(codes)]
            if (codes != np.floor(codes)).any() or (codes < 0).any():
                raise DataError(
                    f"data.{role}: the column {name!r} is declared categorical and holds other "
                    "than codes 0, 1, 2, ...; number its values."
                )
            highest = max(highest, int(codes.max(initial=0)))
        if highest >= MOST_CATEGORIES:
            raise DataError(_too_many(name, highest + 1))
        values = tuple(str(code) for code in range(highest + 1))
        for role, data in without:
            loaded[role] = replace(data, categories={**data.categories, name: values})


def _same_codes(
    loaded: dict[str, LoadedData], tables: Mapping[str, LoadedData], features: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the values of each categorical column; the tables get their codes, in place."""
    found: dict[str, tuple[str, ...]] = {}
    copied: set[str] = set()  # a loader's array may be shared, or a map of its file
    for column, name in enumerate(features):
        having = {r: d.categories[name] for r, d in tables.items() if name in d.categories}
        if not having:
            continue
        for role in tables:
            if role not in having:
                raise DataError(
                    f"data.{role}: the column {name!r} holds numbers, and categories in "
                    f"data.{next(iter(having))}; name it in data.schema.categorical."
                )
        every = union_of_names(list(having.values()))
        if len(every) > MOST_CATEGORIES:
            raise DataError(_too_many(name, len(every)))
        for role, names in having.items():
            data = loaded[role]
            old = data.x[:, column]
            there = ~np.isnan(old)
            known = old[there]
            if (known != np.floor(known)).any() or (
                len(known) and (known.min() < 0 or known.max() >= len(names))
            ):
                raise DataError(
                    f"data.{role}: the column {name!r} holds codes that none of its "
                    f"{len(names)} categories has."
                )
            if names != every:
                place = {value: i for i, value in enumerate(every)}
                code_of = np.array([place[value] for value in names], dtype=np.float64)
                if role not in copied:
                    data = loaded[role] = replace(data, x=data.x.copy())
                    copied.add(role)
                data.x[there, column] = code_of[known.astype(np.int64)]
        found[name] = every
    return found


def _features(given: Sequence[str | int], key: str, lead: LoadedData) -> tuple[str, ...]:
    """Return the features that a declaration names, each once, in their order."""
    what = f"data.schema.{key}"
    if given and not lead.features:
        raise DataError(f"{what} needs names: give data.schema.features, one for each column.")
    named = {resolve(item, lead.columns or lead.features, what) for item in given}
    absent = sorted(named - set(lead.features))
    if absent:
        raise DataError(
            f"{what} names {_listed(absent)}, which the models are not given; a column that is "
            "no input may be data.schema.group."
        )
    return tuple(name for name in lead.features if name in named)


def _is_whole(columns: Sequence[Array]) -> bool:
    """Whether the columns hold whole numbers, and at least one."""
    some = False
    for column in columns:
        there = column[~np.isnan(column)]
        if (there != np.floor(there)).any():
            return False
        some = some or bool(len(there))
    return some


def _too_many(name: str, count: int) -> str:
    return (
        f"data: the categorical column {name!r} has {count:,} values; at most {MOST_CATEGORIES:,} "
        "are taken, so leave it out with data.schema.drop."
    )


def _listed(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
