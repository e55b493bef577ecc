"""The least robust hinge loss against HiGHS and Clarabel, and its bound against what is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.hinge_optimum import reference_optimum

from robreport import Norm
from robreport_plugins.linear.certificate import dual_value
from robreport_plugins.linear.linear_model import LinearModel, dual_length, robust_hinge
from robreport_plugins.linear.optimum import solve

NORMS = [Norm.L1, Norm.L2, Norm.Linf]


@pytest.fixture(scope="module", autouse=True)
def _peer() -> None:
    pytest.importorskip("clarabel")


@pytest.fixture(scope="module")
def cancer() -> tuple[np.ndarray, np.ndarray]:
    """Breast cancer of scikit-learn, standardised: 569 rows, 30 features."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return (x - x.mean(axis=0)) / x.std(axis=0), np.where(y == 1, 1, -1)


def overlapping(n: int = 60, d: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.4, 1, -1)
    return rng.normal(size=(n, d)) + 0.6 * y[:, None], y


def loss(model: LinearModel, x: np.ndarray, y: np.ndarray, eps: float, norm: Norm) -> float:
    return float(robust_hinge(model, x, y, eps=eps, norm=norm).mean())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [0.001, 0.05, 0.1, 0.5, 3.0])
def test_breast_cancer_is_solved_and_proved(cancer: Any, eps: float, norm: Norm) -> None:
    x, y = cancer
    found = solve(x, y, eps=eps, norm=norm)
    peer = reference_optimum(x, y, eps=eps, norm=norm)
    scale = max(1e-3, found.primal)
    assert found.primal == loss(found.model, x, y, eps, norm)
    assert found.converged
    assert 0 <= found.gap == max(0.0, found.primal - found.dual) <= 1e-6 * scale
    assert abs(found.primal - peer.primal) <= 1e-6 * scale
    # The peer's multipliers, made feasible, prove our model; ours are below the peer's loss.
    if eps > 0.001:
        assert found.primal - peer.dual <= 1e-6 * scale
    assert found.dual <= peer.primal + 1e-12


@pytest.mark.parametrize("norm", NORMS)
def test_tighter_tolerances_are_reached(cancer: Any, norm: Norm) -> None:
    x, y = cancer
    for eps in (0.5, 1.0):
        found = solve(x, y, eps=eps, norm=norm, tolerance=1e-8)
        assert found.gap <= 1e-8 * found.primal
        assert found.converged


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(4))
def test_small_problems_agree_with_the_peers(norm: Norm, seed: int) -> None:
    x, y = overlapping(seed=seed)
    for eps in (0.0, 0.1, 0.6, 2.0):
        found = solve(x, y, eps=eps, norm=norm)
        peer = reference_optimum(x, y, eps=eps, norm=norm)
        assert found.converged
        assert found.primal == pytest.approx(peer.primal, abs=1e-6 * max(1e-3, found.primal))


def test_no_nearby_model_is_better() -> None:
    x, y = overlapping()
    rng = np.random.default_rng(0)
    for norm in NORMS:
        found = solve(x, y, eps=0.1, norm=norm)
        for _ in range(200):
            size = 10 ** rng.uniform(-6, 1)
            moved = LinearModel(
                w=found.model.w + size * rng.normal(size=4), b=found.model.b + size * rng.normal()
            )
            assert loss(moved, x, y, 0.1, norm) >= found.dual


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [0.0, 0.2])
def test_separable_rows_have_a_loss_of_zero(norm: Norm, eps: float) -> None:
    rng = np.random.default_rng(0)
    y = np.where(np.arange(40) % 3 == 0, 1, -1)
    x = rng.uniform(-1, 1, size=(40, 3))
    x[:, 0] = y * rng.uniform(0.7, 1.5, 40)
    found = solve(x, y, eps=eps, norm=norm)
    assert (found.primal, found.dual, found.gap, found.converged) == (0.0, 0.0, 0.0, True)
    margin = y * found.model.decision(x) - eps * dual_length(found.model.w, norm)
    assert margin.min() >= 1


def test_rows_that_meet_are_told_from_rows_that_are_apart() -> None:
    # Two rows at distance 1: robustly separable below 1/2, and with a loss of one from there on.
    x, y = np.array([[0.0], [1.0]]), np.array([-1, 1])
    for norm in NORMS:
        for eps, least in ((0.0, 0.0), (0.499, 0.0), (0.501, 1.0)):
            found = solve(x, y, eps=eps, norm=norm)
            assert found.converged
            assert found.primal == pytest.approx(least, abs=1e-6)
        # On the edge itself nothing is proved, and nothing is claimed.
        edge = solve(x, y, eps=0.5, norm=norm)
        assert edge.primal == pytest.approx(1.0, abs=1e-6)
        assert edge.converged == (edge.gap <= 1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_where_nothing_beats_the_constant_the_weights_are_zero(cancer: Any, norm: Norm) -> None:
    x, y = cancer
    found = solve(x, y, eps=30.0, norm=norm)
    rarer = min(np.mean(y > 0), np.mean(y < 0))
    assert not found.model.w.any()
    assert found.primal == 2 * rarer
    assert (found.dual, found.gap, found.iterations) == (found.primal, 0.0, 0)
    assert found.model.b == 1.0


@pytest.mark.parametrize("norm", NORMS)
def test_a_constant_feature_gets_no_weight(norm: Norm) -> None:
    x, y = overlapping()
    plain = solve(x, y, eps=0.1, norm=norm)
    wider = solve(np.insert(x, 2, 5.0, axis=1), y, eps=0.1, norm=norm)
    assert wider.model.w[2] == 0
    assert wider.primal == pytest.approx(plain.primal, abs=1e-9)
    alone = solve(np.full((60, 2), 3.0), y, eps=0.1, norm=norm)
    assert alone.gap == 0
    assert alone.primal == 2 * np.mean(y > 0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [0.0, 0.05, 5.0])
def test_more_features_than_rows(norm: Norm, eps: float) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 1000)), np.where(rng.random(50) < 0.5, 1, -1)
    found = solve(x, y, eps=eps, norm=norm)
    assert found.converged
    if eps < 5:
        assert found.primal == 0.0
    else:
        assert found.dual > 0.1 or norm is Norm.L1


@pytest.mark.parametrize("norm", NORMS)
def test_equal_rows_and_features_do_no_harm(norm: Norm) -> None:
    x, y = overlapping()
    plain = solve(x, y, eps=0.1, norm=norm).primal
    rows = solve(np.vstack([x, x]), np.concatenate([y, y]), eps=0.1, norm=norm)
    assert rows.converged
    assert rows.primal == pytest.approx(plain, rel=1e-6)
    twice = solve(np.hstack([x, x]), y, eps=0.1, norm=norm)
    assert twice.converged
    # Twice the same features: L1 may split a weight in two, L2 halves its cost, Linf gains nothing.
    for eps in (0.0, 0.1):
        doubled = solve(np.hstack([x, x]), y, eps=eps, norm=norm)
        peer = reference_optimum(np.hstack([x, x]), y, eps=eps, norm=norm)
        assert doubled.primal == pytest.approx(peer.primal, rel=1e-6)
    if norm is Norm.Linf:
        assert twice.primal == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e6, 0.0), (1.0, 1e4), (1e40, 0.0)])
def test_units_and_offsets_do_not_matter(norm: Norm, scale: float, shift: float) -> None:
    x, y = overlapping()
    plain = solve(x, y, eps=0.2, norm=norm)
    found = solve(scale * x + shift, y, eps=0.2 * scale, norm=norm)
    assert found.converged
    assert found.primal == pytest.approx(plain.primal, rel=3e-6)


def test_features_of_very_different_sizes() -> None:
    x, y = overlapping()
    for norm in NORMS:
        found = solve(x * np.array([1e-4, 1.0, 1e3, 1e5]), y, eps=0.1, norm=norm)
        assert found.gap <= 1e-5 * found.primal


def test_what_was_stopped_early_says_so(cancer: Any) -> None:
    x, y = cancer
    found = solve(x, y, eps=0.1, norm=Norm.L2, iterations=3)
    assert not found.converged
    assert found.iterations == 3
    assert found.gap > 1e-6 * found.primal
    assert found.dual <= 0.0554 < found.primal + 1e-3


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("positive", [10, 20, 30])
def test_the_constant_answer_takes_a_side(norm: Norm, positive: int) -> None:
    """Without weights every bias from -1 to 1 may be the best; in between all rows would tie."""
    y = np.where(np.arange(40) < positive, 1, -1)
    x = np.random.default_rng(0).normal(size=(40, 3))
    found = solve(x, y, eps=50.0, norm=norm)
    assert found.converged
    assert not found.model.w.any()
    assert found.model.b == (1.0 if positive >= 20 else -1.0)
    assert np.mean(y * found.model.decision(x) > 0) == max(positive, 40 - positive) / 40


def test_progress_counts_iterations(cancer: Any) -> None:
    seen: list[tuple[int, int]] = []
    found = solve(*cancer, eps=0.1, norm=Norm.L2, progress=lambda *at: seen.append(at))
    assert seen == [(k + 1, 100) for k in range(found.iterations)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": -np.ones(60)}, "all 60 labels are -1; a classifier needs rows of both classes"),
        ({"x": np.full((60, 4), np.nan)}, "60 of 60 rows hold NaN"),
        ({"eps": -1.0}, "eps must be at least 0"),
        ({"norm": Norm.L0}, "L0 has no dual"),
        ({"tolerance": 0.0}, "tolerance must be above 0"),
        ({"iterations": 0}, "iterations at least 1"),
        ({"x": np.arange(660_000.0).reshape(60, 11_000) % 7}, "the optimum over 11,000 features"),
    ],
)
def test_what_cannot_be_solved_is_said(change: dict[str, Any], words: str) -> None:
    x, y = overlapping()
    given: dict[str, Any] = {"x": x, "y": y, "eps": 0.1, "norm": Norm.Linf}
    with pytest.raises(ValueError, match=words):
        solve(**(given | change))


# ------------------------------------------------------------------------------- the certificate


@given(st.integers(0, 2**31), st.sampled_from(NORMS), st.floats(0.01, 3), st.floats(0, 6))
def test_a_dual_value_never_exceeds_a_loss(seed: int, norm: Norm, eps: float, far: float) -> None:
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 9)), int(rng.integers(1, 4))
    x, y = rng.normal(size=(n, d)), np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    # From arbitrary multipliers to the best ones, disturbed.
    best = solve(x, y, eps=eps, norm=norm)
    alpha = rng.random(n) / n * 10**-far + rng.integers(0, 2, n) * rng.random()
    value = dual_value(x, y, alpha, eps=eps, norm=norm)
    assert 0 <= value <= best.primal + 1e-15
    assert best.dual <= best.primal + 1e-15


def exact_rational_check(
    x: np.ndarray, y: np.ndarray, alpha: np.ndarray, eps: float, norm: Norm
) -> float:
    """What the certificate accepts, held against its conditions in exact arithmetic."""
    from fractions import Fraction

    from robreport_plugins.linear.certificate import Bound

    bound = Bound(x, y.astype(float), eps=eps, norm=norm)
    taken: list[np.ndarray] = []
    plain = bound._if_feasible

    def spy(whole: np.ndarray, reach: float) -> float:
        value = plain(whole, reach)
        if np.isfinite(value) and value > 0:
            taken.append(whole)
            n, one = len(y), 1 << bound._bits
            shares = [Fraction(int(k), one * n) for k in whole]
            assert all(0 <= s <= Fraction(1, n) for s in shares)
            assert sum(s * int(v) for s, v in zip(shares, y, strict=True)) == 0
            sums = [
                abs(
                    sum(
                        s * int(v) * Fraction(float(row))
                        for s, v, row in zip(shares, y, col, strict=True)
                    )
                )
                for col in x.T
            ]
            allowed = Fraction(eps) * sum(shares)
            if norm is Norm.Linf:
                assert max(sums) <= allowed
            elif norm is Norm.L1:
                assert sum(sums) <= allowed
            else:
                assert sum(s * s for s in sums) <= allowed * allowed
            assert abs(float(sum(shares)) - value) <= 1e-15
        return value

    bound._if_feasible = spy  # type: ignore[method-assign]
    value = bound.value(alpha)
    assert taken
    return value


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_what_is_accepted_is_feasible_in_exact_arithmetic(norm: Norm, shift: float) -> None:
    x, y = overlapping()
    x = x + shift
    from robreport_plugins.linear.interior_point import iterates

    last = list(iterates((x - x.mean(axis=0)) / 4, y.astype(float), 0.1 / 4, norm))[-2]
    value = exact_rational_check(x, y, last.multipliers / 60, 0.1, norm)
    assert value == pytest.approx(solve(x, y, eps=0.1, norm=norm).primal, rel=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_multipliers_that_are_slightly_off_are_mended(norm: Norm) -> None:
    x, y = overlapping()
    rng = np.random.default_rng(0)
    from robreport_plugins.linear.interior_point import iterates

    good = list(iterates(x / 4, y.astype(float), 0.1 / 4, norm))[-2].multipliers / 60
    best = solve(x, y, eps=0.1, norm=norm, tolerance=1e-9).primal
    for size in (1e-12, 1e-9, 1e-7, 1e-5):
        off = good + size * rng.normal(size=60) / 60
        value = dual_value(x, y, off, eps=0.1, norm=norm)
        assert best - 100 * size - 1e-9 <= value <= best + 1e-15


def test_hopeless_multipliers_bound_nothing() -> None:
    x, y = overlapping()
    for alpha in (np.zeros(60), -np.ones(60), (y > 0) / 60, np.eye(60)[0]):
        assert dual_value(x, y, alpha, eps=0.01, norm=Norm.Linf) == 0.0
    with pytest.raises(ValueError, match="60 rows need as many finite multipliers"):
        dual_value(x, y, np.full(60, np.nan), eps=0.1, norm=Norm.L2)
    with pytest.raises(ValueError, match="60 rows need as many finite multipliers"):
        dual_value(x, y, np.zeros(3), eps=0.1, norm=Norm.L2)


def test_without_a_radius_the_bound_is_for_models_within_reach() -> None:
    # One point in both classes: no model has a loss below 1.
    x, y = np.array([[0.1, 0.7], [0.1, 0.7]]), np.array([1, -1])
    assert dual_value(x, y, np.full(2, 0.5), eps=0, norm=Norm.L2) == 1.0
    x, y = overlapping()
    found = solve(x, y, eps=0, norm=Norm.L2)
    assert 0 < found.dual <= found.primal
    assert found.gap <= 1e-6 * found.primal


def test_a_bound_above_a_loss_that_was_reached_proves_nothing() -> None:
    """Steep weights, far beyond the size that the bound of eps = 0 is about, would do better."""
    parts = [(100, 0.0, -1), (100, 1e-6, 1), (3, -2e-6, 1), (1, 1.0, 1), (1, -1.0, -1)]
    x = np.array([[value] for count, value, _ in parts for _ in range(count)])
    y = np.array([sign for count, _, sign in parts for _ in range(count)])
    found = solve(x, y, eps=0.0, norm=Norm.Linf)
    steep = float(np.maximum(0, 1 - y * (2e6 * x[:, 0] - 1)).mean())
    assert found.dual <= min(found.primal, steep)
    assert not found.converged
    assert found.gap == found.primal - found.dual
