"""Hinge training beside a plain torch loop, exact attacks, and the optimum beside its peers.

Run with ``python -m pytest benchmarks/test_linear.py --benchmark-only`` after ``pip install -e
'.[bench]'``. The attack and the optimum read MNIST from ``../shared/data`` where it is there.
"""

from __future__ import annotations

import gzip
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from robreport import Norm

FASTER, SAME = 5, 1e-5
ATTACK_SECONDS = 0.05
OPTIMUM_SECONDS = 90
DATA = Path(
    os.environ.get("ROBREPORT_SHARED_DATA")
    or Path(__file__).resolve().parent.parent.parent / "shared" / "data"
)


def like_mnist(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 784 values in [0, 1], mostly 0, of two classes that overlap little."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random(n) < 0.53, 1.0, -1.0)
    shapes = rng.random((2, 784)) ** 4
    x = np.clip(shapes[(y > 0).astype(int)] * rng.random((n, 784)) * 2, 0, 1)
    return np.where(rng.random((n, 784)) < 0.2, x, 0.0), y


def mnist(part: str) -> tuple[np.ndarray, np.ndarray]:
    folder = DATA / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no MNIST at {folder}")
    arrays = []
    for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
        with gzip.open(folder / f"{part}-{kind}-ubyte.gz") as file:
            arrays.append(np.frombuffer(file.read(), np.uint8, offset=header))
    images, labels = arrays
    chosen = labels < 2
    return images.reshape(-1, 784)[chosen] / 255.0, np.where(labels[chosen] == 1, 1.0, -1.0)


def by_torch(x: np.ndarray, y: np.ndarray, w: np.ndarray, eps: float, lr: float, mean: bool):
    """Ten epochs as anybody would write them; weights, bias, seconds without conversion."""
    import torch

    inputs, labels = torch.tensor(x), torch.tensor(y)
    layer = torch.nn.Linear(x.shape[1], 1).to(inputs.dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(w)[None])
        layer.bias.zero_()
    optimiser = torch.optim.SGD(layer.parameters(), lr=lr)
    start = time.perf_counter()
    for _ in range(10):
        for first in range(0, len(inputs), 100):
            part = slice(first, first + 100)
            optimiser.zero_grad()
            output = layer(inputs[part])[:, 0]
            losses = torch.clamp(1 - labels[part] * output + eps * layer.weight.norm(p=1), min=0)
            (losses.mean() if mean else losses.sum()).backward()
            optimiser.step()
    seconds = time.perf_counter() - start
    return layer.weight.detach().numpy()[0], layer.bias.item(), seconds


@pytest.mark.parametrize("eps", [0.0, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("source", ["synthetic", "mnist"])
def test_ten_epochs_beside_torch(benchmark, source: str, eps: float) -> None:
    import torch

    from robreport_plugins.linear.linear_model import LinearModel
    from robreport_plugins.linear.published_start import published_start
    from robreport_plugins.linear.training import BLOG_REGULAR, BLOG_ROBUST, train

    torch.set_num_threads(1)
    x, y = like_mnist(12_665) if source == "synthetic" else mnist("train")
    assert x.shape == (12_665, 784)
    start = published_start(784, eps)
    schedule = BLOG_ROBUST if eps else BLOG_REGULAR

    def ours() -> LinearModel:
        return train(
            x, y, eps=eps, norm=Norm.Linf, schedule=schedule, rng=np.random.default_rng(0),
            start=start,
        ).model  # fmt: skip

    found = benchmark.pedantic(ours, rounds=9, warmup_rounds=1)
    seconds = benchmark.stats.stats.median
    # Single precision is what a torch loop usually has, and faster; weights and bias are compared
    # in double, in which a row near its kink does not fall to one side here and the other there.
    given = (eps, schedule.lr, schedule.loss == "mean")
    f32 = [a.astype(np.float32) for a in (x, y, start.w)]
    torch_seconds = min(by_torch(f32[0], f32[1], f32[2], *given)[2] for _ in range(3))
    w, b, double_seconds = by_torch(x, y, start.w, *given)
    benchmark.extra_info |= {"torch_seconds": torch_seconds, "torch_double": double_seconds}
    off = max(np.abs(found.w - w).max(), abs(found.b - b))
    print(
        f"\ntorch {1000 * torch_seconds:.0f} ms (double {1000 * double_seconds:.0f} ms), robreport "
        f"{1000 * seconds:.0f} ms: {torch_seconds / seconds:.1f} times; weights within {off:.0e}"
    )
    assert off <= SAME
    assert torch_seconds >= FASTER * seconds


@pytest.mark.parametrize("source", ["synthetic", "mnist"])
def test_attack_over_a_grid(benchmark, source: str) -> None:
    from robreport_plugins.linear.exact_attack import perturbed_accuracy
    from robreport_plugins.linear.linear_model import LinearModel

    x, y = like_mnist(2115) if source == "synthetic" else mnist("t10k")
    model = LinearModel(w=np.random.default_rng(1).normal(size=784) / 28, b=0.1)
    grid = np.linspace(0, 0.5, 101)

    def both() -> tuple[np.ndarray, np.ndarray]:
        plain = perturbed_accuracy(model, x, y, grid, Norm.Linf)
        return plain, perturbed_accuracy(model, x, y, grid, Norm.Linf, (0, 1))

    plain, clipped = benchmark.pedantic(both, rounds=9, warmup_rounds=1)
    seconds = benchmark.stats.stats.median
    print(f"\n{len(x):,} rows, 101 eps, clipped and not: {1000 * seconds:.1f} ms")
    assert len(x) == 2115
    assert (clipped >= plain).all()
    assert seconds <= ATTACK_SECONDS


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2, Norm.Linf])
def test_optimum_beside_its_peer(benchmark, norm: Norm) -> None:
    from sklearn.datasets import load_breast_cancer

    from robreport_plugins.linear.optimum import solve

    # The peer is a reference of the tests.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from reference.hinge_optimum import reference_optimum

    x, y = load_breast_cancer(return_X_y=True)
    x, y = (x - x.mean(axis=0)) / x.std(axis=0), np.where(y == 1, 1, -1)
    found = benchmark.pedantic(lambda: solve(x, y, eps=0.1, norm=norm), rounds=5, warmup_rounds=1)
    start = time.perf_counter()
    peer = reference_optimum(x, y, eps=0.1, norm=norm)
    theirs = time.perf_counter() - start
    seconds = benchmark.stats.stats.median
    benchmark.extra_info |= {"peer_seconds": theirs, "gap": found.gap}
    print(f"\n{norm}: peer {1000 * theirs:.0f} ms, robreport {1000 * seconds:.0f} ms")
    assert abs(found.primal - peer.primal) <= 1e-6 * found.primal
    assert found.converged


@pytest.mark.parametrize(("norm", "eps"), [(Norm.Linf, 0.2), (Norm.L2, 1.0)])
def test_optimum_of_mnist(benchmark, norm: Norm, eps: float) -> None:
    from robreport_plugins.linear.optimum import solve

    x, y = mnist("train")
    found = benchmark.pedantic(lambda: solve(x, y, eps=eps, norm=norm), rounds=1)
    seconds = benchmark.stats.stats.median
    benchmark.extra_info |= {"gap": found.gap, "iterations": found.iterations}
    print(f"\n{norm} {eps}: {found.primal:.8f}, gap {found.gap:.1e}, {seconds:.1f} s")
    assert found.converged
    assert seconds <= OPTIMUM_SECONDS
