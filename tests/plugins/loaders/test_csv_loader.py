"""The csv loader: numbers, categories, labels, and tables that are none."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.model_selection import train_test_split

from robreport import DataError, SplitSource
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
    schema = {"categorical": ["sex"]}
    data = load_data(LOADER, path="t.csv", label="rich", schema=schema)
    assert data.categories == {"sex": ("f", "m")}
    assert data.x[:, 1].tolist() == [0, 1, 0, 1]
    # Both parts of one file share its values.
    both = {"path": "t.csv", "label": "rich", "test_size": 0.5, "stratify": False}
    train = load_data(LOADER, "train", schema=schema, **both)
    test = load_data(LOADER, "test", schema=schema, **both)
    codes = dict(zip([*train.index, *test.index], [*train.x[:, 1], *test.x[:, 1]], strict=True))
    assert codes == {0: 0, 1: 1, 2: 0, 3: 1}


def test_missing_values(write: Any, load_data: Any, refused: Check) -> None:
    write("a,b,c,y\n1,,u,0\n?,2, ? ,1\n3,4,v,0\n5,6,u,1\n")
    options = {"path": "t.csv", "label": "y", "schema": {"categorical": ["c"], "group": "c"}}
    nan = np.nan
    data = load_data(LOADER, **options)
    np.testing.assert_array_equal(data.x, [[1, nan, 0], [nan, 2, nan], [3, 4, 1], [5, 6, 0]])
    assert data.missing
    assert data.groups.tolist() == ["u", "", "v", "u"]
    refused(
        lambda: load_data(LOADER, missing_values="refuse", **options),
        "2 of 4 rows have missing values", "'a': 1", "'b': 1", "'c': 1", "row 0",
    )  # fmt: skip
    data = load_data(LOADER, missing_values="drop", **options)
    np.testing.assert_array_equal(data.x, [[3, 4, 1], [5, 6, 0]])
    assert data.index.tolist() == [2, 3]
    assert data.groups.tolist() == ["v", "u"]
    assert data.source.endswith("2 rows of 3 columns, without 2 that miss a value")
    # Only columns in use count, and only what is said to stand for nothing does.
    some = load_data(LOADER, path="t.csv", label="y", columns=["c"], missing=("",),
                     schema={"categorical": ["c"]})  # fmt: skip
    assert some.categories == {"c": ("?", "u", "v")}
    write("a,y\n1,0\n2,?\n3,1\n")
    refused(lambda: load_data(LOADER, path="t.csv", label="y"), "1 of 3 rows have missing labels")
    assert load_data(LOADER, path="t.csv", label="y", missing_values="drop").index.tolist() == [
        0,
        2,
    ]
    write("a,y\n?,0\n2,?\n")
    refused(
        lambda: load_data(LOADER, path="t.csv", label="y", missing_values="drop"), "none is left"
    )


def test_what_a_column_is_for(write: Any, load_data: Any, refused: Check) -> None:
    write("id,sex,pay,place,rich\n7,f,1,n,0\n8,m,2,s,1\n")
    schema = {"label": "rich", "drop": ["id", 3], "group": "place", "categorical": [1, -1]}
    data = load_data(LOADER, path="t.csv", schema=schema)
    assert data.features == ("sex", "pay")
    assert data.columns == ("id", "sex", "pay", "place", "rich")
    assert (data.target, data.group) == ("rich", "place")
    assert data.groups.tolist() == ["n", "s"]
    assert data.categories == {"sex": ("f", "m")}  # that of the label, and of others, is no matter
    inside = load_data(LOADER, path="t.csv", schema={**schema, "drop": [], "group": "id",
                                                     "categorical": ["sex", "place"]})  # fmt: skip
    assert inside.features == ("id", "sex", "pay", "place")
    assert inside.x[:, 0].tolist() == [7, 8]
    assert inside.groups.tolist() == ["7", "8"]
    for key, value, words in (
        ("drop", ["rich"], "schema.drop names the label"),
        ("drop", ["ids"], "Did you mean 'id'"),
        ("group", "plaze", "schema.group names the column 'plaze'"),
        ("categorical", [9], "schema.categorical = 9 is no position among 5 columns"),
        ("drop", [0, 1, 2, 3], "no column beside the label"),
    ):
        refused(lambda s={**schema, key: value}: load_data(LOADER, path="t.csv", schema=s), words)


def test_names_for_a_file_without_any(write: Any, load_data: Any, refused: Check) -> None:
    write("30,f,0\n40,m,1\n")
    options = {"path": "t.csv", "header": False, "names": ("age", "sex", "rich")}
    data = load_data(LOADER, schema={"label": "rich", "categorical": ["sex"]}, **options)
    assert data.features == ("age", "sex")
    assert data.x.tolist() == [[30, 0], [40, 1]]
    refused(
        lambda: load_data(LOADER, path="t.csv", header=False, names=("a", "b")), "names gives 2"
    )
    for names in (("a", "b", ""), ("a", "b", "c" * 201)):
        refused(lambda n=names: load_data(LOADER, path="t.csv", header=False, names=n), "column 3")
    write("a,b\n1,0\n2,1\n")
    renamed = load_data(LOADER, path="t.csv", names=("x", "y"), label="y")
    assert renamed.features == ("x",)


def test_labels_spelled_in_two_ways(write: Any, load_data: Any) -> None:
    write("a,y\n1, <=50K.\n2, >50K. \n3, <=50K\n")
    spelled = {"<=50K.": "<=50K", ">50K.": ">50K", "never": "seen"}
    data = load_data(LOADER, path="t.csv", label="y", label_map=spelled)
    assert data.classes == ("<=50K", ">50K")
    assert data.y.tolist() == [0, 1, 0]
    turned = {"label": "y", "classes": [">50K", "<=50K", "unknown"]}
    data = load_data(LOADER, path="t.csv", label_map=spelled, schema=turned)
    assert data.classes == (">50K", "<=50K", "unknown")
    assert data.y.tolist() == [1, 0, 1]
    write("a,y\n1,1\n2,2\n")
    words = load_data(LOADER, path="t.csv", label="y", label_map={"1": "good", "2": "bad"})
    assert words.classes == ("bad", "good")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ("01 02 01", ("01", "02")),
        ("TRUE FALSE TRUE", ("FALSE", "TRUE")),
        ("True False True", ("False", "True")),
        ("1.0 0.0 1.0", ("0", "1")),  # what whole numbers beside missing ones are written as
        ("-1 1.00 -1.", ("-1", "1")),
        ("-0.0 1 1", ("0", "1")),
        ("10 9 2", ("2", "9", "10")),
        ("10 9 b", ("10", "9", "b")),
        ("1e3 20 20", ("20", "1e3")),
        ("12345678901234567890123 12345678901234567890122 7",
         ("7", "12345678901234567890122", "12345678901234567890123")),
        ("\u0661 \u0662 \u0661", ("\u0661", "\u0662")),
    ],
)  # fmt: skip
def test_labels_are_read_as_they_are_spelled(
    labels: str, classes: tuple[str, ...], write: Any, load_data: Any
) -> None:
    words = labels.split()
    write("a,y\n" + "".join(f"{i},{word}\n" for i, word in enumerate(words)))
    data = load_data(LOADER, path="t.csv", label="y")
    assert data.classes == classes
    whole = {"1.0": "1", "0.0": "0", "1.00": "1", "-1.": "-1", "-0.0": "0"}
    assert [data.classes[code] for code in data.y] == [whole.get(word, word) for word in words]


def test_declared_classes_are_found_however_a_number_is_spelled(
    write: Any, load_data: Any, refused: Check
) -> None:
    write("a,y\n1,1.0\n2,\n3,2.0\n")
    options = {"path": "t.csv", "label": "y", "missing_values": "drop"}
    for declared in (("2", "1"), ("2.0", "1.0"), ("02", "01")):
        for said in ({"classes": declared}, {"schema": {"classes": declared}}):
            data = load_data(LOADER, **options, **said)
            assert data.classes == declared
            assert data.y.tolist() == [1, 0], said
    for label_map in ({"1": "good", "2": "bad"}, {"1.0": "good", "2.0": "bad"}):
        data = load_data(LOADER, **options, label_map=label_map)
        assert [data.classes[code] for code in data.y] == ["good", "bad"]
    refused(lambda: load_data(LOADER, classes=("1", "3"), **options), "has labels '2.0'")
    write("a;y\n1,5;1,0\n2,5;0,0\n")
    comma = {"path": "t.csv", "label": "y", "delimiter": ";", "decimal": ","}
    assert load_data(LOADER, **comma).classes == ("0", "1")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("1 01", "'01' and '1', two spellings of one number"),
        ("1 01 a", "two spellings of one number"),
        ("0.5 1", "no whole numbers (such as '0.5')"),
        ("inf 1", "no whole numbers (such as 'inf')"),
        ("1 " + "x" * 201, "a label has 201 characters; at most 200"),
    ],
)
def test_labels_that_could_be_read_in_two_ways(
    labels: str, words: str, write: Any, load_data: Any, refused: Check
) -> None:
    found = labels.split()
    write("a,y\n" + "".join(f"{i},{word}\n" for i, word in enumerate(found)))
    refused(lambda: load_data(LOADER, path="t.csv", label="y"), "column 'y'", words)
    if len(labels) < 200:
        told = load_data(LOADER, path="t.csv", label="y", classes=tuple(found))
        assert told.y.tolist() == list(range(len(found)))


def test_a_long_text_does_not_pad_the_others(write: Any, load_data: Any, refused: Check) -> None:
    import tracemalloc

    rows = "".join(f"{i},g{i % 3},{i % 2}\n" for i in range(3000))
    write(f"a,g,y\n0,{'x' * 1_000_000},0\n{rows}")
    tracemalloc.start()
    try:
        for schema in (
            {"label": "y", "group": "g", "drop": ["g"]}, {"label": "g"},
            {"label": "y", "categorical": ["g"]},
        ):  # fmt: skip
            refused(lambda s=schema: load_data(LOADER, path="t.csv", schema=s), "1,000,000 char")
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_every_kind_of_line_end_is_counted(
    write: Any, load_data: Any, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robreport_plugins.loaders.delimited.LARGEST", 8 * 60)
    for end in ("\n", "\r", "\r\n"):
        write(end.join(["a,y", *["1,0", "2,1"] * 10]))
        assert len(load_data(LOADER, path="t.csv", label="y").x) == 20
        write(end.join(["a,y", *["1,0", "2,1"] * 15]))
        refused(lambda: load_data(LOADER, path="t.csv", label="y"), "about 62 cells")


def test_a_first_line_without_end_is_no_table(
    write: Any, load_data: Any, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robreport_plugins.loaders.delimited._LONGEST_LINE", 1000)
    for name, text in (("t.csv.gz", gzip.compress(b"0" * 1001)), ("t.csv", b"0" * 1001)):
        write(text, name)
        refused(lambda n=name: load_data(LOADER, path=n, label="y"), "first line has 1,001 bytes")
    write("a,y\n" + "1,0\n2,1\n" * 400)
    assert len(load_data(LOADER, path="t.csv", label="y").x) == 800


def test_files_that_a_spreadsheet_or_another_system_wrote(
    write: Any, load_data: Any, refused: Check
) -> None:
    plain = "a,y\n1,no\n2,yes\n"
    for text in (b"\xef\xbb\xbf" + plain.encode(), plain.replace("\n", "\r").encode()):
        write(text)
        data = load_data(LOADER, path="t.csv", label="y")
        assert (data.features, data.classes, data.x.tolist()) == (("a",), ("no", "yes"), [[1], [2]])
    write("a,y\n1,no\n2,\x1b[2J\n")
    said = refused(lambda: load_data(LOADER, path="t.csv", label="y", classes=("no", "yes")))
    assert "\x1b" not in said


def test_sets_without_a_label(write: Any, load_data: Any, refused: Check) -> None:
    write("a,b\n1,2\n")
    assert load_data(LOADER, "ood.x", path="t.csv", schema={"label": "y"}).y is None
    assert load_data(LOADER, "extra.x", path="t.csv", label="", schema={"label": 1}).x.shape == (
        1,
        2,
    )
    refused(lambda: load_data(LOADER, path="t.csv", schema={"label": "y"}), "label names")
    refused(lambda: load_data(LOADER, path="t.csv", label=""), "which column is the label")


def test_other_ways_to_write(write: Any, load_data: Any, refused: Check) -> None:
    write("a;y\n1,5;0\n-2,25e1;1\n".encode("utf-16"))
    form = {"path": "t.csv", "label": "y", "delimiter": ";", "decimal": ","}
    assert load_data(LOADER, encoding="utf-16", **form).x.tolist() == [[1.5], [-22.5]]
    refused(lambda: load_data(LOADER, **form), "zero bytes", "encoding")
    # 1.234 may be a thousand or one: not guessed
    write("a;y\n1.234;0\n2,5;1\n")
    refused(lambda: load_data(LOADER, **form), "holds '1.234' in row 0")
    write("a;y\n1,5;0\n-2,25e1;1\n".encode("utf-16"))
    refused(lambda: load_data(LOADER, encoding="utf-32", **form), "not utf-32 text")
    write("stra\u00dfe,y\n1,0\n".encode("latin-1"))
    assert load_data(LOADER, path="t.csv", label="y", encoding="latin-1").features == (
        "stra\u00dfe",
    )
    refused(lambda: load_data(LOADER, path="t.csv", label="y"), "encoding = 'latin-1'")
    write("\u5e74 \u202e,\U0001f600\n1,0\n")
    assert load_data(LOADER, path="t.csv", label=1).features == ("\u5e74 \u202e",)
    for encoding in ("zlib", "rot13", "no-such", "idna", "a\0b"):
        with pytest.raises(ValidationError, match="no encoding of text"):
            LOADER.Options(path="a", encoding=encoding)
    for bad in ({"decimal": ","}, {"decimal": "e"}, {"delimiter": '"'}, {"delimiter": "\u00e9"}):
        with pytest.raises(ValidationError):
            LOADER.Options(path="a", **bad)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,y\n1,0\nabc,1\n3,0\n", ("column 'a'", "'abc' in row 1", "numbers in others")),
        ("a,y\n1,0\n1_0,1\n", ("'1_0' in row 1",)),
        ("a,y\n1,0\nTrue,1\n", ("'True' in row 1",)),
        ("a,y\n1,0\n\u0663,1\n", ("in row 1",)),
        ("a,y\n1,0\n-inf,1\n", ("column 'a'", "-inf in row 1")),
        ("a,y\n1,0\n1e999,1\n", ("inf in row 1",)),
        ("a,b,y\n1,2,0\n1,1\n1,2,0\n", ("row 1", "fewer than 3")),
        ("a,b,y\n\n \n1,2,0\n1,\n1,2,0\n", ("row 1", "fewer than 3")),
        ("a,b,y\r1,2,0\r1,1\r1,2,0", ("row 1", "fewer than 3")),
        ('a,b,y\n"1\n",2,0\n\n"1",1\n1,2,0\n', ("row 1", "fewer than 3")),
        ("a,y\n1,0\n" + "x" * 3000 + ",1\n", ("in row 1",)),
        ("a" * 500 + ",y\n1,0\n", ("name of column 1 has 500 characters",)),
        (",".join(["a"] * 100_002) + "\n", ("100,002 columns",)),
    ],
)  # fmt: skip
def test_values_that_are_none(
    content: str, words: tuple[str, ...], write: Any, load_data: Any, refused: Check
) -> None:
    write(content)
    refused(lambda: load_data(LOADER, path="t.csv", label="y"), "data.test (t.csv)", *words)


def test_truths_with_a_missing_one(write: Any, load_data: Any) -> None:
    write("a,y\nTrue,0\n,1\nFalse,1\n")
    np.testing.assert_array_equal(
        load_data(LOADER, path="t.csv", label="y").x, [[1], [np.nan], [0]]
    )


def test_a_zip_of_one_table(tmp_path: Path, load_data: Any, refused: Check) -> None:
    def pack(*names: str, content: str = "a,y\n1,0\n2,1\n") -> None:
        with zipfile.ZipFile(tmp_path / "t.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(name, content)

    pack("folder/", "folder/t.csv", "__MACOSX/t.csv")
    assert load_data(LOADER, path="t.zip", label="y").x.tolist() == [[1], [2]]
    pack("a.csv", "b.csv")
    refused(lambda: load_data(LOADER, path="t.zip", label="y"), "zip archive of 2 files")
    pack("folder/")
    refused(lambda: load_data(LOADER, path="t.zip", label="y"), "zip archive of 0 files")
    pack("../../t.csv")  # a name only: nothing is written anywhere
    assert load_data(LOADER, path="t.zip", label="y").x.tolist() == [[1], [2]]
    pack("t.csv")
    raw = bytearray((tmp_path / "t.zip").read_bytes())
    raw[42] ^= 0xFF
    (tmp_path / "t.zip").write_bytes(raw)
    refused(lambda: load_data(LOADER, path="t.zip", label="y"))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_real_bomb_costs_little(
    pack: Callable[[bytes], bytes], write: Any, load_data: Any, refused: Check
) -> None:
    """Unpacking ends at 64 MiB, whatever a small file would go on to give."""
    write(pack(b"1,2\n" * (20 << 20)))
    refused(lambda: load_data(LOADER, path="t.csv", label=0), "unpacks to more than 67,108,864")


CELLS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(["", "?", " ", '"', "'", "NA", "inf", "True", "1e400", "\r", "\ufeff"]),
)


@given(
    rows=st.lists(st.lists(CELLS, max_size=4), max_size=6),
    header=st.booleans(),
    categorical=st.booleans(),
    values=st.sampled_from(["keep", "drop", "refuse"]),
)
def test_any_text_is_a_table_or_refused_in_one_sentence(
    rows: list[list[str]], header: bool, categorical: bool, values: str, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "t.csv").write_bytes("\n".join(map(",".join, rows)).encode("utf-8", "ignore"))
    options = LOADER.Options(path="t.csv", header=header, label=-1, missing_values=values)
    schema = {"categorical": [0]} if categorical else {}
    source = SplitSource(role="test", base=folder, root=folder, options=options, seed=0,
                         task="classification", declared_schema=schema)  # fmt: skip
    try:
        data = LOADER.load(source)
    except DataError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert "\n" not in said
        assert said.startswith("data.test (t.csv)")
        assert len(said) < 700
        return
    assert data.x.shape == (len(data.index), len(data.features))
    assert not np.isinf(data.x).any()
    assert data.y.shape == data.index.shape
    assert data.y.max() < len(data.classes)


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
    monkeypatch.setattr("robreport_plugins.loaders.packed_text._LARGEST_TEXT", 1 << 20)
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
        ("a,y\n1,0\n2,0,5\n", "line 3 has 3, and those before it 2"),
        ("a,b,y\n1,0\n", "rows differ"),
        ('a,y\n"1,0\n', "a quote is opened in row 1 (counted from 0) and never closed"),
        ('a,y\n1,0\n"x,0\n', "a quote is opened in row 2 (counted from 0)"),
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
