"""Data cards from the command line: checked, recorded, kept in the cache, rendered anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.running import command, record, without_execution

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
