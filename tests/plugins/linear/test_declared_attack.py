"""linear.exact_attack on declared models, against an oracle, and on models that are not linear."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from robreport import (
    Bundle,
    Context,
    Eps,
    ModelHandle,
    Needs,
    Norm,
    Result,
    SkipMetric,
    ThreatModel,
)
from robreport.result import check_result
from robreport.testing import LinearOracle, check_metric, make_bundle
from robreport_plugins.linear.metrics import ExactAttack
from robreport_plugins.linear.params import AttackParams


def threats() -> tuple[ThreatModel, ...]:
    eps = (Eps(0.02, "0.02"), Eps(0.1, "1/10"))
    return tuple(
        ThreatModel(name=n.lower(), norm=n, eps=eps) for n in (Norm.L1, Norm.L2, Norm.Linf)
    )


def bundle(classes: int = 3, layout: Any = "table") -> Bundle:
    return make_bundle(ExactAttack.needs, n=80, classes=classes, layout=layout, model="linear",
                       splits=("test", "train"))  # fmt: skip


def attacked(given: Bundle, **params: Any) -> Result:
    ctx = Context(seed=1, threats=threats())
    return check_result(ExactAttack().compute(given, AttackParams(**params), ctx))


class Wrapped(ModelHandle):
    """A torch module as a declared model."""

    offers = Needs.GRADIENTS | Needs.PARAMETERS | Needs.LOGITS | Needs.CLASSIFICATION

    def __init__(self, module: nn.Module, classes: int) -> None:
        super().__init__()
        self.module, self.n_outputs, self.name = module.eval(), classes, "wrapped"

    def torch_module(self) -> nn.Module:
        return self.module

    def predict(self, x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            out = self.module(torch.from_numpy(np.asarray(x, dtype=np.float32)))
        return out.numpy().argmax(axis=1)


def test_the_contract() -> None:
    report = check_metric(ExactAttack, params={"grid_points": 5}, threats=threats()[2:])
    assert "skipped: network is not linear" in report.scenarios["with everything on offer"]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("clip", [False, True])
def test_every_number_is_the_oracle_s(classes: int, clip: bool) -> None:
    given = bundle(classes)
    oracle, test = given.model, given.split("test")
    assert isinstance(oracle, LinearOracle)
    result = attacked(given, clip=clip)
    bounds = (0.0, 1.0) if clip else None
    for norm in (Norm.L1, Norm.L2, Norm.Linf):
        name = norm.lower()
        for eps in threats()[0].eps:
            exact = oracle.robust_accuracy(test.x, test.labels, norm, eps.value, bounds)
            assert result.scalars[f"robust_accuracy[{name}, {eps}]"].value == exact
        radius = oracle.min_norm(test.x, test.labels, norm)
        assert result.arrays[f"flip_radius.{name}"] == pytest.approx(radius, rel=1e-6, abs=1e-7)
    assert all(check.passed for check in result.checks)
    assert len(result.checks) == 4


def test_a_frozen_column_stays_where_it_is() -> None:
    given = bundle(3)
    schema = replace(given.schema, frozen=("feature 0",), categories={"feature 3": ("a", "b")})
    result = attacked(replace(given, schema=schema), clip=False)
    oracle, test = given.model, given.split("test")
    assert isinstance(oracle, LinearOracle)
    free = [1, 2, 4, 5]
    margin = oracle.margins(test.x, test.labels)
    length = np.abs(oracle.weights[test.labels][:, None] - oracle.weights[None])[..., free].sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.where(np.arange(3)[None] == test.labels[:, None], np.inf, margin / length)
    expected = np.maximum(far.min(axis=1), 0.0)
    assert result.arrays["flip_radius.linf"] == pytest.approx(expected, rel=1e-6, abs=1e-7)
    assert all(check.passed for check in result.checks)


def test_standardised_radii_are_in_standard_deviations() -> None:
    given = bundle(2)
    train = given.split("train").x
    result = attacked(given, standardise=True, clip=False)
    oracle, test = given.model, given.split("test")
    assert isinstance(oracle, LinearOracle)
    w = (oracle.weights[1] - oracle.weights[0]) * train.std(axis=0)
    lead = oracle.margins(test.x, test.labels).max(axis=1)
    wrong = oracle.predict(test.x) != test.labels
    expected = np.where(wrong, 0.0, lead / np.abs(w).sum())
    assert result.arrays["flip_radius.linf"] == pytest.approx(expected, rel=1e-6, abs=1e-7)


def modules(d: int) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    wide, last = nn.Linear(d, 5), nn.Linear(5, 3)
    return {
        "deep": nn.Sequential(nn.Flatten(), wide, last),
        "softmax": nn.Sequential(nn.Flatten(), nn.Linear(d, 3), nn.LogSoftmax(dim=1)),
        "sigmoid": nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(d, 3), nn.LogSigmoid())),
    }


@pytest.mark.parametrize("kind", ["deep", "softmax", "sigmoid"])
def test_linear_networks_are_recognised(kind: str) -> None:
    given = bundle(3)
    result = attacked(replace(given, model=Wrapped(modules(6)[kind], 3)))
    assert all(check.passed for check in result.checks)


@pytest.mark.parametrize(
    "step", [nn.ReLU(), nn.Hardtanh(-50.0, 50.0), nn.Tanh(), nn.LeakyReLU(0.99)]
)
def test_a_network_that_is_not_linear_is_skipped(step: nn.Module) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), step, nn.Linear(5, 3))
    with pytest.raises(SkipMetric, match="wrapped is not linear"):
        attacked(replace(bundle(3), model=Wrapped(module, 3)))


def test_the_model_is_left_as_it_was() -> None:
    model = Wrapped(modules(6)["deep"], 3)
    attacked(replace(bundle(3), model=model))
    assert {p.dtype for p in model.module.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in model.module.parameters())


def test_a_fall_below_guessing_is_a_finding() -> None:
    given = bundle(2)
    near = LinearOracle.binary(np.array([4.0, 0, 0, 0, 0, 0]), -2.0)
    x = given.split("test").x.copy()
    x[:, 0] = 0.5 + 0.05 * np.resize([-1.0, 1.0], len(x))
    test = replace(given.split("test"), x=x, y=near.predict(x))
    result = attacked(replace(given, model=near, splits={"test": test}))
    severities = {f.affected: f.severity for f in result.findings}
    assert severities["L\u221e perturbations"] == "medium"
    assert result.scalars["robust_accuracy[linf, 0.02]"].value == 1.0
    assert result.scalars["robust_accuracy[linf, 1/10]"].value == 0.0
    assert "worse than guessing among 2 classes" in result.findings[-1].claim
