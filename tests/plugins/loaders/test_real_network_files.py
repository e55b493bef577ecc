"""Published networks in other people's formats, scored on all of their test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robreport import DataSchema, ModelSource, Split
from robreport_plugins.loaders.idx import IdxLoader
from robreport_plugins.loaders.mat_model import MatLoader
from robreport_plugins.loaders.onnx_model import OnnxLoader

pytestmark = pytest.mark.real

SCHEMA = DataSchema(
    task="classification", input_shape=(1, 28, 28), layout="image",
    classes=tuple(map(str, range(10))), bounds=(0.0, 1.0),
)  # fmt: skip


def test_the_competition_network_by_both_runtimes(shared_data: Path, load_data: Any) -> None:
    data = load_data(IdxLoader(), root=shared_data / "mnist")
    loader = OnnxLoader()
    handle = loader.load(
        ModelSource(
            name="m", path=shared_data / "vnncomp2021" / "mnist-net_256x2.onnx", base=shared_data,
            options=loader.Options(gradients=True), schema=SCHEMA, examples=data.x[:64],
        )
    )  # fmt: skip
    logits = handle.logits(data.x)
    assert len(logits) == 10_000
    assert (handle.predict(data.x) == data.y).mean() == 0.9808
    with torch.inference_mode():
        twin = handle.torch_module()(torch.from_numpy(np.array(data.x))).numpy()
    assert (twin.argmax(1) == data.y).mean() == 0.9808
    assert np.abs(twin - logits).max() < 1e-5
    rows = Split(role="test", x=data.x, y=data.y, index=np.arange(10_000), digest="")
    (words,) = handle.examine({"test": rows}).values()
    assert str(words).startswith("10,000 of 10,000 rows compared")
    assert str(words).endswith("the same class on each")


def test_its_published_verdicts(shared_data: Path, load_data: Any) -> None:
    """Where the tools proved a property, no point inside may break it: PGD is the try."""
    import csv

    data = load_data(IdxLoader(), root=shared_data / "mnist")
    loader = OnnxLoader()
    handle = loader.load(
        ModelSource(
            name="m", path=shared_data / "vnncomp2021" / "mnist-net_256x2.onnx", base=shared_data,
            options=loader.Options(), schema=SCHEMA,
        )
    )  # fmt: skip
    module = handle.torch_module()
    with (shared_data / "vnncomp2021" / "instances.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["net"] == "mnist-net_256x2"]
    held = broken = 0
    for row in rows:
        eps, label = float(row["eps_linf"]), int(row["label"])
        x0 = torch.from_numpy(np.array(data.x[int(row["test_index"])][None]))
        assert int(data.y[int(row["test_index"])]) == label
        generator = torch.Generator().manual_seed(0)
        x = x0 + eps * (2 * torch.rand((20, *x0.shape[1:]), generator=generator) - 1)
        target = torch.full((20,), label)
        for _ in range(60):
            x = x.clamp(0, 1).detach().requires_grad_()
            loss = torch.nn.functional.cross_entropy(module(x), target, reduction="sum")
            (slope,) = torch.autograd.grad(loss, x)
            x = torch.maximum(torch.minimum(x + eps / 10 * slope.sign(), x0 + eps), x0 - eps)
        found = bool((handle.predict(x.clamp(0, 1).detach().numpy()) != label).any())
        if row["verdict"] == "holds":
            assert not found, row
            held += 1
        elif row["verdict"] == "violated":
            broken += found
    assert held > 0
    assert broken > 0


@pytest.mark.parametrize(
    ("dataset", "file", "accuracy"),
    [
        ("mnist", "mmr_univ_mnist_gammas_1.0_0.175_lambdas_3.0_12.0.mat", 0.9696),
        ("fashion-mnist", "mmr_univ_fmnist_gammas_1.0_0.15_lambdas_3.0_40.0.mat", 0.8143),
    ],
)
def test_the_networks_of_the_curve_study(
    dataset: str, file: str, accuracy: float, shared_data: Path, load_model: Any, load_data: Any
) -> None:
    data = load_data(IdxLoader(), root=shared_data / dataset)
    path = shared_data / "models" / "mmr-universal" / file
    handle = load_model(MatLoader(), path, schema=SCHEMA)
    assert len(data.x) == 10_000
    assert (handle.predict(data.x) == data.y).mean() == accuracy
