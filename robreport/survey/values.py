"""Ranges, missing values and values outside the bounds, in chunks; tables column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport.bundle import DataSchema
from robreport.datacard import FeatureCard, TargetRange, unusual_first
from robreport.errors import DataError
from robreport.survey.equal_rows import CHUNK_BYTES

Array = npt.NDArray[Any]
Bounds = tuple[float | tuple[float, ...], float | tuple[float, ...]]

COLUMN_BYTES = 32 * 2**20
MOST_FEATURES = 256
"""Of a table with more columns, the most unusual are described one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Per feature: smallest and largest value (NaN where all are missing), and missing values."""

    low: Array
    high: Array
    missing: Array
    rows_missing: int
    outside: int | None

    @property
    def constant(self) -> int:
        """Features without two different values."""
        return int(np.count_nonzero(~(self.low < self.high)))


def survey(x: Array, bounds: Bounds | None, what: str) -> Survey:
    """Return what one pass over the rows shows of each feature.

    Raises
    ------
    DataError
        A value is infinite.
    """
    width = int(np.prod(x.shape[1:], dtype=np.int64))
    low = np.full(width, np.nan)
    high = np.full(width, np.nan)
    missing = np.zeros(width, dtype=np.int64)
    rows_missing = outside = 0
    kind = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    sides = None if bounds is None else [np.asarray(side, dtype=kind) for side in bounds]
    step = max(1, CHUNK_BYTES // max(1, width * x.dtype.itemsize))
    for start in range(0, len(x), step):
        chunk = x[start : start + step].reshape(-1, width)
        least, most = chunk.min(axis=0), chunk.max(axis=0)
        if np.isnan(least).any():
            absent = np.isnan(chunk)
            missing += absent.sum(axis=0)
            rows_missing += int(absent.any(axis=1).sum())
            least, most = np.fmin.reduce(chunk, axis=0), np.fmax.reduce(chunk, axis=0)
        low, high = np.fmin(low, least), np.fmax(high, most)
        # most chunks lie within the bounds, and their extremes tell
        if sides is not None and ((least < sides[0]).any() or (most > sides[1]).any()):
            outside += int(((chunk < sides[0]) | (chunk > sides[1])).sum())
    if np.isinf(low).any() or np.isinf(high).any():
        raise DataError(f"{what}: it holds infinite values, which no data card can describe.")
    return Survey(
        low=low, high=high, missing=missing, rows_missing=rows_missing,
        outside=None if sides is None else outside,
    )  # fmt: skip


def describe_features(x: Array, seen: Survey, schema: DataSchema) -> tuple[FeatureCard, ...]:
    """Return the cards of a table's columns, in their order."""
    n, width = x.shape
    whole = frozenset(schema.integer)  # of a table that may have very many columns
    names = schema.features or tuple(f"feature {j + 1}" for j in range(width))
    step = max(1, COLUMN_BYTES // max(1, n * x.dtype.itemsize))
    cards: list[FeatureCard] = []
    for start in range(0, width, step):
        block = np.sort(np.array(x[:, start : start + step].T, order="C"), axis=1)
        for j, column in enumerate(block, start=start):
            missing = int(seen.missing[j])
            present = column[: n - missing]  # missing values are sorted to the end
            if names[j] in schema.categories:
                card = _category(names[j], schema.categories[names[j]], present, missing)
            else:
                card = _number(names[j], names[j] in whole, present, missing)
            cards.append(card)
    if len(cards) <= MOST_FEATURES:
        return tuple(cards)
    kept = {id(card) for card in unusual_first(cards)[:MOST_FEATURES]}
    return tuple(card for card in cards if id(card) in kept)


def _number(name: str, whole: bool, present: Array, missing: int) -> FeatureCard:
    low = median = high = None
    size = len(present)
    if size:
        middle = present[[(size - 1) // 2, size // 2]].astype(np.float64)
        low, high = float(present[0]) + 0.0, float(present[-1]) + 0.0
        # an odd number has its middle, whatever halving would do to the smallest doubles
        median = float(middle[0] if size % 2 else middle[0] / 2 + middle[1] / 2) + 0.0
    return FeatureCard(
        name=name, low=low, median=median, high=high, missing=missing,
        distinct=len(_starts(present)), kind="integer" if whole else "number",
    )  # fmt: skip


def _category(name: str, categories: Sequence[str], present: Array, missing: int) -> FeatureCard:
    starts = _starts(present)
    sizes = np.diff(np.append(starts, len(present)))
    common, rows = "", 0
    if len(starts):
        top = int(sizes.argmax())
        code, rows = float(present[starts[top]]), int(sizes[top])
        known = code.is_integer() and 0 <= code < len(categories)
        common = categories[int(code)] if known else f"{code:g}"
    return FeatureCard(
        name=name, low=None, median=None, high=None, missing=missing, distinct=len(starts),
        kind="category", categories=len(categories), common=common, common_rows=rows,
    )  # fmt: skip


def _starts(ordered: Array) -> Array:
    """Return where a new value begins in a sorted array."""
    if not len(ordered):
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))


def describe_target(y: Array) -> TargetRange:
    """Return the range and quartiles of a regression target."""
    low, q1, median, q3, high = (
        float(value) + 0.0 for value in np.quantile(y, (0.0, 0.25, 0.5, 0.75, 1.0))
    )
    return TargetRange(low=low, q1=q1, median=median, q3=q3, high=high)
