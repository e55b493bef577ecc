"""Trees as arrays: held against a walk of one row at a time, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robreport import Tree, TreeEnsemble


def leaf(value: float = 1.0) -> dict[str, Any]:
    return {
        "feature": np.array([-1]),
        "threshold": np.zeros(1),
        "left": np.array([-1]),
        "right": np.array([-1]),
        "missing_left": np.zeros(1, dtype=bool),
        "value": np.array([[value]]),
    }


def stump(**changes: Any) -> Tree:
    """Feature 0 at 0.5: 1.0 to the left, 2.0 to the right, missing values to the right."""
    plain: dict[str, Any] = {
        "feature": np.array([0, -1, -1]),
        "threshold": np.array([0.5, 0.0, 0.0]),
        "left": np.array([1, -1, -1]),
        "right": np.array([2, -1, -1]),
        "missing_left": np.zeros(3, dtype=bool),
        "value": np.array([[0.0], [1.0], [2.0]]),
    }
    return Tree(**{**plain, **changes})


def ensemble(*trees: Tree, **changes: Any) -> TreeEnsemble:
    plain: dict[str, Any] = {
        "trees": trees,
        "n_features": 2,
        "n_outputs": 1,
        "base": np.zeros(1),
        "link": "identity",
    }
    return TreeEnsemble(**{**plain, **changes})


def walked(model: TreeEnsemble, x: Any) -> list[float]:
    """One row's raw scores by the documentation, without arrays."""
    kind = np.dtype(model.sum_dtype).type
    total = [kind(v) for v in model.base]
    counts = [0] * model.n_outputs
    for tree in model.trees:
        node = 0
        while tree.left[node] >= 0:
            j = int(tree.feature[node])
            value = float(np.dtype(model.input_dtype).type(x[j]))
            if abs(value) <= model.zero_band:
                value = 0.0
            missing = math.isnan(value)
            if tree.zero_missing is not None and tree.zero_missing[node] and value == 0:
                missing = True
            if node in tree.categories:
                nearest = model.category_rounding == "nearest"
                known = model.known_categories.get(j)
                if known is not None and value not in known and not nearest:
                    missing = True
                if nearest and not missing:
                    left = min(max(round(value), known[0]), known[-1]) in tree.categories[node]
                elif not missing:
                    whole = {"exact": float, "floor": math.floor, "trunc": math.trunc}
                    left = whole[model.category_rounding](value) in tree.categories[node]
            elif not missing:
                bar = tree.threshold[node]
                left = value <= bar if model.comparison == "<=" else value < bar
            if missing:
                left = tree.missing_left[node]
            node = int((tree.left if left else tree.right)[node])
        outputs = range(model.n_outputs) if tree.output is None else [tree.output]
        for place, output in enumerate(outputs):
            total[output] = kind(total[output] + kind(tree.value[node, place]))
            counts[output] += 1
    if model.aggregation == "mean":
        total = [kind(t / kind(max(c, 1))) for t, c in zip(total, counts, strict=True)]
    return [float(t) for t in total]


def random_tree(rng: Any, width: int, output: int | None) -> Tree:
    """Grow a tree by splitting leaves, its nodes in a shuffled order but for the root."""
    left, right = [-1], [-1]
    for _ in range(int(rng.integers(0, 12))):
        node = int(rng.choice([i for i, child in enumerate(left) if child < 0]))
        left[node], right[node] = len(left), len(left) + 1
        left += [-1, -1]
        right += [-1, -1]
    count = len(left)
    order = np.concatenate([[0], 1 + rng.permutation(count - 1)]).astype(int)
    place = np.argsort(order)
    moved = {}
    for name, child in (("left", left), ("right", right)):
        moved[name] = np.array([-1 if child[old] < 0 else place[child[old]] for old in order])
    inner = moved["left"] >= 0
    feature = np.where(inner, rng.integers(0, 3, count), -1)
    named = [0.0, 1.0, 2.0, *((-1.0, 2.5) if rng.random() < 0.5 else (9.0,))]
    return Tree(
        feature=feature,
        threshold=rng.choice([-1.0, 0.0, 0.1, 0.5, 2.0], count),
        missing_left=rng.random(count) < 0.5,
        value=rng.standard_normal((count, width)),
        categories={
            int(n): rng.choice(named, 2) for n in np.flatnonzero(inner & (rng.random(count) < 0.3))
        },
        zero_missing=rng.random(count) < 0.3,
        output=output,
        **moved,
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    comparison=st.sampled_from(["<=", "<"]),
    kinds=st.tuples(*2 * [st.sampled_from(["float32", "float64"])]),
    rounding=st.sampled_from(["exact", "floor", "trunc", "nearest"]),
    aggregation=st.sampled_from(["sum", "mean"]),
)
def test_all_rows_at_once_are_as_one_by_one(
    seed: int, comparison: Any, kinds: Any, rounding: Any, aggregation: Any
) -> None:
    rng = np.random.default_rng(seed)
    single = bool(rng.integers(2))
    trees = tuple(
        random_tree(rng, 1 if single else 2, t % 2 if single else None)
        for t in range(int(rng.integers(1, 5)))
    )
    model = TreeEnsemble(
        trees=trees,
        n_features=3,
        n_outputs=2,
        base=rng.standard_normal(2),
        link="softmax",
        comparison=comparison,
        input_dtype=kinds[0],
        sum_dtype=kinds[1],
        takes_missing=True,
        category_rounding=rounding,
        aggregation=aggregation,
        zero_band=1e-35,
        known_categories={
            1: np.array([0.0, 1.0, 2.0]),
            **(dict.fromkeys((0, 2), np.array([0.0, 2.0])) if rounding == "nearest" else {}),
        },
    )
    pool = [-1.0, -0.5, 0.0, 1e-36, 0.1, 0.1 + 1e-12, 0.5, 1.0, 2.0, 2.5, 2.7, np.nan, np.inf]
    x = rng.choice(pool, (30, 3))
    if rounding != "exact":
        x[np.isinf(x)] = 7.0
    np.testing.assert_array_equal(model.predict_raw(x), [walked(model, row) for row in x])


def test_links() -> None:
    x = np.array([[0.0, 0.0], [1.0, 0.0]])
    plain = ensemble(stump())
    assert plain.predict(x).tolist() == [1.0, 2.0]
    assert (plain.n_classes, plain.n_nodes, plain.plain) == (0, 3, True)
    with pytest.raises(ValueError, match="no probabilities"):
        plain.predict_proba(x)
    np.testing.assert_allclose(ensemble(stump(), link="exp").predict(x), np.exp([1.0, 2.0]))
    two = ensemble(stump(), link="sigmoid", link_scale=2.0, base=np.array([-1.5]))
    expected = 1 / (1 + np.exp(-2.0 * np.array([-0.5, 0.5])))
    np.testing.assert_allclose(two.predict_proba(x)[:, 1], expected, rtol=1e-15)
    assert two.predict(x).tolist() == [0, 1]
    shares = np.array([[0.0, 0.0], [0.9, 0.1], [0.25, 0.75]])
    mean = ensemble(
        stump(value=shares), link="distribution", n_outputs=2, base=np.zeros(2), aggregation="mean"
    )
    assert mean.predict_proba(x).tolist() == shares[1:].tolist()
    assert mean.predict(x).dtype == np.int64


def test_pictures_are_flattened_and_no_rows_are_fine() -> None:
    model = ensemble(stump())
    assert model.predict(np.array([[[0.0], [9.0]]])).tolist() == [1.0]
    assert model.predict(np.zeros((0, 2))).shape == (0,)
    assert model.leaves(np.zeros((3, 2))).tolist() == [[1]] * 3


def test_arrays_cannot_be_changed_and_are_copies() -> None:
    value = np.array([[0.0], [1.0], [2.0]])
    tree = stump(value=value)
    value[1] = 9
    assert tree.value[1, 0] == 1
    for name in ("feature", "threshold", "left", "right", "missing_left", "value"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(tree, name)[0] = 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"left": np.array([3, -1, -1])}, "children do not exist"),
        ({"left": np.array([-1, -1, -1])}, "children do not exist"),
        ({"left": np.array([-5, -1, -1])}, "children do not exist"),
        ({"left": np.array([2, -1, -1])}, "two ways"),
        ({"left": np.array([0, -1, -1])}, "two ways, or a loop"),
        ({"left": np.array([1, 0, -1]), "right": np.array([2, 2, -1])}, "a loop"),
        ({"threshold": np.array([np.nan, 0, 0])}, "threshold that is not a number"),
        ({"feature": np.array([-1, -1, -1])}, "feature that does not exist"),
        ({"feature": np.array([0.0, -1, -1])}, "float64 values"),
        ({"value": np.array([[0], [np.inf], [1]])}, "not finite"),
        ({"value": np.zeros(3)}, "shape"),
        ({"right": np.array([2, -1])}, "shape"),
        ({"categories": {1: [1.0]}}, "no inner node"),
        ({"categories": {7: [1.0]}}, "no inner node"),
        ({"categories": {0: [np.nan]}}, "no number"),
    ],
)
def test_trees_that_cannot_be(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        stump(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trees": ()}, "no trees"),
        ({"n_features": 0}, "feature that does not exist"),
        ({"n_outputs": 2, "base": np.zeros(2), "link": "softmax"}, "do not fit"),
        ({"n_outputs": 2, "base": np.zeros(2), "link": "sigmoid"}, "takes one"),
        ({"base": np.zeros(3)}, "shape"),
        ({"trees": (stump(output=1),)}, "do not fit"),
        ({"link": "sigmoid", "class_order": np.array([0, 2])}, "order of classes"),
        ({"link": "sigmoid", "class_order": np.array([0, 0])}, "order of classes"),
    ],
)
def test_ensembles_that_cannot_be(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ensemble(**{"trees": (stump(),), **changes})


def test_inputs_that_are_refused() -> None:
    model = ensemble(stump())
    with pytest.raises(ValueError, match="take 2 features, and were given 3"):
        model.predict(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="missing values"):
        model.predict(np.full((1, 2), np.nan))


def test_a_deep_chain_and_a_single_leaf() -> None:
    count = 2001
    inner = np.arange(count) % 2 == 0
    inner[-1] = False
    chain = Tree(
        feature=np.where(inner, 0, -1),
        threshold=np.arange(count) / 2.0,
        left=np.where(inner, np.arange(count) + 1, -1),
        right=np.where(inner, np.arange(count) + 2, -1),
        missing_left=np.zeros(count, dtype=bool),
        value=np.arange(count, dtype=float)[:, None],
    )
    assert chain.depth == 1000
    x = np.array([[0.0, 0], [7.5, 0], [1e9, 0]])
    assert ensemble(chain).predict(x).tolist() == [1.0, 17.0, 2000.0]
    assert ensemble(Tree(**leaf(4.0))).predict(x).tolist() == [4.0] * 3


def test_a_tie_goes_to_the_class_that_the_library_has_first() -> None:
    shares = np.array([[0.0, 0.0, 0.0], [0.2, 0.4, 0.4], [0.5, 0.0, 0.5]])
    changes: dict[str, Any] = {"link": "distribution", "n_outputs": 3, "base": np.zeros(3)}
    x = np.array([[0.0, 0.0], [1.0, 0.0]])
    assert ensemble(stump(value=shares), **changes).predict(x).tolist() == [1, 0]
    turned = ensemble(stump(value=shares), **changes, class_order=np.array([2, 1, 0]))
    assert turned.predict(x).tolist() == [2, 2]
