"""Surrogates: they agree with the model they imitate, repeat, and carry attacks over."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robreport import Norm
from robreport_plugins.methods.perturb_pgd import pgd
from robreport_plugins.methods.surrogate import fit_surrogate


def stepped(x: np.ndarray) -> np.ndarray:
    """A model without gradients: three classes by thresholds on two columns of unlike scale."""
    return (x[:, 0] > 50).astype(np.int64) + (x[:, 1] > 0.002)


def table(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack(
        [rng.uniform(0, 100, n), rng.uniform(0, 0.004, n), np.full(n, 7.0), rng.normal(size=n)],
        axis=1,
    ).astype(np.float32)


def test_it_learns_the_model_and_attacks_carry_over() -> None:
    x = table(1000, 0)
    before = torch.random.get_rng_state()
    network = fit_surrogate(stepped, x, 3, seed=0, steps=400)
    assert torch.equal(torch.random.get_rng_state(), before)
    fresh = torch.from_numpy(table(500, 1))
    with torch.no_grad():
        logits = network(fresh)
    assert logits.shape == (500, 3)
    labels = stepped(fresh.numpy())
    assert (logits.argmax(1).numpy() == labels).mean() > 0.95
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    bounds = torch.tensor([0, 0, 7, -3.0]), torch.tensor([100, 0.004, 7, 3.0])
    found = pgd(
        network, fresh, torch.from_numpy(labels), norm=Norm.Linf, eps=60.0, loss="margin",
        bounds=bounds,
    )  # fmt: skip
    assert (stepped(found.x_adv.numpy()) != labels).mean() > 0.9


def test_it_repeats_and_seeds_differ() -> None:
    x = table(200, 0)
    one, two, other = (
        fit_surrogate(stepped, x, 3, seed=seed, steps=20)(torch.from_numpy(x)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_images_and_missing_values() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((300, 1, 8, 8)).astype(np.float32)

    def bright(z: np.ndarray) -> np.ndarray:
        return (z[:, 0, :, :4].mean(axis=(1, 2)) > z[:, 0, :, 4:].mean(axis=(1, 2))).astype(int)

    network = fit_surrogate(bright, x, 2, seed=0, steps=150)
    with torch.no_grad():
        given = network(torch.from_numpy(x)).argmax(1).numpy()
    assert (given == bright(x)).mean() > 0.9
    holed = table(50, 3)
    holed[::2, 3] = np.nan
    asked: list[int] = []

    def counted(z: np.ndarray) -> np.ndarray:
        asked.append(len(z))
        return stepped(z)

    fit_surrogate(counted, holed, 3, seed=0, steps=2)
    assert asked == [25]


def test_what_does_not_fit_is_refused() -> None:
    x = table(5, 0)
    with pytest.raises(ValueError, match="without missing values"):
        fit_surrogate(stepped, np.full_like(x, np.nan), 3, seed=0)
    with pytest.raises(ValueError, match="classes must be at least 2"):
        fit_surrogate(stepped, x, 1, seed=0)
    with pytest.raises(ValueError, match="labels from 0 to 1"):
        fit_surrogate(lambda z: np.full(len(z), 2), x, 2, seed=0)
