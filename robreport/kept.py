"""Keep checked splits as arrays in files, and open them memory-mapped."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport.bundle import DataSchema, Split
from robreport.loading import LoadedData
from robreport.outcome import SplitFacts

Array = npt.NDArray[Any]


def keep(data: LoadedData, role: str, loader: str, schema: DataSchema, folder: Path) -> SplitFacts:
    """Write a split's arrays into `folder` and return what the record says of it."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "x.npy", data.x, allow_pickle=False)
    index = np.arange(len(data.x)) if data.index is None else data.index
    np.save(folder / "index.npy", index, allow_pickle=False)
    if data.y is not None:
        np.save(folder / "y.npy", data.y, allow_pickle=False)
    if data.groups is not None:
        np.save(folder / "groups.npy", data.groups, allow_pickle=False)
    missing = int(np.isnan(data.x).sum())
    there = missing < data.x.size
    counts: dict[str, int] = {}
    if data.y is not None and schema.task == "classification" and not role.startswith("ood."):
        found = np.bincount(data.y, minlength=schema.n_classes)
        counts = {name: int(c) for name, c in zip(schema.classes, found, strict=True)}
    return SplitFacts(
        role=role, loader=loader, n=len(data.x), shape=schema.input_shape,
        dtype=str(data.x.dtype), digest=arrays_digest(data.x, data.y, index, data.groups),
        source=data.source, low=float(np.nanmin(data.x)) if there else None,
        high=float(np.nanmax(data.x)) if there else None, class_counts=counts, missing=missing,
    )  # fmt: skip


def open_split(facts: SplitFacts, folder: Path) -> Split:
    """Open a kept split, memory-mapped copy-on-write: nothing written to it reaches the file."""

    def opened(name: str) -> Array | None:
        path = folder / f"{name}.npy"
        return np.load(path, mmap_mode="c", allow_pickle=False) if path.exists() else None

    return Split(
        role=facts.role,
        x=np.load(folder / "x.npy", mmap_mode="c", allow_pickle=False),
        y=opened("y"),
        index=np.load(folder / "index.npy", mmap_mode="c", allow_pickle=False),
        digest=facts.digest,
        source=facts.source,
        groups=opened("groups"),
    )


def arrays_digest(
    x: Array, y: Array | None, index: Array | None, groups: Array | None = None
) -> str:
    """SHA-256 of dtype, shape and bytes of inputs, labels, row numbers and, if any, groups."""
    digest = hashlib.sha256()
    for array in (x, y, index, *(() if groups is None else (groups,))):
        if array is None:
            digest.update(b"none")
            continue
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
