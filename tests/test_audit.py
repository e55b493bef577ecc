"""What happens around the measuring: writing documents, full disks, readers who leave."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robreport.audit import read_plan, workplace, write_run
from robreport.discovery import Candidate
from robreport.document import Section
from robreport.engine import run_plan
from robreport.errors import OutputError
from robreport.modelfile import code_digest
from robreport.outcome import Computed, Outcome
from robreport.plugins import Registry
from robreport.spec_reader import read_spec
from tests.records import run
from tests.running import PLANTED, environment, spec


class Heard:
    """Remembers the warnings of a run."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def stage(self, text: str) -> None: ...

    def progress(self, key: str, done: int, total: int, what: str) -> None: ...

    def finished(self, outcome: Outcome) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def registry(render: Callable[..., Any], order: Any = 70) -> Registry:
    """Return a registry with one more plugin: a renderer, and a section of that order."""
    import robreport

    class Plugin:
        @robreport.hookimpl
        def register_renderers(self, register: Any) -> None:
            register("odd", render)

        @robreport.hookimpl
        def report_sections(self, run: Any) -> list[Section]:
            return [Section(id="mine", title="Mine", order=order)]

    made = Registry(
        candidates=[
            Candidate(name="odd", distribution="odd", version="1", module="odd", load=Plugin)
        ]
    )
    assert not made.failed
    return made


def no_bytes(*arguments: object) -> object:
    return None


def no_library(*arguments: object) -> bytes:
    raise OSError("cannot load library 'pango'")


@pytest.mark.parametrize("render", [no_bytes, no_library])
def test_a_renderer_that_breaks_loses_its_own_document_only(
    tmp_path: Path, render: Callable[..., Any]
) -> None:
    heard = Heard()
    audit = run(audit={"title": "T", "formats": ["odd"]})
    assert write_run(audit, registry(render), tmp_path, heard) == (True, False)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "arrays.npz", "audit.json", "manifest.json"
    ]  # fmt: skip
    assert heard.warnings[0].startswith("report.odd could not be made")


def test_a_full_disk_is_no_fault_of_a_renderer(tmp_path: Path) -> None:
    def full(*arguments: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    audit = run(audit={"title": "T", "formats": ["odd"]})
    with pytest.raises(OSError, match="No space"):
        write_run(audit, registry(full), tmp_path, Heard())


def test_a_section_that_breaks_the_document_is_left_out(tmp_path: Path) -> None:
    titles: list[str] = []

    def render(document: Any, *rest: object) -> str:
        titles.extend(section.title for section in document.sections)
        return "made"

    heard = Heard()
    audit = run(audit={"title": "T", "formats": ["odd"]})
    assert write_run(audit, registry(render, order="last"), tmp_path, heard) == (True, False)
    assert "Mine" not in titles
    assert "Results" in titles
    assert heard.warnings[0].startswith("plugins' report sections were left out: TypeError")
    assert write_run(audit, registry(render), tmp_path, Heard()) == (False, False)
    assert "Mine" in titles


def test_a_full_disk_where_an_audit_works_is_said(tmp_path: Path) -> None:
    found = read_spec(spec(tmp_path))
    for use_cache in (True, False):
        with (
            pytest.raises(OutputError, match="no space left in"),
            workplace(found, use_cache, Heard()),
        ):
            raise OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(FileNotFoundError), workplace(found, use_cache, Heard()):
            raise FileNotFoundError(errno.ENOENT, "another matter")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBREPORT_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_an_editors_lock_is_no_code(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text("def net(): ...")
    before = code_digest({"architecture": "nets:net"}, tmp_path)
    (tmp_path / ".#nets.py").symlink_to("somebody@somewhere.1234")
    (tmp_path / "folder.py").mkdir()
    assert code_digest({"architecture": "nets:net"}, tmp_path) == before
    (tmp_path / "other.py").write_text("")
    assert code_digest({"architecture": "nets:net"}, tmp_path) != before


def left_alone(*arguments: str, cache: Path, stderr: Any) -> int:
    """Run a command whose standard output nobody reads, and return its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-m", "robreport", *arguments], env=environment(cache),
        stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    return process.wait(timeout=120)


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help")])
def test_help_that_nobody_reads_is_no_fault(arguments: tuple[str, ...], tmp_path: Path) -> None:
    said = tmp_path / "said"
    with said.open("w") as stream:
        assert left_alone(*arguments, cache=tmp_path / "cache", stderr=stream) == 0
    assert said.read_text() == ""


@pytest.mark.slow
def test_a_reader_who_leaves_changes_no_exit_code(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert left_alone("metrics", cache=cache, stderr=subprocess.DEVNULL) == 0
    good = '[[metrics]]\nid = "planted.good"\nrequire = ["agreement >= 0.9"]\n'
    path = str(spec(tmp_path, good))
    for options, code in ((), 0), (("--set", "models.m.flip=true"), 1):
        found = left_alone("run", path, *options, cache=cache, stderr=subprocess.STDOUT)
        assert found == code
        tree = json.loads((tmp_path / "audit" / "audit.json").read_bytes())
        assert tree["coverage"]["ran"] == 1


class Impatient(Heard):
    """Interrupts at the first ending, by when the other measurement has ended as well."""

    def finished(self, outcome: Outcome) -> None:
        if isinstance(outcome, Computed) and not self.warnings:
            self.warnings.append("interrupted")
            time.sleep(2)
            raise KeyboardInterrupt


def test_what_had_ended_before_an_interrupt_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PLANTED))
    entry = '[[metrics]]\nname = "{}"\nid = "planted.good"\nparams = {{ pause = {} }}\n'
    tables = [entry.format("first", 0.0), entry.format("second", 0.2), entry.format("long", 60)]
    plan = read_plan(spec(tmp_path, *tables, "[execution]\nworkers = 3\n"))
    ran = run_plan(plan, folder=tmp_path, cache=None, observer=Impatient())
    assert ran.interrupted
    kinds = {o.about.name: type(o).__name__ for o in ran.run.outcomes}
    assert kinds == {"first": "Computed", "second": "Computed", "long": "Skipped"}
