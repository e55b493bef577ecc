"""Give an estimator the data frame that it was fitted on: named columns, categories spelled out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import DataSchema
from robreport_plugins.loaders.fitted_categories import fitted_categories

Array = npt.NDArray[Any]

# As a table of booleans is written, and as a model of numbers is given it.
_BOOLEANS = {"True": "1", "False": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameInput:
    """How rows of data space become what an estimator reads.

    A code stands for its category; a number between two codes, as an attack may make one, for the
    nearer one, and one beyond them for the last.

    Attributes
    ----------
    width : int
        Number of columns of data space.
    order : array of int
        Column of data space for each of the estimator's columns.
    names : tuple of str
        Names that the estimator was fitted on; empty for none.
    values : mapping of int to array (k + 1,)
        For each of the estimator's columns that is decoded, what the codes 0 … k−1 stand for, and
        last what a missing value does. Numbers or objects.
    known : mapping of int to tuple of int
        The codes that the estimator is known to take, for the same columns.
    missing : frozenset of int
        The estimator's columns in which the data has missing values.
    numbers : mapping of int to float
        A number that the estimator is known to take, for columns that it encodes undecoded.
    """

    width: int
    order: Array
    names: tuple[str, ...] = ()
    values: Mapping[int, Array] = field(default_factory=dict)
    known: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    missing: frozenset[int] = frozenset()
    numbers: Mapping[int, float] = field(default_factory=dict)

    def form(self, column: int) -> str:
        """Return how the estimator is given one of its columns of categories, in words."""
        values = self.values.get(column)
        if values is None or _are_codes(values):
            return "as codes"
        return "as words" if values.dtype.kind == "O" else "as numbers"

    def codes(self, column: int, flat: Array) -> npt.NDArray[np.int64]:
        """Return the place in `values` of each row's category in one of the estimator's columns."""
        last = len(self.values[column]) - 1
        raw = flat[:, self.order[column]]
        absent = np.isnan(raw)
        nearest = np.clip(np.rint(np.where(absent, 0.0, raw)), 0, last - 1)
        return np.where(absent, last, nearest).astype(np.int64)

    def table(self, flat: Array) -> Any:
        """Return rows ``(n, width)`` of data space as a data frame, or an array without names."""
        if not self.values:
            same = self.order.tolist() == list(range(flat.shape[1]))
            plain = flat if same else flat[:, self.order]
            if not self.names:
                return plain
            import pandas as pd

            return pd.DataFrame(plain, columns=list(self.names))
        columns = [
            self.values[i][self.codes(i, flat)] if i in self.values else flat[:, place]
            for i, place in enumerate(self.order)
        ]
        if not self.names:
            if not any(column.dtype.kind == "O" for column in columns):
                return np.column_stack(columns)
            cells = np.empty((len(flat), len(columns)), dtype=object)
            for i, column in enumerate(columns):
                cells[:, i] = column
            return cells
        import pandas as pd

        # Object columns are taken by every encoder, whatever the dtype that it was fitted on.
        return pd.DataFrame(
            {name: pd.Series(c, dtype=c.dtype) for name, c in zip(self.names, columns, strict=True)}
        )

    def plain_rows(self, count: int) -> Array:
        """Return rows of data space that the estimator should take: 0.5, and codes it knows."""
        rows = np.full((count, self.width), 0.5)
        for column, codes in self.known.items():
            rows[:, self.order[column]] = codes[0] if codes else 0
        for column, number in self.numbers.items():
            rows[:, self.order[column]] = number
        return rows


def frame_input(
    estimator: Any,
    schema: DataSchema | None,
    *,
    width: int,
    order: Array | None,
    names: tuple[str, ...],
) -> FrameInput:
    """Return how an estimator's input is made, from its encoders and the data's categories.

    A column's codes are spelled out as its encoder knows them: as texts or as numbers. Without
    an encoder, categories that are all numbers are taken as such; texts are given to estimators
    that know their columns by name, unless they refuse them, and codes to others.
    """
    places = np.arange(width) if order is None else np.asarray(order)
    values: dict[int, Array] = {}
    known: dict[int, tuple[int, ...]] = {}
    unsure: list[int] = []
    features = schema.features if schema is not None else ()
    categories = schema.categories if schema is not None else {}
    fitted = fitted_categories(estimator, len(places))
    numbers: dict[int, float] = {}
    for i, place in enumerate(places.tolist()):
        words = categories.get(features[place]) if place < len(features) else None
        own = fitted.get(i)
        decoded = None if words is None else _decoded(words, own, named=bool(names))
        if decoded is None:
            first: Any = None if own is None or not len(own) else own.tolist()[0]
            if _is_number(first) and not _is_missing(first):
                numbers[i] = float(first)
        else:
            values[i] = decoded
            known[i] = _known(decoded, own)
            if own is None and decoded.dtype.kind == "O":
                unsure.append(i)
    absent = set(schema.missing) if schema is not None else set()
    frame = FrameInput(
        width=width,
        order=places,
        names=names,
        values=values,
        known=known,
        missing=frozenset(
            i for i, p in enumerate(places.tolist()) if p < len(features) and features[p] in absent
        ),
        numbers=numbers,
    )
    if not unsure or _takes(estimator, frame):
        return frame
    # which of them the estimator wants as codes: one, or all but those that it takes as words
    for i in unsure:
        if _takes(estimator, fewer := _without(frame, {i})):
            return fewer
    coded = set(unsure)
    for i in unsure:
        if _takes(estimator, _without(frame, coded - {i})):
            coded.remove(i)
    found = _without(frame, coded)
    return found if _takes(estimator, found) else frame


def _without(frame: FrameInput, columns: set[int]) -> FrameInput:
    """Return the input with codes in some columns."""
    return replace(
        frame,
        values={i: v for i, v in frame.values.items() if i not in columns},
        known={i: k for i, k in frame.known.items() if i not in columns},
    )


def _takes(estimator: Any, frame: FrameInput) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            estimator.predict(frame.table(frame.plain_rows(2)))
    except (ValueError, TypeError, AttributeError, ArithmeticError, LookupError, RuntimeError):
        return False
    return True


def _decoded(words: Sequence[str], own: Array | None, *, named: bool) -> Array | None:
    """Return what each code stands for and, last, a missing value; None to leave the codes."""
    numbers = _as_numbers(words)
    if own is None:
        if numbers is not None:
            return None if _are_codes(numbers) else numbers
        return _objects([*words, np.nan]) if named else None
    there = [value for value in own.tolist() if not _is_missing(value)]
    if all(map(_is_number, there)):
        if numbers is not None:
            return numbers
        # It was fitted on numbers where the data has words: on codes, which are their places.
        return np.array([*range(len(words)), np.nan])
    # Read with other settings, the same words may stand with blanks around them.
    spelled = {str(value).strip(): value for value in there}
    spelled |= {str(value): value for value in there}
    absent = next((value for value in own.tolist() if value is None), np.nan)
    return _objects([*(spelled.get(word, word) for word in words), absent])


def _known(decoded: Array, own: Array | None) -> tuple[int, ...]:
    """Return the codes whose category the encoder knows; all without an encoder."""
    count = len(decoded) - 1
    if own is None:
        return tuple(range(count))
    there = {value for value in own.tolist() if not _is_missing(value)}
    return tuple(code for code, value in enumerate(decoded[:-1].tolist()) if value in there)


def _as_numbers(words: Sequence[str]) -> Array | None:
    try:
        numbers = [float(_BOOLEANS.get(word, word)) for word in words]
    except ValueError:
        return None
    if not all(map(math.isfinite, numbers)):
        return None
    return np.array([*numbers, np.nan])


def _objects(values: Sequence[Any]) -> Array:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _are_codes(decoded: Array) -> bool:
    """Whether codes stand for themselves, 0 for 0, 1 for 1, and so on."""
    return decoded.dtype.kind == "f" and decoded[:-1].tolist() == list(range(len(decoded) - 1))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
