"""A model trained on a data frame's categories is never given another numbering of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from robreport import DataSchema
from robreport_plugins.loaders.lightgbm_model import LightgbmLoader
from robreport_plugins.loaders.xgboost_model import XgboostLoader

Check = Callable[..., str]
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 3, 300)
NUMBERS = RNG.standard_normal(300)
LIBRARIES = ["xgboost", "lightgbm"]


def schema(words: tuple[str, ...] | None, order: str = "ab") -> DataSchema:
    return DataSchema(
        task="classification", input_shape=(2,), layout="table", classes=("no", "yes"),
        features=tuple(order), categories={} if words is None else {"b": words},
    )  # fmt: skip


def fitted(library: str, categories: Any, place: Path) -> tuple[Any, Any, Path, Any]:
    """Return the loader, the library's own model, its file and the frame it was trained on."""
    values = CODES if categories is None else pd.Categorical.from_codes(CODES, categories)
    frame = pd.DataFrame({"a": NUMBERS, "b": values})
    y = ((CODES == 1) ^ (NUMBERS > 1)).astype(int)
    if library == "xgboost":
        xgboost = pytest.importorskip("xgboost")
        model = xgboost.XGBClassifier(n_estimators=4, n_jobs=1, enable_categorical=True)
        model.fit(frame, y).save_model(place / "m.json")
        return XgboostLoader(), model, place / "m.json", frame
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMClassifier(n_estimators=4, n_jobs=1, verbose=-1, min_child_samples=5)
    model.fit(frame, y).booster_.save_model(place / "m.txt")
    return LightgbmLoader(), model, place / "m.txt", frame


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("own", "words"),
    [
        (["zeta", "alpha", "mu"], ("zeta", "alpha", "mu")),
        (["zeta", "alpha", "mu"], ("zeta", "alpha", "mu", "new")),
        (["zeta", "alpha", "mu"], ("0", "1", "2")),
        (["zeta", "alpha", "mu"], None),
        ([3, 5, 9], ("3", "5", "9.0")),
        ([0, 1, 2], None),
        (None, None),
    ],
)
def test_codes_that_mean_the_same(
    library: str, own: Any, words: Any, tmp_path: Path, load_model: Any
) -> None:
    loader, model, path, frame = fitted(library, own, tmp_path)
    x = np.column_stack([NUMBERS, CODES])
    handle = load_model(loader, path, schema=schema(words))
    np.testing.assert_array_equal(handle.predict(x), model.predict(frame))
    turned = load_model(loader, path, schema=schema(words, "ba"))
    np.testing.assert_array_equal(turned.predict(x[:, ::-1]), model.predict(frame))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("own", "words", "remedy"),
    [
        (["zeta", "alpha", "mu"], ("alpha", "mu", "zeta"), ["zeta", "alpha", "mu"]),
        (["a", "b", "c"], ("a", "c"), ["a", "b", "c"]),
        (["b", "c", "d"], ("a", "b", "c", "d"), ["b", "c", "d", "a"]),
        ([3, 5, 9], ("3", "9"), ["3", "5", "9"]),
        ([3, 5, 9], None, None),
        (None, ("0", "2"), None),
    ],
)
def test_codes_that_mean_something_else(
    library: str, own: Any, words: Any, remedy: Any, tmp_path: Path, load_model: Any,
    refused: Check,
) -> None:  # fmt: skip
    """What the sentence says to declare is what makes the model answer as its library does."""
    loader, model, path, frame = fitted(library, own, tmp_path)
    said = refused(lambda: load_model(loader, path, schema=schema(words)), "column 'b'")
    if remedy is None:
        assert "data.schema.categorical" in said
        return
    declared = said.split('"b" = ')[1].split(" }")[0]
    assert json.loads(declared) == remedy
    handle = load_model(loader, path, schema=schema(tuple(remedy)))
    place = [remedy.index(str(name)) for name in own]
    x = np.column_stack([NUMBERS, np.array(place)[CODES]])
    np.testing.assert_array_equal(handle.predict(x), model.predict(frame))


def test_names_in_a_forged_file(tmp_path: Path, load_model: Any, refused: Check) -> None:
    loader, _, path, _ = fitted("xgboost", ["p", "q", "r"], tmp_path)
    whole = json.loads(path.read_text())
    cats = whole["learner"]["gradient_booster"]["model"]["cats"]
    for key, value in (
        ("offsets", [0, 10**9]), ("offsets", [-1, 1]), ("offsets", [0, 2, 1]),
        ("values", "text"), ("values", [0.5]), ("offsets", [[0]]),
    ):  # fmt: skip
        kept = cats["enc"][1][key]
        cats["enc"][1][key] = value
        path.write_text(json.dumps(whole))
        refused(lambda: load_model(loader, path, schema=schema(None)), "categories")
        cats["enc"][1][key] = kept
    cats["enc"].pop()
    path.write_text(json.dumps(whole))
    refused(lambda: load_model(loader, path, schema=schema(None)), "1 features, of 2")
    loader, _, path, _ = fitted("lightgbm", ["p", "q", "r"], tmp_path)
    text = path.read_text()
    for bad in ('[["p"', '{"a": 1}', "[3]", '[[["p"]]]', "[" * 10**5):
        path.write_text(text.partition("pandas_categorical:")[0] + f"pandas_categorical:{bad}\n")
        refused(lambda: load_model(loader, path, schema=schema(None)), "names of categories")


def test_several_columns_and_one_that_no_tree_can_use(tmp_path: Path, load_model: Any) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    from robreport_plugins.loaders.lightgbm_file import read_lightgbm

    frame = pd.DataFrame(
        {"k": pd.Categorical.from_codes(0 * CODES, ["only"]), "a": NUMBERS,
         "b": pd.Categorical.from_codes(CODES, ["z", "y", "x"])}
    )  # fmt: skip
    model = lightgbm.LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1)
    model.fit(frame, (CODES == 1).astype(int)).booster_.save_model(tmp_path / "m.txt")
    file = read_lightgbm(tmp_path / "m.txt", "m.txt")
    assert file.categories == {0: ("only",), 2: ("z", "y", "x")}
