"""Targeted threats, classes under attack, and what holds for tables."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from robreport import (
    Bundle,
    Context,
    DataSchema,
    Eps,
    ModelHandle,
    Needs,
    Norm,
    Result,
    SkipMetric,
    Split,
    ThreatModel,
)
from robreport.result import check_result
from robreport.testing import LinearOracle
from robreport.testing.models import StumpForest
from robreport_plugins.attacks.catalogue import CATALOGUE, Attack
from robreport_plugins.attacks.classes import ByClass, class_findings
from robreport_plugins.attacks.metrics import AttackSuite
from robreport_plugins.attacks.params import SuiteParams
from robreport_plugins.methods.perturb import Attempt

D = 8


def threat(norm=Norm.Linf, *eps, **more):
    values = tuple(Eps(float(e), str(e)) for e in eps or (0.1,))
    return ThreatModel(name="t", norm=norm, eps=values, **more)


def bundle_of(model, x, y, *, offers=AttackSuite.needs, **schema):
    features = tuple(f"f{i}" for i in range(x.shape[1]))
    known = {"task": "classification", "input_shape": x.shape[1:], "layout": "table",
             "bounds": (0.0, 1.0), "features": features}  # fmt: skip
    split = Split(role="test", x=x, y=y, index=np.arange(len(x)), digest="")
    return Bundle(
        model=model, splits={"test": split}, schema=DataSchema(**(known | schema)), offers=offers
    )


def linear(classes=3, n=90, seed=0, dtype=np.float64):
    oracle = LinearOracle.seeded(seed, input_shape=(D,), classes=classes)
    x = np.random.default_rng(seed).uniform(size=(n, D)).astype(dtype)
    return oracle, x, oracle.predict(x)


def audit(bundle, *threats, **params) -> Result:
    return check_result(
        AttackSuite().compute(bundle, SuiteParams(**params), Context(threats=threats))
    )


def test_a_targeted_threat_reaches_what_the_linear_model_allows():
    """Whether a class can be reached at all, a linear program decides."""
    oracle, x, y = linear()
    x = x * 0.2 + 0.4
    y = oracle.predict(x)
    eps = 0.05
    result = audit(
        bundle_of(oracle, x, y, bounds=None), threat(Norm.Linf, eps, goal="targeted"),
        attacks=["pgd"], steps=60, loss="margin",
    )  # fmt: skip
    spec = result.figures["targets.t"].spec
    drawn = {(c["true"], c["label"]): c["count"] for c in _values(spec)}
    logits, w = oracle.logits(x), oracle.weights
    reachable = np.zeros((len(x), 3), dtype=bool)
    for row, aim in product(range(len(x)), range(3)):
        if y[row] != aim:
            others = [c for c in range(3) if c != aim]
            # the largest lead of the aim over all others, by a change of at most eps
            a = np.hstack([w[others] - w[aim], np.ones((2, 1))])
            b = logits[row, aim] - logits[row, others]
            best = linprog(
                [0] * D + [-1], A_ub=a, b_ub=b, bounds=[(-eps, eps)] * D + [(None, None)]
            )
            reachable[row, aim] = -best.fun > 0
    for i, aim in product(range(3), range(3)):
        most = int(reachable[y == i][:, aim].sum())
        assert 0.9 * most - 1 <= drawn.get((str(i), str(aim)), 0) <= most
    broken = result.scalars["attack_success_rate[t, 0.05]"].value
    assert broken <= reachable.any(axis=1).mean()
    assert broken >= 0.9 * reachable.any(axis=1).mean()


def _values(spec):
    """All data values of a chart."""
    found = list(spec.get("data", {}).get("values", ()))
    for part in (*spec.get("layer", ()), *spec.get("hconcat", ())):
        found += _values(part)
    for rows in spec.get("datasets", {}).values():
        found += rows
    return found


def test_a_targeted_threat_reaches_every_leaf_of_trees_that_its_radius_allows():
    x = np.random.default_rng(2).uniform(size=(80, 2))
    stumps = StumpForest.fitted(x, x[:, 0] > 0.5, outputs=2, task="classification")
    y = np.asarray(stumps.predict(x))
    offers = Needs.LABELS | Needs.CLASSIFICATION | Needs.PROBABILITIES | Needs.TREES
    result = audit(
        bundle_of(stumps, x, y, offers=offers), threat(Norm.Linf, 0.1, goal="targeted"),
        attacks=["trees"],
    )  # fmt: skip
    drawn = {(c["true"], c["label"]): c["count"]
             for c in _values(result.figures["targets.t"].spec)}  # fmt: skip
    # whatever a stump asks for, a grid of changes finds nearly all that can be moved
    steps = np.linspace(-0.1, 0.1, 201)
    moved = np.zeros(len(x), dtype=bool)
    for change in product(steps, (-0.1, -0.05, 0.0, 0.05, 0.1)):
        moved |= np.asarray(stumps.predict(np.clip(x + change, 0, 1))) != y
    assert moved.any()
    assert not moved.all()
    for i in (0, 1):
        assert drawn[str(i), str(1 - i)] == moved[y == i].sum()
    # what lies beyond the radius is no claim
    assert not result.caveats


def test_an_attack_that_cannot_aim_is_left_out():
    oracle, x, y = linear()
    with pytest.raises(SkipMetric, match=r"Noise \(cannot aim at a class\)"):
        audit(bundle_of(oracle, x, y), threat(goal="targeted"), attacks=["noise"])


def test_a_black_box_attacker_sees_no_gradients():
    oracle, x, y = linear()
    with pytest.raises(SkipMetric, match=r"PGD \(looks into the model"):
        audit(bundle_of(oracle, x, y), threat(knowledge="black box"), attacks=["pgd", "noise"])


class Asked(ModelHandle):
    """A linear model that gives classes only, and keeps what it is asked."""

    offers = Needs.CLASSIFICATION

    def __init__(self, oracle):
        super().__init__()
        self.oracle, self.n_outputs, self.asked = oracle, oracle.n_outputs, []

    def predict(self, x):
        self.asked.append(np.array(x))
        return self.oracle.predict(x)


def test_a_model_without_gradients_is_skipped_where_no_attack_can_do_without():
    oracle, x, y = linear()
    given = bundle_of(Asked(oracle), x, y, offers=Needs.LABELS | Needs.CLASSIFICATION)
    with pytest.raises(
        SkipMetric, match=r"PGD \(needs gradients, which the model does not offer\)"
    ):
        audit(given, threat(), attacks=["pgd", "noise"])
    needs = AttackSuite.needs_of
    assert Needs.GRADIENTS in needs(SuiteParams(attacks=["fgsm", "pgd"]))


def search(oracle):
    """A decision-only attack for the test: straight towards the nearest boundary."""

    def run(case, params):
        x = case.data
        logits = oracle.logits(x)
        rival = np.where(np.eye(oracle.n_outputs)[oracle.predict(x)] > 0, -np.inf, logits).argmax(1)
        step = oracle.weights[rival] - oracle.weights[oracle.predict(x)]
        # as far as anybody could want: where it lands is the suite's affair
        moved = torch.from_numpy(np.sign(step) * 10.0).float()
        return Attempt(x_adv=case.x + moved, claimed=torch.zeros(len(x), dtype=torch.bool),
                       gradients=0, queries=1)  # fmt: skip

    return Attack(
        name="pgd", title="Asker", norms=frozenset(Norm), sees="decisions", kind="minimal",
        run=run, budget=lambda params: (1, 1),
    )  # fmt: skip


@pytest.mark.parametrize("scale", ["none", "std", "range"])
def test_tables_stay_valid_whatever_an_attack_returns(scale, monkeypatch):
    oracle, x, _ = linear(n=60)
    x[:, 2] = np.arange(60) % 4
    x[:, 3] = np.arange(60) % 3
    x[:, 4:7] = np.eye(3)[np.arange(60) % 3]
    y = oracle.predict(x)
    model = Asked(oracle)
    monkeypatch.setitem(CATALOGUE, "pgd", search(oracle))
    given = bundle_of(
        model, x, y, offers=Needs.LABELS | Needs.CLASSIFICATION, bounds=None, frozen=("f0",),
        integer=("f2",), categories={"f3": ("a", "b", "c")},
    )  # fmt: skip
    rules = threat(
        Norm.Linf, 0.5, 2.0, scale=scale, frozen=("f1",), increase=("f7",),
        one_hot=(("f4", "f5", "f6"),),
    )  # fmt: skip
    result = audit(given, rules, attacks=["pgd"])
    for asked in model.asked:
        assert (asked[:, 2] == np.rint(asked[:, 2])).all()
        assert np.isin(asked[:, 3], (0, 1, 2)).all()
        assert (np.sort(asked[:, 4:7], axis=1) == [0, 0, 1]).all()
        assert {r.tobytes() for r in asked[:, :2]} <= {r.tobytes() for r in x[:, :2]}
    caption = result.tables["worst_case"].caption
    categories = "From one category to another, a change of size 1: f3, {f4, f5, f6}."
    for words in ("Held fixed: f0, f1.", "Only growing: f7.", "Whole numbers: f2.", categories):
        assert words in caption
    if scale == "std":
        assert "ε is in standard deviations of each column." in caption
    worst = [result.scalars[f"robust_accuracy[t, {e}]"].value for e in (0.5, 2.0)]
    assert worst[1] <= worst[0] < 1


def test_one_run_of_a_minimal_attack_serves_every_radius(monkeypatch):
    """Judged at each radius by the suite: the same counts as the exact minimal norms give."""
    oracle, x, y = linear(classes=2)
    exact = oracle.min_norm(x, y, Norm.L2)
    w = oracle.weights[1] - oracle.weights[0]
    runs = []

    def run(case, params):
        runs.append(len(case.rows))
        sign = np.where(oracle.predict(case.data) == 1, -1.0, 1.0)[:, None]
        away = sign * w / np.linalg.norm(w) * exact[case.rows][:, None] * 1.001
        return Attempt(x_adv=case.x + torch.from_numpy(away).float(),
                       claimed=torch.ones(len(case.rows), dtype=torch.bool),
                       gradients=7 * len(case.rows), queries=0)  # fmt: skip

    monkeypatch.setitem(CATALOGUE, "pgd", replace(CATALOGUE["pgd"], kind="minimal", run=run))
    radii = [round(float(np.quantile(exact, q)) * 1.01, 6) for q in (0.2, 0.5, 0.9)]
    result = audit(bundle_of(oracle, x, y, bounds=None), threat(Norm.L2, *radii), attacks=["pgd"])
    assert sum(runs) == len(x)
    for eps in radii:
        found = result.scalars[f"robust_accuracy[t, {eps}]"].value
        assert found == pytest.approx(np.mean(exact * 1.001 > eps), abs=1e-9)
    table = result.tables["attacks"]
    place = [c.key for c in table.columns].index("gradients")
    assert sorted(row[place] for row in table.rows) == [0, 0, 7 * len(x)]


@pytest.mark.parametrize("name", ["hopskipjump", "search"])
def test_rows_of_the_data_with_missing_values_are_no_beginnings(name):
    oracle, x, y = linear(2, n=40)
    given = bundle_of(oracle, x, y, offers=AttackSuite.needs | Needs.PROBABILITIES)
    whole = np.random.default_rng(3).uniform(size=(2100, D))
    holed = whole[:10].copy()
    holed[:, 2] = np.nan
    taken = []
    for data in (whole[:2000], np.concatenate([holed, whole])):
        train = Split(role="train", x=data, y=np.zeros(len(data), dtype=np.int64),
                      index=np.arange(len(data)), digest="")  # fmt: skip
        bundle = replace(given, splits={**given.splits, "train": train})
        taken.append(audit(bundle, threat(Norm.Linf, 0.1), attacks=[name], queries=200))
    assert taken[0].scalars[f"attack_success_rate[t, 0.1, {name}]"].value > 0.2
    assert taken[0].tables["attacks"].rows == taken[1].tables["attacks"].rows


@pytest.mark.parametrize("name", ["hopskipjump", "search", "trees"])
def test_a_search_over_data_without_a_whole_row_begins_elsewhere(name):
    x = np.random.default_rng(2).uniform(size=(40, 2))
    stumps = StumpForest.fitted(x, x[:, 0] > 0.5, outputs=2, task="classification")
    offers = Needs.LABELS | Needs.CLASSIFICATION | Needs.PROBABILITIES | Needs.TREES
    given = bundle_of(stumps, x, np.asarray(stumps.predict(x)), offers=offers)
    holed = np.full((5, 2), np.nan)
    train = Split(role="train", x=holed, y=np.zeros(5, int), index=np.arange(5), digest="")
    bundle = replace(given, splits={**given.splits, "train": train})
    result = audit(bundle, threat(Norm.Linf, 0.5), attacks=[name], queries=200)
    assert result.scalars["attack_success_rate[t, 0.5]"].value > 0


def test_the_class_that_falls_first_is_named():
    """A class that stands next to the boundary, and one that stands far from it."""
    oracle = LinearOracle(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.zeros(2), input_shape=(2,))
    rng = np.random.default_rng(0)
    near = np.stack([rng.uniform(0.01, 0.05, 60), rng.uniform(-1, 1, 60)], axis=1)
    far = np.stack([rng.uniform(-0.9, -0.5, 60), rng.uniform(-1, 1, 60)], axis=1)
    x, y = np.concatenate([near, far]), np.repeat([0, 1], 60)
    result = audit(
        bundle_of(oracle, x, y, bounds=(-1.0, 1.0), classes=("near", "far")),
        threat(Norm.Linf, 0.1), attacks=["fgsm", "pgd"],
    )  # fmt: skip
    table = result.tables["classes.t"]
    rows = {row[0]: row for row in table.rows}
    assert rows["near"][3][0] == 0.0
    assert rows["far"][3][0] == 1.0
    assert rows["near"][4] == "far (60)"
    assert "Least robust: class near (0.0 % at L∞ ε = 0.1)." in result.answer
    assert any("Class near falls first" in f.claim for f in result.findings)
    cells = {(c["true"], c["label"]): c["count"] for c in _values(result.figures["labels.t"].spec)}
    assert cells == {("near", "far"): 60, ("far", "far"): 60}


@pytest.mark.parametrize(
    ("right", "robust", "named"),
    [
        ([500, 500], [100, 400], "0"),
        ([500, 500, 2], [100, 400, 0], "0"),
        ([500, 500, 2], [300, 450, 0], "0"),
        ([500, 500, 500], [100, 50, 400], "1"),
        ([500, 500, 2], [400, 400, 0], None),
        ([500, 500], [400, 400], None),
        ([100000, 100000], [50000, 55000], None),
    ],
)
def test_a_class_of_few_inputs_silences_no_other(right, robust, named):
    classes = ByClass(
        threat=threat(), eps=Eps(0.1, "0.1"), names=tuple(str(i) for i in range(len(right))),
        matrix=np.diag(right), right=np.array(right), robust=np.array(robust),
    )  # fmt: skip
    found = [f.affected for f in class_findings(classes, "classes.t")]
    assert found == ([] if named is None else [named])


def test_twice_the_steps_are_tried_on_what_is_left():
    oracle, x, y = linear(n=200)
    result = audit(bundle_of(oracle, x, y), threat(Norm.L2, 0.3), attacks=["pgd"], steps=2,
                   step=0.01, random_start=False)  # fmt: skip
    codes = {caveat.code for caveat in result.caveats}
    assert {"not-converged", "stronger-black-box"} <= codes
    enough = audit(bundle_of(oracle, x, y), threat(Norm.L2, 0.3), attacks=["pgd"], steps=60,
                   loss="margin", random_start=False)  # fmt: skip
    assert not enough.caveats


def test_changed_rows_are_told_in_the_words_of_the_data():
    """Categories by name, whole numbers in full, and what changed most in units of its own."""

    class Bought(ModelHandle):
        """Yes to a cook with more than 5,000."""

        def predict(self, x):
            return ((x[:, 0] == 2) & (x[:, 1] > 5000)).astype(np.int64)

        def predict_proba(self, x):
            yes = 0.5 * (x[:, 0] == 2) + 0.4 * np.clip(x[:, 1] / 5000, 0, 1.1) + 0.05
            return np.stack([1 - yes, yes], axis=1)

    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(0, 3, 60), rng.integers(0, 9000, 60)], axis=1).astype(float)
    x[:2] = (2, 7000), (0, 8000)
    model = Bought()
    model.n_outputs = 2
    bundle = bundle_of(
        model, x, model.predict(x),
        offers=Needs.LABELS | Needs.CLASSIFICATION | Needs.PROBABILITIES,
        features=("job", "gain"), bounds=((0.0, 0.0), (2.0, 9000.0)), integer=("gain",),
        categories={"job": ("clerk", "monk", "cook")},
    )  # fmt: skip
    rows = (
        audit(bundle, threat(Norm.L0, 1), gallery=20, attacks=["search"]).tables["examples.t"].rows
    )
    told = {row[0]: row[-1] for row in rows}
    assert re.fullmatch(r"(job: cook \u2192 (clerk|monk))|(gain: 7,000 \u2192 [0-9.,]+)", told[0])
    assert told[1] == "job: clerk \u2192 cook"
    assert all("job: 0" not in words and "e+" not in words for words in told.values())
