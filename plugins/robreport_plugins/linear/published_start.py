"""The weights that the published experiment began with, drawn again as TensorFlow drew them.

One run of it was published, after ``tf.random.set_seed(1)``. Where the curve of the regular
classifier is steepest, other starts move it by up to 0.08, so its figures are those of this start.

An operation that draws after ``set_seed(s)`` uses Philox-4x32-10 (Salmon et al., "Parallel random
numbers: as easy as 1, 2, 3", SC 2011) with key `s`; the upper half of its counter is the
operation's own seed, the next whole number of ``random.Random(s)`` below 2^31.
"""

from __future__ import annotations

import math
import random

import numpy as np
import numpy.typing as npt

from robreport_plugins.linear.linear_model import LinearModel

Words = npt.NDArray[np.uint64]

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
_SEED = 1
# The regular classifier and the first robust one were each the first draw after setting the seed.
_PLACE = {0.0: 0, 0.1: 0, 0.2: 1, 0.3: 2}


def published_start(d: int, eps: float, model: int = 0) -> LinearModel:
    """Return the published start of the classifier trained against `eps`: 0, 0.1, 0.2 or 0.3.

    Weights are uniform in ±sqrt(6 / (d + 1)), as Keras starts a dense layer, and the bias is zero.
    `model` counts on from it, where several classes need several models.
    """
    limit = np.float32(math.sqrt(6 / (d + 1)))
    shares = tensorflow_uniform(_SEED, _PLACE[eps] + model, d)
    return LinearModel(w=(shares * (2 * limit) - limit).astype(np.float64), b=0.0)


def tensorflow_uniform(seed: int, place: int, n: int) -> npt.NDArray[np.float32]:
    """Return what the draw number `place` (from 0) of TensorFlow after ``set_seed(seed)`` is.

    ``n`` numbers from [0, 1), with 23 random bits each.
    """
    source = random.Random(seed)
    for _ in range(place + 1):
        own = source.randint(0, 2**31 - 1)
    counters = np.zeros((math.ceil(n / 4), 4), dtype=np.uint64)
    counters[:, 0] = np.arange(len(counters))
    counters[:, 2] = own
    bits = philox(counters, (seed, 0)).reshape(-1)[:n].astype(np.uint32)
    # The bits become the fraction of a number in [1, 2).
    ones = (bits & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)
    return ones.view(np.float32) - np.float32(1)


def philox(counters: Words, key: tuple[int, int]) -> Words:
    """Return the Philox-4x32-10 blocks of ``counters (n, 4)``, words of 32 bits, ``(n, 4)``."""
    a, b, c, d = (counters[:, i] for i in range(4))
    for i in range(_ROUNDS):
        first, second = (np.uint64((k + i * w) % 2**32) for k, w in zip(key, _WEYL, strict=True))
        left, right = _MULTIPLIERS[0] * a, _MULTIPLIERS[1] * c
        a, b, c, d = (
            (right >> _SHIFT) ^ b ^ first, right & _LOW, (left >> _SHIFT) ^ d ^ second, left & _LOW,
        )  # fmt: skip
    return np.stack([a, b, c, d], axis=1)
