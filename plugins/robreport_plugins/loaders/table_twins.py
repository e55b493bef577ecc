"""Exact torch twins of what stands before a predictor of tables: encoders, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from robreport_plugins.loaders.encodings import NoEncoding, encoding, until_encoded
from robreport_plugins.loaders.fitted_categories import (
    blocks_of,
    does_nothing,
    is_scikit,
    steps_of,
)
from robreport_plugins.loaders.frame_input import FrameInput
from robreport_plugins.loaders.twins import (
    Columns,
    NoTwin,
    predictor_twins,
    transformer_twin,
    unfold,
)

Array = npt.NDArray[Any]


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
    # a predictor without a twin, such as trees, needs no encoder asked
    bodies = predictor_twins(last)
    front = _chain(steps, inputs, frame)
    return [(nn.Sequential(front, *body), kind) for body, kind in bodies]


def _chain(steps: Sequence[Any], inputs: list[int], frame: FrameInput) -> nn.Module:
    """Return the twin of consecutive steps that begin with some of the estimator's columns."""
    steps = [step for step in steps if not does_nothing(step)]
    if steps and is_scikit(steps[0], "ColumnTransformer"):
        blocks: list[nn.Module] = []
        for transformer, read in blocks_of(steps[0], inputs):
            inner = [] if isinstance(transformer, str) else steps_of(transformer)
            blocks.append(_chain(inner, read, frame))
        return nn.Sequential(Beside(blocks), *map(transformer_twin, steps[1:]))
    behind = until_encoded(steps)
    if not behind:
        return nn.Sequential(*_numbers(inputs, frame), *map(transformer_twin, steps))
    places = Columns(np.asarray(frame.order)[inputs])
    try:
        found = encoding(steps[:behind], inputs, frame)
    except NoEncoding as reason:
        raise NoTwin(str(reason)) from None
    # What is refused stays NaN, which the twin then gives where the estimator raises.
    table = CodeTable(found.base, [made - found.base for made in found.made])
    return nn.Sequential(places, table, *map(transformer_twin, steps[behind:]))


def _numbers(inputs: list[int], frame: FrameInput) -> list[nn.Module]:
    """Return what picks columns of numbers; categories among them as the numbers they are."""
    picked: list[nn.Module] = [Columns(np.asarray(frame.order)[inputs])]
    coded = [place for place, i in enumerate(inputs) if i in frame.values]
    values = [frame.values[inputs[place]] for place in coded]
    if any(value.dtype.kind == "O" for value in values):
        raise NoTwin("a column of texts that reaches no encoder")
    return [*picked, Decode(coded, values)] if coded else picked
