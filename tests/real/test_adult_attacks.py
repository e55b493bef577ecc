"""Attacks on the trees of the Adult example: valid records, with age, sex and race as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robreport import DataSchema, Norm, ThreatModel
from robreport_plugins.loaders.scikit_trees import scikit_ensemble
from robreport_plugins.methods.perturb_search import greedy_search
from robreport_plugins.methods.perturb_trees import smallest_in_cells
from robreport_plugins.methods.space_of import space_of
from tests.real.test_adult_example import load, trainer

pytestmark = pytest.mark.real

FROZEN = ("age", "race", "sex")


@pytest.mark.timeout(600)
def test_no_record_is_invalid(root: Path, shared_data: Path) -> None:
    script = trainer(root)
    x_train, _ = script.read(shared_data / "tabular" / "adult-train.csv.xz")
    x_all, _ = script.read(shared_data / "tabular" / "adult-test.csv.xz")
    categories = {name: sorted(x_train[name].dropna().unique()) for name in script.CATEGORICAL}
    model: Any = load(root / "examples" / "adult" / "boosted.skops")
    frame = script.coded(x_all[x_all.notna().all(axis=1)].head(1300), categories)
    columns = tuple(frame.columns)
    table = frame.to_numpy(np.float64)
    x, reference = table[:300], table[300:]
    low, high = table.min(axis=0), table.max(axis=0)
    schema = DataSchema(
        task="classification", input_shape=(len(columns),), layout="table", features=columns,
        categories={name: tuple(values) for name, values in categories.items()},
        frozen=FROZEN, integer=tuple(c for c in columns if c not in categories),
        bounds=(tuple(low), tuple(high)),
    )  # fmt: skip
    frozen = [columns.index(name) for name in FROZEN]
    ensemble = scikit_ensemble(model)
    y = ensemble.predict(x)

    def given(rows: np.ndarray) -> Any:
        return model.predict_proba(type(frame)(rows, columns=list(columns)))

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
