"""The network of this audit, and how it was trained; the audit calls both by name."""

import numpy as np
import torch
from torch import nn


def small_cnn() -> nn.Module:
    """Two convolutions and two linear layers for 8 × 8 grey images, ten classes."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 4 * 4, 48),
        nn.ReLU(),
        nn.Linear(48, 10),
    )


def train(x: np.ndarray, y: np.ndarray, seed: int, epochs: int = 40) -> nn.Module:
    """Fit the network to images ``(n, 1, 8, 8)`` in [0, 1] and labels ``(n,)``."""
    torch.manual_seed(seed)
    module = small_cnn()
    inputs = torch.as_tensor(np.asarray(x), dtype=torch.float32)
    labels = torch.as_tensor(np.asarray(y), dtype=torch.int64)
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-3, weight_decay=1e-4)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs), generator=order).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(inputs[batch]), labels[batch]).backward()
            optimiser.step()
    return module.eval()
