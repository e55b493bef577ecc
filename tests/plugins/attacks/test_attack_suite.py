"""`attacks.suite` against the linear oracle, on hostile models and at the edges of the data."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robreport import (
    Bundle,
    Context,
    DataError,
    DataSchema,
    Eps,
    ModelError,
    ModelHandle,
    Needs,
    Norm,
    Result,
    SkipMetric,
    Split,
    ThreatModel,
)
from robreport.result import check_result
from robreport.testing import LinearOracle, make_bundle
from robreport_plugins.attacks import retries
from robreport_plugins.attacks.catalogue import CATALOGUE, Attack
from robreport_plugins.attacks.choice import named
from robreport_plugins.attacks.metrics import AttackSuite
from robreport_plugins.attacks.params import SuiteParams
from robreport_plugins.attacks.summary import median_radius
from robreport_plugins.methods.perturb import Attempt
from robreport_plugins.methods.perturb_confine import sizes

CONVEX = (Norm.L1, Norm.L2, Norm.Linf)
D = 12


class Wrapped(ModelHandle):
    """A torch module as a model."""

    def __init__(self, module: nn.Module, classes: int) -> None:
        super().__init__()
        self.module, self.n_outputs = module.eval(), classes

    def predict(self, x):
        with torch.no_grad():
            return self.module(torch.tensor(x, dtype=torch.float32)).argmax(1).numpy()

    def torch_module(self):
        return self.module


def threat(norm, *eps, name="t", **more):
    values = tuple(Eps(float(e), str(e)) for e in eps)
    return ThreatModel(name=name, norm=norm, eps=values, **more)


def bundle_of(model, x, y, *, bounds=(0.0, 1.0), layout="table", classes=()):
    split = Split(role="test", x=x, y=y, index=np.arange(len(x)) + 100, digest="")
    schema = DataSchema(
        task="classification",
        input_shape=x.shape[1:],
        layout=layout,
        classes=classes,
        bounds=bounds,
    )
    return Bundle(model=model, splits={"test": split}, schema=schema, offers=AttackSuite.needs)


def linear(n=120, seed=0, classes=2, dtype=np.float32):
    oracle = LinearOracle.seeded(seed, input_shape=(D,), classes=classes)
    x = np.random.default_rng(seed).uniform(size=(n, D)).astype(dtype)
    return oracle, x, oracle.predict(x)


def audit(bundle, *threats, seed=0, progress=lambda *_: None, **params) -> Result:
    params.setdefault("attacks", ("fgsm", "pgd", "noise"))
    context = Context(threats=threats, seed=seed, progress=progress)
    return check_result(AttackSuite().compute(bundle, SuiteParams(**params), context))


def failed(result):
    return {caveat.code for caveat in result.caveats}


@pytest.mark.parametrize("norm", CONVEX)
def test_robust_accuracy_is_the_linear_model_s_own(norm):
    oracle, x, y = linear()
    y = y.copy()
    y[:10] = 1 - y[:10]  # wrong without an attack: not robust, and not a success
    exact = oracle.min_norm(x, y, norm, (0.0, 1.0))
    radii = [round(float(np.quantile(exact, q)), 4) for q in (0.3, 0.6, 0.9)]
    result = audit(bundle_of(oracle, x, y), threat(norm, *radii))
    n = len(x)
    assert result.scalars["clean_accuracy"].value == (n - 10) / n
    for eps in radii:
        scalar = result.scalars[f"robust_accuracy[t, {eps}]"]
        assert scalar.value == oracle.robust_accuracy(x, y, norm, eps, (0.0, 1.0))
        assert (scalar.n, scalar.bound, scalar.better) == (n, "upper", "higher")
        assert scalar.low < scalar.value < scalar.high
        success = result.scalars[f"attack_success_rate[t, {eps}]"]
        assert success.n == n - 10
        assert success.value == pytest.approx(((exact <= eps).sum() - 10) / (n - 10))
    expected = np.full(n, np.inf)
    for eps in reversed(radii):
        expected[exact <= eps] = eps
    expected[:10] = 0
    np.testing.assert_array_equal(result.arrays["broken_eps.t"], expected)
    assert result.scalars["median_broken_eps[t]"].value == np.sort(expected)[(n - 1) // 2]
    assert not failed(result)
    assert all(check.passed for check in result.checks)
    np.testing.assert_array_equal(result.arrays["index"], np.arange(n) + 100)


def test_which_attack_broke_which_example():
    oracle, x, y = linear(n=60)
    result = audit(
        bundle_of(oracle, x, y), threat(Norm.Linf, 0.05, 0.2), attacks=["noise", "fgsm", "pgd"]
    )
    each = {name: result.arrays[f"broken_eps.t.{name}"] for name in ("noise", "fgsm", "pgd")}
    np.testing.assert_array_equal(result.arrays["broken_eps.t"], np.min([*each.values()], axis=0))
    for name, least in each.items():
        share = result.scalars[f"attack_success_rate[t, 0.05, {name}]"].value
        assert (least <= 0.05).mean() == pytest.approx(share)
    # against two linear classes one step is as good as any, and noise is not
    assert (each["noise"] > each["fgsm"]).any()


def test_a_preset_brings_its_published_budget_unless_the_audit_sets_one():
    def budgets(**given):
        params = SuiteParams(**given)
        return {a.name: a.budget(a.settings(params)) for a in named(params)}

    published = {"apgd-ce": (100, 1), "apgd-t": (100, 1), "fab": (100, 1), "square": (5000, 1)}
    assert budgets(attacks=["autoattack"]) == published
    # named twice, the published budget holds, and other attacks keep theirs
    both = {"fgsm": (1, 1), "pgd": (40, 1), "noise": (1, 10)}
    for order in (["default", "autoattack"], ["autoattack", "default"]):
        found = budgets(attacks=order)
        assert published.items() | both.items() <= found.items()
    assert budgets(attacks=["autoattack"], steps=7, queries=50) == {
        "apgd-ce": (7, 1), "apgd-t": (7, 1), "fab": (7, 1), "square": (50, 1),
    }  # fmt: skip
    assert budgets(attacks=["autoattack-random"]).keys() == {"apgd-ce-eot", "apgd-dlr-eot"}


def test_searches_share_the_steps_that_the_table_shows():
    oracle, x, y = linear(n=20)
    result = audit(bundle_of(oracle, x, y), threat(Norm.L2, 0.2), attacks=["cw"], steps=30)
    table = result.tables["attacks"]
    places = [[c.key for c in table.columns].index(k) for k in ("steps", "restarts", "gradients")]
    ((steps, restarts, gradients),) = ([row[i] for i in places] for row in table.rows)
    assert (steps, restarts) == (30, 1)
    assert 0 < gradients <= steps * len(x)


def test_several_threats_share_the_work_of_a_norm_and_keep_their_own_grids():
    oracle, x, y = linear()
    calls = []
    both = audit(
        bundle_of(oracle, x, y),
        threat(Norm.Linf, 0.05, name="small"),
        threat(Norm.Linf, 0.2, 0.05, name="Wide"),
        threat(Norm.L2, 0.3, name="l2"),
        progress=lambda done, total, what: calls.append((done, total, what)),
        attacks=("fgsm", "pgd"),
    )
    a, b = both.scalars["robust_accuracy[small, 0.05]"], both.scalars["robust_accuracy[Wide, 0.05]"]
    assert a == b
    assert both.scalars["robust_accuracy[Wide, 0.2]"].value < a.value
    assert {"broken_eps.small", "broken_eps.wide", "broken_eps.l2"} <= set(both.arrays)
    rows = both.tables["attacks"].rows
    assert len(rows) == 6  # two attacks, three different places
    robust = [row[7][0] for row in rows]
    assert robust == sorted(robust)
    assert [row[2] for row in both.tables["worst_case"].rows] == ["0.05", "0.2", "0.05", "0.3"]
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert done[-1] == calls[-1][1] == 6 * len(x)
    alone = audit(bundle_of(oracle, x, y), threat(Norm.L2, 0.3, name="l2"))
    assert alone.scalars["robust_accuracy[l2, 0.3]"] == both.scalars["robust_accuracy[l2, 0.3]"]


def test_no_radius_means_no_attack():
    oracle, x, y = linear()
    result = audit(bundle_of(oracle, x, y), threat(Norm.L2, 0))
    assert result.scalars["robust_accuracy[t, 0]"].value == 1.0
    assert result.scalars["attack_success_rate[t, 0]"].value == 0.0
    median = result.scalars["median_broken_eps[t]"]
    assert (median.value, median.censored, median.low) == (0.0, ">", None)
    assert not result.findings


def test_a_radius_beyond_the_data():
    oracle, x, y = linear()
    result = audit(bundle_of(oracle, x, y), threat(Norm.Linf, 0.01, 50))
    assert result.scalars["robust_accuracy[t, 50]"].value == 0.0
    (finding,) = result.findings
    assert finding.severity == "high"
    assert "guessing" not in finding.claim or "2 classes" in finding.claim


@pytest.mark.parametrize(
    ("broken", "spared", "value", "censored"),
    [(2, 2, 0.1, ""), (1, 1, 0.1, ""), (500, 500, 0.1, ""), (499, 501, 0.2, ">"), (1, 2, 0.2, ">")],
)
def test_the_median_is_censored_when_more_than_half_withstand(broken, spared, value, censored):
    values = np.array([np.inf] * spared + [0.1] * broken)
    median = median_radius(values, 0.2, "median")
    assert (median.value, median.censored) == (value, censored)
    if censored:
        assert median.reason.startswith("more than half")


def test_one_example():
    oracle, x, y = linear(n=1)
    result = audit(bundle_of(oracle, x, y), threat(Norm.L2, 5))
    assert result.scalars["robust_accuracy[t, 5]"].n == 1
    assert result.scalars["median_broken_eps[t]"].reason.startswith("no interval: 1 inputs")


def test_nothing_is_right_so_nothing_can_be_broken():
    oracle, x, y = linear()
    result = audit(bundle_of(oracle, x, 1 - y), threat(Norm.L2, 0.5))
    assert result.scalars["robust_accuracy[t, 0.5]"].value == 0.0
    refused = result.scalars["attack_success_rate[t, 0.5]"]
    assert refused.value is None
    assert "none of the inputs right" in refused.reason
    assert "gets none of 120 test inputs right" in result.answer
    assert result.scalars["median_broken_eps[t]"].value == 0.0


def test_a_single_class_in_the_data():
    oracle, x, y = linear()
    result = audit(bundle_of(oracle, x[y == 1], y[y == 1]), threat(Norm.Linf, 0.1))
    assert 0 < result.scalars["robust_accuracy[t, 0.1]"].value < 1


def test_samples():
    oracle, x, y = linear()
    few = audit(bundle_of(oracle, x, y), threat(Norm.L2, 0.2), samples=7)
    assert few.scalars["clean_accuracy"].n == 7
    everything = audit(bundle_of(oracle, x, y), threat(Norm.L2, 0.2), samples="all", batch_size=11)
    assert everything.scalars["clean_accuracy"].n == 120


def test_batches_of_any_size_agree_without_random_starts():
    oracle, x, y = linear(classes=4)
    found = [
        audit(
            bundle_of(oracle, x, y), threat(Norm.L1, 0.5, 1.5), batch_size=size, random_start=False
        )
        for size in (7, 50, 1000)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.arrays["broken_eps.t"], found[0].arrays["broken_eps.t"])


@pytest.mark.parametrize("norm", CONVEX)
def test_tables_in_float64_with_bounds_for_each_feature(norm):
    # Columns of very different scale: float32 cannot hold x + eps of the large ones.
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 1e5, 1e-3, 1.0])
    x = rng.uniform(size=(80, 4)) * scale
    oracle = LinearOracle.binary(1 / scale, -2.0)
    y = oracle.predict(x)
    bounds = (tuple(np.zeros(4)), tuple(scale))
    seen = []

    class Recording(Wrapped):
        def predict(self, x):
            seen.append(np.array(x))
            return oracle.predict(x)

    model = Recording(oracle.torch_module(), 2)
    bundle = bundle_of(model, x, y, bounds=bounds)
    bundle = replace(bundle, schema=replace(bundle.schema, features=("a", "b", "c", "d")))
    eps = 0.05
    result = audit(bundle, threat(norm, eps), attacks=["pgd"], gallery=3)
    assert result.scalars["robust_accuracy[t, 0.05]"].value < 1
    x_adv = seen[2]  # after the clean inputs, twice
    assert (sizes(x, x_adv, norm) <= eps * (1 + 1e-9)).all()
    assert ((x_adv >= 0) & (x_adv <= scale)).all()
    table = result.tables["examples.t"]
    assert 0 < len(table.rows) <= 3
    assert "\u2192" in table.rows[0][-1]
    assert not result.images


@pytest.mark.parametrize(("channels", "ndim"), [(1, 4), (3, 5), (2, 4)])
def test_the_gallery_of_pictures(channels, ndim):
    shape = (channels, 4, 4)
    oracle = LinearOracle.seeded(0, input_shape=shape, classes=2)
    x = np.random.default_rng(0).uniform(size=(30, *shape)).astype(np.float32)
    bundle = bundle_of(oracle, x, oracle.predict(x), layout="image", classes=("<b>cat</b>", "dog"))
    result = audit(bundle, threat(Norm.Linf, 0.3), gallery=4)
    grid = result.images["gallery.t"]
    assert grid.images.shape[:4] == (4, 3, 4, 4)
    assert grid.images.ndim == ndim
    assert grid.column_labels == ("clean", "perturbed", "perturbation, scaled")
    assert "scaled: mid-grey is no change" in grid.caption
    assert len(grid.cell_labels) == len(grid.row_labels) == 4
    row = int(grid.row_labels[0].removeprefix("row ")) - 100
    expected = np.rint(x[row].mean(0) * 255) if channels == 2 else np.rint(x[row][0] * 255)
    shown = grid.images[0, 0, :, :, 0] if channels == 3 else grid.images[0, 0]
    assert np.abs(shown.astype(int) - expected).max() <= 1
    none = audit(bundle, threat(Norm.Linf, 0.3), gallery=0)
    assert not none.images


def test_data_without_bounds_or_a_shape_of_its_own():
    oracle = LinearOracle.seeded(0, input_shape=(2, 6), classes=3)
    x = np.random.default_rng(0).normal(size=(40, 2, 6)).astype(np.float32) * 50
    result = audit(
        bundle_of(oracle, x, oracle.predict(x), bounds=None, layout="array"), threat(Norm.L2, 20)
    )
    exact = oracle.min_norm(x, oracle.predict(x), Norm.L2)
    assert result.scalars["robust_accuracy[t, 20]"].value == pytest.approx(
        (exact > 20).mean(), abs=0.05
    )
    assert not result.images
    assert set(result.tables) == {"worst_case", "attacks", "classes.t"}


def test_the_answer_is_made_from_the_numbers():
    oracle, x, y = linear()
    result = audit(bundle_of(oracle, x, y), threat(Norm.Linf, 0.1), threat(Norm.L2, 0.3, name="u"))
    for name in ("robust_accuracy[t, 0.1]", "robust_accuracy[u, 0.3]"):
        assert f"{100 * result.scalars[name].value:.1f} %" in result.answer
    assert "120 test inputs" in result.answer


# ---------------------------------------------------------------- models that defend themselves


class Chain(nn.Module):
    def __init__(self, before, inner, after):
        super().__init__()
        self.before, self.inner, self.after = before, inner, after

    def forward(self, x):
        return self.after(self.inner(self.before(x)))


def same(x):
    return x


def disguised(before=same, after=same, n=80):
    oracle, x, _y = linear(n=n)
    model = Wrapped(Chain(before, oracle.torch_module(), after), 2)
    return bundle_of(model, x, model.predict(x))


def test_an_undefended_model_raises_no_caveat():
    assert not failed(
        audit(disguised(), threat(Norm.Linf, 0.05, 0.2), threat(Norm.L1, 1, name="u"))
    )


def test_a_saturated_softmax_is_caught():
    result = audit(disguised(after=lambda z: z * 1e5), threat(Norm.Linf, 0.05, 0.2))
    assert {"zero-gradients", "gradient-masking-suspected"} <= failed(result)
    margin = audit(disguised(after=lambda z: z * 1e5), threat(Norm.Linf, 0.05, 0.2), loss="margin")
    assert not failed(margin)


def test_a_quantising_front_layer_is_caught():
    result = audit(disguised(before=lambda x: torch.round(x * 4) / 4 + 0 * x), threat(Norm.L2, 0.5))
    assert {"zero-gradients", "gradient-masking-suspected"} <= failed(result)


def ten_classes(module, n=120):
    """A linear model of ten classes behind a disguise: a function of (network, input)."""

    class Disguised(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = oracle.torch_module()

        def forward(self, x):
            return module(self.inner, x)

    oracle = LinearOracle.seeded(4, input_shape=(30,), classes=10)
    x = np.random.default_rng(4).uniform(0, 1, size=(n, 30))
    model = Wrapped(Disguised(), 10)
    exact = oracle.min_norm(x, oracle.predict(x), Norm.Linf, (0.0, 1.0))
    return bundle_of(model, x, model.predict(x)), exact


def test_outputs_of_a_scale_on_which_the_loss_misleads_are_caught():
    honest, exact = ten_classes(lambda inner, x: inner(x))
    eps = round(float(np.quantile(exact, 0.5)), 4)
    attacks = {"attacks": ["fgsm", "pgd"], "restarts": 1}
    assert not failed(audit(honest, threat(Norm.Linf, eps), **attacks))
    tiny, _ = ten_classes(lambda inner, x: inner(x) * 1e-6)
    result = audit(tiny, threat(Norm.Linf, eps), **attacks)
    assert "other-loss-stronger" in failed(result)
    (check,) = [c for c in result.checks if c.name.startswith("another loss")]
    assert "PGD that follows the margin broke" in check.detail
    # the loss that does not depend on the scale finds what the honest model gives
    margin = audit(tiny, threat(Norm.Linf, eps), loss="margin", **attacks)
    assert not failed(margin)
    found = margin.scalars[f"robust_accuracy[t, {eps}]"].value
    assert found == pytest.approx((exact > eps).mean(), abs=0.02)


@pytest.mark.slow
def test_gradients_that_mislead_are_caught_though_no_attack_of_the_suite_asks(monkeypatch):
    monkeypatch.setattr(retries, "QUESTIONS", 300)
    honest, exact = ten_classes(lambda inner, x: inner(x))
    eps = round(float(np.quantile(exact, 0.3)), 4)
    away = 1e-3 * torch.randn(30, 10, generator=torch.Generator().manual_seed(1))
    lure, _ = ten_classes(lambda inner, x: inner(x.detach()) + x @ away)
    for names in (["fgsm", "pgd"], ["minimal"]):
        assert not failed(audit(honest, threat(Norm.Linf, 3 * eps), attacks=names))
        result = audit(lure, threat(Norm.Linf, 3 * eps), attacks=names)
        assert "stronger-black-box" in failed(result)
    (check,) = [c for c in result.checks if c.name.startswith("black-box")]
    assert "Square, which asks only, broke" in check.detail


@pytest.mark.slow
def test_attacks_towards_a_class_are_tested_too(monkeypatch):
    monkeypatch.setattr(retries, "QUESTIONS", 300)
    aimed = threat(Norm.Linf, 0.1, goal="targeted")
    settings = {"attacks": ["pgd"], "targets": 3, "steps": 20, "restarts": 1}
    honest, _ = ten_classes(lambda inner, x: inner(x))
    assert not failed(audit(honest, aimed, loss="margin", **settings))
    away = 1e-3 * torch.randn(30, 10, generator=torch.Generator().manual_seed(1))
    lure, _ = ten_classes(lambda inner, x: inner(x.detach()) + x @ away)
    result = audit(lure, aimed, **settings)
    assert "stronger-black-box" in failed(result)
    (check,) = [c for c in result.checks if c.name.startswith("black-box")]
    assert re.search(r"towards class \d: robust accuracy falls", check.detail)
    tiny, _ = ten_classes(lambda inner, x: inner(x) * 1e-6)
    assert "other-loss-stronger" in failed(audit(tiny, aimed, **settings))


def test_scores_that_mislead_every_attack_are_caught():
    """The class is the honest one, and all that is seen beside it points back to it."""

    def lure(inner, x):
        z = inner(x)
        return 10.0 * torch.nn.functional.one_hot(z.argmax(1), z.shape[1]) - 0.01 * z

    honest, exact = ten_classes(lambda inner, x: inner(x))
    eps = round(float(np.quantile(exact, 0.5)), 4)
    settings = {"attacks": ["default"], "queries": 50}
    assert not failed(audit(honest, threat(Norm.Linf, eps), **settings))
    result = audit(ten_classes(lure)[0], threat(Norm.Linf, eps), **settings)
    assert result.scalars[f"robust_accuracy[t, {eps}]"].value > (exact > eps).mean() + 0.1
    assert "survives-everything" in failed(result)


def test_steps_that_reach_no_further_than_the_radii_are_no_alarm():
    """What crosses the data's range takes steps of its own."""
    honest, exact = ten_classes(lambda inner, x: inner(x))
    eps = round(float(np.quantile(exact, 0.5)), 4)
    for settings in ({"step": eps / 4, "steps": 8}, {"relative_step": 1.0, "steps": 20}):
        given = audit(honest, threat(Norm.Linf, eps), attacks=["pgd"], restarts=1, **settings)
        assert "survives-everything" not in failed(given)


def test_answers_that_change_with_the_questions_are_caught():
    """The same twice at the beginning, and another after so many calls."""
    calls = []

    def tiring(inner, x):
        calls.append(len(x))
        given = inner(x)
        return given if len(calls) < 60 else given.flip(1)

    tired, _ = ten_classes(tiring)
    assert "random-output" in failed(audit(tired, threat(Norm.Linf, 0.1), attacks=["pgd"]))
    # what a batch is made of decides
    batched, _ = ten_classes(lambda inner, x: inner(x - x.mean(0) + 0.5))
    assert "random-output" in failed(audit(batched, threat(Norm.Linf, 0.1), attacks=["pgd"]))


def test_random_noise_is_caught():
    generator = torch.Generator().manual_seed(0)
    result = audit(
        disguised(before=lambda x: x + 0.2 * torch.randn(x.shape, generator=generator)),
        threat(Norm.Linf, 0.1),
    )
    assert "random-output" in failed(result)


def test_a_model_that_draws_lots_is_not_another_model():
    noisy = disguised(before=lambda x: x + 0.3 * torch.randn_like(x))
    result = audit(noisy, threat(Norm.Linf, 0.02))
    (vital,) = (check for check in result.checks if check.vital)
    assert (vital.name, vital.passed) == ("the output is deterministic", False)
    assert "gradients-of-another-model" not in failed(result)


@pytest.mark.parametrize("order", [("fgsm", "pgd", "square"), ("square", "pgd", "fgsm")])
def test_the_gallery_shows_the_first_inputs_of_the_data_that_broke(order):
    model, x, y = linear(n=60)
    result = audit(bundle_of(model, x, y), threat(Norm.Linf, 0.05, 0.2), attacks=order, gallery=4)
    broke = np.flatnonzero(np.isfinite(result.arrays["broken_eps.t"]))
    assert sorted(result.arrays["shown_index.t"]) == result.arrays["index"][broke[:4]].tolist()


class Says(ModelHandle):
    """A model that gives classes and nothing else."""

    n_outputs = 2

    def __init__(self, inner):
        self.inner = inner

    def predict(self, x):
        return self.inner.predict(x)


def test_attacks_that_were_asked_for_and_left_out_are_named_with_the_reason():
    model, x, y = linear(n=30)
    given = replace(bundle_of(Says(model), x, y), offers=Needs.LABELS | Needs.CLASSIFICATION)
    few = {"queries": 60, "steps": 5}
    default = {"attacks": ["default"], **few}
    told = audit(given, threat(Norm.Linf, 0.2), **default).tables["attacks"].caption
    assert "Left out: FGSM, PGD, APGD-T (needs gradients, which the model does not" in told
    assert "Square, Greedy search (needs scores, and the model gives classes only)." in told
    named = audit(given, threat(Norm.Linf, 0.2), attacks=["ddn", "hopskipjump"], **few)
    assert "Left out: DDN (does not work in L\u221e)." in named.tables["attacks"].caption
    whole = audit(bundle_of(model, x, y), threat(Norm.Linf, 0.2), **default)
    assert "Left out" not in whole.tables["attacks"].caption


def test_a_threat_that_no_attack_is_for_leaves_the_others():
    model, x, y = linear(n=30)
    given = replace(bundle_of(Says(model), x, y), offers=Needs.LABELS | Needs.CLASSIFICATION)
    both = threat(Norm.Linf, 0.2), threat(Norm.L1, 1.0, name="few")
    result = audit(given, *both, attacks=["hopskipjump"], queries=60)
    broke = np.isfinite(result.arrays["broken_eps.t"])
    assert 0 < broke.sum() < 30
    assert result.scalars["robust_accuracy[t, 0.2]"].value == pytest.approx(1 - broke.mean())
    refused = result.scalars["robust_accuracy[few, 1.0]"]
    assert refused.value is None
    assert refused.reason == "no attack can be run: HopSkipJump (does not work in L\u2081)"
    with pytest.raises(SkipMetric, match=r"run: PGD \(needs gradients.*\); HopSkipJump \(does not"):
        audit(given, threat(Norm.L1, 1.0), attacks=["pgd", "hopskipjump"])


def test_probabilities_are_caught():
    result = audit(disguised(after=lambda z: torch.softmax(z, 1)), threat(Norm.Linf, 0.1))
    assert "probabilities-as-logits" in failed(result)


def test_gradients_of_another_model_are_caught():
    oracle, x, y = linear()

    class Other(Wrapped):
        def torch_module(self):
            return LinearOracle.seeded(5, input_shape=(D,), classes=2).torch_module()

    result = audit(bundle_of(Other(oracle.torch_module(), 2), x, y), threat(Norm.Linf, 0.2))
    assert {"gradients-of-another-model", "success-not-confirmed"} <= failed(result)
    # What such an attack breaks is broken all the same, by the audited model's own word.
    exact = oracle.min_norm(x, y, Norm.Linf, (0.0, 1.0))
    assert result.scalars["robust_accuracy[t, 0.2]"].value >= (exact > 0.2).mean()


def test_an_iterative_attack_weaker_than_one_step_is_caught():
    result = audit(disguised(), threat(Norm.Linf, 0.2), random_start=False, steps=3, step=1e-4)
    assert {"weaker-iterative", "gradient-masking-suspected"} <= failed(result)


def attack(run, **changes):
    return replace(CATALOGUE["pgd"], name="pgd", run=run, **changes)


def pretend(case, x_adv, claimed=True):
    claims = torch.full((len(case.x),), claimed)
    return Attempt(x_adv=x_adv, claimed=claims, gradients=0, queries=0)


def test_an_attack_that_loses_strength_is_caught(monkeypatch):
    honest = CATALOGUE["pgd"].run

    def fading(case, params):
        return honest(case, params) if case.eps < 0.2 else pretend(case, case.x, claimed=False)

    monkeypatch.setitem(CATALOGUE, "pgd", attack(fading))
    result = audit(disguised(), threat(Norm.Linf, 0.1, 0.3), attacks=["pgd"])
    assert failed(result) == {"not-monotone", "survives-everything"}
    scalars = result.scalars
    # Carried over: what was broken with less stays broken.
    assert scalars["robust_accuracy[t, 0.3]"].value == scalars["robust_accuracy[t, 0.1]"].value < 1


def test_claims_are_not_believed(monkeypatch):
    monkeypatch.setattr(retries, "QUESTIONS", 300)
    monkeypatch.setitem(CATALOGUE, "pgd", attack(lambda case, params: pretend(case, case.x)))
    result = audit(disguised(), threat(Norm.Linf, 0.1), attacks=["pgd"])
    # what a short search finds too says that the attack did nothing
    assert failed(result) == {
        "success-not-confirmed", "survives-everything", "stronger-black-box",
    }  # fmt: skip
    assert result.scalars["robust_accuracy[t, 0.1]"].value == 1.0


@pytest.mark.parametrize("norm", CONVEX)
def test_an_attack_that_leaves_the_ball_gains_nothing(norm, monkeypatch):
    oracle, x, y = linear()
    exact = oracle.min_norm(x, y, norm, (0.0, 1.0))
    eps = round(float(np.quantile(exact, 0.3)), 4)
    w = torch.tensor(oracle.weights[1] - oracle.weights[0], dtype=torch.float32)

    def cheat(case, params):
        away = torch.where(case.y[:, None] == 1, -w, w)
        return pretend(case, case.x + 1e3 * away)

    monkeypatch.setitem(CATALOGUE, "pgd", attack(cheat))
    result = audit(bundle_of(oracle, x, y), threat(norm, eps), attacks=["pgd"])
    assert result.scalars[f"robust_accuracy[t, {eps}]"].value >= (exact > eps).mean()


def test_an_attack_that_returns_nonsense(monkeypatch):
    monkeypatch.setitem(
        CATALOGUE, "pgd", attack(lambda case, params: pretend(case, case.x * math.nan, False))
    )
    result = audit(disguised(), threat(Norm.Linf, 0.1), attacks=["pgd"])
    assert result.scalars["robust_accuracy[t, 0.1]"].value == 1.0
    monkeypatch.setitem(CATALOGUE, "pgd", attack(lambda case, params: pretend(case, case.x[:, :2])))
    with pytest.raises(
        ModelError, match=r"returned shape \(80, 2\) for inputs of shape \(80, 12\)"
    ):
        audit(disguised(), threat(Norm.Linf, 0.1), attacks=["pgd"])


def test_an_attack_of_one_norm_is_not_run_in_another(monkeypatch):
    monkeypatch.setitem(CATALOGUE, "pgd", attack(CATALOGUE["pgd"].run, norms=frozenset({Norm.L2})))
    result = audit(disguised(), threat(Norm.Linf, 0.1), threat(Norm.L2, 0.3, name="u"))
    assert "attack_success_rate[t, 0.1, pgd]" not in result.scalars
    assert "attack_success_rate[u, 0.3, pgd]" in result.scalars


# --------------------------------------------------------------------------- what cannot be used


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (lambda z: z * math.nan, "outputs are not finite for 80 of 80 inputs"),
        (lambda z: z[:, :1], r"returned shape \(80, 1\) for 80 inputs"),
        (lambda z: z.sum(0), r"returned shape \(2,\) for 80 inputs"),
        (lambda z: z.detach(), "do not depend on its inputs through differentiable"),
        (lambda z: z + 0 * torch.sqrt(0 * z), "gradient of the cross-entropy loss"),
    ],
)
def test_a_model_that_cannot_be_attacked_is_one_clear_error(after, message):
    bundle = disguised()
    inner = bundle.model.torch_module()

    class Odd(Wrapped):
        def torch_module(self):
            return Chain(same, inner, after).eval()

    with pytest.raises(ModelError, match=message):
        audit(replace(bundle, model=Odd(inner, 2)), threat(Norm.L2, 0.1))


def test_data_that_cannot_be_attacked_is_one_clear_error():
    oracle, x, y = linear()
    small = threat(Norm.L2, 0.1)
    with pytest.raises(
        DataError, match="labels from 0 to 7, but the model has outputs for classes"
    ):
        audit(bundle_of(oracle, x, np.where(np.arange(len(y)) == 3, 7, y)), small)
    with pytest.raises(DataError, match="empty"):
        audit(bundle_of(oracle, x[:0], y[:0]), small)
    hole = x.copy()
    hole[3, 2] = np.inf
    with pytest.raises(DataError, match="not finite"):
        audit(bundle_of(oracle, hole, y), small)
    with pytest.raises(DataError, match="holds 3 values an end, but an input has 12"):
        audit(bundle_of(oracle, x, y, bounds=((0.0,) * 3, 1.0)), small)
    with pytest.raises(DataError, match="lower end above its upper end"):
        audit(bundle_of(oracle, x, y, bounds=(1.0, 0.0)), small)
    with pytest.raises(DataError, match="int64 inputs"):
        audit(bundle_of(oracle, x.astype(np.int64), y), small)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"attacks": ["pgd", "nonesuch"]}, "unknown attack 'nonesuch'; known: fgsm, bim, pgd"),
        ({"attacks": []}, "at least one attack"),
        ({"attacks": ["pgd", "pgd"]}, "named twice"),
        ({"steps": 0}, "greater than 0"),
        ({"step": -1.0}, "greater than 0"),
        ({"samples": "some"}, "all"),
        ({"loss": "hinge"}, "cross-entropy"),
        ({"stesp": 3}, "Extra inputs"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        SuiteParams(**params)


def test_the_length_of_a_step():
    assert SuiteParams(steps=40).step_length(0.8) == pytest.approx(0.05)
    assert SuiteParams(steps=40, relative_step=4).step_length(0.8) == pytest.approx(0.08)
    assert SuiteParams(step=0.01).step_length(0.8) == 0.01


def test_the_catalogue_is_whole():
    for name, entry in CATALOGUE.items():
        assert isinstance(entry, Attack)
        assert entry.name == name
        assert entry.norms <= set(Norm)
        assert entry.knowledge in ("white box", "black box")


def test_the_model_and_the_data_of_a_bundle_stay_as_they_were():
    bundle = make_bundle(AttackSuite.needs, layout="image", model="network")
    module = bundle.model.torch_module()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    x = bundle.split("test").x.copy()
    audit(bundle, threat(Norm.L1, 1), steps=3)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    np.testing.assert_array_equal(bundle.split("test").x, x)
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


class Watched(Wrapped):
    """Keeps every input that it is asked about."""

    def __init__(self, module: nn.Module, classes: int) -> None:
        super().__init__(module, classes)
        self.asked: list[np.ndarray] = []

    def predict(self, x):
        self.asked.append(np.array(x))
        return super().predict(x)


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("random_start", [False, True])
def test_frozen_and_categorical_columns_stay_as_they_are(norm, random_start):
    """With four columns held, what is left is the linear model of the others, exactly."""
    oracle, x, _ = linear(n=60, dtype=np.float64)
    names = tuple(f"f{i}" for i in range(D))
    held = (0, 3, 4, 9)
    x[:, 4] = np.arange(60) % 3
    y = oracle.predict(x)
    model = Watched(oracle.torch_module(), 2)
    given = bundle_of(model, x, y, bounds=None)
    schema = replace(
        given.schema,
        features=names,
        frozen=("f0", "f3", "f9"),
        categories={"f4": ("a", "b", "c")},
    )
    result = audit(
        replace(given, schema=schema), threat(norm, 0.05, 0.2), random_start=random_start, steps=60
    )
    assert (
        "Held fixed: f0, f3, f9. From one category to another, a change of size 1: f4."
        in result.tables["worst_case"].caption
    )
    for asked in model.asked:
        assert {row.tobytes() for row in asked[:, held]} <= {row.tobytes() for row in x[:, held]}
    weight = next(p for p in oracle.torch_module().parameters() if p.ndim == 2).detach().numpy()
    w = (weight[1] - weight[0]).astype(np.float64)
    free = np.delete(w, held)
    lead = np.abs(np.diff(oracle.logits(x), axis=1)[:, 0])
    dual = {Norm.Linf: 1, Norm.L2: 2, Norm.L1: np.inf}[norm]
    for eps in (0.05, 0.2):
        exact = np.mean(lead > eps * np.linalg.norm(free, dual))
        assert result.scalars[f"robust_accuracy[t, {eps}]"].value == pytest.approx(exact, abs=1e-9)


def test_rows_with_missing_values_are_passed_over():
    oracle, x, y = linear(n=60)
    holes = x.copy()
    holes[[3, 20, 50], 2] = np.nan
    result = audit(bundle_of(oracle, holes, y), threat(Norm.Linf, 0.1), samples=40)
    # the first forty without a gap, of which two were passed over
    kept = np.delete(np.arange(60), [3, 20, 50])[:40]
    np.testing.assert_array_equal(result.arrays["index"], 100 + kept)
    assert result.scalars["clean_accuracy"].n == 40
    (caveat,) = [c for c in result.caveats if c.code == "incomplete-rows"]
    assert "2 of the first 42 test rows" in caveat.detail
    whole = audit(bundle_of(oracle, x[kept], y[kept]), threat(Norm.Linf, 0.1))
    for name, scalar in whole.scalars.items():
        if name.startswith(("clean", "robust")):
            assert scalar.value == result.scalars[name].value
    every = audit(bundle_of(oracle, holes, y), threat(Norm.Linf, 0.1))
    assert any("3 of the first 60 test rows" in c.detail for c in every.caveats)
    holes[:, 0] = np.nan
    with pytest.raises(SkipMetric, match="every row of the test set has missing values"):
        audit(bundle_of(oracle, holes, y), threat(Norm.Linf, 0.1))


class Remembers(Wrapped):
    """A model that answers as its module does on data, and with the data's own class beside it."""

    def __init__(self, module, classes, x):
        super().__init__(module, classes)
        self.x, self.known = x, super().predict(x)

    def predict(self, x):
        nearest = np.abs(np.asarray(x)[:, None] - self.x[None]).sum(2).argmin(1)
        return self.known[nearest]


@pytest.mark.parametrize("attacks", [["pgd"], ["closest"], ["ddn"]])
def test_claims_of_every_kind_of_attack_are_checked(attacks):
    oracle, x, y = linear(n=40)
    # only as far as the nearest input stays the own one
    radius = 0.3 if attacks == ["pgd"] else 0.9
    norm = Norm.Linf if attacks == ["pgd"] else Norm.L2
    model = Remembers(oracle.torch_module(), 2, x)
    result = audit(bundle_of(model, x, y), threat(norm, radius / 3, radius), attacks=attacks)
    assert "success-not-confirmed" in failed(result)


def test_a_digit_lost_on_the_way_back_into_the_ball_is_no_false_claim(monkeypatch):
    edge = np.float32(0.5) + np.float32(0.1) + np.float32(6e-8)

    class AtTheEdge(Wrapped):
        def predict(self, x):
            return (np.asarray(x)[:, 0] >= edge).astype(np.int64)

    def beyond(case, params):
        over = case.x.clone()
        over[:, 0] += case.eps * (1 + 1e-6)
        return pretend(case, over)

    x = np.full((30, D), 0.5, dtype=np.float32)
    model = AtTheEdge(linear()[0].torch_module(), 2)
    monkeypatch.setitem(CATALOGUE, "pgd", attack(beyond))
    given = bundle_of(model, x, np.zeros(30, dtype=np.int64))
    result = audit(given, threat(Norm.Linf, 0.1), attacks=["pgd"])
    # what stands outside by a rounding is no success, and no lie
    assert result.scalars["robust_accuracy[t, 0.1]"].value == 1
    assert "success-not-confirmed" not in failed(result)


def test_gradients_that_nobody_follows_are_not_asked_for():
    def broken(x):
        return x + 0 * torch.sqrt(x[:, :1] - x[:, :1])

    result = audit(disguised(before=broken), threat(Norm.L2, 0.5), attacks=["square"])
    check = next(c for c in result.checks if c.name == "gradients are finite and not zero")
    assert (check.passed, check.applies) == (True, False)
    blind = replace(threat(Norm.L2, 0.5), knowledge="black box")
    flat = audit(disguised(before=lambda x: x.round(decimals=1)), blind, attacks=["square"])
    assert not {"zero-gradients", "gradient-masking-suspected"} & failed(flat)


def test_a_model_without_a_module_has_no_checks_of_it():
    oracle, x, y = linear(n=30)

    class Answers(ModelHandle):
        n_outputs = 2

        def predict(self, x):
            return oracle.predict(x)

        def predict_proba(self, x):
            return np.eye(2)[oracle.predict(x)] * 0.8 + 0.1

    given = replace(bundle_of(Answers(), x, y),
                    offers=Needs.LABELS | Needs.CLASSIFICATION | Needs.PROBABILITIES)  # fmt: skip
    result = audit(given, threat(Norm.Linf, 0.2), attacks=["square", "noise"])
    idle = {check.name for check in result.checks if not check.applies}
    assert {
        "gradients are finite and not zero", "gradients belong to the audited model",
        "outputs are logits",
    } <= idle  # fmt: skip


def test_so_few_inputs_that_guessing_may_leave_all_say_nothing():
    few = audit(disguised(n=6), threat(Norm.Linf, 0.1), attacks=["pgd"])
    name = "an \u03b5 as large as the data's range leaves no accuracy"
    assert not next(c for c in few.checks if c.name == name).applies
    more = audit(disguised(n=30), threat(Norm.Linf, 0.1), attacks=["pgd"])
    assert next(c for c in more.checks if c.name == name).applies


@pytest.mark.parametrize(
    ("attacks", "words"),
    [
        (["fgsm", "pgd"], None),
        (["pgd", "square"], " Steps: of Square, the most questions of each input."),
    ],
)
def test_the_caption_explains_the_steps_that_need_it(attacks, words):
    result = audit(disguised(n=20), threat(Norm.Linf, 0.05), attacks=attacks, queries=20)
    caption = result.tables["attacks"].caption
    assert caption.endswith(words) if words else "Steps:" not in caption
