"""Which rows are equal, within an array and across several: exact, in one pass over the data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

CHUNK_BYTES = 4 * 2**20
DIGEST_BYTES = 16


def row_groups(parts: Sequence[Array], *, digest_bytes: int = DIGEST_BYTES) -> list[Array]:
    """Return for each array the numbers of the groups that its rows belong to.

    Two rows, of one array or of two, have the same number exactly when all their values are equal;
    here 0.0 equals -0.0, and a missing value (NaN) equals a missing one.

    Parameters
    ----------
    parts : sequence of arrays (n_i, *shape)
        Real numbers, all of one `shape`; arrays of different types are compared in the type that
        NumPy promotes them to.
    digest_bytes : int
        Length of the BLAKE2b digests that are compared first, 1 to 16. It changes no result: rows
        of equal digests are compared value by value.

    Returns
    -------
    list of int64 arrays (n_i,)
        Numbers from 0 without a gap over all parts.

    Notes
    -----
    Besides a few megabytes for the rows at hand, the memory is about 60 bytes a row.

    Raises
    ------
    ValueError
        Arrays of several shapes, or of values that are no real numbers.
    """
    rows = _Rows(parts)
    if rows.count == 0:
        return [np.empty(0, dtype=np.int64) for _ in parts]
    keys = _digests(rows, digest_bytes)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    ordered = keys[order]
    follows = (ordered[1:] == ordered[:-1]).all(axis=1)
    del keys, ordered
    starts = np.flatnonzero(np.concatenate(([True], ~follows)))
    groups = np.empty(rows.count, dtype=np.int64)
    groups[order] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, rows.count)))
    collided = _collided(rows, order, follows)
    if len(collided):
        _split_collided(rows, order, starts, np.unique(groups[collided]), groups)
    return np.split(groups, rows.offsets[1:-1])


class _Rows:
    """The rows of several arrays, one after the other, in a form whose bytes tell them apart."""

    def __init__(self, parts: Sequence[Array]) -> None:
        shapes = {part.shape[1:] for part in parts}
        if len(shapes) > 1:
            raise ValueError(f"rows of the shapes {sorted(shapes)} cannot be equal")
        types = {part.dtype for part in parts}
        if any(kind.kind not in "fiub" or kind.itemsize > 8 for kind in types):
            raise ValueError(f"rows of {sorted(map(str, types))} cannot be compared")
        self.parts = parts
        self.offsets = np.concatenate(([0], np.cumsum([len(part) for part in parts], dtype=int)))
        self.count = int(self.offsets[-1])
        self.dtype = np.result_type(*types) if types else np.dtype(np.float64)
        self.width = int(np.prod(next(iter(shapes), (0,)), dtype=np.int64))
        self.step = max(1, CHUNK_BYTES // max(1, self.width * self.dtype.itemsize))

    def plain(self, given: Array) -> Array:
        """Return rows as one (m, bytes) array in which equal rows have equal bytes."""
        rows = np.array(given, dtype=self.dtype, order="C").reshape(len(given), self.width)
        if self.dtype.kind == "f":
            rows += 0.0  # -0.0 + 0.0 is 0.0
            missing = np.isnan(rows)
            if missing.any():
                rows[missing] = np.nan  # there are many bit patterns for it
        return rows.view(np.uint8) if self.width else np.empty((len(given), 0), dtype=np.uint8)

    def take(self, numbers: Array) -> Array:
        """Return the rows of those numbers."""
        found = np.empty((len(numbers), self.width * self.dtype.itemsize), dtype=np.uint8)
        owners = np.searchsorted(self.offsets, numbers, side="right") - 1
        for owner in np.unique(owners):
            mine = owners == owner
            found[mine] = self.plain(self.parts[owner][numbers[mine] - self.offsets[owner]])
        return found


def _digests(rows: _Rows, digest_bytes: int) -> Array:
    """Return a digest of each row as two numbers, (n, 2) uint64."""
    keys = np.zeros((rows.count, DIGEST_BYTES), dtype=np.uint8)
    blake2b = hashlib.blake2b
    at = 0
    for part in rows.parts:
        for start in range(0, len(part), rows.step):
            chunk = rows.plain(part[start : start + rows.step])
            joined = b"".join(
                [blake2b(row, digest_size=digest_bytes).digest() for row in _row_bytes(chunk)]
            )
            keys[at : at + len(chunk), :digest_bytes] = np.frombuffer(joined, np.uint8).reshape(
                len(chunk), digest_bytes
            )
            at += len(chunk)
    return keys.view(np.uint64)


def _row_bytes(chunk: Array) -> list[memoryview]:
    """Return the bytes of each row of a (m, bytes) array without copying them."""
    width = chunk.shape[1]
    whole = chunk.reshape(-1).data
    return [whole[i * width : (i + 1) * width] for i in range(len(chunk))]


def _collided(rows: _Rows, order: Array, follows: Array) -> Array:
    """Return numbers of rows that share a digest with the row before them, and nothing more."""
    seconds = np.flatnonzero(follows) + 1
    found = []
    for start in range(0, len(seconds), rows.step):
        some = seconds[start : start + rows.step]
        equal = (rows.take(order[some]) == rows.take(order[some - 1])).all(axis=1)
        found.append(order[some[~equal]])
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def _split_collided(
    rows: _Rows, order: Array, starts: Array, collided: Array, groups: Array
) -> None:
    """Give the rows of groups that only share a digest numbers of their own (in place)."""
    ends = np.append(starts[1:], rows.count)
    free = len(starts)
    for group in collided:
        members = order[starts[group] : ends[group]]
        known: dict[bytes, int] = {}
        for start in range(0, len(members), rows.step):
            some = members[start : start + rows.step]
            for number, row in zip(some, rows.take(some), strict=True):
                content = row.tobytes()
                if content not in known:
                    # the first keeps the number that all of them had
                    known[content] = free if known else int(group)
                    free += len(known) > 1
                groups[number] = known[content]
