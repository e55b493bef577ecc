"""Every hook is documented with its exact signature, and is really called."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from robreport import hookspecs
from robreport.discovery import Candidate
from robreport.plugins import HOOKS, Registry

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")

PROBE = '''
"""Implements every hook and leaves a note of each call."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import robreport as rr


def note(name, text=""):
    with open(Path(os.environ["PROBE_NOTES"]) / name, "a", encoding="utf-8") as file:
        file.write(f"{text}\\n")


class Model(rr.ModelHandle):
    def __init__(self):
        super().__init__()
        self.kind = "probe"
        self.offers = rr.Needs.CLASSIFICATION
        self.n_outputs = 2

    def predict(self, x):
        return (np.asarray(x)[:, 0] > 0).astype(np.int64)


class Loader:
    summary = "a probe"

    class Options(rr.Params):
        pass


class Models(Loader):
    def load(self, source):
        note("load_model", source.name)
        return Model()


class Data(Loader):
    def load(self, source):
        note("load_data", source.role)
        x = np.linspace(-1, 1, 20).reshape(-1, 1)
        y = (x[:, 0] > 0).astype(np.int64)
        return rr.LoadedData(x=x, y=y, layout="table", source="probe", classes=("no", "yes"))


class Probe(rr.Metric):
    id = "probe.metric"
    title = "Probe"
    question = "Is it called?"
    summary = "It is."

    def compute(self, bundle, params, ctx):
        note("compute")
        return rr.Result(answer="Computed.")


def render(document, theme, record, context):
    note("render", f"{theme.name}: {', '.join(section.title for section in document.sections)}")
    return "rendered"


class Gate:
    pass


@rr.hookimpl
def register_metrics(register):
    register(Probe)


@rr.hookimpl
def register_model_loaders(register):
    register("probe", Models())


@rr.hookimpl
def register_data_loaders(register):
    register("probe", Data())


@rr.hookimpl
def register_gates(register):
    register("probe", Gate)


@rr.hookimpl
def register_renderers(register):
    register("probe", render)


@rr.hookimpl
def register_themes(register):
    register(rr.Theme(name="probe", label="A label of its own"))


@rr.hookimpl(wrapper=True)
def run_metric(metric, bundle, params, ctx):
    result = yield
    note("run_metric", metric.id)
    return replace(result, answer=f"{result.answer} Wrapped.")


@rr.hookimpl
def report_sections(run):
    return [rr.Section(id="probe", title="A section of its own")]


@rr.hookimpl
def audit_started(spec):
    note("audit_started", spec.audit.title)


@rr.hookimpl
def audit_finished(run):
    note("audit_finished", run.verdict.status)
'''

SPEC = """
[audit]
title = "Probed"
[[models]]
name = "m"
loader = "probe"
[data]
task = "classification"
loader = "probe"
[data.test]
[[metrics]]
id = "probe.metric"
[report]
formats = ["probe"]
theme = "probe"
"""


class Probed:
    """A finished audit with the probe, and the notes that the probe left."""

    def __init__(self, folder: Path) -> None:
        self.notes_folder = folder / "notes"
        self.audit = folder / "audit"

    def notes(self, name: str) -> list[str]:
        path = self.notes_folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probed]:
    """Run one audit in which everything comes from the probe."""
    folder = tmp_path_factory.mktemp("probe")
    site = folder / "site"
    info = site / "probe-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "probe_plugin.py").write_text(PROBE, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[robreport.plugins]\nprobe = probe_plugin\n")
    found = Probed(folder)
    found.notes_folder.mkdir()
    spec = folder / "audit.toml"
    spec.write_text(SPEC, encoding="utf-8")
    inherited = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    done = subprocess.run(
        [sys.executable, "-m", "robreport", "run", str(spec), "--output", str(found.audit)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(site), *inherited]),
            "PROBE_NOTES": str(found.notes_folder),
            "ROBREPORT_CACHE": str(folder / "cache"),
        },
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    yield found
    shutil.rmtree(folder, ignore_errors=True)


def offered(source: str = PROBE) -> Registry:
    """Return a registry that has loaded the probe."""
    module: dict[str, Any] = {"__name__": "probe_plugin"}
    exec(compile(source, "probe_plugin.py", "exec"), module)
    plugin = type("Plugin", (), {})()
    for name in HOOKS:
        setattr(plugin, name, module[name])
    candidate = Candidate(
        name="probe",
        distribution="probe",
        version="1.0",
        module="probe_plugin",
        load=lambda: plugin,
    )
    registry = Registry(candidates=[candidate])
    assert [record.error for record in registry.failed] == []
    return registry


# ------------------------------------------------------------------------------ the page


def signatures() -> dict[str, str]:
    """Return each hook's signature as the source has it."""
    tree = ast.parse(inspect.getsource(hookspecs))
    return {
        node.name: f"def {node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.returns is not None
    }


def documented() -> dict[str, str]:
    """Return the first code line under each heading of the page's part on hooks."""
    part = PAGE.split("\n## Hooks\n")[1]
    return dict(re.findall(r"^### (\w+)\n\n```python\n(.*)\n```\n\n\S", part, re.MULTILINE))


def test_every_hook_stands_on_the_page_with_its_exact_signature() -> None:
    assert documented() == signatures()
    assert list(documented()) == list(HOOKS)


def test_every_hook_has_a_sentence_and_a_test_named_after_it() -> None:
    for name in HOOKS:
        assert (getattr(hookspecs, name).__doc__ or "").strip().endswith("."), name
        assert callable(globals().get(f"test_{name}")), name


def test_arguments_are_those_that_pluggy_passes() -> None:
    """A hook of the page can be implemented as it stands there: pluggy checks the names."""
    record = offered().records[-1]
    assert record.hooks == tuple(sorted(HOOKS))


# ------------------------------------------------------------------------------ the calls


def test_register_metrics(probed: Probed) -> None:
    assert "probe.metric" in offered().metrics
    assert len(probed.notes("compute")) == 1


def test_register_model_loaders(probed: Probed) -> None:
    assert "probe" in offered().model_loaders
    assert "m" in probed.notes("load_model")


def test_register_data_loaders(probed: Probed) -> None:
    assert "probe" in offered().data_loaders
    assert probed.notes("load_data") == ["test"]


def test_register_gates() -> None:
    assert offered().gates["probe"].__name__ == "Gate"


def test_register_renderers(probed: Probed) -> None:
    assert len(probed.notes("render")) == 1
    assert (probed.audit / "report.probe").read_text() == "rendered"


def test_register_themes(probed: Probed) -> None:
    assert offered().themes["probe"].label == "A label of its own"
    assert probed.notes("render")[0].startswith("probe: ")


def test_run_metric(probed: Probed) -> None:
    assert probed.notes("run_metric") == ["probe.metric"]
    assert "Computed. Wrapped." in (probed.audit / "audit.json").read_text(encoding="utf-8")
    assert offered().wrapping[0].wrappers == ("run_metric",)


def test_report_sections(probed: Probed) -> None:
    assert "A section of its own" in probed.notes("render")[0]


def test_audit_started(probed: Probed) -> None:
    assert probed.notes("audit_started") == ["Probed"]


def test_audit_finished(probed: Probed) -> None:
    assert len(probed.notes("audit_finished")) == 1
