"""Smallest changes against trees, held against every row that could be the nearest one."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import leaf_loop

from robreport import DataSchema, ModelSource, Norm, Tree, TreeEnsemble
from robreport_plugins.loaders.lightgbm_model import LightgbmLoader
from robreport_plugins.loaders.xgboost_model import XgboostLoader
from robreport_plugins.methods import _kernels
from robreport_plugins.methods.perturb_trees import (
    _case,
    _leaves,
    _states,
    _Ways,
    nearest_other_leaf,
    smallest_in_cells,
)
from robreport_plugins.methods.space import Space
from robreport_plugins.methods.tree_cells import cells_of
from robreport_plugins.methods.tree_leaves import leaves_of

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
    """A table's space: bounds, units, whole numbers, a code, a group, some that may not move."""

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
    rounding = str(rng.choice(["exact", "floor", "trunc", "nearest"]))
    knows = rounding == "nearest" or (odd and rng.random() < 0.5)

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
        comparison=str(rng.choice(["<", "<="])),
        input_dtype=str(rng.choice(["float32", "float64"])),
        sum_dtype=str(rng.choice(["float32", "float64"])), zero_band=float(rng.choice([0, 0.05])),
        category_rounding=rounding,
        known_categories={2: np.array([0.0, 1, 2])} if knows else {},
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


def every_candidate(model: TreeEnsemble, where: Space, row: np.ndarray, dtype: Any) -> np.ndarray:
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


def optimum(
    model: TreeEnsemble, where: Space, row: np.ndarray, y: int, norm: Norm, aim: int | None = None
) -> float:
    rows = every_candidate(model, where, row, row.dtype.type)
    same = np.repeat(row[None], len(rows), axis=0)
    given = model.predict(rows)
    good = where.valid(same, rows) & (given != y if aim is None else given == aim)
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


@settings(max_examples=60)
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


@settings(max_examples=40)
@given(seed=st.integers(0, 100_000), norm=st.sampled_from(NORMS))
def test_one_tree_is_exact_towards_a_class(seed: int, norm: Norm) -> None:
    rng = np.random.default_rng(seed)
    model, where, x = some_ensemble(rng, 1, 4), some_space(rng), some_rows(rng, 3, np.float64)
    y, aim = model.predict(x), rng.integers(0, model.n_classes, 3)
    x_adv, size = nearest_other_leaf(model, where, x, y, norm, aim)
    assert where.valid(x, x_adv).all()
    assert (model.predict(x_adv)[np.isfinite(size)] == aim[np.isfinite(size)]).all()
    best = [optimum(model, where, row, 0, norm, int(to)) for row, to in zip(x, aim, strict=True)]
    assert size == pytest.approx(best, rel=1e-12, abs=1e-300)


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
def test_a_search_towards_a_class_mostly_finds_the_optimum(norm: Norm) -> None:
    """Of 60 inputs and classes, at least 92 in 100, by enumeration; never less than that."""
    equal = total = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        model, where = some_ensemble(rng, (1, 4, 9)[seed % 3], 3), some_space(rng)
        x, base = some_rows(rng, 3, np.float64), some_rows(rng, 60, np.float64)
        y, aim = model.predict(x), rng.integers(0, model.n_classes, 3)
        x_adv, size = smallest_in_cells(model, where, x, y, norm, base, aim=aim)
        assert where.valid(x, x_adv).all()
        assert (model.predict(x_adv)[np.isfinite(size)] == aim[np.isfinite(size)]).all()
        best = np.asarray([optimum(model, where, row, 0, norm, int(to))
                           for row, to in zip(x, aim, strict=True)])  # fmt: skip
        assert (size >= best * (1 - 1e-12)).all()
        equal += int((np.isclose(size, best, rtol=0, atol=1e-9) | (size == best)).sum())
        total += len(x)
    assert equal >= 0.92 * total


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=st.integers(0, 100_000), norm=st.sampled_from(NORMS), trees=st.sampled_from((2, 4, 6)))
def test_a_search_is_never_below_the_optimum_and_always_valid(
    seed: int, norm: Norm, trees: int
) -> None:
    rng = np.random.default_rng(seed)
    dtype = rng.choice([np.float32, np.float64])
    model, where, x = some_ensemble(rng, trees), some_space(rng), some_rows(rng, 3, dtype)
    y = np.where(rng.random(3) < 0.9, model.predict(x), 0)
    found = smallest_in_cells(model, where, x, y, norm, some_rows(rng, 40, dtype))
    holds(model, where, x, y, norm, found)
    best = [optimum(model, where, row, int(own), norm) for row, own in zip(x, y, strict=True)]
    assert (found[1] >= np.asarray(best) * (1 - 1e-12)).all()
    assert (found[1][model.predict(x) != y] == 0).all()


@pytest.mark.parametrize(
    "norm", [pytest.param(n, marks=[pytest.mark.slow] if n in NORMS[:2] else []) for n in NORMS]
)
def test_a_search_mostly_finds_the_optimum(norm: Norm) -> None:
    """Of 60 inputs and ensembles of four or nine trees, at least 96 in 100, by enumeration."""
    equal = total = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        model, where = some_ensemble(rng, (4, 9)[seed % 2], 3), some_space(rng)
        x = some_rows(rng, 3, np.float64)
        y = model.predict(x)
        found = smallest_in_cells(model, where, x, y, norm, some_rows(rng, 60, np.float64))
        best = [optimum(model, where, row, int(own), norm) for row, own in zip(x, y, strict=True)]
        # a band around zero makes some distances tiny, hence a difference and no quotient
        close = found[1] <= np.asarray(best) + 1e-9
        equal, total = equal + int(close.sum()), total + len(x)
    assert equal >= 0.96 * total


def test_one_tree_needs_what_a_search_cannot_beat() -> None:
    for seed in range(15):
        rng = np.random.default_rng(seed)
        model, where, x = some_ensemble(rng, 1, 4), some_space(rng), some_rows(rng, 4, np.float32)
        y = model.predict(x)
        for norm in NORMS:
            exact = nearest_other_leaf(model, where, x, y, norm)[1]
            searched = smallest_in_cells(
                model, where, x, y, norm, some_rows(rng, 30, np.float32), starts=3
            )[1]
            assert (searched >= exact * (1 - 1e-12)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_nothing_nearer_by_moving_one_feature(norm: Norm) -> None:
    """Where a search stops, no feature by itself can go nearer, by trying every candidate."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        model, where, x = some_ensemble(rng, 8), some_space(rng), some_rows(rng, 3, np.float64)
        y = model.predict(x)
        x_adv, size = smallest_in_cells(model, where, x, y, norm, some_rows(rng, 40, np.float64))
        for row, near, own, far in zip(x, x_adv, y, size, strict=True):
            if not 0 < far < np.inf:
                continue
            every = every_candidate(model, where, row, np.float64)
            apart = every != near
            changed = apart[:, 0].astype(int) + apart[:, 1] + apart[:, 2] + apart[:, 3:].any(axis=1)
            single = every[changed == 1]
            same = np.repeat(row[None], len(single), axis=0)
            good = where.valid(same, single) & (model.predict(single) != own)
            assert (where.sizes(same, single, norm)[good] >= far * (1 - 1e-12)).all()


def data(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    x[:, 4] = rng.integers(0, 4, n)
    return x, ((x[:, 0] * x[:, 1] > 0).astype(int) + (x[:, 2] + x[:, 4] > 2)) % 3


def fitted(kind: str) -> tuple[Any, TreeEnsemble, np.ndarray]:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    from robreport_plugins.loaders.frame_input import FrameInput
    from robreport_plugins.loaders.scikit_trees import scikit_ensemble

    x, y = data(400)
    models = {
        "tree": DecisionTreeClassifier(random_state=0),
        "forest": RandomForestClassifier(10, max_depth=5, random_state=0),
        "histogram": HistGradientBoostingClassifier(max_iter=10, categorical_features=[4]),
    }
    model = models[kind].fit(x, y)
    frame = FrameInput(width=x.shape[1], order=np.arange(x.shape[1]))
    return model.predict, scikit_ensemble(model, frame), x


@pytest.mark.parametrize("kind", ["tree", "forest", "histogram"])
def test_the_library_itself_agrees(kind: str) -> None:
    predict, ensemble, x = fitted(kind)
    where = space(
        5, codes={4: 4}, low=np.array([-5.0, -5, -5, -5, 0]), high=np.array([5.0, 5, 5, 5, 3]),
        unit=np.array([1, 2, 0.5, 1, 1]), fixed=np.array([0, 0, 0, 1, 0], dtype=bool),
    )  # fmt: skip
    rows = x[:40]
    y = predict(rows)
    for norm in NORMS:
        if kind == "tree":
            x_adv, size = nearest_other_leaf(ensemble, where, rows, y, norm)
        else:
            x_adv, size = smallest_in_cells(ensemble, where, rows, y, norm, x)
        assert np.isfinite(size).all()
        assert (predict(x_adv) != y).all()
        assert where.inside(rows, x_adv, norm, float(size.max())).all()
        if norm is Norm.Linf:
            # one number less far in the same direction would not do: the border is exact
            assert (size > 0).all()


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_other_libraries_agree(library: str, tmp_path: Path) -> None:
    boosted = pytest.importorskip(library)
    x, y = data(400)
    path, loader = tmp_path / "model.ubj", XgboostLoader()
    if library == "xgboost":
        model = boosted.XGBClassifier(n_estimators=8, max_depth=4, n_jobs=1).fit(x, y)
        model.save_model(path)
    else:
        path, loader = tmp_path / "model.txt", LightgbmLoader()
        model = boosted.LGBMClassifier(n_estimators=8, verbose=-1, n_jobs=1).fit(x, y)
        model.booster_.save_model(path)
    schema = DataSchema(
        task="classification", input_shape=(5,), layout="table", features=tuple("abcde"),
        classes=("0", "1", "2"),
    )  # fmt: skip
    ensemble = loader.load(
        ModelSource(name="m", path=path, base=tmp_path, options=loader.Options(), trusted=False,
                    schema=schema, examples=None)
    ).trees()  # fmt: skip
    rows, where = x[:30], space(5, whole=np.array([0, 0, 0, 0, 1], dtype=bool))
    given = model.predict(rows)
    for norm in NORMS:
        x_adv, size = smallest_in_cells(ensemble, where, rows, given, norm, x)
        assert np.isfinite(size).all()
        assert (model.predict(x_adv) != given).all()
        assert where.valid(rows, x_adv).all()


def test_rows_that_cannot_be_attacked_stay() -> None:
    _, ensemble, x = fitted("forest")
    held = space(5, fixed=np.ones(5, dtype=bool))
    y = ensemble.predict(x[:5])
    x_adv, size = smallest_in_cells(ensemble, held, x[:5], y, Norm.L2, x)
    assert np.isinf(size).all()
    assert (x_adv == x[:5]).all()
    _, tree, _ = fitted("tree")
    gone = x[:5].copy()
    gone[0, 1] = np.nan
    x_adv, size = nearest_other_leaf(tree, space(5), gone, np.zeros(5, dtype=int), Norm.L2)
    assert np.isinf(size[0])
    assert np.isnan(x_adv[0, 1])
    assert np.isfinite(size[1:]).all()
    none = nearest_other_leaf(tree, space(5), x[:0], np.zeros(0, dtype=int), Norm.L1)
    assert none[0].shape == (0, 5)


def test_what_does_not_fit_is_refused() -> None:
    _, ensemble, x = fitted("forest")
    y = np.zeros(3, dtype=int)
    with pytest.raises(ValueError, match="takes one"):
        nearest_other_leaf(ensemble, space(5), x[:3], y, Norm.L2)
    with pytest.raises(ValueError, match="do not fit together"):
        smallest_in_cells(ensemble, space(4), x[:3], y, Norm.L2, x)
    with pytest.raises(ValueError, match="float32 or float64"):
        smallest_in_cells(ensemble, space(5), x[:3].astype(np.float16), y, Norm.L2, x)
    with pytest.raises(ValueError, match="labels are 3 whole numbers"):
        smallest_in_cells(ensemble, space(5), x[:3], y[:2], Norm.L2, x)
    with pytest.raises(ValueError, match="kicks at least 1"):
        smallest_in_cells(ensemble, space(5), x[:3], y, Norm.L2, x, kicks=0)


@settings(max_examples=15)
@given(seed=st.integers(0, 100_000))
def test_cells_send_rows_where_the_ensemble_does(seed: int) -> None:
    """Every value of a cell goes the same way, and the kernel's sums are the ensemble's."""
    rng = np.random.default_rng(seed)
    dtype = rng.choice([np.float32, np.float64])
    model, where = some_ensemble(rng, 5), some_space(rng)
    rows = every_candidate(model, where, some_rows(rng, 1, dtype)[0], dtype)
    rows = rows[rng.choice(len(rows), 60)]
    cells = cells_of(model, dtype)
    found = cells.locate(rows)
    starts = cells.start[:-1][None] + found
    reached = model.leaves(rows)
    for values in (cells.low[starts], cells.high[starts]):
        asked = np.diff(cells.start) > 1
        assert (model.leaves(np.where(asked, values, rows).astype(dtype)) == reached).all()
    total = np.empty(model.n_outputs)
    ways = _Ways(model, where, rows)
    case = _case(model, cells, ways, np.zeros(len(rows), dtype=np.int64), Norm.L2, 1)
    for row, leaves in zip(rows, reached, strict=True):
        given = _kernels.add_up(case, leaves + cells.root, total)
        assert (total == model.predict_raw(row[None])[0]).all()
        assert given == model.predict(row[None])[0]


def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the plain functions in the place of the compiled ones, in all modules of the kernels."""
    for path, module in list(sys.modules.items()):
        if path.startswith(_kernels.__name__):
            for name, kernel in list(vars(module).items()):
                if hasattr(kernel, "py_func"):
                    monkeypatch.setattr(module, name, kernel.py_func)


def kernel_weights(norm: Norm, case: Any) -> np.ndarray:
    leaves, classes, ways, cells, y = case
    least, found = np.empty(len(ways.x)), ways.x.copy()
    _kernels.nearest_leaves(ways.room(cells, y, norm), _leaves(leaves, classes), least, found)
    return least


def one_tree(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    model, where, x = some_ensemble(rng, 1, 4), some_space(rng), some_rows(rng, 3, np.float64)
    ways, cells = _Ways(model, where, x), cells_of(model, x.dtype)
    leaves = leaves_of(cells, WIDTH, ways.group)
    return leaves, rng.integers(0, 3, len(leaves.node)), ways, cells, model.predict(x)


@pytest.mark.kernel
@pytest.mark.parametrize("compiled", [True, False])
def test_the_kernel_for_one_tree_equals_its_plain_twin(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        uncompiled(monkeypatch)
    for seed in range(60 if compiled else 8):
        case = leaves, classes, ways, _, y = one_tree(seed)
        for number, norm in enumerate(NORMS):
            twin = [
                leaf_loop.least_weight(leaves, classes, ways, row, int(own), number)
                for row, own in enumerate(y)
            ]
            assert kernel_weights(norm, case) == pytest.approx(twin, rel=1e-12, abs=1e-300)


@pytest.mark.kernel
def test_the_uncompiled_search_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[np.ndarray]:
        answers = []
        for seed in (3, 4):
            rng = np.random.default_rng(seed)
            model, where, x = some_ensemble(rng, 4), some_space(rng), some_rows(rng, 2, np.float32)
            reference = some_rows(rng, 10, np.float32)
            answers += [
                smallest_in_cells(model, where, x, model.predict(x), norm, reference)[0]
                for norm in NORMS
            ]
        return answers

    compiled = found()
    uncompiled(monkeypatch)
    for one, other in zip(compiled, found(), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.kernel
def test_all_ensembles_are_of_one_type_to_the_kernels() -> None:
    """Else each of these searches would be compiled for itself, which takes many seconds."""
    import numba as nb

    found = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        dtype = rng.choice([np.float32, np.float64])
        model, where, x = some_ensemble(rng, 4), some_space(rng), some_rows(rng, 2, dtype)
        ways, cells = _Ways(model, where, x), cells_of(model, dtype)
        case = _case(model, cells, ways, model.predict(x).astype(np.int64), Norm.L2, 10)
        found.add((nb.typeof(case), nb.typeof(_states(case, 2)), nb.typeof(ways.choices(x))))
    assert len(found) == 1
