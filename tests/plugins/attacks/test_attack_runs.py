"""Attacks in whole runs of the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.running import command, outcome

AUDIT = """
[audit]
title = "Presets"
[[models]]
name = "one"
loader = "torch"
path = "one.safetensors"
architecture = [["linear", "0"]]
[[models]]
name = "two"
loader = "torch"
path = "two.safetensors"
architecture = [["linear", "0"]]
[data]
task = "classification"
loader = "sklearn"
dataset = "iris"
bounds = [0, 8]
[data.test]
limit = 12
[threats.small]
norm = "Linf"
eps = ["0.5/255", "30/255"]
[[metrics]]
name = "published"
id = "attacks.suite"
threats = ["small"]
params = { attacks = ["autoattack-random"] }
[[metrics]]
name = "own"
id = "attacks.suite"
threats = ["small"]
params = { attacks = ["autoattack-random"], steps = 40 }
[[metrics]]
name = "beside"
id = "attacks.compare"
[report]
formats = []
"""


@pytest.mark.slow
def test_a_preset_brings_its_budget_unless_the_audit_sets_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        weights = {"0.weight": rng.normal(size=(3, 4)), "0.bias": np.zeros(3)}
        save_file({k: v.astype(np.float32) for k, v in weights.items()},
                  tmp_path / f"{name}.safetensors")  # fmt: skip
    (tmp_path / "audit.toml").write_text(AUDIT)
    told = command("run", tmp_path / "audit.toml", cache=tmp_path / "cache")
    assert told.returncode == 0, told.stderr
    steps = {}
    for name in ("published", "own"):
        table = outcome(tmp_path / "audit", name)["tables"]["attacks"]
        keys = [column["key"] for column in table["columns"]]
        steps[name] = {row[0]: row[keys.index("steps")] for row in table["rows"]}
    assert steps == {
        "published": {"APGD-CE, averaged": 100, "APGD-DLR, averaged": 100},
        "own": {"APGD-CE, averaged": 40, "APGD-DLR, averaged": 40},
    }
    # a radius of parts of 255 is a number to every metric
    assert outcome(tmp_path / "audit", "beside")["status"] != "error"
