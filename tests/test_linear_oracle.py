"""`LinearOracle` knows the truth: held against solvers, brute force and its own torch twin."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from robreport import Norm
from robreport.testing import LinearOracle
from robreport.testing.halfspace import lengths, shortest_steps

NORMS = [Norm.L0, Norm.L1, Norm.L2, Norm.Linf]
BOX = (0.0, 1.0)


def points(model: LinearOracle, n: int = 25, seed: int = 1) -> tuple[Any, Any]:
    """Return inputs in the unit box, most of them with the predicted class as the true one."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(n, *(model.input_shape or ())))
    y = model.predict(x)
    y[:3] = (y[:3] + 1) % model.n_outputs
    return x, y


def solved(v: Any, needed: float, down: Any, up: Any, norm: Norm) -> float:
    """Return the least norm of a step with v · δ >= needed, by a solver or by enumeration."""
    d = v.size
    if norm is Norm.L0:
        room = np.where(v > 0, v * up, -v * down)
        for k in range(1, d + 1):
            if any(room[list(c)].sum() >= needed for c in combinations(range(d), k)):
                return float(k)
        return np.inf
    if norm is Norm.L2:
        start = np.where(v > 0, up, -down)
        if v @ start < needed:
            return np.inf
        found = minimize(
            lambda s: s @ s,
            start,
            jac=lambda s: 2 * s,
            bounds=list(zip(-down, up, strict=True)),
            constraints={"type": "ineq", "fun": lambda s: v @ s - needed, "jac": lambda s: v},
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-16},
        )
        return float(np.sqrt(found.fun))
    # δ = a − b with a, b >= 0, and for L∞ a bound t on both
    one = norm is Norm.L1
    cost = np.ones(2 * d) if one else np.r_[np.zeros(2 * d), 1.0]
    rows, right = [np.r_[-v, v] if one else np.r_[-v, v, 0.0]], [-needed]
    if not one:
        rows += [np.r_[row, -1.0] for row in np.eye(2 * d)]
        right += [0.0] * (2 * d)
    limits = [(0, u) for u in up] + [(0, w) for w in down] + ([] if one else [(0, None)])
    found = linprog(cost, A_ub=np.array(rows), b_ub=right, bounds=limits, method="highs")
    return float(found.fun) if found.status == 0 else np.inf


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(12))
def test_shortest_step_is_the_solvers(norm: Norm, seed: int) -> None:
    rng = np.random.default_rng(seed)
    v = rng.normal(size=5) * rng.choice([0.0, 1.0, 1.0, 10.0], size=5)
    v[0] = 1.5
    down, up = rng.uniform(0, 0.5, size=(2, 6, 5))
    up[0] = down[1] = 0  # no room on one side
    most = (np.abs(v) * np.where(v > 0, up, down)).sum(axis=1)
    needed = most * np.array([0.01, 0.2, 0.5, 0.9, 0.999, 1.3])
    needed[needed == 0] = 0.1
    delta, length = shortest_steps(v, needed, down, up, norm)
    expected = [solved(v, *row, norm) for row in zip(needed, down, up, strict=True)]
    np.testing.assert_allclose(length, expected, rtol=2e-6, atol=1e-9)
    found = np.isfinite(length)
    assert found.any()
    assert (~found).any()
    assert (delta[~found] == 0).all()
    np.testing.assert_allclose((delta @ v)[found], needed[found], rtol=1e-12)
    np.testing.assert_allclose(lengths(delta[found], norm), length[found])
    assert (delta <= up).all()
    assert (-delta <= down).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(5,), (1, 3, 3)])
def test_closed_form_is_the_unbounded_problem(norm: Norm, shape: tuple[int, ...]) -> None:
    """Without bounds: margin over dual norm, and the general solver with infinite room."""
    model = LinearOracle.seeded(3, input_shape=shape, classes=4)
    x, y = points(model)
    expected = np.full(len(x), np.inf)
    for i, (z, own) in enumerate(zip(model.logits(x), y, strict=True)):
        for other in set(range(4)) - {own}:
            gap = model.weights[own] - model.weights[other]
            slope = {
                Norm.L0: np.inf,
                Norm.L1: np.abs(gap).max(),
                Norm.L2: np.sqrt(gap @ gap),
                Norm.Linf: np.abs(gap).sum(),
            }[norm]
            step = 1.0 if norm is Norm.L0 else (z[own] - z[other]) / slope
            expected[i] = min(expected[i], step)
    expected[:3] = 0
    found = model.min_norm(x, y, norm)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(model.min_norm(x, y, norm, (-np.inf, np.inf)), found, rtol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bounds", [None, BOX, ((0.0,) * 6, (1.0,) * 6)])
def test_adversarial_input_is_as_near_as_claimed(norm: Norm, bounds: Any) -> None:
    model = LinearOracle.seeded(5, classes=3)
    x, y = points(model, n=60)
    length = model.min_norm(x, y, norm, bounds)
    beyond = model.min_norm_adversarial(x, y, norm, bounds, overshoot=1e-9)
    fits = np.isfinite(length) & (length > 0)
    assert fits.sum() > 20
    np.testing.assert_allclose(lengths((beyond - x)[fits], norm), length[fits], rtol=1e-8)
    assert (model.predict(beyond)[fits] != y[fits]).all()
    np.testing.assert_array_equal(beyond[~fits], x[~fits])
    if bounds is not None:
        assert beyond.min() >= 0
        assert beyond.max() <= 1
    # a step a little shorter, in any direction that is tried, changes nothing
    rng = np.random.default_rng(0)
    for i in np.flatnonzero(fits)[:20]:
        if norm is Norm.L0:
            continue
        steps = rng.normal(size=(200, 6)) * rng.choice([0.0, 1.0], size=(200, 6))
        steps = np.r_[steps, [beyond[i] - x[i]]]
        steps = steps[lengths(steps, norm) > 0]
        steps *= (0.999 * length[i] / lengths(steps, norm))[:, None]
        moved = x[i] + steps if bounds is None else np.clip(x[i] + steps, 0, 1)
        assert (model.predict(moved) == y[i]).all()


def test_bounds_only_lengthen() -> None:
    model = LinearOracle.seeded(5, input_shape=(4, 4), classes=3)
    x, y = points(model, n=60)
    for norm in NORMS:
        free, boxed = model.min_norm(x, y, norm), model.min_norm(x, y, norm, BOX)
        assert (boxed >= free * (1 - 1e-12)).all()
        assert (boxed > free * 1.001).any()


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2, Norm.Linf])
@pytest.mark.parametrize("bounds", [None, BOX])
def test_robust_accuracy_is_what_a_dense_grid_finds(norm: Norm, bounds: Any) -> None:
    """In the plane every perturbation up to eps can be tried, as finely as one likes."""
    model = LinearOracle.seeded(0, input_shape=(2,), classes=3)
    x, y = points(model, n=40)
    eps = 0.15
    axis = np.linspace(-eps, eps, 301)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    grid = grid[lengths(grid, norm) <= eps * (1 + 1e-12)]
    robust = []
    for point, own in zip(x, y, strict=True):
        tried = point + grid if bounds is None else np.clip(point + grid, 0, 1)
        robust.append((model.predict(tried) == own).all())
    exact = model.min_norm(x, y, norm, bounds)
    near = np.abs(exact - eps) < 2e-3  # between two points of the grid
    assert near.sum() <= 1
    np.testing.assert_array_equal((exact > eps)[~near], np.array(robust)[~near])
    share = model.robust_accuracy(x, y, norm, eps, bounds)
    assert share == pytest.approx(np.mean(robust), abs=near.sum() / len(x) + 1e-12)
    assert 0.2 < share < 0.9


def test_robust_accuracy_at_zero_is_clean_accuracy_even_at_a_tie() -> None:
    model = LinearOracle.binary(np.array([1.0, 0.0]), 0.0)
    x = np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    np.testing.assert_array_equal(model.predict(x), [0, 1, 0])
    assert model.robust_accuracy(x, np.array([0, 1, 0]), Norm.L2, 0.0) == 1.0
    assert model.robust_accuracy(x, np.array([0, 1, 0]), Norm.L2, 0.5) == pytest.approx(2 / 3)
    np.testing.assert_allclose(model.min_norm(x, np.array([0, 1, 0]), Norm.L2), [0, 1, 1])


def test_binary_model_is_the_textbooks() -> None:
    w, b = np.array([3.0, -4.0]), 1.0
    model = LinearOracle.binary(w, b)
    x = np.array([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(np.diff(model.logits(x))[:, 0], x @ w + b)
    np.testing.assert_allclose(model.min_norm(x, np.array([1, 0]), Norm.L2), [4 / 5, 3 / 5])
    np.testing.assert_allclose(model.min_norm(x, np.array([1, 0]), Norm.Linf), [4 / 7, 3 / 7])
    np.testing.assert_allclose(model.min_norm(x, np.array([1, 0]), Norm.L1), [1, 3 / 4])


def test_what_cannot_be_reached_is_infinitely_far() -> None:
    same = LinearOracle(np.ones((2, 3)), np.array([1.0, 0.0]))
    x, y = np.full((1, 3), 0.5), np.array([0])
    for norm in NORMS:
        assert np.isinf(same.min_norm(x, y, norm)).all()
        assert np.isinf(same.min_norm(x, y, norm, BOX)).all()
        np.testing.assert_array_equal(same.min_norm_adversarial(x, y, norm), x)
    far = LinearOracle.binary(np.array([-1.0, 0.0, 0.0]), 10.0)
    assert np.isinf(far.min_norm(x, np.array([1]), Norm.Linf, BOX)).all()
    assert far.min_norm(x, np.array([1]), Norm.Linf) == pytest.approx(9.5)


def test_overshoot_stops_where_the_room_ends() -> None:
    model = LinearOracle.binary(np.array([1.0, 1.0]), -2.0 + 1e-9)
    x, y = np.array([[0.25, 0.5]]), np.array([0])
    moved = model.min_norm_adversarial(x, y, Norm.Linf, BOX, overshoot=0.5)
    np.testing.assert_allclose(moved, [[1, 1]], atol=1e-6)


def test_torch_module_is_the_same_model_and_leaves_the_random_state() -> None:
    torch = pytest.importorskip("torch")
    model = LinearOracle.seeded(2, input_shape=(1, 4, 4), classes=5)
    x, _ = points(model)
    before = torch.get_rng_state()
    module = model.torch_module()
    assert torch.equal(before, torch.get_rng_state())
    assert not module.training
    assert module is model.torch_module()
    with torch.no_grad():
        logits = module(torch.from_numpy(x.astype(np.float32))).numpy()
    np.testing.assert_allclose(logits, model.logits(x), atol=1e-5)
    own = module[1].weight.detach().numpy().astype(np.float64)
    np.testing.assert_array_equal(own, model.weights)


def test_refit_learns_and_probabilities_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = np.eye(3)[y] + 0.2 * rng.normal(size=(90, 3))
    model = LinearOracle.seeded(0, input_shape=(3,)).refit(x, y, seed=1)
    assert (model.predict(x) == y).mean() > 0.95
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1)
    np.testing.assert_array_equal(model.predict_proba(x).argmax(axis=1), model.predict(x))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((np.ones((1, 3)), np.ones(1)), "k >= 2"),
        ((np.ones((3, 2)), np.ones(2)), r"found \(3, 2\) and \(2,\)"),
        ((np.full((2, 2), np.nan), np.ones(2)), "finite"),
    ],
)
def test_impossible_model_is_refused(arguments: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LinearOracle(*arguments)


def test_impossible_question_is_refused() -> None:
    model = LinearOracle.seeded(0, input_shape=(2,))
    x = np.array([[0.5, 0.5]])
    with pytest.raises(ValueError, match="outside the bounds"):
        model.min_norm(x + 1, np.array([0]), Norm.L2, BOX)
    with pytest.raises(ValueError, match="classes from 0 to 2"):
        model.min_norm(x, np.array([3]), Norm.L2)
    with pytest.raises(ValueError, match="holds 3 values"):
        model.min_norm(np.ones((1, 3)), np.array([0]), Norm.L2)
    with pytest.raises(ValueError, match="does not hold 2 values"):
        LinearOracle(np.ones((2, 2)), np.ones(2), input_shape=(3,))
