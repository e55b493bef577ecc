"""Data cards: every count against a brute force that compares row with row."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robreport import DataSchema, Split
from robreport.codec import adapter, from_json, plain, to_json
from robreport.datacard import SplitCard, card_problem, unusual_first
from robreport.errors import DataError
from robreport.survey import compared_pairs, make_cards, row_groups
from robreport.survey import equal_rows as equal_rows_module
from robreport.survey import values as values_module

# few different values, so that rows meet; all that could be told apart wrongly is among them
VALUES = st.sampled_from([0.0, -0.0, 1.0, -1.0, float("nan"), 1e-45, 2.0**-1074, 3e38])
OTHER_NAN = np.uint32(0x7FC12345).view(np.float32)


def split(role: str, x: Any, y: Any = None, **rest: Any) -> Split:
    rows = np.asarray(x)
    given_index = rest.pop("index", np.arange(len(rows)))
    return Split(
        role=role, x=rows, y=None if y is None else np.asarray(y), index=given_index, digest="",
        **rest,
    )  # fmt: skip


def schema(shape: tuple[int, ...] = (2,), **rest: Any) -> DataSchema:
    fields: dict[str, Any] = {
        "task": "classification", "input_shape": shape, "layout": "table", "classes": ("a", "b"),
    }  # fmt: skip
    return DataSchema(**{**fields, **rest})


def cards(*splits: Split, **rest: Any) -> dict[str, SplitCard]:
    shape = splits[0].x.shape[1:]
    return make_cards({s.role: s for s in splits}, schema(shape, **rest))


def equal(a: Any, b: Any) -> bool:
    """Equality by definition, value by value."""
    return all(p == q or (p != p and q != q) for p, q in zip(a.ravel(), b.ravel(), strict=True))


def brute_groups(parts: list[Any]) -> list[list[int]]:
    """The first row, over all parts, that equals each row."""
    rows = [row for part in parts for row in part]
    first = [next(j for j in range(i + 1) if equal(rows[i], rows[j])) for i in range(len(rows))]
    ends = list(itertools.accumulate(len(part) for part in parts))
    return [first[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def same_partition(found: list[Any], wanted: list[list[int]]) -> bool:
    flat = [int(g) for part in found for g in part]
    want = [g for part in wanted for g in part]
    pairs = set(zip(flat, want, strict=True))
    return len(pairs) == len(set(flat)) == len(set(want)) and set(flat) == set(range(len(pairs)))


@st.composite
def tables(draw: st.DrawFn, parts: int, dtype: Any, values: Any = VALUES) -> list[Any]:
    width = draw(st.integers(1, 3))
    row = st.lists(values, min_size=width, max_size=width)
    many = st.lists(row, min_size=0, max_size=12)
    drawn = [draw(many) for _ in range(parts)]
    with np.errstate(over="ignore", under="ignore"):
        return [np.array(rows, dtype=dtype).reshape(-1, width) for rows in drawn]


@settings(max_examples=60)
@given(st.data(), st.sampled_from(["<f4", "<f8", ">f8"]), st.sampled_from([1, 2, 16]))
def test_groups_are_those_of_a_brute_force(data: st.DataObject, kind: str, digest: int) -> None:
    parts = data.draw(tables(3, np.dtype(kind)))
    # with digests of one byte, most rows share theirs with others that are not equal
    assert same_partition(row_groups(parts, digest_bytes=digest), brute_groups(parts))


def test_rows_that_only_share_a_digest_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.repeat(np.arange(300.0), 2)[np.random.default_rng(0).permutation(600)].reshape(600, 1)
    monkeypatch.setattr(equal_rows_module, "CHUNK_BYTES", 56)  # seven rows at a time
    groups = row_groups([x[:100], x[100:]], digest_bytes=1)
    joined = np.concatenate(groups)
    assert sorted(Counter(joined.tolist()).values()) == [2] * 300
    assert same_partition(groups, brute_groups([x[:100], x[100:]]))


def test_zeros_are_equal_whatever_their_sign_and_so_are_missing_values() -> None:
    x = np.array([[0.0, np.nan], [-0.0, OTHER_NAN], [0.0, 0.0]], dtype=np.float32)
    assert row_groups([x])[0].tolist() in ([0, 0, 1], [1, 1, 0])


def test_whole_numbers_and_pictures_compare_by_value() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, size=(40, 1, 5, 5), dtype=np.uint8)
    again = pictures[::-1].astype(np.float32)
    first, second = row_groups([pictures, again])
    assert first.tolist() == second[::-1].tolist()
    assert len(set(first.tolist())) == 40


@pytest.mark.parametrize("part", [np.zeros((2, 0)), np.zeros((0, 3)), np.zeros((1, 3))])
def test_rows_of_nothing_and_no_rows(part: Any) -> None:
    assert row_groups([part])[0].tolist() == [0] * len(part)
    assert row_groups([]) == []


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        row_groups([np.zeros((1, 2)), np.zeros((1, 3))])
    with pytest.raises(ValueError, match="complex128"):
        row_groups([np.zeros((1, 2), dtype=complex)])


@settings(max_examples=60)
@given(st.data())
def test_overlaps_and_repeats_are_those_of_a_brute_force(data: st.DataObject) -> None:
    parts = data.draw(tables(2, np.float64, st.sampled_from([0.0, -0.0, float("nan")])))
    labels = [
        np.array([data.draw(st.integers(0, 2)) for _ in part], dtype=np.int64) for part in parts
    ]
    (train, test), (y_train, y_test) = parts, labels
    found = cards(split("train", train, y_train), split("test", test, y_test),
                  classes=("a", "b", "c"))  # fmt: skip
    pairs = [
        (i, j) for i, j in itertools.product(range(len(test)), range(len(train)))
        if equal(test[i], train[j])
    ]  # fmt: skip
    overlap = found["test"].overlaps[0]
    assert overlap.other == "train"
    assert overlap.rows == len({i for i, _ in pairs})
    assert overlap.same_label == len({i for i, j in pairs if y_test[i] == y_train[j]})
    assert overlap.other_label == len({i for i, j in pairs if y_test[i] != y_train[j]})
    firsts = dict(reversed(pairs))
    assert overlap.examples == tuple(sorted(firsts.items())[:5])
    for x, y, card in ((train, y_train, found["train"]), (test, y_test, found["test"])):
        later = [i for i in range(len(x)) if any(equal(x[i], x[j]) for j in range(i))]
        assert card.duplicates == len(later)
        given = [{int(y[j]) for j, r in enumerate(x) if equal(x[i], r)} for i in later]
        apart = [labels_here for labels_here in given if len(labels_here) > 1]
        assert card.contradicting == len(apart)
        missing = np.isnan(x)
        assert (card.missing, card.rows_missing) == (missing.sum(), missing.any(axis=1).sum())
        present = [x[~np.isnan(x[:, j]), j] for j in range(x.shape[1])]
        assert card.constant == sum(len(set(column.tolist())) < 2 for column in present)
        assert not card_problem(card, len(x))


@settings(max_examples=40)
@given(st.data())
def test_columns_are_described_as_pandas_describes_them(data: st.DataObject) -> None:
    x = data.draw(tables(1, np.float64))[0]
    card = cards(split("test", x), classes=())["test"]
    assert len(card.features) == x.shape[1]
    for feature, (_, column) in zip(card.features, pd.DataFrame(x).items(), strict=True):
        assert feature.missing == column.isna().sum()
        assert feature.distinct == column.nunique()
        if feature.missing == len(column):
            assert (feature.low, feature.median, feature.high) == (None, None, None)
        else:
            wanted = (column.min(), column.median(), column.max())
            assert (feature.low, feature.median, feature.high) == pytest.approx(wanted)


def test_the_peer_counts_the_same_repeats() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 4, size=(2000, 5)).astype(float)
    x[rng.random(x.shape) < 0.05] = np.nan
    card = cards(split("test", x, rng.integers(0, 2, 2000)))["test"]
    assert card.duplicates == int(pd.DataFrame(x).duplicated().sum()) > 0


def test_planted_rows_are_found_with_their_numbers_and_labels() -> None:
    rng = np.random.default_rng(2)
    train, test = rng.normal(size=(50, 2)), rng.normal(size=(20, 2))
    test[[4, 9, 11]] = train[[7, 30, 7]]
    y_train, y_test = np.zeros(50, dtype=int), np.zeros(20, dtype=int)
    y_test[9] = 1
    found = cards(
        split("train", train, y_train, index=np.arange(50) + 1000),
        split("test", test, y_test, index=np.arange(20) + 500),
    )
    overlap = found["test"].overlaps[0]
    assert (overlap.rows, overlap.same_label, overlap.other_label) == (3, 2, 1)
    assert overlap.examples == ((504, 1007), (509, 1030), (511, 1007))
    assert (found["test"].duplicates, found["test"].contradicting) == (1, 0)
    assert found["train"].overlaps == ()


@pytest.mark.parametrize(
    ("mine", "theirs", "counts"),
    [(0, [0, 1], (1, 1)), (1, [0, 1], (1, 1)), (1, [0, 2], (0, 1)), (1, [1, 1], (1, 0)),
     (0, [2], (0, 1))],
)  # fmt: skip
def test_a_row_may_agree_with_one_twin_and_not_with_another(
    mine: int, theirs: list[int], counts: tuple[int, int]
) -> None:
    train, test = split("train", np.zeros((len(theirs), 1)), theirs), split("test", [[0.0]], [mine])
    found = cards(train, test, classes=("a", "b", "c"))
    overlap = found["test"].overlaps[0]
    assert (overlap.rows, overlap.same_label, overlap.other_label) == (1, *counts)


def test_every_pair_that_means_something_is_compared_once() -> None:
    roles = ("ood.far", "train", "shift.dark", "calibration", "test")
    assert compared_pairs(roles) == [
        ("test", "train"), ("test", "calibration"), ("calibration", "train"), ("ood.far", "train"),
        ("ood.far", "test"), ("shift.dark", "train"), ("shift.dark", "test"),
    ]  # fmt: skip
    assert compared_pairs(("test",)) == []


def test_labels_of_foreign_sets_are_not_compared() -> None:
    x = np.zeros((3, 2))
    found = cards(split("test", x, [0, 1, 0]), split("ood.far", x, [7.0, -1.0, 0.0]),
                  split("extra.bare", x))  # fmt: skip
    foreign = found["ood.far"]
    assert (foreign.duplicates, foreign.contradicting, foreign.balance) == (2, None, None)
    for role in ("ood.far", "extra.bare"):
        (overlap,) = found[role].overlaps
        assert (overlap.rows, overlap.same_label, overlap.other_label) == (3, None, None)
    assert (found["test"].duplicates, found["test"].contradicting) == (2, 2)


def test_an_empty_class_has_no_ratio() -> None:
    names = ("a", "b", "c")
    found = cards(split("test", np.arange(6.0).reshape(3, 2), [0, 0, 2]), classes=names)
    balance = found["test"].balance
    assert balance is not None
    assert (balance.classes, balance.present, balance.largest, balance.smallest) == (3, 2, 2, 0)
    assert balance.ratio is None
    full = cards(split("test", np.arange(12.0).reshape(6, 2), [0, 0, 0, 1, 2, 2]), classes=names)
    assert full["test"].balance.ratio == 3.0  # type: ignore[union-attr]


def test_a_split_of_one_row() -> None:
    card = cards(split("test", [[1.0, np.nan]], [1]))["test"]
    assert (card.values, card.constant, card.missing, card.duplicates) == (2, 2, 1, 0)
    assert card.balance is not None
    assert card.balance.ratio is None
    assert not card_problem(card, 1)


def test_a_regression_has_a_target_and_no_classes() -> None:
    y = np.array([3.0, 1.0, 2.0, -0.0])
    x = np.array([[0.0], [0.0], [1.0], [2.0]])
    card = cards(split("test", x, y), task="regression", classes=())["test"]
    assert card.balance is None
    assert card.target is not None
    quartiles = (card.target.low, card.target.q1, card.target.median, card.target.q3,
                 card.target.high)  # fmt: skip
    assert quartiles == tuple(np.quantile(y, [0, 0.25, 0.5, 0.75, 1]))
    assert (card.duplicates, card.contradicting) == (1, 1)


def test_categories_have_a_most_frequent_value_and_no_median() -> None:
    x = np.array([[2.0, 10.0], [0.0, 11.0], [2.0, 12.0], [np.nan, 10.0]])
    card = cards(
        split("test", x, [0, 1, 0, 1]), features=("sex", "age"),
        categories={"sex": ("f", "m", "x")}, integer=("age",),
    )["test"]  # fmt: skip
    sex, age = card.features
    assert (sex.kind, sex.categories, sex.distinct, sex.missing) == ("category", 3, 2, 1)
    assert (sex.common, sex.common_rows, sex.median) == ("x", 2, None)
    assert (age.kind, age.low, age.median, age.high) == ("integer", 10.0, 10.5, 12.0)


def test_values_outside_the_bounds_are_counted_in_every_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(100, 3)).astype(np.float32)
    x[5, 1] = np.nan
    monkeypatch.setattr(values_module, "CHUNK_BYTES", 84)
    for bounds in ((-1.0, 1.0), ((-1.0, 0.0, -2.0), (1.0, 0.5, 2.0))):
        low, high = (np.asarray(side, dtype=np.float32) for side in bounds)
        card = cards(split("test", x), bounds=bounds)["test"]
        assert card.outside == int(((x < low) | (x > high)).sum()) > 0
        assert (card.missing, card.rows_missing) == (1, 1)
    assert cards(split("test", x))["test"].outside is None


def test_of_many_columns_the_most_unusual_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values_module, "MOST_FEATURES", 3)
    x = np.array([[0.0, 5.0, 0.0, np.nan, 1.0], [1.0, 5.0, 0.0, 2.0, 2.0],
                  [2.0, 5.0, 9.0, 3.0, 3.0]])  # fmt: skip
    card = cards(split("test", x))["test"]
    assert [feature.name for feature in card.features] == ["feature 2", "feature 3", "feature 4"]
    ordered = [feature.name for feature in unusual_first(card.features)]
    assert ordered == ["feature 4", "feature 2", "feature 3"]


def test_infinite_values_are_refused() -> None:
    with pytest.raises(DataError, match=r"data\.test: it holds infinite values"):
        cards(split("test", [[np.inf, 0.0]]))


def test_a_card_survives_as_json_and_is_the_same_each_time() -> None:
    rng = np.random.default_rng(4)
    x = rng.integers(0, 3, size=(60, 2)).astype(float)
    made = [
        cards(split("train", x[:40], rng.integers(0, 1, 40)), split("test", x[40:], [0] * 20))
        for _ in range(2)
    ]
    assert made[0] == made[1]
    for card in made[0].values():
        tree = from_json(to_json(plain(card)), "card")
        assert adapter(SplitCard).validate_python(tree) == card


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"duplicates": 3}, "duplicates is 3"),
        ({"missing": -1}, "missing is -1"),
        ({"constant": 9}, "constant is 9"),
        ({"contradicting": 1}, "contradicting is 1"),
        ({"overlaps": [{"other": "train", "rows": 4}]}, "overlaps.0.rows is 4"),
        ({"overlaps": [{"other": "t", "rows": 1, "other_label": 2}]}, "other_label is 2"),
        ({"balance": {"classes": 2, "present": 3, "largest": 2, "smallest": 1, "ratio": 2.0}},
         "balance.present is 3"),
        ({"features": [{"name": "f", "low": None, "median": None, "high": None, "missing": 2,
                        "distinct": 2}]}, "features.0.distinct is 2"),
    ],
)  # fmt: skip
def test_a_card_that_contradicts_itself_is_told(change: dict[str, Any], words: str) -> None:
    sound = plain(cards(split("test", [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], [0, 1, 1]))["test"])
    card = adapter(SplitCard).validate_python({**sound, **change})
    assert words in card_problem(card, 3)


def brute_card(x: Any, y: Any, groups: Any, other: tuple[Any, Any, Any]) -> tuple[int, ...]:
    """Rows, groups and classes that two splits share, row by row."""
    there = [tuple(row) for row in other[0].tolist()]
    rows = sum(tuple(row) in there for row in x.tolist())
    named = {g for g in groups if g} & {g for g in other[2] if g}
    strange = set(y.tolist()) - set(other[1].tolist())
    return (
        rows, len(named), sum(g in named for g in groups), len(strange),
        sum(label in strange for label in y.tolist()),
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_what_is_shared_is_looked_for_in_all_that_is_declared(
    seed: int, here: int, there: int, cut: bool
) -> None:
    rng = np.random.default_rng(seed)

    def made(n: int) -> tuple[Any, Any, Any]:
        x = rng.integers(0, 3, size=(n, 2)).astype(float)
        names = np.array(["", "a", "b", "cc", "dd"])[rng.integers(0, 5, n)]
        return x, rng.integers(0, 4, n), names

    whole, used = made(there), made(here)
    keep = rng.permutation(there)[: max(1, there // 3)] if cut else np.arange(there)
    train = split("train", whole[0][keep], whole[1][keep], groups=whole[2][keep], index=keep)
    test = split("test", used[0], used[1], groups=used[2])
    uncut = {"train": split("train", whole[0], whole[1], groups=whole[2])} if cut else {}
    names = ("p", "q", "r", "s")
    found = make_cards({"train": train, "test": test}, schema(classes=names, group="team"), uncut)
    card = found["test"]
    (overlap,), (shared,) = card.overlaps, card.shared_groups
    lost = card.unlearned
    assert brute_card(*used, whole) == (
        overlap.rows, shared.groups, shared.rows, lost.classes if lost else 0,
        lost.rows if lost else 0,
    )  # fmt: skip
    for mine, other in overlap.examples:  # numbered as in the sources
        np.testing.assert_array_equal(used[0][mine], whole[0][other])
    assert (card.declared, found["train"].declared) == (here, there)
    own = Counter(g for g in used[2].tolist() if g)
    assert card.grouping is not None
    assert (card.grouping.column, card.grouping.groups) == ("team", len(own))
    assert card.grouping.largest == max(own.values(), default=0)
    assert card.grouping.without == here - sum(own.values())
    for role, n in (("train", len(keep)), ("test", here)):
        assert card_problem(found[role], n) == ""
        kind = adapter(SplitCard)
        assert kind.validate_python(from_json(to_json(plain(found[role])), "card")) == found[role]


def test_a_card_of_groups_that_contradicts_itself_is_told() -> None:
    x = np.arange(8.0).reshape(4, 2)
    made = make_cards(
        {"train": split("train", x, [0, 0, 0, 0], groups=np.array(["a", "b", "b", ""])),
         "test": split("test", x, [0, 1, 1, 1], groups=np.array(["b", "b", "c", "c"]))},
        schema(group="g"),
    )["test"]  # fmt: skip
    assert card_problem(made, 4) == ""
    (shared,), grouping, lost = made.shared_groups, made.grouping, made.unlearned
    assert grouping is not None
    assert lost is not None
    assert (shared.groups, shared.rows, shared.examples, lost.examples) == (1, 2, ("b",), ("b",))
    for wrong, words in (
        ({"shared_groups": (replace(shared, groups=3),)}, "shared_groups.0.groups is 3"),
        ({"shared_groups": (replace(shared, rows=5),)}, "shared_groups.0.rows is 5"),
        ({"grouping": replace(grouping, without=-1)}, "grouping.without is -1"),
        ({"grouping": replace(grouping, largest=5)}, "grouping.largest is 5"),
        ({"grouping": None}, "shared_groups.0.groups is 1"),
        ({"unlearned": replace(lost, classes=4)}, "unlearned.classes is 4"),
        ({"declared": 3}, "the number of rows in use is 4"),
    ):
        assert words in card_problem(replace(made, **wrong), 4)
