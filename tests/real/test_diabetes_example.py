"""The regression audit, against scikit-learn itself. It needs no data but scikit-learn's."""

from __future__ import annotations

import html
import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.datasets import load_diabetes
from sklearn.metrics import (
    mean_absolute_error,
    median_absolute_error,
    r2_score,
    root_mean_squared_error,
)
from sklearn.model_selection import train_test_split

from tests.running import command, record

pytestmark = pytest.mark.real  # for its half minute, not for its data
MODELS = ("ridge", "boosting", "mlp")


def load(path: Path) -> Any:
    return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))


@pytest.mark.timeout(600)
def test_diabetes(root: Path, tmp_path: Path) -> None:
    folder, out = root / "examples" / "diabetes", tmp_path / "out"
    done = command("run", folder / "audit.toml", "--output", out, "--set",
                   "report.formats=['html']", cache=tmp_path / "cache", plugins=())  # fmt: skip
    assert done.returncode == 0, done.stderr
    tree = record(out)
    data = load_diabetes()
    x_train, x_test, y_train, y = train_test_split(
        data.data, data.target, test_size=0.3, random_state=0
    )
    outcomes = {(o["name"], o["model"]): o for o in tree["outcomes"]}
    for name in MODELS:
        given = load(folder / f"{name}.skops").predict(x_test)
        found = {k: s["value"] for k, s in outcomes["quality", name]["scalars"].items()}
        wanted = {
            "r2": r2_score(y, given),
            "mean_absolute_error": mean_absolute_error(y, given),
            "root_mean_squared_error": root_mean_squared_error(y, given),
            "median_absolute_error": median_absolute_error(y, given),
            "bias": np.mean(given - y),
        }
        assert {key: found[key] for key in wanted} == pytest.approx(wanted, rel=1e-9)
        for entry in ("evasion", "exposure"):
            assert outcomes[entry, name]["status"] == "not-run"
            assert "needs classification" in outcomes[entry, name]["reason"]
    assert [r["status"] for r in tree["requirements"]] == ["pass"] * 6

    # The thresholds lie beyond what the mean of the training patients reaches.
    constant = np.full(len(y), y_train.mean())
    assert r2_score(y, constant) < 0.1
    assert mean_absolute_error(y, constant) > 55

    train, test = ({s["role"]: s["card"] for s in tree["data"]}[r] for r in ("train", "test"))
    quarters = np.quantile(y_train, [0, 0.25, 0.5, 0.75, 1])
    target = train["target"]
    assert [target[k] for k in ("low", "q1", "median", "q3", "high")] == quarters.tolist()
    assert (len(x_train), test["overlaps"][0]["rows"]) == (309, 0)
    text = html.unescape((out / "report.html").read_text(encoding="utf-8"))
    table = text[text.index('id="data-features"') : text.index('id="threats"')]
    marks = dict(re.findall(r"<td>(\w+)\s*<span class=\"note\">([^<]*)</span></td>", table))
    assert marks == {"age": "frozen", "sex": "sensitive, frozen"}


def test_the_models_are_what_the_script_makes(root: Path) -> None:
    folder = root / "examples" / "diabetes"
    found = importlib.util.spec_from_file_location("diabetes", folder / "train_models.py")
    assert found is not None
    assert found.loader is not None
    script = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    data = load_diabetes()
    x_train, x_test, y_train, _ = train_test_split(
        data.data, data.target, test_size=0.3, random_state=0
    )
    assert tuple(script.MODELS) == MODELS
    for name, model in script.MODELS.items():
        path = folder / f"{name}.skops"
        made = model.fit(x_train, y_train).predict(x_test)
        np.testing.assert_allclose(made, load(path).predict(x_test), rtol=1e-6, err_msg=name)
        assert path.stat().st_size < 300_000
