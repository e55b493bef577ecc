"""FMN in L0: how many features have to change."""

from __future__ import annotations

import numpy as np
import torch

from robreport import Norm
from robreport.testing import LinearOracle
from robreport_plugins.methods.perturb_fmn import fmn


def fewest(oracle, x, y):
    """How many features of each point a two-class linear model needs changed inside [0, 1].

    The most useful are changed first, each as far as its bound: nothing does more with so many.
    """
    w = oracle.weights[1] - oracle.weights[0]
    toward = np.where(y == 0, 1.0, -1.0)[:, None] * w
    gains = np.sort(np.where(toward > 0, toward * (1 - x), -toward * x), axis=1)[:, ::-1]
    logits = oracle.logits(x)
    gap = np.abs(logits[:, 1] - logits[:, 0])
    return (gains.cumsum(axis=1) <= gap[:, None]).sum(axis=1) + 1


def test_few_features_more_than_the_fewest_are_changed():
    rng = np.random.default_rng(0)
    oracle = LinearOracle.binary(w := rng.normal(size=30), float(-0.5 * w.sum()))
    x = rng.uniform(size=(40, 30)).astype(np.float32)
    y = oracle.predict(x)
    exact = fewest(oracle, x.astype(np.float64), y)
    reachable = exact <= 30
    found = fmn(
        oracle.torch_module(), torch.from_numpy(x), torch.from_numpy(y), norm=Norm.L0,
        bounds=(0.0, 1.0), steps=30,
    )  # fmt: skip
    assert found.claimed.numpy()[reachable].all()
    assert (oracle.predict(found.x_adv.numpy()) != y)[reachable].all()
    changed = (found.x_adv.numpy() != x).sum(axis=1)
    assert (changed >= exact)[reachable].all()
    assert (changed - exact)[reachable].mean() <= 0.5
