"""Inputs on which two readings of a model are compared when it is loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import ModelSource

Array = npt.NDArray[Any]

_MADE = 4
_MOST_NUMBERS = 1 << 22  # of declared rows: 64 small images, a few large ones


def probe_groups(source: ModelSource, shape: tuple[int, ...]) -> list[Array]:
    """Return groups of data-space inputs ``(n, *shape)``, the same each time.

    The first holds seeded inputs within the declared bounds (0 to 1 where there are none),
    among them one of the lowest values and one of the highest. The second, where the audit has
    data, holds the first rows of a declared split.
    """
    low: Array = np.zeros(shape)
    high: Array = np.ones(shape)
    if source.schema is not None and source.schema.bounds is not None:
        low, high = (
            np.broadcast_to(np.asarray(side, dtype=np.float64).reshape(-1), int(np.prod(shape)))
            .reshape(shape) if isinstance(side, tuple) else np.full(shape, float(side))
            for side in source.schema.bounds
        )  # fmt: skip
    rng = np.random.default_rng(0)
    made = low + (high - low) * rng.random((_MADE, *shape))
    kind = np.float64 if source.schema is None or source.schema.layout == "table" else np.float32
    groups = [np.concatenate([made, low[None], high[None]]).astype(kind)]
    if source.examples is not None and len(source.examples):
        most = max(2, _MOST_NUMBERS // max(1, int(np.prod(shape))))
        groups.append(np.asarray(source.examples[:most]))
    return groups
