"""Ask encoders what they make of every category of the data, so that every option is met."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport_plugins.loaders.fitted_categories import ENCODERS, is_scikit
from robreport_plugins.loaders.frame_input import FrameInput
from robreport_plugins.loaders.wording import listed, one_line

Array = npt.NDArray[Any]

# Each output column of these depends on one input column only.
_BY_COLUMN = (*ENCODERS, "SimpleImputer", "StandardScaler", "MinMaxScaler", "MaxAbsScaler")
_MOST_ENTRIES = 4_000_000
_REFUSALS = (ValueError, TypeError, KeyError)


class NoEncoding(Exception):
    """Why an encoding cannot be told category by category, as the clause of a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """What encoders make of columns of categories.

    Attributes
    ----------
    base : array (m,) float64
        Of the first known category of every column.
    made : list of arrays (k + 1, m)
        For each input column, of its codes 0 … k−1 and last of a missing value, the other columns
        as in `base`; NaN where it is refused.
    refused : list of arrays (k + 1,) of bool
    """

    base: Array
    made: list[Array]
    refused: list[Array]


def until_encoded(steps: Sequence[Any]) -> int:
    """Return how many of the steps there are up to the last encoder; 0 without any."""
    places = [i for i, step in enumerate(steps) if is_scikit(step, *ENCODERS)]
    return places[-1] + 1 if places else 0


def encoding(steps: Sequence[Any], inputs: Sequence[int], frame: FrameInput) -> Encoding:
    """Return what steps that end with an encoder make of some of the estimator's columns.

    Raises
    ------
    NoEncoding
        A column is not declared categorical, a step mixes columns, the encoder fails with
        something else than a refusal of categories, or there are too many of them.
    """
    plain = [frame.names[i] if frame.names else str(i) for i in inputs if i not in frame.values]
    if plain:
        raise NoEncoding(f"encoded columns that are not declared categorical, {listed(plain, 3)}")
    if not all(is_scikit(step, *_BY_COLUMN) for step in steps):
        raise NoEncoding("steps before an encoder that mix columns")
    start = np.array([[min(frame.known[i], default=0) for i in inputs]])
    base = _encoded(steps, start, inputs, frame)
    if base is None:
        raise NoEncoding("an encoder that refuses the categories of the data")
    sizes = [len(frame.values[i]) for i in inputs]
    if sum(sizes) * base.shape[1] > _MOST_ENTRIES:
        raise NoEncoding("an encoding of too many categories")
    made, refused = [], []
    for column, size in enumerate(sizes):
        rows = np.repeat(start, size, axis=0)
        rows[:, column] = np.arange(size)
        found = _encoded(steps, rows, inputs, frame)
        no = np.zeros(size, dtype=bool)
        if found is None:
            each = [_encoded(steps, rows[i : i + 1], inputs, frame) for i in range(size)]
            no = np.array([row is None for row in each])
            nothing = np.full((1, base.shape[1]), np.nan)
            found = np.concatenate([nothing if row is None else row for row in each])
        made.append(found)
        refused.append(no)
    return Encoding(base=base[0], made=made, refused=refused)


def _encoded(
    steps: Sequence[Any], codes: Array, inputs: Sequence[int], frame: FrameInput
) -> Array | None:
    """Return what steps make of rows of codes, dense float64; None where they refuse them."""
    columns = [frame.values[i][codes[:, place]] for place, i in enumerate(inputs)]
    if frame.names:
        import pandas as pd

        names = [frame.names[i] for i in inputs]
        table: Any = pd.DataFrame(
            {n: pd.Series(c, dtype=c.dtype) for n, c in zip(names, columns, strict=True)}
        )
    else:
        table = np.empty((len(codes), len(inputs)), dtype=object)
        for place, column in enumerate(columns):
            table[:, place] = column
    try:
        with warnings.catch_warnings():
            # what an encoder does with a category that it does not know is what is asked here
            warnings.simplefilter("ignore", UserWarning)
            for step in steps:
                table = step.transform(table)
        dense = table.toarray() if hasattr(table, "toarray") else np.asarray(table)
        return np.array(dense, dtype=np.float64)
    except _REFUSALS as error:
        if len(codes) == 1 and "categor" not in str(error) and "NaN" not in str(error):
            raise NoEncoding(f"an encoder that fails with {one_line(error)}") from None
        return None
