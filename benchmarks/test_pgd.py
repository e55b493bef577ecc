"""PGD beside a bare torch loop, Foolbox, ART and torchattacks: same network, images, steps.

Run with ``python -m pytest benchmarks/test_pgd.py --benchmark-only`` after ``pip install -e
'.[bench]'``; it reads the real data beside the checkout. Every contestant must leave exactly
75 of the 500 images, so that nobody is fast by doing less.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from mnist_networks import data_folder, images, network
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.perturb_pgd import pgd

N, EPS, STEP, STEPS, LEFT = 500, 0.1, 0.01, 40, 75
MOST = 1.15
ROUNDS = 5

Attack = Callable[[], Tensor]


@pytest.fixture(scope="module")
def duel():
    """The network, the first 500 test images and their labels."""
    folder = data_folder()
    torch.set_num_threads(2)
    return network(folder), *images(folder, N)


def bare(module: nn.Module, x: Tensor, y: Tensor) -> Attack:
    def attack() -> Tensor:
        x_adv = x.clone()
        for _ in range(STEPS):
            x_adv.requires_grad_(True)
            loss = nn.functional.cross_entropy(module(x_adv), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, x_adv)
            x_adv = x_adv.detach() + STEP * gradient.sign()
            x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS).clamp(0, 1)
        return x_adv

    return attack


def ours(module: nn.Module, x: Tensor, y: Tensor, *, early_stop: bool = True) -> Attack:
    return lambda: pgd(
        module, x, y, norm=Norm.Linf, eps=EPS, bounds=(0.0, 1.0), steps=STEPS, step=STEP,
        random_start=False, early_stop=early_stop,
    ).x_adv  # fmt: skip


def ours_to_the_end(module: nn.Module, x: Tensor, y: Tensor) -> Attack:
    """The same work as the others: no example leaves the batch."""
    return ours(module, x, y, early_stop=False)


def foolbox(module: nn.Module, x: Tensor, y: Tensor) -> Attack:
    fb = pytest.importorskip("foolbox")
    model = fb.PyTorchModel(module, bounds=(0, 1), device="cpu")
    attack = fb.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=False)
    return lambda: attack(model, x, y, epsilons=EPS)[1]


def art(module: nn.Module, x: Tensor, y: Tensor) -> Attack:
    pytest.importorskip("art")
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    model = PyTorchClassifier(
        module, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, clip_values=(0, 1), device_type="cpu"
    )
    attack = ProjectedGradientDescentPyTorch(
        model, norm=np.inf, eps=EPS, eps_step=STEP, max_iter=STEPS, batch_size=N, verbose=False
    )
    return lambda: torch.from_numpy(attack.generate(x.numpy(), y.numpy()))


def torchattacks(module: nn.Module, x: Tensor, y: Tensor) -> Attack:
    peer = pytest.importorskip("torchattacks")
    attack = peer.PGD(module, eps=EPS, alpha=STEP, steps=STEPS, random_start=False)
    return lambda: attack(x, y)


CONTESTANTS = (bare, ours, ours_to_the_end, foolbox, art, torchattacks)


def left(module: nn.Module, x_adv: Tensor, y: Tensor) -> int:
    with torch.no_grad():
        return int((module(x_adv).argmax(1) == y).sum())


@pytest.mark.benchmark(group="PGD-40, Linf, 500 MNIST images")
@pytest.mark.parametrize("contestant", CONTESTANTS, ids=lambda c: c.__name__)
def test_pgd(benchmark, duel, contestant):
    module, x, y = duel
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' own
        attack = contestant(module, x, y)
        x_adv = benchmark.pedantic(attack, rounds=ROUNDS, warmup_rounds=1)
    assert left(module, x_adv, y) == LEFT
    benchmark.extra_info["robust_accuracy"] = LEFT / N


@pytest.mark.parametrize("own", [ours, ours_to_the_end], ids=lambda c: c.__name__)
def test_pgd_costs_at_most_15_percent_more_than_a_bare_loop(duel, own):
    """Turn and turn about, so that a busy machine slows both alike; medians are compared."""
    times: dict[str, list[float]] = {"bare": [], "own": []}
    runs = {"bare": bare(*duel), "own": own(*duel)}
    for attack in runs.values():
        attack()
    for _ in range(ROUNDS):
        for name, attack in runs.items():
            started = time.perf_counter()
            attack()
            times[name].append(time.perf_counter() - started)
    ratio = statistics.median(times["own"]) / statistics.median(times["bare"])
    assert ratio <= MOST, f"{ratio:.2f} times the bare loop"
