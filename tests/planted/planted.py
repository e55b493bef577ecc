"""A third-party plugin with a loader, data, and metrics that go wrong in every way."""

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from robreport import (
    Column,
    Comparison,
    LoadedData,
    Metric,
    ModelError,
    ModelHandle,
    Needs,
    Params,
    Result,
    Scalar,
    Table,
    hookimpl,
)


class Linear(ModelHandle):
    """Classifies by the sign of the first feature."""

    def __init__(self, flip: bool) -> None:
        super().__init__()
        self.kind = "planted sign of the first feature"
        self.offers = Needs.CLASSIFICATION
        self.n_outputs = 2
        self.flip = flip

    def predict(self, x):
        return ((np.asarray(x)[:, 0] > 0) != self.flip).astype(np.int64)


class Models:
    summary = "a planted model"

    class Options(Params):
        flip: bool = False
        crash: bool = False

    def load(self, source):
        if source.path is not None and source.path.read_bytes() != b"planted":
            raise ModelError(f"models.{source.name}.path: the file is truncated.")
        if source.options.crash:
            os._exit(9)
        return Linear(source.options.flip)


class Data:
    summary = "planted data"

    class Options(Params):
        n: int = 200
        fault: str = ""

    def load(self, source):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(source.options.n, 3))
        y = (x[:, 0] > 0).astype(np.int64)
        if source.options.fault == "gap":
            x[5, 1] = np.nan
        if source.options.fault == "labels":
            y[3] = 7
        if source.options.fault == "shape":
            x = x[:, :2]
        classes = ("<b>no</b>", "yes</script><script>alert(1)</script>")
        return LoadedData(x=x, y=y, layout="table", source="planted", classes=classes)


class _Planted(Metric):
    title = "Planted"
    question = "Does it go wrong?"
    summary = "It goes wrong."
    reading = "Not at all."
    limits = "Everything."
    knowledge = "nothing"
    needs = Needs.CLASSIFICATION | Needs.LABELS


class Good(_Planted):
    id = "planted.good"
    scalar_help: ClassVar = {"agreement": "share of rows classified right"}

    class Params(Params):
        pause: float = Field(0.0, ge=0, description="Seconds to wait.")
        mark: str = Field("", description="A file that each computation adds a line to.")

    def compute(self, bundle, params, ctx):
        if params.mark:
            with Path(params.mark).open("a", encoding="utf-8") as file:
                file.write(f"{bundle.model.name}\n")
        test = bundle.split("test")
        right = bundle.model.predict(test.x) == test.labels
        steps = max(1, int(params.pause / 0.05))
        for i in range(steps):
            time.sleep(params.pause / steps)
            ctx.progress(i + 1, steps, "waiting")
        value = float(right.mean())
        return Result(
            answer=f"{100 * value:.1f} % of the rows are classified right.",
            scalars={
                "agreement": Scalar(value=value, low=value, high=value, n=len(test), unit="share",
                                    better="higher", method="none, planted"),
                "draw": Scalar(value=float(ctx.rng.normal()), n=1, reason="a single draw"),
            },
            arrays={"right": right},
        )  # fmt: skip


class Raises(_Planted):
    id = "planted.raises"

    def compute(self, bundle, params, ctx):
        raise RuntimeError("planted <b>fault</b>")


class Exits(_Planted):
    id = "planted.exits"

    def compute(self, bundle, params, ctx):
        os._exit(1)


class Segfaults(_Planted):
    id = "planted.segfaults"

    def compute(self, bundle, params, ctx):
        ctypes.string_at(0)


class Forever(_Planted):
    id = "planted.forever"

    def compute(self, bundle, params, ctx):
        while True:
            time.sleep(1)


class Children(_Planted):
    id = "planted.children"

    def compute(self, bundle, params, ctx):
        code = "import time\nwhile True: time.sleep(1)"
        for session in (False, True):
            subprocess.Popen([sys.executable, "-c", code], start_new_session=session)
        while True:
            time.sleep(1)


class Eats(_Planted):
    id = "planted.eats"

    def compute(self, bundle, params, ctx):
        held = []
        while True:
            held.append(np.ones(4_000_000))


class Nan(_Planted):
    id = "planted.nan"

    def compute(self, bundle, params, ctx):
        return Result(
            answer="Not a number.",
            scalars={"agreement": Scalar(value=float("nan"), n=1, reason="planted")},
        )


class Undeclared(_Planted):
    id = "planted.undeclared"

    def compute(self, bundle, params, ctx):
        bundle.split("train")
        return Result(answer="Never reached.")


class Names(Comparison):
    id = "planted.names"
    title = "Planted names"
    question = "What was measured?"
    summary = "Names what it was given."
    consumes = frozenset({"planted.good"})

    def compare(self, outcomes, params, ctx):
        rows = tuple((outcome.about.key,) for outcome in outcomes)
        table = Table(title="Names", columns=(Column(key="name", title="name"),), rows=rows)
        return Result(answer="These are the names.", tables={"names": table})


@hookimpl
def register_metrics(register):
    for metric in (Good, Raises, Exits, Segfaults, Forever, Children, Eats, Nan, Undeclared, Names):
        register(metric)


@hookimpl
def register_model_loaders(register):
    register("planted", Models())


@hookimpl
def register_data_loaders(register):
    register("planted", Data())
