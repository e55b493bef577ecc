"""Take some of a loaded split's examples: what a limit lets through, or a seeded part."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport.errors import DataError
from robreport.loading import LoadedData

Array = npt.NDArray[Any]


def take(data: LoadedData, limit: int | None, shuffle: bool, seed: int, role: str) -> LoadedData:
    """Return the first `limit` examples after a shuffle seeded by the audit and the role."""
    n = data.x.shape[0]
    if limit is None or limit >= n:
        return data
    order = _generator(seed, role).permutation(n)[:limit] if shuffle else np.arange(limit)
    return select(data, order)


def select(data: LoadedData, order: Array) -> LoadedData:
    """Return the examples of `order`."""
    index = data.index if data.index is not None else np.arange(data.x.shape[0])
    return replace(
        data,
        x=data.x[order],
        y=None if data.y is None else data.y[order],
        index=index[order],
        groups=None if data.groups is None else data.groups[order],
    )


def carve(data: LoadedData, share: float, seed: int) -> tuple[LoadedData, LoadedData]:
    """Split off a seeded part: (the part, the rest), both in the order of the source."""
    n = data.x.shape[0]
    if n < 2:
        raise DataError("data.test: one example cannot be split into calibration and test.")
    size = min(n - 1, max(1, round(n * share)))
    order = _generator(seed, "calibration").permutation(n)
    return select(data, np.sort(order[:size])), select(data, np.sort(order[size:]))


def _generator(seed: int, role: str) -> np.random.Generator:
    entropy = int.from_bytes(hashlib.sha256(f"{seed}:{role}".encode()).digest()[:8], "big")
    return np.random.default_rng(entropy)
