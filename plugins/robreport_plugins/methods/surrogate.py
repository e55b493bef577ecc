"""A small network that imitates a model by its own labels, for attacks to be carried over."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Rows = npt.NDArray[np.floating]

# Features that differ by less than this share of their mean are as good as constant.
_FLAT = 1e-6
_LEAST_SIDE = 8


def fit_surrogate(
    predict: Callable[[Rows], npt.NDArray[np.integer]],
    x: Rows,
    classes: int,
    *,
    seed: int,
    steps: int = 1500,
    batch: int = 128,
    width: int = 128,
    codes: Mapping[int, int] | None = None,
) -> nn.Module:
    """Return a network that was fitted to what the model says of these inputs.

    Parameters
    ----------
    predict : callable
        The model under audit: inputs ``(n, *shape)`` to classes ``(n,)``. It is asked once.
    x : array (n, *shape)
        Inputs of the declared training data; rows with missing values are left out.
    classes : int
        Number of classes, at least 2.
    seed : int
        Of the weights and the order of the inputs.
    steps : int
        Of the optimiser, at least 1: what bounds the time.
    batch, width : int
        Inputs in each step; units of each hidden layer.
    codes : mapping of int to int or None
        Of tables: the number of categories of each column of codes, by its position.

    Returns
    -------
    nn.Module
        Maps ``(n, *shape)`` float32 in data space to logits ``(n, classes)``; in eval mode, without
        gradients in its parameters.

    Raises
    ------
    ValueError
        No input without missing values, fewer than two classes, labels that do not fit.

    Notes
    -----
    Inputs are standardised inside of the network. Images of at least 8 by 8 (``C, H, W``) get two
    convolutions, all else two hidden layers, which see each category by itself. Adam with a rate
    that falls to zero. That attacks on such a substitute carry over to the model is the finding of
    Papernot et al. (2017).
    """
    if classes < 2 or steps < 1 or batch < 1 or width < 1:
        raise ValueError(
            "classes must be at least 2, and steps, batch and width at least 1, found "
            f"{classes}, {steps}, {batch} and {width}"
        )
    kept = np.isfinite(x.reshape(len(x), -1)).all(axis=1) if len(x) else np.zeros(0, dtype=bool)
    if not kept.any():
        raise ValueError("a surrogate needs inputs without missing values to learn from")
    inputs = torch.from_numpy(np.array(x[kept], dtype=np.float32))
    given = np.asarray(predict(x[kept]))
    fits = given.shape == (len(inputs),) and given.dtype.kind in "iu"
    if not fits or given.min() < 0 or given.max() >= classes:
        raise ValueError(f"the model gave no labels from 0 to {classes - 1} for the inputs")
    labels = torch.from_numpy(given.astype(np.int64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(inputs, classes, width, codes or {})
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    order = torch.randperm(len(inputs), generator=generator)
    place = 0
    for _ in range(steps):
        if place >= len(order):
            order, place = torch.randperm(len(inputs), generator=generator), 0
        rows = order[place : place + batch]
        place += batch
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(inputs[rows]), labels[rows]).backward()
        optimiser.step()
        falling.step()
    return network.eval().requires_grad_(False)


class _Standardise(nn.Module):
    """Each feature minus its mean, over its spread."""

    mean: Tensor
    spread: Tensor

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        exact = inputs.double()
        mean, spread = exact.mean(0), exact.std(0, correction=0)
        spread = torch.where(spread > _FLAT * mean.abs().clamp_min(1e-12), spread, 1.0)
        self.register_buffer("mean", mean.float())
        self.register_buffer("spread", spread.float())

    def forward(self, x: Tensor) -> Tensor:
        """Return the standardised inputs."""
        return (x - self.mean) / self.spread


class _Unfold(nn.Module):
    """Each column of codes as a column for each of its categories."""

    def __init__(self, codes: Mapping[int, int], columns: int) -> None:
        super().__init__()
        self.codes = dict(codes)
        self.others = [place for place in range(columns) if place not in codes]

    def forward(self, x: Tensor) -> Tensor:
        """Return the other columns, then those of the categories."""
        parts = [x[:, self.others]]
        for place, count in self.codes.items():
            code = x[:, place].round().long().clamp(0, count - 1)
            parts.append(nn.functional.one_hot(code, count).to(x))
        return torch.cat(parts, dim=1)


def _network(inputs: Tensor, classes: int, width: int, codes: Mapping[int, int]) -> nn.Module:
    if codes:
        unfold = _Unfold(codes, inputs.shape[1])
        return nn.Sequential(unfold, _network(unfold(inputs), classes, width, {}))
    shape = inputs.shape[1:]
    if len(shape) == 3 and min(shape[1:]) >= _LEAST_SIDE:
        centre = _Standardise(inputs.mean(dim=(2, 3), keepdim=True))
        # one scale for all places of a channel, so that the border's constant pixels stay quiet
        body = nn.Sequential(
            nn.Conv2d(shape[0], 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
            nn.Flatten(),
        )  # fmt: skip
        with torch.no_grad():
            wide = body(centre(inputs[:1])).shape[1]
        return nn.Sequential(
            centre, body, nn.Linear(wide, width), nn.ReLU(), nn.Linear(width, classes)
        )
    return nn.Sequential(
        _Standardise(inputs), nn.Flatten(), nn.Linear(inputs[0].numel(), width), nn.ReLU(),
        nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes),
    )  # fmt: skip
