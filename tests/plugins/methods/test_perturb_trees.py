"""Smallest changes against trees, held against every row that could be the nearest one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robreport import Norm, Tree, TreeEnsemble
from robreport_plugins.methods.perturb_trees import nearest_other_leaf, smallest_in_cells
from robreport_plugins.methods.space import Space

NORMS = (Norm.L0, Norm.L1, Norm.L2, Norm.Linf)
# a number, a whole number, a code of four, and a group of three
WIDTH = 6
GRID = np.array([-1.5, -0.5, 0.0, 0.1, 0.25, 0.5, 1.0, 1.75])


def space(width: int = WIDTH, **changes: Any) -> Space:
    none = np.zeros(width, dtype=bool)
    plain: dict[str, Any] = {
        "shape": (width,), "low": np.asarray(-np.inf), "high": np.asarray(np.inf), "unit": None,
        "fixed": none, "up": none, "down": none, "whole": none, "codes": {}, "groups": (),
    }  # fmt: skip
    return Space(**(plain | changes))


def some_space(rng: np.random.Generator) -> Space:
    """A table's space: bounds, units, whole numbers, a code, a group, and some that may not move."""

    def some(share: float) -> np.ndarray:
        return rng.random(WIDTH) < share

    return space(
        low=np.array([-2.0, -3, 0, 0, 0, 0]), high=np.array([2.0, 4, 3, 1, 1, 1]),
        unit=np.array([rng.choice([0.3, 1.0]), rng.choice([1.0, 2.5]), 1, 1, 1, 1]),
        fixed=some(0.1), up=some(0.1), down=some(0.1),
        whole=np.array([False, True, False, False, False, False]), codes={2: 4},
        groups=(np.array([3, 4, 5]),),
    )  # fmt: skip


def some_tree(
    rng: np.random.Generator, depth: int, values: Any, output: int | None, odd: bool
) -> Tree:
    feature, threshold, left, right, categories = [], [], [], [], {}

    def grow(level: int) -> int:
        node = len(feature)
        feature.append(-1)
        threshold.append(0.0)
        left.append(-1)
        right.append(-1)
        if level < depth and (level == 0 or rng.random() < 0.85):
            j = int(rng.integers(WIDTH))
            feature[node] = j
            threshold[node] = float(
                rng.choice([GRID, GRID * 2, [0.5, 1.5, 2.5], [0.5], [0.5], [0.5]][j])
            )
            if j == 2 and odd:
                categories[node] = np.flatnonzero(rng.random(4) < 0.5).astype(float)
            left[node] = grow(level + 1)
            right[node] = grow(level + 1)
        return node

    grow(0)
    n = len(feature)
    zero = np.array([j == 1 and rng.random() < 0.5 for j in feature]) if odd else None
    return Tree(
        feature=np.array(feature), threshold=np.array(threshold), left=np.array(left),
        right=np.array(right), missing_left=rng.random(n) < 0.5, value=values(n),
        categories=categories, zero_missing=zero, output=output,
    )  # fmt: skip


def some_ensemble(rng: np.random.Generator, trees: int, depth: int = 3) -> TreeEnsemble:
    """Of any kind that the libraries make: forests, logits of class 1, scores of three classes."""
    link = str(rng.choice(["distribution", "sigmoid", "softmax"]))
    outputs = {"distribution": 3, "sigmoid": 1, "softmax": 3}[link]
    shared = link == "distribution" or trees < 3
    wide = outputs if shared else 1
    odd = bool(rng.random() < 0.5)

    def values(n: int) -> np.ndarray:
        # coarse, so that ties of classes happen
        return rng.integers(-3, 4, (n, wide)) / 4 if link != "distribution" else np.eye(3)[
            rng.integers(0, 3, n)
        ]  # fmt: skip

    return TreeEnsemble(
        trees=tuple(
            some_tree(rng, depth, values, None if shared else t % outputs, odd)
            for t in range(trees)
        ),
        n_features=WIDTH, n_outputs=outputs, base=np.zeros(outputs), link=link,
        aggregation="mean" if link == "distribution" else "sum",
        comparison=str(rng.choice(["<", "<="])), input_dtype=str(rng.choice(["float32", "float64"])),
        sum_dtype=str(rng.choice(["float32", "float64"])), zero_band=float(rng.choice([0, 0.05])),
        category_rounding=str(rng.choice(["exact", "floor", "trunc"])),
        known_categories={2: np.array([0.0, 1, 2])} if odd and rng.random() < 0.5 else {},
        class_order=np.array([2, 0, 1]) if outputs == 3 and rng.random() < 0.5 else None,
    )  # fmt: skip


def some_rows(rng: np.random.Generator, n: int, dtype: Any) -> np.ndarray:
    x = np.empty((n, WIDTH))
    x[:, 0] = rng.choice([*GRID, 0.3, -0.77], n)
    x[:, 1] = rng.choice([-3, -1, 0, 0, 1, 2, 4, 0.5], n)
    x[:, 2] = rng.choice([0, 1, 2, 3, 3, 1.5], n)
    x[:, 3:] = np.eye(3)[rng.integers(0, 3, n)]
    x[0, 3:] = (1, 1, 0)
    return x.astype(dtype)


def around(threshold: float, read: Any, dtype: Any) -> list[float]:
    """The threshold and what can be its nearest neighbours, as numbers of that type."""
    found = []
    middle = np.dtype(read).type(threshold)
    for step in (middle, np.nextafter(middle, read(-9)), np.nextafter(middle, read(9))):
        # where float64 is rounded to float32, the border lies half-way
        for point in (float(step), (float(step) + float(middle)) / 2):
            own = np.dtype(dtype).type(point)
            found += [own, np.nextafter(own, dtype(-9)), np.nextafter(own, dtype(9))]
    return [float(v) for v in found]


def every_candidate(
    model: TreeEnsemble, where: Space, row: np.ndarray, dtype: Any
) -> np.ndarray:
    """Rows among which the nearest of each region is: one side or the other of each threshold."""
    read = np.dtype(model.input_dtype).type
    bars = {
        float(tree.threshold[node])
        for tree in model.trees
        for node in np.flatnonzero(tree.feature == 0)
    }
    low, high = where.room(row[None])
    bars |= {0.0, model.zero_band, -model.zero_band}
    first = {float(row[0]), float(low[0, 0]), float(high[0, 0])}
    first |= {v for bar in bars for v in around(bar, read, dtype)}
    second = {float(row[1]), *map(float, range(-3, 5))}
    third = {float(row[2]), 0.0, 1.0, 2.0, 3.0}
    group = [tuple(row[3:]), *map(tuple, np.eye(3))]
    rows = [[a, b, c, *g] for a, b, c, g in itertools.product(first, second, third, group)]
    return np.asarray(rows).astype(dtype)


def optimum(model: TreeEnsemble, where: Space, row: np.ndarray, y: int, norm: Norm) -> float:
    rows = every_candidate(model, where, row, row.dtype.type)
    same = np.repeat(row[None], len(rows), axis=0)
    good = where.valid(same, rows) & (model.predict(rows) != y)
    sizes = where.sizes(same, rows, norm)
    return float(sizes[good].min()) if good.any() else float("inf")


def holds(
    model: TreeEnsemble, where: Space, x: np.ndarray, y: np.ndarray, norm: Norm, found: Any
) -> None:
    """What every answer is: valid, of another class by the model, and of the size it says."""
    x_adv, size = found
    assert x_adv.dtype == x.dtype
    assert where.valid(x, x_adv).all()
    assert (x_adv[:, where.fixed] == x[:, where.fixed]).all()
    hit = np.isfinite(size)
    assert (model.predict(x_adv)[hit] != y[hit]).all()
    assert (size[hit] == where.sizes(x, x_adv, norm)[hit]).all()
    assert (x_adv[~hit] == x[~hit]).all()


@settings(max_examples=120)
@given(seed=st.integers(0, 100_000), norm=st.sampled_from(NORMS))
def test_one_tree_is_exact(seed: int, norm: Norm) -> None:
    rng = np.random.default_rng(seed)
    dtype = rng.choice([np.float32, np.float64])
    model, where, x = some_ensemble(rng, 1, 4), some_space(rng), some_rows(rng, 3, dtype)
    y = np.where(rng.random(3) < 0.9, model.predict(x), 0)
    found = nearest_other_leaf(model, where, x, y, norm)
    holds(model, where, x, y, norm, found)
    best = [optimum(model, where, row, int(own), norm) for row, own in zip(x, y, strict=True)]
    assert found[1] == pytest.approx(best, rel=1e-12, abs=1e-300)
    assert (found[1][model.predict(x) != y] == 0).all()
