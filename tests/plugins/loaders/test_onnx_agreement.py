"""onnxruntime and the conversion to torch are held against each other on all the audit's data."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_networks import linear, save

from robreport import DataSchema, Split
from robreport.cache import Cache
from robreport.codec import from_json, to_json
from robreport.isolation import Finished, Job
from robreport.plan import make_plan
from robreport.plugins import Registry
from robreport.prepare import Prepared, prepare
from robreport.spec_reader import read_spec
from robreport_plugins.loaders.onnx_model import OnnxLoader
from robreport_plugins.loaders.onnx_operators import OPERATORS

Check = Callable[..., str]
FACT = "onnxruntime and torch on data.{}"
NAMES = ("ant", "bee", "cat")


def schema(columns: int = 3) -> DataSchema:
    if columns == 0:
        return DataSchema(task="regression", input_shape=(4,), layout="table")
    return DataSchema(
        task="classification", input_shape=(4,), layout="table", classes=NAMES[:columns]
    )


def part(x: Any, role: str = "test", index: Any = None) -> dict[str, Split]:
    index = np.arange(len(x)) if index is None else index
    return {role: Split(role=role, x=x, y=None, index=index, digest="")}


def wrong_far_out(_: Any, x: torch.Tensor) -> torch.Tensor:
    """A Relu that lets what lies below -50 pass: no row near zero shows it."""
    return torch.where(x < -50, x, torch.relu(x))


@pytest.fixture
def load(load_model: Any, tmp_path: Path) -> Callable[..., Any]:
    def call(model: Any, columns: int = 3, **options: Any) -> Any:
        path = save(model, tmp_path / "n.onnx")
        return load_model(OnnxLoader(), path, schema=schema(columns), **options)

    return call


@pytest.mark.parametrize(
    ("last", "columns", "batch"),
    [("", 3, "n"), ("", 3, 2), ("Softmax", 3, 1), ("Sigmoid", 2, "n"), ("", 0, "n")],
)
def test_every_row_is_compared(last: str, columns: int, batch: Any, load: Any) -> None:
    model, _, _ = linear(3 if columns == 3 else 1, last=last, shape=(batch, 4))
    handle = load(model, columns)
    x = np.random.default_rng(0).standard_normal((1030, 4)) * 3
    ((name, words),) = handle.examine(part(x)).items()
    assert name == FACT.format("test")
    assert words.startswith("1,030 of 1,030 rows compared, at most ")
    assert words.endswith(", the same class on each" if columns else " apart (relative)")
    # by hand, of what is compared: the scores before a softmax, in batches of 512
    ours = handle.torch_module()(torch.from_numpy(x).float()).double().numpy()
    theirs = handle.logits(x) if columns else handle.predict(x)[:, None]
    if columns == 2:
        ours, theirs = ours[:, 1:], theirs[:, 1:]
    gap, size = np.abs(ours - theirs).max(axis=1), np.abs(theirs).max(axis=1)
    parts = [slice(i, i + 512) for i in range(0, len(x), 512)]
    largest = max(
        float((gap[p] / np.maximum(size[p], np.median(size[p]))).max()) for p in parts
    )  # fmt: skip
    assert words.split("at most ")[1].split()[0] == f"{largest:.1e}"


def test_the_row_and_class_where_they_part(
    load: Any, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the last of 1,200 rows, where neither the probes nor the first batches reach."""
    monkeypatch.setitem(OPERATORS, "Relu", wrong_far_out)
    model, weight, bias = linear(3, last="Relu")
    handle = load(model)
    x = np.random.default_rng(0).random((1200, 4))
    assert "1,200 of 1,200" in handle.examine(part(x))[FACT.format("test")]
    x[1199] = -100 * weight[:, 1]  # only the second score lies far below zero
    scores = x[1199].astype(np.float32) @ weight + bias
    x[1199] *= 80 / -scores[1]
    score = (x[1199].astype(np.float32) @ weight + bias)[1]
    index = np.arange(1200) * 7
    said = refused(
        lambda: handle.examine(part(x, "ood.far", index)),
        "differ on data.ood.far", f"in row {1199 * 7} (counted from 0)", "for class 'bee'",
        "onnxruntime says 0 and torch -", "tolerance = 0.0001", "gradients = false",
    )  # fmt: skip
    assert float(said.split("and torch ")[1].split(",")[0]) == pytest.approx(score, rel=1e-4)
    assert load(model, gradients=False).examine(part(x)) == {}


def test_nan_on_one_side_is_a_difference(
    load: Any, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        OPERATORS, "Relu", lambda a, x: torch.where(x > 50, torch.nan, torch.relu(x))
    )
    handle = load(linear(3, last="Relu")[0])
    x = np.full((3, 4), 0.1)
    x[1] = linear(3)[1][:, 2] * 1000
    refused(lambda: handle.examine(part(x)), "in row 1 ", "torch nan")


def test_what_it_costs_is_bounded(load: Any) -> None:
    """Of a thousand times the work that is allowed, about a thousandth of each split is compared,
    evenly, and the record says so.
    """
    handle = load(linear(3)[0])
    x = np.random.default_rng(0).random((2000, 4))
    both = handle._both
    work = both._work(x[:1])
    assert work == 2 * (2 * 4 * 3) + 100 * 4  # one product of 4 x 3, multiplied and added, twice
    splits = {**part(x), **part(x[:1000], "train"), **part(x[:0], "extra.none")}
    assert {key.rpartition(".")[2]: v.split(" rows")[0] for key, v in
            both.compare(splits, most=30 * work).items()} == {
        "test": "20 of 2,000", "train": "10 of 1,000", "none": "no",
    }  # fmt: skip
    seen: list[Any] = []
    spied = Split(role="test", x=_Spy(x, seen), y=None, index=np.arange(2000), digest="")
    both.compare({"test": spied}, most=4 * work)
    assert np.concatenate(seen[1:]).tolist() == [0, 500, 1000, 1500]
    assert both.compare({}) == both.compare(part(x[:0])) == {}


class _Spy:
    """An array that notes which rows were read."""

    def __init__(self, x: Any, seen: list[Any]) -> None:
        self.x, self.seen, self.shape = x, seen, x.shape

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Any) -> Any:
        self.seen.append(rows)
        return self.x[rows]


# ---------------------------------------------------------------- in an audit


class _Here:
    """Runs the engine's jobs in this process, and counts them."""

    def __init__(self) -> None:
        self.reports: list[Finished] = []
        self.done: list[str] = []

    def submit(self, job: Job) -> None:
        module, _, function = job.target.partition(":")
        value = getattr(import_module(module), function)(job.payload, lambda *_: None)
        value = from_json(to_json(value), job.key)
        self.done.append(job.key)
        self.reports.append(Finished(key=job.key, value=value, seconds=0, peak_memory=0))

    def next_report(self, _: float) -> Finished:
        return self.reports.pop()


AUDIT = """
[audit]
title = "Both runtimes"
[[models]]
name = "m"
loader = "onnx"
path = "n.onnx"
[data]
task = "classification"
loader = "npz"
path = "d.npz"
schema = { classes = ["ant", "bee", "cat"] }
[data.train]
x = "x"
y = "y"
[data.test]
x = "x"
y = "y"
limit = 150
[data.ood.far]
x = "far"
y = "y_far"
[[metrics]]
id = "performance.classification"
"""


def test_an_audit_compares_what_it_measures_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(linear(3, last="Relu")[0], tmp_path / "n.onnx")
    (tmp_path / "audit.toml").write_text(AUDIT)
    rng = np.random.default_rng(0)

    def arrays(far: Any, n: int = 200) -> None:
        y, y_far = rng.integers(0, 3, n), rng.integers(0, 3, len(far))
        np.savez(tmp_path / "d.npz", x=rng.random((n, 4)), y=y, far=far, y_far=y_far)

    cache = Cache(tmp_path / "cache")
    number = iter(range(9))

    def prepared() -> tuple[Prepared, list[str]]:
        place = tmp_path / f"work-{next(number)}"
        place.mkdir()
        here: Any = _Here()
        plan = make_plan(read_spec(tmp_path / "audit.toml"), Registry())
        return prepare(plan, here, place, cache, lambda _: None), here.done

    arrays(rng.random((30, 4)))
    found, done = prepared()
    assert found.problems == []
    # what no measurement of the model reads is not looked at
    assert list(found.models["m"].examined) == [FACT.format("test")]
    assert "150 of 150 rows" in str(found.models["m"].examined[FACT.format("test")])
    assert "model m" in done
    again, done = prepared()
    assert again.models["m"] == found.models["m"]
    assert "model m" not in done
    # other rows are compared anew, and a wrong one ends the audit before anything is measured
    monkeypatch.setitem(OPERATORS, "Relu", wrong_far_out)
    arrays(rng.random((30, 4)), 201)
    assert prepared()[0].problems == []
    path = tmp_path / "audit.toml"
    path.write_text(
        AUDIT.replace('[data.test]\nx = "x"\ny = "y"', '[data.test]\nx = "far"\ny = "y_far"')
    )
    far = np.random.default_rng(1).random((201, 4))
    far[64:] = linear(3)[1][:, 0] * -500
    arrays(far)
    found, done = prepared()
    assert "model m" in done
    (problem,) = found.problems
    assert "onnxruntime and its conversion to torch differ" in problem
