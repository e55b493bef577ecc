"""Gradient attacks on tables whose features move by whole steps."""

from __future__ import annotations

import numpy as np
import pytest

from robreport import Bundle, Context, DataSchema, Eps, Norm, Split, ThreatModel
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
