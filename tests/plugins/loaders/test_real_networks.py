"""Twenty published networks read from their declarative lists."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from robreport import LoadedData
from robreport_plugins.loaders.idx import IdxLoader
from robreport_plugins.loaders.npz import NpzLoader
from robreport_plugins.loaders.torch_file import TorchLoader

pytestmark = pytest.mark.real

NAMES = {
    "mnist-cnn-small-nor": 0.9892,
    "mnist-cnn-small-adv": 0.9903,
    "mnist-cnn-small-lpd": 0.9890,
    "mnist-cnn-wide-1-lpd": 0.9819,
    "mnist-mlp-9-100-nor": 0.9778,
    "kw-fashion-mnist": 0.7827,
    "cnn-small-b": 0.9669,
    "mlp-3layer": 0.9752,
    "mlp-2-20": 0.8839,
    "adv-mlp-b-0.05": 0.9838,
}


def _model(folder: Path, name: str, data: LoadedData, load_model: Any) -> Any:
    entry = json.loads((folder / "models" / "models.json").read_text())[name]
    assert entry["clean_accuracy_measured_on_all_10000"] == NAMES.get(
        name, entry["clean_accuracy_measured_on_all_10000"]
    )
    return entry, load_model(
        TorchLoader(),
        folder / "models" / entry["file"],
        architecture=entry["architecture"],
        input={"shape": data.x.shape[1:], "normalize": entry["normalize"]},
    )


@pytest.mark.parametrize("name", NAMES)
def test_published_accuracy_on_all_images(
    name: str, shared_data: Path, load_model: Any, load_data: Any
) -> None:
    entries = json.loads((shared_data / "models" / "models.json").read_text())
    data = load_data(IdxLoader(), root=shared_data / entries[name]["dataset"])
    _, handle = _model(shared_data, name, data, load_model)
    assert len(data.x) == 10_000
    assert round(float((handle.predict(data.x) == data.y).mean()), 4) == NAMES[name]


@pytest.mark.parametrize("name", ["cifar-cnn-small-nor", "cifar-cnn-small-adv"])
def test_normalised_networks_agree_with_a_bare_loop(
    name: str, shared_data: Path, load_model: Any, load_data: Any
) -> None:
    data = load_data(
        NpzLoader(), root=shared_data / "cifar10", path="test-0-4999.npz", layout="NHWC"
    )
    entry, handle = _model(shared_data, name, data, load_model)
    state = load_file(shared_data / "models" / entry["file"])
    raw = np.load(shared_data / "cifar10" / "test-0-4999.npz")
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in entry["normalize"])
    h = torch.tensor(raw["x"].transpose(0, 3, 1, 2) / np.float32(255), dtype=torch.float32)
    h = (h - mean) / std
    h = functional.conv2d(h, state["0.weight"], state["0.bias"], 2, 1).relu()
    h = functional.conv2d(h, state["2.weight"], state["2.bias"], 2, 1).relu().flatten(1)
    h = functional.linear(h, state["5.weight"], state["5.bias"]).relu()
    h = functional.linear(h, state["7.weight"], state["7.bias"])
    np.testing.assert_allclose(handle.logits(data.x), h.numpy(), atol=1e-4)
    accuracy = float((handle.predict(data.x) == data.y).mean())
    assert accuracy == pytest.approx(float((h.argmax(1).numpy() == raw["y"]).mean()), abs=4e-4)
    # Half of the images; the published accuracy is on all, so four standard errors around it.
    published = entry["clean_accuracy_measured_on_all_10000"]
    assert abs(accuracy - published) < 4 * np.sqrt(published * (1 - published) / 5000)


def test_idx_agrees_with_plain_reading(shared_data: Path, load_data: Any) -> None:
    data = load_data(IdxLoader(), "train", root=shared_data / "fashion-mnist")
    with gzip.open(shared_data / "fashion-mnist" / "train-images-idx3-ubyte.gz") as stream:
        plain = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(60_000, 1, 28, 28)
    assert data.x.shape == plain.shape
    np.testing.assert_array_equal(data.x[::500], plain[::500] / np.float32(255))
    assert data.y is not None
    assert np.bincount(data.y).tolist() == [6000] * 10
