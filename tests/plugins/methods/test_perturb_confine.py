"""What comes back lies in ball and bounds, in float64, whatever was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robreport import Norm
from robreport_plugins.methods.perturb_confine import confine, inside, sizes

CONVEX = (Norm.L1, Norm.L2, Norm.Linf)


def exact_size(x, x_adv, norm):
    delta = (x_adv.astype(np.longdouble) - x.astype(np.longdouble)).reshape(len(x), -1)
    return np.linalg.norm(delta.astype(np.float64), ord=norm.order, axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm", CONVEX)
@settings(max_examples=50)
@given(
    seed=st.integers(0, 10_000),
    magnitude=st.sampled_from([1.0, 1e-3, 1e5]),
    eps=st.sampled_from([8 / 255, 0.1, 1e-4, 3.0]),
)
def test_never_outside_of_ball_or_bounds(norm, dtype, seed, magnitude, eps):
    rng = np.random.default_rng(seed)
    x = (rng.uniform(0, magnitude, size=(5, 3, 4))).astype(dtype)
    delta = rng.normal(size=x.shape) * eps * rng.choice([0.01, 1.0, 10.0], size=(5, 1, 1))
    low, high = np.asarray(0.0), np.asarray(magnitude)
    x_adv = confine(x, delta, norm, eps, low, high)
    assert x_adv.dtype == dtype
    assert (x_adv.astype(np.float64) >= 0).all()
    assert (x_adv.astype(np.float64) <= magnitude).all()
    assert (exact_size(x, x_adv, norm) <= eps * (1 + 1e-12)).all()
    assert inside(x, x_adv, norm, eps, low, high).all()
    # No coordinate is moved against the perturbation, or further than it.
    step = x_adv.astype(np.float64) - x.astype(np.float64)
    assert (step * delta >= 0).all()
    assert (np.abs(step) <= np.abs(delta)).all()


@pytest.mark.parametrize("norm", CONVEX)
def test_a_perturbation_inside_is_kept_up_to_rounding(norm):
    rng = np.random.default_rng(3)
    x = rng.uniform(0.4, 0.6, size=(4, 6)).astype(np.float32)
    delta = rng.uniform(-0.01, 0.01, size=x.shape)
    x_adv = confine(x, delta, norm, 1.0, np.asarray(0.0), np.asarray(1.0))
    np.testing.assert_allclose(x_adv, x + delta, rtol=0, atol=2e-7)


def test_rounding_up_is_what_confine_is_for():
    x = np.float32([[0.1, 0.3, 0.7]])
    naive = x + np.float32(0.1)
    assert (sizes(x, naive, Norm.Linf) > 0.1).any()
    assert not inside(x, naive, Norm.Linf, 0.1, np.asarray(0.0), np.asarray(1.0)).any()
    mended = confine(x, naive - x, Norm.Linf, 0.1, np.asarray(0.0), np.asarray(1.0))
    assert (sizes(x, mended, Norm.Linf) <= 0.1).all()


def test_bounds_for_each_feature_and_an_input_outside_of_them():
    x = np.array([[0.5, 10.0, -3.0], [2.0, 10.0, 0.0]])
    low, high = np.array([0.0, 9.5, -3.0]), np.array([1.0, 10.5, 0.0])
    x_adv = confine(x, np.ones_like(x), Norm.Linf, 1.0, low, high)
    np.testing.assert_array_equal(x_adv, [[1.0, 10.5, -2.0], [2.0, 10.5, 0.0]])
    assert inside(x, x_adv, Norm.Linf, 1.0, low, high).all()


def test_a_row_that_is_not_finite_stays_where_it_was():
    x = np.zeros((2, 2), dtype=np.float32)
    x_adv = confine(
        x, np.array([[np.nan, 1.0], [0.5, np.inf]]), Norm.L2, 1.0, np.asarray(-1.0), np.asarray(1.0)
    )
    np.testing.assert_array_equal(x_adv, x)


@pytest.mark.parametrize("norm", CONVEX)
def test_inside_tells_outside(norm):
    x = np.full((3, 2), 0.5)
    x_adv = np.array([[0.5, 0.6], [0.5, 0.60001], [0.5, 1.1]])
    low, high = np.asarray(0.0), np.asarray(1.0)
    assert inside(x, x_adv, norm, 0.1, low, high).tolist() == [True, False, False]
    assert inside(x, x_adv, norm, 1.0, low, high).tolist() == [True, True, False]


def test_no_room_and_no_radius():
    x = np.random.default_rng(0).uniform(size=(3, 4)).astype(np.float32)
    still = confine(x, np.ones_like(x), Norm.L1, 0.0, np.asarray(0.0), np.asarray(1.0))
    np.testing.assert_array_equal(still, x)
    still = confine(x, np.ones_like(x), Norm.L2, 1.0, x, x)
    np.testing.assert_array_equal(still, x)


def test_l0_is_refused():
    with pytest.raises(ValueError, match="L1, L2 and Linf"):
        confine(np.zeros((1, 1)), np.zeros((1, 1)), Norm.L0, 1.0, np.asarray(0.0), np.asarray(1.0))
    assert sizes(np.zeros((1, 3)), np.array([[0.0, 2.0, -1.0]]), Norm.L0).tolist() == [2.0]
