"""The example package of docs/plugins.md is complete and works as printed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from robreport.discovery import GROUP, Candidate
from robreport.plugins import Registry
from robreport.testing import check_metric

PAGE = Path(__file__).resolve().parent.parent / "docs" / "plugins.md"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page's files into a folder."""
    folder = tmp_path_factory.mktemp("package")
    text = PAGE.read_text(encoding="utf-8")
    for name, body in re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", text, re.M | re.S):
        (folder / name).write_text(body, encoding="utf-8")
    return folder


def test_page_has_a_whole_package(package: Path) -> None:
    assert sorted(p.name for p in package.iterdir()) == [
        "pyproject.toml",
        "robreport_noise.py",
        "test_robreport_noise.py",
    ]


def test_entry_point_leads_to_a_plugin_that_loads(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(package))
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    ((name, module),) = project["entry-points"][GROUP].items()
    candidate = Candidate(
        name=name,
        distribution=project["name"],
        version=project["version"],
        module=module,
        load=lambda: import_module(module),
    )
    registry = Registry(candidates=[candidate])
    assert registry.failed == []
    metric = registry.metrics["noise.stability"]
    report = check_metric(metric)
    assert report.notes == ()
    # the line of the audit file on the page names a scalar that the metric has
    assert set(metric.scalar_help) == {"stable_share"}
    assert 'require = ["stable_share >= 0.9"]' in PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
def test_its_own_tests_pass(package: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "."],
        cwd=package,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
