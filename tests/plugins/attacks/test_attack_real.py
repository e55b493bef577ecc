"""Published and measured figures on a real network: 15.0 % at eps = 0.1, and a strong L1 attack."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference.bare_pgd import bare_pgd
from safetensors.torch import load_file
from torch import nn

from robreport import Bundle, Context, DataSchema, Eps, ModelHandle, Norm, Split, ThreatModel
from robreport_plugins.attacks.metrics import AttackSuite
from robreport_plugins.attacks.params import SuiteParams

pytestmark = pytest.mark.real


class Network(ModelHandle):
    n_outputs = 10

    def __init__(self, module):
        super().__init__()
        self.module = module

    def predict(self, x):
        with torch.no_grad():
            return self.module(torch.from_numpy(np.array(x))).argmax(1).numpy()

    def torch_module(self):
        return self.module


def build(folder, name):
    spec = json.loads((folder / "models" / "models.json").read_text())[name]
    weights = load_file(folder / "models" / spec["file"])
    layers = []
    for kind, *rest in spec["architecture"]:
        if kind == "conv":
            w = weights[f"{rest[0]}.weight"]
            layer = nn.Conv2d(w.shape[1], w.shape[0], w.shape[2], rest[1], rest[2])
        elif kind == "linear":
            w = weights[f"{rest[0]}.weight"]
            layer = nn.Linear(w.shape[1], w.shape[0])
        else:
            layers.append({"relu": nn.ReLU, "flatten": nn.Flatten}[kind]())
            continue
        layer.weight.data, layer.bias.data = w, weights[f"{rest[0]}.bias"]
        layers.append(layer)
    return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def bundle(shared_data):
    pixels = gzip.decompress((shared_data / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())[
        16:
    ]
    labels = gzip.decompress((shared_data / "mnist" / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    n = 500
    x = np.frombuffer(pixels, np.uint8).reshape(-1, 1, 28, 28)[:n].astype(np.float32) / np.float32(
        255
    )
    y = np.frombuffer(labels, np.uint8)[:n].astype(np.int64)
    split = Split(role="test", x=x, y=y, index=np.arange(n), digest="")
    schema = DataSchema(
        task="classification", input_shape=(1, 28, 28), layout="image", bounds=(0.0, 1.0),
        classes=tuple(map(str, range(10))),
    )  # fmt: skip
    model = Network(build(shared_data, "mnist-cnn-small-nor"))
    return Bundle(model=model, splits={"test": split}, schema=schema, offers=AttackSuite.needs)


def audit(bundle, norm, eps, **params):
    threat = ThreatModel(name="t", norm=norm, eps=(Eps(eps, str(eps)),))
    return AttackSuite().compute(bundle, SuiteParams(**params), Context(threats=(threat,)))


def test_pgd_leaves_exactly_fifteen_percent(bundle):
    x, y = torch.from_numpy(bundle.split("test").x), bundle.split("test").labels
    x_adv = bare_pgd(bundle.model.torch_module(), x, torch.from_numpy(y), 0.1, 0.01, 40)
    assert (bundle.model.predict(x_adv.numpy()) == y).sum() == 75
    result = audit(
        bundle,
        Norm.Linf,
        0.1,
        attacks=["pgd"],
        steps=40,
        step=0.01,
        random_start=False,
        samples=500,
    )
    scalar = result.scalars["robust_accuracy[t, 0.1]"]
    assert (scalar.value, scalar.n) == (0.15, 500)
    assert round(scalar.low, 3) == 0.120
    assert round(scalar.high, 3) == 0.184
    assert not result.caveats
    assert all(check.passed for check in result.checks)


class Defended(nn.Module):
    """The network behind something that only looks like a defence."""

    def __init__(self, inner, before=None, after=None):
        super().__init__()
        self.inner, self.before, self.after = inner, before, after

    def forward(self, x):
        out = self.inner(x if self.before is None else self.before(x))
        return out if self.after is None else self.after(out)


def noisy(x):
    return x + 0.1 * torch.randn_like(x)


FLAWS = {
    # what softmax of so large logits leaves of the cross-entropy's gradient is zero
    "saturated": ({"after": lambda z: z * 1000}, {"zero-gradients", "gradient-masking-suspected"}),
    # and here Square finds what the gradients do not
    "quantised": (
        {"before": lambda x: torch.round(x * 7) / 7},
        {"zero-gradients", "stronger-black-box", "survives-everything"},
    ),
    "random": ({"before": noisy}, {"random-output"}),
    "undefended": ({}, set()),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_what_only_looks_like_a_defence_is_caught(bundle, flaw):
    torch.manual_seed(0)
    parts, expected = FLAWS[flaw]
    model = Network(Defended(bundle.model.torch_module(), **parts))
    result = audit(replace(bundle, model=model), Norm.Linf, 0.1, samples=100, queries=300)
    codes = {caveat.code for caveat in result.caveats}
    assert expected <= codes
    assert bool(codes) == bool(expected)


def test_l1_reaches_the_median_of_brendel_bethge(bundle):
    # On the first 200 images half fall to Brendel-Bethge at 6.14 (52 s), to FMN at 7.48, to EAD at
    # 8.29. Foolbox's and ART's own L1 PGD leave over 90 % there.
    strong = audit(bundle, Norm.L1, 6.14, samples=200, attacks=["pgd"], steps=100)
    assert strong.scalars["robust_accuracy[t, 6.14]"].value <= 0.515
    quick = audit(bundle, Norm.L1, 7.48, samples=200)
    assert quick.scalars["robust_accuracy[t, 7.48]"].value < 0.45


def test_l2_reaches_the_median_of_ddn(bundle):
    # DDN's median over these images is 0.977, after 100 steps.
    found = audit(
        bundle, Norm.L2, 0.977, samples=500, attacks=["pgd"], step=0.977 / 4, random_start=False
    )
    assert found.scalars["robust_accuracy[t, 0.977]"].value <= 0.5
