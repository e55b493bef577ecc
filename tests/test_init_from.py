"""`robreport init DIR --from …`: files are recognised by what they hold, and the draft runs."""

from __future__ import annotations

import gzip
import pickle
import tomllib
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from jsonschema import Draft202012Validator
from PIL import Image
from safetensors.torch import save_file
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from robreport import (
    DataFile,
    DataGuess,
    ModelGuess,
    ModelSource,
    SplitSource,
    hookimpl,
)
from robreport.codec import from_json, to_json
from robreport.discovery import Candidate
from robreport.drafting import survey as draft_survey
from robreport.drafting import write_draft
from robreport.drafting.draft import make_draft
from robreport.drafting.guess import guess_data, guess_model
from robreport.drafting.survey import Survey, rounded
from robreport.drafting.text import draft_text
from robreport.drafting.toml_text import assignment, comment, toml_value
from robreport.errors import DataError, ModelError, OutputError, RobreportError, UsageError
from robreport.isolation import Finished, Job
from robreport.metric import Params
from robreport.plan import make_plan
from robreport.plugins import Registry
from robreport.schema import audit_schema
from robreport.spec_reader import read_spec
from robreport_plugins.loaders.file_kind import file_kind
from robreport_plugins.loaders.network_guess import linear_chain
from tests.running import command

RNG = np.random.default_rng(7)
X = RNG.normal(size=(240, 4)).round(4)
NAMES = ["a", "b", "c", "d"]


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small models and data of every kind."""
    folder = tmp_path_factory.mktemp("files")
    table = pd.DataFrame(X, columns=NAMES)
    words = np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")
    values = X @ [1.0, -2.0, 0.5, 3.0] + 0.1 * X[:, 0] ** 2
    table.assign(target=words).to_csv(folder / "words.csv", index=False)
    table.assign(price=values).to_csv(folder / "prices.csv", index=False, sep=";")
    skops.io.dump(LogisticRegression().fit(X, words), folder / "logistic.skops")
    linear = make_pipeline(StandardScaler(), LinearRegression()).fit(table, values)
    skops.io.dump(linear, folder / "linear.skops")
    (folder / "logistic.pkl").write_bytes(pickle.dumps(LogisticRegression().fit(X, words)))
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    save_file(network.state_dict(), folder / "mlp.safetensors")
    torch.save(network.state_dict(), folder / "mlp.pt")
    convolution = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Linear(8, 2))
    save_file(convolution.state_dict(), folder / "conv.safetensors")
    y = (words == "yes").astype(np.int64)
    np.savez(folder / "parts.npz", x_train=X[:160], y_train=y[:160], x_test=X[160:],
             y_test=y[160:])  # fmt: skip
    np.savez(folder / "whole.npz", x=X, labels=y)
    (folder / "empty").write_bytes(b"")
    (folder / "twice.csv").write_text("a,b,a,y\n" + "1.5,2,3,0\n4,5,6.5,1\n" * 20)
    return folder


class _Here:
    """Runs the engine's jobs in this process: starting one for each takes longer than they do."""

    def __init__(self) -> None:
        self.reports: list[Finished] = []

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, job: Job) -> None:
        module, _, function = job.target.partition(":")
        value = getattr(import_module(module), function)(job.payload, lambda *_: None)
        value = from_json(to_json(value), job.key)
        self.reports.append(Finished(key=job.key, value=value, seconds=0, peak_memory=0))

    def next_report(self, _: float) -> Finished:
        return self.reports.pop()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft_survey, "open_workshop", lambda plan: _Here())


def _loaded(spec: Path) -> Iterator[tuple[str, Any, Any]]:
    """Each model of an audit with its test inputs and labels, by the loaders alone."""
    from robreport.inputs import make_schema

    registry = Registry()
    plan = make_plan(read_spec(spec), registry)
    data = plan.spec.data
    assert data is not None
    split = next(s for s in plan.splits if s.role == "test")
    found = registry.data_loaders[split.loader].load(
        SplitSource(
            role="test",
            base=plan.spec.base,
            root=split.root,
            options=split.options,
            seed=0,
            task=data.task,
            declared_schema=data.columns.model_dump(exclude_none=True),
        )
    )
    schema = make_schema(
        {"test": found}, task=data.task, bounds=data.bounds, classes=data.columns.classes,
        found_classes=found.classes, features=data.columns.features, target="",
    )  # fmt: skip
    for model in plan.models:
        handle = registry.model_loaders[model.entry.loader].load(
            ModelSource(name=model.name, path=model.path, base=plan.spec.base,
                        options=model.options, trusted=model.entry.trusted, schema=schema)
        )  # fmt: skip
        yield model.name, handle.predict(found.x), (found.y, found)


# ---------------------------------------------------------------------------- drafts that run


@pytest.mark.usefixtures("here")
def test_a_logistic_regression_and_a_table(files: Path, tmp_path: Path) -> None:
    drafted = write_draft(tmp_path / "out", models=[files / "logistic.skops"],
                          data=files / "words.csv")  # fmt: skip
    assert drafted.problems == ()
    text = drafted.spec.read_text(encoding="utf-8")
    tree = tomllib.loads(text)
    assert text.startswith("#:schema ./audit.schema.json\n")
    assert (drafted.spec.parent / "audit.schema.json").is_file()
    assert tree["models"][0]["loader"] == "sklearn"
    assert tree["data"]["schema"] == {"label": "target"}
    assert tree["data"]["task"] == "classification"
    # the metrics are those that such a model can run, and what it cannot is said
    ids = {entry["id"] for entry in tree["metrics"]}
    assert {"attacks.suite", "performance.classification"} <= ids
    assert "performance.regression" not in ids
    assert "# Left out: performance.regression needs regression" in text
    assert not any("require" in entry for entry in tree["metrics"])
    assert '# require = ["robust_accuracy[linf, ' in text
    # bounds hold every row of both parts, closely
    low, high = (np.array(side) for side in tree["data"]["bounds"])
    assert (low <= X.min(axis=0)).all()
    assert (high >= X.max(axis=0)).all()
    assert np.abs(low - X.min(axis=0)).max() < 0.01
    # what was drafted is what was trained: the estimator itself is the oracle
    ((_, predicted, (labels, data)),) = _loaded(drafted.spec)
    direct = skops.io.load(files / "logistic.skops").predict(data.x)
    assert [data.classes[code] for code in predicted] == direct.tolist()
    assert (predicted == labels).mean() > 0.9
    assert any("guessed to be 'target', by its name" in line for line in drafted.found)


@pytest.mark.usefixtures("here")
def test_names_that_would_break_out_of_the_text(tmp_path: Path) -> None:
    """Quotes, line breaks, brackets and signs of control in names of files and columns."""
    names = ['a "q" \'', "b\n[x]\\", "c]='''#", "d\x01\u2028\x7f\u00e9z", 'la"bel\n[[models]]']
    table = pd.DataFrame(np.column_stack([X, X[:, 0] > 0]), columns=names)
    table.to_csv(tmp_path / "d[1] #\n.csv", index=False)
    skops.io.dump(LogisticRegression().fit(X, X[:, 0] > 0), tmp_path / 'm "x"\n.skops')
    drafted = write_draft(tmp_path / "out", models=[tmp_path / 'm "x"\n.skops'],
                          data=tmp_path / "d[1] #\n.csv", label=names[-1])  # fmt: skip
    assert drafted.problems == ()
    tree = tomllib.loads(drafted.spec.read_text(encoding="utf-8"))
    assert tree["data"]["schema"]["label"] == names[-1]
    assert len(tree["models"]) == 1
    ((_, predicted, (labels, _)),) = _loaded(drafted.spec)
    assert (predicted == labels).mean() > 0.9


@pytest.mark.usefixtures("here")
def test_a_regression_and_a_table_with_semicolons(files: Path, tmp_path: Path) -> None:
    drafted = write_draft(tmp_path, models=[files / "linear.skops"], data=files / "prices.csv")
    assert drafted.problems == ()
    tree = tomllib.loads(drafted.spec.read_text(encoding="utf-8"))
    assert (tree["data"]["task"], tree["data"]["delimiter"]) == ("regression", ";")
    assert tree["data"]["schema"] == {"label": "price"}
    assert [entry["id"] for entry in tree["metrics"] if "performance" in entry["id"]] == [
        "performance.regression"
    ]
    ((_, predicted, (values, data)),) = _loaded(drafted.spec)
    table = pd.DataFrame(data.x, columns=data.features)
    np.testing.assert_allclose(predicted, skops.io.load(files / "linear.skops").predict(table))
    assert np.abs(predicted - values).mean() < 0.5
    assert any("the column that the model does not take" in line for line in drafted.found)


@pytest.mark.usefixtures("here")
def test_a_network_in_onnx_and_arrays(files: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    state = torch.load(files / "mlp.pt", weights_only=True)
    _write_onnx(onnx, state, tmp_path / "mlp.onnx")
    drafted = write_draft(tmp_path / "out", models=[tmp_path / "mlp.onnx", files / "mlp.pt"],
                          data=files / "parts.npz")  # fmt: skip
    assert drafted.problems == ()
    tree = tomllib.loads(drafted.spec.read_text(encoding="utf-8"))
    assert [(m["name"], m["loader"]) for m in tree["models"]] == [
        ("mlp", "onnx"), ("mlp-2", "torch"),
    ]  # fmt: skip
    assert tree["models"][1]["architecture"] == [
        ["flatten"], ["linear", "0"], ["relu"], ["linear", "2"],
    ]  # fmt: skip
    assert tree["data"]["test"] == {"x": "x_test", "y": "y_test"}
    # several models: what compares them is there
    assert "attacks.compare" in {entry["id"] for entry in tree["metrics"]}
    (_, first, (_, data)), (_, second, _) = _loaded(drafted.spec)
    hidden = np.maximum(data.x @ state["0.weight"].numpy().T + state["0.bias"].numpy(), 0)
    scores = hidden @ state["2.weight"].numpy().T + state["2.bias"].numpy()
    np.testing.assert_array_equal(first, scores.argmax(axis=1))
    np.testing.assert_array_equal(second, scores.argmax(axis=1))


@pytest.mark.slow
def test_the_command_with_boosted_trees_categories_and_gaps(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    table = pd.DataFrame(
        {"id": np.arange(300) * 7, "age": RNG.integers(18, 90, 300).astype(float),
         "hours": RNG.normal(40, 9, 300).round(1), "job": RNG.choice(["b", "a", "c"], 300)}
    )  # fmt: skip
    table.loc[::11, "hours"] = np.nan
    rich = (table.age > 50) ^ (table.job == "a")
    # as an author may number them: the sorted order would be refused
    jobs = table.job.astype(pd.CategoricalDtype(["c", "a", "b"]))
    inputs = table.drop(columns="id").assign(job=jobs)
    model = xgboost.XGBClassifier(n_estimators=6, max_depth=3, enable_categorical=True, n_jobs=1)
    model.fit(inputs, rich.astype(int)).save_model(tmp_path / "boosted.json")
    table = table.assign(income=np.where(rich, ">50K", "<=50K"), note=table.id.map("row {}".format))
    table.to_csv(tmp_path / "adult.csv.gz", index=False, na_rep="?")
    run = command("init", "out", "--from", "boosted.json", "--data", "adult.csv.gz",
                  cache=tmp_path / "cache", plugins=(), cwd=tmp_path)  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.rstrip().endswith("next: robreport run out/audit.toml")
    assert "performance.classification@boosted" in run.stdout  # the check ran
    spec = tmp_path / "out" / "audit.toml"
    text = spec.read_text(encoding="utf-8")
    tree = tomllib.loads(text)
    assert tree["data"]["schema"] == {
        "label": "income", "categorical": ["job"], "frozen": ["job"], "drop": ["id", "note"],
    }  # fmt: skip
    assert tree["data"]["categories"] == {"job": ["c", "a", "b"]}
    assert "Values are missing in hours." in " ".join(text.replace("# ", "").split())
    assert Draft202012Validator(audit_schema(Registry())).is_valid(tree)
    ((_, predicted, (_, data)),) = _loaded(spec)
    np.testing.assert_array_equal(predicted, model.predict(inputs.iloc[data.index]))
    again = command("init", "out", "--from", "boosted.json", "--data", "adult.csv.gz",
                    cache=tmp_path / "cache", plugins=(), cwd=tmp_path)  # fmt: skip
    assert again.returncode == 3
    assert "exists already; nothing was written." in again.stderr
    assert spec.read_text(encoding="utf-8") == text


# --------------------------------------------------------------------- what is said of the files


def _model(registry: Registry, path: Path, *, trusted: bool = False) -> tuple[str, ModelGuess]:
    return guess_model(registry, path, trusted=trusted)


def _data(registry: Registry, path: Path, **known: Any) -> DataGuess:
    return guess_data(registry, DataFile(path=path, **known), "--data")[1]


def test_weights_that_leave_their_layers_open_ask_for_an_architecture(
    registry: Registry, files: Path, tmp_path: Path
) -> None:
    loader, guess = _model(registry, files / "conv.safetensors")
    assert loader == "torch"
    assert list(guess.missing) == ["architecture"]
    assert "0.weight [2, 1, 3, 3]" in guess.missing["architecture"]
    draft = make_draft(registry, tmp_path, models=[files / "conv.safetensors"],
                       data=files / "parts.npz")  # fmt: skip
    text = draft_text(draft, Survey(), registry)
    assert '# architecture = ""' in text
    assert "Needed before it runs" in text
    tomllib.loads(text)


def test_shapes_of_a_chain_leave_one_order() -> None:
    chain = {"fc10.weight": (2, 8), "fc10.bias": (2,), "fc9.weight": (8, 4), "fc9.bias": (8,)}
    assert linear_chain(chain) == ["fc9", "fc10"]
    assert linear_chain({"w.weight": (3, 4)}) == ["w"]
    for other in (
        {**chain, "running_mean": (8,)},
        {**chain, "fc9.weight": (7, 4)},
        {**chain, "fc9.weight": (8, 1, 3, 3)},
        {"out.weight": (4, 4), "in.weight": (4, 4)},  # either could be first
        {"fc1.weight": (2, 8), "fc2.weight": (4, 8)},
        {"fc1.bias": (2,)},
        {},
    ):
        assert linear_chain(other) == []


def test_a_pickle_needs_trust(registry: Registry, files: Path) -> None:
    with pytest.raises(UsageError, match="reading one runs whatever code it holds; save it in"):
        _model(registry, files / "logistic.pkl")
    loader, guess = _model(registry, files / "logistic.pkl", trusted=True)
    assert (loader, bool(guess.trust)) == ("sklearn", True)


class _Trap:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, ("raise SystemExit('this pickle was opened')",)


def test_a_pickle_is_not_opened(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "trap.bin").write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(UsageError, match="a pickle or joblib file"):
        _model(registry, tmp_path / "trap.bin")
    assert _model(registry, tmp_path / "trap.bin", trusted=True)[0] == "sklearn"


def test_content_decides_and_not_the_name(registry: Registry, files: Path, tmp_path: Path) -> None:
    for name, loader in (("logistic.skops", "sklearn"), ("mlp.safetensors", "torch"),
                         ("mlp.pt", "torch")):  # fmt: skip
        other = tmp_path / f"{loader}.onnx"
        other.write_bytes((files / name).read_bytes())
        assert _model(registry, other)[0] == loader
    packed = tmp_path / "table.bin"
    packed.write_bytes(gzip.compress((files / "words.csv").read_bytes()))
    assert guess_data(registry, DataFile(path=packed), "--data")[0] == "csv"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x08\x08\x12\x07pytorch", "onnx"), (b"\x00\x00\x08\x03" + b"\0" * 12, "idx"),
        (b"\x00\x00\x0d\x01\0\0\0\x01", "idx"), (b"\x89HDF\r\n", "hdf5"),
        (b"MATLAB 5.0 MAT-file, Platform", "mat"), (b"PAR1....", "parquet"),
        (b'{"learner":{', "xgboost json"), (b' {\n "version": [3], "learner": {', "xgboost json"),
        (b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{", "xgboost ubj"),
        (b"tree\nversion=v4\nnum_class=1", "lightgbm"), (b"tree,version\n1,2\n", ""),
        (b"\x80\x04\x95", "pickle"), (b"\x1f\x8b\x08", "packed"), (b"", ""), (b"a,b\n1,2\n", ""),
        (b'{"a": 1}', ""), (b"PK\x03\x04 broken", "zip"),
        (b"\x20\0\0\0\0\0\0\0" + b'{"__metadata__":{}}', "safetensors"),
    ],
)  # fmt: skip
def test_formats_by_their_first_bytes(tmp_path: Path, head: bytes, kind: str) -> None:
    (tmp_path / "file").write_bytes(head)
    assert file_kind(tmp_path / "file") == kind


@pytest.mark.parametrize("pack", [0, 3, 9, ("gzip", 3), ("xz", 1)])
def test_however_joblib_packs_a_pickle(registry: Registry, tmp_path: Path, pack: Any) -> None:
    joblib.dump({"a": X}, tmp_path / "m.joblib", compress=pack)
    with pytest.raises(UsageError, match="a pickle or joblib file"):
        _model(registry, tmp_path / "m.joblib")


def test_a_table_may_begin_like_a_packed_file(registry: Registry, tmp_path: Path) -> None:
    path = _table(tmp_path, _rows(NUMBERS, BITS, head="x^2,y"))
    assert _data(registry, path).schema["label"] == "y"


def test_programs_of_torch_need_trust(registry: Registry, files: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's remarks on its own way of saving
        torch.jit.trace(torch.nn.Linear(4, 2), torch.zeros(1, 4)).save(str(tmp_path / "s.pt"))
    with pytest.raises(UsageError, match="a torchscript program, and it holds code that is run"):
        _model(registry, tmp_path / "s.pt")
    draft = make_draft(registry, tmp_path, models=[tmp_path / "s.pt", files / "logistic.pkl"],
                       data=files / "words.csv", trusted=True)  # fmt: skip
    assert [m.entry()["loader"] for m in draft.models] == ["torchscript", "sklearn"]
    assert all(m.entry()["trusted"] for m in draft.models)
    assert "trusted = true was asked for" in draft_text(draft, Survey(), registry)


def test_a_folder_and_nothing_are_told_apart(tmp_path: Path) -> None:
    assert file_kind(tmp_path) == "folder"
    assert file_kind(tmp_path / "none") == ""
    assert file_kind(Path("/dev/null")) == ""


# ------------------------------------------------------------------------------------- tables


def _table(folder: Path, text: str, name: str = "t.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_text(text, encoding=encoding)
    return path


def _rows(*columns: list[Any], head: str = "", sep: str = ",") -> str:
    lines = [sep.join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join([head, *lines] if head else lines) + "\n"


NUMBERS = [round(0.37 * i % 5, 3) + 0.5 for i in range(60)]
BITS = [i % 2 for i in range(60)]


@pytest.mark.parametrize(
    ("text", "options", "schema", "task"),
    [
        (_rows(NUMBERS, BITS, head="a,y"), {}, {"label": "y"}, "classification"),
        # by its name, wherever it stands; else the last
        (_rows(BITS, NUMBERS, head="Target,b"), {}, {"label": "Target"}, "classification"),
        (_rows(BITS, NUMBERS, head="u,v"), {}, {"label": "v"}, "regression"),
        (_rows(NUMBERS, BITS), {"header": False}, {"label": -1}, "classification"),
        (_rows(NUMBERS, BITS, head="a\ty", sep="\t"), {"delimiter": "\t"}, {"label": "y"},
         "classification"),
        (_rows([str(n).replace(".", ",") for n in NUMBERS], BITS, head="a;y", sep=";"),
         {"delimiter": ";", "decimal": ","}, {"label": "y"}, "classification"),
        (_rows(["x", "z", "w"] * 20, BITS, head="a,y"), {},
         {"label": "y", "categorical": ["a"], "frozen": ["a"]}, "classification"),
        (_rows(["x", "z", "w"] * 20, NUMBERS, ["p", "q"] * 30),
         {"header": False}, {"label": -1, "categorical": [0], "frozen": [0]}, "classification"),
        (_rows([*NUMBERS[:59], "-"], BITS, head="a,y"),
         {"missing": ["", "?", "NA", "N/A", "NaN", "nan", "null", "-"]}, {"label": "y"},
         "classification"),
        (_rows(list(range(60)), NUMBERS, BITS, head="id,a,y"), {},
         {"label": "y", "drop": ["id"]}, "classification"),
        (_rows([f"n{i}" for i in range(60)], NUMBERS, NUMBERS, head="who,a,price"), {},
         {"label": "price", "drop": ["who"]}, "regression"),
        (_rows(NUMBERS, [1, *[0] * 59], head="a,y"), {"stratify": False}, {"label": "y"},
         "classification"),
    ],
)  # fmt: skip
def test_what_a_table_says_of_itself(
    registry: Registry, tmp_path: Path, text: str, options: Any, schema: Any, task: str
) -> None:
    guess = _data(registry, _table(tmp_path, text))
    assert dict(guess.options) == {"test_size": 0.3, **options}
    assert dict(guess.schema) == schema
    assert guess.task == task
    assert guess.kind == f"table of 60 rows and {text.split(chr(10))[0].count(_sep(guess)) + 1}" \
        " columns"  # fmt: skip


def _sep(guess: DataGuess) -> str:
    return str(guess.options.get("delimiter", ","))


def test_what_is_known_already_counts_more(registry: Registry, tmp_path: Path) -> None:
    path = _table(tmp_path, _rows(NUMBERS, BITS, NUMBERS, NUMBERS, head="a,y,b,extra"))
    assert _data(registry, path, label="b").schema["label"] == "b"
    assert _data(registry, path, label="0").schema["label"] == "a"
    assert _data(registry, path, task="regression").task == "regression"
    known = _data(registry, path, features=("a", "b"))
    assert dict(known.schema) == {"label": "y", "drop": ["extra"]}
    only = _data(registry, path, features=("a", "y", "b"))
    assert only.schema["label"] == "extra"
    apart = _data(registry, path, alone=False)
    assert "test_size" not in apart.options
    with pytest.raises(DataError, match="--label names the column 'z', and the file has a, y"):
        _data(registry, path, label="z")


def test_the_models_order_of_categories_is_written(registry: Registry, tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    words = np.array(["c", "a", "b"])
    table = pd.DataFrame({"x": np.arange(90.0), "job": words[np.arange(90) % 3]})
    inputs = table.assign(job=table.job.astype(pd.CategoricalDtype(words)))
    model = lightgbm.LGBMClassifier(n_estimators=2, min_data_per_group=1, n_jobs=1, verbose=-1)
    model.fit(inputs, np.arange(90) % 3 == 1)
    model.booster_.save_model(tmp_path / "m.txt")
    said = _model(registry, tmp_path / "m.txt")[1]
    assert said.categories == {"job": ("c", "a", "b")}
    known = {"features": said.features, "categories": said.categories}
    path = _table(tmp_path, table.assign(y=np.arange(90) % 2).to_csv(index=False))
    assert _data(registry, path, **known).options["categories"] == {"job": ["c", "a", "b"]}
    # what the model never saw may be a spelling of what it did: loading says what to declare
    other = table.assign(y=np.arange(90) % 2).replace({"job": {"c": "C"}})
    path = _table(tmp_path, other.to_csv(index=False))
    assert "categories" not in _data(registry, path, **known).options


def test_an_old_encoding_is_guessed(registry: Registry, tmp_path: Path) -> None:
    path = _table(tmp_path, _rows(["é", "ü"] * 30, BITS, head="a,y"), encoding="latin-1")
    assert _data(registry, path).options["encoding"] == "latin-1"


# ------------------------------------------------------------------------------------- arrays


def test_arrays_by_their_names(registry: Registry, files: Path, tmp_path: Path) -> None:
    parts = _data(registry, files / "parts.npz")
    assert {role: dict(keys) for role, keys in parts.splits.items()} == {
        "train": {"x": "x_train", "y": "y_train"}, "test": {"x": "x_test", "y": "y_test"},
    }  # fmt: skip
    whole = _data(registry, files / "whole.npz")
    assert (dict(whole.options), list(whole.splits)) == ({"y": "labels"}, ["test"])
    np.savez(tmp_path / "odd.npz", foo=X, bar=BITS * 4)
    with pytest.raises(DataError, match="its arrays are 'foo', 'bar', and inputs and labels are"):
        _data(registry, tmp_path / "odd.npz")
    assert dict(_data(registry, tmp_path / "odd.npz", label="bar").options) == {
        "x": "foo", "y": "bar",
    }  # fmt: skip
    np.savez(tmp_path / "values.npz", x=X, y=X[:, 0])
    assert _data(registry, tmp_path / "values.npz").task == "regression"
    np.savez(tmp_path / "pictures.npz", images=np.zeros((3, 8, 8, 3), np.uint8), labels=[0, 1, 0])
    assert dict(_data(registry, tmp_path / "pictures.npz").options) == {
        "x": "images", "y": "labels", "layout": "NHWC",
    }  # fmt: skip


def test_a_folder_of_idx_files(registry: Registry, tmp_path: Path) -> None:
    images = b"\0\0\x08\x03" + np.array([2, 3, 3], ">u4").tobytes() + bytes(18)
    labels = b"\0\0\x08\x01" + np.array([2], ">u4").tobytes() + b"\0\1"
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(images)
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    loader, guess = guess_data(registry, DataFile(path=tmp_path), "--data")
    assert (loader, guess.key, list(guess.splits)) == ("idx", "", ["train", "test"])
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UsageError, match="is no data that an installed loader recognises"):
        guess_data(registry, DataFile(path=tmp_path), "--data")


def test_a_parquet_file_is_a_table_like_any(registry: Registry, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"a": NUMBERS, "b": ["x", None, "z"] * 20, "y": BITS})
    table.to_parquet(tmp_path / "t.parquet")
    guess = _data(registry, tmp_path / "t.parquet")
    assert dict(guess.schema) == {"label": "y", "categorical": ["b"], "frozen": ["b"]}
    assert (guess.task, guess.options["test_size"]) == ("classification", 0.3)
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is a damaged Parquet file"):
        _data(registry, tmp_path / "cut.parquet")


def test_folders_of_images(registry: Registry, tmp_path: Path) -> None:
    def picture(place: str, size: tuple[int, int] = (6, 5), mode: str = "L") -> None:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size).save(tmp_path / place)

    for name in ("val/cat/1.png", "val/dog/1.png", "train/cat/1.jpg", "train/dog/2.JPEG"):
        picture(name)
    guess = _data(registry, tmp_path)
    assert {r: dict(k) for r, k in guess.splits.items()} == {"train": {}, "test": {"path": "val"}}
    assert (dict(guess.options), guess.key) == ({}, "")
    flat = _data(registry, tmp_path / "val")
    assert (dict(flat.options), list(flat.splits)) == ({"path": "."}, ["test"])
    picture("val/dog/2.png", (7, 7), "RGB")
    picture("val/cat/3.png")
    mixed = _data(registry, tmp_path / "val")
    assert mixed.options["size"] == [5, 6]  # height before width
    assert mixed.options["mode"] == "rgb"


# -------------------------------------------------------------------------- files and bad input


def test_files_are_pointed_at_or_copied(registry: Registry, files: Path, tmp_path: Path) -> None:
    models = [files / "logistic.skops"]
    draft = make_draft(registry, tmp_path / "a" / "b", models=models, data=files / "words.csv")
    path = tmp_path / "a" / "b" / draft.models[0].path
    assert path.resolve() == (files / "logistic.skops").resolve()
    assert not Path(draft.models[0].path).is_absolute()
    copied = make_draft(registry, tmp_path / "c", models=models * 2, copy=True,
                        train=files / "words.csv", test=files / "words.csv")  # fmt: skip
    assert [m.path for m in copied.models] == ["logistic.skops"] * 2
    assert [m.name for m in copied.models] == ["logistic", "logistic-2"]
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["logistic.skops", "words.csv"]
    assert copied.data.splits == {"train": {"path": "words.csv"}, "test": {"path": "words.csv"}}


def test_train_and_test_files_are_merged(registry: Registry, tmp_path: Path, files: Path) -> None:
    one = _table(tmp_path, _rows(["x", "z"] * 30, NUMBERS, BITS, head="a,b,y"), "one.csv")
    two = _table(tmp_path, _rows(NUMBERS, ["p", "q"] * 30, BITS, head="a,b,y"), "two.csv")
    draft = make_draft(registry, tmp_path / "out", models=[files / "logistic.skops"], data=one,
                       test=two)  # fmt: skip
    assert draft.data.schema["categorical"] == ["a", "b"]
    assert draft.data.splits == {"train": {"path": "../one.csv"}, "test": {"path": "../two.csv"}}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "needs data to audit the models on: say --data FILE."),
        ({"data": "words.csv", "train": "words.csv", "test": "words.csv"}, "with both --train and"),
        ({"train": "words.csv"}, "--train needs the test data as well"),
        ({"data": "none.csv"}, "none.csv does not exist."),
        ({"data": "mlp.pt"}, "mlp.pt: is no data that an installed loader recognises by its"),
        ({"data": "words.csv", "models": ["none.onnx"]}, "none.onnx does not exist."),
        ({"data": "words.csv", "models": ["words.csv"]}, "is no model that an installed loader"),
        ({"data": "words.csv", "models": ["logistic.skops", "linear.skops"]},
         "logistic.skops is for classification and linear.skops is for regression; one audit"),
        ({"data": "words.csv", "label": "targt"}, "Did you mean 'target'?"),
        ({"data": "empty"}, "--data: empty: the file is empty; export or download it again."),
        ({"data": "words.csv", "models": ["empty"]}, "--from: empty: the file is empty;"),
        ({"data": "twice.csv"}, "twice.csv: two of its columns are called 'a'; rename one."),
    ],
)  # fmt: skip
def test_what_cannot_be_drafted_is_one_sentence_and_leaves_nothing(
    registry: Registry, files: Path, tmp_path: Path, keys: dict[str, Any], words: str
) -> None:
    models = [files / name for name in keys.pop("models", ["logistic.skops"])]
    places = {k: files / v for k, v in keys.items() if k != "label"}
    with pytest.raises(RobreportError) as caught:
        make_draft(registry, tmp_path / "out", models=models, label=keys.get("label", ""), **places)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3
    assert not (tmp_path / "out" / "audit.toml").exists()


@pytest.mark.parametrize("cut", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("name", ["logistic.skops", "mlp.safetensors", "mlp.pt"])
def test_a_truncated_model_is_one_sentence(
    registry: Registry, files: Path, tmp_path: Path, name: str, cut: float
) -> None:
    whole = (files / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises((ModelError, UsageError)) as caught:
        _model(registry, tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written(registry: Registry, files: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is no folder"):
        make_draft(registry, tmp_path / "file", models=[files / "logistic.skops"],
                   data=files / "words.csv")  # fmt: skip


# --------------------------------------------------------------------------- third-party loaders


class _Options(Params):
    size: int = 1


class _Loader:
    summary = "planted"
    Options = _Options

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def load(self, source: Any) -> Any:
        raise NotImplementedError

    def recognise(self, path: Path) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class _Mute:
    summary = "planted"
    Options = _Options

    def load(self, source: Any) -> Any:
        raise NotImplementedError


def _third_party(**loaders: Any) -> Registry:
    class Plugin:
        @hookimpl
        def register_model_loaders(self, register: Any) -> None:
            for name, loader in loaders.items():
                register(name, loader)

    return Registry(
        candidates=[Candidate(name="p", distribution="p", version="1", module="p", load=Plugin)]
    )


def test_third_party_loaders_take_part(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"planted")
    sure, unsure = ModelGuess(kind="sure"), ModelGuess(kind="unsure", certainty=0.1)
    registry = _third_party(
        a=_Loader(unsure), b=_Loader(sure), c=_Loader(None), d=_Mute(), e=_Loader("nonsense"),
        f=_Loader(ZeroDivisionError("planted")),
    )  # fmt: skip
    assert guess_model(registry, tmp_path / "m", trusted=False) == ("b", sure)
    with pytest.raises(RobreportError, match="the loader 'f' broke: ZeroDivisionError: planted"):
        guess_model(_third_party(f=_Loader(ZeroDivisionError("planted"))), tmp_path / "m",
                    trusted=False)  # fmt: skip
    with pytest.raises(UsageError, match=r"recognises by its content \(none\); declare it by"):
        guess_model(_third_party(d=_Mute()), tmp_path / "m", trusted=False)


# ----------------------------------------------------------------------------------- the writing


@pytest.mark.parametrize(
    "value",
    ["plain", 'quo"te\\', "line\nbreak\ttab\x7f\x00\x1f", "€ 😀", 3, -0.1, 1e300, True, [],
     [1.5, "a", [2]], {"a b": 1, "c": {"d": [True]}}, float("inf")],
)  # fmt: skip
def test_what_is_written_is_what_toml_reads(value: Any) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}") == {"x": value}
    assert tomllib.loads("\n".join(assignment("a key", value))) == {"a key": value}


def test_long_arrays_run_over_lines() -> None:
    value = [[0.1 * i for i in range(90)], ["x" * 40] * 9]
    lines = assignment("bounds", value[0])
    assert max(map(len, lines)) <= 98
    assert tomllib.loads("\n".join(lines)) == {"bounds": value[0]}
    assert tomllib.loads("\n".join(assignment("n", value))) == {"n": value}


def test_a_comment_stays_one() -> None:
    lines = comment("A name\n[audit]\rtitle = 'x'\u2028\x1b[2J and more. " * 9)
    assert all(line.startswith("# ") and line.isprintable() for line in lines)
    assert tomllib.loads("\n".join(lines)) == {}


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (12.3456, 12.34, 12.35), (-12.3456, -12.35, -12.34),
     (0.3, 0.3, 0.3), (123456.0, 123400.0, 123500.0)],
)  # fmt: skip
def test_bounds_are_rounded_outwards(value: float, low: float, high: float) -> None:
    assert (rounded(value, up=False), rounded(value, up=True)) == (low, high)


def _write_onnx(onnx: Any, state: dict[str, torch.Tensor], path: Path) -> None:
    """Write a network of two linear layers by hand."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "2.weight", "2.bias"], ["y"], transB=1),
    ]
    weights = [onnx.numpy_helper.from_array(v.numpy(), k) for k, v in state.items()]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "mlp", [helper.make_tensor_value_info("x", kind, ["n", 4])],
        [helper.make_tensor_value_info("y", kind, ["n", 2])], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
