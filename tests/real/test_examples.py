"""The examples on real data give the figures that their pages claim."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.running import command, outcome, record

pytestmark = pytest.mark.real


@pytest.mark.timeout(600)
def test_mnist_three_trainings(root: Path, shared_data: Path, tmp_path: Path) -> None:
    files = {"natural": "nor", "adversarial": "adv", "certified": "lpd"}
    settings = [f"data.root={shared_data / 'mnist'}", "report.formats=['html']"]
    settings += [
        f"models.{name}.path={shared_data / 'models' / f'mnist-cnn-small-{word}.safetensors'}"
        for name, word in files.items()
    ]
    out = tmp_path / "out"
    options = [option for setting in settings for option in ("--set", setting)]
    done = command(
        "run", root / "examples" / "mnist" / "audit.toml", "--output", out,
        "--only", "quality", "--only", "pgd", "--only", "pgd-compared", *options,
        cache=tmp_path / "cache", plugins=(),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert (out / "report.html").stat().st_size < 4_000_000
    by_model = {o["model"]: o for o in record(out)["outcomes"] if o["name"] == "quality"}
    clean = {name: o["scalars"]["clean_accuracy"] for name, o in by_model.items()}
    assert {name: scalar["value"] for name, scalar in clean.items()} == {
        "natural": 0.9892,
        "adversarial": 0.9903,
        "certified": 0.9890,
    }
    assert {scalar["n"] for scalar in clean.values()} == {10_000}
    robust = outcome(out, "pgd")["scalars"]["robust_accuracy[linf, 0.1]"]
    assert robust["value"] == 0.15
    assert robust["n"] == 500
    assert robust["bound"] == "upper"
    failed = [r for r in record(out)["requirements"] if r["status"] == "fail"]
    assert [(r["name"], r["model"]) for r in failed] == [("pgd", "natural")]
