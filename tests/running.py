"""Run the command line in a process of its own, with planted plugins beside the built-in ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PLANTED = HERE / "planted"
BROKEN = HERE / "planted_broken"


def command(
    *arguments: str | Path, cache: Path, plugins: tuple[Path, ...] = (PLANTED,), **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``robreport ARGUMENTS`` and return what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "robreport", *map(str, arguments)],
        env=environment(cache, plugins),
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
        check=False,
        **options,
    )


def environment(cache: Path, plugins: tuple[Path, ...] = (PLANTED,)) -> dict[str, str]:
    """Return the environment of such a run."""
    inherited = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join([*map(str, plugins), *([inherited] if inherited else [])])
    return {**os.environ, "PYTHONPATH": path, "ROBREPORT_CACHE": str(cache), "COLUMNS": "200"}


def record(folder: Path) -> dict[str, Any]:
    """Return a run folder's audit.json."""
    tree: dict[str, Any] = json.loads((folder / "audit.json").read_bytes())
    return tree


def without_execution(folder: Path) -> dict[str, Any]:
    """Return a run folder's audit.json without what may differ from run to run."""
    tree = record(folder)
    del tree["execution"]
    return tree


def outcome(folder: Path, name: str) -> dict[str, Any]:
    """Return the outcome of one entry."""
    return next(o for o in record(folder)["outcomes"] if o["name"] == name)


def spec(folder: Path, *tables: str, head: str = "") -> Path:
    """Write an audit of the planted model with further tables and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f"""
[audit]
title = "Planted <i>faults</i>"
{head}
[[models]]
name = "m"
loader = "planted"
[data]
task = "classification"
loader = "planted"
[data.test]
[report]
formats = []
"""
    path = folder / "audit.toml"
    path.write_text(text + "\n".join(tables), encoding="utf-8")
    return path
