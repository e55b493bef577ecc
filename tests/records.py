"""Results and runs of every shape, for the tests of what is written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from robreport import (
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
from robreport.outcome import AuditRun, Computed, Failed, ModelFacts, Skipped, SplitFacts, Subject
from robreport.policy import decide_verdict, judge_all
from robreport.requirement import parse_expression

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LINE = TEXT.map(lambda text: f"T{text}")
NUMBER = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53))
IDS = st.from_regex(r"[a-z][a-z0-9_.-]{0,6}", fullmatch=True)
NAMES = st.one_of(
    st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True),
    st.sampled_from(["acc[linf, 8/255]", "acc[l2, 0.1]", "tpr_at_fpr[lira, 0.01]"]),
)
PLAIN = st.one_of(st.none(), st.booleans(), NUMBER, TEXT)


@st.composite
def scalars(draw: st.DrawFn) -> Scalar:
    value = draw(st.one_of(st.none(), NUMBER))
    ends = sorted([draw(NUMBER), draw(NUMBER)]) if draw(st.booleans()) else [None, None]
    return Scalar(
        value=value, n=draw(st.integers(0, 10**9)), low=ends[0], high=ends[1],
        unit=draw(st.sampled_from(["", "share", "s"])),
        better=draw(st.sampled_from(["higher", "lower", None])),
        bound=draw(st.sampled_from(["exact", "upper", "lower", "estimate"])),
        method=draw(LINE), reason=draw(LINE), censored=draw(st.sampled_from(["", ">", "<"])),
        label=draw(TEXT),
    )  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> Table:
    kinds = draw(st.lists(st.sampled_from(["text", "number", "share", "interval"]), min_size=1,
                          max_size=3))  # fmt: skip
    columns = tuple(
        Column(key=f"k{i}", title=draw(TEXT), kind=kind)  # type: ignore[arg-type]
        for i, kind in enumerate(kinds)
    )
    interval = st.lists(st.one_of(st.none(), NUMBER), min_size=3, max_size=3)
    row = st.tuples(*(interval if kind == "interval" else PLAIN for kind in kinds))
    rows = tuple(draw(st.lists(row, max_size=3)))
    return Table(title=draw(TEXT), columns=columns, rows=rows, caption=draw(TEXT))


SPECS = st.dictionaries(
    st.sampled_from(["mark", "data", "width", "encoding", "title"]),
    st.recursive(PLAIN, lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(IDS, inner, max_size=2)), max_leaves=4),
    max_size=3,
).filter(lambda spec: "url" not in repr(spec) and "href" not in repr(spec))  # fmt: skip
FIGURES = st.builds(Figure, spec=SPECS, title=TEXT, caption=LINE, alt=LINE)
PIXELS = arrays.arrays(
    np.uint8,
    st.one_of(
        arrays.array_shapes(min_dims=4, max_dims=4, max_side=3),
        arrays.array_shapes(min_dims=4, max_dims=4, max_side=3).map(lambda shape: (*shape, 3)),
    ),
)
GRIDS = st.builds(ImageGrid, title=TEXT, images=PIXELS, caption=LINE, alt=LINE)
ARRAYS: st.SearchStrategy[Any] = arrays.arrays(
    st.sampled_from([np.dtype(t) for t in ("<f8", "<f4", "<i8", "u1", "?", ">f4", "<U3")]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    elements=None,
)


@st.composite
def results(draw: st.DrawFn) -> Result:
    numbers = draw(st.dictionaries(NAMES, scalars(), max_size=3))
    evidence = st.lists(st.sampled_from(sorted(numbers) or ["none"]), min_size=1, max_size=2)
    finding = st.builds(
        Finding, severity=st.sampled_from(["high", "medium", "low"]), claim=LINE,
        evidence=evidence.map(tuple), recommendation=TEXT, affected=TEXT,
    )  # fmt: skip
    return Result(
        answer=draw(LINE),
        scalars=numbers,
        tables=draw(st.dictionaries(IDS, tables(), max_size=2)),
        figures=draw(st.dictionaries(IDS, FIGURES, max_size=2)),
        images=draw(st.dictionaries(IDS, GRIDS, max_size=1)),
        findings=tuple(draw(st.lists(finding, max_size=2))) if numbers else (),
        caveats=tuple(draw(st.lists(st.builds(Caveat, code=LINE, detail=TEXT), max_size=2))),
        checks=tuple(
            draw(
                st.lists(
                    st.builds(
                        Check,
                        name=TEXT,
                        passed=st.booleans(),
                        detail=TEXT,
                        applies=st.booleans(),
                        vital=st.booleans(),
                    ),
                    max_size=2,
                )
            )
        ),
        arrays=draw(st.dictionaries(IDS, ARRAYS, max_size=2)),
        artifacts=draw(
            st.dictionaries(IDS, IDS.map(Path), max_size=2).filter(
                lambda paths: len({path.name for path in paths.values()}) == len(paths)
            )
        ),
        # as the record rounds them
        spent=draw(st.dictionaries(TEXT, st.integers(0, 10**6).map(lambda n: n / 8), max_size=2)),
    )


RESULT = Result(
    answer="The share is 90 %.",
    scalars={
        "acc": Scalar(value=0.9, low=0.8, high=0.95, n=100, unit="share", better="higher",
                      method="95 % Wilson"),
        "acc[linf, 8/255]": Scalar(value=None, n=0, reason="refused", bound="upper"),
    },
    tables={"t": Table(title="T", columns=(Column(key="a", title="A"),
                                           Column(key="b", title="B", kind="interval"),
                                           Column(key="c", title="C", kind="spent")),
                       rows=(("x", (1.0, 0.5, 1.5), "fit"), (None, None, None)))},
    figures={"f": Figure(spec={"mark": "bar"}, title="F", caption="C", alt="A")},
    images={"g": ImageGrid(title="G", images=np.arange(8, dtype=np.uint8).reshape(1, 2, 2, 2),
                           caption="C", alt="A", column_labels=("l", "r"))},
    findings=(Finding(severity="low", claim="C", evidence=("acc",), recommendation="R"),),
    caveats=(Caveat(code="small-sample", detail="n = 100"),),
    checks=(Check(name="c", passed=True, detail="d"),),
    arrays={"right": np.array([True, False, True]), "norm": np.array([0.1, np.inf])},
    spent={"fit": 2.5},
)  # fmt: skip


def about(name: str, model: str | None = "m") -> Subject:
    return Subject(
        name=name, metric="fake.one", model=model, title="Title", question="Q?", summary="S.",
        references=("A",), params={"steps": 3, "names": ["a"]}, threats=("linf",),
        splits={"test": 100},
    )  # fmt: skip


def run(result: Result = RESULT, **rest: Any) -> AuditRun:
    """Return a run with an outcome of each kind."""
    outcomes = (
        Computed(about=about("one"), result=result, seconds=1.25, cached=True, peak_memory=5),
        Skipped(about=about("two", None), reason="needs labels"),
        Failed(about=about("three"), error="boom", kind="timeout", trace="T", log="L", seconds=2.0),
    )
    requirements = judge_all(outcomes, {"one": ([parse_expression("acc >= 0.5")], [])})
    fields: dict[str, Any] = {
        "audit": {"title": "T", "formats": ["html"]},
        "spec": {"audit": {"title": "T"}},
        "spec_text": "[audit]\ntitle = 'T'\n",
        "models": (
            ModelFacts(name="m", version="1", loader="net", path="m.pt", digest="d", kind="K",
                       offers=("logits",), n_outputs=3, input_shape=(1, 2), facts={"layers": 2}),
        ),
        "data": (
            SplitFacts(role="test", loader="npz", n=100, shape=(1, 2), dtype="float32", digest="d",
                       source="S", low=0.0, high=1.0, class_counts={"a": 60, "b": 40}),
        ),
        "schema": {"task": "classification", "classes": ["a", "b"]},
        "plugins": ({"name": "p", "error": ""},),
        "environment": {"threads": 1},
        "outcomes": outcomes,
        "requirements": requirements,
        "verdict": decide_verdict(requirements, outcomes),
        "execution": {"finished": "2024-01-01T00:00:00+00:00"},
    }  # fmt: skip
    return AuditRun(**{**fields, **rest})
