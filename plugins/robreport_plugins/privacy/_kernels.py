"""Loops of SHAPr over training records, compiled; inputs are checked by `shapr`."""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

# A sort goes by digits of 11 or, for few keys, 8 bits: fewer passes or smaller tallies. Three or
# four digits are half of a key; the upper half starts at bit 31 or 32.
_WIDE, _NARROW = 11, 8
_MANY = 4096
# Steps per key that an insertion sort may take before the lower half is sorted by digits too.
_PATIENCE = 8
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
def sort_by_digits(
    keys: npt.NDArray[np.uint64],
    index: npt.NDArray[np.int32],
    spare_keys: npt.NDArray[np.uint64],
    spare_index: npt.NDArray[np.int32],
    tally: npt.NDArray[np.int64],
    bits: int,
    lowest: int,
) -> None:
    """Sort `keys`, with `index` along and stably, by the digits above bit `lowest`.

    ``tally (digits, 2^bits)`` says how many digits there are; its content and that of the spare
    arrays is lost.
    """
    u = keys.size
    digits, span = tally.shape
    mask = np.uint64(span - 1)
    tally[:] = 0
    for d in range(digits):
        shift = np.uint64(lowest + d * bits)
        count = tally[d]
        for i in range(u):
            count[(keys[i] >> shift) & mask] += 1
    from_keys, from_index, to_keys, to_index = keys, index, spare_keys, spare_index
    moves = 0
    for d in range(digits):
        shift = np.uint64(lowest + d * bits)
        count = tally[d]
        # A digit that all keys share leaves their order as it is.
        if count[(keys[0] >> shift) & mask] == u:
            continue
        place = 0
        for bucket in range(span):
            held = count[bucket]
            count[bucket] = place
            place += held
        for i in range(u):
            digit = (from_keys[i] >> shift) & mask
            at = count[digit]
            count[digit] = at + 1
            to_keys[at] = from_keys[i]
            to_index[at] = from_index[i]
        from_keys, from_index, to_keys, to_index = to_keys, to_index, from_keys, from_index
        moves += 1
    if moves % 2 == 1:
        for i in range(u):
            keys[i], index[i] = spare_keys[i], spare_index[i]


@nb.njit(cache=True, nogil=True)
def finish_by_insertion(
    keys: npt.NDArray[np.uint64], index: npt.NDArray[np.int32], steps: int
) -> bool:
    """Sort nearly sorted `keys` stably, with `index` along; False if that took over `steps`."""
    for i in range(1, keys.size):
        key, label = keys[i], index[i]
        j = i
        while j > 0 and keys[j - 1] > key:
            keys[j] = keys[j - 1]
            index[j] = index[j - 1]
            j -= 1
        keys[j] = key
        index[j] = label
        steps -= i - j
        if steps < 0:
            return False
    return True


@nb.njit(cache=True, nogil=True)
def order_by(
    keys: npt.NDArray[np.uint64],
    index: npt.NDArray[np.int32],
    spare_keys: npt.NDArray[np.uint64],
    spare_index: npt.NDArray[np.int32],
    tally: npt.NDArray[np.int64],
    bits: int,
) -> None:
    """Sort `keys`, the bit patterns of non-negative floats, stably with `index` along.

    Such patterns order as the floats do. The upper halves settle all but near ties, which an
    insertion sort finishes; where near ties are many, the lower halves are sorted by digits too.
    """
    high = 31 if bits == _WIDE else 32
    sort_by_digits(keys, index, spare_keys, spare_index, tally, bits, high)
    if not finish_by_insertion(keys, index, _PATIENCE * keys.size):
        sort_by_digits(keys, index, spare_keys, spare_index, tally, bits, 0)
        sort_by_digits(keys, index, spare_keys, spare_index, tally, bits, high)


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
    bits = _WIDE if u > _MANY else _NARROW
    tally = np.empty((3 if bits == _WIDE else 4, 1 << bits), np.int64)
    for t in range(points.shape[0]):
        squared_distances(columns, points[t], distance)
        for i in range(u):
            index[i] = i
        order_by(keys, index, spare_keys, spare_index, tally, bits)
        label = point_labels[t]
        later, gained = 0.0, 0.0
        b, last = n, u - 1
        while last >= 0:
            key = keys[last]
            first = last
            g, c = 0, 0
            while first >= 0 and keys[first] == key:
                cell = index[first]
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
                total[index[last]] += hit if c > 0 else miss
            else:
                for i in range(first + 1, last + 1):
                    cell = index[i]
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
