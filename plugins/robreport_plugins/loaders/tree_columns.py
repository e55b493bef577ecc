"""What stands before trees in a pipeline: each column that they test, made of one of the data's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport_plugins.loaders.encodings import NoEncoding, encoding, until_encoded
from robreport_plugins.loaders.fitted_categories import (
    blocks_of,
    does_nothing,
    is_scikit,
    steps_of,
)
from robreport_plugins.loaders.frame_input import FrameInput
from robreport_plugins.loaders.verified_trees import NoTrees

Array = npt.NDArray[Any]
# ``scaling(place, x)`` gives the scaled values of x (n,) of those columns of its step (n,).
Scaling = Callable[[Array, Array], Array]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TreeColumn:
    """One column as trees read it.

    Attributes
    ----------
    source : int
        The column of data space that it is made of.
    scalings, places : tuples
        For numbers: what is done to them in turn, none of it turning them around, and the
        column's place in each of those steps.
    made : array (k + 1,) or None
        For categories: what their codes 0 … k−1 become, and last a missing value; None for
        numbers. Words where no step has made numbers of them yet.
    fill : float
        For numbers: what a missing one becomes; NaN where it stays missing.
    refused : array (k + 1,) of bool or None
        Categories at which a step raises.
    """

    source: int
    scalings: tuple[Scaling, ...] = ()
    places: tuple[int, ...] = ()
    made: Array | None = None
    fill: float = math.nan
    refused: Array | None = None

    @property
    def absent(self) -> float:
        """What a missing value becomes; NaN where it stays missing."""
        return self.fill if self.made is None else float(self.made[-1])

    def scaled(self, scaling: Scaling, place: int) -> TreeColumn:
        """Return the column behind one more scaling, in which it has that place."""

        def each(x: Array) -> Array:
            return scaling(np.full(len(x), place), x)

        if self.made is not None:
            return replace(self, made=each(self._numbers()))
        return replace(
            self, scalings=(*self.scalings, scaling), places=(*self.places, place),
            fill=float(each(np.array([self.fill]))[0]),
        )  # fmt: skip

    def filled(self, value: float) -> TreeColumn:
        """Return the column with a number where one is missing."""
        if self.made is None:
            return replace(self, fill=value if math.isnan(self.fill) else self.fill)
        made = self._numbers()
        return replace(self, made=np.where(np.isnan(made), value, made))

    def shows_missing(self) -> TreeColumn:
        """Return the column that is 1 where this one is missing, else 0."""
        if self.made is not None:
            return replace(self, made=np.isnan(self._numbers()).astype(np.float64))
        gone = float(math.isnan(self.fill))
        return replace(self, scalings=(lambda _, x: np.zeros_like(x),), places=(0,), fill=gone)

    def _numbers(self) -> Array:
        if self.made is None or self.made.dtype.kind == "O":
            raise NoTrees("a column of texts reaches a step that takes numbers")
        return self.made.astype(np.float64)


def columns_behind(steps: Sequence[Any], frame: FrameInput) -> list[TreeColumn]:
    """Return the columns that steps make of an estimator's input.

    Parameters
    ----------
    steps : sequence
        Fitted scikit-learn transformers.
    frame : FrameInput

    Raises
    ------
    NoTrees
        A step makes a column of several, or of one in a way that is not known here.
    """
    every = [part for step in steps for part in steps_of(step)]
    return _chain(every, list(range(len(frame.order))), frame)[0]


def _chain(
    steps: Sequence[Any], inputs: list[int], frame: FrameInput
) -> tuple[list[TreeColumn], bool]:
    """Return what consecutive steps make of some columns, and whether in a sparse table."""
    steps = [step for step in steps if not does_nothing(step)]
    if steps and is_scikit(steps[0], "ColumnTransformer"):
        columns = [
            column
            for transformer, read in blocks_of(steps[0], inputs)
            for column in _chain(steps_of(transformer), read, frame)[0]
        ]
        sparse = bool(steps[0].sparse_output_)
        steps = steps[1:]
    elif behind := until_encoded(steps):
        columns = _encoded(steps[:behind], inputs, frame)
        sparse = bool(getattr(steps[behind - 1], "sparse_output", False))
        steps = steps[behind:]
    else:
        columns = [TreeColumn(source=int(frame.order[i]), made=frame.values.get(i)) for i in inputs]
        sparse = False
    for step in steps:
        columns, sparse = _behind(step, columns, sparse)
    return columns, sparse


def _encoded(steps: Sequence[Any], inputs: list[int], frame: FrameInput) -> list[TreeColumn]:
    try:
        found = encoding(steps, inputs, frame)
    except NoEncoding as reason:
        raise NoTrees(str(reason)) from None
    columns = []
    for output in range(len(found.base)):
        turns = [
            place
            for place, (made, refused) in enumerate(zip(found.made, found.refused, strict=True))
            if not _is_always(found.base[output], made[~refused, output])
        ]
        if len(turns) > 1:
            raise NoTrees("an encoder makes a column of several")
        # one that is always the same is made of any
        place = turns[0] if turns else 0
        columns.append(
            TreeColumn(
                source=int(frame.order[inputs[place]]), made=found.made[place][:, output],
                refused=found.refused[place],
            )
        )  # fmt: skip
    return columns


def _is_always(value: float, made: Array) -> bool:
    return np.array_equal(made, np.full(len(made), value), equal_nan=True)


def _behind(step: Any, columns: list[TreeColumn], sparse: bool) -> tuple[list[TreeColumn], bool]:
    """Return what one step makes of the columns before it, and whether in a sparse table."""
    if is_scikit(step, "ColumnTransformer"):
        found = []
        for transformer, read in blocks_of(step, range(len(columns))):
            inner, thin = [columns[place] for place in read], sparse
            for part in steps_of(transformer):
                if not does_nothing(part):
                    inner, thin = _behind(part, inner, thin)
            found += inner
        return found, bool(step.sparse_output_)
    if is_scikit(step, "SimpleImputer"):
        return _imputed(step, columns), sparse
    if type(step).__module__.startswith("sklearn.feature_selection."):
        return [columns[place] for place in np.flatnonzero(step.get_support())], sparse
    for scaling in _scalings(step, sparse):
        columns = [column.scaled(scaling, place) for place, column in enumerate(columns)]
    return columns, sparse


def _imputed(step: Any, columns: list[TreeColumn]) -> list[TreeColumn]:
    if np.asarray(step.statistics_).dtype.kind == "O":
        raise NoTrees("a column of texts reaches a step that takes numbers")
    values = np.asarray(step.statistics_, dtype=np.float64)
    if not (isinstance(step.missing_values, float) and math.isnan(step.missing_values)):
        raise NoTrees("a SimpleImputer stands before them that replaces other values than NaN")
    if np.isnan(values).any():
        raise NoTrees("a SimpleImputer stands before them that leaves columns out")
    found = [column.filled(float(v)) for column, v in zip(columns, values, strict=True)]
    if step.add_indicator:
        found += [columns[int(place)].shows_missing() for place in step.indicator_.features_]
    return found


def _scalings(step: Any, sparse: bool) -> list[Scaling]:
    """Return what a step does to each column, if that grows with the column; in its own order."""
    if is_scikit(step, "StandardScaler"):
        centre = step.mean_ if step.with_mean else None
        return [*_subtract(centre), *_divide(step.scale_, sparse)]
    if is_scikit(step, "RobustScaler"):
        centre = step.center_ if step.with_centering else None
        scale = step.scale_ if step.with_scaling else None
        return [*_subtract(centre), *_divide(scale, sparse)]
    if is_scikit(step, "MaxAbsScaler"):
        clips = [lambda _, x: np.clip(x, -1.0, 1.0)] if getattr(step, "clip", False) else []
        return [*_divide(step.scale_, sparse), *clips]
    if is_scikit(step, "MinMaxScaler") and (np.asarray(step.scale_) > 0).all():
        low, high = step.feature_range if step.clip else (-math.inf, math.inf)
        factor, shift = np.asarray(step.scale_), np.asarray(step.min_)
        return [lambda j, x: np.clip(x * factor[j] + shift[j], low, high)]
    raise NoTrees(f"a {type(step).__name__} stands before them, which is no scaling of columns")


def _subtract(centre: Any) -> list[Scaling]:
    if centre is None:
        return []
    centre = np.asarray(centre, dtype=np.float64)
    return [lambda j, x: x - centre[j]]


def _divide(scale: Any, sparse: bool) -> list[Scaling]:
    if scale is None:
        return []
    scale = np.asarray(scale, dtype=np.float64)
    if np.isnan(scale).any():
        raise NoTrees("a scaler before them was fitted on a column without values")
    if not (scale > 0).all():
        raise NoTrees("a scaler before them turns a column around")
    if sparse:
        # as scikit-learn scales a sparse table: another last digit
        factor = 1.0 / scale
        return [lambda j, x: x * factor[j]]
    return [lambda j, x: x / scale[j]]
