"""Turn whatever a file has as labels into class codes or values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import DataError, names_in_order, number_of
from robreport_plugins.loaders.wording import did_you_mean, listed, shown

Array = npt.NDArray[Any]

LONGEST_TEXT = 200
"""Most characters of a label or of a group's name."""
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,199})")
_ENDLESS = frozenset({"inf", "infinity"})


def may_lack_labels(role: str) -> bool:
    """Whether a split of this role is of use without labels."""
    return role.split(".")[0] in ("ood", "extra")


def one_per_row(y: Array, count: int, where: str) -> Array:
    """Return labels as ``(n,)``, a column ``(n, 1)`` flattened.

    Raises
    ------
    DataError
        Not one label per input.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and len(y) == count:
        raise DataError(
            f"{where}: labels have shape {y.shape}; store class numbers (n,), "
            "for instance the argmax of one-hot rows."
        )
    if y.ndim != 1:
        raise DataError(f"{where}: labels have shape {y.shape}, and one per input (n,) is needed.")
    if len(y) != count:
        raise DataError(f"{where}: has {count:,} inputs and {len(y):,} labels.")
    return y


def class_codes(y: Array, where: str) -> npt.NDArray[np.int64]:
    """Return class numbers as int64.

    Raises
    ------
    DataError
        Text, fractions, NaN or negative numbers.
    """
    if y.dtype.kind not in "buif":
        raise DataError(
            f"{where}: labels are {y.dtype}, and class numbers 0, 1, 2, ... are needed; "
            "store them as integers."
        )
    if y.dtype.kind == "f":
        wrong = ~np.isfinite(y) | (y != np.floor(y)) | (np.abs(y) >= 2**53)
        if wrong.any():
            raise DataError(
                f"{where}: {int(wrong.sum()):,} labels are no whole numbers (such as "
                f"{y[wrong][0]!s}), and class numbers are needed; is task = 'regression' meant?"
            )
    if len(y) and (y.min() < 0 or y.max() > np.iinfo(np.int64).max):
        raise DataError(
            f"{where}: labels range from {y.min()} to {y.max()}; class numbers begin at 0."
        )
    return y.astype(np.int64)


def target_values(y: Array, where: str) -> npt.NDArray[np.float64]:
    """Return regression targets as float64.

    Raises
    ------
    DataError
        Text instead of numbers.
    """
    if y.dtype.kind not in "buif":
        raise DataError(f"{where}: the target is {y.dtype}, and regression needs numbers.")
    return y.astype(np.float64)


def named_codes(
    labels: Sequence[str], declared: tuple[str, ...], where: str, *, decimal: str = "."
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Return codes for labels that are names, and the names in the order of their codes.

    A name is the text itself, but a whole number written as a fraction, as "1.0", is "1": that is
    how libraries write whole numbers of a column with missing values. A declared name also stands
    for other spellings of the same number.

    Parameters
    ----------
    labels : sequence of str
    declared : tuple of str
        Class names in the order of their codes; empty to take those that occur, numbers in
        their order and texts in theirs.
    decimal : str
        What separates the whole part of a number from the rest.

    Raises
    ------
    DataError
        A label that is not among those declared or is too long, fractional numbers, or one number
        in two spellings.
    """
    unique = list(dict.fromkeys(labels))
    check_lengths(unique, where, "a label")
    if len(set(declared)) != len(declared):
        raise DataError(f"{where}: its declared values {listed(map(repr, declared))} repeat.")
    same = name_finder(declared)
    name_of: dict[str, str | None] = {}
    for text in unique:
        plain = whole_number(text, decimal)
        name_of[text] = (same(text) or same(plain)) if declared else plain
    unknown = [text for text, name in name_of.items() if name is None]
    if unknown:
        raise DataError(
            f"{where}: has labels {listed(map(shown, unknown))}, and classes declares "
            f"{listed(map(shown, declared))}.{did_you_mean(unknown[0], declared)}"
        )
    found = {name for name in name_of.values() if name is not None}
    if not declared:
        _check_found(found, where, decimal)
    names = declared or names_in_order(found)
    place = {name: code for code, name in enumerate(names)}
    code_of = {text: place[name] for text, name in name_of.items() if name is not None}
    return np.array([code_of[text] for text in labels], dtype=np.int64), names


def name_finder(names: Sequence[str]) -> Callable[[str], str | None]:
    """Return a function that finds a name: the same text, or else the one of the same number."""
    known = frozenset(names)
    counted = Counter(number_of(name) for name in names)
    of_number = {
        number: name
        for name in names
        if (number := number_of(name)) is not None and counted[number] == 1
    }

    def find(text: str) -> str | None:
        if text in known:
            return text
        number = number_of(text)
        return None if number is None else of_number.get(number)

    return find


def check_lengths(texts: Iterable[str], where: str, what: str, most: int = LONGEST_TEXT) -> None:
    """Check that no text is too long to be a name.

    Raises
    ------
    DataError
        One is.
    """
    longest = max(map(len, texts), default=0)
    if longest > most:
        raise DataError(
            f"{where}: {what} has {longest:,} characters; at most {most:,} are taken. Is it the "
            "right column?"
        )


def whole_number(text: str, decimal: str) -> str:
    """Return "1" for "1.0"; any other text as it is."""
    whole, mark, rest = text.partition(decimal)
    if not mark or rest.strip("0") or not _WHOLE.fullmatch(whole):
        return text
    return "0" if whole == "-0" else whole


def _check_found(names: set[str], where: str, decimal: str) -> None:
    """Refuse what are measured values rather than names, and one number in two spellings."""
    numbers = {name: number_of(name.replace(decimal, ".", 1)) for name in names}
    counted = [name for name, number in numbers.items() if number is not None]
    if len(counted) + sum(name.lower().lstrip("+-") in _ENDLESS for name in names) == len(names):
        wrong = [name for name, number in numbers.items() if number is None or number % 1]
        if wrong:
            raise DataError(
                f"{where}: {len(wrong):,} labels are no whole numbers (such as "
                f"{shown(min(wrong))}), and classes are needed; is task = 'regression' meant? If "
                "they are classes, name them in classes."
            )
    first: dict[Any, str] = {}
    for name in sorted(counted):
        before = first.setdefault(numbers[name], name)
        if before != name:
            raise DataError(
                f"{where}: has the labels {shown(before)} and {shown(name)}, two spellings of one "
                "number; give it one with label_map, or name both in classes."
            )
