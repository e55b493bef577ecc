"""Metrics that keep the contract, from which the broken twins are derived one fault at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

import robreport as rr


class GoodAccuracy(rr.Metric):
    """Everything a result can hold, at toy size."""

    id = "twin.accuracy"
    title = "Accuracy"
    question = "How often is the model right?"
    summary = "Predictions are compared with labels. The interval is a normal approximation."
    reading = "Higher is better."
    limits = "It says nothing about inputs of another kind."
    references = ("A textbook.",)
    knowledge = "black box"
    needs = rr.Needs.LABELS | rr.Needs.CLASSIFICATION
    splits = ("test", "train?")
    scalar_help: ClassVar = {
        "accuracy": "share of right predictions",
        "accuracy[class]": "the same for one class",
        "train_accuracy": "share of right predictions on the training data",
    }

    class Params(rr.Params):
        draws: int = Field(10, ge=1, description="Noise draws.")

    def compute(self, bundle: rr.Bundle, params: Any, ctx: rr.Context) -> rr.Result:
        ctx.progress(0, 2, "predicting")
        test = bundle.split("test")
        right = (bundle.model.predict(test.x) == test.labels).astype(np.int64)
        scalars = {"accuracy": share(right)}
        for code, name in enumerate(bundle.schema.classes):
            scalars[f"accuracy[{name}]"] = share(right[test.labels == code])
        if "train" in bundle.splits:
            train = bundle.split("train")
            scalars["train_accuracy"] = share(bundle.model.predict(train.x) == train.labels)
        noise = ctx.rng.normal(size=params.draws)
        ctx.progress(2, 2, "done")
        return rr.Result(
            answer=f"The model is right on {int(right.sum())} of {right.size} examples.",
            scalars=scalars,
            tables={"right": table(right)},
            figures={"right": bars([1, 2, 3])},
            images={"noise": grid()},
            findings=(
                rr.Finding(
                    severity="low", claim="It errs.", evidence=("accuracy",), recommendation="Look."
                ),
            ),
            caveats=(rr.Caveat(code="few-examples", detail="A toy."),),
            checks=(rr.Check(name="labels", passed=True, detail="All are known."),),
            arrays={"right": right, "noise": noise},
        )


class GoodGradient(GoodAccuracy):
    """Reads logits and gradients, under a threat, and keeps something in an artifact."""

    id = "twin.gradient"
    needs = rr.Needs.LABELS | rr.Needs.CLASSIFICATION | rr.Needs.LOGITS | rr.Needs.GRADIENTS
    splits = ("test",)
    threats = "required"
    norms = ("Linf", "L2")
    scalar_help: ClassVar = {"slope[threat, eps]": "mean length of the gradient, times eps"}

    def compute(self, bundle: rr.Bundle, params: Any, ctx: rr.Context) -> rr.Result:
        import torch

        test = bundle.split("test")
        x = torch.from_numpy(np.array(test.x, dtype=np.float32)).requires_grad_()
        module = bundle.model.torch_module()
        (slope,) = torch.autograd.grad(module(x).sum(), x)
        if len(bundle.model.logits(test.x)) != len(x):
            raise ValueError("logits of another length")

        def build(folder: Path) -> None:
            np.save(folder / "slope.npy", slope.numpy())

        if ctx.artifact is None:
            raise ValueError("no artifacts")
        kept = ctx.artifact("slope", build)
        mean = float(np.abs(np.load(kept / "slope.npy")).mean())
        scalars = {}
        for i, threat in enumerate(ctx.threats, 1):
            for eps in threat.eps:
                scalars[f"slope[{threat.name}, {eps}]"] = rr.Scalar(
                    value=mean * eps.value, n=len(x), reason="a toy has no interval"
                )
            ctx.progress(i, len(ctx.threats), threat.name)
        return rr.Result(answer="It has slopes.", scalars=scalars, artifacts={"slope": kept})


class GoodOnImages(GoodAccuracy):
    """Skips what it cannot read, with the reason."""

    id = "twin.images"

    def compute(self, bundle: rr.Bundle, params: Any, ctx: rr.Context) -> rr.Result:
        if bundle.schema.layout != "image":
            raise rr.SkipMetric("the inputs are no images")
        return super().compute(bundle, params, ctx)


class GoodSets(GoodAccuracy):
    """Reads training data, foreign and shifted sets."""

    id = "twin.sets"
    needs = rr.Needs.LABELS | rr.Needs.MEMBERS | rr.Needs.OOD | rr.Needs.SHIFT
    splits = ("train", "test", "calibration", "ood.*", "shift.*", "extra.more?")
    scalar_help: ClassVar = {"size[split]": "number of examples"}

    def compute(self, bundle: rr.Bundle, params: Any, ctx: rr.Context) -> rr.Result:
        names = ["train", "test", "calibration"]
        sizes = {name: len(bundle.split(name).labels) for name in names}
        groups = {**bundle.group("ood"), **bundle.group("shift")}
        sizes |= {name: len(split) for name, split in groups.items()}
        ctx.progress(1, 1, "counting")
        scalars = {
            f"size[{name}]": rr.Scalar(value=n, n=n, reason="a count") for name, n in sizes.items()
        }
        return rr.Result(answer="They have sizes.", scalars=scalars)


class GoodRefit(GoodAccuracy):
    """Trains again, and reads probabilities and parameters."""

    id = "twin.refit"
    needs = (
        rr.Needs.LABELS
        | rr.Needs.MEMBERS
        | rr.Needs.REFIT
        | rr.Needs.PROBABILITIES
        | rr.Needs.PARAMETERS
    )
    splits = ("train", "test")
    scalar_help: ClassVar = {"agreement": "share of equal predictions"}

    def compute(self, bundle: rr.Bundle, params: Any, ctx: rr.Context) -> rr.Result:
        train, test = bundle.split("train"), bundle.split("test")
        count = sum(p.numel() for p in bundle.model.torch_module().parameters())
        again = bundle.model.refit(train.x, train.labels, ctx.seed)
        ctx.progress(1, 1, "refitting")
        one, two = bundle.model.predict_proba(test.x), again.predict_proba(test.x)
        equal = one.argmax(axis=1) == two.argmax(axis=1)
        return rr.Result(answer=f"{count} numbers.", scalars={"agreement": share(equal)})


class GoodTrees(GoodAccuracy):
    """Reads trees."""

    id = "twin.trees"
    needs = rr.Needs.TREES
    splits = ()
    scalar_help: ClassVar = {"trees": "number of trees"}

    def compute(self, bundle: rr.Bundle, params: Any, ctx: rr.Context) -> rr.Result:
        n = len(bundle.model.trees().trees)
        ctx.progress(1, 1, "counting")
        return rr.Result(
            answer="It has trees.", scalars={"trees": rr.Scalar(value=n, n=n, reason="a count")}
        )


class GoodRegression(GoodAccuracy):
    """Measures a regression."""

    id = "twin.regression"
    needs = rr.Needs.REGRESSION | rr.Needs.LABELS
    splits = ("test",)
    scalar_help: ClassVar = {"error": "mean absolute error"}

    def compute(self, bundle: rr.Bundle, params: Any, ctx: rr.Context) -> rr.Result:
        test = bundle.split("test")
        gap = np.abs(bundle.model.predict(test.x) - test.labels)
        ctx.progress(1, 1, "predicting")
        error = rr.Scalar(value=float(gap.mean()), n=gap.size, reason="a toy has no interval")
        return rr.Result(answer="It is off by some.", scalars={"error": error})


class GoodData(GoodAccuracy):
    """Measures the data alone."""

    id = "twin.data"
    needs = rr.Needs.NONE
    scope = "data"
    splits = ("test",)
    scalar_help: ClassVar = {"size": "number of examples"}

    def compute(self, bundle: rr.Bundle, params: Any, ctx: rr.Context) -> rr.Result:
        n = len(bundle.split("test"))
        ctx.progress(1, 1, "counting")
        return rr.Result(
            answer="It has a size.", scalars={"size": rr.Scalar(value=n, n=n, reason="a count")}
        )


class GoodComparison(rr.Comparison):
    """The best of several."""

    id = "twin.best"
    title = "Best model"
    question = "Which model is right most often?"
    summary = "Accuracies are compared."
    reading = "The first is the best."
    limits = "It ignores their intervals."
    references = ("A textbook.",)
    knowledge = "model outputs"
    consumes = frozenset({"twin.accuracy"})
    scalar_help: ClassVar = {"best": "the highest accuracy"}

    def compare(self, outcomes: Sequence[rr.Outcome], params: Any, ctx: rr.Context) -> rr.Result:
        found = [o for o in outcomes if isinstance(o, rr.Computed)]
        if not found:
            raise rr.SkipMetric("no model's accuracy was computed")
        best = max(float(o.result.arrays["right"].mean()) for o in found)
        return rr.Result(
            answer="One is best.",
            scalars={"best": rr.Scalar(value=best, n=len(found), reason="a toy")},
        )


class Plain(GoodAccuracy):
    """The least that a metric can be: quick to check, and the base of most twins."""

    id = "twin.plain"
    splits = ("test",)
    scalar_help: ClassVar = {"accuracy": "share of right predictions"}

    def compute(self, bundle: rr.Bundle, params: Any, ctx: rr.Context) -> rr.Result:
        test = bundle.split("test")
        right = (bundle.model.predict(test.x) == test.labels).astype(np.int64)
        ctx.progress(1, 1, "predicting")
        return rr.Result(
            answer="It is right at times.",
            scalars={"accuracy": share(right)},
            arrays={"right": right},
        )


def twin(base: type[Any] = Plain, **changes: Any) -> type[Any]:
    """Return `base` with some class attributes changed, as if it were declared here."""
    return type("Twin", (base,), {"__module__": __name__, **changes})


def after(change: Callable[..., Any], base: type[Any] = Plain, **more: Any) -> type[Any]:
    """Return a twin that computes, then does ``change(result, bundle, params, ctx)``.

    What `change` returns takes the result's place, unless it is None or false.
    """

    def compute(self: Any, bundle: rr.Bundle, params: Any, ctx: rr.Context) -> Any:
        result = base.compute(self, bundle, params, ctx)
        changed = change(result, bundle, params, ctx)
        return changed or result

    return twin(base, compute=compute, **more)


def with_part(**parts: Any) -> type[Any]:
    """Return a twin whose result has these fields changed."""
    return after(lambda result, *_: replace(result, **parts))


GOOD = (
    Plain,
    GoodAccuracy, GoodGradient, GoodOnImages, GoodSets, GoodRefit, GoodTrees, GoodRegression,
    GoodData,
)  # fmt: skip


def share(right: Any) -> rr.Scalar:
    """Return a share with a rough interval, or the reason why there is none."""
    n = int(np.size(right))
    if n == 0:
        return rr.Scalar(value=None, n=0, reason="no example")
    p = float(np.mean(right))
    half = 2 * (p * (1 - p) / n) ** 0.5
    interval = rr.Interval(low=p - half, high=p + half, method="95 % normal")
    return rr.Scalar.of(p, interval, n=n, unit="share", better="higher")


def table(right: Any) -> rr.Table:
    columns = (
        rr.Column(key="row", title="Row", kind="integer"),
        rr.Column(key="right", title="Right", kind="integer"),
    )
    rows = tuple((i, int(v)) for i, v in enumerate(right[:3]))
    return rr.Table(title="First examples", columns=columns, rows=rows)


def bars(values: Sequence[float], **changes: str) -> rr.Figure:
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"values": [{"a": i, "b": v} for i, v in enumerate(values)]},
        "mark": "bar",
        "encoding": {
            "x": {"field": "a", "type": "ordinal"},
            "y": {"field": "b", "type": "quantitative"},
        },
    }
    words = {"title": "Bars", "caption": "Some bars.", "alt": "Three bars that grow."}
    return rr.Figure(spec=spec, **{**words, **changes})


def grid(**changes: Any) -> rr.ImageGrid:
    fields: dict[str, Any] = {
        "title": "Squares",
        "images": np.zeros((1, 2, 4, 4), dtype=np.uint8),
        "caption": "Two squares.",
        "alt": "Two black squares.",
        "column_labels": ("left", "right"),
    }
    return rr.ImageGrid(**{**fields, **changes})
