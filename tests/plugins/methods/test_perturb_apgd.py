"""Auto-PGD against the linear model's closed form, its plain twin and the paper's schedule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference.plain_apgd import plain_apgd
from torch import nn

from robreport import ModelError, Norm
from robreport.testing import LinearOracle
from robreport_plugins.methods.geometry import norms, uniform_in_ball
from robreport_plugins.methods.perturb import dlr, input_gradient, margin, targeted_dlr
from robreport_plugins.methods.perturb_apgd import apgd, apgd_targeted, likely_others
from robreport_plugins.methods.perturb_ascent import Ascent

CONVEX = (Norm.L1, Norm.L2, Norm.Linf)
D = 20


def seed(number=0):
    return torch.Generator().manual_seed(number)


def linear(number=0, n=60, classes=2):
    oracle = LinearOracle.seeded(number, input_shape=(D,), classes=classes)
    x = np.random.default_rng(number).uniform(size=(n, D)).astype(np.float32)
    return oracle, x, oracle.predict(x)


def tensors(x, y):
    return torch.from_numpy(x), torch.from_numpy(y)


def curved(number=0, k=5):
    torch.manual_seed(number)
    return nn.Sequential(nn.Linear(D, 30), nn.Tanh(), nn.Linear(30, k)).eval()


@pytest.mark.parametrize("attack", [apgd, apgd_targeted])
@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)], ids=["free", "bounded"])
@pytest.mark.parametrize("norm", CONVEX)
def test_two_linear_classes_nothing_impossible_and_nothing_missed(norm, bounds, attack):
    oracle, x, y = linear()
    exact = oracle.min_norm(x, y, norm, bounds)
    eps = float(np.median(exact[np.isfinite(exact)]))
    found = attack(
        oracle.torch_module(),
        *tensors(x, y),
        norm=norm,
        eps=eps,
        bounds=bounds,
        steps=40,
        generator=seed(),
    )
    claimed = found.claimed.numpy()
    assert not (claimed & (exact > eps * (1 + 1e-6))).any()
    assert claimed[exact <= 0.99 * eps].all()
    predicted = oracle.predict(found.x_adv.numpy())
    np.testing.assert_array_equal(claimed, predicted != y)
    assert float(norms(found.x_adv - torch.from_numpy(x), norm).max()) <= eps * (1 + 1e-5)
    if bounds:
        assert float(found.x_adv.min()) >= 0
        assert float(found.x_adv.max()) <= 1


@pytest.mark.parametrize("classes", [3, 4, 6])
@pytest.mark.parametrize("norm", CONVEX)
def test_aiming_at_each_class_misses_nothing(norm, classes):
    oracle, x, y = linear(1, n=40, classes=classes)
    exact = oracle.min_norm(x, y, norm, (0.0, 1.0))
    eps = float(np.median(exact))
    found = apgd_targeted(
        oracle.torch_module(), *tensors(x, y), norm=norm, eps=eps, bounds=(0.0, 1.0),
        classes=9, steps=30, generator=seed(),
    )  # fmt: skip
    claimed = found.claimed.numpy()
    assert not (claimed & (exact > eps * (1 + 1e-6))).any()
    assert claimed[exact <= 0.99 * eps].all()


@pytest.mark.parametrize("steps", [1, 10, 100])
@pytest.mark.parametrize("loss", ["cross-entropy", "dlr"])
def test_linf_equals_the_plain_twin(loss, steps):
    module = curved().double()
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.uniform(size=(6, D)))
    y = module(x).argmax(1)
    eps = 0.15
    found = apgd(
        module, x, y, norm=Norm.Linf, eps=eps, bounds=(0.0, 1.0), steps=steps, loss=loss,
        generator=seed(), early_stop=False,
    )  # fmt: skip
    starts = (x + uniform_in_ball(x, Norm.Linf, eps, seed())).clamp(0, 1)
    value = {"cross-entropy": nn.functional.cross_entropy, "dlr": lambda z, t: dlr(z, t).sum()}
    held = 0
    for row in range(len(x)):

        def ask(point, row=row):
            leaf = torch.from_numpy(point)[None].requires_grad_(True)
            worth = value[loss](module(leaf), y[row : row + 1])
            (slope,) = torch.autograd.grad(worth, leaf)
            return worth.item(), slope[0].numpy()

        best, _ = plain_apgd(ask, x[row].numpy(), starts[row].numpy(), eps, 0.0, 1.0, steps)
        if not found.claimed[row]:
            held += 1
            np.testing.assert_allclose(found.x_adv[row].numpy(), best, atol=1e-9)
    assert held > 1


def test_the_checkpoints_of_the_paper():
    marks = Ascent._checkpoints(None, 100)
    assert list(marks) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert list(marks.values()) == [22, 19, 16, 13, 10, 7, 6, 6]
    assert list(Ascent._checkpoints(None, 10)) == [3, 5, 6, 7, 8, 9]
    assert Ascent._checkpoints(None, 1) == {}


@pytest.mark.parametrize("norm", CONVEX)
def test_a_certain_model_hides_from_the_cross_entropy_but_not_from_the_ratio(norm):
    oracle, x, y = linear(2, n=40, classes=4)
    module = nn.Sequential(oracle.torch_module(), Times(1e4))
    eps = 1.5 * float(np.median(oracle.min_norm(x, y, norm)))
    with_ce, with_ratio = (
        int(apgd(
            module, *tensors(x, y), norm=norm, eps=eps, loss=loss, steps=30, generator=seed()
        ).claimed.sum())
        for loss in ("cross-entropy", "dlr")
    )  # fmt: skip
    plain = apgd(
        oracle.torch_module(),
        *tensors(x, y),
        norm=norm,
        eps=eps,
        loss="dlr",
        steps=30,
        generator=seed(),
    )
    assert with_ratio == int(plain.claimed.sum())
    assert with_ratio > with_ce


@pytest.mark.parametrize("norm", CONVEX)
def test_tiny_gradients_are_followed(norm):
    oracle, x, y = linear(3, n=40)
    eps = float(np.median(oracle.min_norm(x, y, norm)))
    plain, faint = (
        apgd(
            nn.Sequential(oracle.torch_module(), Times(scale)), *tensors(x, y), norm=norm, eps=eps,
            loss="margin", steps=20, generator=seed(),
        ).claimed
        for scale in (1.0, 1e-25)
    )  # fmt: skip
    assert torch.equal(plain, faint)


class Times(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return x * self.scale


@pytest.mark.parametrize("attack", [apgd, apgd_targeted])
@pytest.mark.parametrize("norm", CONVEX)
def test_features_without_room_stay(norm, attack):
    _, x, _ = linear(4, n=30)
    x = torch.from_numpy(x)
    module = curved(4)
    y = module(x).argmax(1)
    held = torch.arange(D) % 3 == 0
    low, high = torch.where(held, x, 0.0), torch.where(held, x, 1.0)
    found = attack(module, x, y, norm=norm, eps=0.8, bounds=(low, high), steps=25, generator=seed())
    assert torch.equal(found.x_adv[:, held], x[:, held])
    assert (found.x_adv != x)[:, ~held].any()


@pytest.mark.parametrize("norm", CONVEX)
def test_each_example_is_attacked_as_if_it_were_alone(norm):
    module = curved(5).double()
    x = torch.rand(40, D, generator=seed(), dtype=torch.float64)
    y = module(x).argmax(1)
    eps = {Norm.L1: 4.5, Norm.L2: 1.4, Norm.Linf: 0.4}[norm]
    given = {"norm": norm, "eps": eps, "bounds": (0.0, 1.0), "steps": 12}
    for attack in (apgd, apgd_targeted):
        everyone = attack(module, x, y, generator=seed(), **given)
        among = torch.arange(40) % 4 == 1
        some = attack(module, x, y, generator=seed(), among=among, **given)
        slow = attack(module, x, y, generator=seed(), early_stop=False, **given)
        assert torch.equal(some.claimed, everyone.claimed & among)
        torch.testing.assert_close(some.x_adv[among], everyone.x_adv[among], atol=1e-9, rtol=0)
        assert torch.equal(some.x_adv[~among], x[~among])
        assert torch.equal(slow.claimed, everyone.claimed)
        assert 0 < int(everyone.claimed.sum()) < 40
        assert everyone.gradients < slow.gradients


def test_the_same_generator_gives_the_same_bytes():
    module = curved(6)
    x = torch.rand(10, D, generator=seed())
    y = module(x).argmax(1)

    def run(number):
        return apgd(module, x, y, norm=Norm.L1, eps=0.5, steps=20, generator=seed(number)).x_adv

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


def test_a_target_is_reached():
    oracle, x, y = linear(7, classes=4)
    target = (y + 1) % 4
    for norm, eps in ((Norm.L1, 6.0), (Norm.L2, 2.0), (Norm.Linf, 0.6)):
        for loss in ("cross-entropy", "margin"):
            found = apgd(
                oracle.torch_module(), *tensors(x, target), norm=norm, eps=eps, loss=loss,
                targeted=True, steps=30, generator=seed(),
            )  # fmt: skip
            predicted = oracle.predict(found.x_adv.numpy())
            np.testing.assert_array_equal(found.claimed.numpy(), predicted == target)
            assert found.claimed.double().mean() > 0.9


def test_gradients_and_queries_are_counted():
    oracle, x, y = linear(8, n=10, classes=6)
    given = {"norm": Norm.Linf, "eps": 1e-6, "early_stop": False, "generator": seed()}
    once = apgd(oracle.torch_module(), *tensors(x, y), steps=7, restarts=2, eot=3, **given)
    assert (once.gradients, once.queries) == (10 * 7 * 2 * 3, 10 * 2 * 3)
    towards = apgd_targeted(oracle.torch_module(), *tensors(x, y), steps=7, classes=3, **given)
    assert (towards.gradients, towards.queries) == (10 * 7 * 3, 10 * 3 + 10)
    sparse = apgd(
        oracle.torch_module(), *tensors(x, y), norm=Norm.L1, eps=1e-6, steps=10, generator=seed()
    )
    assert (sparse.gradients, sparse.queries) == (10 * 10, 10 * 3)


class Noisy(nn.Module):
    """Linear logits under noise that hides a single gradient's direction."""

    def __init__(self, inner, size):
        super().__init__()
        self.inner, self.size, self.draws = inner, size, seed(99)

    def forward(self, x):
        return self.inner(x + self.size * torch.randn(x.shape, generator=self.draws))


def test_averaging_sees_through_noise():
    module = curved(9)
    x = torch.rand(60, D, generator=seed())
    y = module(x).argmax(1)
    given = {"norm": Norm.Linf, "eps": 0.08, "steps": 15, "early_stop": False}
    many = apgd(Noisy(module, 1.0), x, y, eot=30, generator=seed(), **given).x_adv
    one = apgd(Noisy(module, 1.0), x, y, eot=1, generator=seed(), **given).x_adv
    assert (module(many).argmax(1) != y).sum() > (module(one).argmax(1) != y).sum()


@pytest.mark.parametrize("norm", CONVEX)
def test_no_radius_no_change(norm):
    oracle, x, y = linear(10, n=5)
    for attack in (apgd, apgd_targeted):
        found = attack(oracle.torch_module(), *tensors(x, y), norm=norm, eps=0.0, steps=5)
        np.testing.assert_array_equal(found.x_adv.numpy(), x)
        assert not found.claimed.any()


def test_nobody_to_attack():
    oracle, x, y = linear(11, n=5)
    nobody = torch.zeros(5, dtype=torch.bool)
    for attack in (apgd, apgd_targeted):
        found = attack(oracle.torch_module(), *tensors(x, y), norm=Norm.L2, eps=1.0, among=nobody)
        assert (found.gradients, found.queries) == (0, 0)
        assert not found.claimed.any()


def test_inputs_and_parameters_stay_as_they_were():
    oracle, x, y = linear(12, n=8)
    module = oracle.torch_module()
    kept = x.copy(), y.copy(), [p.requires_grad for p in module.parameters()]
    for attack in (apgd, apgd_targeted):
        for norm in CONVEX:
            attack(module, *tensors(x, y), norm=norm, eps=0.3, steps=6, generator=seed())
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(y, kept[1])
    assert [p.requires_grad for p in module.parameters()] == kept[2]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"restarts": 0}, "restarts must be at least 1"),
        ({"eot": 0}, "eot must be at least 1"),
        ({"norm": Norm.L0}, "not convex"),
        ({"eps": -1.0}, "finite and not negative"),
        ({"eps": float("inf")}, "finite and not negative"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, words):
    oracle, x, y = linear(n=2)
    for attack in (apgd, apgd_targeted):
        with pytest.raises(ValueError, match=words):
            attack(oracle.torch_module(), *tensors(x, y), **{"norm": Norm.L2, "eps": 1.0, **wrong})


def test_a_gradient_that_is_not_finite_is_one_clear_error():
    class Root(nn.Module):
        def forward(self, x):
            return torch.sqrt(x * 0)

    with pytest.raises(ModelError, match="gradient of the dlr loss"):
        apgd(Root(), torch.ones(3, 4), torch.zeros(3, dtype=torch.int64), norm=Norm.L2, eps=1.0,
             loss="dlr")  # fmt: skip


def test_the_ratio_by_hand():
    logits = torch.tensor([[2.0, 1.0, -1.0, 0.5, 0.0], [0.0, 5.0, 4.0, 1.0, -3.0]])
    y = torch.tensor([0, 2])
    torch.testing.assert_close(dlr(logits, y), torch.tensor([-1.0 / 1.5, 1.0 / 4.0]))
    torch.testing.assert_close(dlr(7 * logits + 3, y), dlr(logits, y))
    target = torch.tensor([2, 1])
    expected = torch.tensor([-3.0 / (2 - 0.25), 1.0 / (5 - 0.5)])
    torch.testing.assert_close(targeted_dlr(logits, y, target), expected)
    torch.testing.assert_close(targeted_dlr(logits[:, :3], y, target), torch.tensor([-3.0, 1.0]))
    torch.testing.assert_close(
        dlr(logits[:, :2], y.clamp_max(1)), margin(logits[:, :2], y.clamp_max(1))
    )
    torch.testing.assert_close(
        targeted_dlr(logits[:, :2], torch.tensor([0, 0]), torch.tensor([1, 1])),
        torch.tensor([-1.0, 5.0]),
    )


def test_a_tie_of_all_logits_has_a_finite_ratio():
    flat = nn.Linear(3, 4)
    flat.weight.data.zero_()
    flat.bias.data.fill_(2.0)
    _, values, slope = input_gradient(
        flat, torch.ones(2, 3), lambda z: dlr(z, torch.tensor([0, 1])), "dlr"
    )
    assert torch.isfinite(values).all()
    assert torch.isfinite(slope).all()


def test_likely_others_are_ranked_and_never_the_true_class():
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.0, 9.0, 1.0, 5.0]])
    y = torch.tensor([0, 3])
    assert likely_others(logits, y, 9).tolist() == [[2, 1, 3], [1, 2, 0]]
    assert likely_others(logits, y, 1).tolist() == [[2], [1]]
