"""What holds for every attack for the smallest perturbation, on models known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from robreport import ModelError, Norm
from robreport.testing import LinearOracle
from robreport_plugins.methods.perturb_closest import closest
from robreport_plugins.methods.perturb_cw import cw
from robreport_plugins.methods.perturb_ddn import ddn
from robreport_plugins.methods.perturb_deepfool import deepfool
from robreport_plugins.methods.perturb_ead import ead
from robreport_plugins.methods.perturb_fmn import fmn

D = 20
# Attack, norm, steps, and how many times the exact optimum is allowed at most. The steps are fewer
# than what is promised for them (CW 1,000, EAD 500, the others 100), which makes it harder.
ATTACKS = [
    (deepfool, Norm.L2, 10, 1.05),
    (deepfool, Norm.Linf, 10, 1.05),
    (ddn, Norm.L2, 20, 1.05),
    (fmn, Norm.L1, 20, 1.05),
    (fmn, Norm.L2, 20, 1.05),
    (fmn, Norm.Linf, 20, 1.05),
    (cw, Norm.L2, 30, 1.05),
    (ead, Norm.L1, 30, 1.25),
    (closest, Norm.L1, 20, 1.05),
    (closest, Norm.L2, 20, 1.05),
    (closest, Norm.Linf, 20, 1.05),
]
QUICK = [(attack, norm) for attack, norm, *_ in ATTACKS]
every = pytest.mark.parametrize(
    ("attack", "norm"), QUICK, ids=[f"{a.__name__}-{n.value}" for a, n in QUICK]
)


def linear(classes, seed=0, n=40):
    """A linear model with the boundary inside the unit box, points of the box, their labels.

    On the boundary to a thousandth of the logits, a lead that outlasts rounding would itself take
    five percent: no point lies there.
    """
    oracle = LinearOracle.seeded(seed, input_shape=(D,), classes=classes)
    x = np.random.default_rng(seed).uniform(size=(n + 10, D)).astype(np.float32)
    logits = np.sort(oracle.logits(x), axis=1)
    x = x[logits[:, -1] - logits[:, -2] > 1e-3 * np.abs(logits).max(axis=1)][:n]
    return oracle, x, oracle.predict(x)


def strike(attack, module, x, y, norm, bounds, steps=12):
    return attack(
        module, torch.as_tensor(x), torch.as_tensor(y), norm=norm, bounds=bounds, steps=steps,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


def moved(found, x, norm):
    delta = found.x_adv.double().numpy() - np.asarray(x, dtype=np.float64)
    return np.linalg.norm(delta.reshape(len(delta), -1), ord=norm.order, axis=1)


class Scaled(nn.Module):
    """Logits of a module times a factor, plus a constant on the first."""

    def __init__(self, module, factor, head_start=0.0):
        super().__init__()
        self.module, self.factor, self.head_start = module, factor, head_start

    def forward(self, x):
        logits = self.module(x) * self.factor
        return logits + self.head_start * nn.functional.one_hot(
            torch.tensor(0), logits.shape[1]
        ).to(logits)


class Tally(nn.Module):
    """Counts the examples that pass, and those of them that ask for a gradient."""

    def __init__(self, module):
        super().__init__()
        self.module, self.forwards, self.backwards = module, 0, 0

    def forward(self, x):
        self.forwards += len(x)
        logits = self.module(x)
        if logits.requires_grad:
            logits.register_hook(self.count)
        return logits

    def count(self, gradient):
        self.backwards += len(gradient)


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)], ids=["free", "bounded"])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    ("attack", "norm", "steps", "most"),
    ATTACKS,
    ids=[f"{a.__name__}-{n.value}" for a, n, *_ in ATTACKS],
)
def test_within_five_percent_of_the_exact_optimum_of_a_linear_model(
    attack, norm, steps, most, classes, bounds
):
    oracle, x, y = linear(classes)
    exact = oracle.min_norm(x, y, norm, bounds)
    reachable = np.isfinite(exact)
    assert reachable.sum() > 30
    found = strike(attack, oracle.torch_module(), x, y, norm, bounds, steps)
    np.testing.assert_array_equal(found.claimed.numpy(), reachable)
    # Judged in float64 by the oracle itself.
    np.testing.assert_array_equal(oracle.predict(found.x_adv.numpy()) != y, reachable)
    ratio = moved(found, x, norm)[reachable] / exact[reachable]
    assert ratio.max() <= most
    assert ratio.min() >= 1 - 1e-6
    if bounds:
        assert float(found.x_adv.min()) >= 0
        assert float(found.x_adv.max()) <= 1
    np.testing.assert_array_equal(found.x_adv.numpy()[~reachable], x[~reachable])


@every
def test_a_network_is_broken_inside_the_bounds_and_the_count_is_true(attack, norm):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 5)
    )
    x = torch.rand(30, 1, 6, 6)
    y = net(x).argmax(1)
    tally = Tally(net)
    steps = 20
    found = strike(attack, tally, x, y, norm, (0.0, 1.0), steps)
    assert (net(found.x_adv).argmax(1) != y).equal(found.claimed)
    assert found.claimed.double().mean() >= 0.95
    assert float(found.x_adv.min()) >= 0
    assert float(found.x_adv.max()) <= 1
    assert found.gradients == tally.backwards
    if attack is deepfool:
        # Several gradients share one pass.
        assert found.gradients <= steps * 4 * len(x)
    else:
        assert found.gradients <= steps * len(x)
        assert found.gradients + found.queries == tally.forwards
    assert all(p.requires_grad for p in net.parameters())
    again = strike(attack, net, x, y, norm, (0.0, 1.0), steps)
    assert again.x_adv.equal(found.x_adv)


@every
def test_features_without_room_are_held(attack, norm):
    oracle, x, y = linear(3, 1)
    low, high = torch.from_numpy(x).clone(), torch.from_numpy(x).clone()
    low[:, D // 2 :], high[:, D // 2 :] = 0.0, 1.0
    found = strike(attack, oracle.torch_module(), x, y, norm, (low, high))
    change = (found.x_adv - torch.from_numpy(x)).numpy()
    assert (change[:, : D // 2] == 0).all()
    assert found.claimed.double().mean() > 0.5
    assert float(found.x_adv.min()) >= 0
    assert float(found.x_adv.max()) <= 1


class Masked(nn.Module):
    """Logits of a module, and a class behind them that can never be given."""

    def __init__(self, module, value=-1e9):
        super().__init__()
        self.module, self.value = module, value

    def forward(self, x):
        logits = self.module(x)
        return torch.cat([logits, torch.full_like(logits[:, :1], self.value)], dim=1)


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)], ids=["free", "bounded"])
@pytest.mark.parametrize(("classes", "value"), [(2, -1e9), (3, -1e6)])
@every
def test_a_masked_class_hides_nothing(attack, norm, classes, value, bounds):
    oracle, x, y = linear(classes, 6, n=30)
    module = oracle.torch_module()
    plain = strike(attack, module, x, y, norm, bounds, 30)
    masked = strike(attack, Masked(module, value), x, y, norm, bounds, 30)
    assert plain.claimed.sum() > 20
    assert masked.claimed.equal(plain.claimed)
    won = plain.claimed.numpy()
    ratio = moved(masked, x, norm)[won] / moved(plain, x, norm)[won]
    assert ratio.max() < 1.3


@pytest.mark.parametrize("factor", [1e-12, 1e6])
@every
def test_the_scale_of_the_logits_does_not_matter(attack, norm, factor):
    oracle, x, y = linear(2, 2, n=30)
    exact = oracle.min_norm(x, y, norm, (0.0, 1.0))
    found = strike(attack, Scaled(oracle.torch_module(), factor), x, y, norm, (0.0, 1.0))
    reachable = np.isfinite(exact)
    ratio = moved(found, x, norm)[reachable] / exact[reachable]
    assert found.claimed.numpy()[reachable].all()
    assert ratio.max() <= 1.05


@every
def test_the_scale_of_the_data_does_not_matter(attack, norm):
    scale = 1e4
    oracle, x, y = linear(3, 2, n=30)
    unit = strike(attack, oracle.torch_module(), x, y, norm, (0.0, 1.0))
    stretched = LinearOracle(oracle.weights / scale, oracle.bias)
    wide = strike(attack, stretched.torch_module(), x * np.float32(scale), y, norm, (0.0, scale))
    both = unit.claimed.numpy() & wide.claimed.numpy()
    assert both.sum() == unit.claimed.sum() == wide.claimed.sum()
    np.testing.assert_allclose(
        moved(wide, x * np.float32(scale), norm)[both] / scale,
        moved(unit, x, norm)[both],
        rtol=0.02,
    )


@every
def test_what_cannot_be_broken_comes_back_as_it_was(attack, norm):
    oracle, x, _ = linear(3, 3, n=8)
    y = np.zeros(len(x), dtype=np.int64)
    # Flat to the last digit, and so nearly flat that the linearised steps would overflow.
    for factor in (0.0, 1e-30):
        module = Scaled(oracle.torch_module(), factor, head_start=1.0)
        for bounds in (None, (0.0, 1.0)):
            found = strike(attack, module, x, y, norm, bounds)
            assert not found.claimed.any()
            np.testing.assert_array_equal(found.x_adv.numpy(), x)


@every
def test_what_is_wrong_already_stays_and_costs_no_gradient(attack, norm):
    oracle, x, y = linear(3, 4, n=12)
    wrong = (y + 1) % 3
    found = strike(attack, oracle.torch_module(), x, wrong, norm, (0.0, 1.0))
    assert found.claimed.all()
    assert found.gradients == 0
    np.testing.assert_array_equal(found.x_adv.numpy(), x)


@every
def test_no_examples_give_no_examples(attack, norm):
    oracle, x, y = linear(3)
    found = strike(attack, oracle.torch_module(), x[:0], y[:0], norm, (0.0, 1.0))
    assert found.x_adv.shape == (0, D)
    assert found.claimed.shape == (0,)


@every
def test_one_gradient_is_enough_for_two_linear_classes(attack, norm):
    oracle, x, y = linear(2, 5, n=20)
    exact = oracle.min_norm(x, y, norm, None)
    found = strike(attack, oracle.torch_module(), x, y, norm, None, 1)
    assert found.gradients == len(x)
    assert (moved(found, x, norm) / exact).max() <= 1.05


@every
def test_broken_gradients_say_so(attack, norm):
    class Root(nn.Module):
        def forward(self, x):
            return torch.stack([x.sum(1) + 1, (x * 0.0).sqrt().sum(1)], 1)

    class Rounded(nn.Module):
        def forward(self, x):
            return torch.stack([x.detach().sum(1) + 1, x.detach().sum(1)], 1)

    x, y = torch.rand(4, 3), torch.zeros(4, dtype=torch.long)
    with pytest.raises(ModelError, match="not finite for 4 of 4"):
        strike(attack, Root(), x, y, norm, (0.0, 1.0))
    with pytest.raises(ModelError, match="no gradient to attack with"):
        strike(attack, Rounded(), x, y, norm, (0.0, 1.0))


@pytest.mark.parametrize(
    ("attack", "norm"),
    [
        (closest, Norm.L0), (ddn, Norm.Linf), (cw, Norm.L1), (ead, Norm.L2), (deepfool, Norm.L1),
    ],
)  # fmt: skip
def test_another_norm_is_refused(attack, norm):
    oracle, x, y = linear(3)
    with pytest.raises(ValueError, match=f"not in {norm.value}"):
        strike(attack, oracle.torch_module(), x, y, norm, None)


@pytest.mark.parametrize("attack", [closest, fmn, ddn, cw, ead, deepfool])
def test_no_steps_are_refused(attack):
    oracle, x, y = linear(3)
    norm = Norm.L1 if attack is ead else Norm.L2
    with pytest.raises(ValueError, match="steps must be at least 1, found 0"):
        strike(attack, oracle.torch_module(), x, y, norm, None, 0)
