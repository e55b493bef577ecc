"""Divide one file's rows into train and test, the same way each time."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from robreport import DataError

Part = Literal["train", "test", "all"]


def part_of_role(role: str, declared: Part | None, where: str) -> Part:
    """Return which part a role reads: ``train``, ``test``, or else everything.

    Raises
    ------
    DataError
        The calibration split, which would otherwise silently contain the test data.
    """
    if declared is not None:
        return declared
    if role in ("train", "test"):
        return role  # type: ignore[return-value]
    if role == "calibration":
        raise DataError(
            f"{where}: say which part the calibration split reads (part = 'train' or 'test'), "
            "or leave [data.calibration] out to have a part of test set aside."
        )
    return "all"


def split_rows(
    y: npt.NDArray[Any] | None,
    count: int,
    part: Part,
    *,
    test_size: float,
    random_state: int,
    stratify: bool,
    where: str,
) -> npt.NDArray[np.int64]:
    """Return the row numbers of one part, in the order of scikit-learn's ``train_test_split``.

    Raises
    ------
    DataError
        Too few rows, or a class of one row where the split is stratified.
    """
    rows = np.arange(count, dtype=np.int64)
    if part == "all":
        return rows
    from sklearn.model_selection import train_test_split

    try:
        train, test = train_test_split(
            rows,
            test_size=test_size,
            random_state=random_state,
            stratify=y if stratify else None,
        )
    except ValueError as error:
        advice = "; say stratify = false" if stratify else ""
        raise DataError(f"{where}: cannot be divided ({error}){advice}.") from None
    return np.asarray(train if part == "train" else test, dtype=np.int64)
