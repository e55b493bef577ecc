"""The published start against Random123's known answers, and TensorFlow's own printed numbers."""

from __future__ import annotations

import numpy as np
import pytest

from robreport_plugins.linear.published_start import philox, published_start, tensorflow_uniform


@pytest.mark.parametrize(
    ("counter", "key", "block"),
    [
        # The known-answer vectors of Random123 for philox4x32 with 10 rounds.
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)  # fmt: skip
def test_blocks_are_the_known_answers(counter: str, key: str, block: str) -> None:
    words = np.array([[int(word, 16) for word in counter.split()]] * 2, dtype=np.uint64)
    first, second = (int(word, 16) for word in key.split())
    found = philox(words, (first, second))
    assert found.tolist() == [[int(word, 16) for word in block.split()]] * 2


def test_numbers_are_those_that_tensorflow_prints() -> None:
    """``tf.random.set_seed(42); tf.random.uniform([16])``, as tutorials show it."""
    printed = [
        0.6645621, 0.44100678, 0.3528825, 0.46448255, 0.03366041, 0.68467236, 0.74011743,
        0.8724445, 0.22632635, 0.22319686, 0.3103881, 0.7223358, 0.13318717, 0.5480639,
        0.5746088, 0.8996835,
    ]  # fmt: skip
    found = tensorflow_uniform(42, 0, 16)
    assert found.dtype == np.float32
    assert found.tolist() == np.array(printed, dtype=np.float32).tolist()
    # A shorter draw is a part of it, and a later one is another.
    assert tensorflow_uniform(42, 0, 5).tolist() == found[:5].tolist()
    assert not set(tensorflow_uniform(42, 1, 16).tolist()) & set(found.tolist())


def test_starts_are_uniform_in_the_range_of_a_dense_layer() -> None:
    bound = np.sqrt(6 / 785)
    starts = {eps: published_start(784, eps) for eps in (0.0, 0.1, 0.2, 0.3)}
    for start in starts.values():
        assert start.b == 0
        assert np.abs(start.w).max() <= bound * (1 + 1e-6)
        ordered = (np.sort(start.w) / bound + 1) / 2
        # Kolmogorov's distance, at a level of 0.1 %.
        assert np.abs(ordered - (np.arange(784) + 0.5) / 784).max() < 1.95 / 28
    assert starts[0.0].w.tolist() == starts[0.1].w.tolist()
    assert starts[0.2].w.tolist() != starts[0.1].w.tolist()
    assert published_start(784, 0.1, 1).w.tolist() == starts[0.2].w.tolist()
