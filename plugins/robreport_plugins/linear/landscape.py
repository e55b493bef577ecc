"""The training loss along one weight, everything else as trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robreport import Norm
from robreport_plugins.linear.linear_model import LinearModel, dual_length

Floats = npt.NDArray[np.float64]

POINTS = 81
_ROWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """Losses of one classifier over the values of one weight.

    ``regular`` and ``robust`` are mean hinge and mean robust hinge at each of ``values``; ``at``
    is the weight as it was trained.
    """

    values: Floats
    regular: Floats
    robust: Floats
    at: float


def chosen_weight(models: Sequence[LinearModel], wanted: int | None) -> int:
    """Return the position of the weight to draw: the wanted one, else the first model's largest."""
    return int(np.argmax(np.abs(models[0].w))) if wanted is None else wanted


def value_range(models: Sequence[LinearModel], place: int) -> Floats:
    """Return the values at which the losses are computed, around what was trained, 0 included."""
    trained = np.array([model.w[place] for model in models])
    reach = max(2.0 * float(np.abs(trained).max()), 0.1)
    return np.linspace(-reach, reach, POINTS)


def landscape(
    model: LinearModel, x: Floats, sign: Floats, *, eps: float, norm: Norm, place: int,
    values: Floats,
) -> Landscape:  # fmt: skip
    """Return the losses with the weight at `place` set to each of `values`.

    Parameters
    ----------
    x : array (n, d)
    sign : array (n,)
        Labels, -1 or +1.
    values : array (v,)
    """
    regular, robust = np.zeros(values.size), np.zeros(values.size)
    lengths = []
    for value in values.tolist():
        moved = model.w.copy()
        moved[place] = value
        lengths.append(dual_length(moved, norm))
    cost = eps * np.array(lengths)
    n = sign.size
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        margin = sign[rows] * model.decision(x[rows])
        slope = sign[rows] * x[rows, place]
        for i, value in enumerate(values.tolist()):
            lacking = 1.0 - (margin + slope * (value - model.w[place]))
            regular[i] += np.maximum(0.0, lacking).sum()
            robust[i] += np.maximum(0.0, lacking + cost[i]).sum()
    return Landscape(
        values=values, regular=regular / n, robust=robust / n, at=float(model.w[place])
    )
