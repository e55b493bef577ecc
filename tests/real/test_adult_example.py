"""The Adult audits, against pandas, scikit-learn and xgboost on the same files."""

from __future__ import annotations

import html
import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    log_loss,
    roc_auc_score,
)

from tests.running import command, record

pytestmark = pytest.mark.real

NUMBERS = ("education-num", "hours-per-week", "capital-gain", "capital-loss")
LOW = {"age": 17, "education-num": 1, "hours-per-week": 1, "capital-gain": 0, "capital-loss": 0}
HIGH = {"age": 90, "education-num": 16, "hours-per-week": 99, "capital-gain": 99_999,
        "capital-loss": 4_356}  # fmt: skip


def trainer(root: Path) -> Any:
    """The example's own script, as a module."""
    place = root / "examples" / "adult" / "train_models.py"
    found = importlib.util.spec_from_file_location("adult_training", place)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def run(root: Path, shared_data: Path, out: Path, name: str) -> dict[str, Any]:
    done = command(
        "run", root / "examples" / "adult" / name, "--output", out,
        "--set", f"data.root={shared_data / 'tabular'}", "--set", "report.formats=['html']",
        cache=out.parent / "cache", plugins=(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return record(out)


def scalars(tree: dict[str, Any], name: str, model: str) -> dict[str, Any]:
    found = next(o for o in tree["outcomes"] if (o["name"], o["model"]) == (name, model))
    return {key: scalar["value"] for key, scalar in found["scalars"].items()}


def load(path: Path) -> Any:
    return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))


def holds_quality(found: dict[str, Any], labels: Any, probability: Any) -> None:
    """The audit's numbers are what scikit-learn says of these probabilities of ">50K"."""
    given = probability > 0.5
    assert found["clean_accuracy"] == pytest.approx(accuracy_score(labels, given), abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(labels, given), abs=1e-12
    )
    assert found["log_loss"] == pytest.approx(log_loss(labels, probability), rel=1e-6)
    assert found["roc_auc_ovr"] == pytest.approx(roc_auc_score(labels, probability), abs=1e-6)


def least_margin(
    weights: dict[str, float], x: pd.DataFrame, score: Any, sign: Any, eps: int
) -> Any:
    """The margin that an L1 budget leaves at the least: the heaviest columns first, to their ends.

    A linear score falls fastest by moving the heaviest column; where that is at its bound, the
    next. Whole numbers stay whole on the way.
    """
    left = np.full(len(x), float(eps))
    margin = sign * score
    for name in sorted(weights, key=lambda n: -abs(weights[n])):
        value = x[name].to_numpy(float)
        down = np.sign(weights[name]) * sign > 0
        moved = np.minimum(left, np.where(down, value - LOW[name], HIGH[name] - value))
        margin = margin - abs(weights[name]) * moved
        left = left - moved
    return margin


@pytest.mark.timeout(600)
def test_adult(root: Path, shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tree = run(root, shared_data, out, "audit.toml")
    script = trainer(root)
    parts = {
        role: script.read(shared_data / "tabular" / f"adult-{role}.csv.xz")
        for role in ("train", "test")
    }
    (x_train, y_train), (x_all, y_all) = parts["train"], parts["test"]
    complete = x_all.notna().all(axis=1)
    x, y = x_all[complete], y_all[complete]
    labels = (y == ">50K").to_numpy()
    assert (len(x), len(x_train)) == (15_060, 32_561)

    # Quality, by the models themselves.
    logistic = load(root / "examples" / "adult" / "logistic.skops")
    boosted = load(root / "examples" / "adult" / "boosted.skops")
    assert list(logistic.classes_) == list(boosted.classes_) == ["<=50K", ">50K"]
    categories = {name: sorted(x_train[name].dropna().unique()) for name in script.CATEGORICAL}
    holds_quality(scalars(tree, "quality", "logistic"), labels, logistic.predict_proba(x)[:, 1])
    codes = script.coded(x, categories)
    holds_quality(scalars(tree, "quality", "boosted"), labels, boosted.predict_proba(codes)[:, 1])

    # The attack on the linear model, by the closed form of its worst case with the age left alone.
    columns, last = logistic[0], logistic[-1]
    scaler = columns.named_transformers_["standardscaler"]
    names = list(scaler.feature_names_in_)
    slopes = dict(zip(names, last.coef_[0, -len(names) :] / scaler.scale_, strict=True))
    assert abs(slopes["age"]) < abs(slopes["hours-per-week"]) < abs(slopes["education-num"])
    first, sign = x.iloc[:2000], np.where(labels[:2000], 1, -1)
    score = logistic.decision_function(first)
    own = {name: slopes[name] for name in NUMBERS}
    with np.load(out / "arrays.npz") as arrays:
        radius = arrays["misstatement@logistic/broken_eps.misstated"]
        assert arrays["misstatement@logistic/index"].tolist() == first.index.tolist()
    attacked = scalars(tree, "misstatement", "logistic")
    for eps in (1, 2, 4):
        margin = least_margin(own, first, score, sign, eps)
        assert np.abs(margin).min() > 1e-6  # so that no rounding decides
        stays = margin > 0
        right = sign * score > 0
        broken = right & ~stays
        assert np.array_equal(broken, right & (radius <= eps))
        assert attacked[f"robust_accuracy[misstated, {eps}]"] == stays.mean()
        aged = least_margin({**own, "age": slopes["age"]}, first, score, sign, eps)
        assert np.array_equal(aged > 0, stays)  # changing the age would have gained nothing
    skipped = [o for o in tree["outcomes"] if o["status"] == "not-run"]
    assert [(o["name"], o["model"]) for o in skipped] == [("misstatement", "boosted")]
    assert skipped[0]["reason"].startswith("needs gradients")

    # Exposure, of the declared samples; all are scored against the rule's own accuracy.
    for model in ("logistic", "boosted"):
        exposed = next(
            o for o in tree["outcomes"] if (o["name"], o["model"]) == ("exposure", model)
        )
        assert exposed["scalars"]["share_above[2]"]["n"] == 10_000
        assert exposed["scalars"]["mean_shapr"]["n"] == 2_000
        with np.load(out / "arrays.npz") as arrays:
            scores = arrays[f"exposure@{model}/shapr"]
        assert exposed["scalars"]["share_above[2]"]["value"] == (scores > 2).mean()

    # What was required, and the verdict.
    status = {(r["name"], r["model"], r["expression"]): r["status"] for r in tree["requirements"]}
    assert sorted(status.values()) == ["not-run", "not-run", *["pass"] * 5, "warn"]
    assert status["misstatement", "logistic", "robust_accuracy[misstated, 4] >= 0.76"] == "warn"

    # The data: overlap, missing values, and how the card marks the columns.
    same = x.astype(str).agg("|".join, axis=1)
    there = x_train.fillna("?").astype(str).agg("|".join, axis=1)
    shared = same.isin(set(there))
    flipped = (same + "|" + (~pd.Series(labels, index=x.index)).astype(str)).isin(
        set(there + "|" + (y_train == ">50K").astype(str))
    )
    cards = {split["role"]: split["card"] for split in tree["data"]}
    overlap = cards["test"]["overlaps"][0]
    assert (overlap["other"], overlap["rows"]) == ("train", int(shared.sum()))
    assert overlap["other_label"] == int(flipped.sum())
    absent = x_train.isna()
    assert cards["train"]["missing"] == int(absent.sum().sum()) == 4_262
    assert cards["train"]["rows_missing"] == int(absent.any(axis=1).sum()) == 2_399
    page = (out / "report.html").read_text(encoding="utf-8")
    text = html.unescape(page)
    assert f"{shared.sum():,} of 15,060 test rows ({shared.mean():.1%})".replace("%", " %") in text
    table = text[text.index('id="data-features"') : text.index('id="threats"')]
    marks = dict(re.findall(r"<td>([\w-]+)\s*<span class=\"note\">([^<]*)</span></td>", table))
    assert marks == {"age": "frozen", "race": "sensitive, frozen", "sex": "sensitive, frozen"}
    assert "needs gradients, which boosted" in text


@pytest.mark.timeout(600)
def test_adult_by_two_libraries(root: Path, shared_data: Path, tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    tree = run(root, shared_data, tmp_path / "out", "audit-boosted.toml")
    script = trainer(root)
    x_train, _ = script.read(shared_data / "tabular" / "adult-train.csv.xz")
    x, y = script.read(shared_data / "tabular" / "adult-test.csv.xz")
    labels = (y == ">50K").to_numpy()
    categories = {name: sorted(x_train[name].dropna().unique()) for name in script.CATEGORICAL}
    codes = script.coded(x, categories)
    assert codes.isna().any(axis=1).sum() == 1_221
    boosted = load(root / "examples" / "adult" / "boosted.skops")
    holds_quality(scalars(tree, "quality", "boosted"), labels, boosted.predict_proba(codes)[:, 1])
    booster = xgboost.Booster(model_file=root / "examples" / "adult" / "xgboost.ubj")
    kinds = ["c" if name in script.CATEGORICAL else "q" for name in codes]
    matrix = xgboost.DMatrix(codes, feature_types=kinds, enable_categorical=True)
    holds_quality(scalars(tree, "quality", "xgboost"), labels, booster.predict(matrix))
    offered = {model["name"]: model["offers"] for model in tree["models"]}
    assert all("trees" in offers for offers in offered.values())
    assert {o["status"] for o in tree["outcomes"]} == {"pass", "info"}


@pytest.mark.timeout(600)
def test_adult_under_attack(root: Path, shared_data: Path, tmp_path: Path) -> None:
    """Every perturbed row is one that somebody could hand in, and as far away as was allowed."""
    out = tmp_path / "out"
    tree = run(root, shared_data, out, "audit-attacked.toml")
    assert {o["status"] for o in tree["outcomes"]} <= {"warn", "pass", "info"}
    script = trainer(root)
    x_train, _ = script.read(shared_data / "tabular" / "adult-train.csv.xz")
    x_all, y_all = script.read(shared_data / "tabular" / "adult-test.csv.xz")
    categories = {name: sorted(x_train[name].dropna().unique()) for name in script.CATEGORICAL}
    codes = script.coded(x_all, categories)
    columns = list(codes)
    spread = {name: x_train[name].std(ddof=0) for name in NUMBERS}
    labels = (y_all == ">50K").to_numpy()
    boosted = load(root / "examples" / "adult" / "boosted.skops")
    logistic = load(root / "examples" / "adult" / "logistic.skops")
    with np.load(out / "arrays.npz") as arrays:
        kept = {key: arrays[key] for key in arrays.files if key.startswith("tampering@")}
    changed = 0
    for model in ("logistic", "boosted"):
        for threat, largest in (("answers", 3), ("sizes", 1.0)):
            rows = kept[f"tampering@{model}/shown.{threat}"]
            index = kept[f"tampering@{model}/shown_index.{threat}"]
            assert len(rows) == 20
            before = codes.loc[index].to_numpy(float)
            moved = rows != before
            for name in ("age", "sex", "race"):
                assert not moved[:, columns.index(name)].any()
            for name in NUMBERS:
                column = rows[:, columns.index(name)]
                assert (column == np.rint(column)).all()
                assert ((column >= LOW[name]) & (column <= HIGH[name])).all()
            for name in script.CATEGORICAL:
                assert np.isin(rows[:, columns.index(name)], range(len(categories[name]))).all()
            if threat == "answers":
                size = moved.sum(axis=1)
            else:
                schooling = columns.index("education-num")
                assert (rows[:, schooling] <= before[:, schooling]).all()
                size = np.max([
                    np.abs(rows - before)[:, j] / spread[name] if name in NUMBERS else moved[:, j]
                    for j, name in enumerate(columns)
                ], axis=0)  # fmt: skip
            assert (size > 0).all()
            assert (size <= largest * (1 + 1e-9)).all()
            changed += int(moved[:, [columns.index(n) for n in script.CATEGORICAL]].sum())
            # the models themselves say that the answer has changed
            table = pd.DataFrame(rows, columns=columns)
            if model == "boosted":
                said = boosted.predict(table)
            else:
                for name in script.CATEGORICAL:
                    table[name] = [categories[name][int(code)] for code in table[name]]
                said = logistic.predict(table)
            assert ((said == ">50K") != labels[x_all.index.get_indexer(index)]).all()
    assert changed > 0


def test_the_models_are_what_the_script_makes(root: Path, shared_data: Path) -> None:
    script = trainer(root)
    x, y = script.read(shared_data / "tabular" / "adult-train.csv.xz")
    categories = {name: sorted(x[name].dropna().unique()) for name in script.CATEGORICAL}
    codes = script.coded(x, categories)
    folder = root / "examples" / "adult"
    for name, table, made in (
        ("logistic", x, script.logistic(x, y)),
        ("boosted", codes, script.boosted(codes, y)),
    ):
        kept = load(folder / f"{name}.skops")
        np.testing.assert_allclose(
            made.predict_proba(table), kept.predict_proba(table), atol=1e-6, err_msg=name
        )
    for path in folder.iterdir():
        assert path.is_dir() or path.stat().st_size < 300_000
