"""The shortest way onto a hyperplane inside a box, against the sorted closed form in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robreport import Norm
from robreport.testing.halfspace import shortest_steps
from robreport_plugins.methods.geometry_hyperplane import shortest_step

CONVEX = (Norm.L1, Norm.L2, Norm.Linf)


def cases(seed, n=200, d=12):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(n, d)) * (rng.uniform(size=(n, d)) > 0.2)
    low = -rng.uniform(size=(n, d)) * (rng.uniform(size=(n, d)) > 0.2)
    high = rng.uniform(size=(n, d)) * (rng.uniform(size=(n, d)) > 0.2)
    low[: n // 4] = -np.inf
    high[: n // 8] = np.inf
    return normal, rng.uniform(0, 4, size=n), low, high


def ours(normal, rise, norm, low, high, dtype=torch.float64):
    given = [torch.tensor(part, dtype=dtype) for part in (normal, rise, low, high)]
    return shortest_step(given[0], given[1], norm, given[2], given[3]).double().numpy()


@pytest.mark.parametrize("norm", CONVEX)
def test_it_is_the_closed_form_where_the_hyperplane_can_be_reached(norm):
    normal, rise, low, high = cases(0)
    found = ours(normal, rise, norm, low, high)
    reached = 0
    for row in range(len(normal)):
        step, length = shortest_steps(
            normal[row], rise[row : row + 1], -low[row : row + 1], high[row : row + 1], norm
        )
        if np.isfinite(length[0]):
            reached += 1
            size = np.linalg.norm(found[row], ord=norm.order)
            assert size == pytest.approx(np.linalg.norm(step[0], ord=norm.order), rel=1e-9)
            assert normal[row] @ found[row] == pytest.approx(rise[row], rel=1e-9)
        else:
            room = np.where(normal[row] > 0, high[row], low[row])
            np.testing.assert_allclose(found[row], np.where(normal[row] == 0, 0, room))
    assert 50 < reached < len(normal)
    assert (found >= low).all()
    assert (found <= high).all()


@pytest.mark.parametrize("norm", CONVEX)
def test_a_fall_is_a_rise_of_the_opposite(norm):
    normal, rise, low, high = cases(1)
    np.testing.assert_array_equal(
        ours(normal, -rise, norm, low, high), ours(-normal, rise, norm, low, high)
    )


@pytest.mark.parametrize("norm", CONVEX)
def test_nothing_to_gain_or_no_way_to_gain_it_is_no_step(norm):
    normal, rise, low, high = cases(2, n=5)
    assert not ours(normal, 0 * rise, norm, low, high).any()
    assert not ours(0 * normal, rise, norm, low, high).any()
    assert not ours(normal, rise, norm, 0 * rise[:, None], 0 * rise[:, None]).any()


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
@pytest.mark.parametrize("norm", CONVEX)
def test_the_scale_of_the_function_does_not_matter(norm, scale):
    normal, rise, _, _ = cases(3)
    box = np.full((1, 1), -np.inf), np.full((1, 1), np.inf)
    plain = ours(normal, rise, norm, *box, dtype=torch.float32)
    scaled = ours(normal * scale, rise * scale, norm, *box, dtype=torch.float32)
    np.testing.assert_allclose(scaled, plain, rtol=1e-4, atol=1e-6)


def test_l0_is_refused():
    with pytest.raises(ValueError, match="L1, L2 and Linf"):
        ours(*cases(4)[:2], Norm.L0, *cases(4)[2:])
