"""Projections, linear maxima and draws, against bisection twins and a general minimiser."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import projections as plain
from scipy.optimize import minimize
from scipy.stats import kstest

from robreport import Norm
from robreport_plugins.methods.geometry import linear_maximum, norms, project, uniform_in_ball

CONVEX = (Norm.L1, Norm.L2, Norm.Linf)


@st.composite
def problems(draw):
    """A batch of perturbations with their room; ties, zeros, no room and no box among them."""
    d = draw(st.integers(1, 7))
    n = draw(st.integers(1, 4))
    value = st.one_of(
        st.sampled_from([0.0, 1.0, -1.0, 0.5]), st.floats(-3, 3).map(lambda v: round(v, 3))
    )
    delta = [[draw(value) for _ in range(d)] for _ in range(n)]
    room = st.one_of(
        st.sampled_from([0.0, 0.5, math.inf]), st.floats(0, 2).map(lambda v: round(v, 3))
    )
    low = [[-draw(room) for _ in range(d)] for _ in range(n)]
    high = [[draw(room) for _ in range(d)] for _ in range(n)]
    eps = draw(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.01, 6)))
    return delta, low, high, eps


def as_tensors(*rows):
    return [torch.tensor(np.asarray(r), dtype=torch.float64) for r in rows]


@pytest.mark.parametrize("norm", CONVEX)
@settings(max_examples=40)
@given(problem=problems())
def test_projection_equals_the_bisection_twin_and_is_idempotent(norm, problem):
    delta, low, high, eps = problem
    d, a, b = as_tensors(delta, low, high)
    found = project(d, norm, eps, a, b)
    expected = [
        plain.project(*row[:1], norm.order, eps, *row[1:])
        for row in zip(delta, low, high, strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)
    assert (found >= a).all()
    assert (found <= b).all()
    assert (norms(found, norm) <= eps * (1 + 1e-12) + 1e-12).all()
    again = project(found, norm, eps, a, b)
    np.testing.assert_allclose(again.numpy(), found.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", CONVEX)
@settings(max_examples=40)
@given(problem=problems())
def test_linear_maximum_equals_its_twin_and_no_point_is_better(norm, problem):
    gradient, low, high, eps = problem
    g, a, b = as_tensors(gradient, low, high)
    found = linear_maximum(g, norm, eps, a, b)
    expected = torch.tensor(
        [
            plain.linear_maximum(*row[:1], norm.order, eps, *row[1:])
            for row in zip(gradient, low, high, strict=True)
        ],
        dtype=torch.float64,
    )
    assert torch.isfinite(found).all()
    assert (found >= a).all()
    assert (found <= b).all()
    assert (norms(found, norm) <= eps * (1 + 1e-12) + 1e-12).all()
    # Ties may be broken either way; the value reached may not differ.
    value, best = (g * found).sum(1), (g * expected).sum(1)
    np.testing.assert_allclose(value.numpy(), best.numpy(), rtol=1e-9, atol=1e-9)
    others = uniform_in_ball(g, norm, eps, torch.Generator().manual_seed(0))
    others = torch.minimum(torch.maximum(others, a), b)
    assert ((g * others).sum(1) <= value + 1e-9).all()


def minimiser(delta, norm, eps, low, high):
    """What SLSQP makes of the projection, with u = plus - minus so that the L1 ball is smooth."""
    d = len(delta)

    def room_left(v):
        return eps - v.sum() if norm is Norm.L1 else eps**2 - ((v[:d] - v[d:]) ** 2).sum()

    result = minimize(
        lambda v: ((v[:d] - v[d:] - delta) ** 2).sum(),
        np.full(2 * d, 0.01),
        method="SLSQP",
        bounds=[(0, h) for h in high] + [(0, -a) for a in low],
        constraints=[{"type": "ineq", "fun": room_left}],
        options={"maxiter": 500, "ftol": 1e-10},
    )
    return result.x[:d] - result.x[d:], result.fun


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2])
def test_no_general_minimiser_finds_a_nearer_point(norm):
    rng = np.random.default_rng(0)
    for _ in range(8):
        delta = rng.normal(size=4) * 2
        low, high = -rng.uniform(0, 1, 4), rng.uniform(0, 1, 4)
        found = project(*as_tensors([delta]), norm, 1.0, *as_tensors([low], [high])).numpy()[0]
        point, value = minimiser(delta, norm, 1.0, low, high)
        # It stops near the optimum, now and then with a failing line search; the values agree.
        assert abs(((found - delta) ** 2).sum() - value) < 1e-6
        np.testing.assert_allclose(found, point, atol=1e-3)


def test_pictures_keep_their_shape_and_rows_do_not_mix():
    generator = torch.Generator().manual_seed(1)
    delta = torch.randn(3, 2, 4, 4, generator=generator)
    room = torch.rand(3, 2, 4, 4, generator=generator)
    for norm in CONVEX:
        together = project(delta, norm, 1.5, -room, room)
        assert together.shape == delta.shape
        for i in range(3):
            alone = project(delta[i : i + 1], norm, 1.5, -room[i : i + 1], room[i : i + 1])
            torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-6)


def test_tiny_gradients_do_not_vanish():
    gradient = torch.tensor([[3e-30, -4e-30]])
    none = torch.tensor(torch.inf)
    found = linear_maximum(gradient, Norm.L2, 1.0, -none, none)
    torch.testing.assert_close(found, torch.tensor([[0.6, -0.8]]))
    zero = linear_maximum(torch.zeros(1, 2), Norm.L2, 1.0, -none, none)
    assert (zero == 0).all()


@pytest.mark.parametrize("norm", CONVEX)
def test_draws_are_uniform_in_the_ball(norm):
    # Of a uniform point in a d-ball, (size / eps) ** d is uniform on [0, 1], and each sign is even.
    d, eps = 3, 2.0
    draws = uniform_in_ball(torch.zeros(4000, d), norm, eps, torch.Generator().manual_seed(0))
    sizes = norms(draws, norm).double().numpy()
    assert sizes.max() <= eps * (1 + 1e-6)
    assert kstest((sizes / eps) ** d, "uniform").pvalue > 0.01
    assert abs(float((draws > 0).double().mean()) - 0.5) < 0.02
    again = uniform_in_ball(torch.zeros(4000, d), norm, eps, torch.Generator().manual_seed(0))
    assert torch.equal(draws, again)


def test_sizes():
    delta = torch.tensor([[3.0, 0.0, -4.0]])
    found = {norm: float(norms(delta, norm)) for norm in Norm}
    assert found == {Norm.L0: 2.0, Norm.L1: 7.0, Norm.L2: 5.0, Norm.Linf: 4.0}


@pytest.mark.parametrize("eps", [-1.0, math.nan, math.inf])
def test_an_impossible_radius_is_refused(eps):
    x = torch.zeros(1, 2)
    for call in (project, linear_maximum):
        with pytest.raises(ValueError, match="radius must be finite and not negative"):
            call(x, Norm.L2, eps, x, x)
    with pytest.raises(ValueError, match="radius must be finite and not negative"):
        uniform_in_ball(x, Norm.L2, eps)


def test_l0_is_refused():
    x = torch.zeros(1, 2)
    for call in (project, linear_maximum):
        with pytest.raises(ValueError, match="L0"):
            call(x, Norm.L0, 1.0, x, x)
    with pytest.raises(ValueError, match="L0"):
        uniform_in_ball(x, Norm.L0, 1.0)
