"""Check loaded splits and make one schema of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport.bundle import DataSchema
from robreport.classes import class_names
from robreport.columns import ColumnFacts, leading
from robreport.errors import DataError
from robreport.loading import LoadedData

Array = npt.NDArray[Any]
MOST_CLASSES = 100_000
LONGEST_NAME = 200
_AXES: Mapping[str, int | None] = {"image": 4, "table": 2, "array": None}
Bounds = tuple[float | tuple[float, ...], float | tuple[float, ...]]


def check_structure(data: LoadedData, role: str, task: str) -> LoadedData:
    """Return the split with plain dtypes: x float32 (images) or float64 (tables), y int64 or
    float64, an index.

    Raises
    ------
    DataError
        It is empty, not numeric, not finite, of another shape than its layout says, or labels do
        not fit the task or the inputs.
    """
    if data.layout not in _AXES:
        raise DataError(
            f"data.{role}: the loader says the layout is {data.layout!r}, none of "
            f"{', '.join(_AXES)}."
        )
    x = np.asarray(data.x)
    if x.ndim < 2 or x.shape[0] == 0 or 0 in x.shape:
        raise DataError(f"data.{role}: it is empty or no batch of examples (shape {x.shape}).")
    if x.dtype.kind not in "fiub":
        raise DataError(f"data.{role}: inputs must be numbers, found dtype {x.dtype}.")
    axes = _AXES[data.layout]
    if axes is not None and x.ndim != axes:
        raise DataError(
            f"data.{role}: inputs of the layout {data.layout} need {axes} axes, found the shape "
            f"{x.shape}."
        )
    index = np.arange(len(x)) if data.index is None else np.asarray(data.index)
    if index.shape != (len(x),) or index.dtype.kind not in "iu":
        raise DataError(
            f"data.{role}: the loader gave row numbers of shape {index.shape} and dtype "
            f"{index.dtype} for {len(x):,} rows."
        )
    index = index.astype(np.int64)
    _finite(x, index, f"data.{role}: inputs", missing=data.missing)
    # what is too large for float32 becomes infinite, and is refused as such
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(x, dtype=np.float64 if data.layout == "table" else np.float32)
    _finite(x, index, f"data.{role}: inputs", missing=data.missing)
    y = None if data.y is None else _labels(np.asarray(data.y), index, role, task)
    classes = tuple(map(str, data.classes)) if task == "classification" else ()
    if len(set(classes)) < len(classes):
        raise DataError(f"data.{role}: two classes have the same name.")
    if len(classes) > MOST_CLASSES:
        raise DataError(
            f"data.{role}: its labels have {len(classes):,} different values, more than classes "
            "could be; is it the right column?"
        )
    wide = max(map(len, classes), default=0)
    if wide > LONGEST_NAME:
        raise DataError(
            f"data.{role}: a class's name has {wide:,} characters; at most {LONGEST_NAME} are "
            "taken. Is it the right column?"
        )
    foreign = role.startswith("ood.")
    if classes and y is not None and not foreign and int(y.max()) >= len(classes):
        raise DataError(
            f"data.{role}: labels out of range: found {int(y.max())}, but there are {len(classes)} "
            f"classes (0 to {len(classes) - 1})."
        )
    unnamed = task == "classification" and not classes and y is not None and not foreign
    if unnamed and y is not None:
        # counted before a limit hides some: they are numbered, since nobody named them
        classes = _numbered(int(y.max()) + 1, role)
    groups = None if data.groups is None else _groups(np.asarray(data.groups), index, role)
    return replace(data, x=x, y=y, index=index, classes=classes, groups=groups, numbered=unnamed)


def _groups(groups: Array, index: Array, role: str) -> Array:
    """Return the groups as text, each of a length that a name may have."""
    if groups.shape != index.shape or groups.dtype.kind not in "Ubiu":
        raise DataError(
            f"data.{role}: the groups have the shape {groups.shape} and dtype {groups.dtype}; one "
            f"name or whole number for each of {len(index):,} inputs is needed."
        )
    if groups.dtype.kind != "U":
        groups = groups.astype(np.str_)
    longest = groups.dtype.itemsize // 4
    if longest > LONGEST_NAME:
        raise DataError(
            f"data.{role}: a group's name has {longest:,} characters; at most {LONGEST_NAME} are "
            "taken. Is it the right column?"
        )
    return groups if longest else groups.astype("U1")


def _numbered(count: int, role: str) -> tuple[str, ...]:
    if count > MOST_CLASSES:
        raise DataError(
            f"data.{role}: labels go up to {count - 1:,}, which is more classes than numbers stand "
            "for; are they class labels?"
        )
    return tuple(str(i) for i in range(count))


def _finite(values: Array, index: Array, what: str, *, missing: bool = False) -> None:
    wrong = np.isinf(values) if missing else ~np.isfinite(values)
    if not wrong.any():
        return
    row = int(index[np.argwhere(wrong)[0][0]])
    kinds = "infinite" if missing else "missing, infinite"
    raise DataError(
        f"{what} hold {np.count_nonzero(wrong):,} {kinds} or too large values, the first in row "
        f"{row}; impute or drop them before the audit."
    )


def _labels(y: Array, index: Array, role: str, task: str) -> Array:
    if y.shape != index.shape:
        raise DataError(f"data.{role}: {len(index):,} inputs but labels of shape {y.shape}.")
    if y.dtype.kind not in "fiub":
        raise DataError(f"data.{role}: labels must be numbers, found dtype {y.dtype}.")
    _finite(y, index, f"data.{role}: labels")
    if task == "regression":
        with np.errstate(over="ignore"):
            values = y.astype(np.float64)
        _finite(values, index, f"data.{role}: labels")
        return values
    if role.startswith("ood."):
        # labels of a foreign set mean something else: -1 for "unknown", or classes of its own
        return y.astype(np.float64)
    low, high = y.min(), y.max()
    if y.dtype.kind == "f" and not np.array_equal(y, np.trunc(y)):
        raise DataError(
            f'data.{role}: class labels must be whole numbers; declare task = "regression" for '
            "continuous targets."
        )
    if low < 0 or high >= 2**31:
        raise DataError(
            f"data.{role}: labels out of range: found {int(low if low < 0 else high)}; classes "
            "count from 0."
        )
    return y.astype(np.int64)


def make_schema(
    loaded: Mapping[str, LoadedData],
    *,
    task: str,
    bounds: Bounds | None,
    classes: Sequence[str] | None,
    found_classes: Sequence[str],
    features: Sequence[str] | None,
    target: str,
    columns: ColumnFacts | None = None,
    positive: str = "",
) -> DataSchema:
    """Return what is known of the data whatever the split; the test split leads.

    Raises
    ------
    DataError
        Declared classes that contradict the loader's, a single class, or features or bounds that
        do not fit the inputs.
    """
    lead = leading(loaded)
    facts = columns or ColumnFacts()
    shape = tuple(int(size) for size in lead.x.shape[1:])
    names: tuple[str, ...] = ()
    if task == "classification":
        names = class_names(tuple(classes or ()), tuple(found_classes))
        if len(names) == 1:
            raise DataError(
                f"data: every label is {names[0]!r}, and a classification needs two classes or "
                "more; is the label the right one?"
            )
    known = tuple(features or lead.features)
    if known and len(known) != int(np.prod(shape)):
        raise DataError(
            f"data.schema.features names {len(known)} columns; the inputs have "
            f"{int(np.prod(shape))}."
        )
    if len(set(known)) < len(known):
        raise DataError("data.schema.features names a column twice.")
    # the declared names stand for the loader's, in what is known of the columns, too
    called = dict(zip(lead.features or known, known, strict=True))
    if bounds is not None:
        _check_bounds(bounds, shape)
    return DataSchema(
        task=task, input_shape=shape, layout=lead.layout, classes=names, features=known,
        bounds=bounds, target=lead.target or target,
        categories={called[name]: values for name, values in facts.categories.items()},
        sensitive=tuple(called[name] for name in facts.sensitive),
        frozen=tuple(called[name] for name in facts.frozen),
        group=called.get(facts.group, facts.group),
        integer=tuple(called[name] for name in facts.integer),
        missing=tuple(called[name] for name in facts.missing),
        positive=positive,
    )  # fmt: skip


def _check_bounds(bounds: Bounds, shape: tuple[int, ...]) -> None:
    for side in bounds:
        if isinstance(side, tuple) and len(side) != int(np.prod(shape)):
            raise DataError(
                f"data.bounds gives {len(side)} values per side; the inputs have "
                f"{int(np.prod(shape))} features."
            )
    low, high = np.asarray(bounds[0], dtype=float), np.asarray(bounds[1], dtype=float)
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise DataError("data.bounds must be finite, with the lower side below the upper.")


def check_against(data: LoadedData, role: str, schema: DataSchema) -> None:
    """Check one split against the schema.

    Raises
    ------
    DataError
        Another input shape, a label without a class, or values outside the declared bounds.
    """
    shape = tuple(int(size) for size in data.x.shape[1:])
    if shape != schema.input_shape:
        raise DataError(
            f"data.{role}: inputs have the shape {shape}; those of the other splits "
            f"{schema.input_shape}."
        )
    # the labels of foreign sets mean something else
    if data.y is not None and schema.task == "classification" and not role.startswith("ood."):
        highest = int(data.y.max())
        if highest >= schema.n_classes:
            raise DataError(
                f"data.{role}: labels out of range: found {highest}, but there are "
                f"{schema.n_classes} classes (0 to {schema.n_classes - 1})."
            )
    if schema.bounds is not None:
        low, high = (
            np.asarray(side, dtype=data.x.dtype).reshape(
                schema.input_shape if isinstance(side, tuple) else ()
            )
            for side in schema.bounds
        )
        outside = (data.x < low) | (data.x > high)
        if outside.any():
            first = int(np.argwhere(outside)[0][0])
            row = first if data.index is None else int(data.index[first])
            raise DataError(
                f"data.{role}: {int(outside.sum()):,} values lie outside the declared bounds, the "
                f"first in row {row}; the inputs range from {np.nanmin(data.x):.6g} to "
                f"{np.nanmax(data.x):.6g}."
            )


def schema_from_json(tree: Mapping[str, Any]) -> DataSchema:
    """Return the schema of its plain JSON."""
    bounds = tree.get("bounds")
    return DataSchema(
        task=tree["task"],
        input_shape=tuple(tree["input_shape"]),
        layout=tree["layout"],
        classes=tuple(tree["classes"]),
        features=tuple(tree["features"]),
        bounds=None
        if bounds is None
        else tuple(tuple(b) if isinstance(b, list | tuple) else b for b in bounds),  # type: ignore[arg-type]
        target=tree["target"],
        categories={name: tuple(values) for name, values in tree["categories"].items()},
        sensitive=tuple(tree["sensitive"]),
        frozen=tuple(tree["frozen"]),
        group=tree["group"],
        integer=tuple(tree["integer"]),
        missing=tuple(tree["missing"]),
        positive=tree["positive"],
    )
