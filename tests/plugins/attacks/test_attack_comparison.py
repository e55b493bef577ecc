"""`attacks.compare`: all models in one chart, pairs tested on the same inputs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from robreport import Computed, Context, Eps, Failed, Norm, Params, SkipMetric, Skipped, ThreatModel
from robreport.outcome import Subject
from robreport.result import check_result
from robreport.testing import LinearOracle, make_bundle
from robreport_plugins.attacks.comparison import AttackComparison
from robreport_plugins.attacks.metrics import AttackSuite
from robreport_plugins.attacks.params import SuiteParams

QUICK = SuiteParams(attacks=("fgsm", "pgd"), steps=10)
THREATS = (
    ThreatModel(name="linf", norm=Norm.Linf, eps=(Eps(8 / 255, "8/255"), Eps(0.2, "0.2"))),
    ThreatModel(name="l2", norm=Norm.L2, eps=(Eps(0.3, "0.3"),)),
)


def about(model, name="suite"):
    return Subject(
        name=name, metric="attacks.suite", model=model, title="", question="", summary=""
    )


def measured(model_name, bundle, name="suite"):
    result = AttackSuite().compute(
        bundle, SuiteParams(attacks=("fgsm", "pgd"), steps=10), Context(threats=THREATS)
    )
    return Computed(about=about(model_name, name), result=result)


@pytest.fixture(scope="module")
def bundle():
    return make_bundle(AttackSuite.needs, n=80)


@pytest.fixture(scope="module")
def pair(bundle):
    train = make_bundle(AttackSuite.needs, n=80, seed=0, splits=("train", "test")).split("train")
    soft = LinearOracle.fitted(train.x, train.y, classes=3, ridge=30.0)
    return [measured("first", bundle), measured("second", replace(bundle, model=soft))]


def compare(outcomes):
    return check_result(AttackComparison().compare(outcomes, Params(), Context()))


def test_one_chart_for_each_threat_with_every_model(pair):
    result = compare(pair)
    assert len(result.figures) == 2
    for figure, symbol, points in zip(
        result.figures.values(), ("L\u221e", "L\u2082"), (3, 2), strict=True
    ):
        assert symbol in figure.title
        band, line = figure.spec["layer"]
        values = figure.spec["datasets"].values() if "datasets" in figure.spec else [
            part["data"]["values"] for part in (band, line)
        ]  # fmt: skip
        for rows in values:
            assert {row["series"] for row in rows} == {"first", "second"}
            assert len(rows) == 2 * points
    rows = result.tables["models"].rows
    assert [row[:3] for row in rows[:2]] == [
        ("first", "L\u221e", "8/255"), ("second", "L\u221e", "8/255")
    ]  # fmt: skip
    scalar = pair[0].result.scalars["robust_accuracy[linf, 8/255]"]
    assert rows[0][4] == [scalar.value, scalar.low, scalar.high]


def test_pairs_are_compared_input_by_input(pair):
    rows = compare(pair).tables["pairs"].rows
    assert len(rows) == 3
    for row, (threat, eps) in zip(
        rows, [("linf", "8/255"), ("linf", "0.2"), ("l2", "0.3")], strict=True
    ):
        a, b = (o.result.scalars[f"robust_accuracy[{threat}, {eps}]"].value for o in pair)
        assert row[4][0] == pytest.approx(a - b)
        assert (row[5] - row[6]) / row[7] == pytest.approx(a - b)
        assert row[4][1] <= row[4][0] <= row[4][2]
        assert 0 <= row[8] <= 1


def test_other_inputs_are_not_paired(pair, bundle):
    test = bundle.split("test")
    rest = replace(test, x=test.x[5:], y=test.labels[5:], index=test.index[5:])
    fewer = measured("third", replace(bundle, splits={"test": rest}))
    result = compare([pair[0], fewer])
    assert "pairs" not in result.tables
    assert "n = 75\u201380" in next(iter(result.figures.values())).caption


def test_what_was_not_measured_is_listed_with_its_reason(pair):
    skipped = Skipped(about=about("tree"), reason="the model offers no gradients")
    failed = Failed(about=about("net"), error="it left with a signal", kind="signal")
    result = compare([*pair, skipped, failed])
    assert [row[0] for row in result.tables["models"].rows[-2:]] == ["tree", "net"]
    assert [row[-1] for row in result.tables["models"].rows[-2:]] == [
        "the model offers no gradients", "it left with a signal",
    ]  # fmt: skip
    with pytest.raises(SkipMetric, match="computed for no model"):
        AttackComparison().compare([skipped, failed], Params(), Context())


def test_the_answer_names_best_and_worst(pair):
    result = compare(pair)
    best, worst = sorted(pair, key=lambda o: -o.result.scalars["robust_accuracy[linf, 0.2]"].value)
    assert result.answer.startswith("At L\u221e \u03b5 = 0.2 the attacks leave")
    if (
        best.result.scalars["robust_accuracy[linf, 0.2]"]
        != worst.result.scalars["robust_accuracy[linf, 0.2]"]
    ):
        assert result.answer.index(best.about.model) < result.answer.index(worst.about.model)
    alone = compare(pair[:1])
    assert alone.answer.startswith("Only first was measured")


def test_entries_are_kept_apart(pair, bundle):
    again = measured("first", bundle, name="second suite")
    result = compare([*pair, again])
    assert len(result.figures) == 4


def test_a_result_from_a_record_reads_the_same(pair):
    """Lists become tuples and arrays may be gone when a record is read again."""
    bare = [replace(o, result=replace(o.result, arrays={})) for o in pair]
    result = compare(bare)
    assert "pairs" not in result.tables
    assert result.tables["models"] == compare(pair).tables["models"]
    np.testing.assert_equal(list(result.figures), list(compare(pair).figures))


def test_threats_whose_names_differ_in_case_keep_their_own_arrays(bundle):
    threats = (
        ThreatModel(name="A", norm=Norm.Linf, eps=(Eps(0.3, "0.3"),)),
        ThreatModel(name="a", norm=Norm.Linf, eps=(Eps(0.01, "0.01"),)),
    )
    result = AttackSuite().compute(
        bundle, SuiteParams(attacks=("fgsm", "pgd"), steps=10), Context(threats=threats)
    )
    twins = [Computed(about=about(name), result=result) for name in ("one", "two")]
    flipped = replace(
        result,
        arrays={**result.arrays, "broken_eps.a-": np.zeros_like(result.arrays["broken_eps.a-"])},
    )
    twins[1] = replace(twins[1], result=flipped)
    rows = {row[3]: row for row in compare(twins).tables["pairs"].rows}
    assert rows["0.3"][5] == rows["0.3"][6] == 0
    assert rows["0.01"][5] > 0


def test_comparing_needs_no_torch(root):
    code = (
        "import sys; import robreport_plugins.attacks.pairs, robreport_plugins.attacks.comparison; "
        "sys.exit('torch' in sys.modules)"
    )
    path = os.pathsep.join(str(root / part) for part in (".", "plugins", "templates"))
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0
