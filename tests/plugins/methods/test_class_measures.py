"""Labels, probabilities, calibration and ranking against scikit-learn, NumPy and plain loops."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as skm
from hypothesis import given
from hypothesis import strategies as st

from robreport import stats
from robreport_plugins.methods import calibration, labels, probabilities, ranking
from robreport_plugins.methods.class_names import short_names


def _problem(seed: int, n: int = 60, k: int = 4, ties: bool = False) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(k) * 0.7, n)
    if ties:
        p = np.round(p * 4) + 0.01
        p /= p.sum(axis=1, keepdims=True)
    y = np.minimum((p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1), k - 1)
    return p, y, p.argmax(axis=1)


def _resampled(n: int, seed: int = 5, draws: int = 7) -> tuple[np.ndarray, list[np.ndarray]]:
    counts = next(stats.resample_counts(n, rng=np.random.default_rng(seed), draws=draws))
    return counts, [np.repeat(np.arange(n), row.astype(int)) for row in counts]


@pytest.mark.parametrize("seed", range(4))
def test_class_scores_equal_scikit_learn(seed: int) -> None:
    _, y, predicted = _problem(seed, k=5)
    y[y == 3] = 0  # a class without examples, but predicted
    predicted[predicted == 4] = 0  # a class never predicted
    found = labels.class_scores(labels.confusion(y, predicted, 5))
    assert np.array_equal(
        labels.confusion(y, predicted, 5), skm.confusion_matrix(y, predicted, labels=range(5))
    )
    present = np.unique(y)
    macro = skm.precision_recall_fscore_support(
        y, predicted, labels=present, average="macro", zero_division=0
    )
    assert found.macro_precision == pytest.approx(macro[0])
    assert found.macro_recall == pytest.approx(macro[1])
    assert found.macro_f1 == pytest.approx(macro[2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found.macro_recall == pytest.approx(skm.balanced_accuracy_score(y, predicted))
    assert np.isnan(found.recall[3])
    assert np.isnan(found.precision[4])


def test_counted_macro_equals_macro_of_the_resample() -> None:
    _, y, predicted = _problem(1, n=25, k=6)
    counts, picks = _resampled(25)
    found = labels.counted_macro(y, predicted, 6)(counts)
    for row, pick in zip(found, picks, strict=True):
        scores = labels.class_scores(labels.confusion(y[pick], predicted[pick], 6))
        assert row == pytest.approx([scores.macro_precision, scores.macro_f1])


@pytest.mark.parametrize(("bad", "words"), [(3, "prediction 3 is outside"), (-1, "prediction -1")])
def test_confusion_refuses_labels_outside(bad: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        labels.confusion(np.array([0, 1]), np.array([0, bad]), 3)


@pytest.mark.parametrize("seed", range(3))
def test_proper_scores_equal_scikit_learn(seed: int) -> None:
    p, y, _ = _problem(seed)
    assert probabilities.log_losses(p, y).mean() == pytest.approx(skm.log_loss(y, p))
    brier = skm.brier_score_loss(y, p, scale_by_half=False, labels=range(4))
    assert probabilities.brier_scores(p, y).mean() == pytest.approx(brier)


def test_extremes_of_scores() -> None:
    p, y = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]), np.array([0, 0, 1])
    losses = probabilities.log_losses(p, y)
    assert losses == pytest.approx([0, 52 * math.log(2), math.log(2)])
    assert probabilities.brier_scores(p, y) == pytest.approx([0, 2, 0.5])
    assert probabilities.entropies(p) == pytest.approx([0, 0, math.log(2)])


def test_entropy_equals_scipy() -> None:
    from scipy.stats import entropy

    p, _, _ = _problem(0)
    assert probabilities.entropies(p) == pytest.approx(entropy(p, axis=1))


def test_top_hits_equal_scikit_learn_and_average_ties() -> None:
    p, y, _ = _problem(2, k=8, n=200)
    found = probabilities.top_hits(p, y, 5).mean()
    assert found == pytest.approx(skm.top_k_accuracy_score(y, p, k=5, labels=range(8)))
    tied = np.array([[0.4, 0.15, 0.15, 0.15, 0.15]])
    assert probabilities.top_hits(tied, np.array([3]), 2) == pytest.approx([1 / 4])
    assert probabilities.top_hits(tied, np.array([0]), 1) == pytest.approx([1])


@pytest.mark.parametrize("share", [0.05, 0.33, 1.0])
def test_tail_mean_is_the_worst_share(share: float) -> None:
    losses = np.random.default_rng(3).exponential(size=50)
    counts, picks = _resampled(50)
    found = probabilities.counted_tail_mean(losses, share)(np.vstack([np.ones(50), counts]))
    for value, pick in zip(found, [np.arange(50), *picks], strict=True):
        ordered, left, total = np.sort(losses[pick])[::-1], share * 50, 0.0
        for loss in ordered:
            take = min(1.0, left)
            total += take * loss
            left -= take
        assert value == pytest.approx(total / (share * 50))
    with pytest.raises(ValueError, match="share"):
        probabilities.counted_tail_mean(losses, 0.0)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=5),
    st.integers(0, 10),
)
def test_rejection_area_averages_over_orders_of_ties(
    rows: list[tuple[int, bool]], seed: int
) -> None:
    from itertools import permutations

    def area(pairs: list[tuple[int, bool]]) -> float:
        values = []
        for order in permutations(pairs):
            hits = np.cumsum([hit for _, hit in sorted(order, key=lambda r: r[0])])
            values.append(np.mean(hits / np.arange(1, len(order) + 1)))
        return float(np.mean(values))

    uncertainty = np.array([float(r[0]) for r in rows])
    statistic = probabilities.counted_rejection_area(uncertainty, np.array([r[1] for r in rows]))
    counts, picks = _resampled(len(rows), seed, draws=1)
    assert statistic(np.ones((1, len(rows))))[0] == pytest.approx(area(rows))
    assert statistic(counts)[0] == pytest.approx(area([rows[i] for i in picks[0]]))


# ------------------------------------------------------------------------------------- calibration


@pytest.mark.parametrize("binning", ["fixed", "adaptive"])
def test_calibration_error_by_hand(binning: calibration.Binning) -> None:
    rng = np.random.default_rng(4)
    confidence = np.round(rng.uniform(0.2, 1, 300), 2)
    correct = rng.random(300) < confidence**2
    found = calibration.reliability(confidence, correct, 10, binning)
    total = 0.0
    for b in range(found.counts.size):
        low, high = found.edges[b], found.edges[b + 1]
        inside = (confidence > low) & (confidence <= high)
        if b == 0:
            inside |= confidence <= low
        assert found.counts[b] == inside.sum()
        if inside.any():
            total += inside.sum() * abs(correct[inside].mean() - confidence[inside].mean())
    assert found.error == pytest.approx(total / 300)
    assert found.counts.sum() == 300
    counts, picks = _resampled(300)
    values = calibration.counted_error(confidence, correct, found)(counts)
    for value, pick in zip(values, picks, strict=True):
        gaps = np.bincount(
            found.member[pick], weights=(correct - confidence)[pick], minlength=found.counts.size
        )
        assert value == pytest.approx(np.abs(gaps).sum() / 300)


def test_adaptive_bins_hold_equal_counts() -> None:
    confidence = np.random.default_rng(0).random(1000)
    found = calibration.reliability(confidence, confidence > 0.5, 8, "adaptive")
    assert set(found.counts.tolist()) == {125}
    same = calibration.reliability(np.full(9, 0.7), np.ones(9, bool), 8, "adaptive")
    assert same.counts.tolist() == [9]
    assert same.error == pytest.approx(0.3)


def test_error_of_a_calibrated_model_is_what_such_models_show() -> None:
    rng = np.random.default_rng(6)
    confidence = rng.uniform(0.5, 1, 400)
    shown = []
    for _ in range(300):
        correct = rng.random(400) < confidence
        shown.append(calibration.reliability(confidence, correct, 15).error)
    found = calibration.reliability(confidence, correct, 15)
    simulated = calibration.error_if_calibrated(confidence, found, rng=rng, draws=2000)
    assert simulated.mean() == pytest.approx(np.mean(shown), rel=0.05)
    assert np.quantile(simulated, 0.95) == pytest.approx(np.quantile(shown, 0.95), rel=0.08)


@pytest.mark.parametrize(
    ("confidence", "bins"), [([], 5), ([0.5, 1.5], 5), ([0.5, np.nan], 5), ([0.5, 0.6], 0)]
)
def test_reliability_refuses(confidence: list[float], bins: int) -> None:
    with pytest.raises(ValueError, match=r"confidence|bin"):
        calibration.reliability(np.array(confidence), np.ones(len(confidence), bool), bins)


# ----------------------------------------------------------------------------------------- ranking


@pytest.mark.parametrize("ties", [False, True])
def test_areas_equal_scikit_learn(ties: bool) -> None:
    p, y, _ = _problem(7, n=150, ties=ties)
    found = ranking.one_versus_rest(p, y)
    expected = skm.roc_auc_score(y, p, multi_class="ovr", average=None)
    assert found.areas == pytest.approx(expected)
    assert found.macro == pytest.approx(np.mean(expected))


def test_two_classes_give_delongs_interval() -> None:
    p, y, _ = _problem(8, k=2, n=90)
    found = ranking.one_versus_rest(p, y)
    area, interval = stats.auc_delong(p[:, 1], y == 1)
    assert found.macro == pytest.approx(area)
    assert found.interval.low == pytest.approx(interval.low, abs=1e-12)
    assert found.interval.high == pytest.approx(interval.high, abs=1e-12)


def test_interval_of_the_mean_area_agrees_with_the_bootstrap() -> None:
    p, y, _ = _problem(9, n=300, k=3)
    found = ranking.one_versus_rest(p, y).interval
    _, picks = _resampled(300, draws=400)
    values = [ranking.one_versus_rest(p[i], y[i]).macro for i in picks]
    assert found.high - found.low == pytest.approx(
        np.subtract(*np.quantile(values, [0.975, 0.025])), rel=0.12
    )


def test_absent_classes_are_left_out_and_one_class_refused() -> None:
    p, y, _ = _problem(10)
    y = np.where(y == 2, 1, y)
    assert ranking.one_versus_rest(p, y).classes == (0, 1, 3)
    with pytest.raises(ValueError, match="two classes"):
        ranking.one_versus_rest(p, np.zeros_like(y))


@given(st.lists(st.text(max_size=40), min_size=1, max_size=12))
def test_names_are_distinct_short_and_not_empty(names: list[str]) -> None:
    found = short_names(names)
    assert len(set(found)) == len(names)
    assert all(0 < len(name) <= 24 for name in found)
    assert short_names(["cat", "dog"]) == ("cat", "dog")
