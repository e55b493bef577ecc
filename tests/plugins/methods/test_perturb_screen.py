"""The order of the classes by linearisation is the true order of a linear model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robreport import Norm
from robreport.testing import LinearOracle
from robreport_plugins.methods.geometry import norms
from robreport_plugins.methods.perturb_screen import screen
from robreport_plugins.methods.perturb_smallest import Smallest


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2, Norm.Linf])
def test_classes_are_ordered_by_their_exact_distances(norm):
    oracle = LinearOracle.seeded(1, input_shape=(12,), classes=5)
    x = np.random.default_rng(1).uniform(size=(20, 12)).astype(np.float32)
    y = oracle.predict(x)
    each = np.full((20, 5), np.inf)
    for c in range(5):
        for i in np.flatnonzero(y != c):
            pair = LinearOracle(oracle.weights[[y[i], c]], oracle.bias[[y[i], c]])
            each[i, c] = pair.min_norm(x[i : i + 1], np.zeros(1, int), norm, (0.0, 1.0))[0]
    record = Smallest(
        oracle.torch_module(), torch.from_numpy(x), torch.from_numpy(y), norm, (0.0, 1.0), (norm,)
    )
    rows, logits = record.open()
    found = screen(record, rows, logits, 100)
    assert found.taken == 4
    assert record.gradients == 80
    assert found.steps.shape == (3, 20, 12)
    exact = np.take_along_axis(each, found.classes.numpy(), axis=1)
    assert (np.diff(exact, axis=1)[np.isfinite(exact[:, 1:])] >= -1e-4).all()
    np.testing.assert_allclose(found.distance.numpy(), exact[:, 0], rtol=0.05)
    np.testing.assert_allclose(norms(found.steps[0], norm).numpy(), exact[:, 0], rtol=0.05)


def test_a_third_of_the_budget_at_most_but_one_class_always():
    oracle = LinearOracle.seeded(1, input_shape=(12,), classes=12)
    x = torch.rand(4, 12, generator=torch.Generator().manual_seed(0))
    y = torch.from_numpy(oracle.predict(x.numpy()))
    for steps, taken in ((1, 1), (5, 1), (10, 3), (1000, 9)):
        record = Smallest(oracle.torch_module(), x, y, Norm.L2, None, (Norm.L2,))
        rows, logits = record.open()
        found = screen(record, rows, logits, steps)
        assert found.taken == taken
        assert found.classes.shape == (4, taken)
        assert len(found.steps) == min(taken, 3)
