"""Loaded data: what is refused, how splits are cut, and what is kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robreport import LoadedData
from robreport.bundle import DataSchema
from robreport.classes import unify_classes
from robreport.codec import from_json, plain, to_json
from robreport.errors import DataError
from robreport.inputs import check_against, check_structure, make_schema, schema_from_json
from robreport.kept import arrays_digest, keep, open_split
from robreport.outcome import SplitFacts
from robreport.selection import carve, take


def _data(n: int = 6, **rest: Any) -> LoadedData:
    fields = {"x": np.arange(2.0 * n).reshape(n, 2), "y": np.arange(n) % 3, "layout": "table",
              "source": "made"}  # fmt: skip
    return LoadedData(**{**fields, **rest})


def _checked(role: str = "test", task: str = "classification", **rest: Any) -> LoadedData:
    return check_structure(_data(**rest), role, task)


def _schema(loaded: dict[str, LoadedData], **rest: Any) -> DataSchema:
    fields: dict[str, Any] = {"task": "classification", "bounds": None, "classes": None,
                              "features": None, "target": ""}  # fmt: skip
    return make_schema(loaded, **{**fields, "found_classes": unify_classes(loaded), **rest})


def test_plain_types() -> None:
    table = _checked(x=np.ones((6, 2), np.int32), y=np.array([0.0, 1, 2, 0, 1, 2]))
    assert table.x.dtype == np.float64
    assert table.y is not None
    assert table.y.dtype == np.int64
    assert table.index is not None
    assert table.index.tolist() == [0, 1, 2, 3, 4, 5]
    assert table.classes == ("0", "1", "2")
    image = _checked(x=np.ones((6, 1, 2, 2)), layout="image")
    assert image.x.dtype == np.float32
    assert image.x.flags.c_contiguous
    values = _checked(task="regression", y=np.array([-1.5, 0, 1, 2, 3, 4]))
    assert values.y is not None
    assert values.y.dtype == np.float64
    assert values.classes == ()


BIG = np.full((6, 1, 2, 2), 1e39)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.ones((0, 2))}, "empty or no batch of examples (shape (0, 2))"),
        ({"x": np.ones((6, 0))}, "empty or no batch"),
        ({"x": np.ones(6)}, "empty or no batch"),
        ({"x": np.array(3.0)}, "empty or no batch"),
        ({"x": np.full((6, 2), "a")}, "inputs must be numbers, found dtype <U1"),
        ({"x": np.ones((6, 2), complex)}, "inputs must be numbers"),
        ({"x": np.ones((6, 2), object)}, "inputs must be numbers"),
        ({"x": np.array([[0, 1.0]] * 4 + [[np.nan, np.inf]] * 2)},
         "inputs hold 4 missing, infinite or too large values, the first in row 4"),
        ({"x": BIG, "layout": "image"}, "24 missing, infinite or too large values"),
        ({"layout": "tabel"}, "the layout is 'tabel', none of image, table, array"),
        ({"layout": "image"}, "layout image need 4 axes, found the shape (6, 2)"),
        ({"x": np.ones((6, 1, 2))}, "layout table need 2 axes"),
        ({"y": np.arange(5)}, "6 inputs but labels of shape (5,)"),
        ({"y": np.arange(6).reshape(6, 1)}, "labels of shape (6, 1)"),
        ({"y": np.array(list("abcdef"))}, "labels must be numbers"),
        ({"y": np.array([0, 1, np.nan, 0, 1, 2])}, "labels hold 1 missing"),
        ({"y": np.array([0, 1, 0.5, 0, 1, 2])}, 'declare task = "regression"'),
        ({"y": np.array([0, 1, -1, 0, 1, 2])}, "out of range: found -1; classes count from 0"),
        ({"y": np.array([0, 1, 2**40, 0, 1, 2])}, "labels out of range: found 1099511627776"),
        ({"y": np.array([0, 1, 2**63, 0, 1, 2], np.uint64)}, "found 9223372036854775808"),
        ({"y": np.array([0, 1, 1e300, 0, 1, 2])}, "labels out of range"),
        ({"y": np.array([0, 1, 500_000, 0, 1, 2])}, "labels go up to 500,000"),
        ({"classes": ("a", "b")}, "labels out of range: found 2, but there are 2 classes (0 to 1)"),
        ({"classes": ("a", "b", "a")}, "two classes have the same name"),
        ({"index": np.arange(5)}, "row numbers of shape (5,)"),
        ({"index": np.arange(6) + 0.5}, "row numbers of shape (6,) and dtype float64"),
    ],
)  # fmt: skip
def test_what_cannot_be_used(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        _checked(**change)
    assert str(caught.value).startswith("data.test: ")
    assert words in str(caught.value)


def test_the_row_of_a_fault_is_that_of_the_source() -> None:
    x = np.ones((6, 2))
    x[3, 1] = np.nan
    with pytest.raises(DataError, match="the first in row 103;"):
        _checked(x=x, index=np.arange(100, 106))


def test_labels_of_foreign_sets_mean_something_else() -> None:
    strange = _checked("ood.noise", y=np.array([-1, -1, 0.5, 70, 0, 1]), classes=("shirt", "shoe"))
    loaded = {"test": _checked(classes=("a", "b", "c")), "ood.noise": strange}
    schema = _schema(loaded)
    assert schema.classes == ("a", "b", "c")
    check_against(loaded["ood.noise"], "ood.noise", schema)
    numbered = {"test": _checked(), "ood.noise": strange}
    assert _schema(numbered).classes == ("0", "1", "2")


def test_a_limit_hides_no_class(tmp_path: Path) -> None:
    data = take(_checked(n=3000, y=np.arange(3000) % 10), 3, True, 0, "test")
    schema = _schema({"test": data})
    assert schema.n_classes == 10
    counts = keep(data, "test", "made", schema, tmp_path).class_counts
    assert sum(counts.values()) == 3


@given(
    st.integers(1, 30), st.integers(1, 40), st.integers(0, 5), st.sampled_from(["test", "train"])
)
def test_a_limit_takes_a_seeded_part(n: int, limit: int, seed: int, role: str) -> None:
    data = check_structure(_data(n), role, "classification")
    one, two = (take(data, limit, True, seed, role) for _ in range(2))
    assert one.index is not None
    assert two.index is not None
    assert one.index.tolist() == two.index.tolist()
    assert len(set(one.index.tolist())) == len(one.x) == min(n, limit)
    assert np.array_equal(one.x, data.x[one.index])
    first = take(data, limit, False, seed, role)
    assert first.index is not None
    assert first.index.tolist() == list(range(min(n, limit)))


def test_the_part_depends_on_role_and_seed() -> None:
    data = _checked(n=500)
    parts = {
        tuple(take(data, 20, True, seed, role).x[:, 0])
        for seed in (0, 1)
        for role in ("test", "train", "ood.a")
    }
    assert len(parts) == 6


@given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers(0, 3))
def test_carving_is_disjoint_and_complete(n: int, share: float, seed: int) -> None:
    part, rest = carve(check_structure(_data(n), "test", "classification"), share, seed)
    assert part.index is not None
    assert rest.index is not None
    assert sorted([*part.index.tolist(), *rest.index.tolist()]) == list(range(n))
    assert len(part.x) == min(n - 1, max(1, round(n * share)))
    assert len(rest.x) >= 1
    assert part.index.tolist() == sorted(part.index.tolist())
    assert np.array_equal(part.x[:, 0] / 2, part.index)


def test_one_example_cannot_be_carved() -> None:
    with pytest.raises(DataError, match="one example cannot be split"):
        carve(_checked(n=1, y=np.array([0])), 0.2, 0)


def _named(names: str, y: list[int]) -> LoadedData:
    return _checked(n=len(y), y=np.array(y), classes=tuple(names.split()))


def _words(data: LoadedData) -> list[str]:
    assert data.y is not None
    return [data.classes[code] for code in data.y]


@given(
    st.lists(
        st.lists(st.sampled_from(["cat", "dog", "eel", "fox"]), min_size=1, max_size=5), min_size=1,
        max_size=3,
    )
)  # fmt: skip
def test_splits_that_saw_different_classes_agree(labels: list[list[str]]) -> None:
    loaded = {}
    for role, words in zip(("test", "train", "shift.a"), labels, strict=False):
        names = sorted(set(words))
        loaded[role] = _named(" ".join(names), [names.index(word) for word in words])
    sets = [set(words) for words in labels]
    strangers = len(sets) > 1 and sets[0].isdisjoint(sets[1])
    strangers = strangers or (len(sets) > 2 and sets[2].isdisjoint(sets[0] | sets[1]))
    if strangers:
        with pytest.raises(DataError, match="have no label in common: "):
            unify_classes(loaded)
        return
    every = unify_classes(loaded)
    assert set(every) == {word for words in labels for word in words}
    for data, words in zip(loaded.values(), labels, strict=True):
        assert data.classes == every
        assert _words(data) == words


def test_numbers_keep_their_order() -> None:
    some, all_ = (_checked(n=30, y=np.arange(30) % k) for k in (3, 12))
    loaded = {"test": some, "train": all_}
    assert unify_classes(loaded) == tuple(str(i) for i in range(12))
    assert loaded["train"].y is not None
    assert loaded["train"].y.tolist() == (np.arange(30) % 12).tolist()
    gaps = {"test": _named("2 10", [0, 1]), "train": _named("9 10", [0, 1])}
    assert unify_classes(gaps) == ("2", "9", "10")
    assert _words(gaps["train"]) == ["9", "10"]


def test_the_longest_list_leads_where_it_holds_the_others() -> None:
    loaded = {"test": _named("dog", [0, 0]), "train": _named("fox dog cat", [0, 1, 2])}
    assert unify_classes(loaded) == ("fox", "dog", "cat")
    assert _words(loaded["test"]) == ["dog", "dog"]


def test_names_of_one_split_serve_the_others() -> None:
    loaded = {"test": _checked(n=4, y=np.array([0, 1, 1, 0])), "train": _named("no yes", [0, 1])}
    schema = _schema(loaded)
    assert schema.classes == ("no", "yes")
    check_against(loaded["test"], "test", schema)


@pytest.mark.parametrize(
    ("declared", "found", "words"),
    [
        (("a", "b", "c"), "a b c", ""),
        (("a", "b", "c", "d"), "a b c", ""),
        (("x", "y", "z"), "a b c", ""),
        (("zero", "one", "two"), "0 1 2", ""),
        (("c", "b", "a"), "a b c", "in another order than the loader, which has a, b, c"),
        (("a", "b"), "a b c", "names 2 classes; the labels have 3: a, b, c"),
        (("a", "a", "b"), "a b c", "names a class twice"),
    ],
)
def test_declared_classes(declared: tuple[str, ...], found: str, words: str) -> None:
    loaded = {"test": _named(found, [0, 1, 2])}
    if words:
        with pytest.raises(DataError, match=words):
            _schema(loaded, classes=declared)
    else:
        assert _schema(loaded, classes=declared).classes == declared


def test_a_label_beyond_the_declared_classes_spoils_its_split_alone() -> None:
    loaded = {"test": _checked(), "train": _checked(y=np.array([0, 1, 7, 0, 1, 2]))}
    schema = _schema(loaded, classes=("a", "b", "c"))
    check_against(loaded["test"], "test", schema)
    with pytest.raises(
        DataError, match=r"data\.train: labels out of range: found 7, but there are 3"
    ):
        check_against(loaded["train"], "train", schema)


def test_shapes_must_agree_with_those_of_test() -> None:
    loaded = {"train": _checked(x=np.ones((6, 3))), "test": _checked()}
    schema = _schema(loaded)
    assert schema.input_shape == (2,)
    with pytest.raises(DataError, match=r"data\.train: inputs have the shape \(3,\); those of the"):
        check_against(loaded["train"], "train", schema)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ((0.0, 11.0), ""),
        (((0.0, 1.0), (10.0, 11.0)), ""),
        ((0.0, (10.0, 11.0)), ""),
        ((0.0, 9.5), "2 values lie outside the declared bounds, the first in row 5; the inputs"),
        (((0.0, 2.0), (10.0, 11.0)), "1 values lie outside the declared bounds, the first in"),
        ((1.0, 0.0), "the lower side below the upper"),
        (((0.0, 0.0), (1.0, 0.0)), "the lower side below the upper"),
        ((0.0, float("inf")), "must be finite"),
        (((0.0,), (1.0,)), "gives 1 values per side; the inputs have 2 features"),
    ],
)  # fmt: skip
def test_bounds(bounds: Any, words: str) -> None:
    data = _checked()

    def judge() -> None:
        check_against(data, "test", _schema({"test": data}, bounds=bounds))

    if words:
        with pytest.raises(DataError) as caught:
            judge()
        assert words in str(caught.value)
    else:
        judge()


def test_bounds_are_compared_in_the_precision_of_the_data() -> None:
    x = np.full((2, 1, 1, 1), 0.1, np.float32)
    data = _checked(n=2, x=x, layout="image")
    schema = _schema({"test": data}, bounds=(0.0, 0.1))
    check_against(data, "test", schema)
    # the next number above 0.1 that the data's precision has
    above = _checked(n=2, x=np.nextafter(x, np.float32(1)), layout="image")
    with pytest.raises(DataError, match=r"0\.1"):
        check_against(above, "test", schema)


def test_feature_names_must_fit() -> None:
    data = _checked(features=("a", "b"))
    assert _schema({"test": data}).features == ("a", "b")
    assert _schema({"test": data}, features=["c", "d"]).features == ("c", "d")
    with pytest.raises(DataError, match="names 3 columns; the inputs have 2"):
        _schema({"test": data}, features=["c", "d", "e"])


def _facts(tmp_path: Path, **rest: Any) -> tuple[LoadedData, SplitFacts]:
    data = _checked(**rest)
    return data, keep(data, "test", "made", _schema({"test": data}), tmp_path)


def test_what_is_kept_opens_again_and_cannot_be_changed(tmp_path: Path) -> None:
    data, facts = _facts(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    split = open_split(facts, tmp_path)
    assert np.array_equal(split.x, data.x)
    assert np.array_equal(split.labels, np.arange(6) % 3)
    split.x[:] = 9
    split.labels[:] = 9
    split.index[:] = 9
    del split
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert open_split(facts, tmp_path).x[0, 1] == 1
    assert (facts.low, facts.high, facts.n, facts.shape) == (0, 11, 6, (2,))
    assert facts.class_counts == {"0": 2, "1": 2, "2": 2}


def test_unlabelled_sets(tmp_path: Path) -> None:
    _, facts = _facts(tmp_path, y=None)
    assert open_split(facts, tmp_path).y is None
    assert facts.class_counts == {}


def test_the_digest_sees_every_change() -> None:
    x, y, index = np.arange(6.0).reshape(3, 2), np.arange(3), np.arange(3)
    changed = x.copy()
    changed[2, 1] = np.nextafter(5.0, 6.0)
    variants: list[tuple[npt.NDArray[Any], Any, Any]] = [
        (x, y, index), (changed, y, index), (x.reshape(2, 3), y, index), (x, None, index),
        (x, y[::-1], index), (x, y, index + 1), (x.astype(np.float32), y, index), (x, index, None),
        (x, y.astype(np.int32), index),
    ]  # fmt: skip
    digests = [arrays_digest(*variant) for variant in variants]
    assert len(set(digests)) == len(digests)
    assert digests[0] == arrays_digest(np.asfortranarray(x), y.copy(), index.copy())
    oracle = hashlib.sha256()
    for array in (x, y, index):
        oracle.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    assert digests[0] == oracle.hexdigest()


def test_the_schema_survives_json() -> None:
    for bounds in (None, (0.0, 1.0), ((0.0, 0.0), (12.0, 12.0)), (0.0, (12.0, 12.0))):
        schema = _schema({"test": _checked(features=("a", "b"))}, bounds=bounds, target="income")
        assert schema_from_json(from_json(to_json(plain(schema)), "x")) == schema


def test_the_part_of_a_checked_split_keeps_its_rows_together() -> None:
    data = _checked(n=50, index=np.arange(1000, 1050))
    some = take(data, 7, True, 3, "test")
    assert some.index is not None
    assert np.array_equal(some.x[:, 0] / 2 + 1000, some.index)
