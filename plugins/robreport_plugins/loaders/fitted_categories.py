"""Find which values an estimator's encoders know, column by column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ENCODERS = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
# What leaves the columns where they are, so that an encoder behind it meets the same ones.
_KEEPS_COLUMNS = ("SimpleImputer", "FunctionTransformer")
_LAST_STEPS = ("best_estimator_", "_preprocessor")


def is_scikit(found: Any, *names: str) -> bool:
    """Whether an object is of exactly such a scikit-learn class: a subclass may differ."""
    kind = type(found)
    return kind.__name__ in names and kind.__module__.split(".")[0] == "sklearn"


def steps_of(estimator: Any) -> list[Any]:
    """Return the steps of a pipeline without those that do nothing, or the object alone."""
    if not is_scikit(estimator, "Pipeline"):
        return [estimator]
    inner = [step for _, step in estimator.steps if step is not None and step != "passthrough"]
    return [part for step in inner for part in steps_of(step)]


def blocks_of(columns: Any, inputs: Sequence[int]) -> Iterator[tuple[Any, list[int]]]:
    """Yield each transformer of a fitted ColumnTransformer with the positions that it reads.

    Parameters
    ----------
    columns : ColumnTransformer
    inputs : sequence of int
        Position of each of its own input columns.
    """
    places = columns._transformer_to_input_indices
    for name, transformer, _ in columns.transformers_:
        read = [inputs[int(place)] for place in places.get(name, ())]
        if read and not (isinstance(transformer, str) and transformer == "drop"):
            yield transformer, read


def does_nothing(step: Any) -> bool:
    """Whether a step gives on what it is given."""
    if isinstance(step, str) or step is None:
        return step in (None, "passthrough")
    return is_scikit(step, "FunctionTransformer") and getattr(step, "func", 0) is None


def fitted_categories(estimator: Any, count: int) -> dict[int, Array]:
    """Return the values that the first encoder of each input column knows.

    Columns that reach no encoder unchanged are left out, as is what is not known here.
    """
    found: dict[int, Array] = {}
    try:
        _collect(steps_of(estimator), list(range(count)), found)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        # attributes of another form: nothing is known then, which is no fault
        return found
    return found


def _collect(steps: Sequence[Any], inputs: list[int], found: dict[int, Array]) -> None:
    more = False
    for step in steps:
        if is_scikit(step, "ColumnTransformer"):
            for transformer, read in blocks_of(step, inputs):
                if not isinstance(transformer, str):
                    _collect(steps_of(transformer), read, found)
            return
        if is_scikit(step, *ENCODERS):
            for place, values in zip(inputs, step.categories_, strict=not more):
                found.setdefault(place, np.asarray(values, dtype=object))
            return
        inner = next((n for n in _LAST_STEPS if getattr(step, n, None) is not None), "")
        if inner:
            _collect(steps_of(getattr(step, inner)), inputs, found)
            return
        if not is_scikit(step, *_KEEPS_COLUMNS):
            return
        # what says where values were missing stands behind the columns themselves
        more = more or bool(getattr(step, "add_indicator", False))
