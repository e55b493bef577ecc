"""linear.compare: trained and declared models in one chart, where they saw the same inputs."""

from __future__ import annotations

import numpy as np
import pytest

from robreport import (
    Bundle,
    Computed,
    Context,
    Norm,
    Outcome,
    Params,
    Result,
    SkipMetric,
    Skipped,
)
from robreport.outcome import Subject
from robreport.result import check_result
from robreport.testing import LinearOracle, check_metric, make_bundle
from robreport_plugins.linear.comparison import LinearComparison
from robreport_plugins.linear.metrics import ExactAttack, RobustHinge
from robreport_plugins.linear.params import AttackParams, HingeParams


def about(metric: str, name: str, model: str | None = None) -> Subject:
    return Subject(name=name, metric=metric, model=model, title="", question="", summary="")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle(ExactAttack.needs, n=80, classes=2, model="linear", splits=("train", "test"))


@pytest.fixture(scope="module")
def outcomes(bundle: Bundle) -> list[Outcome]:
    eps = ("0.05", "1/10")
    trained = RobustHinge().compute(
        bundle, HingeParams(eps=eps, epochs=20, grid_points=21), Context()
    )
    declared = ExactAttack().compute(bundle, AttackParams(eps=eps, grid_points=21), Context())
    return [
        Computed(about=about("linear.robust_hinge", "trained"), result=trained),
        Computed(about=about("linear.exact_attack", "exact", "mine"), result=declared),
        Skipped(about=about("linear.exact_attack", "exact", "net"), reason="net is not linear"),
    ]


def compare(outcomes: list[Outcome]) -> Result:
    return check_result(LinearComparison().compare(outcomes, Params(), Context()))


def test_the_contract(outcomes: list[Outcome]) -> None:
    check_metric(LinearComparison, outcomes=outcomes[:2])


def test_one_chart_has_every_line_as_it_was_measured(outcomes: list[Outcome]) -> None:
    result = compare(outcomes)
    # within the bounds, and without
    assert len(result.figures) == 2
    spec = result.figures["curve.1"].spec
    (rows,) = spec["datasets"].values()
    assert {row["series"] for row in rows} == {
        "mine", "regular", "robust \u03b5 = 0.05", "robust \u03b5 = 1/10",
    }  # fmt: skip
    declared = outcomes[1]
    assert isinstance(declared, Computed)
    counts = declared.result.arrays["curve.linf"]
    own = [row["accuracy"] for row in rows if row["series"] == "mine"]
    assert own == pytest.approx((counts / 80).tolist(), abs=1e-5)


def test_the_table_has_every_robust_accuracy_and_who_is_missing(outcomes: list[Outcome]) -> None:
    rows = compare(outcomes).tables["models"].rows
    assert len(rows) == 3 * 2 + 2 + 1
    assert rows[-1][0] == "net"
    assert rows[-1][-1] == "net is not linear"
    declared = outcomes[1]
    assert isinstance(declared, Computed)
    own = next(row for row in rows if row[0] == "mine" and row[3] == "1/10")
    scalar = declared.result.scalars["robust_accuracy[linf, 1/10]"]
    assert own[4] == [scalar.value, scalar.low, scalar.high]


def test_the_answer_compares_at_the_smallest_common_eps(
    bundle: Bundle, outcomes: list[Outcome]
) -> None:
    oracle, test = bundle.model, bundle.split("test")
    assert isinstance(oracle, LinearOracle)
    kept = {
        eps: 100 * oracle.robust_accuracy(test.x, test.labels, Norm.Linf, eps, (0.0, 1.0))
        for eps in (0.05, 0.1)
    }
    # two numbers, so that the one at the larger radius would show
    assert kept[0.05] > kept[0.1] + 1
    assert f"mine keeps {kept[0.05]:.1f}" in compare(outcomes).answer


def test_other_inputs_are_not_drawn_together(bundle: Bundle, outcomes: list[Outcome]) -> None:
    some = make_bundle(ExactAttack.needs, n=40, classes=2, model="linear", splits=("test",))
    other = ExactAttack().compute(some, AttackParams(eps=("0.05",), grid_points=5), Context())
    foreign = Computed(about=about("linear.exact_attack", "other", "small"), result=other)
    assert not np.array_equal(other.arrays["index"], np.arange(80))
    result = compare([outcomes[0], foreign])
    assert "no declared one beside a trained one" in result.answer
    assert len(result.figures) == 4


def test_without_any_result_there_is_nothing_to_compare(outcomes: list[Outcome]) -> None:
    with pytest.raises(SkipMetric, match="no linear model was measured"):
        compare(outcomes[2:])
