"""Turn inputs of data space into what a black box is given, with NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from robreport import DataSchema, ModelError
from robreport_plugins.loaders.black_box_options import BlackBoxOptions, Number
from robreport_plugins.loaders.input_options import InputOptions

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputForm:
    """What is done to a batch ``(n, *shape)`` before a black box reads it.

    Attributes
    ----------
    where : str
        How error sentences begin.
    shape : tuple of int or None
        Shape of one input in data space; None when any is taken.
    input : InputOptions
    dtype : "float32", "float64" or "uint8"
    flatten : bool
    columns : tuple of str
        Names of a table's columns; empty when none are given along.
    categories : mapping of str to tuple of str
        Texts that the codes 0, 1, 2 ... of a column stand for.
    """

    where: str
    shape: tuple[int, ...] | None
    input: InputOptions
    dtype: Number
    flatten: bool = False
    columns: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def array(self, x: Array) -> Array:
        """Return a fresh array as declared: padded, normalised, arranged, flattened."""
        if self.dtype == "uint8":
            x = self._bytes(x)
        else:
            x = np.array(x, dtype=np.dtype(self.dtype), order="C")
        left, right, top, bottom = self.input.padding
        if any(self.input.padding):
            x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        if self.input.normalize is not None:
            along = (-1,) + (1,) * (x.ndim - 2)
            mean, std = (np.array(p, dtype=x.dtype).reshape(along) for p in self.input.normalize)
            x = (x - mean) / std
        if self.input.layout == "NHWC":
            x = x.transpose(0, 2, 3, 1)
        if self.flatten:
            x = x.reshape(len(x), math.prod(x.shape[1:]))
        return np.ascontiguousarray(x)

    def _bytes(self, x: Array) -> Array:
        # Rounding of a float32 in [0, 1] may leave it by a hair, and what is further off is data
        # of another range, which must not be cut off unseen.
        if x.size and not (float(x.min()) >= -1e-6 and float(x.max()) <= 1 + 1e-6):
            raise ModelError(
                f"{self.where}: dtype = 'uint8' is for inputs in [0, 1], and these range from "
                f"{float(x.min()):.4g} to {float(x.max()):.4g}."
            )
        return np.rint(np.asarray(x, dtype=np.float64) * 255).clip(0, 255).astype(np.uint8)

    def table(self, x: Array) -> dict[str, list[Any]]:
        """Return the columns by name: numbers, texts of categories, None where one is missing.

        Raises
        ------
        ModelError
            A value of a column of categories is no code of it.
        """
        return {
            name: self._column(name, np.asarray(x[:, i], dtype=np.float64))
            for i, name in enumerate(self.columns)
        }

    def _column(self, name: str, values: Array) -> list[Any]:
        missing = np.isnan(values)
        texts = self.categories.get(name)
        if texts is None:
            return [None if gone else value for value, gone in zip(
                values.tolist(), missing.tolist(), strict=True)]  # fmt: skip
        known = values[~missing]
        bad = (known != np.rint(known)) | (known < 0) | (known >= len(texts))
        if bad.any():
            raise ModelError(
                f"{self.where}: the column {name!r} holds categories, and {known[bad][0]:.6g} is "
                f"no code of one of its {len(texts)}; a metric that moves inputs off their "
                "categories cannot be run with frame = true."
            )
        return [None if gone else texts[int(value)] for value, gone in zip(
            values.tolist(), missing.tolist(), strict=True)]  # fmt: skip

    def frame(self, x: Array) -> pd.DataFrame:
        """Return the table as a DataFrame: float64 columns, and categories as their text."""
        import pandas as pd

        made = {
            name: pd.Series(column, dtype=object if name in self.categories else np.float64)
            for name, column in self.table(x).items()
        }
        return pd.DataFrame(made, columns=list(self.columns))


def input_form(options: BlackBoxOptions, schema: DataSchema | None, where: str) -> InputForm:
    """Return how inputs are given, checked against the data.

    Raises
    ------
    ModelError
        The declared shape is not the data's, or `frame` is asked for where there is no table
        with column names.
    """
    data = None if schema is None else tuple(schema.input_shape)
    shape = options.input.shape or data
    if data is not None and shape is not None and tuple(shape) != data:
        raise ModelError(
            f"{where}: input.shape = {list(shape)} is declared, and the data has inputs of shape "
            f"{list(data)}; shapes are those of data space, before input is applied."
        )
    if shape is None and not options.input.changes_nothing:
        raise ModelError(
            f"{where}: input.shape is not declared and no data says it; "
            "add input = { shape = [...] }."
        )
    problem = "" if shape is None else options.input.problem_with(tuple(shape))
    if problem:
        raise ModelError(f"{where}: {problem}; correct the model's input.")
    is_table = schema is not None and schema.layout == "table"
    columns = tuple(schema.features) if schema is not None and is_table else ()
    if options.frame and not columns:
        raise ModelError(
            f"{where}: frame = true needs a table with column names, and the data is "
            f"{'a table without them' if is_table else 'none'}; name them in "
            "data.schema.features, or leave frame out."
        )
    categories = dict(schema.categories) if schema is not None and options.frame else {}
    return InputForm(
        where=where,
        shape=None if shape is None else tuple(shape),
        input=options.input,
        dtype=options.dtype or ("float64" if is_table else "float32"),
        flatten=options.flatten,
        columns=columns,
        categories=categories,
    )
