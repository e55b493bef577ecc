"""The walk along the averaged boundary: more budget finds more, and the real figures hold."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from robreport import Norm
from robreport_plugins.methods.geometry import norms
from robreport_plugins.methods.perturb_closest import closest


def test_restarts_find_what_one_walk_does_not():
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Linear(10, 30), nn.ReLU(), nn.Linear(30, 30), nn.ReLU(), nn.Linear(30, 4)
    )
    x = torch.rand(30, 10)
    y = net(x).argmax(1)

    def sizes(steps):
        found = closest(
            net, x, y, norm=Norm.L2, bounds=(0.0, 1.0), steps=steps,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        assert found.gradients <= steps * len(x)
        size = norms(found.x_adv - x, Norm.L2)
        return torch.where(found.claimed, size, torch.inf)

    few, many = sizes(30), sizes(300)
    assert torch.isfinite(many).all()
    assert float(many.median()) <= float(few.median())
    assert (many < 0.99 * few).any()
    # They are random, and the generator is their only source.
    torch.manual_seed(9)
    assert many.equal(sizes(300))


@pytest.mark.real
@pytest.mark.parametrize(
    ("norm", "peer"),
    # On the first 100 images, 100 gradients each: Foolbox's DDN, FMN, and 1,000 of
    # Brendel-Bethge's on the first 200.
    [(Norm.L2, 0.9459), (Norm.Linf, 0.0675), (Norm.L1, 6.14)],
)
def test_the_medians_on_mnist_are_below_those_of_foolbox(shared_data, norm, peer):
    spec = json.loads((shared_data / "models" / "models.json").read_text())["mnist-cnn-small-nor"]
    weights = load_file(shared_data / "models" / spec["file"])
    layers = []
    for kind, *rest in spec["architecture"]:
        if kind in ("conv", "linear"):
            w, b = weights[f"{rest[0]}.weight"], weights[f"{rest[0]}.bias"]
            layer = (
                nn.Conv2d(w.shape[1], w.shape[0], w.shape[2], rest[1], rest[2])
                if kind == "conv"
                else nn.Linear(w.shape[1], w.shape[0])
            )
            layer.weight.data, layer.bias.data = w, b
            layers.append(layer)
        else:
            layers.append({"relu": nn.ReLU, "flatten": nn.Flatten}[kind]())
    net = nn.Sequential(*layers).eval()
    mnist = shared_data / "mnist"
    pixels = gzip.decompress((mnist / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((mnist / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    x = np.frombuffer(pixels, np.uint8).reshape(-1, 1, 28, 28)[:100].astype(np.float32) / 255
    y = torch.from_numpy(np.frombuffer(labels, np.uint8)[:100].astype(np.int64))
    x = torch.from_numpy(x)
    found = closest(net, x, y, norm=norm, bounds=(0.0, 1.0), steps=100)
    with torch.no_grad():
        assert (net(found.x_adv).argmax(1) != y).all()
    assert found.gradients <= 100 * len(x)
    assert np.median(norms(found.x_adv - x, norm).numpy()) <= peer
