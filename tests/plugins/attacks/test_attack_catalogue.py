"""Every attack of the catalogue, run by the suite on models whose exact answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from robreport import Bundle, Context, DataSchema, Eps, Needs, Norm, Split, ThreatModel
from robreport.result import check_result
from robreport.testing import LinearOracle
from robreport_plugins.attacks import white_box
from robreport_plugins.attacks.catalogue import CATALOGUE, PRESETS
from robreport_plugins.attacks.metrics import AttackSuite
from robreport_plugins.attacks.params import SuiteParams
from robreport_plugins.methods import surrogate

D = 10
# Share of what can be broken that each attack must find here. The cross-entropy climbs towards
# several classes at once, which costs it some; those that only ask have few questions; noise and
# transfer promise nothing. A gradient alone does not tell which single feature goes furthest.
LEAST = {"fgsm": 0.9, "apgd-ce": 0.85, "apgd-ce-eot": 0.85, "apgd-dlr": 0.9,
         "apgd-dlr-eot": 0.9, "square": 0.5, "search": 0.6, "hopskipjump": 0.6,
         "transfer": 0.3, "noise": 0.0, "fmn-L0": 0.8, "draws-L2": 0.6,
         "draws-Linf": 0.6}  # fmt: skip
EVERY = [(name, norm) for name, attack in CATALOGUE.items() for norm in sorted(attack.norms)
         if attack.sees != "trees"]  # fmt: skip


def fewest(oracle: LinearOracle, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how many features must change, at least, for another class to draw level.

    A feature does most for a rival at one of its two bounds, whatever the others do. So a rival
    wins with k changes exactly where its k largest gains cover the margin.
    """
    z = x @ oracle.weights.T + oracle.bias
    found = np.full(len(x), np.inf)
    for i, own in enumerate(y):
        for rival in set(range(oracle.n_outputs)) - {int(own)}:
            slope = oracle.weights[rival] - oracle.weights[own]
            gains = np.sort(np.maximum(slope * (1 - x[i]), slope * -x[i]))[::-1]
            enough = np.flatnonzero(np.cumsum(gains) >= z[i, own] - z[i, rival])
            found[i] = min(found[i], enough[0] + 1 if len(enough) else np.inf)
    return found


def linear(norm: Norm) -> tuple[LinearOracle, np.ndarray, np.ndarray, float]:
    """Three classes; inputs amid the bounds, so that the exact norms hold within them."""
    oracle = LinearOracle.seeded(3, input_shape=(D,), classes=3)
    x = 0.5 + 0.1 * np.random.default_rng(3).normal(size=(40, D)).clip(-2, 2)
    if norm is Norm.L0:
        # Amid the bounds one feature is enough for all of them: each goes further into its class.
        side = (oracle.weights - oracle.weights.mean(axis=0))[np.arange(len(x)) % 3]
        side /= np.abs(side).max(axis=1, keepdims=True)
        x = (x + np.linspace(0, 1, len(x))[:, None] * side).clip(0, 1)
        return oracle, x, oracle.predict(x), 1.0
    y = oracle.predict(x)
    exact = (
        oracle.min_norm(x, y, norm, (0.0, 1.0))
        if norm is not Norm.L1
        else oracle.min_norm(x, y, norm)
    )
    return oracle, x, y, round(float(np.quantile(exact, 0.6)), 4)


@pytest.mark.parametrize(("name", "norm"), EVERY, ids=lambda v: str(v))
def test_no_attack_breaks_what_cannot_be_broken_and_most_break_the_rest(name, norm, monkeypatch):
    # the model answers the same each time, so that a mean of two is that of twenty
    monkeypatch.setattr(white_box, "EXPECTATION", 2)
    # enough for a linear model
    monkeypatch.setitem(surrogate.fit_surrogate.__kwdefaults__, "steps", 150)
    oracle, x, y, eps = linear(norm)
    split = Split(role="test", x=x, y=y, index=np.arange(len(x)), digest="")
    schema = DataSchema(
        task="classification", input_shape=(D,), layout="table", bounds=(0.0, 1.0),
        features=tuple(f"f{i}" for i in range(D)),
    )  # fmt: skip
    offers = AttackSuite.needs | Needs.PROBABILITIES
    bundle = Bundle(model=oracle, splits={"test": split}, schema=schema, offers=offers)
    threat = ThreatModel(name="t", norm=norm, eps=(Eps(eps, str(eps)),))
    names = [name] if name != "noise" else ["noise", "fgsm"]
    params = SuiteParams(attacks=names, steps=30, searches=4, queries=300, loss="margin")
    result = check_result(AttackSuite().compute(bundle, params, Context(threats=(threat,))))
    found = result.scalars[f"attack_success_rate[t, {eps}, {name}]"].value
    bounds = (0.0, 1.0)
    exact = fewest(oracle, x, y) if norm is Norm.L0 else oracle.min_norm(x, y, norm, bounds)
    possible = float((exact <= eps).mean())
    # Neither none nor all of them can be broken, so that either error would show.
    assert 0.2 < possible < 0.9
    assert found <= possible
    assert found >= LEAST.get(f"{name}-{norm}", LEAST.get(name, 0.95)) * possible


def test_presets_name_attacks_of_the_catalogue():
    for names in PRESETS.values():
        assert set(names) <= set(CATALOGUE)
        assert len(set(names)) == len(names)
