"""FAB against the linear model's exact minimal norms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from robreport import ModelError, Norm
from robreport.testing import LinearOracle
from robreport_plugins.methods.geometry import norms
from robreport_plugins.methods.perturb_fab import fab

CONVEX = (Norm.L1, Norm.L2, Norm.Linf)
D = 20


def seed(number=0):
    return torch.Generator().manual_seed(number)


def linear(number=0, n=30, classes=4):
    oracle = LinearOracle.seeded(number, input_shape=(D,), classes=classes)
    x = np.random.default_rng(number).uniform(size=(n, D)).astype(np.float32)
    return oracle, x, oracle.predict(x)


def tensors(x, y):
    return torch.from_numpy(x), torch.from_numpy(y)


def curved(number=0, k=5):
    torch.manual_seed(number)
    return nn.Sequential(nn.Linear(D, 30), nn.Tanh(), nn.Linear(30, k)).eval()


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("aims", [None, 9], ids=["nearest", "targeted"])
@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)], ids=["free", "bounded"])
@pytest.mark.parametrize("norm", CONVEX)
def test_the_optimum_of_linear_models(norm, bounds, aims, classes):
    oracle, x, y = linear(classes, classes=classes)
    exact = oracle.min_norm(x, y, norm, bounds)
    found = fab(
        oracle.torch_module(), *tensors(x, y), norm=norm, bounds=bounds, steps=12, classes=aims
    )
    size = norms(found.x_adv - torch.from_numpy(x), norm).numpy()
    np.testing.assert_array_equal(found.claimed.numpy(), np.isfinite(exact))
    assert (size >= exact * (1 - 1e-5)).all()
    # The nearest boundary from the iterate need not be the nearest from the input.
    most = 1.05 if aims else 1.2
    assert (size <= most * exact).all()
    assert (size <= 1.01 * exact).mean() >= 0.95
    assert (oracle.predict(found.x_adv.numpy()) != y).all()
    if bounds:
        assert float(found.x_adv.min()) >= 0
        assert float(found.x_adv.max()) <= 1


@pytest.mark.parametrize("norm", CONVEX)
def test_features_without_room_stay(norm):
    oracle, x, y = linear(3)
    held = np.arange(D) % 2 == 0
    low, high = (torch.from_numpy(np.where(held, x, end)) for end in (np.float32(0), np.float32(1)))
    found = fab(oracle.torch_module(), *tensors(x, y), norm=norm, bounds=(low, high), steps=12)
    np.testing.assert_array_equal(found.x_adv.numpy()[:, held], x[:, held])
    size = norms(found.x_adv - torch.from_numpy(x), norm).numpy()
    for row in range(len(x)):
        # What does not move is part of the bias.
        rest = LinearOracle(
            oracle.weights[:, ~held], oracle.bias + oracle.weights[:, held] @ x[row, held]
        )
        exact = rest.min_norm(x[row : row + 1, ~held], y[row : row + 1], norm, (0.0, 1.0))[0]
        assert bool(found.claimed[row]) == np.isfinite(exact)
        if np.isfinite(exact):
            assert exact * (1 - 1e-4) <= size[row] <= 1.05 * exact + 1e-5


class Ledge(nn.Module):
    """The first step from 0, 1.05 long, lands where the classes draw but for rounding."""

    def forward(self, x):
        lead = torch.minimum(x - 1, 1e-3 * (x - 1.05) + 1e-7).sum(1)
        return torch.stack([torch.ones_like(lead), 1 + lead], 1)


def test_a_step_that_ends_in_a_draw_is_carried_on():
    x, y = torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64)
    found = fab(Ledge(), x, y, norm=Norm.Linf, steps=10, cuts=0)
    assert found.claimed.all()
    assert 1.05 < float(found.x_adv) < 1.09


@pytest.mark.parametrize("norm", CONVEX)
def test_cuts_and_restarts_only_shorten(norm):
    module = curved()
    x = torch.rand(30, D, generator=seed())
    y = module(x).argmax(1)

    def size(**more):
        found = fab(module, x, y, norm=norm, bounds=(0.0, 1.0), steps=8, generator=seed(), **more)
        assert (module(found.x_adv).argmax(1) != y)[found.claimed].all()
        return torch.where(found.claimed, norms(found.x_adv - x, norm), torch.inf), found.queries

    plain, asked = size(cuts=0)
    shorter, asked_more = size(cuts=4)
    again, _ = size(cuts=0, restarts=3)
    assert (shorter <= plain).all()
    assert (shorter < plain).any()
    assert asked_more == asked + 5 * int((plain < torch.inf).sum())
    assert (again <= plain).all()


@pytest.mark.parametrize("norm", CONVEX)
def test_within_a_radius_what_is_small_enough_leaves(norm):
    oracle, x, y = linear(5)
    exact = oracle.min_norm(x, y, norm, (0.0, 1.0))
    eps = float(np.median(exact))
    given = {"norm": norm, "bounds": (0.0, 1.0), "steps": 12, "within": eps}
    quick, slow = (
        fab(oracle.torch_module(), *tensors(x, y), early_stop=early, **given)
        for early in (True, False)
    )
    claimed = quick.claimed.numpy()
    assert not (claimed & (exact > eps * (1 + 1e-6))).any()
    assert claimed[exact <= 0.99 * eps].all()
    size = norms(quick.x_adv - torch.from_numpy(x), norm).numpy()
    assert (size[claimed] <= np.float32(eps)).all()
    assert (size[~claimed] > eps).all()
    assert torch.equal(slow.claimed, quick.claimed)
    assert quick.gradients < slow.gradients


def test_what_is_wrong_already_needs_nothing():
    oracle, x, y = linear(6)
    wrong = (y + 1) % 4
    found = fab(oracle.torch_module(), *tensors(x, wrong), norm=Norm.L2, steps=5)
    np.testing.assert_array_equal(found.x_adv.numpy(), x)
    assert found.claimed.all()
    assert (found.gradients, found.queries) == (0, len(x))


def test_gradients_and_queries_are_counted():
    oracle, x, y = linear(7, n=10)
    given = {"norm": Norm.L2, "steps": 6, "within": 1e-6, "restarts": 2, "generator": seed()}
    towards = fab(oracle.torch_module(), *tensors(x, y), classes=2, **given)
    assert (towards.gradients, towards.queries) == (10 * 6 * 2 * 2, 10 * 6 * 2 * 2 + 10)
    nearest = fab(oracle.torch_module(), *tensors(x, y), classes=None, **given)
    assert (nearest.gradients, nearest.queries) == (10 * 6 * 2 * 3, 10 * 6 * 2 + 10)


@pytest.mark.parametrize("norm", CONVEX)
def test_each_example_is_attacked_as_if_it_were_alone(norm):
    module = curved(8).double()
    x = torch.rand(20, D, generator=seed(), dtype=torch.float64)
    y = module(x).argmax(1)
    among = torch.arange(20) % 4 == 1
    given = {"norm": norm, "bounds": (0.0, 1.0), "steps": 6, "restarts": 2}
    everyone = fab(module, x, y, generator=seed(), **given)
    some = fab(module, x, y, generator=seed(), among=among, **given)
    assert torch.equal(some.claimed, everyone.claimed & among)
    torch.testing.assert_close(some.x_adv[among], everyone.x_adv[among], atol=1e-9, rtol=0)
    assert torch.equal(some.x_adv[~among], x[~among])


def test_any_shape_of_input_and_nobody_to_attack():
    oracle = LinearOracle.seeded(9, input_shape=(1, 4, 5), classes=3)
    x = np.random.default_rng(9).uniform(size=(12, 1, 4, 5)).astype(np.float32)
    y = oracle.predict(x)
    exact = oracle.min_norm(x, y, Norm.L2, (0.0, 1.0))
    found = fab(oracle.torch_module(), *tensors(x, y), norm=Norm.L2, bounds=(0.0, 1.0), steps=12)
    size = norms(found.x_adv - torch.from_numpy(x), Norm.L2).numpy()
    assert (size <= 1.05 * exact).all()
    nobody = fab(oracle.torch_module(), *tensors(x, y), norm=Norm.L2, among=torch.zeros(12) > 0)
    assert (nobody.gradients, nobody.queries, int(nobody.claimed.sum())) == (0, 0, 0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"restarts": 0}, "restarts must be at least 1"),
        ({"classes": 0}, "classes must be at least 1"),
        ({"within": -1.0}, "within must be finite"),
        ({"within": float("nan")}, "within must be finite"),
        ({"norm": Norm.L0}, "L1, L2 and Linf"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, words):
    oracle, x, y = linear(n=2)
    with pytest.raises(ValueError, match=words):
        fab(oracle.torch_module(), *tensors(x, y), **{"norm": Norm.L2, **wrong})


@pytest.mark.parametrize("classes", [None, 9])
def test_gradients_that_cannot_be_used_are_one_clear_error(classes):
    class Root(nn.Module):
        def forward(self, x):
            return torch.sqrt(x * 0) + torch.arange(3.0)

    class Detached(nn.Module):
        def forward(self, x):
            return x.detach() * 1

    x, y = torch.ones(2, 3), torch.full((2,), 2)
    with pytest.raises(ModelError, match=r"class-difference loss .* not finite for 2 of 2"):
        fab(Root(), x, y, norm=Norm.L2, classes=classes)
    with pytest.raises(ModelError, match="differentiable operations"):
        fab(Detached(), x + torch.arange(3), y, norm=Norm.L2, classes=classes)
