"""Tables of several splits: one order of columns, one numbering of categories."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robreport import LoadedData, names_in_order, number_of
from robreport.classes import class_names, positive_last, unify_classes
from robreport.columns import ColumnFacts, probe_rows, unify_columns
from robreport.errors import DataError
from robreport.inputs import check_structure, make_schema
from robreport.kept import keep, open_split
from robreport.selection import select, take

WORDS = ("ash", "birch", "cedar", "10", "9", "2.5")


def _table(words: list[str | None], names: tuple[str, ...] = ("a", "tree"), **rest: Any) -> Any:
    """Return a table whose column `tree` holds words, coded by those that occur in it."""
    known = tuple(dict.fromkeys(word for word in words if word is not None))
    codes = [np.nan if word is None else known.index(word) for word in words]
    columns = {"a": np.arange(len(words)), "tree": codes, "b": np.full(len(words), 0.5)}
    fields: dict[str, Any] = {
        "x": np.array([columns[name] for name in names], dtype=np.float64).T,
        "y": np.arange(len(words)) % 2, "layout": "table", "source": "made", "features": names,
        "categories": {"tree": known} if "tree" in names else {}, "missing": True,
    }  # fmt: skip
    return check_structure(LoadedData(**{**fields, **rest}), "test", "classification")


def _words(data: LoadedData, facts: ColumnFacts) -> list[str | None]:
    codes = data.x[:, data.features.index("tree")]
    return [None if np.isnan(c) else facts.categories["tree"][int(c)] for c in codes]


@given(
    st.lists(
        st.lists(st.one_of(st.none(), st.sampled_from(WORDS)), min_size=1, max_size=6),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_every_word_survives_and_has_one_code(splits: list[list[str | None]]) -> None:
    roles = ("train", "test", "ood.far", "shift.near")[: len(splits)]
    loaded = {role: _table(words) for role, words in zip(roles, splits, strict=True)}
    before = {role: data.x.copy() for role, data in loaded.items()}
    originals = dict(loaded)
    facts = unify_columns(loaded, {})
    every = {word for words in splits for word in words if word is not None}
    assert set(facts.categories.get("tree", ())) == every
    assert len(set(facts.categories.get("tree", ()))) == len(facts.categories.get("tree", ()))
    for role, words in zip(roles, splits, strict=True):
        if every:
            assert _words(loaded[role], facts) == words
        np.testing.assert_array_equal(loaded[role].x[:, 0], before[role][:, 0])
        np.testing.assert_array_equal(originals[role].x, before[role])  # the loader's own array
    assert facts.missing == (("tree",) if any(None in words for words in splits) else ())
    assert facts.integer == ("a",)


def test_categories_are_in_order() -> None:
    loaded = {"train": _table(["10", "9"]), "test": _table(["2.5", "10"])}
    assert unify_columns(loaded, {}).categories == {"tree": ("2.5", "9", "10")}
    loaded = {"train": _table(["birch", "ash"]), "test": _table(["ash"])}
    assert unify_columns(loaded, {}).categories == {
        "tree": ("birch", "ash")
    }  # as the loader has it


def test_columns_in_another_order() -> None:
    loaded = {
        "train": _table(["ash", "birch"], ("b", "tree", "a")),
        "test": _table(["birch", "ash", None], ("a", "tree", "b")),
    }
    facts = unify_columns(loaded, {"frozen": ["b"], "sensitive": ["tree", "a"]})
    assert loaded["train"].features == ("a", "tree", "b")
    np.testing.assert_array_equal(loaded["train"].x[:, [0, 2]], [[0, 0.5], [1, 0.5]])
    assert _words(loaded["train"], facts) == ["ash", "birch"]
    assert (facts.frozen, facts.sensitive) == (("b",), ("a", "tree"))


@pytest.mark.parametrize(
    ("other", "declared", "words"),
    [
        (("a",), {}, "data.train: its columns are not those of data.test: it lacks 'tree'"),
        (("a", "tree", "b"), {}, "it has 'b' beside them"),
        (("b", "tree"), {}, "lacks 'a' and has 'b' beside them"),
        (("a", "tree"), {"sensitive": ["tee"]}, "data.schema.sensitive names the column 'tee'; "
         "there are 'a', 'tree'. Did you mean 'tree'?"),
        (("a", "tree"), {"frozen": [2]}, "data.schema.frozen = 2 is no position among 2 columns"),
    ],
)  # fmt: skip
def test_columns_that_do_not_fit(other: Any, declared: Any, words: str) -> None:
    loaded = {"train": _table(["ash", "ash"], other), "test": _table(["ash", "birch"])}
    with pytest.raises(DataError) as caught:
        unify_columns(loaded, declared)
    assert words in str(caught.value)


def test_positions_count_the_columns_of_the_file() -> None:
    data = _table(["ash", "birch"], columns=("id", "a", "tree", "label"), target="label")
    loaded = {"test": data}
    facts = unify_columns(loaded, {"sensitive": [-2], "frozen": [1]})
    assert (facts.sensitive, facts.frozen) == (("tree",), ("a",))
    with pytest.raises(DataError, match="names 'id', which the models are not given"):
        unify_columns(loaded, {"sensitive": [0]})


def test_a_column_that_is_categorical_in_one_split_only() -> None:
    loaded = {"train": _table(["ash"], categories={}), "test": _table(["ash"])}
    with pytest.raises(DataError, match=r"data\.train: the column 'tree' holds numbers"):
        unify_columns(loaded, {})


def test_codes_that_stand_for_nothing() -> None:
    for codes in ([0, 2], [0, -1], [0, 0.5]):
        table = np.array([[1.0, codes[0]], [2.0, codes[1]]])
        with pytest.raises(DataError, match="holds codes that none of its 2 categories has"):
            unify_columns({"test": _table(["ash", "birch"], x=table)}, {})


def test_codes_of_a_loader_that_knows_no_words() -> None:
    """Arrays have no words: their codes are their names."""
    plain = {"features": (), "categories": {}}
    table = np.array([[0.0, 7.0], [2.0, 8.0]])
    loaded = {"train": _table(["ash", "ash"], x=table, **plain),
              "test": _table(["ash"], x=table[:1], **plain)}  # fmt: skip
    declared = {"features": ["kind", "size"], "categorical": ["kind"], "sensitive": ["size"]}
    facts = unify_columns(loaded, declared)
    assert facts.categories == {"kind": ("0", "1", "2")}
    assert facts.sensitive == ("size",)
    loaded = {"test": _table(["ash"], x=table[:1] + 0.5, **plain)}
    with pytest.raises(DataError, match="other than codes 0, 1, 2"):
        unify_columns(loaded, declared)
    loaded = {"test": _table(["ash"], x=np.array([[1e9, 1.0]]), **plain)}
    with pytest.raises(DataError, match="has 1,000,000,001 values; at most 10,000"):
        unify_columns(loaded, declared)
    loaded = {"test": _table(["ash"], x=table[:1], **plain)}
    with pytest.raises(DataError, match=r"needs names: give data\.schema\.features"):
        unify_columns(loaded, {"sensitive": [0]})


def test_declarations_for_tables_only() -> None:
    image = LoadedData(x=np.zeros((2, 1, 2, 2)), y=np.array([0, 1]), layout="image", source="")
    with pytest.raises(DataError, match=r"data\.schema\.frozen is for tables"):
        unify_columns({"test": image}, {"frozen": [0]})


def test_groups_go_with_their_rows(tmp_path: Any) -> None:
    data = _table(["ash", "birch", "ash"], groups=np.array(["n", "", "south"]), group="place")
    assert select(data, np.array([2, 0])).groups.tolist() == ["south", "n"]
    short = take(data, 2, True, 0, "test")
    assert [("n", "", "south")[row] for row in short.index] == short.groups.tolist()
    loaded = {"test": data}
    facts = unify_columns(loaded, {})
    schema = make_schema(loaded, task="classification", bounds=None, classes=None,
                         found_classes=unify_classes(loaded), features=("x", "kind"), target="",
                         columns=facts)  # fmt: skip
    assert schema.categories == {"kind": ("ash", "birch")}  # by the declared names
    assert (schema.group, schema.integer) == ("place", ("x",))
    kept = keep(loaded["test"], "test", "made", schema, tmp_path)
    split = open_split(kept, tmp_path)
    assert split.groups is not None
    assert split.groups.tolist() == ["n", "", "south"]
    other = keep(_table(["ash", "birch", "ash"], groups=np.array(["n", "n", "s"])), "test", "made",
                 schema, tmp_path / "other")  # fmt: skip
    assert other.digest != kept.digest
    for groups, words in (
        (np.array(["a"]), "one name or whole number for each of 3"),
        (np.array([0.5, 1, 2]), "dtype float64"),
        (np.array(["a", "b", "c" * 201]), "201 characters"),
    ):
        with pytest.raises(DataError, match=words):
            _table(["ash", "birch", "ash"], groups=groups)


def test_missing_values_are_counted_and_kept(tmp_path: Any) -> None:
    data = _table(["ash", None, None])
    loaded = {"test": data}
    facts = unify_columns(loaded, {})
    schema = make_schema(loaded, task="classification", bounds=(0.0, 5.0), classes=None,
                         found_classes=unify_classes(loaded), features=None, target="",
                         columns=facts)  # fmt: skip
    kept = keep(data, "test", "made", schema, tmp_path)
    assert (kept.missing, kept.low, kept.high) == (2, 0.0, 2.0)
    with pytest.raises(DataError, match="1 infinite or too large values, the first in row 1"):
        _table(["ash", "ash"], x=np.array([[1.0, np.nan], [np.inf, 0.0]]))
    with pytest.raises(DataError, match="1 missing, infinite or too large"):
        _table(["ash", None], missing=False)


def test_the_rows_that_a_model_is_tried_on() -> None:
    words: list[str | None] = ["ash"] * 100 + ["birch"] * 3 + [None] + ["cedar"]
    loaded = {"test": _table(words)}
    facts = unify_columns(loaded, {})
    schema = make_schema(loaded, task="classification", bounds=None, classes=None,
                         found_classes=unify_classes(loaded), features=None, target="",
                         columns=facts)  # fmt: skip
    rows = probe_rows(loaded["test"].x, schema, 4)
    assert rows[:, 0].tolist() == [0, 1, 2, 3, 100, 103, 104]


def test_one_class_is_no_classification() -> None:
    loaded = {"test": _table(["ash", "ash"], y=np.array([0, 0]), classes=("yes",))}
    with pytest.raises(DataError, match="every label is 'yes', and a classification needs two"):
        make_schema(loaded, task="classification", bounds=None, classes=None,
                    found_classes=unify_classes(loaded), features=None, target="")  # fmt: skip
    declared = make_schema(
        loaded,
        task="classification",
        bounds=None,
        classes=("yes", "no"),
        found_classes=unify_classes(loaded),
        features=None,
        target="",
    )
    assert declared.classes == ("yes", "no")


def test_the_positive_class_is_the_last() -> None:
    loaded = {
        "train": _table(["ash"], y=np.array([0]), classes=("bad", "good")),
        "test": _table(["ash", "ash"], y=np.array([1, 0]), classes=("bad", "good")),
    }
    names = unify_classes(loaded)
    assert positive_last(loaded, names, "good") == ("bad", "good")
    assert loaded["test"].y.tolist() == [1, 0]
    assert positive_last(loaded, names, "bad") == ("good", "bad")
    assert loaded["test"].y.tolist() == [0, 1]
    assert loaded["train"].y.tolist() == [1]
    assert loaded["train"].classes == ("good", "bad")
    with pytest.raises(DataError, match="Did you mean 'good'"):
        positive_last(loaded, names, "goood")
    with pytest.raises(DataError, match="is for two classes; the data has 3"):
        positive_last(loaded, ("a", "b", "c"), "a")


def _labelled(codes: list[int], names: tuple[str, ...], *, numbered: bool = False) -> LoadedData:
    return LoadedData(
        x=np.zeros((len(codes), 1)), y=np.array(codes), layout="table", source="made up",
        classes=names, numbered=numbered,
    )  # fmt: skip


def test_names_that_are_numbers_are_names_where_a_loader_read_them() -> None:
    loaded = {
        "train": _labelled([0, 1, 0], ("1", "2")),
        "test": _labelled([0, 1], ("0", "1")),
        "shift.later": _labelled([0, 0], ("1",)),
    }
    assert unify_classes(loaded) == ("0", "1", "2")
    assert [loaded[role].y.tolist() for role in loaded] == [[1, 2, 1], [0, 1], [1, 1]]


def test_numbers_that_nobody_wrote_stand_for_the_names_of_another_split() -> None:
    loaded = {
        "train": _labelled([0, 1, 1], ("no", "yes")),
        "test": _labelled([1, 0], ("0", "1"), numbered=True),
    }
    assert unify_classes(loaded) == ("no", "yes")
    assert loaded["test"].y.tolist() == [1, 0]


def test_words_against_numbers_are_not_four_classes() -> None:
    words = {"train": _labelled([0, 1], ("a", "b")), "test": _labelled([0, 1], ("0", "1"))}
    with pytest.raises(DataError) as caught:
        unify_classes(words)
    assert str(caught.value) == (
        "data: data.train (made up) and data.test (made up) have no label in common: 'a', 'b' and "
        "'0', '1'; say which stands for which, in a table with label_map, or give the same classes "
        "the same names."
    )
    # a set of one class has its class in common; one of strange classes has none
    shift = {"train": _labelled([0, 1], ("a", "b")), "test": _labelled([0], ("b",)),
             "shift.one": _labelled([0], ("a",))}  # fmt: skip
    assert unify_classes(dict(shift)) == ("a", "b")
    with pytest.raises(DataError, match=r"data\.shift\.two .* have no label in common: .* and 'c'"):
        unify_classes({**shift, "shift.two": _labelled([0], ("c",))})
    foreign = {**shift, "ood.far": _labelled([0], ("c",))}
    assert unify_classes(foreign) == ("a", "b")


def test_one_number_in_two_spellings_is_not_guessed() -> None:
    two = {"train": _labelled([0, 1], ("1", "2")), "test": _labelled([0, 1], ("01", "2"))}
    with pytest.raises(DataError, match=r"the label '01' of data\.test .* is '1' in data\.train"):
        unify_classes(two)
    known = {"train": _labelled([0, 1], ("01", "1")), "test": _labelled([0, 0], ("1",))}
    assert unify_classes(known) == ("01", "1")
    assert known["test"].y.tolist() == [1, 1]
    assert positive_last(known, ("01", "2"), "1") == ("2", "01")
    with pytest.raises(DataError, match="another order"):
        class_names(("2", "1"), ("01", "02"))
    assert class_names(("1", "2"), ("01", "02")) == ("1", "2")


def test_class_numbers_beside_names_that_are_other_numbers() -> None:
    loaded = {"train": _labelled([0, 1], ("1", "2")),
              "test": _labelled([0, 1], ("0", "1"), numbered=True)}  # fmt: skip
    with pytest.raises(DataError, match=r"say in \[data\.test\] what its numbers stand for"):
        unify_classes(loaded)


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=3), max_size=12))
def test_numbers_stand_in_their_order_however_they_are_spelled(values: list[Decimal]) -> None:
    names = {f"{v:f}" for v in values} | {f"{v:e}" for v in values if len(f"{v:e}") < 30}
    ordered = names_in_order(names)
    assert sorted(ordered) == sorted(names)
    numbers = [Decimal(name) for name in ordered]
    assert numbers == sorted(numbers)
    assert names_in_order([*names, "x"]) == tuple(sorted([*names, "x"]))


def test_what_spells_a_number() -> None:
    assert names_in_order(["10", "9", "2.5", "-1", "+3", ".5", "1e1"]) == (
        "-1", ".5", "2.5", "+3", "9", "10", "1e1",
    )  # fmt: skip
    for text in ("", "1_0", "0x1", "nan", "inf", "1e", ".", " 1", "\u0661", "1e9999", "1,5"):
        assert number_of(text) is None
    # beyond the doubles, and too near for them
    near = ["9007199254740993", "9007199254740992", "1e400"]
    assert names_in_order(near) == ("9007199254740992", "9007199254740993", "1e400")
