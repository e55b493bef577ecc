"""FGSM and PGD against the linear model whose robustness is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from robreport import ModelError, Norm
from robreport.testing import LinearOracle
from robreport_plugins.methods.geometry import norms
from robreport_plugins.methods.perturb import cross_entropy, frozen, loss_gradient, margin
from robreport_plugins.methods.perturb_pgd import fgsm, pgd

CONVEX = (Norm.L1, Norm.L2, Norm.Linf)
D = 20


def binary(seed=0, n=300):
    """A two-class linear model, points of the unit box around its boundary, their labels."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=D)
    oracle = LinearOracle.binary(w, float(-0.5 * w.sum()))
    x = rng.uniform(size=(n, D)).astype(np.float32)
    return oracle, x, oracle.predict(x)


def many(seed=0, n=300, classes=4):
    oracle = LinearOracle.seeded(seed, input_shape=(D,), classes=classes)
    x = np.random.default_rng(seed).uniform(size=(n, D)).astype(np.float32)
    return oracle, x, oracle.predict(x)


def tensors(x, y):
    return torch.from_numpy(x), torch.from_numpy(y)


def right_in_the_middle(exact):
    """A radius with many points on either side, and none within 1e-4 of it."""
    finite = np.sort(exact[np.isfinite(exact)])
    gaps = np.diff(finite) / finite[1:]
    middle = len(finite) // 2
    place = next(i for i in range(middle, len(gaps)) if gaps[i] > 2e-4)
    return float((finite[place] + finite[place + 1]) / 2)


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)], ids=["free", "bounded"])
@pytest.mark.parametrize("norm", CONVEX)
def test_a_single_step_is_exact_on_a_binary_linear_model(norm, bounds):
    oracle, x, y = binary()
    exact = oracle.min_norm(x, y, norm, bounds)
    eps = right_in_the_middle(exact)
    found = fgsm(oracle.torch_module(), *tensors(x, y), norm=norm, eps=eps, bounds=bounds)
    np.testing.assert_array_equal(found.claimed.numpy(), exact <= eps)
    assert found.gradients == len(x)


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)], ids=["free", "bounded"])
@pytest.mark.parametrize("norm", CONVEX)
def test_pgd_is_exact_on_a_binary_linear_model(norm, bounds, random_start):
    oracle, x, y = binary(1)
    exact = oracle.min_norm(x, y, norm, bounds)
    eps = right_in_the_middle(exact)
    found = pgd(
        oracle.torch_module(),
        *tensors(x, y),
        norm=norm,
        eps=eps,
        bounds=bounds,
        random_start=random_start,
        generator=torch.Generator().manual_seed(0),
    )
    claimed = found.claimed.numpy()
    assert not (claimed & (exact > eps)).any()
    if norm is Norm.Linf or (norm is Norm.L2 and bounds is None and not random_start):
        np.testing.assert_array_equal(claimed, exact <= eps)
    # Steps of a fixed length circle the optimum; they come within one percent of it.
    assert claimed[exact <= 0.99 * eps].all()
    assert float(norms(found.x_adv - torch.from_numpy(x), norm).max()) <= eps * (1 + 1e-5)
    if bounds:
        assert float(found.x_adv.min()) >= 0
        assert float(found.x_adv.max()) <= 1


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)], ids=["free", "bounded"])
@pytest.mark.parametrize("norm", CONVEX)
def test_several_classes_nothing_impossible_and_little_missed(norm, bounds):
    oracle, x, y = many(n=150)
    exact = oracle.min_norm(x, y, norm, bounds)
    eps = right_in_the_middle(exact)
    claimed = {}
    for loss in ("cross-entropy", "margin"):
        found = pgd(
            oracle.torch_module(),
            *tensors(x, y),
            norm=norm,
            eps=eps,
            bounds=bounds,
            restarts=5,
            generator=torch.Generator().manual_seed(0),
            loss=loss,
        )
        claimed[loss] = found.claimed.numpy()
        assert not (claimed[loss] & (exact > eps)).any()
    possible = exact <= eps
    # The cross-entropy may end where two wrong classes share what one would need.
    assert claimed["margin"][possible].mean() >= 0.97
    assert claimed["margin"].sum() >= claimed["cross-entropy"].sum()


def test_bounds_for_each_feature_freeze_what_has_no_room():
    oracle, x, y = binary(2)
    low = torch.zeros(D)
    high = torch.ones(D)
    low_each = torch.from_numpy(x).clone()
    low_each[:, D // 2 :] = 0.0
    high_each = torch.from_numpy(x).clone()
    high_each[:, D // 2 :] = 1.0
    wide = pgd(oracle.torch_module(), *tensors(x, y), norm=Norm.Linf, eps=0.1, bounds=(low, high))
    frozen_half = pgd(
        oracle.torch_module(), *tensors(x, y), norm=Norm.Linf, eps=0.1, bounds=(low_each, high_each)
    )
    moved = (frozen_half.x_adv - torch.from_numpy(x)).numpy()
    assert (moved[:, : D // 2] == 0).all()
    assert (moved[:, D // 2 :] != 0).any()
    assert int(frozen_half.claimed.sum()) < int(wide.claimed.sum())


@pytest.mark.parametrize("norm", CONVEX)
def test_targeted_attacks_reach_the_target(norm):
    oracle, x, y = many(3)
    target = (y + 1) % 4
    eps = {Norm.L1: 6.0, Norm.L2: 2.0, Norm.Linf: 0.6}[norm]
    for attempt in (
        fgsm(oracle.torch_module(), *tensors(x, target), norm=norm, eps=eps, targeted=True),
        pgd(
            oracle.torch_module(), *tensors(x, target), norm=norm, eps=eps, targeted=True,
            generator=torch.Generator().manual_seed(0),
        ),
    ):  # fmt: skip
        predicted = oracle.predict(attempt.x_adv.numpy())
        np.testing.assert_array_equal(attempt.claimed.numpy(), predicted == target)
    assert attempt.claimed.double().mean() > 0.9


def test_broken_examples_leave_the_batch_and_are_counted():
    oracle, x, y = binary(4)
    everything = {"norm": Norm.Linf, "eps": 0.5, "bounds": (0.0, 1.0), "random_start": False}
    early = pgd(oracle.torch_module(), *tensors(x, y), **everything)
    full = pgd(oracle.torch_module(), *tensors(x, y), **everything, early_stop=False)
    assert full.gradients == 40 * len(x)
    assert early.gradients < full.gradients / 4
    np.testing.assert_array_equal(early.claimed, full.claimed)


def test_restarts_attack_only_what_is_left():
    oracle, x, y = binary(5)
    exact = oracle.min_norm(x, y, Norm.Linf)
    eps = right_in_the_middle(exact)
    again = pgd(
        oracle.torch_module(), *tensors(x, y), norm=Norm.Linf, eps=eps, restarts=3, steps=10,
        random_start=False, early_stop=False, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    held = int((exact > eps).sum())
    assert again.gradients == 10 * (len(x) + 2 * held)


def test_the_same_generator_gives_the_same_bytes():
    oracle, x, y = many(6)

    def run(seed):
        return pgd(
            oracle.torch_module(), *tensors(x, y), norm=Norm.L2, eps=0.3, restarts=2,
            generator=torch.Generator().manual_seed(seed),
        ).x_adv  # fmt: skip

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


def test_no_radius_no_change():
    oracle, x, y = binary(7)
    for norm in CONVEX:
        for attack in (fgsm, pgd):
            found = attack(oracle.torch_module(), *tensors(x, y), norm=norm, eps=0.0)
            np.testing.assert_array_equal(found.x_adv.numpy(), x)
            assert not found.claimed.any()


def test_a_radius_beyond_the_data_stays_in_the_data():
    oracle, x, y = binary(8)
    for norm in CONVEX:
        found = pgd(oracle.torch_module(), *tensors(x, y), norm=norm, eps=1e6, bounds=(0.0, 1.0))
        assert found.x_adv.min() >= 0
        assert found.x_adv.max() <= 1
        reachable = np.isfinite(oracle.min_norm(x, y, norm, (0.0, 1.0)))
        assert found.claimed.numpy()[reachable].mean() > 0.95


def test_inputs_labels_and_parameters_stay_as_they_were():
    oracle, x, y = binary(9, n=20)
    module = oracle.torch_module()
    before = x.copy(), y.copy(), [p.requires_grad for p in module.parameters()]
    for norm in CONVEX:
        for attack in (fgsm, pgd):
            attack(module, *tensors(x, y), norm=norm, eps=0.2, bounds=(0.0, 1.0))
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])
    assert [p.requires_grad for p in module.parameters()] == before[2]
    assert all(p.grad is None for p in module.parameters())


def test_parameters_are_thawed_after_an_error():
    layer = nn.Linear(2, 2)

    def fail():
        with frozen(layer):
            assert not layer.weight.requires_grad
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert layer.weight.requires_grad


def test_losses():
    logits = torch.tensor([[2.0, 1.0, -1.0], [0.0, 5.0, 4.0]])
    y = torch.tensor([0, 2])
    torch.testing.assert_close(margin(logits, y), torch.tensor([-1.0, 1.0]))
    expected = torch.logsumexp(logits, 1) - logits[[0, 1], y]
    torch.testing.assert_close(cross_entropy(logits, y), expected)


class Root(nn.Module):
    def forward(self, x):
        return torch.sqrt(x * 0)


class Detached(nn.Module):
    def forward(self, x):
        return torch.stack([x.detach().sum(1), -x.detach().sum(1)], 1)


@pytest.mark.parametrize("attack", [fgsm, pgd])
def test_a_gradient_that_is_not_finite_is_one_clear_error(attack):
    with pytest.raises(ModelError, match=r"gradient of the cross-entropy loss .* 3 of 3 inputs"):
        attack(Root(), torch.ones(3, 2), torch.zeros(3, dtype=torch.int64), norm=Norm.L2, eps=1.0)


def test_a_gradient_whose_sum_overflows_is_finite():
    steep = nn.Linear(2, 2, bias=False)
    steep.weight.data = torch.tensor([[3e38, 3e38], [0.0, 0.0]])
    _, gradient = loss_gradient(steep, torch.zeros(1, 2), torch.tensor([1]), "margin")
    assert torch.isfinite(gradient).all()
    assert not torch.isfinite(gradient.sum())


def test_a_model_without_gradient_is_one_clear_error():
    with pytest.raises(ModelError, match="do not depend on its inputs through differentiable"):
        fgsm(Detached(), torch.ones(3, 2), torch.zeros(3, dtype=torch.int64), norm=Norm.L2, eps=1.0)


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2, Norm.Linf])
def test_a_gradient_that_is_the_same_number_everywhere(norm):
    """Of a sum autograd returns one number seen as many, which cannot be written to."""

    class Sums(torch.nn.Module):
        def forward(self, x):
            total = x.sum(1)
            return torch.stack([total, 1 - total], 1)

    x, y = torch.full((2, 3), 0.4), torch.zeros(2, dtype=torch.int64)
    found = pgd(Sums(), x, y, norm=norm, eps=0.8, steps=5, random_start=False)
    assert found.claimed.all()


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"restarts": 0}])
def test_no_steps_are_refused(wrong):
    oracle, x, y = binary(n=2)
    with pytest.raises(ValueError, match="at least 1"):
        pgd(oracle.torch_module(), *tensors(x, y), norm=Norm.L2, eps=1.0, **wrong)
