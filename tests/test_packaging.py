"""What is installed is what stands in the checkout: files, entry points, and a PDF made of it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib import import_module
from pathlib import Path, PurePosixPath

import pikepdf
import pytest

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ROOT / "plugins" / "robreport_plugins"
# Where each package of the wheel stands in the checkout.
PACKAGES = {
    "robreport": ROOT / "robreport",
    "robreport_plugins": PLUGINS,
    "robreport_templates": ROOT / "templates" / "robreport_templates",
}


def project() -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def declared() -> dict[str, str]:
    return project()["project"]["entry-points"]["robreport.plugins"]


def registers(folder: Path) -> bool:
    """Whether a family's package holds hook implementations, which pluggy marks."""
    package = import_module(f"robreport_plugins.{folder.name}")
    return any(hasattr(value, "robreport_impl") for value in vars(package).values())


# ---------------------------------------------------------------------------------- entry points


def test_the_entry_points_are_the_families_that_register() -> None:
    folders = [path.parent for path in PLUGINS.glob("*/__init__.py")]
    registering = {folder.name for folder in folders if registers(folder)}
    assert declared() == {name: f"robreport_plugins.{name}" for name in registering}
    # Shared algorithms register nothing, so they are on no list.
    assert "methods" not in registering


def test_the_installed_entry_points_are_the_declared_ones() -> None:
    installed = importlib.metadata.distribution("robreport").entry_points
    found = {point.name: point.value for point in installed if point.group == "robreport.plugins"}
    assert found == declared(), "installed from an older pyproject.toml: install again"


def test_the_version_is_the_one_of_the_distribution() -> None:
    import robreport

    assert robreport.__version__ == str(project()["project"]["version"])


# ------------------------------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build in the checkout leaves files that a later one ships."""
    source = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.py[co]")
    for folder in ("robreport", "plugins", "templates"):
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    # Beside the packages, as in the checkout: these must stay out of the wheel.
    for folder in ("tests", "benchmarks", "docs"):
        (source / folder).mkdir()
        (source / folder / "__init__.py").touch()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    target = tmp_path_factory.mktemp("wheel")
    pip(
        "wheel", "--no-deps", "--no-build-isolation", "--no-index",
        "--wheel-dir", str(target), str(source),
    )  # fmt: skip
    (built,) = target.glob("*.whl")
    return built


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    expected = {
        str(PurePosixPath(name, *path.relative_to(folder).parts))
        for name, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert shipped == expected
    assert any(name.endswith(".ttf") for name in shipped)


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_the_installed_wheel_makes_the_digits_pdf(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    pip("--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    own = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    # The dependencies of this environment, after the wheel, and not its editable robreport: a
    # .pth file inside a folder that a .pth file adds is not read.
    others = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    (own / "dependencies.pth").write_text("\n".join(others) + "\n", encoding="utf-8")

    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["ROBREPORT_CACHE"] = str(tmp_path / "cache")
    outside = tmp_path / "outside"
    outside.mkdir()

    def run(*command: str, codes: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            command, cwd=outside, env=env, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode in codes, f"{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    where = "import robreport, robreport_plugins, robreport_templates as t; print(*map("
    where += "lambda m: m.__file__, (robreport, robreport_plugins, t)), sep='\\n')"
    for path in run(str(python), "-c", where).splitlines():
        assert Path(path).is_relative_to(environment), path

    robreport = str(environment / "bin" / "robreport")
    run(robreport, "init", "digits", "--example", "digits")
    # Each of the three models is loaded and measured on few rows. What an installation can lack is
    # a file, and all are counted above; what the whole example says is not the matter here.
    # 1: the audit ran, and a requirement of the example is not met.
    said = run(
        robreport, "run", "digits/audit.toml", "--output", "report", "--only", "quality",
        "--set", "data.train.limit=80", "--set", "data.test.limit=40", codes=(0, 1),
    )  # fmt: skip
    record = json.loads((outside / "report" / "audit.json").read_bytes())
    measured = {o["model"] for o in record["outcomes"] if o["outcome"] == "computed"}
    assert measured == {"cnn", "logistic", "tree"}, said
    with pikepdf.open(outside / "report" / "report.pdf") as document:
        assert set(document.attachments) == {"audit.json", "arrays.npz", "audit.toml"}
        kinds = [o for o in document.objects if isinstance(o, pikepdf.Dictionary)]
        fonts = {str(o.FontName) for o in kinds if o.get("/Type") == "/FontDescriptor"}
    # The wheel's own typeface, and not what the system has instead of it.
    assert {font.partition("+")[2].partition("-")[0] for font in fonts} == {"Inter"}
    assert "Handwritten digits" in (outside / "report" / "report.html").read_text("utf-8")
