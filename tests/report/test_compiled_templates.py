"""Templates compiled once: kept as Python keeps what it compiles, and never served stale."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jinja2 import DictLoader, Environment

from robreport.report.page import _Compiled


def rendered(text: str, folder: Path) -> str:
    kept = _Compiled()
    kept.directory = str(folder)
    environment = Environment(loader=DictLoader({"a.html": text}), bytecode_cache=kept)
    return environment.get_template("a.html").render(b=2)


@pytest.fixture(autouse=True)
def _kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def test_a_template_that_changed_is_compiled_anew(tmp_path: Path) -> None:
    assert rendered("one {{ b }}", tmp_path) == "one 2"
    (file,) = tmp_path.iterdir()
    first = file.read_bytes()
    assert rendered("one {{ b }}", tmp_path) == "one 2"
    assert file.read_bytes() == first
    assert rendered("two {{ b }}", tmp_path) == "two 2"
    assert file.read_bytes() != first


@pytest.mark.parametrize("damage", [b"", b"\x00", b"j2 nonsense"])
def test_a_damaged_file_is_compiled_anew(tmp_path: Path, damage: bytes) -> None:
    rendered("one {{ b }}", tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage)
    assert rendered("one {{ b }}", tmp_path) == "one 2"
    file.write_bytes(file.read_bytes()[:-5])
    assert rendered("one {{ b }}", tmp_path) == "one 2"


def test_nothing_is_kept_where_python_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rendered("one", tmp_path / "no folder") == "one"
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert rendered("one", tmp_path) == "one"
    assert not list(tmp_path.iterdir())
