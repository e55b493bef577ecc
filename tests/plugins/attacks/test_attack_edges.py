"""Every attack of the catalogue at the edges of what data, models and threats can be."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from robreport import (
    Bundle,
    DataSchema,
    Eps,
    ModelError,
    ModelHandle,
    Needs,
    Norm,
    Split,
    ThreatModel,
)
from robreport.result import check_result
from robreport.testing import LinearOracle
from robreport_plugins.attacks.assemble import assemble
from robreport_plugins.attacks.catalogue import CATALOGUE
from robreport_plugins.attacks.params import SuiteParams
from robreport_plugins.attacks.suite import run_suite
from robreport_plugins.attacks.target import Target
from robreport_plugins.methods import surrogate

CONVEX = (Norm.L1, Norm.L2, Norm.Linf)
# What averages its gradients is another attack of the list with twenty times the work.
AVERAGED = [name for name in CATALOGUE if name.endswith("-eot")]
EVERY = [n for n, attack in CATALOGUE.items() if attack.sees != "trees" and n not in AVERAGED]
# Those that look for the smallest perturbation with gradients find it on any linear model.
SURE = ("fab", "deepfool", "ddn", "fmn", "closest", "cw", "ead")
N = 3


@pytest.fixture(autouse=True)
def hasty_surrogate(monkeypatch):
    """How well the surrogate is fitted is not what is asked here, and takes the longest."""
    monkeypatch.setattr(surrogate, "fit_surrogate", partial(surrogate.fit_surrogate, steps=3))


class Wrapped(ModelHandle):
    """A torch module as a model."""

    def __init__(self, module: nn.Module, classes: int) -> None:
        super().__init__()
        self.module, self.n_outputs = module.eval(), classes

    def predict(self, x):
        return self.predict_proba(x).argmax(1)

    def predict_proba(self, x):
        with torch.no_grad():
            return self.module(torch.tensor(x, dtype=torch.float32)).softmax(1).numpy()

    def torch_module(self):
        return self.module


def suite(model, x, y, norm, radii, *, bounds=(0.0, 1.0), frozen=(), **params):
    """The campaign of all attacks of a norm, with its result made and checked."""
    table = x.ndim == 2
    schema = DataSchema(
        task="classification", input_shape=x.shape[1:], bounds=bounds,
        layout="table" if table else "image" if x.ndim == 4 else "array",
        features=tuple(f"f{i}" for i in range(x.shape[1])) if table else (),
    )  # fmt: skip
    split = Split(role="test", x=x, y=y, index=np.arange(len(x)), digest="")
    offers = Needs.LABELS | Needs.CLASSIFICATION | Needs.GRADIENTS | Needs.PROBABILITIES
    bundle = Bundle(model=model, splits={"test": split}, schema=schema, offers=offers)
    threat = ThreatModel(
        name="t", norm=norm, eps=tuple(Eps(eps, f"{eps!r}") for eps in radii), frozen=frozen
    )
    params = {"attacks": EVERY, "steps": 5, "searches": 2, "queries": 10, **params}
    given = SuiteParams(**params)
    target = Target(bundle, samples=None, device="cpu", batch_size=given.batch_size)
    campaign = run_suite(target, (threat,), given, seed=0, progress=lambda *_: None)
    result = check_result(assemble(campaign, (threat,), given, schema))
    assert not np.isnan(result.arrays["broken_eps.t"]).any()
    return campaign


def judge(campaign, exact, norm):
    """No attack breaks what is out of reach, and those that are sure to break the rest do."""
    for trial in campaign.trials:
        size = trial.size[trial.broken]
        assert np.isfinite(size).all()
        assert (size <= trial.eps * (1 + 1e-9)).all()
        assert (exact[trial.broken] <= trial.eps * (1 + 1e-6)).all(), trial.attack.name
        assert (size >= exact[trial.broken] * (1 - 1e-6)).all(), trial.attack.name
        if trial.attack.name in SURE and norm is not Norm.L0:
            near = campaign.right & (exact > 0) & (exact <= trial.eps / 1.25)
            assert trial.broken[near].all(), (trial.attack.name, trial.eps)


def linear(shape, classes=3, n=N, scale=1.0, dtype=np.float32):
    plain = LinearOracle.seeded(1, input_shape=shape, classes=classes)
    oracle = LinearOracle(plain.weights * scale, plain.bias * scale, input_shape=shape)
    x = np.random.default_rng(5).uniform(size=(n, *shape)).astype(dtype)
    return oracle, x


def against_the_truth(oracle, x, norm, bounds=(0.0, 1.0), **params):
    y = oracle.predict(x)
    exact = oracle.min_norm(x, y, norm, bounds)
    finite = exact[np.isfinite(exact) & (exact > 0)]
    # some are within reach, some need not be
    eps = 1.3 * float(np.median(finite)) if len(finite) else 1.0
    judge(suite(oracle, x, y, norm, (eps,), bounds=bounds, **params), exact, norm)


@pytest.mark.parametrize("side", [27, 28, 29])
def test_images_of_odd_sides(side):
    """With the attacks that know an image from a table, and one that does not."""
    for norm in CONVEX:
        oracle, x = linear((1, side, side), n=2)
        against_the_truth(oracle, x, norm, attacks=["square", "transfer", "fab"])


@pytest.mark.parametrize(
    ("shape", "norm"),
    [
        ((1, 1, 1), Norm.Linf),
        ((3, 1, 1), Norm.L2),
        ((2, 1, 5), Norm.L1),
        ((1, 7, 2), Norm.L2),
        ((2, 3), Norm.Linf),
    ],
    ids=str,
)
def test_shapes_of_no_size_and_of_other_proportions(shape, norm):
    against_the_truth(*linear(shape), norm)


@pytest.mark.parametrize(
    ("case", "norm"),
    [
        ({"shape": (1,), "classes": 2}, Norm.L2),
        ({"classes": 100, "steps": 20}, Norm.L1),
        ({"n": 1, "classes": 2}, Norm.L2),
        ({"scale": 1e6}, Norm.L1),
        ({"scale": 1e6}, Norm.L2),
        ({"scale": 1e-6}, Norm.Linf),
        ({"dtype": np.float64}, Norm.L1),
        ({"dtype": np.float64}, Norm.L0),
    ],
    ids=str,
)
def test_tables_and_models_of_any_size_and_scale(case, norm):
    steps = {"steps": case["steps"]} if "steps" in case else {}
    model = {key: value for key, value in case.items() if key != "steps"}
    against_the_truth(*linear(**{"shape": (4,), **model}), norm, **steps)


def test_data_at_its_bounds_without_any_and_without_room():
    oracle, x = linear((4,))
    against_the_truth(oracle, np.round(x), Norm.L1)
    against_the_truth(oracle, 100 * x, Norm.L2, None)
    x[:, 1] = 0.25
    against_the_truth(oracle, x, Norm.L1, ((0.0, 0.25, 0.0, 0.0), (1.0, 0.25, 1.0, 1.0)))


@pytest.mark.parametrize("norm", [Norm.L0, Norm.L2])
def test_one_column_alone_that_may_move(norm):
    oracle, x = linear((4,), n=8)
    y = oracle.predict(x)
    exact = np.empty(len(x))
    for i, row in enumerate(x):
        # what does not move is part of the bias
        rest = LinearOracle(oracle.weights[:, 2:3], oracle.logits(row[None])[0]
                            - oracle.weights[:, 2] * row[2])  # fmt: skip
        exact[i] = rest.min_norm(row[None, 2:3], y[i : i + 1], norm, (0.0, 1.0))[0]
    assert np.isfinite(exact).any()
    found = suite(oracle, x, y, norm, (0.5,), frozen=("f0", "f1", "f3"))
    judge(found, exact, norm)


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2])
def test_nothing_to_attack_and_no_radius(norm):
    oracle, x = linear((4,))
    y = oracle.predict(x)
    assert not any(trial.attacked for trial in suite(oracle, x, (y + 1) % 3, norm, (1.0,)).trials)
    assert not any(trial.broken.any() for trial in suite(oracle, x, y, norm, (0.0,)).trials)


@pytest.mark.parametrize("norm", [Norm.L0, Norm.L2, Norm.Linf])
def test_the_least_that_can_be_asked_of_each(norm):
    oracle, x = linear((4,), n=2)
    y = oracle.predict(x)
    exact = oracle.min_norm(x, y, norm, (0.0, 1.0))
    found = suite(oracle, x, y, norm, (1e-30, 1e6), steps=1, searches=1, queries=1,
                  noise_tries=1, restarts=2, batch_size=1,
                  attacks=EVERY + AVERAGED)  # fmt: skip
    for trial in found.trials:
        assert (exact[trial.broken] <= trial.eps).all()


class Constant(nn.Module):
    """The first of three classes whatever the input; its gradient is zero, or there is none."""

    def __init__(self, flat: float | None) -> None:
        super().__init__()
        self.flat = flat

    def forward(self, x):
        first = nn.functional.one_hot(torch.zeros(len(x), dtype=torch.long), 3).float()
        return first if self.flat is None else first + self.flat * x.flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize(("flat", "norm"), [(0.0, Norm.L1), (1.0, Norm.Linf), (0.0, Norm.L2)])
def test_a_constant_model_is_broken_by_nothing(flat, norm):
    _, x = linear((4,))
    y = np.zeros(N, dtype=np.int64)
    found = suite(Wrapped(Constant(flat), 3), x, y, norm, (0.5,))
    assert not any(trial.broken.any() for trial in found.trials)
    assert bool(found.flat.all()) or flat
    with pytest.raises(ModelError, match="no gradient to attack with"):
        suite(Wrapped(Constant(None), 3), x, y, norm, (0.5,))


class Masked(nn.Module):
    """Logits of a module, and a class behind them that can never be given."""

    def __init__(self, module: nn.Module, value: float) -> None:
        super().__init__()
        self.module, self.value = module, value

    def forward(self, x):
        logits = self.module(x)
        return torch.cat([logits, torch.full_like(logits[:, :1], self.value)], dim=1)


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("value", [pytest.param(-1e6, marks=pytest.mark.slow), -1e9])
def test_a_masked_class_spares_no_input(value, norm):
    oracle, x = linear((6,), n=40)
    y = oracle.predict(x)
    eps = 1.3 * float(np.median(oracle.min_norm(x, y, norm, (0.0, 1.0))))
    named = [n for n in (*SURE, "fgsm", "pgd", "apgd-t", "square") if norm in CATALOGUE[n].norms]
    broken = []
    for module, classes in (
        (oracle.torch_module(), 3),
        (Masked(oracle.torch_module(), value), 4),
    ):
        model = Wrapped(module, classes)
        campaign = suite(model, x, y, norm, (eps,), attacks=named, steps=20, queries=100)
        broken.append({t.attack.name: int(t.broken.sum()) for t in campaign.trials})
    plain, masked = broken
    assert min(plain.values()) > 10
    assert all(masked[name] >= plain[name] for name in named), broken
