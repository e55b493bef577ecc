"""Attacks on the trees of the Adult example: valid records, with age, sex and race as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from robreport import DataSchema, ModelHandle, ModelSource, Norm, ThreatModel
from robreport_plugins.loaders.sklearn_model import SklearnModelLoader
from robreport_plugins.methods.perturb_search import greedy_search
from robreport_plugins.methods.perturb_trees import smallest_in_cells
from robreport_plugins.methods.space_of import space_of
from tests.real.test_adult_example import trainer

pytestmark = pytest.mark.real

FROZEN = ("age", "race", "sex")


def loaded(path: Path, schema: DataSchema) -> ModelHandle:
    loader = SklearnModelLoader()
    source = ModelSource(
        name="m", path=path, base=path.parent, options=loader.Options(), trusted=False,
        schema=schema, examples=None,
    )  # fmt: skip
    return loader.load(source)


def example(root: Path, schema: DataSchema, tmp_path: Path, *_: Any) -> Any:
    """The example's own trees, fitted on codes."""
    path = root / "examples" / "adult" / "boosted.skops"
    return loaded(path, schema)


def behind_encoders(root: Path, schema: DataSchema, tmp_path: Path, x: Any, y: Any) -> Any:
    """Boosted trees behind one-hot categories and scaled numbers."""
    words = list(schema.categories)
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
        (StandardScaler(), [name for name in schema.features if name not in words]),
    )
    trees = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    skops.io.dump(make_pipeline(columns, trees).fit(x, y), tmp_path / "m.skops")
    return loaded(tmp_path / "m.skops", schema)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("model", [example, behind_encoders])
def test_no_record_is_invalid(model: Any, root: Path, shared_data: Path, tmp_path: Path) -> None:
    script = trainer(root)
    x_train, y_train = script.read(shared_data / "tabular" / "adult-train.csv.xz")
    x_all, _ = script.read(shared_data / "tabular" / "adult-test.csv.xz")
    categories = {name: sorted(x_train[name].dropna().unique()) for name in script.CATEGORICAL}
    frame = script.coded(x_all[x_all.notna().all(axis=1)].head(1300), categories)
    columns = tuple(frame.columns)
    table = frame.to_numpy(np.float64)
    x, reference = table[:300], table[300:]
    low, high = table.min(axis=0), table.max(axis=0)
    schema = DataSchema(
        task="classification", input_shape=(len(columns),), layout="table", features=columns,
        classes=("<=50K", ">50K"),
        categories={name: tuple(values) for name, values in categories.items()},
        frozen=FROZEN, integer=tuple(c for c in columns if c not in categories),
        bounds=(tuple(low), tuple(high)),
    )  # fmt: skip
    handle = model(root, schema, tmp_path, x_train[list(columns)], y_train)
    given = handle.predict_proba
    frozen = [columns.index(name) for name in FROZEN]
    ensemble = handle.trees()
    y = ensemble.predict(x)
    assert np.array_equal(given(x).argmax(axis=1), y)
    for norm in Norm:
        threat = ThreatModel(name="t", norm=norm, eps=(), scale="std")
        space = space_of(schema, threat, x.shape[1:], reference)
        x_adv, size = smallest_in_cells(ensemble, space, x, y, norm, reference)
        hit = np.isfinite(size)
        assert hit.mean() > 0.95
        assert space.valid(x, x_adv).all()
        assert (x_adv[:, frozen] == x[:, frozen]).all()
        for place, name in enumerate(columns):
            kept = x_adv[:, place]
            assert (kept == np.rint(kept)).all()
            assert ((kept >= low[place]) & (kept <= high[place])).all()
            if name in categories:
                assert kept.max() < len(categories[name])
        assert (given(x_adv).argmax(axis=1)[hit] != y[hit]).all()
        # a search that sees only scores breaks no record inside of a ball that the trees' own
        # geometry found none in, but for what a search may miss
        eps = float(np.median(size[hit]))
        other = greedy_search(
            given, space, x[:60], y[:60], norm=norm, eps=eps, reference=reference,
            rng=np.random.default_rng(0), restarts=0,
        )  # fmt: skip
        assert space.inside(x[:60], other.x_adv, norm, eps).all()
        assert (other.x_adv[:, frozen] == x[:60, frozen]).all()
        assert other.claimed.mean() <= (size[:60] <= eps).mean()
