"""Hinge training against torch autograd, a plain twin, and what can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference import hinge_descent

from robreport import Norm
from robreport_plugins.linear import _kernels
from robreport_plugins.linear.linear_model import LinearModel, dual_length, robust_hinge
from robreport_plugins.linear.training import Schedule, train

NORMS = [Norm.L1, Norm.L2, Norm.Linf]
Q = {Norm.L1: 0, Norm.L2: 2, Norm.Linf: 1}


def rows(n: int = 37, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.6, 1.0, -1.0)
    return rng.normal(size=(n, d)) + 0.5 * y[:, None], y


def by_torch(
    x: np.ndarray, y: np.ndarray, start: LinearModel, eps: float, norm: Norm, schedule: Schedule,
    orders: list[np.ndarray],
) -> list[np.ndarray]:  # fmt: skip
    """Weights and bias after each step of torch's own SGD on its own gradients."""
    import torch

    w = torch.tensor(start.w, requires_grad=True)
    b = torch.tensor(start.b, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([w, b], lr=schedule.lr, momentum=schedule.momentum)
    inputs, labels = torch.tensor(x), torch.tensor(y)
    steps = []
    for order in orders:
        for first in range(0, len(x), schedule.batch):
            at = torch.tensor(order[first : first + schedule.batch])
            optimiser.zero_grad()
            length = torch.linalg.vector_norm(w, ord=norm.dual.order)
            losses = torch.clamp(1 - labels[at] * (inputs[at] @ w + b) + eps * length, min=0)
            (losses.mean() if schedule.loss == "mean" else losses.sum()).backward()
            optimiser.step()
            steps.append(np.append(w.detach().numpy(), b.item()))
    return steps


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [0.0, 0.3])
@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(epochs=3, batch=10, lr=0.05),
        Schedule(epochs=3, batch=10, lr=0.01, loss="sum", momentum=0.9),
        Schedule(epochs=2, batch=100, lr=0.3, momentum=0.5),
    ],
)
def test_every_step_is_torchs(norm: Norm, eps: float, schedule: Schedule) -> None:
    x, y = rows()
    w = np.zeros(6) if schedule.lr == 0.05 else np.random.default_rng(1).normal(size=6)
    start = LinearModel(w=w, b=0.25)
    orders = [np.arange(len(x))] * schedule.epochs
    expected = by_torch(x, y, start, eps, norm, schedule, orders)
    # Step for step: the kernel is called with one batch at a time.
    state, velocity = np.append(start.w, start.b), np.zeros(7)
    at = 0
    for _ in orders:
        for first in range(0, len(x), schedule.batch):
            part = slice(first, first + schedule.batch)
            chosen = np.arange(len(x[part]))
            _kernels.descend(
                np.ascontiguousarray(x[part]), y[part], chosen, state, velocity, schedule.batch,
                schedule.lr, schedule.momentum, schedule.loss == "mean", eps, Q[norm],
                np.empty(len(chosen)),
            )  # fmt: skip
            assert np.abs(state - expected[at]).max() < 1e-12
            at += 1
    found = train(
        x, y, eps=eps, norm=norm, schedule=schedule, rng=np.random.default_rng(0), start=start
    ).model
    assert np.abs(np.append(found.w, found.b) - expected[-1]).max() < 1e-12


@pytest.mark.parametrize("norm", NORMS)
def test_kinks_go_torchs_way(norm: Norm) -> None:
    # Weights with zeros, equal maxima, and rows whose loss is exactly at its kink.
    x = np.array([[1.0, 0.0, 0.0], [-2.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    y = np.array([1.0, -1.0, 1.0])
    schedule = Schedule(epochs=1, batch=3, lr=0.5, loss="sum")
    for w in ([1.0, 0.0, 0.0], [1.0, -1.0, 0.0], [0.5, 0.5, 0.5], [0.0, 0.0, 0.0]):
        for eps in (0.0, 1.0):
            start = LinearModel(w=np.array(w), b=0.0)
            kink = 1 - y * (x @ start.w) + eps * dual_length(start.w, norm)
            expected = by_torch(x, y, start, eps, norm, schedule, [np.arange(3)])[-1]
            found = train(
                x, y, eps=eps, norm=norm, schedule=schedule, rng=np.random.default_rng(0),
                start=start,
            ).model  # fmt: skip
            assert np.append(found.w, found.b).tolist() == pytest.approx(expected, abs=1e-15)
            if w == [1.0, 0.0, 0.0] and eps == 0:
                assert kink[0] == 0.0


def test_shuffled_passes_are_torchs_on_the_same_orders() -> None:
    x, y = rows(41, 5)
    schedule = Schedule(epochs=4, batch=7, lr=0.02, shuffle=True)
    start = LinearModel(w=np.full(5, 0.1), b=0.0)
    rng = np.random.default_rng(5)
    orders = [rng.permutation(41) for _ in range(4)]
    expected = by_torch(x, y, start, 0.1, Norm.Linf, schedule, orders)[-1]
    found = train(
        x, y, eps=0.1, norm=Norm.Linf, schedule=schedule, rng=np.random.default_rng(5), start=start
    ).model
    assert np.abs(np.append(found.w, found.b) - expected).max() < 1e-12


@pytest.mark.kernel
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_kernel_equals_its_plain_twin(
    plain: bool, norm: Norm, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel: Any = _kernels.descend
    if plain:
        kernel = getattr(kernel, "py_func", kernel)
        for name in ("two_products", "length_and_slope"):
            inner = getattr(_kernels, name)
            monkeypatch.setattr(_kernels, name, getattr(inner, "py_func", inner))
    x, y = rows(11, 5, seed=3)
    rng = np.random.default_rng(4)
    for mean, momentum in ((True, 0.0), (False, 0.8)):
        begin, speed = rng.normal(size=6), rng.normal(size=6)
        order = rng.permutation(11)
        state, velocity, margins = begin.copy(), speed.copy(), np.empty(11)
        kernel(x, y, order, state, velocity, 4, 0.1, momentum, mean, 0.2, Q[norm], margins)
        expected = hinge_descent.descend(
            x.tolist(), y.tolist(), order.tolist(), begin.tolist(), speed.tolist(),
            4, 0.1, momentum, mean, 0.2, Q[norm],
        )  # fmt: skip
        assert np.abs(state - expected[0]).max() < 1e-12
        assert np.abs(velocity - expected[1]).max() < 1e-12
        assert np.abs(margins - y * (x @ begin[:5] + begin[5])).max() < 1e-12


@pytest.mark.parametrize("norm", NORMS)
def test_curves_are_the_losses_before_and_after_each_epoch(norm: Norm) -> None:
    x, y = rows()
    found = train(
        x, y, eps=0.2, norm=norm, schedule=Schedule(epochs=5, batch=8, lr=0.02),
        rng=np.random.default_rng(9),
    )  # fmt: skip
    for epochs in (0, 3, 5):
        # The same start and the same steps, stopped earlier.
        stopped = train(
            x, y, eps=0.2, norm=norm, schedule=Schedule(epochs=epochs, batch=8, lr=0.02),
            rng=np.random.default_rng(9),
        )  # fmt: skip
        clean = robust_hinge(stopped.model, x, y, eps=0, norm=norm).mean()
        assert found.loss[epochs] == pytest.approx(clean, abs=1e-12)
        robust = robust_hinge(stopped.model, x, y, eps=0.2, norm=norm).mean()
        assert found.robust_loss[epochs] == pytest.approx(robust, abs=1e-12)
        assert found.accuracy[epochs] == np.mean(y * stopped.model.decision(x) > 0)
    assert found.loss.shape == found.robust_loss.shape == found.accuracy.shape == (6,)


def test_the_robust_hinge_is_the_worst_hinge_in_the_ball() -> None:
    x, y = rows(8, 3)
    model = LinearModel(w=np.array([1.0, -2.0, 0.5]), b=0.1)
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T
    axes = np.vstack([np.eye(3), -np.eye(3)])
    for norm, steps in ((Norm.Linf, corners), (Norm.L1, axes), (Norm.L2, model.w / np.sqrt(5.25))):
        steps = np.atleast_2d(steps)
        moved = x[:, None] + 0.3 * np.vstack([steps, -steps])
        worst = np.maximum(0, 1 - y[:, None] * (moved @ model.w + model.b)).max(axis=1)
        found = robust_hinge(model, x, y, eps=0.3, norm=norm)
        assert found == pytest.approx(worst, abs=1e-12)


def test_the_start_is_that_of_a_dense_layer() -> None:
    x, y = rows(10, 784)
    model = train(
        x, y, eps=0, norm=Norm.Linf, schedule=Schedule(epochs=0), rng=np.random.default_rng(0)
    ).model
    bound = np.sqrt(6 / 785)
    assert 0.98 * bound <= np.abs(model.w).max() <= bound
    assert model.b == 0


def test_constant_features_do_no_harm() -> None:
    x, y = rows(20, 3)
    x[:, 1] = 7.0
    found = train(
        x, y, eps=0.1, norm=Norm.Linf, schedule=Schedule(lr=0.01), rng=np.random.default_rng(0)
    )
    assert np.isfinite(found.robust_loss).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": np.ones(37)}, r"all 37 labels are \+1; a classifier needs rows of both classes"),
        ({"y": np.zeros(37)}, "labels of a binary linear problem are -1 and \\+1"),
        ({"y": np.ones(3)}, "37 rows need 37 labels"),
        ({"x": np.full((37, 2), np.nan)}, "37 of 37 rows hold NaN"),
        ({"x": np.full((37, 2), 1e300)}, "numbers beyond 1e\\+100"),
        ({"x": np.zeros((37, 0))}, "rows of features, found inputs of shape"),
        ({"x": np.full((37, 2), "a")}, "takes numbers"),
        ({"eps": -0.1}, "eps must be at least 0"),
        ({"eps": float("nan")}, "eps must be at least 0"),
        ({"norm": Norm.L0}, "L0 has no dual"),
        ({"start": LinearModel(w=np.zeros(2), b=0.0)}, "2 weights for 6 features"),
        ({"schedule": Schedule(lr=1e307, epochs=50)}, "take an lr smaller than 1e\\+307"),
    ],
)
def test_what_cannot_be_trained_is_said(change: dict[str, Any], words: str) -> None:
    x, y = rows()
    given: dict[str, Any] = {"x": x, "y": y, "eps": 0.1, "norm": Norm.Linf, "schedule": Schedule()}
    with pytest.raises(ValueError, match=words):
        train(**(given | {"rng": np.random.default_rng(0)} | change))


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": -1}, {"batch": 0}, {"lr": 0.0}, {"lr": float("inf")}, {"momentum": 1.0},
        {"loss": "max"},
    ],
)  # fmt: skip
def test_schedules_are_checked(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a schedule"):
        Schedule(**bad)
