"""What is known of a model is its class, or that is not the class of its largest score."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from robreport import Bundle, Context, DataSchema, Eps, ModelHandle, Needs, Norm, Split, ThreatModel
from robreport.result import check_result
from robreport.testing import LinearOracle
from robreport_plugins.attacks.metrics import AttackSuite
from robreport_plugins.attacks.params import SuiteParams

CLASSES = Needs.LABELS | Needs.CLASSIFICATION


class Threshold(ModelHandle):
    """A class is given from 0.3 on; the probabilities say 0.5."""

    offers = Needs.CLASSIFICATION | Needs.PROBABILITIES
    n_outputs = 2

    def predict(self, x):
        return (np.asarray(x)[:, 0] >= 0.3).astype(np.int64)

    def predict_proba(self, x):
        share = np.clip(np.asarray(x)[:, 0], 0.0, 1.0)
        return np.stack([1 - share, share], axis=1)


class Parity(ModelHandle):
    """Classes only: category b, or a large first number, but not both."""

    offers = Needs.CLASSIFICATION
    n_outputs = 2

    def predict(self, x):
        x = np.asarray(x)
        return ((x[:, 0] > 0.9) ^ (x[:, 1] == 1)).astype(np.int64)


def bundle(model, x, y, offers, **schema):
    known = {
        "task": "classification",
        "input_shape": x.shape[1:],
        "layout": "table",
        "bounds": (0.0, 2.0),
        "features": tuple(f"f{i}" for i in range(x.shape[1])),
    }
    splits = {
        role: Split(role=role, x=x, y=y, index=np.arange(len(x)), digest="")
        for role in ("train", "test")
    }
    return Bundle(model=model, splits=splits, schema=DataSchema(**(known | schema)), offers=offers)


def left(given, norm, eps, **params):
    threat = ThreatModel(name="t", norm=norm, eps=(Eps(eps, str(eps)),))
    result = AttackSuite().compute(given, SuiteParams(**params), Context(threats=(threat,)))
    return check_result(result).scalars[f"robust_accuracy[t, {eps}]"].value


@pytest.mark.parametrize("attack", ["search", "square"])
def test_what_a_model_gives_counts_where_its_scores_say_otherwise(attack):
    """Scores that favour the wrong class already would have an attack stop before it began."""
    x = np.random.default_rng(0).uniform(0.0, 1.0, size=(80, 2))
    model = Threshold()
    y = model.predict(x)
    given = bundle(model, x, y, CLASSES | Needs.PROBABILITIES)
    held = np.abs(x[:, 0] - 0.3) > 0.1
    assert 0.5 < held.mean() < 0.9
    # of an input that lies on the radius either is right
    assert left(given, Norm.Linf, 0.1, attacks=[attack], queries=400) == held.mean()


def test_scores_lead_where_a_model_gives_a_class_that_is_not_their_largest():
    """Of a mean of ten features no single change decides; a slope has to be followed."""

    class Mean(Threshold):
        def predict(self, x):
            return (np.asarray(x).mean(axis=1) >= 0.3).astype(np.int64)

        def predict_proba(self, x):
            share = np.clip(np.asarray(x).mean(axis=1), 0.0, 1.0)
            return np.stack([1 - share, share], axis=1)

    x = np.random.default_rng(5).uniform(0.15, 0.75, size=(80, 10))
    model = Mean()
    given = bundle(model, x, model.predict(x), CLASSES | Needs.PROBABILITIES)
    held = np.abs(x.mean(axis=1) - 0.3) > 0.1
    assert 0.2 < held.mean() < 0.9
    assert left(given, Norm.Linf, 0.1, attacks=["search"]) == pytest.approx(held.mean(), abs=0.03)


@pytest.mark.parametrize(("norm", "eps"), [(Norm.L0, 1), (Norm.L1, 0.5), (Norm.L1, 1.5)])
def test_single_changes_are_tried_on_a_model_that_gives_classes_alone(norm, eps):
    rng = np.random.default_rng(1)
    x = np.stack([rng.uniform(0, 2, 60), rng.integers(0, 3, 60).astype(float)], axis=1)
    model = Parity()
    y = model.predict(x)
    given = bundle(model, x, y, CLASSES, categories={"f1": ("a", "b", "c")})
    broken = np.zeros(len(x), dtype=bool)
    for first, code in product(np.linspace(0, 2, 401), range(3)):
        moved = np.stack([np.full(len(x), first), np.full(len(x), float(code))], axis=1)
        size = np.abs(moved - x)
        size[:, 1] = size[:, 1] > 0
        total = (size > 0).sum(axis=1) if norm is Norm.L0 else size.sum(axis=1)
        broken |= (total <= eps) & (model.predict(moved) != y)
    # with the others that a suite has for such models in one of the norms
    names = ["default"] if norm is Norm.L0 else ["draws"]
    found = left(given, norm, eps, attacks=names, queries=200)
    assert found <= 1 - broken.mean()
    # where the grid ends within a step of the boundary, it may miss what the attack finds
    assert found >= 1 - broken.mean() - 0.02


def test_random_changes_of_several_features_are_tried_on_classes():
    class Both(Parity):
        def predict(self, x):
            return (np.asarray(x) > 0.6).all(axis=1).astype(np.int64)

    x = np.random.default_rng(2).uniform(0, 1, size=(60, 2))
    model = Both()
    given = bundle(model, x, model.predict(x), CLASSES, bounds=(0.0, 1.0))
    far = np.where(model.predict(x) == 1, (x - 0.6).min(axis=1), np.maximum(0.6 - x, 0).max(axis=1))
    found = left(given, Norm.Linf, 0.3, attacks=["draws"], queries=1000)
    assert found <= (far > 0.3).mean() + 0.05
    assert found >= (far > 0.3).mean()


def test_where_nothing_bounds_a_column_values_far_outside_are_tried():
    """A change of one number that no data suggest: 30 times as far as they go."""
    oracle = LinearOracle(np.array([[1.0, 0.1], [-1.0, -0.1]]), np.zeros(2), input_shape=(2,))
    x = np.random.default_rng(3).uniform(0.2, 1.0, size=(40, 2)) * [1.0, 1.0]
    y = oracle.predict(x)
    frozen = {"frozen": ("f0",), "bounds": None}
    given = bundle(oracle, x, y, AttackSuite.needs | Needs.PROBABILITIES, **frozen)
    assert left(given, Norm.L0, 1, attacks=["search"]) < 1.0
