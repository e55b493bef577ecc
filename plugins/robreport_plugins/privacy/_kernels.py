"""Loops of SHAPr over training records, compiled; inputs are checked by `shapr`."""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

# 63 bits of a non-negative float64 in six digits of 11; the sign is always 0.
_DIGITS = 6
_BITS = np.uint64(11)
_RANGE = 2048
_MASK = np.uint64(_RANGE - 1)
# Entries of one block of distances: 8 kB stay in the nearest cache over all outputs.
_SPAN = 1024


@nb.njit(cache=True, nogil=True)
def squared_distances(
    columns: npt.NDArray[np.float64], point: npt.NDArray[np.float64], out: npt.NDArray[np.float64]
) -> None:
    """Fill ``out (u,)`` with squared distances of `point` ``(k,)`` to ``columns (k, u)``.

    Terms are added in the order of the outputs for every row, so that equal rows get equal bits.
    """
    k, u = columns.shape
    # Summed in an array of its own: the compiler then knows that nothing overlaps, and vectorises.
    partial = np.empty(_SPAN, np.float64)
    for start in range(0, u, _SPAN):
        size = min(_SPAN, u - start)
        partial[:] = 0.0
        for j in range(k):
            row = columns[j, start : start + size]
            centre = point[j]
            for i in range(size):
                step = row[i] - centre
                partial[i] += step * step
        out[start : start + size] = partial[:size]


@nb.njit(cache=True, nogil=True)
def order_by(
    keys: npt.NDArray[np.uint64],
    index: npt.NDArray[np.int32],
    spare_keys: npt.NDArray[np.uint64],
    spare_index: npt.NDArray[np.int32],
    tally: npt.NDArray[np.int64],
) -> int:
    """Sort `keys` with `index` along, by digits from the lowest.

    Return 1 if the result is in the spare arrays, else 0. Bit patterns of non-negative floats
    order as the floats do. ``tally`` is ``(6, 2048)``.
    """
    u = keys.size
    tally[:] = 0
    for i in range(u):
        key = keys[i]
        for d in range(_DIGITS):
            tally[d, key & _MASK] += 1
            key >>= _BITS
    at = 0
    for d in range(_DIGITS):
        shift = np.uint64(d) * _BITS
        count = tally[d]
        if at == 0:
            from_keys, from_index, to_keys, to_index = keys, index, spare_keys, spare_index
        else:
            from_keys, from_index, to_keys, to_index = spare_keys, spare_index, keys, index
        # A digit that all keys share leaves their order as it is.
        if count[(from_keys[0] >> shift) & _MASK] == u:
            continue
        place = 0
        for digit in range(_RANGE):
            held = count[digit]
            count[digit] = place
            place += held
        for i in range(u):
            digit = (from_keys[i] >> shift) & _MASK
            place = count[digit]
            count[digit] = place + 1
            to_keys[place] = from_keys[i]
            to_index[place] = from_index[i]
        at = 1 - at
    return at


@nb.njit(cache=True, nogil=True)
def add_shapley_values(
    columns: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int32],
    weights: npt.NDArray[np.int64],
    harmonic: npt.NDArray[np.float64],
    points: npt.NDArray[np.float64],
    point_labels: npt.NDArray[np.int32],
    total: npt.NDArray[np.float64],
    worth: npt.NDArray[np.float64],
) -> None:
    """Add each test point's Shapley values of one record of each cell to ``total (u,)``.

    A cell is a distinct (output row, label) with ``weights`` records. ``worth[t]`` becomes the sum
    over all records for point t. Groups of equal distance are walked from the farthest; with g
    records at ranks a … b, c of them of the point's class, and H harmonic numbers, a record gets
    ``m h - (c - m) / (g - 1) (h - 1/b) - later``, where m is 1 if it is of the point's class,
    ``h = (H_b - H_{a-1}) / g`` and ``later`` sums ``c'/g' (1/(a'-1) - 1/b')`` of farther groups.
    """
    u = labels.size
    n = harmonic.size - 1
    distance = np.empty(u, np.float64)
    keys, spare_keys = distance.view(np.uint64), np.empty(u, np.uint64)
    index, spare_index = np.empty(u, np.int32), np.empty(u, np.int32)
    tally = np.empty((_DIGITS, _RANGE), np.int64)
    for t in range(points.shape[0]):
        squared_distances(columns, points[t], distance)
        for i in range(u):
            index[i] = i
        if order_by(keys, index, spare_keys, spare_index, tally) == 0:
            ranked_keys, ranked = keys, index
        else:
            ranked_keys, ranked = spare_keys, spare_index
        label = point_labels[t]
        later, gained = 0.0, 0.0
        b, last = n, u - 1
        while last >= 0:
            key = ranked_keys[last]
            first = last
            g, c = 0, 0
            while first >= 0 and ranked_keys[first] == key:
                cell = ranked[first]
                g += weights[cell]
                if labels[cell] == label:
                    c += weights[cell]
                first -= 1
            a = b - g + 1
            if g == 1:
                hit, miss = 1.0 / b - later, -later
            else:
                h = (harmonic[b] - harmonic[a - 1]) / g
                per = (h - 1.0 / b) / (g - 1)
                hit, miss = h - (c - 1) * per - later, -c * per - later
            if last - first == 1:
                total[ranked[last]] += hit if c > 0 else miss
            else:
                for i in range(first + 1, last + 1):
                    cell = ranked[i]
                    total[cell] += hit if labels[cell] == label else miss
            gained += c * hit + (g - c) * miss
            if a > 1:
                later += c / g * (1.0 / (a - 1) - 1.0 / b)
            b = a - 1
            last = first
        worth[t] = gained


@nb.njit(cache=True, nogil=True)
def nearest_agreement(
    columns: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int32],
    weights: npt.NDArray[np.int64],
    points: npt.NDArray[np.float64],
    point_labels: npt.NDArray[np.int32],
    share: npt.NDArray[np.float64],
) -> None:
    """Fill ``share (t,)`` with the share of each point's nearest records that are of its class."""
    u = labels.size
    distance = np.empty(u, np.float64)
    for t in range(points.shape[0]):
        squared_distances(columns, points[t], distance)
        least = np.inf
        g, c = 0, 0
        for i in range(u):
            if distance[i] < least:
                least = distance[i]
                g, c = 0, 0
            if distance[i] == least:
                g += weights[i]
                if labels[i] == point_labels[t]:
                    c += weights[i]
        share[t] = c / g
