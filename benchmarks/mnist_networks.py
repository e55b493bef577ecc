"""The real MNIST images and networks beside the checkout, for the contests of attacks."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn


def data_folder() -> Path:
    """Return the folder of the real data; the case is skipped where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ROBREPORT_SHARED_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (ROBREPORT_SHARED_DATA names another folder)")
    return folder


def network(folder: Path, name: str = "mnist-cnn-small-nor") -> nn.Module:
    """Return a network by its name in ``models.json``."""
    spec = json.loads((folder / "models" / "models.json").read_text())[name]
    weights = load_file(folder / "models" / spec["file"])
    layers: list[nn.Module] = []
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
    return nn.Sequential(*layers).eval()


def images(folder: Path, n: int) -> tuple[Tensor, Tensor]:
    """Return the first n test images in [0, 1], ``(n, 1, 28, 28)``, and their labels."""
    mnist = folder / "mnist"
    pixels = gzip.decompress((mnist / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((mnist / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    x = np.frombuffer(pixels, np.uint8).reshape(-1, 1, 28, 28)[:n].astype(np.float32)
    y = np.frombuffer(labels, np.uint8)[:n].astype(np.int64)
    return torch.from_numpy(x / np.float32(255)), torch.from_numpy(y)
