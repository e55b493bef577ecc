"""Trees behind encoders: their leaves' geometry beside a search that sees scores alone.

Run with ``python -m pytest benchmarks/test_tree_pipelines.py -s``; two minutes. It reads the Adult
census data beside the checkout and fits its own models.
"""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from mnist_networks import data_folder
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from robreport import DataSchema, ModelSource, Norm, ThreatModel
from robreport_plugins.loaders.sklearn_model import SklearnModelLoader
from robreport_plugins.methods.perturb_search import greedy_search
from robreport_plugins.methods.perturb_trees import smallest_in_cells
from robreport_plugins.methods.space_of import space_of

ROOT = Path(__file__).resolve().parent.parent
N = 200
FROZEN = ("age", "race", "sex")
BALLS = ((Norm.L0, 1.0), (Norm.Linf, 0.25), (Norm.Linf, 0.5))
MODELS = {
    "histogram boosting": HistGradientBoostingClassifier(max_iter=150, random_state=0),
    "gradient boosting": GradientBoostingClassifier(n_estimators=150, random_state=0),
    "random forest": RandomForestClassifier(100, min_samples_leaf=3, random_state=0),
}


def example() -> Any:
    """The Adult example's own script, as a module."""
    place = ROOT / "examples" / "adult" / "train_models.py"
    found = importlib.util.spec_from_file_location("adult_training", place)
    if found is None or found.loader is None:
        raise FileNotFoundError(place)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", MODELS)
def test_geometry_breaks_what_a_search_does_not(name: str, tmp_path: Path) -> None:
    script = example()
    folder = data_folder() / "tabular"
    x_train, y_train = script.read(folder / "adult-train.csv.xz")
    x_test, _ = script.read(folder / "adult-test.csv.xz")
    words, numbers = script.CATEGORICAL, script.NUMBERS
    categories = {one: sorted(x_train[one].dropna().unique()) for one in words}
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
        (StandardScaler(), numbers),
    )
    skops.io.dump(make_pipeline(columns, MODELS[name]).fit(x_train, y_train), tmp_path / "m.skops")
    frame = script.coded(x_test[x_test.notna().all(axis=1)].head(2200), categories)
    table = frame.to_numpy(np.float64)
    x, reference = table[:N], table[N:]
    schema = DataSchema(
        task="classification", input_shape=(table.shape[1],), layout="table",
        classes=("<=50K", ">50K"), features=tuple(frame.columns), frozen=FROZEN,
        categories={one: tuple(values) for one, values in categories.items()},
        integer=tuple(numbers), bounds=(tuple(table.min(axis=0)), tuple(table.max(axis=0))),
    )  # fmt: skip
    loader = SklearnModelLoader()
    model = loader.load(
        ModelSource(
            name="m", path=tmp_path / "m.skops", base=tmp_path, options=loader.Options(),
            trusted=False, schema=schema, examples=None,
        )
    )  # fmt: skip
    trees, y = model.trees(), model.predict(x)
    for norm, eps in BALLS:
        threat = ThreatModel(
            name="t", norm=norm, eps=(), scale="none" if norm is Norm.L0 else "std"
        )
        space = space_of(schema, threat, x.shape[1:], reference)
        start = time.perf_counter()
        x_adv, size = smallest_in_cells(trees, space, x, y, norm, reference)
        seconds = [time.perf_counter() - start]
        inside = size <= eps
        assert (model.predict(x_adv)[inside] != y[inside]).all()
        start = time.perf_counter()
        found = greedy_search(
            model.predict_proba, space, x, y, norm=norm, eps=eps, reference=reference,
            rng=np.random.default_rng(0), restarts=2,
        )  # fmt: skip
        seconds.append(time.perf_counter() - start)
        left = [float(1 - inside.mean()), float(1 - found.claimed.mean())]
        print(
            f"\n{name}, {norm.symbol} {eps:g}: left by geometry {left[0]:.3f} "
            f"({seconds[0]:.2f} s), by a search {left[1]:.3f} ({seconds[1]:.2f} s, "
            f"{found.queries:,} questions)",
            end="",
        )
        assert left[0] <= left[1]
