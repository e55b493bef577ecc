"""`check_metric` passes what keeps the contract and names each fault of what does not."""

from __future__ import annotations

import random
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ConfigDict, Field

import robreport as rr

# imported by name, in fresh interpreters too: how light an import is, is part of the contract
sys.path.insert(0, str(Path(__file__).parent / "contract"))

from contract_metrics import (
    GOOD,
    GoodAccuracy,
    GoodComparison,
    GoodOnImages,
    GoodSets,
    GoodTrees,
    Plain,
    after,
    bars,
    grid,
    table,
    twin,
    with_part,
)

from robreport.testing import ContractError, check_metric, make_bundle
from robreport.testing.lightness import HEAVY, import_problems

N = rr.Needs


def violations(metric: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(ContractError) as caught:
        check_metric(metric, **options)
    return caught.value.violations


@pytest.mark.parametrize("metric", GOOD, ids=lambda m: m.__name__)
def test_good_metric_passes(metric: Any) -> None:
    report = check_metric(metric)
    assert report.metric == metric.id
    assert "computed" in report.scenarios.values()
    assert report.notes == ()


def test_good_comparison_passes_with_missing_outcomes() -> None:
    report = check_metric(GoodComparison, metrics=(Plain, GoodAccuracy))
    assert report.scenarios["with skipped and failed outcomes among them"] == "computed"
    assert report.scenarios["with no outcome"].startswith("skipped: no model")


def test_report_tells_what_came_of_each_situation() -> None:
    found = check_metric(GoodOnImages).scenarios
    assert found["with exactly what it declares, inputs of layout 'table'"] == (
        "skipped: the inputs are no images"
    )
    assert found["with exactly what it declares, inputs of layout 'image'"] == "computed"
    assert found["without LABELS"].startswith("skipped")  # the layout comes first
    assert check_metric(Plain).scenarios["without LABELS"] == "not offered: split test: labels"


def test_given_bundle_is_used() -> None:
    bundle = make_bundle(N.LABELS | N.CLASSIFICATION, layout="image", n=10)
    found = check_metric(GoodOnImages, bundle=bundle).scenarios
    assert list(found.values()) == ["computed", "computed"]


# ------------------------------------------------------------------------------ hostile twins


def boom(*_: Any) -> None:
    raise ValueError("planted")


def raises_when(condition: Any) -> Any:
    """Return a metric that breaks where `condition(bundle)` holds, and skips nothing."""

    def change(result: rr.Result, bundle: rr.Bundle, *_: Any) -> None:
        if condition(bundle):
            raise ZeroDivisionError("planted")

    return after(change)


class Listed(rr.Params):
    steps: list[int] = Field(default=[1, 2], description="Steps.")


class Loose(rr.Params):
    model_config = ConfigDict(extra="ignore")
    steps: int = Field(1, description="Steps.")


class Liquid(rr.Params):
    model_config = ConfigDict(frozen=False)
    steps: int = Field(1, description="Steps.")


class Mute(rr.Params):
    steps: int = 1


class Demanding(rr.Params):
    steps: int = Field(description="Steps.")


class Contradictory(rr.Params):
    steps: int = Field(0, ge=1, description="Steps.")


class Infinite(rr.Params):
    limit: float = Field(float("inf"), description="Limit.")


class Opaque(rr.Params):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    rng: np.random.Generator | None = Field(None, description="Generator.")


DECLARATIONS: dict[str, tuple[Any, str]] = {
    "id-form": (twin(id="Accuracy"), r"id is 'Accuracy', not of the form 'family.method'"),
    "id-two-dots": (twin(id="a.b.c"), r"id is 'a.b.c', not of the form"),
    "title": (twin(title=""), r"title is missing or empty"),
    "question-empty": (twin(question=" "), r"question is missing or empty"),
    "question": (twin(question="It is right."), r"does not end with a question mark"),
    "summary": (twin(summary=None), r"summary is missing or empty"),
    "reading": (twin(reading=""), r"reading is missing or empty"),
    "limits": (twin(limits=""), r"limits is missing or empty"),
    "knowledge": (twin(knowledge=""), r"knowledge is missing or empty"),
    "references": (twin(references=()), r"references is not a tuple with at least one"),
    "references-text": (twin(references="Smith 1999"), r"references is not a tuple"),
    "references-empty": (twin(references=("",)), r"references holds something that is not a text"),
    "help-no-mapping": (twin(scalar_help=["accuracy"]), r"scalar_help is not a mapping"),
    "help-name": (
        twin(scalar_help={**Plain.scalar_help, "Accuracy [x": "what"}),
        r"scalar_help names 'Accuracy \[x', which is not of the form",
    ),
    "help-empty": (twin(scalar_help={"accuracy": ""}), r"scalar_help says nothing about 'acc"),
    "needs": (twin(needs="labels"), r"needs is 'labels', not a Needs"),
    "splits-text": (twin(splits="test"), r"splits is 'test', not a tuple of roles"),
    "splits-role": (twin(splits=("test", "tset")), r"splits names 'tset'; roles are"),
    "splits-twice": (twin(splits=("test", "test?")), r"names a role twice"),
    "members": (twin(needs=N.MEMBERS | Plain.needs), r"needs MEMBERS but splits does not name"),
    "ood": (twin(needs=N.OOD | Plain.needs), r"needs OOD but splits names no ood\.\* role"),
    "shift": (twin(needs=N.SHIFT | Plain.needs), r"needs SHIFT but splits names no shift\.\*"),
    "both-tasks": (twin(needs=N.REGRESSION | Plain.needs), r"needs both CLASSIFICATION and REG"),
    "scope": (twin(scope="models"), r"scope is 'models', not 'model' or 'data'"),
    "scope-data": (
        twin(scope="data", needs=N.LOGITS), r"scope is 'data' but needs asks the model for LOGITS"
    ),
    "threats": (twin(threats=True), r"threats is True, not 'none'"),
    "norms": (twin(norms=("linf",)), r"norms is \('linf',\), not a tuple of L0, L1, L2, Linf"),
    "abstract": (
        type("Twin", (rr.Metric,), {k: getattr(Plain, k) for k in (
            "id", "title", "question", "summary", "reading", "limits", "references", "knowledge",
            "scalar_help", "Params",
        )} | {"__module__": Plain.__module__}),
        r"does not implement compute",
    ),
    "no-metric": (dict, r"no subclass of robreport\.Metric"),
    "an-instance": (Plain(), r"no subclass of robreport\.Metric"),
    "params-base": (twin(Params=dict), r"Params is not derived from robreport\.Params"),
    "params-extra": (twin(Params=Loose), r"Params takes unknown keys"),
    "params-frozen": (twin(Params=Liquid), r"Params can be changed after validation"),
    "params-description": (twin(Params=Mute), r"Params\.steps has no description"),
    "params-default": (
        twin(Params=Demanding), r"Params\.steps has no default|Params has no usable defaults"
    ),
    "params-refused": (
        twin(Params=Contradictory), r"Params refuses its own defaults|no usable defaults"
    ),
    "params-json": (twin(Params=Infinite), r"Params (does not survive|has no) JSON"),
    "params-schema": (twin(Params=Opaque), r"Params has no JSON schema \(Pydantic"),
}  # fmt: skip


@pytest.mark.parametrize("name", DECLARATIONS)
def test_declaration_fault_is_named(name: str) -> None:
    metric, expected = DECLARATIONS[name]
    found = violations(metric)
    assert [v for v in found if not re.search(expected, v)] == []


def progress(*calls: tuple[Any, ...]) -> Any:
    def compute(self: Any, bundle: rr.Bundle, params: Any, ctx: rr.Context) -> rr.Result:
        result = Plain().compute(bundle, params, replace(ctx, progress=lambda *_: None))
        for call in calls:
            ctx.progress(*call)
        return result

    return twin(compute=compute)


def undeclared(ask: Any) -> Any:
    def change(result: rr.Result, bundle: rr.Bundle, *_: Any) -> None:
        ask(bundle)

    return after(change)


def no_reason(*_: Any) -> None:
    raise rr.SkipMetric("  ")


def always_skips(*_: Any) -> None:
    raise rr.SkipMetric("not today")


def leaves(*_: Any) -> None:
    raise SystemExit(3)


def adds(name: str, value: Any) -> Any:
    """Return a change that adds the scalar of that name, valued `value()`."""

    def change(result: rr.Result, *_: Any) -> rr.Result:
        scalar = rr.Scalar(value=value(), n=1, reason="a toy")
        return replace(result, scalars={**result.scalars, name: scalar})

    return change


def drawn(value: Any) -> Any:
    return after(adds("noise", value), scalar_help={**Plain.scalar_help, "noise": "a draw"})


def stale(result: rr.Result, bundle: Any, params: Any, ctx: Any) -> rr.Result:
    """Return what was built now, or something else when it was read back."""
    built = []
    ctx.artifact("key", lambda folder: built.append(1))
    return replace(result, arrays={"built": np.array(built)})


def careless(self: Any, bundle: rr.Bundle, params: Any, ctx: rr.Context) -> rr.Result:
    bundle.split("test").y.sum()  # type: ignore[union-attr]
    return Plain().compute(bundle, params, ctx)


def refits(bundle: rr.Bundle) -> None:
    test = bundle.split("test")
    bundle.model.refit(test.x, test.labels, 0)


def writes(result: Any, bundle: rr.Bundle, *_: Any) -> None:
    bundle.split("test").x[0] = 0


def relabels(result: Any, bundle: rr.Bundle, *_: Any) -> None:
    bundle.split("test").labels[:] = 0


def module_change(change: Any) -> Any:
    def compute(self: Any, bundle: rr.Bundle, params: Any, ctx: rr.Context) -> rr.Result:
        result = Plain().compute(bundle, params, ctx)
        if N.GRADIENTS in bundle.offers:
            change(bundle.model.torch_module())
        return result

    return twin(compute=compute, needs=Plain.needs | N.GRADIENTS)


def shifts_weights(module: Any) -> None:
    next(module.parameters()).data.add_(1)


def torch_draw() -> float:
    import torch

    return float(torch.rand(()))


def threads(*_: Any) -> None:
    import torch

    torch.set_num_threads(torch.get_num_threads() + 1)


def seeds(*_: Any) -> None:
    np.random.seed(0)


def scalar(**fields: Any) -> Any:
    return with_part(scalars={"accuracy": rr.Scalar(**{"value": 0.5, "n": 4, **fields})})


def finding(**fields: Any) -> Any:
    whole = {"severity": "low", "claim": "It errs.", "evidence": ("accuracy",)}
    return with_part(findings=(rr.Finding(**{**whole, "recommendation": "Look.", **fields}),))


def figure(**words: str) -> Any:
    return with_part(figures={"f": bars([1, 2], **words)})


def respecified(**spec: Any) -> Any:
    plain = bars([1, 2])
    return with_part(figures={"f": replace(plain, spec={**plain.spec, **spec})})


MISSPELT = {
    "x": {"field": "a", "type": "quantitative"},
    "y": {"field": "beta", "type": "quantitative"},
}
LABELS = r"images g: labels do not fit 1 rows and 2 columns"
RIGHT = table(np.array([1, 0]))

RUNNING: dict[str, tuple[Any, str]] = {
    # what it asks for
    "logits": (undeclared(lambda b: b.model.logits(b.split("test").x)), r"asks for what it does "
               r"not declare \(\w+: logits, which takes Needs\.LOGITS\)"),
    "proba": (undeclared(lambda b: b.model.predict_proba(b.split("test").x)), r"Needs\.PROBAB"),
    "module": (undeclared(lambda b: b.model.torch_module()), r"Needs\.GRADIENTS or PARAMETERS"),
    "initial": (undeclared(lambda b: b.model.initial_parameters()), r"Needs\.PARAMETERS\)"),
    "trees": (undeclared(lambda b: b.model.trees()), r"Needs\.TREES"),
    "refit": (undeclared(refits), r"Needs\.REFIT"),
    "labels": (twin(needs=N.CLASSIFICATION), r"not declare \(split test: labels\)"),
    "split": (undeclared(lambda b: b.split("train")), r"not declare \(split train\)"),
    "optional": (
        after(lambda r, b, *_: b.split("train") and None, splits=("test", "train?")),
        r"not declare \(split train\)",
    ),
    "data-predicts": (
        twin(scope="data"), r"predict, which a metric of scope 'data' does not have"
    ),
    "unlabelled": (
        twin(compute=careless),
        r"raised AttributeError \('NoneType' .* without LABELS$",
    ),
    "by-key": (
        after(lambda r, b, *_: b.splits["test"] and None, base=twin(
            compute=lambda self, b, p, c: Plain().compute(
                replace(b, splits={**b.splits, "test": b.splits["test"]}), p, c)
        )),
        r"raised KeyError \('test'; .*without the split test",
    ),
    # how it ends
    "raises": (after(boom), r"raised ValueError \(planted; test_testing\.py line \d+\)"),
    "exits": (after(leaves), r"raised SystemExit \(3;"),
    "no-reason": (after(no_reason), r"skips without a reason"),
    "always-skips": (after(always_skips), r"computes in no situation.*skipped: not today"),
    "image": (raises_when(lambda b: b.schema.layout == "image"), r"ZeroDivisionError.*'image'$"),
    "binary": (raises_when(lambda b: b.schema.n_classes == 2), r"ZeroDiv.*with two classes$"),
    "one-example": (
        raises_when(lambda b: len(b.split("test")) == 1), r"ZeroDiv.*one example in each split$"
    ),
    "all-wrong": (
        raises_when(
            lambda b: not (b.model.predict(b.split("test").x) == b.split("test").labels).any()
            and len(b.split("test")) > 1
        ),
        r"ZeroDivisionError.*where every prediction is wrong$",
    ),
    "regression": (
        after(
            lambda r, b, *_: b.schema.task == "regression" and boom(), needs=N.LABELS
        ),
        r"ValueError.*on a regression, which needs does not exclude$",
    ),
    # what it returns
    "a-dict": (after(lambda r, *_: {"accuracy": 1}), r"compute returned dict, not a Result"),
    "nan": (scalar(value=float("nan"), reason="r"), r"scalar accuracy: value is nan"),
    "text-value": (scalar(value="0.5", reason="r"), r"value is a str, not a number"),
    "list-answer": (with_part(answer=["Right."]), r"answer is a list, not a text"),
    "no-mapping": (with_part(scalars=[1]), r"scalars is a list, not a mapping"),
    "no-interval": (scalar(), r"neither an interval nor a reason"),
    "no-answer": (with_part(answer=" "), r"no answer sentence"),
    "answer": (with_part(answer="Right.\nOr wrong"), r"not one sentence that ends with a full"),
    "no-help": (after(adds("extra", float)), r"scalar extra is not described in scalar_help"),
    "facets": (after(adds("accuracy[a, b]", float)), r"accuracy\[a, b\] is not described"),
    "objects": (with_part(arrays={"a": np.array([{}])}), r"dtype object"),
    "artifact": (with_part(artifacts={"a": Path("nowhere")}), r"artifact a: nowhere does not ex"),
    "severity": (finding(severity="critical"), r"severity is 'critical'"),
    "claim": (finding(recommendation=""), r"claim and recommendation must not be empty"),
    "evidence": (finding(evidence=("f",)), r"evidence \['f'\] is not in the result"),
    "no-evidence": (finding(evidence=()), r"evidence missing is not in the result"),
    "caveat": (with_part(caveats=(rr.Caveat(code="Few Examples", detail="d"),)), r"is not a code"),
    "caveat-detail": (with_part(caveats=(rr.Caveat(code="few", detail=""),)), r"detail is empty"),
    "check": (with_part(checks=(rr.Check(name="c", passed=True, detail=""),)), r"name and detail"),
    "check-passed": (
        with_part(checks=(rr.Check(name="c", passed="yes", detail="d"),)),  # type: ignore[arg-type]
        r"passed is 'yes', not true or false",
    ),
    "ragged": (with_part(tables={"t": replace(RIGHT, rows=((1,),))}), r"row 0 has 1 cells, not 2"),
    "table-title": (with_part(tables={"t": replace(RIGHT, title="")}), r"table t: the title is"),
    "table-keys": (
        with_part(tables={"t": replace(RIGHT, columns=RIGHT.columns[:1] * 2)}), r"the same key"
    ),
    "grid-empty": (
        with_part(images={"g": grid(images=np.zeros((0, 2, 4, 4), np.uint8))}), r"need uint8"
    ),
    "grid-floats": (with_part(images={"g": grid(images=np.zeros((1, 2, 4, 4)))}), r"need uint8"),
    "grid-channels": (
        with_part(images={"g": grid(images=np.zeros((1, 2, 4, 4, 2), np.uint8))}),
        r"found the shape \(1, 2, 4, 4, 2\)",
    ),
    "grid-rows": (with_part(images={"g": grid(row_labels=("a", "b"))}), LABELS),
    "grid-columns": (with_part(images={"g": grid(column_labels=("a",))}), LABELS),
    "grid-cells": (with_part(images={"g": grid(cell_labels=(("a",),))}), LABELS),
    "grid-size": (
        with_part(images={"g": grid(images=np.zeros((1, 2, 1500, 1500), np.uint8))}),
        r"4,500,000 bytes of pictures are over",
    ),
    "grid-alt": (with_part(images={"g": grid(alt="")}), r"images g: caption and alt text must"),
    # charts
    "alt": (figure(alt=" "), r"figure f: caption and alt text must not be empty"),
    "caption": (figure(caption=""), r"figure f: caption and alt text must not be empty"),
    "figure-title": (figure(title=""), r"figure f: the title is empty"),
    "no-marks": (respecified(data={"values": []}), r"figure f: it draws no mark"),
    "misspelt": (respecified(mark="point", encoding=MISSPELT), r"figure f: it draws no mark"),
    "not-a-chart": (respecified(mark="bat"), r"figure f: it does not draw \("),
    "too-large": (
        respecified(data={"values": [{"a": "a" * 300_000, "b": 1}]}),
        r"specification has [\d,]+ bytes, over the 300,000 allowed",
    ),
    "fetches": (respecified(data={"url": "http://localhost/x.csv"}), r"only data: URLs"),
    # the same seed, the same bytes
    "numpy-draw": (
        drawn(lambda: float(np.random.rand())),
        r"same seed, under another global random state, gives another result \(scalars\.noise\.va"
        r"|compute changes the random state of numpy\.random",
    ),
    "random-draw": (
        drawn(random.random), r"gives another result|changes the random state of random"
    ),
    "torch-draw": (drawn(torch_draw), r"gives another result|changes the random state of torch"),
    "entropy": (
        drawn(lambda: float(np.random.default_rng().normal())),
        r"same seed, under another global random state, gives another result",
    ),
    "clock": (drawn(time.perf_counter), r"gives another result \(scalars\.noise\.value\)"),
    "stale": (
        after(stale), r"reading its artifacts back instead of building .*\(arrays\.built"
    ),
    "seeds": (after(seeds), r"compute changes the random state of numpy\.random"),
    "errstate": (
        after(lambda *_: np.seterr(invalid="ignore", divide="print") and None),
        r"compute changes numpy's error settings",
    ),
    "threads": (after(threads), r"compute changes torch's number of threads"),
    # hands off
    "inputs": (after(writes), r"compute changes the inputs of split test|gives another result"),
    "labels-written": (after(relabels), r"compute changes the labels of split test"),
    "weights": (
        module_change(shifts_weights), r"compute changes the model's (\d|predictions)"
    ),
    "training": (module_change(lambda m: m.train()), r"changes the training mode of the model's"),
    "frozen": (
        module_change(lambda m: m.requires_grad_(False)), r"changes requires_grad of the model's"
    ),
    "hooks": (
        module_change(lambda m: m.register_forward_hook(lambda *_: None)), r"changes the hooks on"
    ),
    "params": (
        after(lambda r, b, p, c: p.steps.append(3), Params=Listed), r"changes its parameters"
    ),
    # progress
    "silent": (progress(), r"never calls ctx\.progress"),
    "beyond": (progress((2, 1, "x")), r"progress\(2, 1, …\), which is not 0 <= done <= total"),
    "negative": (progress((-1, 1, "x")), r"progress\(-1, 1, …\), which is not"),
    "nothing": (progress((0, 0, "x")), r"progress\(0, 0, …\), which is not"),
    "fraction": (progress((0.5, 1, "x")), r"progress\(0\.5, 1, …\), which is not"),
    "unfinished": (progress((1, 2, "x")), r"leaves ctx\.progress at 1 of 2"),
    "wordless": (progress((1, 1, "")), r"progress with '' for what it is doing"),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNNING)
def test_running_fault_is_named(name: str) -> None:
    metric, expected = RUNNING[name]
    before = random.getstate(), np.random.get_state()[1].tolist(), np.geterr()
    found = violations(metric)
    assert [v for v in found if not re.search(expected, v)] == []
    # whatever the metric did to the process, the check undoes
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), np.geterr())


@pytest.mark.parametrize(
    ("lost", "splits"),
    [("train", ("test",)), ("ood.*", ("train", "test", "calibration", "shift.*"))],
)
def test_needs_that_the_splits_belie(lost: str, splits: tuple[str, ...]) -> None:
    assert any("needs" in v for v in violations(twin(GoodSets, splits=splits))), lost


def test_every_violation_is_listed_in_one_sentence() -> None:
    metric = twin(title="", question="No", references=(), compute=progress().compute)
    with pytest.raises(ContractError) as caught:
        check_metric(metric)
    assert len(caught.value.violations) == 4
    assert str(caught.value).startswith("twin.plain breaks the metric contract in 4 points: (1) ")
    assert "(4) compute never calls ctx.progress" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_notes_tell_needs_and_help_that_were_never_used() -> None:
    metric = twin(
        needs=Plain.needs | N.PROBABILITIES,
        scalar_help={**Plain.scalar_help, "recall[class]": "share found"},
    )
    notes = check_metric(metric).notes
    assert "needs PROBABILITIES, but never asked the model for it" in notes[0]
    assert "recall[class], which was never returned" in notes[1]


def test_params_are_used_and_checked() -> None:
    metric = twin(Params=Demanding)
    assert check_metric(metric, params={"steps": 3}).metric == "twin.plain"
    with pytest.raises(ValueError, match="params do not fit Twin"):
        check_metric(metric, params={"stpes": 3})
    with pytest.raises(ValueError, match=r"must be Demanding|params must be Twin\.Params"):
        check_metric(metric, params=Listed())


def test_bundle_that_does_not_suit_is_refused() -> None:
    with pytest.raises(ValueError, match="needs trees"):
        check_metric(GoodTrees, bundle=make_bundle(N.LABELS))


# ----------------------------------------------------------------------------- comparisons


def comparing(change: Any, **more: Any) -> Any:
    def compare(self: Any, outcomes: Any, params: Any, ctx: rr.Context) -> Any:
        change(outcomes)
        return GoodComparison().compare(outcomes, params, ctx)

    return twin(GoodComparison, compare=compare, **more)


def overwrites(outcomes: Any) -> None:
    for outcome in outcomes:
        if isinstance(outcome, rr.Computed):
            outcome.result.arrays["right"][:] = 1


COMPARING: dict[str, tuple[Any, str]] = {
    "consumes": (twin(GoodComparison, consumes=frozenset()), r"consumes is not a frozenset with"),
    "consumes-set": (twin(GoodComparison, consumes={"twin.accuracy"}), r"consumes is not a froz"),
    "consumes-id": (
        twin(GoodComparison, consumes=frozenset({"Accuracy"})), r"consumes names Accuracy, not of"
    ),
    "arrays": (
        comparing(overwrites), r"changes array 'right' of outcome|gives another result"
    ),
    "skipped": (
        comparing(lambda os: [o.result for o in os]),
        r"raised AttributeError .*with skipped and failed outcomes",
    ),
    "empty": (comparing(lambda os: os[0]), r"raised IndexError .*with no outcome$"),
    "one": (comparing(lambda os: len(os) == 1 and boom()), r"raised ValueError .*with one outcome|"
            r"raised ValueError .*with one model"),
    "random": (comparing(lambda os: random.random()), r"changes the random state of random"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPARING)
def test_comparison_fault_is_named(name: str) -> None:
    comparison, expected = COMPARING[name]
    found = violations(comparison, metrics=(GoodAccuracy,))
    assert [v for v in found if not re.search(expected, v)] == []


def test_comparison_needs_what_it_consumes() -> None:
    with pytest.raises(ValueError, match=r"consumes twin\.accuracy; pass these classes as metrics"):
        check_metric(GoodComparison, metrics=(Plain,))


# ---------------------------------------------------------------------------- light imports


def test_heavy_imports_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in HEAVY:
        (tmp_path / f"{name}.py").touch()  # stand-ins: what counts is that they are imported
    module = tmp_path / "heavy_metric.py"
    module.write_text("".join(f"import {name}\n" for name in HEAVY))
    (tmp_path / "broken_metric.py").write_text("raise RuntimeError('planted')\n")
    (tmp_path / "leaving_metric.py").write_text("import os\nos._exit(3)\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert import_problems("heavy_metric") == (
        f"importing heavy_metric imports {', '.join(HEAVY)}; "
        "import it inside the method that needs it",
    )
    (broken,) = import_problems("broken_metric")
    assert "cannot be imported in a fresh interpreter (RuntimeError: planted)" in broken
    assert import_problems("leaving_metric") == (
        "importing leaving_metric alone ends the interpreter",
    )
    assert import_problems("contract_metrics") == ()


def test_heavy_module_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pandas_metric.py").write_text(
        "import pandas\nfrom contract_metrics import Plain\n\n\nclass Heavy(Plain):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from pandas_metric import Heavy

    assert violations(Heavy) == (
        "importing pandas_metric imports pandas; import it inside the method that needs it",
    )


def test_importing_testing_stays_light() -> None:
    assert import_problems("robreport.testing") == ()


def test_metrics_of_the_tests_are_what_they_seem() -> None:
    """The twins differ from a good metric in one point: that metric passes as it stands."""
    assert check_metric(twin()).notes == ()
    assert check_metric(after(lambda *_: None)).notes == ()
    assert check_metric(figure()).notes == ()
    assert check_metric(finding()).notes == ()
    assert check_metric(scalar(reason="a toy")).notes == ()
    assert check_metric(progress((0, 1, "x"), (1, 1, "x"))).notes == ()
    assert check_metric(with_part(images={"g": grid()}, tables={"t": RIGHT})).notes == ()
    assert check_metric(drawn(lambda: 0.5)).notes == ()
    assert check_metric(comparing(lambda _: None), metrics=(GoodAccuracy,)).notes == ()
