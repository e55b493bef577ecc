"""Intervals and tests, against SciPy, closed forms, published numbers and simulated coverage."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from robreport import stats


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_shares_equal_scipy(case: tuple[int, int]) -> None:
    k, n = case
    for level in (0.9, 0.95, 0.99):
        reference = scipy.stats.binomtest(k, n)
        for found, method in (
            (stats.wilson(k, n, level=level), "wilson"),
            (stats.clopper_pearson(k, n, level=level), "exact"),
        ):
            expected = reference.proportion_ci(level, method=method)
            assert found.low == pytest.approx(expected.low, abs=1e-12)
            assert found.high == pytest.approx(expected.high, abs=1e-12)
            assert 0 <= found.low <= k / n <= found.high <= 1
    assert stats.wilson(k, n).method == "95 % Wilson"


def test_clopper_pearson_never_covers_less_than_its_level() -> None:
    n = 30
    ends = [stats.clopper_pearson(k, n) for k in range(n + 1)]
    for p in np.linspace(0.01, 0.99, 99):
        chance = scipy.stats.binom.pmf(np.arange(n + 1), n, p)
        covered = np.array([e.low <= p <= e.high for e in ends])
        assert chance[covered].sum() >= 0.95


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 5), (6, 5), (float("nan"), 5)])
def test_impossible_shares_are_refused(k: float, n: float) -> None:
    with pytest.raises(ValueError, match=r"at least one example|must lie between 0 and n"):
        stats.wilson(k, n)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, -0.5])
def test_impossible_levels_are_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        stats.mean_t([1.0, 2.0], level=level)


def test_mean_of_shares_of_one_is_wilson_and_never_a_point() -> None:
    one, single = stats.mean_of_shares([7], [9]), stats.wilson(7, 9)
    assert (one.low, one.high) == pytest.approx((single.low, single.high), abs=1e-12)
    perfect = stats.mean_of_shares([5, 9, 40], [5, 9, 40])
    assert perfect.high == 1
    assert 0.7 < perfect.low < 0.99


def test_mean_of_shares_covers() -> None:
    rng = np.random.default_rng(0)
    p, n = np.array([0.95, 0.8, 0.5, 0.99]), np.array([40, 25, 60, 30])
    hits = rng.binomial(n, p, size=(1500, 4))
    found = [stats.mean_of_shares(k, n) for k in hits]
    covered = np.mean([f.low <= p.mean() <= f.high for f in found])
    assert 0.935 <= covered <= 0.985


def test_mean_t_equals_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=57)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = stats.mean_t(values, level=0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("values", [[1.0], [], [1.0, np.nan], [[1.0, 2.0]]])
def test_mean_t_refuses_what_has_no_interval(values: list[float]) -> None:
    with pytest.raises(ValueError, match="values"):
        stats.mean_t(values)


# --------------------------------------------------------------------------------------- bootstrap


def test_counts_are_the_resamples_of_a_plain_loop() -> None:
    blocks = list(stats.resample_counts(3_000, rng=np.random.default_rng(5), draws=1_500))
    assert len(blocks) > 1
    assert max(b.nbytes for b in blocks) <= 2**21
    counts = np.concatenate(blocks)
    assert counts.shape == (1_500, 3_000)
    assert np.all(counts.sum(axis=1) == 3_000)
    rng = np.random.default_rng(5)
    for block in blocks:
        for row, picked in zip(block, rng.integers(3_000, size=block.shape), strict=True):
            expected = np.zeros(3_000)
            for i in picked:
                expected[i] += 1
            assert np.array_equal(row, expected)
            break  # the first row of each block suffices: the stream is one


@pytest.mark.parametrize("kind", ["percentile", "basic", "bca"])
def test_bootstrap_agrees_with_scipy(kind: str) -> None:
    values = np.random.default_rng(2).lognormal(size=80)

    def mean(counts: np.ndarray) -> np.ndarray:
        return counts @ values / counts.sum(axis=1)

    found = stats.bootstrap(mean, 80, rng=np.random.default_rng(3), draws=20_000, kind=kind)
    method = "BCa" if kind == "bca" else kind
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method=method, rng=np.random.default_rng(4)
    ).confidence_interval
    # Two sets of 20,000 draws: the ends have a Monte-Carlo error of about 1 % of the width.
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.04 * width)
    assert found.high == pytest.approx(expected.high, abs=0.04 * width)
    assert "20,000 draws" in found.method


def test_bca_coverage_on_skewed_data() -> None:
    rng = np.random.default_rng(6)
    truth = np.exp(0.5 * 0.64)
    hits = 0
    for _ in range(300):
        sample = rng.lognormal(sigma=0.8, size=60)
        interval = stats.bootstrap_mean(sample, rng=rng, draws=400, kind="bca")
        hits += interval.low <= truth <= interval.high
    # BCa undercovers a little for skewed data at n = 60: about .92.
    assert 0.88 <= hits / 300 <= 0.975


def test_bootstrap_is_deterministic_and_many_is_one_by_one() -> None:
    values = np.random.default_rng(7).normal(size=(50, 2))

    def both(counts: np.ndarray) -> np.ndarray:
        return counts @ values / 50

    def first(counts: np.ndarray) -> np.ndarray:
        return counts @ values[:, 0] / 50

    many = stats.bootstrap_many(both, 50, rng=np.random.default_rng(1), draws=99)
    again = stats.bootstrap_many(both, 50, rng=np.random.default_rng(1), draws=99)
    assert many == again
    alone = stats.bootstrap(first, 50, rng=np.random.default_rng(1), draws=99)
    assert many[0] is not None
    assert alone.low == pytest.approx(many[0].low, abs=1e-12)


def test_undefined_draws_are_counted_or_refused() -> None:
    rare = np.zeros(40)
    rare[:4] = 1

    def ratio(counts: np.ndarray) -> np.ndarray:
        held = counts @ rare
        return np.divide(counts[:, 0], held, out=np.full(held.size, np.nan), where=held > 0)

    few = stats.bootstrap(ratio, 40, rng=np.random.default_rng(0), draws=500)
    assert "undefined)" in few.method
    rare[1:] = 0
    with pytest.raises(ValueError, match="undefined"):
        stats.bootstrap(ratio, 40, rng=np.random.default_rng(0), draws=500)


def test_paired_bootstrap_uses_the_pairing() -> None:
    rng = np.random.default_rng(8)
    base = rng.normal(size=200) * 10
    found = stats.paired_bootstrap(base + 1 + rng.normal(size=200) * 0.1, base, rng=rng)
    assert 0.97 < found.low < 1 < found.high < 1.03
    with pytest.raises(ValueError, match="equal lengths"):
        stats.paired_bootstrap(base, base[1:], rng=rng)


# -------------------------------------------------------------------------------------------- area


def _area(scores: np.ndarray, positive: np.ndarray) -> float:
    above = scores[positive][:, None] - scores[~positive][None, :]
    return float(np.mean((above > 0) + 0.5 * (above == 0)))


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40).filter(
        lambda rows: len({mark for _, mark in rows}) == 2
    )
)
def test_area_counts_pairs(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([r[0] for r in rows], dtype=float)
    marks = np.array([r[1] for r in rows])
    area, v10, v01 = stats.auc_placements(scores, marks)
    assert area == pytest.approx(_area(scores, marks), abs=1e-12)
    assert v01.mean() == pytest.approx(area, abs=1e-12)
    assert v10.mean() == pytest.approx(area, abs=1e-12)
    interval = stats.auc_delong(scores, marks)[1]
    assert 0 <= interval.low <= area <= interval.high <= 1
    assert interval.low < interval.high


def test_delong_variance_is_the_structural_one() -> None:
    rng = np.random.default_rng(9)
    pos, neg = rng.normal(1, 1, 30), rng.normal(0, 1, 50)
    wins = (pos[:, None] > neg[None, :]).astype(float)
    area = wins.mean()
    v = wins.mean(axis=1).var(ddof=1) / 30 + wins.mean(axis=0).var(ddof=1) / 50
    _, found = stats.auc_delong(np.r_[pos, neg], np.r_[np.ones(30), np.zeros(50)])
    logit = np.log(area / (1 - area))
    half = scipy.stats.norm.ppf(0.975) * np.sqrt(v) / (area * (1 - area))
    expected = 1 / (1 + np.exp(-(logit - half))), 1 / (1 + np.exp(-(logit + half)))
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


def test_delong_covers() -> None:
    rng = np.random.default_rng(10)
    truth = scipy.stats.norm.cdf(1 / np.sqrt(2))
    marks = np.r_[np.ones(40), np.zeros(60)]
    hits = 0
    for _ in range(800):
        scores = np.r_[rng.normal(1, 1, 40), rng.normal(0, 1, 60)]
        interval = stats.auc_delong(scores, marks)[1]
        hits += interval.low <= truth <= interval.high
    assert 0.93 <= hits / 800 <= 0.975


def test_hanley_is_exact_for_exponential_scores() -> None:
    # Their q1 and q2 hold exactly when scores are negative exponential; area = 3 / (3 + 1).
    rng = np.random.default_rng(13)
    pos, neg = rng.exponential(3, (4000, 20)), rng.exponential(1, (4000, 30))
    areas = (pos[:, :, None] > neg[:, None, :]).mean(axis=(1, 2))
    found = stats.auc_hanley(0.75, 20, 30)
    low, high = (np.log(x / (1 - x)) for x in (found.low, found.high))
    error = (high - low) / 2 / scipy.stats.norm.ppf(0.975) * 0.75 * 0.25
    # 4,000 simulated areas know their standard deviation to 1.1 %.
    assert error == pytest.approx(areas.std(ddof=1), rel=0.04)
    with pytest.raises(ValueError, match="no area"):
        stats.auc_hanley(1.2, 20, 30)


def test_a_perfect_area_keeps_a_lower_end() -> None:
    area, interval = stats.auc_delong([0, 1, 2, 3], [False, False, True, True])
    assert area == interval.high == 1
    # Two disjoint pairs both right: a^2 >= .025.
    assert interval.low == pytest.approx(np.sqrt(0.025), abs=1e-12)


def test_one_class_has_no_area() -> None:
    with pytest.raises(ValueError, match="both classes"):
        stats.auc_delong([0.1, 0.2], [True, True])


# ------------------------------------------------------------------------------------ paired, many


def test_mcnemar_is_the_exact_binomial_test() -> None:
    rng = np.random.default_rng(11)
    a, b = rng.random(300) < 0.9, rng.random(300) < 0.85
    found = stats.mcnemar(a, b)
    expected = scipy.stats.binomtest(found.first_only, found.first_only + found.second_only)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-12)
    assert found.difference == pytest.approx(a.mean() - b.mean(), abs=1e-12)
    same = stats.mcnemar(a, a)
    assert same.p_value == 1
    assert same.interval.low < 0 < same.interval.high


def test_mcnemar_interval_covers() -> None:
    rng = np.random.default_rng(12)
    hits = 0
    for _ in range(600):
        u = rng.random(120)
        a, b = u < 0.9, (u > 0.05) & (u < 0.87)
        interval = stats.mcnemar(a, b).interval
        hits += interval.low <= 0.9 - 0.82 <= interval.high
    assert 0.93 <= hits / 600 <= 0.985


def test_holm_by_hand() -> None:
    found = stats.holm([0.01, 0.04, 0.03, 0.005])
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    assert stats.holm([]).size == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        stats.holm([0.5, float("nan")])


def test_importing_stats_is_light() -> None:
    code = (
        "import sys, robreport.stats; heavy = {'scipy', 'torch', 'sklearn', 'numba', 'pandas', "
        "'altair', 'art'} & set(sys.modules); sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
