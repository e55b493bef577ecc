"""The parquet loader: the same tables as from text, in the columns' own types."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robreport_plugins.loaders.parquet_table import ParquetLoader
from robreport_plugins.loaders.table import CsvLoader

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

LOADER = ParquetLoader()
Check = Callable[..., str]
COLUMNS: dict[str, Any] = {
    "age": pa.array([30, 40, None, 60], pa.int8()),
    "pay": pa.array([0.1, None, float("nan"), 1e300]),
    "sex": pa.array(["f", "m", None, " ? "]).dictionary_encode(),
    "own": pa.array([True, False, True, True]),
    "rooms": pa.array([1, 2, 2, 10], pa.uint64()),
    "tax": pa.array([Decimal("1.50"), Decimal("2.25"), None, Decimal("0")], pa.decimal128(9, 2)),
    "rich": pa.array(["no", "yes", "no", "yes"], pa.large_string()),
}
SCHEMA = {"label": "rich", "categorical": ["sex", "rooms"], "group": "sex"}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    def put(columns: dict[str, Any], name: str = "t.parquet", **options: Any) -> None:
        pq.write_table(pa.table(columns), tmp_path / name, **options)

    return put


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd"])
def test_a_table(compression: str, write: Any, load_data: Any) -> None:
    write(COLUMNS, compression=compression, row_group_size=3)
    data = load_data(LOADER, path="t.parquet", schema=SCHEMA)
    nan = np.nan
    np.testing.assert_array_equal(
        data.x,
        [[30, 0.1, 0, 1, 0, 1.5], [40, nan, 1, 0, 1, 2.25], [nan, nan, nan, 1, 1, nan],
         [60, 1e300, nan, 1, 2, 0]],
    )  # fmt: skip
    assert data.features == ("age", "pay", "sex", "own", "rooms", "tax")
    assert data.categories == {"sex": ("f", "m"), "rooms": ("1", "2", "10")}
    assert data.classes == ("no", "yes")
    assert data.groups.tolist() == ["f", "m", "", ""]
    assert data.target == "rich"


def test_it_reads_as_its_text_does(tmp_path: Path, load_data: Any) -> None:
    """Written as text by pandas, the same frame gives the same arrays."""
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": rng.normal(size=50),
            "b": rng.integers(-5, 5, 50),
            "c": rng.choice(["u", "v", "w"], 50),
            "y": rng.choice(["no", "yes"], 50),
        }
    )
    frame.loc[::6, "c"] = None
    frame.loc[::5, "a"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    options = {"schema": {"label": "y", "categorical": ["c"]}, "test_size": 0.3}
    for role in ("train", "test"):
        text = load_data(CsvLoader(), role, path="t.csv", **options)
        own = load_data(LOADER, role, path="t.parquet", **options)
        np.testing.assert_array_equal(text.x, own.x)
        np.testing.assert_array_equal(text.y, own.y)
        np.testing.assert_array_equal(text.index, own.index)
        assert (text.categories, text.classes) == (own.categories, own.classes)


@pytest.mark.parametrize(
    ("column", "classes"),
    [
        (pa.array([True, False, None, True]), ("False", "True")),
        (pa.array([1, 0, None, 10], pa.int16()), ("0", "1", "10")),
        (pa.array([1.0, 0.0, None, 10.0]), ("0", "1", "10")),
        (pa.array([2**63, 7, None, 2**63 - 1], pa.uint64()),
         ("7", "9223372036854775807", "9223372036854775808")),
        (pa.array(["b", "a", None, "c"]).dictionary_encode(), ("a", "b", "c")),
        (pa.array([5, 4, None, 3]).dictionary_encode(), ("3", "4", "5")),
        (pa.array(["01", "TRUE", None, "1.0"]), ("01", "1", "TRUE")),
    ],
)  # fmt: skip
def test_labels_of_every_type_are_those_of_its_text(
    column: Any, classes: tuple[str, ...], tmp_path: Path, write: Any, load_data: Any,
    refused: Check,
) -> None:  # fmt: skip
    write({"a": [1.0, 2.0, 3.0, 4.0], "y": column})
    options = {"label": "y", "missing_values": "drop"}
    if "01" in classes:
        refused(lambda: load_data(LOADER, path="t.parquet", **options), "two spellings")
        options["classes"] = classes
    own = load_data(LOADER, path="t.parquet", **options)
    assert own.classes == classes
    assert own.index.tolist() == [0, 1, 3]
    pq.read_table(tmp_path / "t.parquet").to_pandas().to_csv(tmp_path / "t.csv", index=False)
    if "7" not in classes:  # pandas makes doubles of these, which do not hold them
        text = load_data(CsvLoader(), path="t.csv", **options)
        assert (text.classes, text.y.tolist()) == (own.classes, own.y.tolist())


def test_what_cannot_be_used(write: Any, load_data: Any, refused: Check) -> None:
    label = {"rich": COLUMNS["rich"]}
    for column, words in (
        (pa.array([dt.date(2020, 1, 1)] * 4), "type 'date32[day]'"),
        (pa.array([b"1"] * 4), "type 'binary'"),
        (pa.array([[1], [2], [3], [4]]), "type 'list<"),
        (pa.array([{"a": 1}] * 4), "type 'struct<"),
        (pa.array([1.0, 2.0, float("-inf"), 3.0]), "-inf in row 2"),
        (pa.array(["1", "2", "three", "4"]), "'three' in row 2"),
        (pa.array(["a", "b", "a", "b"]), "holds text ('a', 'b')"),
    ):
        write({"c": column, **label})
        refused(
            lambda: load_data(LOADER, path="t.parquet", schema={"label": "rich"}),
            "data.test (t.parquet), column 'c'", words,
        )  # fmt: skip
        dropped = {"label": "rich", "drop": ["c"]}
        refused(lambda s=dropped: load_data(LOADER, path="t.parquet", schema=s), "no column beside")
    write({"a": pa.array([], pa.float64()), "rich": pa.array([], pa.string())})
    refused(lambda: load_data(LOADER, path="t.parquet", label="rich"), "has no rows")
    write({"a": [1.0], "y": [0]})
    refused(lambda: load_data(LOADER, path="t.parquet", label="z"), "label names the column 'z'")
    refused(lambda: load_data(LOADER, path="t.parquet"), "which column is the label")
    named = load_data(LOADER, path="t.parquet", names=("b", "z"), label="z", task="regression")
    assert named.features == ("b",)


def test_a_column_name_twice(tmp_path: Path, load_data: Any, refused: Check) -> None:
    pq.write_table(pa.table([[1.0], [2.0], [0]], names=["a", "a", "y"]), tmp_path / "t.parquet")
    refused(lambda: load_data(LOADER, path="t.parquet", label="y"), "'a' repeat")


def test_not_a_table(tmp_path: Path, write: Any, load_data: Any, refused: Check) -> None:
    write(COLUMNS)
    whole = (tmp_path / "t.parquet").read_bytes()
    for content, words in (
        (b"", "is empty"),
        (b"a,b\n1,2\n", "is no Parquet file"),
        (b"PAR1", "damaged"),
        (whole[: len(whole) // 2], "damaged"),
        (whole[:-1], "damaged"),
    ):
        (tmp_path / "u.parquet").write_bytes(content)
        refused(lambda: load_data(LOADER, path="u.parquet", label="rich"), words)
    refused(lambda: load_data(LOADER, path=".", label="rich"), "is a folder")
    refused(lambda: load_data(LOADER, path="none.parquet", label="rich"), "no such file")


def test_a_bomb_is_not_unpacked(
    write: Any, load_data: Any, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A constant column packs almost to nothing: what counts is what it unpacks to."""
    monkeypatch.setattr("robreport_plugins.loaders.parquet_table.LARGEST", 1 << 20)
    write({"a": np.zeros(200_000), "y": np.zeros(200_000)})
    refused(lambda: load_data(LOADER, path="t.parquet", label="y"), "claims 200,000 rows")
    write({"a": ["x" * 1000] * 5000, "y": np.zeros(5000)})
    refused(
        lambda: load_data(LOADER, path="t.parquet", label="y", schema={"categorical": ["a"]}),
        "unpacks to more than 1,048,576 bytes",
    )


def test_without_pyarrow(
    write: Any, load_data: Any, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(COLUMNS)
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    refused(lambda: load_data(LOADER, path="t.parquet"), "pip install robreport[parquet]")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    place=st.floats(0, 1),
    length=st.integers(1, 8),
    noise=st.binary(min_size=8, max_size=8),
)
def test_noise_is_refused_in_one_sentence(
    place: float, length: int, noise: bytes, tmp_path: Path, load_data: Any
) -> None:
    from robreport import DataError

    path = tmp_path / "noise.parquet"
    whole = tmp_path / "whole.parquet"
    if not whole.exists():
        pq.write_table(pa.table(COLUMNS), whole)
    raw = bytearray(whole.read_bytes())
    at = int(place * (len(raw) - length))
    raw[at : at + length] = noise[:length]
    path.write_bytes(raw)
    try:
        data = load_data(LOADER, path="noise.parquet", schema=SCHEMA)
    except DataError as error:
        said = str(error)
    else:
        assert data.x.shape == (4, 6)
        return
    assert "\n" not in said
    assert said.startswith("data.test (noise.parquet)")
