"""The Square attack: on scores alone, in ball and bounds, against the linear model's optimum."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from robreport import Norm
from robreport.testing import LinearOracle
from robreport_plugins.methods.geometry import norms
from robreport_plugins.methods.perturb_square import _Corners, square

CONVEX = (Norm.L1, Norm.L2, Norm.Linf)
SHAPES = ((2, 6, 6), (16,), (3, 4))
EPS = {Norm.L1: 8.0, Norm.L2: 2.0, Norm.Linf: 0.5}


def seed(number=0):
    return torch.Generator().manual_seed(number)


def linear(shape, number=0, n=40, classes=3):
    oracle = LinearOracle.seeded(number, input_shape=shape, classes=classes)
    x = np.random.default_rng(number).uniform(size=(n, *shape)).astype(np.float32)
    return oracle, x, oracle.predict(x)


def asked(oracle):
    """The oracle's scores for a tensor: numbers, with no way to a gradient."""

    def scores(x):
        return torch.from_numpy(oracle.logits(x.numpy()).astype(np.float32))

    return scores


def tensors(x, y):
    return torch.from_numpy(x), torch.from_numpy(y)


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)], ids=["free", "bounded"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("norm", CONVEX)
def test_nothing_impossible_and_most_of_what_is_easy(norm, shape, bounds):
    oracle, x, y = linear(shape)
    exact = oracle.min_norm(x, y, norm, bounds)
    eps = 2.0 * float(np.median(exact[np.isfinite(exact)]))
    found = square(
        asked(oracle), *tensors(x, y), norm=norm, eps=eps, bounds=bounds, queries=300,
        generator=seed(),
    )  # fmt: skip
    claimed = found.claimed.numpy()
    assert not (claimed & (exact > eps)).any()
    assert claimed[exact <= eps / 2].mean() > 0.8
    np.testing.assert_array_equal(oracle.predict(found.x_adv.numpy()) != y, claimed)
    size = norms(found.x_adv - torch.from_numpy(x), norm)
    assert float(size.max()) <= eps * (1 + 1e-5)
    if bounds:
        assert float(found.x_adv.min()) >= 0
        assert float(found.x_adv.max()) <= 1
    assert found.gradients == 0
    assert len(x) <= found.queries < 300 * len(x)


def test_linf_finds_the_best_corner_of_a_table():
    oracle, x, y = linear((10,), 1, classes=2)
    exact = oracle.min_norm(x, y, Norm.Linf)
    eps = float(np.median(exact)) * 1.02
    found = square(
        asked(oracle), *tensors(x, y), norm=Norm.Linf, eps=eps, queries=800, generator=seed()
    )
    np.testing.assert_array_equal(found.claimed.numpy(), exact <= eps * (1 - 1e-5))


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_radius_is_used_up(shape, norm):
    oracle, x, y = linear(shape, 2)
    found = square(
        asked(oracle), *tensors(x, y), norm=norm, eps=0.2, bounds=(-9.0, 9.0), queries=20,
        generator=seed(),
    )  # fmt: skip
    size = norms(found.x_adv - torch.from_numpy(x), norm)
    torch.testing.assert_close(size, torch.full_like(size, 0.2), rtol=1e-4, atol=0)


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2])
def test_pyramids_stand_upright_or_lie_whatever_the_draw(norm):
    # tiles of five and of two pixels, and patterns of odd and even sides
    for side, draw in itertools.product((28, 10, 7), range(8)):
        oracle, x, y = linear((1, side, side), draw, n=6)
        found = square(
            asked(oracle), *tensors(x, y), norm=norm, eps=0.5, queries=8,
            generator=torch.Generator().manual_seed(draw),
        )  # fmt: skip
        size = norms(found.x_adv - torch.from_numpy(x), norm)
        torch.testing.assert_close(size, torch.full_like(size, 0.5), rtol=1e-4, atol=0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("norm", CONVEX)
def test_features_without_room_stay(norm, shape):
    oracle, x, y = linear(shape, 3)
    held = np.zeros(shape, dtype=bool)
    held.reshape(-1)[::3] = True
    low, high = (torch.from_numpy(np.where(held, x, np.float32(end))) for end in (0, 1))
    found = square(
        asked(oracle), *tensors(x, y), norm=norm, eps=EPS[norm], bounds=(low, high), queries=20,
        generator=seed(),
    )  # fmt: skip
    moved = found.x_adv.numpy() != x
    assert not moved[:, held].any()
    assert moved[:, ~held].any()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("norm", CONVEX)
def test_each_example_is_attacked_as_if_it_were_alone(norm, shape):
    oracle, x, y = linear(shape, 4)
    eps = float(np.quantile(oracle.min_norm(x, y, norm, (0.0, 1.0)), 0.9))
    given = {"norm": norm, "eps": eps, "bounds": (0.0, 1.0), "queries": 25}
    everyone = square(asked(oracle), *tensors(x, y), generator=seed(), **given)
    among = torch.arange(40) % 3 == 0
    some = square(asked(oracle), *tensors(x, y), generator=seed(), among=among, **given)
    assert torch.equal(some.claimed, everyone.claimed & among)
    torch.testing.assert_close(some.x_adv[among], everyone.x_adv[among])
    assert torch.equal(some.x_adv[~among], torch.from_numpy(x)[~among])
    assert 0 < int(everyone.claimed.sum()) < 40
    other = square(asked(oracle), *tensors(x, y), generator=seed(1), **given)
    assert not torch.equal(other.x_adv, everyone.x_adv)


def test_probabilities_are_scores_and_targets_are_reached():
    oracle, x, y = linear((12,), 5)
    target = (y + 1) % 3

    def likely(inputs):
        return torch.softmax(asked(oracle)(inputs), 1)

    found = square(
        likely, *tensors(x, target), norm=Norm.Linf, eps=0.6, queries=400, targeted=True,
        generator=seed(),
    )  # fmt: skip
    predicted = oracle.predict(found.x_adv.numpy())
    np.testing.assert_array_equal(found.claimed.numpy(), predicted == target)
    assert found.claimed.double().mean() > 0.9


def test_the_squares_shrink_as_in_the_paper():
    x = torch.zeros(1, 1, 28, 28)
    walk = _Corners(
        lambda v: v, x, torch.zeros(1, dtype=torch.int64), Norm.Linf, 0.1, None, False, seed(), None
    )
    schedule = {
        0: 0.8,
        10: 0.8,
        11: 0.4,
        51: 0.2,
        201: 0.1,
        501: 0.05,
        1001: 0.025,
        9000: 0.8 / 512,
    }
    for query, share in schedule.items():
        assert walk._side(0.8, query, 10000) == pytest.approx(share)
    assert walk._side(0.8, 6, 5000) == pytest.approx(0.4)
    _, side = walk.window(0.8, 1, False)
    assert side == 25


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 7), (1,)], ids=str)
def test_the_smallest_inputs(shape, norm):
    oracle, x, y = linear(shape, 6, n=5, classes=2)
    found = square(
        asked(oracle), *tensors(x, y), norm=norm, eps=0.1, bounds=(0.0, 1.0), queries=30,
        generator=seed(),
    )  # fmt: skip
    assert torch.isfinite(found.x_adv).all()
    zero = square(asked(oracle), *tensors(x, y), norm=norm, eps=0.0, queries=5)
    np.testing.assert_array_equal(zero.x_adv.numpy(), x)
    nobody = square(asked(oracle), *tensors(x, y), norm=norm, eps=0.1, among=torch.zeros(5) > 0)
    assert nobody.queries == 0


def test_scores_and_inputs_are_left_alone():
    oracle, x, y = linear((2, 6, 6), 7)
    before = x.copy()
    seen = []

    def scores(inputs):
        seen.append(len(inputs))
        return asked(oracle)(inputs)

    found = square(
        scores, *tensors(x, y), norm=Norm.Linf, eps=0.05, bounds=(0.0, 1.0), queries=25,
        generator=seed(),
    )  # fmt: skip
    np.testing.assert_array_equal(x, before)
    assert found.queries == sum(seen)
    assert len(seen) == 25
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"queries": 0}, "queries must be at least 1"),
        ({"share": 0.0}, r"share must lie in \(0, 1\]"),
        ({"share": 1.5}, r"share must lie in \(0, 1\]"),
        ({"eps": -1.0}, "finite and not negative"),
        ({"norm": Norm.L0}, "not convex"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, words):
    oracle, x, y = linear((4,), n=2)
    with pytest.raises(ValueError, match=words):
        square(asked(oracle), *tensors(x, y), **{"norm": Norm.L2, "eps": 1.0, **wrong})
