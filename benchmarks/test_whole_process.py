"""The command as a whole process: start-up, the digits audit cold, and again from the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def _run(cache: Path, *arguments: str | Path) -> int:
    return subprocess.run(
        [sys.executable, "-m", "robreport", *map(str, arguments)],
        env={**os.environ, "ROBREPORT_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        check=False,
    ).returncode


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The digits example, and an empty cache."""
    folder = tmp_path_factory.mktemp("digits")
    assert _run(folder / "cache", "init", folder / "demo", "--example", "digits") == 0
    return folder / "demo" / "audit.toml", folder / "cache"


def test_help(benchmark: Any, tmp_path: Path) -> None:
    """``robreport --help``: at most 0.4 s."""
    assert benchmark.pedantic(_run, args=(tmp_path, "--help"), rounds=9, warmup_rounds=1) == 0
    assert benchmark.stats.stats.median <= 0.4


def test_digits_cold(benchmark: Any, digits: tuple[Path, Path]) -> None:
    """The digits audit with an empty cache, HTML and PDF included: at most 60 s."""
    spec, cache = digits
    shutil.rmtree(cache, ignore_errors=True)
    assert benchmark.pedantic(_run, args=(cache, "run", spec), rounds=1) == 1
    assert benchmark.stats.stats.median <= 60


def test_digits_cached(benchmark: Any, digits: tuple[Path, Path]) -> None:
    """The same again, every measurement from the cache: at most 6 s."""
    spec, cache = digits
    assert _run(cache, "run", spec) == 1
    assert benchmark.pedantic(_run, args=(cache, "run", spec), rounds=5) == 1
    assert benchmark.stats.stats.median <= 6
