"""What linear.robust_hinge says of its classifiers, against an oracle made of their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from robreport import Bundle, Context, Eps, Norm, Result, SkipMetric, ThreatModel
from robreport.result import check_result
from robreport.testing import LinearOracle
from robreport.testing.bundles import changed
from robreport_plugins.linear.metrics import RobustHinge
from robreport_plugins.linear.params import HingeParams
from robreport_plugins.linear.scalars import median
from tests.plugins.linear.conftest import fitted, two_classes
from tests.reference.hinge_optimum import reference_optimum

LINF = ThreatModel(name="linf", norm=Norm.Linf, eps=(Eps(0.05, "0.05"), Eps(0.1, "0.1")))


def oracle(folder: Path) -> LinearOracle:
    """Return the exported classifier as a model with exact robust accuracy of its own."""
    tensors = load_file(folder / "model.safetensors")
    return LinearOracle(tensors["linear.weight"], tensors["linear.bias"])


def rows(bundle: Bundle) -> np.ndarray:
    return bundle.split("test").x.reshape(len(bundle.split("test")), -1).astype(np.float64)


def test_every_number_is_that_of_the_exported_weights(
    result: Result, table: Bundle, folder_of: Callable[[Result, str], Path]
) -> None:
    """Robust accuracies within the bounds, clean ones and radii from another implementation."""
    x, y = rows(table), table.split("test").labels
    for word, eps in (("regular", "0"), ("eps-0.05", "0.05"), ("eps-0.1", "0.1")):
        for tail, facet in (("", ""), (".optimum", ", optimum")):
            model = oracle(folder_of(result, f"model.linf.{word}{tail}"))
            value = {k: s.value for k, s in result.scalars.items()}
            assert value[f"test_accuracy[linf, {eps}{facet}]"] == np.mean(model.predict(x) == y)
            for attacked in ("0.05", "0.1"):
                exact = model.robust_accuracy(x, y, Norm.Linf, float(attacked), (0.0, 1.0))
                assert value[f"robust_accuracy[linf, {eps}, {attacked}{facet}]"] == exact
            radius = model.min_norm(x, y, Norm.Linf)
            key = f"flip_radius.linf.{word}{tail}"
            assert result.arrays[key] == pytest.approx(radius, abs=1e-5)


def test_hinge_and_gap_are_those_of_the_weights(
    result: Result, table: Bundle, folder_of: Callable[[Result, str], Path]
) -> None:
    model = oracle(folder_of(result, "model.linf.eps-0.1"))
    w, b = model.weights[1] - model.weights[0], model.bias[1] - model.bias[0]
    test, train = table.split("test"), table.split("train")
    losses = []
    for split in (test, train):
        sign = 2.0 * split.labels - 1
        losses.append(np.maximum(0, 1 - sign * (split.x @ w + b) + 0.1 * np.abs(w).sum()).mean())
    assert result.scalars["robust_hinge[linf, 0.1]"].value == pytest.approx(losses[0], abs=1e-5)
    # The least loss, by a solver that is not ours.
    signs = 2.0 * train.labels - 1
    least = reference_optimum(train.x, signs, eps=0.1, norm=Norm.Linf).primal
    gap = result.scalars["duality_gap[linf, 0.1]"].value
    assert gap == pytest.approx((losses[1] - least) / losses[1], abs=1e-5)
    assert result.scalars["duality_gap[linf, 0.1, optimum]"].value == pytest.approx(0, abs=1e-6)
    best = oracle(folder_of(result, "model.linf.eps-0.1.optimum"))
    w, b = best.weights[1] - best.weights[0], best.bias[1] - best.bias[0]
    reached = np.maximum(0, 1 - signs * (train.x @ w + b) + 0.1 * np.abs(w).sum()).mean()
    assert reached == pytest.approx(least, abs=1e-6)


def test_the_charted_curve_is_the_tabulated_one_and_checks_pass(result: Result) -> None:
    assert {check.name: check.passed for check in result.checks} == {
        "accuracy never rises with \u03b5": True,
        "flip radii agree with the curve": True,
        "worst inputs are as bad as predicted": True,
        "the optimum is proven": True,
    }
    own = result.tables["curve.linf"]
    grid, curve = result.arrays["eps.linf"], result.arrays["curve.linf.regular"]
    assert [row[0] for row in own.rows] == grid.tolist()
    assert [row[1] for row in own.rows] == (curve / 150).tolist()
    assert own.columns[1].title == "regular"
    assert own.columns[4].title == "regular (optimum)"
    assert "within the data's bounds" in own.title
    assert "not clipped" in result.tables["curve_other.linf"].title


def test_the_answer_says_what_the_numbers_say(result: Result) -> None:
    """Beside each other it speaks of the optimum, and names what SGD has instead."""
    optimum, _, sgd = result.answer.partition(" (by SGD instead: ")
    for text, tail in ((optimum, ", optimum"), (sgd, "")):
        value = {k: s.value or 0.0 for k, s in result.scalars.items()}
        assert f"{100 * value[f'test_accuracy[linf, 0.05{tail}]']:.2f}\u202f%" in text
        for trained in ("0", "0.05"):
            kept = value[f"robust_accuracy[linf, {trained}, 0.05{tail}]"]
            assert f"{100 * kept:.1f}\u202f%" in text
    assert f"{100 * value['test_accuracy[linf, 0, optimum]']:.2f}\u202f%" in optimum
    assert "training to the optimum" in optimum


def test_findings_speak_of_the_optimum_where_there_is_one(result: Result) -> None:
    scalars = [e for f in result.findings for e in f.evidence if "[" in e]
    assert scalars
    assert all(name in result.scalars and "optimum" in name for name in scalars)


def test_one_solver_is_spoken_of_alone() -> None:
    answer = fitted(two_classes()).answer
    assert "SGD" not in answer
    assert "optimum" not in answer


def test_every_figure_has_its_table_and_rows_of_a_table_name_the_source(result: Result) -> None:
    assert set(result.figures) <= set(result.tables)
    index = set(result.arrays["index"].tolist())
    for key in ("wrong.linf.regular.optimum", "wrong.linf.eps-0.1.optimum"):
        listed = result.tables[key].rows
        assert {row[0] for row in listed} <= index
        clean = [row for row in listed if row[3] == "as it is"]
        turned = [row for row in listed if row[3] != "as it is"]
        assert len(clean) <= 3
        assert [row[4] for row in turned] == sorted(row[4] for row in turned)
        assert all(row[1] != row[2] for row in listed)


def test_images_are_shown_as_pictures() -> None:
    bundle = two_classes("image")
    result = fitted(bundle, shown=2)
    grid = result.images["weights.linf"]
    assert grid.images.shape == (1, 3, 8, 8)
    wrong = result.images["wrong.linf.eps-0.1"]
    assert wrong.images.dtype == np.uint8
    assert "weights.linf" not in result.figures


def test_more_classes_are_each_against_the_rest(store: Any) -> None:
    bundle = two_classes(classes=3)
    result = fitted(bundle, store, eps=(0.05,))
    model = oracle(Path(result.artifacts["model.linf.eps-0.05"]))
    assert model.n_outputs == 3
    x, y = rows(bundle), bundle.split("test").labels
    value = result.scalars["robust_accuracy[linf, 0.05, 0.05]"].value
    assert value == model.robust_accuracy(x, y, Norm.Linf, 0.05, (0.0, 1.0))
    assert all(check.passed for check in result.checks)
    assert "logits.linf" not in result.figures


def test_two_classes_of_more_are_picked_by_name_or_number() -> None:
    bundle = two_classes(classes=3)
    by_name = fitted(bundle, classes=("class 2", "class 0"))
    by_number = fitted(bundle, classes=(2, 0))
    assert by_name.scalars == by_number.scalars
    assert by_name.scalars["test_accuracy[linf, 0]"].n == int(
        np.isin(bundle.split("test").labels, (0, 2)).sum()
    )
    assert set(by_name.arrays["label"].tolist()) == {0, 2}


@pytest.mark.parametrize("norm", ["L1", "L2"])
def test_other_norms_agree_with_the_oracle_too(norm: str, store: Any) -> None:
    bundle = two_classes(seed=1)
    result = fitted(bundle, store, norm=norm, eps=(0.2,), solver="optimum")
    model = oracle(Path(result.artifacts[f"model.{norm.lower()}.eps-0.2"]))
    x, y = rows(bundle), bundle.split("test").labels
    exact = model.robust_accuracy(x, y, Norm(norm), 0.2, (0.0, 1.0))
    assert result.scalars[f"robust_accuracy[{norm.lower()}, 0.2, 0.2]"].value == exact
    assert result.scalars[f"duality_gap[{norm.lower()}, 0.2]"].value == pytest.approx(0, abs=1e-6)
    train = bundle.split("train")
    signs = 2.0 * train.labels - 1
    w, b = model.weights[1] - model.weights[0], model.bias[1] - model.bias[0]
    length = np.abs(w).max() if norm == "L1" else np.linalg.norm(w)
    reached = np.maximum(0, 1 - signs * (train.x @ w + b) + 0.2 * length).mean()
    least = reference_optimum(train.x, signs, eps=0.2, norm=Norm(norm)).primal
    assert reached == pytest.approx(least, abs=1e-6)


def test_a_scale_is_part_of_the_exported_weights(store: Any) -> None:
    """Features in other units give the same classifier of standardised inputs."""
    bundle = two_classes()
    factor = np.array([1.0, 1000.0, 1e-3, 5.0, 1.0, 7.0])
    other = replace(
        bundle,
        splits={
            role: replace(split, x=split.x * factor + 3.0) for role, split in bundle.splits.items()
        },
        schema=replace(bundle.schema, bounds=None),
    )
    result = fitted(other, store, standardise=True)
    plain = fitted(replace(bundle, schema=other.schema), standardise=True)
    for key in ("test_accuracy[linf, 0.1]", "robust_accuracy[linf, 0.1, 0.1]"):
        assert result.scalars[key] == plain.scalars[key]
    model = oracle(Path(result.artifacts["model.linf.eps-0.1"]))
    accuracy = np.mean(model.predict(rows(other)) == other.split("test").labels)
    assert result.scalars["test_accuracy[linf, 0.1]"].value == accuracy
    assert "standard deviations" in result.tables["robust.linf"].caption


def test_categories_and_frozen_columns_are_left_out_and_said() -> None:
    bundle = two_classes()
    schema = replace(
        bundle.schema, categories={"feature 1": ("a", "b")}, frozen=("feature 4",), bounds=None
    )
    result = fitted(replace(bundle, schema=schema))
    (caveat,) = [c for c in result.caveats if c.code == "linear-columns-left-out"]
    assert "feature 1 (categories); feature 4 (frozen)" in caveat.detail
    assert result.scalars["zero_weights[linf, 0]"].n == 4
    names = {row[0] for row in result.tables["weights.linf"].rows}
    assert names == {"feature 0", "feature 2", "feature 3", "feature 5"}


def test_eps_is_chosen_on_held_out_examples() -> None:
    result = fitted(two_classes(n=300), validation=0.3, target=0.1)
    listed = result.tables["choice"].rows
    right = [row[2][0] for row in listed]
    assert [row[3] for row in listed].index("chosen") == int(np.argmax(right))
    chosen = result.scalars["chosen_eps[linf]"]
    assert chosen.value == float(listed[int(np.argmax(right))][1])
    assert chosen.n == 90


def test_other_seeds_show_the_spread_and_change_nothing_else() -> None:
    bundle = two_classes()
    one, several = fitted(bundle, seeds=(5,)), fitted(bundle, seeds=(5, 6, 7))
    assert one.scalars == several.scalars
    assert "seeds" not in one.tables
    table = several.tables["seeds"]
    assert [row[1] for row in table.rows] == [3, 3, 3]
    margins = [several.arrays[f"margin.linf.regular{s}"] for s in ("", ".seed-6", ".seed-7")]
    shares = [float(np.mean(m > 0)) for m in margins]
    assert table.rows[0][4:6] == (min(shares), max(shares))
    assert table.rows[0][2] <= (one.scalars["train_accuracy[linf, 0]"].value or 0)
    wiped = one.scalars["zero_weights[linf, 0.1]"].value or 0
    assert table.rows[2][6] <= wiped <= table.rows[2][7]


def test_a_perturbation_larger_than_the_classes_leaves_a_constant_classifier() -> None:
    result = fitted(two_classes(), eps=(3.0,), solver="optimum")
    assert result.scalars["zero_weights[linf, 3.0]"].value == 1.0
    # half of the inputs are of the class that it gives, and cannot be turned
    radius = result.arrays["flip_radius.linf.eps-3.0"]
    assert set(np.unique(radius).tolist()) <= {0.0, np.inf}
    (claim,) = [f.claim for f in result.findings if "the same class" in f.claim]
    assert "no linear classifier has a smaller robust hinge loss" in claim
    assert result.scalars["test_accuracy[linf, 3.0]"].value == 0.5
    assert "gives every input the same class" in result.answer


def test_of_classes_that_nothing_speaks_for_the_commoner_one_wins(store: Any) -> None:
    bundle = two_classes(classes=3)
    train = bundle.split("train")
    kept = np.flatnonzero((train.labels != 0) | (np.arange(len(train)) % 5 > 0))
    fewer = replace(train, x=train.x[kept], y=train.labels[kept], index=train.index[kept])
    bundle = replace(bundle, splits={**bundle.splits, "train": fewer})
    result = fitted(bundle, store, eps=(9.0,), solver="optimum")
    best = int(np.bincount(fewer.labels).argmax())
    right = float(np.mean(bundle.split("test").labels == best))
    for name in ("test_accuracy[linf, 9.0]", "robust_accuracy[linf, 9.0, 9.0]"):
        assert result.scalars[name].value == right
    model = oracle(Path(result.artifacts["model.linf.eps-9.0"]))
    assert set(model.predict(rows(bundle)).tolist()) == {best}


def test_a_median_that_is_infinite_is_refused_with_its_reason() -> None:
    found = median(np.array([0.0, np.inf, np.inf]), "radius", "")
    assert found.value is None
    assert "same class" in found.reason
    values = np.concatenate([np.zeros(9), np.arange(1.0, 12.0)])
    found = median(values, "radius", "")
    # order statistics 6 and 15 of 20: 0.5 in between is exceeded with a chance of 2.1 % each
    assert (found.low, found.value, found.high) == (0.0, 1.0, 6.0)


def test_unfinished_training_is_said() -> None:
    result = fitted(two_classes(), epochs=1)
    (caveat,) = [c for c in result.caveats if c.code == "linear-training-unfinished"]
    assert "robust" in caveat.detail
    assert "had not ended" in result.answer
    # Slow descent that looks ended is told from the distance to the optimum beside it.
    slow = fitted(two_classes(), solver="both", epochs=20)
    (caveat,) = [c for c in slow.caveats if c.code == "linear-training-unfinished"]
    assert "above the least loss" in caveat.detail
    assert "had not ended" not in slow.answer


def test_small_tables_are_trained_to_their_end() -> None:
    result = fitted(two_classes(), epochs=None, solver="both", eps=(0.05,), standardise=True)
    assert "linear-training-unfinished" not in {c.code for c in result.caveats}
    for eps in ("0", "0.05"):
        assert (result.scalars[f"duality_gap[linf, {eps}]"].value or 0) < 0.1


def one_class(bundle: Bundle) -> Bundle:
    return changed(bundle, relabel=lambda y: np.zeros_like(y))


def constant(bundle: Bundle) -> Bundle:
    def flat(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        x[:, 2] = 0.5
        return x

    splits = {role: replace(s, x=flat(s.x)) for role, s in bundle.splits.items()}
    return replace(bundle, splits=splits)


def test_a_constant_feature_gets_no_weight_and_is_named(store: Any) -> None:
    bundle = constant(two_classes())
    for standardise in (False, True):
        result = fitted(bundle, store, standardise=standardise, solver="both")
        assert all(check.passed for check in result.checks)
        (caveat,) = [c for c in result.caveats if c.code == "linear-constant-features"]
        assert caveat.detail == "Weight 0 for 1 of 6 features: feature 2."
        for folder in result.artifacts.values():
            assert not oracle(Path(folder)).weights[:, 2].any()
    # What is constant in training alone may vary in the test set: it decides nothing.
    test = bundle.split("test")
    other = replace(test, x=two_classes().split("test").x)
    changed_test = replace(bundle, splits={**bundle.splits, "test": other})
    assert fitted(changed_test).scalars == fitted(bundle).scalars


def test_rows_that_are_all_alike_are_refused() -> None:
    bundle = two_classes()
    train = bundle.split("train")
    alike = replace(train, x=np.full_like(train.x, 0.5))
    with pytest.raises(SkipMetric, match="no feature varies in the training set"):
        fitted(replace(bundle, splits={**bundle.splits, "train": alike}))


def test_wiped_out_does_not_depend_on_the_unit() -> None:
    bundle = two_classes()
    schema = replace(bundle.schema, bounds=None)
    large = {r: replace(s, x=s.x * 1e5) for r, s in bundle.splits.items()}
    found = [
        fitted(replace(bundle, splits=splits, schema=schema), eps=(eps,), solver="optimum")
        for splits, eps in ((bundle.splits, 0.2), (large, 2e4))
    ]
    shares = [list(r.scalars.items()) for r in found]
    for (a, small), (_, big) in zip(*shares, strict=True):
        if a.startswith("zero_weights"):
            assert small.value == big.value
    assert 0 < (found[0].scalars["zero_weights[linf, 0.2]"].value or 0) < 1


def test_a_separable_set_is_called_so() -> None:
    rng = np.random.default_rng(0)
    bundle = two_classes()

    def apart(split: Any) -> Any:
        x = rng.uniform(size=split.x.shape)
        x[:, 1] = np.where(split.labels == 1, 0.9, 0.1)
        return replace(split, x=x)

    bundle = replace(bundle, splits={role: apart(s) for role, s in bundle.splits.items()})
    result = fitted(bundle, solver="both", eps=(0.1, 0.3, 0.5))
    words = "every training example right whatever the perturbation up to L\u221e \u03b5 = 0.3"
    assert words in result.answer
    assert "linear-separable" in {c.code for c in result.caveats}
    assert "linear-separable" not in {c.code for c in fitted(two_classes()).caveats}


def test_a_thousand_features_with_fifty_rows() -> None:
    rng = np.random.default_rng(0)
    bundle = two_classes(n=50)
    splits = {
        role: replace(s, x=np.concatenate([s.x, rng.uniform(size=(50, 994))], axis=1))
        for role, s in bundle.splits.items()
    }
    schema = replace(
        bundle.schema, input_shape=(1000,), features=tuple(f"f{i}" for i in range(1000))
    )
    result = fitted(
        replace(bundle, splits=splits, schema=schema), solver="both", eps=(0.01,), epochs=None
    )
    assert all(check.passed for check in result.checks)
    assert result.scalars["train_accuracy[linf, 0, optimum]"].value == 1.0
    assert len(result.tables["weights.linf"].rows) == 20
    assert (
        "with 1,000 features for 50 examples, that can be done whatever the labels" in result.answer
    )
    # Left to itself, SGD takes so many steps that it is there too.
    assert result.scalars["train_accuracy[linf, 0]"].value == 1.0


@pytest.mark.parametrize(
    ("change", "params", "words"),
    [
        (one_class, {}, "holds only examples of class 'class 0'"),
        (lambda b: b, {"classes": ("class 0", "class 9")}, "names 'class 9'"),
        (lambda b: b, {"classes": (0, "class 0")}, "names the class 'class 0' twice"),
        (lambda b: b, {"weight": 6}, "the inputs have 6 features"),
        (
            lambda b: replace(b, schema=replace(b.schema, missing=("feature 3",))), {},
            "values are missing in feature 3",
        ),
        (
            lambda b: replace(b, schema=replace(b.schema, frozen=b.schema.features)), {},
            "every column holds categories or is declared frozen",
        ),
        (
            lambda b: replace(b, schema=replace(b.schema, bounds=None)), {"clip": True},
            r"clip needs data\.bounds",
        ),
        (lambda b: b, {"lr": 1e300, "momentum": 0.9}, "SGD has no result"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_skipped_with_its_reason(
    change: Callable[[Bundle], Bundle], params: dict[str, Any], words: str
) -> None:
    with pytest.raises(SkipMetric, match=words):
        fitted(change(two_classes()), **params)


def test_nan_is_refused_with_a_sentence() -> None:
    bundle = two_classes()
    train = bundle.split("train")
    x = train.x.copy()
    x[3, 1] = np.nan
    broken = replace(bundle, splits={**bundle.splits, "train": replace(train, x=x)})
    with pytest.raises(SkipMetric, match="not finite"):
        fitted(broken)


def test_several_threats_are_each_trained_against() -> None:
    l2 = ThreatModel(name="l2", norm=Norm.L2, eps=(Eps(0.2, "1/5"),))
    ctx = Context(seed=3, threats=(LINF, l2))
    result = check_result(
        RobustHinge().compute(two_classes(), HingeParams(epochs=5, grid_points=5), ctx)
    )
    assert {"robust_accuracy[linf, 0.05, 0.1]", "robust_accuracy[l2, 1/5, 1/5]"} <= set(
        result.scalars
    )
    assert "robust_accuracy[l2, 0.05, 1/5]" not in result.scalars
    assert {"curve.linf", "curve.l2"} <= set(result.figures)
