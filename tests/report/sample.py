"""Audits made of nothing: plausible records in every shape that a document must bear."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from robreport.outcome import (
    AuditRun,
    Computed,
    Failed,
    ModelFacts,
    Outcome,
    Requirement,
    Skipped,
    SplitFacts,
    Status,
    Subject,
    Verdict,
)
from robreport.report.records import RecordFiles
from robreport.result import (
    Caveat,
    Check,
    Column,
    Figure,
    Finding,
    ImageGrid,
    Result,
    Scalar,
    Table,
)

FINISHED = "2026-11-20T18:42:10+00:00"
SPEC_TEXT = '[audit]\ntitle = "Digits"\nseed = 0\n\n[[models]]\nname = "cnn"\n# ε < 1 & more\n'
DIGITS = tuple(str(i) for i in range(10))
NETWORKS = ("cnn", "tree", "logistic")


def share(value: float, half: float, n: int, **rest: Any) -> Scalar:
    """A share with a plausible interval."""
    return Scalar(
        value=value,
        low=max(0.0, value - half),
        high=min(1.0, value + half),
        n=n,
        unit="share",
        method="95 % Wilson",
        **rest,
    )


def curve(drop: float) -> Figure:
    """Robust accuracy against the budget."""
    rows = [
        {"eps": e / 50, "accuracy": round(0.99 / (1 + np.exp(drop * (e / 50 - 0.12))), 4),
         "kind": kind}
        for e in range(16)
        for kind in ("attacked", "random noise")
    ]  # fmt: skip
    chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("eps:Q", title="perturbation size ε (L∞)"),
            y=alt.Y("accuracy:Q", title="accuracy", axis=alt.Axis(format="%")),
            color=alt.Color("kind:N", title=None),
        )
    )
    return Figure.from_chart(
        chart,
        title="Robust accuracy against ε",
        caption="Share of inputs that stay right under every attack, n = 500.",
        alt="Accuracy falls from 99 % at ε = 0 to a few percent at ε = 0.3.",
    )


def confusion(classes: Sequence[str], size: int | None = None) -> Figure:
    """A heat map with a number in each cell."""
    rows = [
        {"true": a, "given": b, "count": 40 if i == j else (i * 3 + j) % 4}
        for i, a in enumerate(classes)
        for j, b in enumerate(classes)
    ]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("given:N", title="Label given", sort=list(classes)),
        y=alt.Y("true:N", title="True class", sort=list(classes)),
    )
    chart = base.mark_rect().encode(color=alt.Color("count:Q", legend=None)) + base.mark_text(
        fontSize=10
    ).encode(text="count:Q")
    if size:
        chart = chart.properties(width=size, height=size)
    return Figure.from_chart(
        chart,
        title="Confusion matrix",
        caption="Counts of true class and label given.",
        alt=f"Heat map of {len(classes)} classes; most examples lie on the diagonal.",
    )


def about(name: str, metric: str, model: str | None, title: str, **rest: Any) -> Subject:
    """What a metric says of itself."""
    words: dict[str, Any] = {
        "question": "How often is the model right when nobody interferes?",
        "summary": "Predictions on the test split are compared with the labels.",
        "reading": "Each row is one measure; the range holds the true value in 95 % of repeats.",
        "limits": "Behaviour on other data, and under attack.",
        "references": ("Wilson, E. B. (1927). Probable inference. JASA 22, 209–212.",),
        "knowledge": "model outputs",
        "params": {"bins": 15, "binning": "fixed"},
        "splits": {"test": 540},
    }
    words.update(rest)
    return Subject(name=name, metric=metric, model=model, title=title, **words)


def performance(model: str, i: int, classes: Sequence[str] = DIGITS) -> Computed:
    """The outcome of a classification metric."""
    accuracy = (0.9892, 0.8444, 0.9537)[i % 3]
    worst = Table(
        title="Classes",
        columns=(
            Column(key="class", title="Class"),
            Column(key="n", title="n", kind="integer"),
            Column(key="recall", title="Recall", kind="share_interval"),
            Column(key="brier", title="Brier score", kind="number"),
        ),
        rows=tuple(
            (name, 54 + k, [0.98 - k / 100, 0.95 - k / 100, 0.995 - k / 120], 0.0123456 * (k + 1))
            for k, name in enumerate(classes)
        ),
        caption="Recall with 95 % Wilson intervals.",
    )
    return Computed(
        about=about("performance", "performance.classification", model, "Performance"),
        result=Result(
            answer=f"It is right on {accuracy * 100:.1f} % of 540 test inputs.",
            scalars={
                "accuracy": share(accuracy, 0.011, 540, better="higher"),
                "balanced_accuracy": share(accuracy - 0.004, 0.012, 540, better="higher"),
                "log_loss": Scalar(value=0.0443 * (i + 1), low=0.0312 * (i + 1),
                                   high=0.0661 * (i + 1), n=540, unit="nats", better="lower",
                                   method="95 % bootstrap, 2,000 draws"),
                "expected_calibration_error": share(0.0127, 0.004, 540, better="lower",
                                                    bound="estimate"),
            },
            tables={"classes": worst},
            figures={"confusion": confusion(classes, 250)},
            checks=(Check(name="rows sum to one", passed=True, detail="largest gap 2e-16"),),
            arrays={"correct": np.arange(540) % 7 > 0},
        ),
        seconds=1.2345 + i,
        cached=i > 0,
        peak_memory=210_000_000,
    )  # fmt: skip


def attacked(model: str, i: int) -> Computed:
    """The outcome of an attack suite, with pictures, caveats, checks and a finding."""
    value = (0.15, 0.862, 0.844)[i % 3]
    rng = np.random.default_rng(i)
    pictures = rng.integers(0, 255, size=(3, 6, 8, 8)).astype(np.uint8)
    points = Table(
        title="Every point of the curve",
        columns=(
            Column(key="eps", title="ε"),
            Column(key="robust", title="Robust accuracy", kind="share_interval"),
            Column(key="steps", title="Steps", kind="integer"),
        ),
        rows=tuple((f"{e / 50:.2f}", [0.9, 0.85, 0.94], 40) for e in range(45)),
        appendix=True,
    )
    return Computed(
        about=about(
            "pgd", "attacks.suite", model, "Robust accuracy under attack",
            question="How many inputs stay right when an attacker may change them a little?",
            summary="FGSM and PGD with restarts; an input counts as robust when every attack "
            "fails on it.",
            limits="Attacks that were not run may succeed where these failed.",
            threats=("linf", "l2"),
            knowledge="white box",
            params={"steps": 40, "restarts": 5, "step_size": None, "attacks": ["fgsm", "pgd"]},
            references=("Madry, A. et al. (2018). Towards deep learning models resistant to "
                        "adversarial attacks. ICLR.",),
        ),
        result=Result(
            answer=f"At ε = 0.1 (L∞) {value * 100:.1f} % of 500 inputs stay right under both "
            "attacks.",
            scalars={
                "clean_accuracy": share(0.99, 0.008, 500, better="higher"),
                "robust_accuracy[linf, 0.1]": share(value, 0.031, 500, better="higher",
                                                    bound="upper"),
                "robust_accuracy[linf, 0.2]": share(value / 4, 0.02, 500, better="higher",
                                                    bound="upper"),
                "median_min_norm[linf]": Scalar(value=0.3, n=500, censored=">",
                                                reason="no attack succeeded on half of them"),
                "robust_accuracy[l2, 0.5]": share(min(1.0, value + 0.1), 0.03, 500,
                                                  better="higher", bound="upper"),
            },
            tables={"points": points},
            figures={"curve": curve(20 + 15 * i)},
            images={
                "gallery": ImageGrid(
                    title="Clean, perturbed, perturbation",
                    images=pictures,
                    caption="The first inputs that an attack turned wrong.",
                    alt="Six digits, each clean, perturbed and as the difference.",
                    row_labels=("clean", "perturbed", "difference × 4"),
                    column_labels=tuple(f"{k} → {k + 1}" for k in range(6)),
                )
            },
            findings=(
                Finding(
                    severity=("high", "medium", "low")[i % 3],
                    claim=f"{model} loses {84 - 30 * i} points of accuracy to a perturbation an "
                    "eighth of the smallest distance between classes",
                    evidence=("robust_accuracy[linf, 0.1]", "curve", "points", "gallery"),
                    recommendation="Ship the adversarially trained network, or gate the inputs.",
                ),
            ),
            caveats=(Caveat(code="small-sample", detail="Only 500 of 10,000 were attacked"),),
            checks=(
                Check(name="monotone in ε", passed=True, detail="no rise"),
                Check(name="iterative beats single step", passed=True, detail="by 12 points"),
                Check(name="noise is weaker", passed=True, detail="none was run", applies=False),
                Check(name="ε = 1 reaches 0 %", passed=i != 2, detail="3 of 500 survive ε = 1"),
            ),
        ),
        seconds=12.5,
        peak_memory=900_000_000,
    )  # fmt: skip


def requirement(
    name: str, model: str | None, scalar: str, status: Status, words: str, **rest: Any
) -> Requirement:
    """A requirement as the policy words it."""
    given: dict[str, Any] = {
        "operator": ">=", "threshold": 0.5, "threshold_text": "≥ 0.5", "level": "require",
        "observed": 0.15, "low": 0.12, "high": 0.184, "n": 500, "unit": "share",
    }  # fmt: skip
    given.update(rest)
    return Requirement(
        expression=f"{scalar} >= 0.5", name=name, model=model, scalar=scalar, status=status,
        words=words, **given,
    )  # fmt: skip


def model_facts(name: str, i: int = 0) -> ModelFacts:
    """What a record says of a model."""
    return ModelFacts(
        name=name,
        version="3.0",
        loader="torch",
        path=f"{name}.safetensors",
        digest=f"{i:x}f1c9a2e" * 8,
        kind="PyTorch Sequential, 166,406 parameters",
        offers=("probabilities", "gradients"),
        n_outputs=10,
        input_shape=(1, 28, 28),
    )


def audit(
    models: Sequence[str] = NETWORKS,
    *,
    outcomes: Sequence[Outcome] | None = None,
    requirements: Sequence[Requirement] | None = None,
    classes: Sequence[str] = DIGITS,
    **rest: Any,
) -> AuditRun:
    """An audit of the given models: performance, attacks, one skipped and one failed metric."""
    if outcomes is None:
        outcomes = [
            *(performance(m, i, classes) for i, m in enumerate(models)),
            *(attacked(m, i) for i, m in enumerate(models)),
            *(
                Skipped(
                    about=about("lira", "privacy.lira", m, "Membership inference"),
                    reason="LiRA needs `refit`, which a bare weight file does not offer",
                )
                for m in models[:1]
            ),
            *(
                Failed(
                    about=about("shapr", "privacy.shapr", m, "Leakage of single records"),
                    error="MemoryError: cannot hold 60,000 × 10,000 distances",
                    trace='Traceback (most recent call last):\n  File "shapr.py", line 3\n',
                    log="started\nlast words\n",
                )
                for m in models[-1:]
            ),
        ]
    if requirements is None:
        requirements = [
            requirement("pgd", models[0], "robust_accuracy[linf, 0.1]", Status.FAIL,
                        "missed by the whole interval"),
            *(requirement("performance", m, "accuracy", Status.PASS, "met by the whole interval",
                          observed=0.9892, low=0.978, high=0.999, threshold=0.98,
                          threshold_text="≥ 0.98", n=540) for m in models),
            requirement("lira", models[0], "tpr_at_fpr[lira, 0.001]", Status.INCONCLUSIVE,
                        "refused: needs 3,000 non-members, has 1,000", observed=None, low=None,
                        high=None, operator="<=", threshold=0.01, threshold_text="≤ 1 %"),
        ]  # fmt: skip
    given: dict[str, Any] = {
        "audit": {"title": "MNIST digits, release 3", "id": "7q2mkd81", "seed": 0,
                  "prepared_by": "Model Risk", "status": "final", "distribution": "reviewers",
                  "purpose": "Decide which network ships",
                  "out_of_scope": "Poisoned training data"},
        "spec": {"threats": {
            "linf": {"norm": "Linf", "eps": ["0.1", "0.2"], "knowledge": "white box",
                     "goal": "untargeted"},
            "l2": {"norm": "L2", "eps": ["0.5"], "knowledge": "white box", "goal": "untargeted"},
        }},
        "spec_text": SPEC_TEXT,
        "models": tuple(model_facts(m, i) for i, m in enumerate(models)),
        "data": (
            SplitFacts(role="train", loader="sklearn", n=1257, shape=(64,), dtype="float64",
                       digest="8d422c7b" * 8, source="scikit-learn digits", low=0.0, high=1.0),
            SplitFacts(role="test", loader="sklearn", n=540, shape=(64,), dtype="float64",
                       digest="90b2c7d1" * 8, source="scikit-learn digits", low=0.0, high=1.0),
        ),
        "schema": {"task": "classification", "classes": list(classes)},
        "plugins": (
            {"name": "performance", "distribution": "robreport", "version": "0.1.0", "error": "",
             "wrappers": []},
            {"name": "timing", "distribution": "robreport-timing", "version": "1.2", "error": "",
             "wrappers": ["run_metric"]},
            {"name": "broken", "distribution": "robreport-broken", "version": "0.3",
             "error": "import failed: ModuleNotFoundError: nothing", "wrappers": []},
        ),
        "environment": {"versions": {"numpy": "2.4.6", "torch": "2.9.0"}, "threads": 1,
                        "device": "cpu", "python": "3.11.2"},
        "verdict": Verdict(status=Status.FAIL, headline="Requirements not met",
                           sentence="1 failed and 1 is inconclusive of 5 requirements. The first "
                           "network falls below the required robust accuracy at ε = 0.1."),
        "execution": {"started": "2026-11-20T18:41:00+00:00", "finished": FINISHED,
                      "host": "a machine", "workers": 2},
    }  # fmt: skip
    given.update(rest)
    return AuditRun(outcomes=tuple(outcomes), requirements=tuple(requirements), **given)


def record(run: AuditRun, extra: Mapping[str, Any] | None = None) -> RecordFiles:
    """Some record: what documents embed is opaque to them."""
    tree = {"audit": dict(run.audit), "spec_text": run.spec_text, **(extra or {})}
    return RecordFiles(
        audit_json=json.dumps(tree, ensure_ascii=False, indent=1).encode(),
        arrays_npz=b"PK\x05\x06" + bytes(18),
        spec_toml=run.spec_text.encode(),
        finished=str(run.execution.get("finished", "")),
    )
