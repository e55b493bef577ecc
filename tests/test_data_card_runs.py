"""Data cards from the command line: checked, recorded, kept in the cache, rendered anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.running import command, record, without_execution

pytestmark = pytest.mark.slow

AUDIT = """
[audit]
title = "Planted overlap"
[[models]]
name = "m"
loader = "planted"
[data]
task = "classification"
loader = "npz"
classes = ["no", "yes"]
[data.train]
path = "train.npz"
[data.test]
path = "test.npz"
[[metrics]]
id = "planted.good"
[report]
formats = ["html"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An audit whose test split holds three rows of train, one of them with another label."""
    folder = tmp_path_factory.mktemp("overlap")
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(90, 3)), rng.normal(size=(60, 3))
    y_train, y_test = np.zeros(90, dtype=np.int64), (test[:, 0] > 0).astype(np.int64)
    y_train[:5] = 1
    test[[10, 20, 30]] = train[[40, 41, 42]]
    y_test[[10, 20, 30]] = [0, 0, 1]
    np.savez(folder / "train.npz", x=train, y=y_train)
    np.savez(folder / "test.npz", x=test, y=y_test)
    (folder / "audit.toml").write_text(AUDIT)
    return folder


WARNINGS = [
    "high: 3 of 60 test rows (5.0 %) also stand in train, 1 with another label: accuracy is too "
    "favourable, and membership inference is unreliable.",
    "data.train: the largest class has 17 times the rows of the smallest (85 and 5); accuracy says "
    "little about the small one.",
]


def test_check_prints_one_line_each(place: Path) -> None:
    done = command("check", place / "audit.toml", cache=place / "cache")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("warning")] == [
        f"warning: {line}" for line in WARNINGS
    ]
    told = json.loads(
        command("check", place / "audit.toml", "--json", cache=place / "cache").stdout
    )
    assert told["warnings"] == WARNINGS
    assert told["data"][1]["card"]["overlaps"][0]["examples"] == [[10, 40], [20, 41], [30, 42]]


@pytest.mark.slow
def test_a_run_keeps_the_card_and_renders_without_it(place: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    for out, options in ((first, ["--no-cache"]), (again, [])):
        done = command("run", place / "audit.toml", "--output", out, *options,
                       cache=place / "cache")  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert without_execution(first) == without_execution(again)
    cards = {split["role"]: split["card"] for split in record(again)["data"]}
    assert cards["test"]["overlaps"][0]["rows"] == 3
    assert (cards["train"]["balance"]["largest"], cards["train"]["balance"]["smallest"]) == (85, 5)
    page = (again / "report.html").read_text(encoding="utf-8")
    assert page.count("3 of 60 test rows (5.0 %) also stand in train") >= 2
    assert "Rows that stand in two splits" in page
    wrong = record(first)
    wrong["data"][1]["card"]["overlaps"][0]["rows"] = 61
    (first / "audit.json").write_text(json.dumps(wrong), encoding="utf-8")
    done = command("render", first, cache=place / "cache")
    assert done.returncode == 3
    assert "audit.json is damaged: data.test: overlaps.0.rows is 61" in done.stderr
    old = stripped(record(again))
    (again / "audit.json").write_text(json.dumps(old), encoding="utf-8")
    done = command("render", again, cache=place / "cache")
    assert done.returncode == 0, done.stderr
    page = (again / "report.html").read_text(encoding="utf-8")
    assert "Rows that stand in two splits" not in page
    assert "also stand in train" not in page


def stripped(tree: dict[str, Any]) -> dict[str, Any]:
    """A record as it was before there were cards."""
    for split in tree["data"]:
        del split["card"]
    return tree


CSV = """
[audit]
title = "Leaking groups"
[[models]]
name = "m"
loader = "callable"
callable = "f:f"
[data]
task = "classification"
loader = "csv"
schema = { label = "y", group = "who", drop = ["who"] }
[data.train]
path = "train.csv"
limit = 4
[data.test]
path = "test.csv"
[[metrics]]
id = "performance.classification"
[report]
formats = ["html"]
"""


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    """Half of test stands in train, and its patients too, behind what a limit leaves of it."""
    train = [f"{i},{i % 2},p{i // 4}" for i in range(40)]
    test = [*train[20:30], *(f"{i},{i % 2},q{i}" for i in range(100, 110))]
    for name, rows in (("train", train), ("test", test)):
        (tmp_path / f"{name}.csv").write_text("a,y,who\n" + "\n".join(rows) + "\n")
    (tmp_path / "f.py").write_text("def f(x):\n    return [[0.25, 0.75]] * len(x)\n")
    (tmp_path / "audit.toml").write_text(CSV)
    return tmp_path


def test_a_limit_hides_no_leak(leaking: Path) -> None:
    done = command("check", leaking / "audit.toml", "--json", cache=leaking / "cache", plugins=())
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    train, test = told["data"]
    assert (train["n"], train["card"]["declared"]) == (4, 40)
    assert (test["n"], test["card"]["declared"]) == (20, 20)
    (overlap,) = test["card"]["overlaps"]
    assert (overlap["rows"], overlap["same_label"], overlap["other_label"]) == (10, 10, 0)
    assert overlap["examples"][0] == [0, 20]
    assert test["card"]["shared_groups"] == [
        {"other": "train", "groups": 3, "rows": 10, "examples": ["p5", "p6", "p7"]}
    ]
    assert test["card"]["grouping"] == {
        "column": "who", "groups": 13, "largest": 4, "without": 0,
    }  # fmt: skip
    rows, groups = told["warnings"][:2]
    assert rows.startswith("high: 10 of 20 test rows (50.0 %) also stand in train")
    assert groups.startswith("medium: 3 of 13 groups of test ('who') also have rows in train")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "test.csv",
            "a,y,who\n1,0,p\n2,0,5,p\n",
            "data.test (test.csv): rows differ in their "
            "number of columns: line 3 has 4, and those before it 3",
        ),
        (
            "train.csv",
            "a,y,who\n1,yes,p\n2,no,q\n",
            "have no label in common: 'no', 'yes' and "
            "'0', '1'; say which stands for which, in a table with label_map",
        ),
    ],
)
def test_a_bad_file_is_one_sentence(leaking: Path, name: str, content: str, words: str) -> None:
    """The model wants rows of the data to be tried on, and does not complain besides."""
    (leaking / name).write_text(content)
    done = command("check", leaking / "audit.toml", cache=leaking / "cache", plugins=())
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert words in line
