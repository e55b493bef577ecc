"""SHAPr, put together: scalars, tables, figures and findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Bundle, Caveat, Check, Context, Finding, Result, Scalar, SkipMetric, Split
from robreport import stats as statistics
from robreport_plugins.methods.class_names import short_names
from robreport_plugins.privacy import shapr_charts, shapr_tables
from robreport_plugins.privacy.metrics import ShaprParams
from robreport_plugins.privacy.shapr import ROUNDING, ShaprScores, shapr
from robreport_plugins.privacy.shapr_intervals import Spread

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_QUANTILES = (0.5, 0.9, 0.99)
_SMALL = 100
_MOSTLY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """Outputs and labels of one split, or of a random sample of it."""

    outputs: FloatArray
    y: IntArray
    rows: IntArray
    whole: int


def measure(bundle: Bundle, params: ShaprParams, ctx: Context) -> Result:
    """Return the exposure of the bundle's training records."""
    thresholds = tuple(sorted(set(params.thresholds)))
    train, test = _sides(bundle, params, ctx)
    found = shapr(
        train.outputs, train.y, test.outputs, test.y,
        threads=ctx.threads, rng=ctx.rng,
        progress=lambda done, total: ctx.progress(done, total, "test points scored"),
    )  # fmt: skip
    classes = bundle.schema.n_classes or train.outputs.shape[1]
    if max(int(train.y.max()), int(test.y.max())) >= classes:
        raise ValueError(f"labels reach beyond the data's {classes} classes (0 … {classes - 1})")
    names = short_names(bundle.schema.classes or tuple(str(i) for i in range(classes)))
    spread, scores = Spread(found), found.scores
    index = bundle.split("train").index[train.rows]
    top = np.lexsort((index, -scores))[: params.top_k]
    scalars = _scalars(found, spread, thresholds)
    images = {}
    if params.show_images and bundle.schema.layout == "image":
        grid = shapr_charts.most_exposed(bundle, train.rows[top], scores[top], names)
        images = {} if grid is None else {"most_exposed": grid}
    return Result(
        answer=_answer(scalars, thresholds),
        scalars=scalars,
        tables={
            "most_exposed": shapr_tables.most_exposed(index, scores, train.y, names, top, spread),
            "per_class": shapr_tables.per_class(scores, train.y, names),
            "distribution": shapr_tables.distribution(scores),
            "by_rank": shapr_tables.by_rank(scores),
        },
        figures={
            "by_rank": shapr_charts.by_rank(
                scores, thresholds, scalars["irrelevant_shapr"].value or 0.0
            ),
            "distribution": shapr_charts.distribution(scores),
            "per_class": shapr_charts.per_class(scores, train.y, names),
        },
        images=images,
        findings=(
            *_tail_finding(scalars, thresholds, names, train.y, top, scores),
            *_class_findings(scores, found.irrelevant, train.y, names),
        ),
        caveats=_caveats(found, train, test),
        checks=(_accuracy_check(found),),
        arrays={
            "shapr": scores,
            "record": np.asarray(index, dtype=np.int64),
            "label": np.asarray(train.y, dtype=np.int64),
        },
    )


def _sides(bundle: Bundle, params: ShaprParams, ctx: Context) -> tuple[_Side, _Side]:
    seed = ctx.seed if params.subsample_seed is None else params.subsample_seed
    streams = np.random.default_rng(seed).spawn(2)
    sides = []
    for done, (role, most) in enumerate((("train", params.n_train), ("test", params.n_test))):
        split = bundle.split(role)
        if not len(split):
            raise SkipMetric(f"the {role} set is empty")
        rows = np.arange(len(split))
        if most is not None and most < len(split):
            rows = np.sort(streams[done].choice(len(split), size=most, replace=False))
        ctx.progress(done, 2, f"reading outputs on the {role} set")
        sides.append(_side(bundle, split, rows))
    return sides[0], sides[1]


def _side(bundle: Bundle, split: Split, rows: IntArray) -> _Side:
    x = split.x if rows.size == len(split) else split.x[rows]
    outputs = np.asarray(bundle.model.predict_proba(x), dtype=np.float64)
    if outputs.ndim != 2 or outputs.shape[0] != rows.size:
        raise ValueError(
            f"the model gave outputs of shape {outputs.shape} for {rows.size} {split.role} examples"
        )
    return _Side(outputs=outputs, y=split.labels[rows], rows=rows, whole=len(split))


_LABELS = {
    "max_shapr": "Highest SHAPr",
    "mean_shapr": "Mean SHAPr",
    "irrelevant_shapr": "SHAPr of a record that never matters",
}


def _scalars(
    found: ShaprScores, spread: Spread, thresholds: tuple[float, ...]
) -> dict[str, Scalar]:
    n, m, scores = spread.records, spread.test_points, found.scores
    mean = float(np.clip(found.worth.mean(), 0.0, 1.0))
    highest = int(np.argmax(scores))
    own = spread.of_record(highest)
    worst: dict[str, Any] = {"n": m, "better": "lower", "bound": "estimate"}
    values = {
        "max_shapr": Scalar.of(float(scores[highest]), own, **worst)
        if own is not None and own.low < own.high
        else Scalar(
            value=float(scores[highest]), reason="no interval: too few distinct test points",
            **worst,
        ),
        "mean_shapr": Scalar.of(
            mean, statistics.wilson(mean * m, m), n=m, unit="share", better=None
        ),
    }  # fmt: skip
    # A mean over test points of numbers in [0, 1], for which Wilson's interval is conservative.
    base = float(found.irrelevant.mean())
    values["irrelevant_shapr"] = Scalar.of(base, statistics.wilson(base * m, m), n=m, better=None)
    levels: list[tuple[str, float | FloatArray]] = [(f"{t:g}", t) for t in thresholds]
    for word, level in [*levels, ("irrelevant", found.irrelevant)]:
        share, interval = spread.share_above(level)
        values[f"share_above[{word}]"] = Scalar.of(
            share, interval, n=n, unit="share", better="lower", bound="estimate"
        )
    for q in _QUANTILES:
        value, interval = spread.quantile(q)
        name = f"shapr_quantile[{q:g}]"
        if interval.low < interval.high:
            values[name] = Scalar.of(value, interval, n=n, better="lower", bound="estimate")
        else:
            reason = "no interval: the scores around it are all the same"
            values[name] = Scalar(value=value, n=n, better="lower", reason=reason)
    return {name: replace(scalar, label=_label(name)) for name, scalar in values.items()}


def _label(name: str) -> str:
    base, _, facet = name.rstrip("]").partition("[")
    if base == "share_above":
        above = "one that never matters" if facet == "irrelevant" else facet
        return f"Records that score above {above}"
    if base == "shapr_quantile":
        return f"SHAPr, {100 * float(facet):g} % quantile"
    return _LABELS[base]


def _tail_finding(
    scalars: Mapping[str, Scalar],
    thresholds: tuple[float, ...],
    names: tuple[str, ...],
    y: IntArray,
    top: IntArray,
    scores: FloatArray,
) -> tuple[Finding, ...]:
    highest = thresholds[-1]
    share = scalars[f"share_above[{highest:g}]"]
    count = int(np.sum(scores > highest + ROUNDING))
    if not count:
        return ()
    first = int(top[0])
    sure = share.low is not None and share.low >= 0.01
    return (
        Finding(
            severity="medium" if sure else "low",
            claim=(
                f"{count:,} of {scores.size:,} training records score above {highest:g}; the "
                f"highest, of class {names[int(y[first])]}, scores {scores[first]:.2f}."
            ),
            evidence=(f"share_above[{highest:g}]", "max_shapr", "most_exposed"),
            recommendation=(
                "Look at the listed records: outliers and mislabelled ones can be removed; for "
                "sensitive ones, train with differential privacy or more regularisation."
            ),
        ),
    )


def _class_findings(
    scores: FloatArray, irrelevant: FloatArray, y: IntArray, names: tuple[str, ...]
) -> tuple[Finding, ...]:
    """Name classes that crowd the top tenth: Fisher's exact test against the rest, Holm.

    A class's scores add up to its share of the test points, so that a class with a larger share
    of the test than of the training set scores higher throughout; that is divided out.
    """
    from scipy.stats import fisher_exact

    found, of_class = np.unique(y, return_inverse=True)
    usual = irrelevant / (np.bincount(of_class) / y.size)[of_class]
    scores = scores / np.where(usual > 0, usual, 1.0)
    high = scores > np.quantile(scores, 0.9) + ROUNDING
    present = [int(c) for c in found]
    if len(present) < 2 or not high.any():
        return ()
    p, shares = [], {}
    for c in present:
        own = y == c
        table = np.array([
            [int(np.sum(high & own)), int(np.sum(~high & own))],
            [int(np.sum(high & ~own)), int(np.sum(~high & ~own))],
        ])  # fmt: skip
        p.append(float(fisher_exact(table, alternative="greater").pvalue))
        shares[c] = float(high[own].mean()), float(high[~own].mean())
    crowded = [
        c
        for c, adjusted in zip(present, statistics.holm(p), strict=True)
        if adjusted < 0.05 and shares[c][0] >= 2 * shares[c][1]
    ]
    crowded = sorted(crowded, key=lambda c: (-shares[c][0], c))[:3]
    return tuple(
        Finding(
            severity="medium" if shares[c][0] >= 4 * shares[c][1] else "low",
            claim=(
                f"Records of class {names[c]} are exposed more than others: "
                f"{100 * shares[c][0]:.0f} % of them are in the top tenth of scores relative to "
                f"their class's share, {100 * shares[c][1]:.0f} % of the other classes' records."
            ),
            evidence=("per_class",),
            recommendation=f"Check how membership attacks fare on class {names[c]} alone.",
            affected=names[c],
        )
        for c in crowded
    )


def _caveats(found: ShaprScores, train: _Side, test: _Side) -> tuple[Caveat, ...]:
    made = []
    if train.y.size < train.whole or test.y.size < test.whole:
        detail = (
            f"{train.y.size:,} of {train.whole:,} training records were scored against "
            f"{test.y.size:,} of {test.whole:,} test points; records left out have no score, and "
            "scores are relative to those kept."
        )
        made.append(Caveat(code="shapr-sample", detail=detail))
    if found.tied > _MOSTLY * train.y.size:
        detail = (
            f"{found.tied:,} of {train.y.size:,} training records share their output with another "
            "record; within such a group, records of one class score alike."
        )
        made.append(Caveat(code="shapr-tied-outputs", detail=detail))
    if test.y.size < _SMALL:
        made.append(Caveat(code="small-sample", detail=f"{test.y.size} test examples."))
    return tuple(made)


def _accuracy_check(found: ShaprScores) -> Check:
    gap = float(np.abs(found.worth - found.nearest).max())
    mean_gap = abs(float(found.scores.mean()) - float(found.nearest.mean()))
    return Check(
        name="scores add up to the nearest-neighbour accuracy",
        passed=gap < 1e-8 and mean_gap < 1e-8,
        detail=(
            "the Shapley values of each test point must sum to the share of its nearest records "
            "that are of its class, which is counted apart; they do to 8 digits if this passed"
        ),
    )


def _answer(scalars: Mapping[str, Scalar], thresholds: tuple[float, ...]) -> str:
    highest = thresholds[-1]
    share = scalars[f"share_above[{highest:g}]"]
    return (
        f"The most exposed of {share.n:,} training records scores "
        f"{scalars['max_shapr'].value:.2f}, the average record {scalars['mean_shapr'].value:.2f}; "
        f"{100 * (share.value or 0):.1f} % score above {highest:g}."
    )
