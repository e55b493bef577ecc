"""Which column of a table is what: label, features, categories, group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robreport import DataError
from robreport_plugins.loaders.labels import may_lack_labels
from robreport_plugins.loaders.table_options import TableOptions
from robreport_plugins.loaders.wording import did_you_mean, listed, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumns:
    """What the columns of one file are for.

    Attributes
    ----------
    label : str or None
    features : tuple of str
        In the order of the inputs.
    categorical : tuple of str
        Features whose values are categories.
    group : str or None
        May be a feature as well, or not.
    """

    label: str | None
    features: tuple[str, ...]
    categorical: tuple[str, ...]
    group: str | None

    @property
    def used(self) -> tuple[str, ...]:
        """Every column that is read."""
        more = [name for name in (self.label, self.group) if name is not None]
        return tuple(dict.fromkeys([*self.features, *more]))

    def spelled(self, task: str) -> frozenset[str]:
        """Return the columns whose values are names, read as the file spells them."""
        label = None if task == "regression" else self.label
        return frozenset(n for n in (*self.categorical, self.group, label) if n is not None)


def find_columns(
    options: TableOptions, schema: Mapping[str, Any], names: Sequence[str], role: str, where: str
) -> TableColumns:
    """Return what the columns are for, by the loader's options and ``[data] schema``.

    Raises
    ------
    DataError
        No label where one is needed, or a declaration that names no column or contradicts
        another one.
    """
    label = _label(options, schema, names, role, where)
    dropped = {_column(given, names, "schema.drop", where) for given in schema.get("drop") or ()}
    if label in dropped:
        raise DataError(f"{where}: schema.drop names the label {shown(label)}; leave it out.")
    if options.columns is None:
        features = [name for name in names if name != label and name not in dropped]
    else:
        features = [_column(given, names, "columns", where) for given in options.columns]
        if label in features:
            raise DataError(f"{where}: columns includes the label {shown(label)}; leave it out.")
        if len(set(features)) != len(features):
            raise DataError(f"{where}: columns names a column twice.")
        features = [name for name in features if name not in dropped]
    if not features:
        raise DataError(f"{where}: has no column beside the label.")
    unknown = [name for name in options.categories if name not in features]
    if unknown:
        raise DataError(
            f"{where}: categories names {listed(map(repr, unknown))}, which is no column in use."
            f"{did_you_mean(unknown[0], features)}"
        )
    declared = schema.get("categorical") or ()
    categorical = {_column(given, names, "schema.categorical", where) for given in declared}
    group = schema.get("group")
    return TableColumns(
        label=label,
        features=tuple(features),
        categorical=tuple(n for n in features if n in categorical or n in options.categories),
        group=None if group is None else _column(group, names, "schema.group", where),
    )


def _label(
    options: TableOptions, schema: Mapping[str, Any], names: Sequence[str], role: str, where: str
) -> str | None:
    given = options.label if options.label is not None else schema.get("label")
    if given == "":
        given = None
    elif isinstance(given, str) and given not in names and may_lack_labels(role):
        return None
    if given is None:
        if may_lack_labels(role):
            return None
        raise DataError(f"{where}: say which column is the label (label = 'NAME' or a position).")
    return _column(given, names, "label", where)


def _column(given: str | int, names: Sequence[str], key: str, where: str) -> str:
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
            f"{where}: {key} names the column {shown(given)}, and the file has "
            f"{listed(map(shown, names))}.{did_you_mean(given, names)}"
        )
    return given
