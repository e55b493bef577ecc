"""Exact torch twins of what stands before a predictor of tables: encoders, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from robreport_plugins.loaders.fitted_categories import blocks_of, is_scikit, steps_of
from robreport_plugins.loaders.frame_input import FrameInput
from robreport_plugins.loaders.twins import (
    Columns,
    NoTwin,
    predictor_twins,
    transformer_twin,
    unfold,
)
from robreport_plugins.loaders.wording import listed, one_line

Array = npt.NDArray[Any]

_ENCODERS = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
# Each output column of these depends on one input column only.
_BY_COLUMN = (*_ENCODERS, "SimpleImputer", "StandardScaler", "MinMaxScaler", "MaxAbsScaler")
_MOST_ENTRIES = 4_000_000
_REFUSALS = (ValueError, TypeError, KeyError)


class Codes(nn.Module):
    """Turns columns of codes into places in a table: the nearest code, or the last for NaN."""

    counts: torch.Tensor

    def __init__(self, counts: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("counts", torch.tensor(list(counts), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.detach()
        absent = torch.isnan(x)
        nearest = torch.round(torch.where(absent, torch.zeros_like(x), x))
        top = (self.counts - 1).to(x.dtype)
        nearest = torch.minimum(nearest.clamp_min(0), top)
        return torch.where(absent, self.counts, nearest.to(torch.int64))


class CodeTable(nn.Module):
    """What encoders make of columns of codes: a sum of one row for each column's code.

    Exact in value; as good as constant, since its gradient is zero everywhere.
    """

    base: torch.Tensor
    rows: torch.Tensor
    starts: torch.Tensor

    def __init__(self, base: Array, tables: Sequence[Array]) -> None:
        super().__init__()
        self.codes = Codes([len(table) - 1 for table in tables])
        starts = np.cumsum([0, *(len(table) for table in tables)])[:-1]
        self.register_buffer("base", torch.from_numpy(np.array(base, dtype=np.float64)))
        self.register_buffer("rows", torch.from_numpy(np.concatenate(tables)))
        self.register_buffer("starts", torch.from_numpy(starts.astype(np.int64)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        picked = self.rows.to(x.dtype)[self.codes(x) + self.starts]
        return self.base.to(x.dtype) + picked.sum(dim=1)


class Decode(nn.Module):
    """Puts numbers for the codes of some columns, and leaves the others."""

    def __init__(self, columns: Sequence[int], values: Sequence[Array]) -> None:
        super().__init__()
        self.columns = list(columns)
        self.codes = Codes([len(value) - 1 for value in values])
        for i, value in enumerate(values):
            self.register_buffer(f"values{i}", torch.from_numpy(value.astype(np.float64)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        codes = self.codes(x[:, self.columns])
        x = x.clone()
        for i, column in enumerate(self.columns):
            x[:, column] = self.get_buffer(f"values{i}").to(x.dtype)[codes[:, i]]
        return x


class Beside(nn.Module):
    """Runs blocks on the same input and puts their outputs side by side."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([block(x) for block in self.blocks], dim=1)


def is_of_table(estimator: Any, frame: FrameInput) -> bool:
    """Whether a twin must know the columns: some are decoded, or go separate ways."""
    steps, _ = unfold(estimator)
    return bool(frame.values) or any(
        is_scikit(part, "ColumnTransformer") for step in steps for part in steps_of(step)
    )


def table_candidates(estimator: Any, frame: FrameInput) -> list[tuple[nn.Sequential, str]]:
    """Return the possible twins of an estimator of tables, from data space to its scores.

    They are as those of `twins.candidates`, and differentiable in the columns of numbers.
    Encoders are asked what they make of each category, so that every option of theirs is met.

    Raises
    ------
    NoTwin
        A part has none, or no column of numbers is left that a gradient could reach.
    """
    outer, last = unfold(estimator)
    steps = [part for step in outer for part in steps_of(step)]
    inputs = list(range(len(frame.order)))
    if all(i in frame.values for i in inputs):
        raise NoTwin("every column is categorical, so that there is no gradient")
    front = _chain(steps, inputs, frame)
    return [(nn.Sequential(front, *body), kind) for body, kind in predictor_twins(last)]


def _chain(steps: Sequence[Any], inputs: list[int], frame: FrameInput) -> nn.Module:
    """Return the twin of consecutive steps that begin with some of the estimator's columns."""
    steps = [step for step in steps if not _does_nothing(step)]
    if steps and is_scikit(steps[0], "ColumnTransformer"):
        blocks: list[nn.Module] = []
        for transformer, read in blocks_of(steps[0], inputs):
            inner = [] if isinstance(transformer, str) else steps_of(transformer)
            blocks.append(_chain(inner, read, frame))
        return nn.Sequential(Beside(blocks), *map(transformer_twin, steps[1:]))
    encoders = [i for i, step in enumerate(steps) if is_scikit(step, *_ENCODERS)]
    if not encoders:
        return nn.Sequential(*_numbers(inputs, frame), *map(transformer_twin, steps))
    plain = [frame.names[i] if frame.names else str(i) for i in inputs if i not in frame.values]
    if plain:
        raise NoTwin(f"encoded columns that are not declared categorical, {listed(plain, 3)}")
    behind = encoders[-1] + 1
    if not all(is_scikit(step, *_BY_COLUMN) for step in steps[:behind]):
        raise NoTwin("steps before an encoder that mix columns")
    places = Columns(np.asarray(frame.order)[inputs])
    table = _code_table(steps[:behind], inputs, frame)
    return nn.Sequential(places, table, *map(transformer_twin, steps[behind:]))


def _does_nothing(step: Any) -> bool:
    return isinstance(step, str) or (
        is_scikit(step, "FunctionTransformer") and getattr(step, "func", 0) is None
    )


def _numbers(inputs: list[int], frame: FrameInput) -> list[nn.Module]:
    """Return what picks columns of numbers; categories among them as the numbers they are."""
    picked: list[nn.Module] = [Columns(np.asarray(frame.order)[inputs])]
    coded = [place for place, i in enumerate(inputs) if i in frame.values]
    values = [frame.values[inputs[place]] for place in coded]
    if any(value.dtype.kind == "O" for value in values):
        raise NoTwin("a column of texts that reaches no encoder")
    return [*picked, Decode(coded, values)] if coded else picked


def _code_table(steps: Sequence[Any], inputs: list[int], frame: FrameInput) -> CodeTable:
    """Ask the steps what they make of every category of every column, the others held fixed.

    What is refused becomes NaN, which the twin then gives where the estimator raises.
    """
    start = np.array([[min(frame.known[i], default=0) for i in inputs]])
    base = _encoded(steps, start, inputs, frame)
    if base is None:
        raise NoTwin("an encoder that refuses the categories of the data")
    tables = []
    sizes = [len(frame.values[i]) for i in inputs]
    if sum(sizes) * base.shape[1] > _MOST_ENTRIES:
        raise NoTwin("an encoding of too many categories")
    for column, size in enumerate(sizes):
        rows = np.repeat(start, size, axis=0)
        rows[:, column] = np.arange(size)
        found = _encoded(steps, rows, inputs, frame)
        if found is None:
            each = [_encoded(steps, rows[i : i + 1], inputs, frame) for i in range(size)]
            refused = np.full((1, base.shape[1]), np.nan)
            found = np.concatenate([refused if row is None else row for row in each])
        tables.append(found - base)
    return CodeTable(base[0], tables)


def _encoded(
    steps: Sequence[Any], codes: Array, inputs: list[int], frame: FrameInput
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
        for step in steps:
            table = step.transform(table)
        dense = table.toarray() if hasattr(table, "toarray") else np.asarray(table)
        return np.array(dense, dtype=np.float64)
    except _REFUSALS as error:
        if len(codes) == 1 and "categor" not in str(error) and "NaN" not in str(error):
            raise NoTwin(f"an encoder that fails with {one_line(error)}") from None
        return None
