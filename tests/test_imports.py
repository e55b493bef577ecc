"""What imports need: each module stands alone and warns of nothing, the light ones stay light."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ROOT / "plugins" / "robreport_plugins"
HEAVY = ["altair", "art", "numba", "pandas", "sklearn", "torch", "weasyprint"]


def modules(package: Path) -> list[str]:
    """The dotted names of all modules below a package, but for `__main__`, which runs on import."""
    return [
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(package.rglob("*.py"))
        if path.name != "__main__.py"
    ]


def families() -> list[str]:
    return [path.parent.name for path in sorted(PLUGINS.glob("*/__init__.py"))]


# Imports the heavy third-party packages once, then each module as the first of its package: what
# was imported of the package before is forgotten. A plugin's module finds the core as it is, for
# the contracts keep the core from knowing any plugin. The filters are set after the third-party
# imports, whose warnings are not ours to mend.
#
# To execute all that a module needs again for each of them would take most of the time. A module
# that stood alone once, and does not lead to the one that is tried, can neither break its import
# nor mend it: it is handed over as it is. Packages are not, since submodules that others have
# imported hang on them.
ALONE = """
import importlib, importlib.machinery, json, sys, traceback, warnings


class Proven:
    def __init__(self):
        self.modules, self.reach, self.tried = {}, {}, ""

    def find_spec(self, name, path=None, target=None):
        if self.tried in self.reach.get(name, self.tried):
            return None
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        return self.modules[spec.name]

    def exec_module(self, module):
        pass

    def add(self, name, loaded):
        if not hasattr(sys.modules[name], "__path__"):
            self.modules[name] = sys.modules[name]
            self.reach[name] = {*loaded}.union(*(self.reach.get(n, ()) for n in loaded))


for name in json.loads(sys.argv[1]):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(name)

warnings.simplefilter("error")
failures, proven = {}, Proven()
sys.meta_path.insert(0, proven)
for name in json.load(sys.stdin):
    package, proven.tried = name.partition(".")[0], name
    for known in [m for m in sys.modules if m.partition(".")[0] == package]:
        del sys.modules[known]
    try:
        importlib.import_module(name)
    except BaseException:
        failures[name] = traceback.format_exc(limit=-4)
    else:
        proven.add(name, [m for m in sys.modules if m.partition(".")[0] == package])
json.dump(failures, sys.stdout)
"""


def dependencies_first(package: Path) -> list[str]:
    """Return a package's modules after those that they import, so that most are executed once."""
    names = modules(package)
    ordered: dict[str, None] = {}
    begun: set[str] = set()

    def visit(name: str) -> None:
        if name not in names or name in begun:
            return
        begun.add(name)
        stem = package.parent.joinpath(*name.split("."))
        path = stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                for needed in (node.module, *(f"{node.module}.{a.name}" for a in node.names)):
                    visit(needed)
        ordered[name] = None

    for name in names:
        visit(name)
    return list(ordered)


@pytest.mark.slow
def test_each_module_imports_alone_without_a_warning() -> None:
    names = dependencies_first(ROOT / "robreport") + dependencies_first(PLUGINS)
    assert sorted(names) == sorted(modules(ROOT / "robreport") + modules(PLUGINS))
    assert "robreport.result" in names
    preloaded = [
        "altair", "jinja2", "numba", "onnx", "pandas", "PIL.Image", "pluggy", "pydantic",
        "rich.progress", "scipy.stats", "skops.io", "sklearn.compose", "sklearn.ensemble",
        "sklearn.linear_model", "torch", "typer",
    ]  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE, json.dumps(preloaded)],
        input=json.dumps(names),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    failures = json.loads(run.stdout)
    assert not failures, "\n".join(f"{name}\n{trace}" for name, trace in failures.items())


def loaded_by(statement: str) -> list[str]:
    """Which of the heavy packages a fresh interpreter has loaded after the statement."""
    code = f"{statement}\nimport sys\nprint(*({{*{HEAVY!r}}} & {{*sys.modules}}))"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return sorted(run.stdout.split())


def test_a_heavy_import_would_be_seen() -> None:
    assert "pandas" in loaded_by("import pandas")


@pytest.mark.parametrize(
    "module",
    ["robreport", "robreport.cli", *(f"robreport_plugins.{name}" for name in families())],
)
def test_a_light_import_stays_light(module: str) -> None:
    assert loaded_by(f"import {module}") == []


def test_the_public_names_exist_and_are_light() -> None:
    assert loaded_by("import robreport\nfor n in robreport.__all__: getattr(robreport, n)") == []


def imported(path: Path, known: set[str]) -> set[str]:
    """What a file imports, wherever in the file: packages that are known, else whole names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    parents = {name: {name[:end] for end in _ends(name)} & known for name in found}
    return {min(within) if within else name for name, within in parents.items()}


def _ends(name: str) -> list[int]:
    return [i for i, letter in enumerate(f"{name}.") if letter == "."]


def test_kernels_import_only_numpy_and_numba() -> None:
    """And the standard library; in a package of kernels also each other."""
    # import-linter has no contract that allows a list and forbids the rest.
    kernels = sorted({*PLUGINS.rglob("_kernels.py"), *PLUGINS.rglob("_kernels/**/*.py")})
    assert {path.parent.name for path in kernels} >= {"_kernels", "linear"}
    beyond = {}
    for path in kernels:
        allowed = {*sys.stdlib_module_names, "numba", "numpy"}
        if path.parent.name == "_kernels":
            allowed.add(".".join(path.parent.relative_to(PLUGINS.parent).parts))
        beyond[str(path.relative_to(ROOT))] = imported(path, allowed) - allowed
    assert {path: names for path, names in beyond.items() if names} == {}
