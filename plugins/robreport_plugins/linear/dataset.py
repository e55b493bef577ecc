"""The examples as linear classifiers take them: rows of numbers, chosen classes, a scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Bundle, DataSchema, SkipMetric, Split
from robreport_plugins.linear.params import AttackParams
from robreport_plugins.methods.class_names import short_names

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# 2 GB of float64: the training rows are held once, and once more while they are scaled.
MOST_NUMBERS = 250_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How far one unit of eps goes in each feature: ``x_scaled = (x - shift) / factor``.

    ``on`` says whether eps is in standard deviations; else shift is 0 and factor is 1.
    """

    shift: Floats
    factor: Floats
    on: bool

    @property
    def unit(self) -> str:
        """The unit of eps, in words."""
        return "standard deviations" if self.on else "input units"

    def forward(self, x: Floats) -> Floats:
        """Return values of the data in the units of eps."""
        return (x - self.shift) / self.factor if self.on else x

    def back(self, x: Floats) -> Floats:
        """Return values in the units of eps as the data has them."""
        return x * self.factor + self.shift if self.on else x


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Rows of one split in the space where eps is measured.

    Attributes
    ----------
    x : array (n, d)
        Scaled features that take part.
    y : array (n,)
        Positions among the chosen classes, 0 to k - 1.
    index : array (n,)
        Row numbers in the source.
    rows : array (n,)
        Positions in the split.
    """

    x: Floats
    y: Ints
    index: Ints
    rows: Ints

    @property
    def n(self) -> int:
        return int(self.y.size)

    def signs(self, classes: int) -> list[Floats]:
        """Return labels -1 and +1 for each linear model.

        Of two classes the second is +1; of more, each class is +1 against the rest.
        """
        positive = [1] if classes == 2 else list(range(classes))
        return [np.where(self.y == c, 1.0, -1.0) for c in positive]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which features take part, and what is known of them.

    ``taking`` are positions in the flattened input; ``left_out`` says what was left out and why,
    ``constant`` names what has one value in all training rows.
    """

    taking: Ints
    names: tuple[str, ...]
    left_out: tuple[str, ...]
    constant: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Everything that training and attack need of the data.

    Attributes
    ----------
    train, test : Examples
    classes : tuple of str
        Names of the chosen classes, distinct and short.
    class_ids : tuple of int
        Their numbers in the data.
    columns : Columns
    scale : Scale
    bounds : (low, high) or None
        Scaled, each ``(d,)``.
    width : array (d,)
        How far apart the bounds of each feature are, or else its values in the training set.
    schema : DataSchema
    """

    train: Examples
    test: Examples
    classes: tuple[str, ...]
    class_ids: tuple[int, ...]
    columns: Columns
    scale: Scale
    bounds: tuple[Floats, Floats] | None
    width: Floats
    schema: DataSchema

    @property
    def d(self) -> int:
        return int(self.columns.taking.size)

    @property
    def binary(self) -> bool:
        return len(self.classes) == 2


def make_dataset(bundle: Bundle, params: AttackParams, *, constant: bool = False) -> Dataset:
    """Return the examples of the chosen classes, without the features that do not vary.

    Those keep no weight; `constant` keeps them among the others, for a descent that leaves their
    weights where they started.

    Raises
    ------
    SkipMetric
        Nothing can be trained on these: one class only, missing values, no labels, no feature
        that varies, too large.
    """
    schema = bundle.schema
    ids, names = chosen_classes(bundle, params.classes)
    columns = usable_columns(schema)
    train, test = (
        examples_of(bundle.split(role), role, ids, columns) for role in ("train", "test")
    )
    found = np.unique(train.y)
    if found.size < 2:
        raise SkipMetric(
            f"the training set holds only examples of class {names[int(found[0])]!r}, and a "
            "classifier needs two classes"
        )
    if found.size < len(ids):
        absent = next(name for i, name in enumerate(names) if i not in found)
        raise SkipMetric(
            f"the training set holds no example of class {absent!r}: choose two classes with "
            "params.classes, or give examples of it"
        )
    if not constant:
        columns, train, test = _varying(columns, train, test)
    scale = fitted_scale(train.x, params.standardise)
    train, test = scaled(train, scale), scaled(test, scale)
    bounds = bounds_of(schema, columns, scale)
    return Dataset(
        train=train, test=test, classes=names, class_ids=ids, columns=columns, scale=scale,
        bounds=bounds, width=_width(train.x, bounds), schema=schema,
    )  # fmt: skip


def _varying(
    columns: Columns, train: Examples, test: Examples
) -> tuple[Columns, Examples, Examples]:
    """Leave out the features that have one value in all training rows."""
    varies = train.x.min(axis=0) < train.x.max(axis=0)
    if varies.all():
        return columns, train, test
    if not varies.any():
        raise SkipMetric(
            f"no feature varies in the training set: all {train.n:,} rows are alike, and a "
            "classifier of them gives every input the same class"
        )
    names = list(columns.names)
    kept = replace(
        columns,
        taking=columns.taking[varies],
        names=tuple(name for name, v in zip(names, varies, strict=True) if v),
        constant=tuple(name for name, v in zip(names, varies, strict=True) if not v),
    )
    train, test = (replace(e, x=np.ascontiguousarray(e.x[:, varies])) for e in (train, test))
    return kept, train, test


def _width(x: Floats, bounds: tuple[Floats, Floats] | None) -> Floats:
    """Return how far each feature goes: between its bounds, or in the training set."""
    seen: Floats = x.max(axis=0) - x.min(axis=0)
    if bounds is None:
        return seen
    wide = bounds[1] - bounds[0]
    return np.where(np.isfinite(wide), wide, seen)


def chosen_classes(
    bundle: Bundle, wanted: Sequence[str | int] | None
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return numbers and short names of the classes that take part.

    Raises
    ------
    SkipMetric
        The data has no such class.
    """
    known = bundle.schema.classes
    if not known:
        labels = [s.y for s in bundle.splits.values() if s.y is not None and len(s)]
        known = tuple(str(i) for i in range(max((int(y.max()) for y in labels), default=0) + 1))
    names = short_names(known)
    if wanted is None:
        return tuple(range(len(known))), names
    ids = []
    for one in wanted:
        # A name counts before a number: classes are often called by digits.
        if str(one) in known:
            ids.append(known.index(str(one)))
        elif isinstance(one, int) and one < len(known):
            ids.append(one)
        else:
            listed = ", ".join(known[:8]) + (", \u2026" if len(known) > 8 else "")
            raise SkipMetric(f"params.classes names {one!r}, and the data's classes are {listed}")
    if ids[0] == ids[1]:
        raise SkipMetric(f"params.classes names the class {known[ids[0]]!r} twice")
    return tuple(ids), tuple(names[i] for i in ids)


def usable_columns(schema: DataSchema) -> Columns:
    """Return the features that a linear classifier can use and an attacker can change.

    Raises
    ------
    SkipMetric
        None is left, or values are missing.
    """
    d = int(np.prod(schema.input_shape))
    names = schema.features or _places(schema, d)
    held = dict.fromkeys(schema.categories, "categories")
    held |= {name: "frozen" for name in schema.frozen if name not in held}
    missing = [name for name in schema.missing if name not in held]
    if missing:
        listed = ", ".join(missing[:5]) + (", \u2026" if len(missing) > 5 else "")
        raise SkipMetric(
            f"values are missing in {listed}: impute them before the audit, or leave the columns "
            "out with data.schema.drop"
        )
    taking = np.array([i for i in range(d) if names[i] not in held], dtype=np.int64)
    if not taking.size:
        raise SkipMetric("every column holds categories or is declared frozen")
    return Columns(
        taking=taking,
        names=tuple(names[i] for i in taking.tolist()),
        left_out=tuple(f"{name} ({held[name]})" for name in names if name in held),
    )


def _places(schema: DataSchema, d: int) -> tuple[str, ...]:
    """Return a name for each input that has none: where it stands."""
    shape = schema.input_shape
    if schema.layout != "image" or len(shape) != 3:
        return tuple(f"input {i}" for i in range(d))
    channel = [f", channel {c}" if shape[0] > 1 else "" for c in range(shape[0])]
    return tuple(
        f"the pixel in row {i}, column {j}{channel[c]}"
        for c in range(shape[0])
        for i in range(shape[1])
        for j in range(shape[2])
    )


def bounds_of(schema: DataSchema, columns: Columns, scale: Scale) -> tuple[Floats, Floats] | None:
    """Return the data's bounds for each feature that takes part, in the units of eps."""
    if schema.bounds is None:
        return None
    d = int(np.prod(schema.input_shape))
    low, high = (
        scale.forward(
            np.broadcast_to(np.asarray(side, dtype=np.float64).reshape(-1), (d,))[columns.taking]
        )
        for side in schema.bounds
    )
    return np.ascontiguousarray(low), np.ascontiguousarray(high)


def fitted_scale(x: Floats, on: bool) -> Scale:
    """Return mean and standard deviation of each feature; a constant one keeps its unit."""
    d = x.shape[1]
    if not on:
        return Scale(shift=np.zeros(d), factor=np.ones(d), on=False)
    spread = x.std(axis=0)
    # Rounding leaves a constant column a spread of some ulps of its value.
    constant = spread <= 1e-12 * np.abs(x).max(axis=0)
    return Scale(shift=x.mean(axis=0), factor=np.where(constant, 1.0, spread), on=True)


def flat(x: npt.NDArray[Any]) -> Floats:
    """Return the inputs as C-contiguous float64 rows."""
    return np.ascontiguousarray(np.asarray(x, dtype=np.float64).reshape(len(x), -1))


def examples_of(split: Split, role: str, ids: Sequence[int], columns: Columns) -> Examples:
    """Return the examples of these classes, unscaled.

    Raises
    ------
    SkipMetric
        The split has no labels, no example of these classes, too many numbers, or some that are
        not finite.
    """
    if split.y is None:
        raise SkipMetric(f"the {role} set has no labels")
    y = np.asarray(split.y, dtype=np.int64)
    place = np.full(max(int(y.max(initial=0)), *ids) + 1, -1, dtype=np.int64)
    place[list(ids)] = np.arange(len(ids))
    position = place[y]
    rows = np.flatnonzero(position >= 0)
    if not rows.size:
        raise SkipMetric(f"the {role} set holds no example of the chosen classes")
    if rows.size * columns.taking.size > MOST_NUMBERS:
        raise SkipMetric(
            f"the {role} set holds {rows.size:,} inputs of {columns.taking.size:,} numbers, over "
            f"the {MOST_NUMBERS:,} numbers allowed: set data.{role}.limit"
        )
    x = flat(split.x if rows.size == len(split) else split.x[rows])
    if columns.taking.size < x.shape[1]:
        x = np.ascontiguousarray(x[:, columns.taking])
    if not np.isfinite(x).all():
        raise SkipMetric(f"the {role} set holds values that are not finite: impute or drop them")
    return Examples(
        x=x, y=position[rows], index=np.asarray(split.index[rows], dtype=np.int64), rows=rows
    )


def scaled(examples: Examples, scale: Scale) -> Examples:
    """Return the examples in the units of eps."""
    if not scale.on:
        return examples
    return replace(examples, x=np.ascontiguousarray(scale.forward(examples.x)))
