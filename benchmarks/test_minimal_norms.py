"""The smallest perturbations beside Foolbox's DDN, FMN, EAD and Brendel-Bethge: medians.

Run with ``python -m pytest benchmarks/test_minimal_norms.py -s`` after ``pip install -e
'.[bench]'``; it reads the real data beside the checkout and takes most of an hour on one core,
the cases of 100 steps a fifth of it (``-k 100``). Gradients are counted by the same hook on the
same network for everybody, and everybody's result is judged by the same function: a failure, or
a pixel out of bounds, counts as infinitely far.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from mnist_networks import data_folder, images, network
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.perturb_closest import closest
from robreport_plugins.methods.perturb_ddn import ddn
from robreport_plugins.methods.perturb_ead import ead
from robreport_plugins.methods.perturb_fmn import fmn

N = 500
# Brendel-Bethge takes seconds for each image at 1,000 steps: it runs on the first of them, and
# ours is compared with it on these.
FEW = {100: N, 1000: 100}
LEAST_SUCCESS = 0.99


@pytest.fixture(scope="module")
def duel():
    """The network, the first 500 test images and their labels."""
    folder = data_folder()
    return network(folder).requires_grad_(False), *images(folder, N)


class CountGradients(torch.autograd.Function):
    """The identity, which counts the examples whose gradient passes."""

    @staticmethod
    def forward(ctx, x, counter):
        ctx.counter = counter
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.counter.gradients += len(gradient)
        return gradient, None


class Counted(nn.Module):
    """A network that counts the gradients of single examples taken in its inputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.gradients = 0
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.module(CountGradients.apply(x, self) if x.requires_grad else x)


@dataclass
class Entry:
    """What one contestant found."""

    name: str
    sizes: np.ndarray
    gradients: float

    def line(self) -> str:
        success = np.isfinite(self.sizes).mean()
        return (
            f"{self.name:24} median {np.median(self.sizes):.4f}  success {success:.3f}  "
            f"gradients {self.gradients:.1f}  images {len(self.sizes)}"
        )


def judged(module: nn.Module, x: Tensor, y: Tensor, x_adv: Tensor, norm: Norm) -> np.ndarray:
    """Return how far each adversarial lies, infinity where there is none."""
    with torch.no_grad():
        broken = module(x_adv).argmax(1) != y
    valid = ((x_adv >= 0) & (x_adv <= 1)).flatten(1).all(1)
    delta = (x_adv.double() - x.double()).flatten(1).numpy()
    sizes = np.linalg.norm(delta, ord=norm.order, axis=1)
    return np.where((broken & valid).numpy(), sizes, np.inf)


def peers(norm: Norm, steps: int):
    """Yield (name, Foolbox attack, images) of all that work in the norm."""
    attacks = pytest.importorskip("foolbox").attacks
    if norm is Norm.L2:
        yield "Foolbox DDN", attacks.DDNAttack(steps=steps), N
    fast = {
        Norm.L1: attacks.L1FMNAttack,
        Norm.L2: attacks.L2FMNAttack,
        Norm.Linf: attacks.LInfFMNAttack,
    }[norm]
    yield "Foolbox FMN", fast(steps=steps), N
    if norm is Norm.L1:
        searches = 9
        yield (
            "Foolbox EAD",
            attacks.EADAttack(
                binary_search_steps=searches, steps=steps // searches, decision_rule="L1"
            ),
            N,
        )
    boundary = {
        Norm.L1: attacks.L1BrendelBethgeAttack,
        Norm.L2: attacks.L2BrendelBethgeAttack,
        Norm.Linf: attacks.LinfinityBrendelBethgeAttack,
    }[norm]
    yield "Foolbox Brendel-Bethge", boundary(steps=steps), FEW[steps]


def foolbox(name, attack, count, module, x, y, norm) -> Entry:
    import foolbox as fb

    counted = Counted(module)
    torch.manual_seed(0)
    np.random.seed(0)
    model = fb.PyTorchModel(counted, bounds=(0, 1), device="cpu")
    found = attack(model, x[:count], y[:count], epsilons=None)[1].clamp(0, 1)
    sizes = judged(module, x[:count], y[:count], found, norm)
    return Entry(name, sizes, counted.gradients / count)


def ours(attack, module, x, y, norm, steps) -> Entry:
    counted = Counted(module)
    attempt = attack(
        counted, x, y, norm=norm, bounds=(0.0, 1.0), steps=steps,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    # The attack's own count is true.
    assert attempt.gradients == counted.gradients
    sizes = judged(module, x, y, attempt.x_adv, norm)
    return Entry(attack.__name__, sizes, counted.gradients / len(x))


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("steps", [100, 1000])
@pytest.mark.parametrize("norm", [Norm.L2, Norm.Linf, Norm.L1], ids=lambda n: n.value)
def test_the_median_is_no_worse_than_the_best_of_foolbox(duel, norm, steps):
    module, x, y = duel
    own = ours(closest, module, x, y, norm, steps)
    print(f"\n{norm.value}, {steps} steps\n{own.line()}")
    assert own.gradients <= steps
    assert np.isfinite(own.sizes).mean() >= LEAST_SUCCESS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' own
        for name, attack, count in peers(norm, steps):
            peer = foolbox(name, attack, count, module, x, y, norm)
            same = np.median(own.sizes[:count])
            print(f"{peer.line()}  (closest there {same:.4f})")
            assert same <= np.median(peer.sizes), name


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("attack", "norm", "peer"),
    [
        (ddn, Norm.L2, "Foolbox DDN"),
        (fmn, Norm.L2, "Foolbox FMN"),
        (fmn, Norm.Linf, "Foolbox FMN"),
        (fmn, Norm.L1, "Foolbox FMN"),
        (ead, Norm.L1, "Foolbox EAD"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_each_is_no_worse_than_its_namesake_at_100_steps(duel, attack, norm, peer):
    module, x, y = duel
    own = ours(attack, module, x, y, norm, 100)
    print(f"\n{norm.value}, 100 steps\n{own.line()}")
    assert own.gradients <= 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, theirs, count in peers(norm, 100):
            if name == peer:
                entry = foolbox(name, theirs, count, module, x, y, norm)
                print(entry.line())
                assert np.median(own.sizes) <= np.median(entry.sizes)
