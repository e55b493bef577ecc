"""The exact attack on linear models against linear programs, a cone program and brute force."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import hinge_descent
from scipy.optimize import linprog

from robreport import Norm
from robreport.testing.halfspace import shortest_steps
from robreport_plugins.linear import _kernels
from robreport_plugins.linear.exact_attack import (
    flip_radius,
    flip_radius_multiclass,
    perturbed_accuracy,
    worst_inputs,
    worst_margins,
    worst_margins_multiclass,
)
from robreport_plugins.linear.linear_model import LinearModel, dual_length

NORMS = [Norm.L1, Norm.L2, Norm.Linf]
GRID = np.array([0.3, 0.0, 0.05, 1.5, 0.3, 0.7, 20.0])


def problem(n: int = 30, d: int = 7, seed: int = 0) -> tuple[LinearModel, np.ndarray, np.ndarray]:
    """Rows in the unit box, some at its edge and some outside; a weight is zero, two are equal."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(n, d))
    x[rng.random((n, d)) < 0.2] = 0.0
    x[rng.random((n, d)) < 0.2] = 1.0
    x[0], x[1] = -0.5, 1.25
    w = rng.normal(size=d)
    w[0], w[1] = 0.0, w[2]
    return LinearModel(w=w, b=0.2), x, np.where(rng.random(n) < 0.5, 1.0, -1.0)


def solved(w: np.ndarray, x: np.ndarray, y: float, eps: float, norm: Norm) -> float:
    """The least ``y w . x'`` in the unit box, widened to hold x, by a solver."""
    d = w.size
    down, up = np.maximum(x, 0), np.maximum(1 - x, 0)
    if norm is Norm.L2:
        clarabel = pytest.importorskip("clarabel")
        from scipy.sparse import csc_matrix

        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
        one = np.eye(d)
        rows = np.vstack([one, -one, np.zeros(d), -one])
        right = np.concatenate([up, down, [eps], np.zeros(d)])
        cones = [clarabel.NonnegativeConeT(2 * d), clarabel.SecondOrderConeT(d + 1)]
        none = csc_matrix((d, d))
        found = clarabel.DefaultSolver(none, y * w, csc_matrix(rows), right, cones, settings)
        return y * float(w @ x) + float(found.solve().obj_val)
    if norm is Norm.Linf:
        limits = list(zip(-np.minimum(down, eps), np.minimum(up, eps), strict=True))
        return y * float(w @ x) + linprog(y * w, bounds=limits, method="highs").fun
    limits = [(0, u) for u in up] + [(0, v) for v in down]
    cost = np.concatenate([y * w, -y * w])
    found = linprog(cost, A_ub=np.ones((1, 2 * d)), b_ub=[eps], bounds=limits, method="highs")
    return y * float(w @ x) + found.fun


@pytest.mark.parametrize("norm", NORMS)
def test_clipped_margins_are_those_of_a_solver(norm: Norm) -> None:
    model, x, y = problem()
    found = worst_margins(model, x, y, GRID, norm, (0, 1))
    assert found.shape == (30, GRID.size)
    for i, (k, eps) in product(range(30), enumerate(GRID)):
        expected = solved(model.w, x[i], y[i], eps, norm) + y[i] * model.b
        assert found[i, k] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("norm", [Norm.L1, Norm.Linf])
def test_clipped_margins_are_the_least_over_all_vertices(norm: Norm) -> None:
    # The least of a linear function on a polytope is at a vertex; these are products of few values.
    model, x, y = problem(n=12, d=3, seed=3)
    eps = 0.3
    for i in range(2, 12):
        down, up = np.minimum(x[i], eps), np.minimum(1 - x[i], eps)
        if norm is Norm.Linf:
            steps = np.array(list(product(*zip(-down, up, strict=True))))
        else:
            # On the L1 sphere a vertex has at most one coordinate between 0 and its limits.
            steps = np.array([
                step
                for ends in product(*zip(-down, np.zeros(3), up, strict=True))
                for j, sign in product(range(3), (-1, 1))
                for step in [_with(ends, j, sign, eps, x[i])]
                if np.abs(step).sum() <= eps + 1e-12
            ])  # fmt: skip
        least = (y[i] * ((x[i] + steps) @ model.w + model.b)).min()
        found = worst_margins(model, x[i : i + 1], y[i : i + 1], [eps], norm, (0, 1))[0, 0]
        assert found == pytest.approx(least, abs=1e-12)


@pytest.mark.parametrize("d", [2, 3])
def test_clipped_l2_margins_are_the_least_over_the_surface(d: int) -> None:
    """Points all over the surface of ball and box together: none lower, and one nearly as low."""
    rng = np.random.default_rng(5)
    x, y = rng.uniform(size=(12, d)), np.where(np.arange(12) % 2 == 0, 1.0, -1.0)
    x[:4] = np.where(rng.random((4, d)) < 0.5, 0.0, x[:4])
    model = LinearModel(w=rng.normal(size=d), b=0.1)
    angle = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    rays = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    if d == 3:
        rays = rng.normal(size=(100_000, 3))
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    for i, eps in product(range(12), (0.05, 0.3, 0.7)):
        # As far along each ray as ball and box let it go.
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.where(rays > 0, (1 - x[i]) / rays, np.where(rays < 0, -x[i] / rays, np.inf))
        steps = rays * np.minimum(reach.min(axis=1), eps)[:, None]
        least = (y[i] * ((x[i] + steps) @ model.w + model.b)).min()
        found = worst_margins(model, x[i : i + 1], y[i : i + 1], [eps], Norm.L2, (0, 1))[0, 0]
        assert found <= least + 1e-12
        assert least - found <= (1e-3 if d == 2 else 2e-2) * eps * np.linalg.norm(model.w)


def _with(ends: Any, j: int, sign: int, eps: float, x: np.ndarray) -> np.ndarray:
    step = np.array(ends)
    step[j] = 0.0
    left = max(eps - np.abs(step).sum(), 0.0)
    step[j] = min(left, 1 - x[j]) if sign > 0 else -min(left, x[j])
    return step


@pytest.mark.parametrize("norm", NORMS)
def test_without_bounds_it_is_the_closed_form(norm: Norm) -> None:
    model, x, y = problem()
    clean = y * (x @ model.w + model.b)
    expected = clean[:, None] - GRID * dual_length(model.w, norm)
    assert worst_margins(model, x, y, GRID, norm) == pytest.approx(expected, abs=1e-12)
    far = worst_margins(model, x, y, GRID, norm, (-np.inf, np.inf))
    assert far == pytest.approx(expected, abs=1e-12)
    wide = worst_margins(model, x, y, GRID, norm, (-1e6, 1e6))
    assert wide == pytest.approx(expected, abs=1e-12)
    radius = flip_radius(model, x, y, norm)
    length = dual_length(model.w, norm)
    assert radius == pytest.approx(np.maximum(clean, 0) / length, abs=1e-12)
    far = flip_radius(model, x, y, norm, (-np.inf, np.inf))
    assert far == pytest.approx(radius, abs=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bounds", [None, (0, 1), (np.linspace(-0.5, 0, 7), np.linspace(1, 2, 7))])
def test_worst_inputs_reach_the_worst_margin_and_stay_inside(norm: Norm, bounds: Any) -> None:
    model, x, y = problem()
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    for eps in (0.0, 0.05, 0.4, 3.0):
        moved = worst_inputs(model, x, y, eps, norm, bounds)
        assert (moved >= np.minimum(low, x)).all()
        assert (moved <= np.maximum(high, x)).all()
        lengths = np.linalg.norm(moved - x, ord=norm.order, axis=1)
        assert lengths.max() <= eps * (1 + 1e-12)
        reached = y * (moved @ model.w + model.b)
        expected = worst_margins(model, x, y, [eps], norm, bounds)[:, 0]
        assert reached == pytest.approx(expected, abs=1e-9)
        assert (moved[:, 0] == x[:, 0]).all()


@pytest.mark.parametrize("norm", NORMS)
def test_radii_are_the_shortest_steps_to_the_boundary(norm: Norm) -> None:
    model, x, y = problem(n=80)
    # So far up that some rows cannot come down inside the box.
    model = LinearModel(w=model.w, b=-model.w[model.w < 0].sum() - 0.5)
    clean = y * (x @ model.w + model.b)
    found = flip_radius(model, x, y, norm, (0, 1))
    assert (found[clean <= 0] == 0).all()
    right = np.flatnonzero(clean > 0)
    assert np.isfinite(found[right]).sum() > 5
    for i in right:
        down, up = np.maximum(x[i], 0)[None], np.maximum(1 - x[i], 0)[None]
        expected = shortest_steps(-y[i] * model.w, clean[i : i + 1], down, up, norm)[1][0]
        assert found[i] == pytest.approx(expected, rel=1e-9)
    higher = LinearModel(w=model.w, b=model.b + 0.6)
    up = y > 0
    assert np.isinf(flip_radius(higher, x[up][2:], y[up][2:], norm, (0, 1))).all()


@pytest.mark.parametrize("norm", NORMS)
def test_radius_and_margin_tell_the_same(norm: Norm) -> None:
    model, x, y = problem(n=60, seed=8)
    radius = flip_radius(model, x, y, norm, (0, 1))
    some = np.flatnonzero(np.isfinite(radius) & (radius > 0))
    for i in some:
        at = radius[i] * np.array([1 - 1e-6, 1, 1 + 1e-6])
        before, there, after = worst_margins(model, x[i : i + 1], y[i : i + 1], at, norm, (0, 1))[0]
        assert before > 0
        assert there == pytest.approx(0, abs=1e-9)
        assert after <= 1e-12


@st.composite
def corners(draw: st.DrawFn) -> tuple[list[float], list[float], float, list[float]]:
    """Few coordinates of few values, so that rooms, weights and breakpoints coincide."""
    d = draw(st.integers(1, 4))
    values = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    weights = st.sampled_from([0.0, 0.5, -0.5, 1.0, -2.0, 1e-3, 1e-200])
    eps = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 3.0])
    return (
        draw(st.lists(values, min_size=d, max_size=d)),
        draw(st.lists(weights, min_size=d, max_size=d)),
        draw(st.sampled_from([-1.0, 1.0])),
        draw(st.lists(eps, min_size=1, max_size=5)),
    )


@pytest.mark.kernel
@given(corners())
def test_kernels_equal_their_plain_twins(case: Any) -> None:
    x, w, y, grid = case
    model = LinearModel(w=np.array(w), b=0.0)
    rows, labels = np.array([x]), np.array([y])
    clean = y * float(np.dot(x, w))
    pairs = hinge_descent.rooms(x, y, w, [0.0] * len(w), [1.0] * len(w))
    for norm in NORMS:
        found = worst_margins(model, rows, labels, grid, norm, (0, 1))[0]
        expected = [clean - hinge_descent.gain(pairs, eps, norm.value) for eps in grid]
        assert found.tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.kernel
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_uncompiled_kernels_equal_their_plain_twins(
    plain: bool, norm: Norm, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("room", "first_at_least", "gains_linf", "gains_l1", "breakpoints", "gains_l2", "radii",
             "radii_l1") if plain else ()  # fmt: skip
    for name in names:
        kernel = getattr(_kernels, name)
        monkeypatch.setattr(_kernels, name, getattr(kernel, "py_func", kernel))
    model, x, y = problem(n=6, d=5, seed=2)
    y = np.sign(x @ model.w + model.b)
    grid = [0.01, 0.2, 0.21, 0.22, 0.9, 2.0]
    found = worst_margins(model, x, y, grid, norm, (0, 1))
    radius = flip_radius(model, x, y, norm, (0, 1))
    for i in range(6):
        pairs = hinge_descent.rooms(x[i].tolist(), y[i], model.w.tolist(), [0.0] * 5, [1.0] * 5)
        clean = y[i] * (x[i] @ model.w + model.b)
        for k, eps in enumerate(grid):
            lost = hinge_descent.gain(pairs, eps, norm.value)
            assert found[i, k] == pytest.approx(clean - lost, abs=1e-9)
        assert radius[i] == pytest.approx(hinge_descent.radius(pairs, clean, norm.value), rel=1e-6)


@given(
    st.lists(st.floats(0, 1e3), min_size=1, max_size=60),
    st.lists(st.floats(-5, 5), min_size=3, max_size=3),
)
def test_uneven_grids_of_eps(grid: list[float], values: list[float]) -> None:
    model = LinearModel(w=np.array([1.0, -0.5, 2.0]), b=0.0)
    x, y = np.array([values]), np.array([1.0])
    found = worst_margins(model, x, y, grid, Norm.Linf, (-5, 5))[0]
    room = np.array([values[0] + 5, 5 - values[1], values[2] + 5])
    lost = np.minimum(np.array(grid)[:, None], room) @ np.array([1.0, 0.5, 2.0])
    assert found == pytest.approx(float(x[0] @ model.w) - lost, abs=1e-9)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-250, 1e-30, 1e30, 1e250])
def test_sizes_of_weights_do_not_matter(norm: Norm, scale: float) -> None:
    model, x, y = problem(n=10)
    far = LinearModel(w=model.w * scale, b=model.b * scale)
    plain = worst_margins(model, x, y, GRID, norm, (0, 1))
    assert worst_margins(far, x, y, GRID, norm, (0, 1)) / scale == pytest.approx(plain, rel=1e-9)
    radius = flip_radius(model, x, y, norm, (0, 1))
    assert flip_radius(far, x, y, norm, (0, 1)) == pytest.approx(radius, rel=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_tiny_and_empty_grids(norm: Norm) -> None:
    model, x, y = problem(n=5)
    clean = y * (x @ model.w + model.b)
    assert worst_margins(model, x, y, [], norm, (0, 1)).shape == (5, 0)
    for eps in (0.0, 5e-324, 1e-310):
        for bounds in ((0, 1), (-np.inf, np.inf)):
            found = worst_margins(model, x, y, [eps], norm, bounds)
            assert found[:, 0].tolist() == pytest.approx(clean, abs=1e-15)


def test_accuracy_counts_the_rows_above_the_boundary() -> None:
    model = LinearModel(w=np.array([1.0]), b=0.0)
    x, y = np.array([[0.25], [0.5], [-1.0], [0.0]]), np.array([1, 1, -1, 1], dtype=np.int8)
    eps = [0.0, 0.25, 0.5, 0.75, 1.0]
    for norm in NORMS:
        found = perturbed_accuracy(model, x, y, eps, norm)
        assert found.tolist() == [0.75, 0.5, 0.25, 0.25, 0.0]
        # In the bounds the last row but one cannot leave its side.
        found = perturbed_accuracy(model, x, y, eps, norm, (-1, -0.5))
        assert found.tolist() == [0.75, 0.5, 0.25, 0.25, 0.25]


def test_without_weights_nothing_can_be_flipped() -> None:
    model = LinearModel(w=np.zeros(2), b=1.0)
    x, y = np.ones((2, 2)), np.array([1, -1])
    for norm, bounds in product(NORMS, (None, (0, 1))):
        assert flip_radius(model, x, y, norm, bounds).tolist() == [np.inf, 0.0]
        assert perturbed_accuracy(model, x, y, [0, 9], norm, bounds).tolist() == [0.5, 0.5]
        assert (worst_inputs(model, x, y, 0.5, norm, bounds) == x).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bounds", [None, (0, 1)])
def test_several_classes_are_their_pairs(norm: Norm, bounds: Any) -> None:
    rng = np.random.default_rng(0)
    models = [LinearModel(w=rng.normal(size=4), b=float(rng.normal())) for _ in range(3)]
    x = rng.random((25, 4))
    scores = np.stack([m.decision(x) for m in models], axis=1)
    y = np.where(rng.random(25) < 0.8, scores.argmax(axis=1), rng.integers(0, 3, 25))
    found = worst_margins_multiclass(models, x, y, GRID, norm, bounds)
    radius = flip_radius_multiclass(models, x, y, norm, bounds)
    for i in range(25):
        pairs = [
            LinearModel(w=models[y[i]].w - m.w, b=models[y[i]].b - m.b)
            for j, m in enumerate(models)
            if j != y[i]
        ]
        row, one = x[i : i + 1], np.ones(1)
        each = [worst_margins(p, row, one, GRID, norm, bounds)[0] for p in pairs]
        assert found[i] == pytest.approx(np.min(each, axis=0), abs=1e-12)
        near = [flip_radius(p, row, one, norm, bounds)[0] for p in pairs]
        assert radius[i] == pytest.approx(min(near), rel=1e-12)
    zero = worst_margins_multiclass(models, x, y, [0.0], norm, bounds)[:, 0]
    assert ((zero > 0) == (scores.argmax(axis=1) == y)).all()


def test_two_classes_are_the_binary_case() -> None:
    model, x, y = problem()
    pair = [LinearModel(w=-model.w / 2, b=-model.b / 2), LinearModel(w=model.w / 2, b=model.b / 2)]
    classes = (y > 0).astype(np.int64)
    for norm in NORMS:
        found = worst_margins_multiclass(pair, x, classes, GRID, norm, (0, 1))
        assert found == pytest.approx(worst_margins(model, x, y, GRID, norm, (0, 1)), abs=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"eps": [-0.1]}, "eps must be finite and at least 0, found -0.1"),
        ({"eps": [np.nan]}, "eps must be finite"),
        ({"eps": 0.1}, "a list of radii"),
        ({"norm": Norm.L0}, "L0"),
        ({"bounds": (1, 0)}, "a lower bound lies above its upper bound"),
        ({"bounds": (np.nan, 1)}, "or is NaN"),
        ({"bounds": (np.zeros(3), 1)}, "one number or 7 of them"),
        ({"x": np.ones((30, 2))}, "7 weights, the inputs have 2 features"),
        ({"x": np.full((30, 7), np.inf)}, "NaN, infinity"),
        ({"y": np.full(30, 2)}, "are -1 and \\+1"),
    ],
)
def test_what_cannot_be_attacked_is_said(change: dict[str, Any], words: str) -> None:
    model, x, y = problem()
    given: dict[str, Any] = {
        "model": model, "x": x, "y": y, "eps": [0.1], "norm": Norm.Linf, "bounds": (0, 1)
    }  # fmt: skip
    with pytest.raises(ValueError, match=words):
        worst_margins(**(given | change))


def test_models_and_classes_are_checked() -> None:
    model, x, y = problem()
    with pytest.raises(ValueError, match="two models or more"):
        worst_margins_multiclass([model], x, (y > 0).astype(int), [0.1], Norm.L2)
    with pytest.raises(ValueError, match="from 0 to 1, one for each model, found -1 to 1"):
        worst_margins_multiclass([model, model], x, y.astype(int), [0.1], Norm.L2)
    with pytest.raises(ValueError, match="finite weights of one dimension"):
        LinearModel(w=np.array([np.nan]), b=0.0)
