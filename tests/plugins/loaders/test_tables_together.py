"""Tables of an audit as a whole: what its splits must share, and audits of real tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import running
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from robreport.codec import adapter
from robreport.inputs import schema_from_json
from robreport.kept import open_split
from robreport.outcome import SplitFacts
from robreport.spec import DataTable
from robreport.worker.data import load_data as load_splits
from robreport_plugins.loaders.npz import NpzLoader
from robreport_plugins.loaders.table import CsvLoader

TRAIN = "age,sex,job,rich\n30,f,clerk,no\n40,m,smith,yes\n50,f,monk,no\n"
TEST = "rich,job,sex,age\nno,monk,m,35\nyes,baker,f,45\n"
SCHEMA = {"label": "rich", "categorical": ["sex", "job"], "sensitive": ["sex"], "group": "job"}
ADULT = (
    "age", "workclass", "weight", "education", "education-num", "marital", "occupation",
    "relationship", "race", "sex", "gain", "loss", "hours", "country", "income",
)  # fmt: skip
NUMBERS = ("age", "weight", "education-num", "gain", "loss", "hours")


def loaded(root: Path, out: Path, splits: dict[str, dict[str, Any]], **data: Any) -> Any:
    """Load splits as an audit does, in this process; return the answer of the worker."""
    schema = DataTable.model_validate({"task": "classification", "schema": data.pop("schema")})
    return load_splits(
        {
            "allow": None, "base": str(root), "out": str(out), "seed": 0, "bounds": None,
            "task": "classification", "schema": schema.columns.model_dump(mode="json"),
            "splits": [
                {"role": role, "loader": "csv", "root": str(root), "limit": None, "shuffle": True,
                 "carved_from": "", "share": 0.2,
                 "options": CsvLoader.Options(**{**data, **own}).model_dump(mode="json")}
                for role, own in splits.items()
            ],
        },
        lambda *_: None,
    )  # fmt: skip


@pytest.fixture
def put(tmp_path: Path) -> Any:
    def write(train: str = TRAIN, test: str = TEST, **rest: Any) -> Any:
        (tmp_path / "train.csv").write_text(train, encoding="utf-8")
        (tmp_path / "test.csv").write_text(test, encoding="utf-8")
        splits = {"train": {"path": "train.csv"}, "test": {"path": "test.csv"}}
        return loaded(tmp_path, tmp_path / "out", splits, **{"schema": SCHEMA, **rest})

    return write


def test_two_files_become_one_table(put: Any, tmp_path: Path) -> None:
    answer = put()
    schema = schema_from_json(answer["schema"])
    facts = {f.role: f for f in adapter(tuple[SplitFacts, ...]).validate_python(answer["splits"])}
    assert [f.problem for f in facts.values()] == ["", ""]
    assert schema.features == ("job", "sex", "age")  # those of the test split, in its order
    assert schema.categories == {"job": ("baker", "clerk", "monk", "smith"), "sex": ("f", "m")}
    assert (schema.sensitive, schema.group, schema.target) == (("sex",), "job", "rich")
    assert (schema.classes, schema.integer) == (("no", "yes"), ("age",))
    train = open_split(facts["train"], tmp_path / "out" / "train")
    np.testing.assert_array_equal(train.x, [[1, 0, 30], [3, 1, 40], [2, 0, 50]])
    assert train.groups is not None
    assert train.groups.tolist() == ["clerk", "smith", "monk"]
    test = open_split(facts["test"], tmp_path / "out" / "test")
    np.testing.assert_array_equal(test.x, [[2, 1, 35], [0, 0, 45]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test": TEST.replace("age", "years")}, "data.train: its columns are not those of "
         "data.test: it lacks 'years' and has 'age' beside them"),
        ({"test": "rich,job,sex\nno,monk,m\nyes,monk,f\n"}, "it has 'age' beside them"),
        ({"test": TEST.replace("rich", "poor")}, "label names the column 'rich', and the file has"),
        ({"train": TRAIN.replace("50", "fifty")}, "'fifty' in row 2"),
        ({"schema": {**SCHEMA, "drop": ["sex"]}}, "data.schema.sensitive names 'sex'"),
        ({"schema": {**SCHEMA, "frozen": ["agee"]}}, "Did you mean 'age'"),
        ({"schema": {**SCHEMA, "positive": "maybe"}}, "data.schema.positive is 'maybe'"),
        ({"categories": {"job": ["clerk", "smith", "monk"]}}, "'job': holds 'baker' in row 1"),
        ({"train": TRAIN.replace("yes", "no"), "test": TEST.replace("yes", "no")},
         "data: every label is 'no'"),
        ({"test": TEST.replace("yes", "oui"), "classes": ["no", "yes"]}, "has labels 'oui', and"),
        ({"test": "rich,job,sex,age\n"}, "a header and no rows"),
        ({"test": TEST.replace("35", "inf")}, "column 'age': holds inf in row 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together(change: dict[str, Any], words: str, put: Any) -> None:
    answer = put(**change)
    problems = {split["problem"] for split in answer["splits"]} - {""}
    assert len(problems) == 1, problems
    (problem,) = problems
    assert words in problem
    assert "\n" not in problem
    assert len(problem) < 500


def test_a_class_that_train_lacks(put: Any) -> None:
    """It is a class of the data; whether a model knows it, its loading says."""
    answer = put(test=TEST.replace("no", "perhaps"))
    assert answer["schema"]["classes"] == ["no", "perhaps", "yes"]
    assert answer["splits"][0]["class_counts"] == {"no": 2, "perhaps": 0, "yes": 1}


def _spec(folder: Path, root: Path, data: str) -> Path:
    path = folder / "audit.toml"
    path.write_text(
        f'[audit]\ntitle = "t"\n[[models]]\nname = "m"\nloader = "sklearn"\npath = "m.skops"\n'
        f'[data]\ntask = "classification"\nloader = "csv"\nroot = "{root}"\n{data}\n'
        f'[[metrics]]\nid = "performance.classification"\n[report]\nformats = []\n',
        encoding="utf-8",
    )
    return path


@pytest.mark.slow
def test_a_model_that_does_not_know_a_word_is_refused_before_anything_runs(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": [30, 40, 50, 60], "sex": ["f", "m", "f", "m"]})
    columns = make_column_transformer((OneHotEncoder(), ["sex"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(frame, ["no", "yes"] * 2)
    skops.io.dump(model, tmp_path / "m.skops")
    rows = ["30,f,no", "40,m,yes"] * 100 + ["50,x,no"]
    (tmp_path / "t.csv").write_text("age,sex,rich\n" + "\n".join(rows) + "\n")
    data = 'schema = { label = "rich", categorical = ["sex"] }\n[data.test]\npath = "t.csv"'
    spec = _spec(tmp_path, tmp_path, data)
    found = running.command("check", spec, cache=tmp_path / "cache", plugins=())
    assert found.returncode == 3, found.stdout + found.stderr
    assert "unknown categories ['x']" in found.stdout + found.stderr


@pytest.mark.real
def test_adult_is_audited_as_the_library_predicts(shared_data: Path, tmp_path: Path) -> None:
    """The counts are those that the data set is published with."""
    root = shared_data / "tabular"
    parts = {
        role: pd.read_csv(
            root / f"adult-{role}.csv.xz", names=list(ADULT), skipinitialspace=True, na_values="?"
        )
        for role in ("train", "test")
    }
    words = [name for name in ADULT[:-1] if name not in NUMBERS]
    columns = make_column_transformer(
        (StandardScaler(), list(NUMBERS)),
        (
            make_pipeline(
                SimpleImputer(strategy="constant", fill_value="none"),
                OneHotEncoder(handle_unknown="ignore"),
            ),
            words,
        ),
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=300))
    model.fit(parts["train"][list(ADULT[:-1])], parts["train"].income)
    skops.io.dump(model, tmp_path / "m.skops")
    spec = _spec(
        tmp_path, root,
        f"header = false\nnames = {list(ADULT)}\n"
        'label_map = { "<=50K." = "<=50K", ">50K." = ">50K" }\n'
        f'schema = {{ label = -1, categorical = {words}, sensitive = ["sex"], group = "race", '
        'positive = ">50K" }\n'
        '[data.train]\npath = "adult-train.csv.xz"\n[data.test]\npath = "adult-test.csv.xz"',
    )  # fmt: skip
    found = running.command("run", spec, cache=tmp_path / "cache", plugins=())
    assert found.returncode == 0, found.stdout + found.stderr
    record = running.record(tmp_path / "audit")
    assert [split["n"] for split in record["data"]] == [32_561, 16_281]
    assert record["data"][0]["class_counts"] == {"<=50K": 24_720, ">50K": 7_841}
    assert record["data"][1]["class_counts"] == {"<=50K": 12_435, ">50K": 3_846}
    for split, part in zip(record["data"], parts.values(), strict=True):
        assert split["missing"] == int(part.isna().sum().sum())
    assert {k: len(v) for k, v in record["schema"]["categories"].items()} == {
        name: parts["train"][name].nunique() for name in words
    }
    assert record["schema"]["target"] == "income"
    assert record["models"][0]["facts"]["gradients"] == "exact torch twin"
    truth = parts["test"].income.str.rstrip(".")
    expected = np.mean(model.predict(parts["test"][list(ADULT[:-1])]) == truth)
    scalars = running.outcome(tmp_path / "audit", "performance.classification")["scalars"]
    assert scalars["clean_accuracy"]["value"] == pytest.approx(float(expected), abs=1e-15)
    assert expected > 0.85


@pytest.mark.real
def test_real_tables_have_their_published_sizes(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "tabular"
    german = loaded(
        root, tmp_path / "german", {"test": {"path": "german.csv.xz"}}, header=False,
        label_map={"1": "good", "2": "bad"},
        schema={"label": -1, "positive": "bad", "sensitive": [8],
                "categorical": [0, 2, 3, 5, 6, 8, 9, 11, 13, 14, 16, 18, 19]},
    )  # fmt: skip
    assert german["splits"][0]["class_counts"] == {"good": 700, "bad": 300}
    assert german["schema"]["categories"]["0"] == ["A11", "A12", "A13", "A14"]
    assert len(german["schema"]["categories"]) == 13
    assert len(german["schema"]["integer"]) == 7
    banknote = loaded(
        root, tmp_path / "banknote", {"test": {"path": "banknote.csv.xz"}}, header=False,
        schema={"label": 4},
    )  # fmt: skip
    assert banknote["splits"][0]["class_counts"] == {"0": 762, "1": 610}


@pytest.mark.real
def test_location30_is_a_table_of_bits(shared_data: Path, load_data: Any) -> None:
    path = shared_data / "tabular"
    data = load_data(NpzLoader(), root=path, path="location30-0-2504.npz")
    assert data.x.shape == (2505, 446)
    assert data.layout == "table"
    assert set(np.unique(data.x)) == {0, 1}
    assert sorted(set(data.y.tolist())) == list(range(30))
