"""Greedy search over tables: valid at every step, and as strong as trying everything."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robreport import Norm
from robreport_plugins.methods.perturb_search import greedy_search
from robreport_plugins.methods.space import Space

NORMS = (Norm.L0, Norm.L1, Norm.L2, Norm.Linf)
WIDTH = 7


def table_space(**changes: Any) -> Space:
    """Two numbers, a whole one, a code of three, a group of three."""
    none = np.zeros(WIDTH, dtype=bool)
    plain: dict[str, Any] = {
        "shape": (WIDTH,), "low": np.array([-2.0, -2, 0, 0, 0, 0, 0]),
        "high": np.array([2.0, 2, 6, 2, 1, 1, 1]), "unit": np.array([1, 0.5, 2, 1, 1, 1, 1.0]),
        "fixed": none, "up": none, "down": none,
        "whole": np.array([0, 0, 1, 0, 0, 0, 0], dtype=bool), "codes": {3: 3},
        "groups": (np.array([4, 5, 6]),),
    }  # fmt: skip
    return Space(**(plain | changes))


def rows(rng: np.random.Generator, n: int, dtype: Any = np.float64) -> np.ndarray:
    x = np.empty((n, WIDTH))
    x[:, :2] = rng.uniform(-2, 2, (n, 2))
    x[:, 2] = rng.integers(0, 7, n)
    x[:, 3] = rng.integers(0, 3, n)
    x[:, 4:] = np.eye(3)[rng.integers(0, 3, n)]
    return x.astype(dtype)


def linear(rng: np.random.Generator, k: int = 2) -> Any:
    """Scores that are linear in numbers and in which category is chosen."""
    weight, codes = rng.normal(size=(WIDTH, k)), rng.normal(size=(3, k))
    weight[3] = 0

    def scores(x: np.ndarray) -> np.ndarray:
        return x.astype(np.float64) @ weight + codes[x[:, 3].astype(int)]

    return scores


@settings(max_examples=50)
@given(
    seed=st.integers(0, 10_000),
    norm=st.sampled_from(NORMS),
    eps=st.sampled_from((0.0, 0.4, 1.0, 2.3, np.inf)),
    shrink=st.booleans(),
)
def test_what_is_found_is_valid_and_true(seed: int, norm: Norm, eps: float, shrink: bool) -> None:
    rng = np.random.default_rng(seed)
    fixed, up = (rng.random(WIDTH) < 0.2 for _ in range(2))
    fixed[4:] = fixed[4]
    space, scores = table_space(fixed=fixed, up=up), linear(rng, 3)
    x = rows(rng, 5, rng.choice([np.float32, np.float64]))
    asked = 0

    def counted(z: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += len(z)
        assert z.dtype == x.dtype
        return scores(z)

    y = scores(x).argmax(axis=1)
    found = greedy_search(
        counted, space, x, y, norm=norm, eps=eps, reference=rows(rng, 30),
        rng=np.random.default_rng(1), steps=6, shrink=shrink,
    )  # fmt: skip
    assert found.queries == asked
    assert found.x_adv.dtype == x.dtype
    assert space.inside(x, found.x_adv, norm, eps).all()
    assert (found.x_adv[:, fixed] == x[:, fixed]).all()
    assert (found.claimed == (scores(found.x_adv).argmax(axis=1) != y)).all()


@pytest.mark.parametrize(("norm", "eps"), [(Norm.Linf, 0.6), (Norm.Linf, 1.0), (Norm.L0, 2.0)])
def test_on_a_linear_model_all_that_can_be_broken_is(norm: Norm, eps: float) -> None:
    """Two classes and independent features: each step is optimal, so greedy is, by enumeration."""
    for seed in range(15):
        rng = np.random.default_rng(seed)
        space, scores, x = table_space(), linear(rng), rows(rng, 6)
        y = scores(x).argmax(axis=1)
        found = greedy_search(
            scores, space, x, y, norm=norm, eps=eps, reference=x, restarts=0,
            rng=np.random.default_rng(0),
        )  # fmt: skip
        for row, own, hit in zip(x, y, found.claimed, strict=True):
            reach = np.full(3, eps) * np.array([1, 0.5, 2])
            if norm is Norm.L0:
                reach = np.full(3, 9.0)
            sides = [
                {row[j], max(-2.0, row[j] - reach[j]), min(2.0, row[j] + reach[j])} for j in (0, 1)
            ]
            sides.append({float(v) for v in range(7) if abs(v - row[2]) <= reach[2]})
            group = [tuple(row[4:]), *map(tuple, np.eye(3))]
            every = np.asarray(
                [[*v, *g] for *v, g in itertools.product(*sides, (0.0, 1.0, 2.0), group)]
            )
            same = np.repeat(row[None], len(every), axis=0)
            every = every[space.inside(same, every, norm, eps)]
            assert hit == (scores(every).argmax(axis=1) != own).any()


@pytest.mark.parametrize("norm", NORMS)
def test_shrinking_leaves_no_feature_that_could_go_back(norm: Norm) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        space, scores, x = table_space(), linear(rng, 3), rows(rng, 5)
        y = scores(x).argmax(axis=1)
        found = greedy_search(
            scores, space, x, y, norm=norm, eps=np.inf, reference=rows(rng, 40), shrink=True,
            rng=np.random.default_rng(0),
        )  # fmt: skip
        assert found.claimed.all()
        size = space.sizes(x, found.x_adv, norm)
        for columns in ([0], [1], [2], [3], [4, 5, 6]):
            back = found.x_adv.copy()
            back[:, columns] = x[:, columns]
            wrong = scores(back).argmax(axis=1) != y
            assert (space.sizes(x, back, norm)[wrong] >= size[wrong]).all()


def test_many_features_and_few_looks() -> None:
    rng = np.random.default_rng(0)
    none = np.zeros((2, 40), dtype=bool)
    space = table_space(
        shape=(2, 40), low=np.asarray(0.0), high=np.asarray(1.0), unit=None, fixed=none, up=none,
        down=none, whole=none, codes={}, groups=(),
    )  # fmt: skip
    weight = rng.normal(size=(80, 3))
    x = rng.random((6, 2, 40)).astype(np.float32)

    def scores(z: np.ndarray) -> np.ndarray:
        return z.reshape(len(z), -1) @ weight

    y = scores(x).argmax(axis=1)
    options: dict[str, Any] = {"norm": Norm.Linf, "eps": 0.5, "reference": x, "width": 50}
    one, two = (
        greedy_search(scores, space, x, y, rng=np.random.default_rng(3), **options)
        for _ in range(2)
    )
    assert one.claimed.all()
    assert np.array_equal(one.x_adv, two.x_adv)
    assert space.inside(x, one.x_adv, Norm.Linf, 0.5).all()


@pytest.mark.parametrize("norm", NORMS)
def test_with_an_aim_only_its_class_counts(norm: Norm) -> None:
    """Of three scores, one far behind: the aim is reached where, of two classes, the other is."""
    rng = np.random.default_rng(3)
    space, scores, x = table_space(), linear(rng), rows(rng, 40)
    y = scores(x)[:, :2].argmax(axis=1)
    given = {"norm": norm, "eps": 1.0, "reference": x, "restarts": 0}

    def two(asked: np.ndarray) -> np.ndarray:
        return scores(asked)[:, :2]

    def three(asked: np.ndarray) -> np.ndarray:
        return np.insert(two(asked), 1, -1e9, axis=1)

    own = np.flatnonzero(y == 0)
    any_other = greedy_search(
        two, space, x[own], y[own], rng=np.random.default_rng(0), **given
    )  # fmt: skip
    aimed = greedy_search(
        three, space, x[own], y[own], rng=np.random.default_rng(0), aim=2, **given
    )  # fmt: skip
    assert any_other.claimed.any()
    assert np.array_equal(aimed.claimed, any_other.claimed)
    assert np.array_equal(aimed.x_adv, any_other.x_adv)
    hopeless = greedy_search(
        three, space, x[own], y[own], rng=np.random.default_rng(0), aim=1, **given
    )  # fmt: skip
    assert not hopeless.claimed.any()


def test_what_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(0)
    x, plain = rows(rng, 2), {"norm": Norm.L1, "eps": 1.0, "rng": rng}
    with pytest.raises(ValueError, match="at least 1"):
        greedy_search(linear(rng), table_space(), x, [0, 1], reference=x, steps=0, **plain)
    with pytest.raises(ValueError, match="scores gave shape"):
        greedy_search(lambda z: z[:, 0], table_space(), x, [0, 1], reference=x, **plain)
    with pytest.raises(ValueError, match="labels beyond the 2 scores"):
        greedy_search(linear(rng), table_space(), x, [0, 2], reference=x, **plain)
