"""Turn whatever a file has as labels into class codes or values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import DataError
from robreport_plugins.loaders.wording import did_you_mean, listed

Array = npt.NDArray[Any]


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
    labels: Sequence[Any], declared: tuple[str, ...], where: str
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Return codes for labels that are names, and the names in the order of their codes.

    Parameters
    ----------
    labels : sequence
        Strings or numbers; 3 and 3.0 are the class "3".
    declared : tuple of str
        Class names in the order of their codes; empty to take those that occur, numbers in
        their order and texts in theirs.

    Raises
    ------
    DataError
        A label that is not among those declared, or fractional numbers.
    """
    values = np.asarray(labels)
    unique = list(dict.fromkeys(values.tolist()))
    numeric = values.dtype.kind in "biuf"
    if values.dtype.kind == "f":
        class_codes(np.abs(values), where)
        unique = [int(value) for value in unique]
        values = values.astype(np.int64)
    name_of = {value: str(value) for value in unique}
    names = declared
    if not names:
        ordered = sorted(unique) if numeric else sorted(unique, key=str)
        names = tuple(name_of[value] for value in ordered)
    code = {name: index for index, name in enumerate(names)}
    if len(code) != len(names):
        raise DataError(f"{where}: its declared values {listed(map(repr, names))} repeat.")
    unknown = [name for name in name_of.values() if name not in code]
    if unknown:
        raise DataError(
            f"{where}: has labels {listed(map(repr, unknown))}, and classes declares "
            f"{listed(map(repr, names))}.{did_you_mean(unknown[0], names)}"
        )
    codes = np.array([code[name_of[value]] for value in values.tolist()], dtype=np.int64)
    return codes, names
