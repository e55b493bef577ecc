"""performance.classification on models whose numbers are known, and on hostile ones."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as skm

from robreport import Bundle, Context, DataSchema, ModelHandle, Needs, SkipMetric, Split, stats
from robreport.result import check_result
from robreport_plugins.performance import charts, classification
from robreport_plugins.performance.metrics import ClassificationParams, ClassificationPerformance


class Table(ModelHandle):
    """A model that says what it is given, row by row."""

    def __init__(self, proba: np.ndarray | None, predicted: np.ndarray) -> None:
        super().__init__()
        self.name = "table"
        self.offers = Needs.CLASSIFICATION
        self.proba, self.predicted = proba, predicted
        if proba is not None:
            self.offers |= Needs.PROBABILITIES

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.predicted

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        if self.proba is None:
            raise AssertionError("asked for probabilities that were not offered")
        return self.proba


def bundle(
    proba: np.ndarray | None, y: np.ndarray, predicted: np.ndarray | None = None, k: int = 0
) -> Bundle:
    if predicted is None:
        if proba is None:
            raise AssertionError("need predictions")
        predicted = proba.argmax(axis=1)
    k = k or (0 if proba is None else proba.shape[1]) or int(y.max()) + 1
    n = len(y)
    test = Split(role="test", x=np.zeros((n, 2)), y=y, index=np.arange(n), digest="d")
    schema = DataSchema(
        task="classification", input_shape=(2,), layout="table",
        classes=tuple(f"<b>{i}</b>" for i in range(k)),
    )  # fmt: skip
    model = Table(proba, predicted)
    offers = model.offers | Needs.LABELS
    return Bundle(model=model, splits={"test": test}, schema=schema, offers=offers)


def measured(given: Bundle, **params: Any) -> Any:
    result = ClassificationPerformance().compute(
        given, ClassificationParams(**params), Context(seed=1)
    )
    return check_result(result)


def problem(n: int = 400, k: int = 6, seed: int = 0, over: float = 1.0) -> tuple[Any, Any]:
    """Probabilities and labels drawn from them; `over` > 1 sharpens what is said."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(k) * 0.4, n)
    y = np.minimum((p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1), k - 1)
    q = np.maximum(p, 1e-12) ** over
    return q / q.sum(axis=1, keepdims=True), y


def test_scalars_equal_scikit_learn() -> None:
    p, y = problem()
    result = measured(bundle(p, y))
    value = {name: scalar.value for name, scalar in result.scalars.items()}
    predicted = p.argmax(axis=1)
    assert set(value) == set(ClassificationPerformance.scalar_help)
    assert value["clean_accuracy"] == skm.accuracy_score(y, predicted)
    assert value["balanced_accuracy"] == pytest.approx(skm.balanced_accuracy_score(y, predicted))
    assert value["macro_f1"] == pytest.approx(skm.f1_score(y, predicted, average="macro"))
    assert value["macro_precision"] == pytest.approx(
        skm.precision_score(y, predicted, average="macro")
    )
    assert value["top5_accuracy"] == pytest.approx(skm.top_k_accuracy_score(y, p, k=5))
    assert value["log_loss"] == pytest.approx(skm.log_loss(y, p))
    assert value["roc_auc_ovr"] == pytest.approx(skm.roc_auc_score(y, p, multi_class="ovr"))
    losses = -np.log(p[np.arange(400), y])
    assert value["cvar_log_loss"] == pytest.approx(np.sort(losses)[-20:].mean())
    assert value["confidence_gap"] == pytest.approx(p.max(axis=1).mean() - value["clean_accuracy"])
    for scalar in result.scalars.values():
        assert scalar.n == 400
        assert scalar.low <= scalar.value <= scalar.high
    assert result.arrays["log_loss"] == pytest.approx(losses)
    assert result.arrays["correct"].mean() == value["clean_accuracy"]


def test_the_interval_of_accuracy_is_the_one_asked_for() -> None:
    p, y = problem()
    hits = int(np.sum(p.argmax(axis=1) == y))
    for kind, made in (("wilson", stats.wilson), ("clopper-pearson", stats.clopper_pearson)):
        scalar = measured(bundle(p, y), interval=kind).scalars["clean_accuracy"]
        expected = made(hits, 400)
        assert (scalar.low, scalar.high, scalar.method) == (
            expected.low, expected.high, expected.method
        )  # fmt: skip


def test_two_classes_have_no_top_five() -> None:
    p, y = problem(k=2)
    assert "top5_accuracy" not in measured(bundle(p, y)).scalars


def test_labels_alone_are_scored_and_the_rest_refused() -> None:
    p, y = problem()
    result = measured(bundle(None, y, p.argmax(axis=1)))
    right = np.mean(p.argmax(axis=1) == y)
    assert result.scalars["clean_accuracy"].value == pytest.approx(right)
    assert result.scalars["log_loss"].value is None
    assert "no probabilities" in result.scalars["log_loss"].reason
    assert [c.code for c in result.caveats] == ["probabilities-missing"]
    assert set(result.figures) == {"confusion"}
    assert set(result.arrays) == {"correct"}


def test_outputs_that_are_no_probabilities_are_found() -> None:
    p, y = problem()
    result = measured(bundle(p * 3, y))
    assert result.scalars["log_loss"].value is None
    assert "do not sum to 1" in result.scalars["log_loss"].reason
    expected = skm.roc_auc_score(y, p, multi_class="ovr")
    assert result.scalars["roc_auc_ovr"].value == pytest.approx(expected)
    assert any("no probabilities" in f.claim for f in result.findings)


def test_nan_outputs_are_found_and_labels_still_scored() -> None:
    p, y = problem()
    broken = p.copy()
    broken[3] = np.nan
    result = measured(bundle(broken, y, p.argmax(axis=1)))
    right = np.mean(p.argmax(axis=1) == y)
    assert result.scalars["clean_accuracy"].value == pytest.approx(right)
    assert result.scalars["roc_auc_ovr"].value is None
    assert result.scalars["top5_accuracy"].value is None
    assert [f.severity for f in result.findings if "NaN" in f.claim] == ["high"]


def test_one_class_only() -> None:
    p, _ = problem(k=3)
    result = measured(bundle(p, np.zeros(400, int)))
    assert result.scalars["roc_auc_ovr"].value is None
    assert "one class only" in result.scalars["roc_auc_ovr"].reason
    assert "absent-class" in [c.code for c in result.caveats]
    assert not any("exceed always answering" in f.claim for f in result.findings)


def test_an_absent_class_is_named_and_left_out() -> None:
    p, y = problem(k=4)
    y = np.where(y == 2, 3, y)
    result = measured(bundle(p, y))
    (caveat,) = [c for c in result.caveats if c.code == "absent-class"]
    assert "<b>2</b>" in caveat.detail
    row = result.tables["per_class"].rows[2]
    assert row[1] == 0
    assert row[4] is None


def test_probability_zero_is_counted() -> None:
    p = np.array([[1.0, 0.0], [0.0, 1.0]] * 60)
    y = np.array([0, 1] * 55 + [1, 0] * 5)
    result = measured(bundle(p, y))
    (caveat,) = [c for c in result.caveats if c.code == "zero-probability"]
    assert "10 of 120" in caveat.detail
    assert result.scalars["log_loss"].value == pytest.approx(52 * math.log(2) / 12)


def test_a_label_that_is_not_the_most_probable_is_said() -> None:
    p, y = problem()
    predicted = p.argmax(axis=1)
    predicted[:7] = p[:7].argmin(axis=1)
    (caveat,) = measured(bundle(p, y, predicted)).caveats
    assert caveat.code == "label-not-most-probable"
    assert caveat.detail.startswith("7 of 400")


def test_a_perfect_model_keeps_its_uncertainty() -> None:
    y = np.arange(60) % 3
    result = measured(bundle(np.eye(3)[y] * 0.97 + 0.01, y))
    assert result.scalars["balanced_accuracy"].low < 1
    assert result.scalars["roc_auc_ovr"].low < 1
    assert result.scalars["macro_f1"].low is None
    assert "every resample" in result.scalars["macro_f1"].reason
    assert result.findings == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"predicted": np.zeros(399, int)}, "one prediction per example"),
        ({"predicted": np.zeros(400)}, "must be a class index, found float64"),
        ({"predicted": np.full(400, 6)}, "prediction 6 is not one of the data's 6 classes"),
        ({"y": np.full(400, -1)}, "label -1 is not one of"),
        ({"k": 5}, "is not one of the data's 5 classes"),
        ({"k": 7}, r"shape \(400, 6\), but the data has 400 examples of 7 classes"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], words: str) -> None:
    p, y = problem()
    with pytest.raises(ValueError, match=words):
        measured(bundle(**({"proba": p, "y": y} | change)))


def test_an_empty_set_is_skipped() -> None:
    with pytest.raises(SkipMetric, match="empty"):
        measured(bundle(np.zeros((0, 3)), np.zeros(0, int), np.zeros(0, int)))


def test_overconfidence_is_found_and_calibration_is_not() -> None:
    calibrated = measured(bundle(*problem(3000, over=1.0)))
    assert not any("confiden" in f.claim.lower() for f in calibrated.findings)
    assert "matches" in calibrated.answer
    sharp = measured(bundle(*problem(3000, over=2.0)))
    assert any("overconfident" in f.claim for f in sharp.findings)
    flat = measured(bundle(*problem(3000, over=0.5)))
    assert any("underconfident" in f.claim for f in flat.findings)


def test_a_weak_class_and_an_unused_label_are_found() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 1000)
    predicted = np.where((y == 3) & (rng.random(1000) < 0.6), 1, y)
    predicted[predicted == 4] = 0
    findings = measured(bundle(None, y, predicted)).findings
    claims = [f.claim for f in findings]
    assert any(c.startswith("Class <b>3</b>") and "taken for <b>1</b>" in c for c in claims)
    assert any("never answers <b>4</b>" in c for c in claims)
    assert {f.severity for f in findings if f.affected == "<b>4</b>"} == {"high", "medium"}


def test_no_better_than_the_most_common_class() -> None:
    y = np.array([0] * 80 + [1] * 20)
    findings = measured(bundle(None, y, np.zeros(100, int))).findings
    assert [f.severity for f in findings if "exceed always answering" in f.claim] == ["high"]


@pytest.mark.parametrize("k", [2, 15, 16, 30, 100])
def test_confusion_of_any_number_of_classes_stays_legible(k: int) -> None:
    p, y = problem(5000 if k > 50 else 500, k)
    result = measured(bundle(p, y), draws=100)
    figure, table = result.figures["confusion"], result.tables.get("confusion")
    (cells,) = figure.spec["datasets"].values()
    assert len(cells) <= 1500
    assert ("'text'" in str(figure.spec["layer"] if k <= 20 else figure.spec["mark"])) == (k <= 20)
    if k <= 15:
        assert table is None
        per_class = result.tables["per_class"].rows
        taken = [re.findall(r"(\S+) \(([\d,]+)\)", row[-1]) for row in per_class]
        wrong = {(row[0], name): int(n) for row, own in zip(per_class, taken, strict=True)
                 for name, n in own}  # fmt: skip
        told = {(c["true"], c["label"]): c["count"] for c in cells if c["true"] != c["label"]}
        assert wrong == told
    else:
        assert len(table.rows) <= 200
        assert [row[2] for row in table.rows] == sorted((r[2] for r in table.rows), reverse=True)


def test_intervals_of_the_bootstrapped_scores_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over fresh test sets, the intervals hold what a large set shows."""
    drawn = measured(bundle(*problem(100))).figures
    confusion = drawn.pop("confusion")
    monkeypatch.setattr(classification, "confusion_chart", lambda *_: confusion)
    for name, figure in drawn.items():
        monkeypatch.setattr(charts, name, lambda *_, figure=figure: figure)
    whole = measured(bundle(*problem(20_000, k=3, seed=99, over=1.3)), draws=100)
    names = ("log_loss", "brier_score", "macro_f1", "uncertainty_rejection_auc", "confidence_gap")
    hits = dict.fromkeys((*names, "expected_calibration_error"), 0)
    for seed in range(60):
        result = measured(bundle(*problem(300, k=3, seed=seed, over=1.3)), draws=200)
        for name in hits:
            scalar = result.scalars[name]
            hits[name] += scalar.low <= whole.scalars[name].value <= scalar.high
    # 60 sets: a true coverage of .95 shows at least 52 with probability .99.
    assert min(hits[name] for name in names) >= 52
    assert hits["expected_calibration_error"] >= 50
