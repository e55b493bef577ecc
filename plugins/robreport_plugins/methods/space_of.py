"""The space of a threat model on data of a schema."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from robreport import DataError, DataSchema, ThreatModel
from robreport_plugins.methods.space import Array, Bools, Floats, Space
from robreport_plugins.methods.space_landing import float64


def space_of(
    schema: DataSchema,
    threat: ThreatModel,
    shape: tuple[int, ...],
    reference: Array | None = None,
) -> Space:
    """Return the space of a threat model on data of this schema.

    Parameters
    ----------
    schema : DataSchema
    threat : ThreatModel
    shape : tuple of int
        Of one input.
    reference : array (m, *shape) or None
        The inputs that ``scale`` is measured on; missing values are left out.

    Raises
    ------
    DataError
        A column that is not there, bounds that do not fit, or a scale without a reference.
    """
    size = int(np.prod(shape))

    def mask(names: Iterable[str], what: str) -> Bools:
        found = np.zeros(size, dtype=bool)
        found[_positions(schema, names, f"threats.{threat.name}.{what}")] = True
        return found.reshape(shape)

    low, high = bounds_of(schema, shape)
    frozen = dict.fromkeys((*schema.frozen, *threat.frozen))
    groups = tuple(
        np.asarray(_positions(schema, names, f"threats.{threat.name}.one_hot"), dtype=np.intp)
        for names in threat.one_hot
    )
    members = [int(place) for group in groups for place in group]
    _contradictions(schema, threat)
    if len(set(members)) != len(members) or any(len(group) < 2 for group in groups):
        raise DataError(
            f"threats.{threat.name}.one_hot: each group needs two columns or more, and a column "
            "belongs to one group"
        )
    codes = codes_of(schema)
    whole = mask(schema.integer, "integer") | mask(threat.integer, "integer")
    whole.reshape(-1)[members] = False
    unit = _unit(schema, threat, shape, reference)
    if unit is not None:
        unit.reshape(-1)[[*codes, *members]] = 1.0
    return Space(
        shape=shape, low=low, high=high, unit=unit, fixed=mask(frozen, "frozen"),
        up=mask(threat.increase, "increase"), down=mask(threat.decrease, "decrease"),
        whole=whole, codes=codes, groups=groups,
    )  # fmt: skip


def codes_of(schema: DataSchema) -> dict[int, int]:
    """Return the number of categories of each categorical column, by its position.

    Raises
    ------
    DataError
        A categorical column is not among the features.
    """
    return {
        _positions(schema, [name], "data.schema.categorical")[0]: len(values)
        for name, values in schema.categories.items()
    }


def _contradictions(schema: DataSchema, threat: ThreatModel) -> None:
    """Refuse what a column cannot be both."""
    grouped = {name for names in threat.one_hot for name in names}
    if both := sorted(grouped & set(schema.categories)):
        raise DataError(
            f"threats.{threat.name}.one_hot names {both[0]!r}, which is one categorical column by "
            "itself; a group is made of columns that hold 0 or 1"
        )
    if both := sorted(set(threat.increase) & set(threat.decrease)):
        raise DataError(
            f"threats.{threat.name}: {both[0]!r} may only grow and may only shrink; name it under "
            "frozen if it is to stay"
        )


def check_groups(schema: DataSchema, threat: ThreatModel, rows: Array) -> None:
    """Refuse groups that are none in the data.

    Raises
    ------
    DataError
        A member of a group holds other numbers than 0 and 1, or its columns do not add up to 1.
    """
    flat = float64(rows).reshape(len(rows), -1)
    where = f"threats.{threat.name}.one_hot"
    for names in threat.one_hot:
        members = flat[:, _positions(schema, names, where)]
        other = ~((members == 0) | (members == 1) | np.isnan(members))
        if other.any():
            row, place = (int(found) for found in np.argwhere(other)[0])
            raise DataError(
                f"{where}: column {list(names)[place]!r} holds {members[row, place]:g}; the "
                "columns of a group hold 0 or 1"
            )
        count = int((members.sum(axis=1) != 1).sum())
        if count:
            raise DataError(
                f"{where}: {', '.join(names)} do not add up to 1 in {count:,} of {len(rows):,} "
                "rows; name all columns of the group, of which one is 1"
            )


def bounds_of(schema: DataSchema, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return (low, high), scalars or shaped like one input; infinite where nothing is declared.

    Raises
    ------
    DataError
        They do not fit the inputs, or a lower end lies above its upper end.
    """
    if schema.bounds is None:
        return np.asarray(-np.inf), np.asarray(np.inf)
    ends = []
    for end in schema.bounds:
        values = np.asarray(end, dtype=np.float64)
        if values.ndim:
            if values.size != int(np.prod(shape)):
                raise DataError(
                    f"data.bounds holds {values.size} values an end, but an input has "
                    f"{int(np.prod(shape))}; give one number, or one for each feature"
                )
            values = values.reshape(shape)
        ends.append(values)
    low, high = ends
    if not (low <= high).all():
        raise DataError("data.bounds has a lower end above its upper end")
    return low, high


def _unit(
    schema: DataSchema, threat: ThreatModel, shape: tuple[int, ...], reference: Array | None
) -> Floats | None:
    if threat.scale == "none":
        return None
    if reference is None or not len(reference):
        raise DataError(f"threats.{threat.name}.scale needs inputs to measure the columns on")
    values = float64(reference).reshape(len(reference), -1)
    with np.errstate(invalid="ignore"):
        width = np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
        unit = np.nanstd(values, axis=0) if threat.scale == "std" else width
    # a column that never differs has no unit of its own, though its deviation may round to one
    own = np.isfinite(unit) & (unit > 0) & (width > 0)
    return np.asarray(np.where(own, unit, 1.0)).reshape(shape)


def _positions(schema: DataSchema, names: Iterable[str], where: str) -> list[int]:
    wanted = list(names)
    missing = [name for name in wanted if name not in schema.features]
    if missing:
        shown = ", ".join(schema.features[:8]) + (", \u2026" if len(schema.features) > 8 else "")
        known = f"the columns are {shown}" if schema.features else "the data has no named columns"
        raise DataError(f"{where} names {missing[0]!r}, which is no column; {known}")
    return list(schema.positions(wanted))
