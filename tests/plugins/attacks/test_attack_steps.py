"""Gradient attacks on tables whose features move by whole steps."""

from __future__ import annotations

import numpy as np
import pytest

from robreport import (
    Bundle,
    Context,
    DataError,
    DataSchema,
    Eps,
    ModelHandle,
    Needs,
    Norm,
    SkipMetric,
    Split,
    ThreatModel,
)
from robreport.result import check_result
from robreport.testing import LinearOracle
from robreport_plugins.attacks.metrics import AttackSuite
from robreport_plugins.attacks.params import SuiteParams
from robreport_plugins.methods.space_of import space_of


def broken(weights, x, high, norm, eps, attack, **rules):
    """Return (how many inputs an attack breaks, the leads of their classes, the classes)."""
    d = x.shape[1]
    both = np.stack([np.zeros(d), weights]).astype(np.float32)
    oracle = LinearOracle(
        both, np.array([0.0, -np.median(x @ weights)], np.float32), input_shape=(d,)
    )
    y = oracle.predict(x)
    split = Split(role="test", x=x, y=y, index=np.arange(len(x)), digest="")
    schema = DataSchema(
        task="classification", input_shape=(d,), layout="table", bounds=(0.0, high),
        features=tuple(f"f{i}" for i in range(d)),
    )  # fmt: skip
    given = Bundle(model=oracle, splits={"test": split}, schema=schema, offers=AttackSuite.needs)
    place = ThreatModel(name="t", norm=norm, eps=(Eps(eps, str(eps)),), **rules)
    params = SuiteParams(attacks=[attack], gallery=0)
    result = check_result(AttackSuite().compute(given, params, Context(threats=(place,))))
    logits = oracle.logits(x)
    count = int(np.isfinite(result.arrays["broken_eps.t"]).sum())
    return count, np.abs(logits[:, 1] - logits[:, 0]), y


def most(weights, x, y, high, step):
    """Return how far a step of each feature, cut by 0 and `high`, can lower the lead."""
    way = np.where(y == 1, -1.0, 1.0)[:, None] * np.sign(weights)
    moved = np.clip(x + way * step, 0, high) - x
    return np.abs(moved * weights).sum(axis=1)


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "apgd-ce", "deepfool", "fab", "fmn", "closest"])
def test_whole_numbers_break_as_often_as_can_be(attack):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 21, size=(150, 12)).astype(np.float32)
    weights = 0.05 * rng.normal(size=12)
    names = tuple(f"f{i}" for i in range(12))
    found, lead, y = broken(weights, x, 20.0, Norm.Linf, 1.6, attack, integer=names)
    expected = int((most(weights, x, y, 20.0, 1.0) > lead).sum())
    assert 40 < expected < 100
    assert found == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("attack", ["pgd", "apgd-ce", "deepfool", "fab", "fmn", "closest"])
def test_a_group_that_cannot_change_takes_nothing_of_the_radius(attack):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(size=(150, 4)), np.eye(5)[rng.integers(0, 5, 150)]], axis=1)
    x = x.astype(np.float32)
    weights = np.concatenate([0.5 * rng.normal(size=4), 3 * rng.normal(size=5)])
    group = tuple(f"f{i}" for i in range(4, 9))
    found, lead, y = broken(weights, x, 1.0, Norm.Linf, 0.5, attack, one_hot=(group,))
    steps = np.array([0.5] * 4 + [0.0] * 5)
    expected = int((most(weights, x, y, 1.0, steps) > lead).sum())
    assert 20 < expected < 140
    assert found == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2])
@pytest.mark.parametrize("attack", ["pgd", "apgd-ce", "fab"])
def test_whole_numbers_in_other_norms_come_near_the_search(norm, attack):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 21, size=(150, 12)).astype(np.float32)
    weights = 0.05 * rng.normal(size=12)
    names = tuple(f"f{i}" for i in range(12))
    eps = {Norm.L1: 4.0, Norm.L2: 2.5}[norm]
    searched, _, _ = broken(weights, x, 20.0, norm, eps, "search", integer=names)
    found, _, _ = broken(weights, x, 20.0, norm, eps, attack, integer=names)
    assert searched > 30
    assert found >= 0.6 * searched


def test_a_group_that_is_held_and_one_that_is_frozen_are_one_case():
    rng = np.random.default_rng(1)
    x = rng.uniform(size=(20, 4)).astype(np.float32)
    weights = rng.normal(size=4)
    group = ("f2", "f3")
    x[:, 2:] = np.eye(2)[rng.integers(0, 2, 20)]
    held, _, _ = broken(weights, x, 1.0, Norm.L2, 0.4, "apgd-ce", one_hot=(group,))
    frozen, _, _ = broken(weights, x, 1.0, Norm.L2, 0.4, "apgd-ce", one_hot=(group,), frozen=group)
    assert held == frozen > 0


def test_a_walk_from_far_away_may_begin_outside_the_ball() -> None:
    """Kept to where whole steps inside the ball lead, it breaks less than half of what can be."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 21, size=(60, 12)).astype(np.float32)
    weights = 0.05 * rng.normal(size=12)
    names = tuple(f"f{i}" for i in range(12))
    found, lead, y = broken(weights, x, 20.0, Norm.Linf, 1.6, "hopskipjump", integer=names)
    possible = int((most(weights, x, y, 20.0, 1.0) > lead).sum())
    assert 0.6 * possible <= found <= possible


def test_an_endless_radius_reaches_all_the_room() -> None:
    x = np.random.default_rng(0).integers(0, 10, size=(40, 6)).astype(np.float32)
    space = space_of(
        DataSchema(task="classification", input_shape=(6,), layout="table", bounds=(0.0, 9.0),
                   features=tuple("abcdef")),
        ThreatModel(name="t", norm=Norm.Linf, eps=(), integer=tuple("abcdef")), (6,), x,
    )  # fmt: skip
    for norm in Norm:
        low, high = space.reach(x, norm, np.inf)
        np.testing.assert_array_equal(low, np.zeros_like(x))
        np.testing.assert_array_equal(high, np.full_like(x, 9))
    low, high = space.reach(x, Norm.Linf, 1.6)
    np.testing.assert_array_equal(high - low, np.minimum(x + 1, 9) - np.maximum(x - 1, 0))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_in_l0_a_step_that_was_begun_is_taken_to_its_end(count: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 10, size=(60, 8)).astype(np.float32)
    weights = rng.normal(size=8)
    names = tuple(f"f{i}" for i in range(8))
    found, lead, y = broken(weights, x, 9.0, Norm.L0, float(count), "fmn", integer=names)
    way = np.where(y == 1, -1.0, 1.0)[:, None] * np.sign(weights)
    gain = np.abs((np.where(way > 0, 9.0, 0.0) - x) * weights)
    possible = int((np.sort(gain, axis=1)[:, -count:].sum(axis=1) > lead).sum())
    assert possible >= 40
    assert found == possible


def test_a_threat_that_freezes_everything_is_refused() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 10, size=(20, 3)).astype(np.float32)
    with pytest.raises(SkipMetric, match="every feature is held fixed"):
        broken(rng.normal(size=3), x, 9.0, Norm.L2, 3.0, "search", frozen=("f0", "f1", "f2"))


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"frozen": ("age",)}, r"threats\.t\.frozen names 'age'"),
        ({"one_hot": (("f0", "f1"),)}, r"threats\.t\.one_hot: column 'f\d' holds \d"),
        ({"one_hot": (("f2", "f3"),)}, r"f2, f3 do not add up to 1 in \d+ of 20 rows"),
        ({"increase": ("f0",), "decrease": ("f0",)}, "'f0' may only grow and may only shrink"),
    ],
)
def test_what_a_threat_cannot_mean_is_refused_by_its_name(rules: dict, words: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(2, 10, size=(20, 4)).astype(np.float32)
    x[:, 2:] = np.eye(3)[rng.integers(0, 3, 20)][:, :2]
    with pytest.raises(DataError, match=words):
        broken(rng.normal(size=4), x, 9.0, Norm.L2, 1.0, "search", **rules)


class Codes(ModelHandle):
    """Two classes, decided mostly by a categorical column, and given as classes alone."""

    n_outputs = 2
    worth = np.array([-3.0, 2.0, -1.0, 3.0, -2.0, 1.0])

    def predict(self, x):
        x = np.asarray(x)
        lead = self.worth[x[:, 0].astype(int)] + 0.2 * (x[:, 1] - x[:, 2])
        return (lead > 0).astype(np.int64)


def decided_by_codes(norm, eps, *attacks):
    """Return (result, how many inputs another category alone breaks)."""
    rng = np.random.default_rng(2)
    model = Codes()
    x = rng.integers(0, 6, size=(80, 3)).astype(np.float32)
    y = model.predict(x)
    schema = DataSchema(
        task="classification", input_shape=(3,), layout="table", bounds=(0.0, 5.0),
        features=("code", "f1", "f2"), categories={"code": tuple("012345")},
    )  # fmt: skip
    splits = {
        role: Split(role=role, x=x, y=y, index=np.arange(80), digest="")
        for role in ("train", "test")
    }
    offers = Needs.LABELS | Needs.CLASSIFICATION
    given = Bundle(model=model, splits=splits, schema=schema, offers=offers)
    place = ThreatModel(name="t", norm=norm, eps=(Eps(eps, str(eps)),))
    params = SuiteParams(attacks=attacks, gallery=0, queries=200, steps=10)
    every = np.repeat(x[None], 6, axis=0)
    every[:, :, 0] = np.arange(6)[:, None]
    breaks = np.stack([model.predict(one) for one in every]) != y
    result = check_result(AttackSuite().compute(given, params, Context(threats=(place,))))
    return result, int(breaks.any(axis=0).sum())


@pytest.mark.parametrize("norm", [Norm.L0, Norm.L1])
def test_categories_of_a_model_that_gives_classes_alone_are_changed(norm: Norm) -> None:
    result, possible = decided_by_codes(norm, 1.0, "transfer")
    found = int(np.isfinite(result.arrays["broken_eps.t"]).sum())
    assert possible > 70
    assert found > 0.9 * possible
    assert not [c for c in result.caveats if c.code == "categories-not-tried"]


def test_it_is_said_where_no_attack_could_change_a_category() -> None:
    result, _ = decided_by_codes(Norm.L2, 1.0, "hopskipjump")
    (caveat,) = (c for c in result.caveats if c.code == "categories-not-tried")
    assert "1 categorical column, and none of the attacks run can" in caveat.detail
    small, _ = decided_by_codes(Norm.L2, 0.9, "hopskipjump")
    assert not [c for c in small.caveats if c.code == "categories-not-tried"]
