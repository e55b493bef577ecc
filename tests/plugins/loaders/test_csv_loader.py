"""The csv loader: numbers, categories, labels, and tables that are none."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.model_selection import train_test_split

from robreport_plugins.loaders.table import CsvLoader

LOADER = CsvLoader()
Check = Callable[..., str]
TABLE = "age, sex, pay, rich\n30, f, 1.5, no\n40, m, 2.25, yes\n50, f, 1e3, no\n60, m, 0.1, no\n"
SEX = {"sex": ("m", "f")}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    def put(text: str | bytes, name: str = "t.csv") -> None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    return put


def test_a_table(write: Any, load_data: Any) -> None:
    write(TABLE)
    data = load_data(LOADER, path="t.csv", label="rich", categories=SEX)
    np.testing.assert_array_equal(
        data.x, [[30, 1, 1.5], [40, 0, 2.25], [50, 1, 1000], [60, 0, 0.1]]
    )
    assert data.x.dtype == np.float64
    assert data.features == ("age", "sex", "pay")
    assert data.classes == ("no", "yes")
    assert data.y.tolist() == [0, 1, 0, 0]
    assert data.y.dtype == np.int64
    assert data.layout == "table"
    assert data.source == "table t.csv, 4 rows of 3 columns"


def test_label_of_the_schema_and_by_position(write: Any, load_data: Any, refused: Check) -> None:
    write(TABLE)
    options = {"path": "t.csv", "categories": SEX}
    assert load_data(LOADER, schema={"label": "rich"}, **options).y.tolist() == [0, 1, 0, 0]
    assert load_data(LOADER, label=-1, **options).classes == ("no", "yes")
    refused(lambda: load_data(LOADER, **options), "which column is the label")
    refused(lambda: load_data(LOADER, label=4, **options), "no position among 4 columns")
    refused(lambda: load_data(LOADER, label="ritch", **options), "Did you mean 'rich'")
    unlabelled = load_data(LOADER, "ood.a", path="t.csv", columns=["age", "pay"])
    assert unlabelled.y is None


def test_columns(write: Any, load_data: Any, refused: Check) -> None:
    write(TABLE)
    data = load_data(LOADER, path="t.csv", label="rich", columns=["pay", 0])
    assert data.features == ("pay", "age")
    np.testing.assert_array_equal(data.x[0], [1.5, 30])
    for columns, words in (
        (["rich"], "includes the label"),
        (["age", 0], "twice"),
        (["ago"], "Did you mean 'age'"),
    ):
        refused(lambda c=columns: load_data(LOADER, path="t.csv", label=-1, columns=c), words)


def test_without_header(write: Any, load_data: Any) -> None:
    write("1;2;7\n3;4;9\n")
    data = load_data(LOADER, path="t.csv", label=2, header=False, delimiter=";")
    np.testing.assert_array_equal(data.x, [[1, 2], [3, 4]])
    assert data.features == ("0", "1")
    assert data.classes == ("7", "9")
    values = load_data(
        LOADER, path="t.csv", label=2, header=False, delimiter=";", task="regression"
    )
    assert values.y.tolist() == [7, 9]
    assert values.classes == ()


def test_number_classes_keep_their_order(write: Any, load_data: Any) -> None:
    write("a,y\n1,10\n2,9\n3,10\n4,3.0\n")
    data = load_data(LOADER, path="t.csv", label="y")
    assert data.classes == ("3", "9", "10")
    assert data.y.tolist() == [2, 1, 2, 0]
    assert load_data(LOADER, path="t.csv", label="y", classes=("10", "9", "3")).y.tolist() == [
        0, 1, 0, 2,
    ]  # fmt: skip


def test_labels_that_are_none(write: Any, load_data: Any, refused: Check) -> None:
    write("a,y\n1,0.5\n2,1\n")
    refused(lambda: load_data(LOADER, path="t.csv", label="y"), "column 'y'", "regression")
    write("a,y\n1,u\n2,v\n")
    refused(lambda: load_data(LOADER, path="t.csv", label="y", task="regression"), "needs numbers")
    refused(lambda: load_data(LOADER, path="t.csv", label="y", classes=("u", "w")), "'v'")


def test_text_columns(write: Any, load_data: Any, refused: Check) -> None:
    write(TABLE)
    refused(lambda: load_data(LOADER, path="t.csv", label="rich"), "column 'sex'", "'f', 'm'")
    refused(
        lambda: load_data(LOADER, path="t.csv", label="rich", categories={"sex": ("m",)}), "'f'"
    )
    refused(
        lambda: load_data(LOADER, path="t.csv", label="rich", categories={"sox": ("m",)}),
        "Did you mean 'sex'",
    )
    # Two files need not hold the same values, so codes are not made up from one of them ...
    schema = {"categorical": ["sex"]}
    refused(lambda: load_data(LOADER, path="t.csv", label="rich", schema=schema), "declare")
    # ... but both parts of one file share its values.
    both = {"path": "t.csv", "label": "rich", "test_size": 0.5, "stratify": False}
    train = load_data(LOADER, "train", schema=schema, **both)
    test = load_data(LOADER, "test", schema=schema, **both)
    codes = dict(zip([*train.index, *test.index], [*train.x[:, 1], *test.x[:, 1]], strict=True))
    assert codes == {0: 0, 1: 1, 2: 0, 3: 1}


def test_missing_values(write: Any, load_data: Any, refused: Check) -> None:
    write("a,b,y\n1,,0\n?,2,1\n3,4,\n5,6,1\n")
    refused(
        lambda: load_data(LOADER, path="t.csv", label="y"),
        "3 of 4 rows have missing values",
        "'a': 1",
        "'b': 1",
        "'y': 1",
    )
    write("a,b,y\n1,,0\n2,2,1\n")
    assert load_data(LOADER, path="t.csv", label="y", columns=["a"]).x.tolist() == [[1], [2]]
    write("a,y\nNone,0\nx,1\n")
    text = refused(lambda: load_data(LOADER, path="t.csv", label="y"))
    assert "'None', 'x'" in text  # a value like any other


def test_one_file_divided(write: Any, load_data: Any, refused: Check) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 2)), rng.integers(0, 2, 40)
    write(
        "a,b,y\n" + "".join(f"{a!r},{b!r},{c}\n" for (a, b), c in zip(x.tolist(), y, strict=True))
    )
    options = {"path": "t.csv", "label": "y", "test_size": 0.25, "random_state": 3}
    expected = train_test_split(np.arange(40), test_size=0.25, random_state=3, stratify=y)
    for role, rows in zip(("train", "test"), expected, strict=True):
        data = load_data(LOADER, role, **options)
        np.testing.assert_array_equal(data.index, rows)
        np.testing.assert_array_equal(data.x, x[rows])  # text to float64 is exact
        np.testing.assert_array_equal(data.y, y[rows])
    refused(lambda: load_data(LOADER, "calibration", **options), "calibration")
    refused(lambda: load_data(LOADER, path="t.csv", label="y", part="train"), "needs test_size")


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_packed(pack: Callable[[bytes], bytes], write: Any, load_data: Any, refused: Check) -> None:
    whole = pack(TABLE.encode())
    write(whole)
    options = {"path": "t.csv", "label": "rich", "categories": SEX}
    assert len(load_data(LOADER, **options).x) == 4
    write(whole[: len(whole) // 2])
    refused(lambda: load_data(LOADER, **options))


def test_a_bomb_is_not_unpacked(
    write: Any, load_data: Any, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robreport_plugins.loaders.delimited._LARGEST_TEXT", 1 << 20)
    write(gzip.compress(b"1,2\n" * (1 << 19)))
    refused(lambda: load_data(LOADER, path="t.csv", label=0), "unpacks to more than 1,048,576")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("\n\n", "no rows"),
        ("a,y\n", "header and no rows"),
        ("a,a,y\n1,2,0\n", "'a' repeat"),
        ("a,,y\n1,2,0\n", "column 2 has no name"),
        ("1,1,0\n2,3,1\n", "header = false"),
        ("a,y\n1,0,5\n", "rows differ"),
        ("a,y\n1,0\n2,0,5\n", "rows differ"),
        ("a,b,y\n1,0\n", "missing values"),
        ('a,y\n"1,0\n', "quotes do not close"),
        (b"a,y\n\xff\xfe,0\n", "not UTF-8"),
        (b"a,y\n1\x00,0\n", "zero bytes"),
        ("y\n1\n", "no column beside the label"),
        ("a y\n1 0\n", "'y'"),
    ],
)
def test_tables_that_are_none(
    content: str | bytes, words: str, write: Any, load_data: Any, refused: Check
) -> None:
    write(content)
    refused(lambda: load_data(LOADER, path="t.csv", label="y"), "data.test (t.csv)", words)


def test_odd_but_sound_tables(write: Any, load_data: Any) -> None:
    write(b"\xef\xbb\xbfa,y\r\n1,0\r\n2,1\r\n")
    assert load_data(LOADER, path="t.csv", label="y").features == ("a",)
    write("\n\na,y\n1,0\n\n2,1")
    assert load_data(LOADER, path="t.csv", label="y").x.tolist() == [[1], [2]]
    write('"a, b",y\n1,"<=50K"\n2,">50K"\n')
    data = load_data(LOADER, path="t.csv", label="y")
    assert data.features == ("a, b",)
    assert data.classes == ("<=50K", ">50K")
    write("a,y\nTrue,0\nFalse,1\n")
    assert load_data(LOADER, path="t.csv", label="y").x.tolist() == [[1], [0]]


def test_options() -> None:
    for bad in (
        {},
        {"path": "a", "delimiter": ";;"},
        {"path": "a", "columns": []},
        {"path": "a", "test_size": 1.0},
        {"path": "a", "label": 1.5},
    ):
        with pytest.raises(ValidationError):
            LOADER.Options(**bad)


@pytest.mark.real
def test_real_tables(shared_data: Path, load_data: Any) -> None:
    root = shared_data / "tabular"
    wine = {"path": "winequality-red.csv.xz", "label": -1, "header": False, "root": root}
    data = load_data(LOADER, task="regression", **wine)
    assert data.x.shape == (1599, 11)
    classes = load_data(LOADER, **wine)
    assert classes.classes == ("3", "4", "5", "6", "7", "8")
    np.testing.assert_array_equal(classes.y + 3, data.y)
    german = load_data(
        LOADER,
        "train",
        root=root,
        path="german.csv.xz",
        label=20,
        header=False,
        test_size=0.3,
        schema={"categorical": [str(i) for i in range(20)]},
    )
    assert german.x.shape == (700, 20)
    assert german.classes == ("1", "2")
