"""What may stand in a record, and what is refused with the reason."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robreport import (
    Caveat,
    Check,
    Column,
    Figure,
    Finding,
    ImageGrid,
    Interval,
    Result,
    Scalar,
    Table,
)
from robreport.errors import MetricError
from robreport.result import check_result, facets


def replace(thing: Any, **changes: Any) -> Any:
    """`dataclasses.replace` that lets a test give wrong types."""
    return dataclasses.replace(thing, **changes)


SCALAR = Scalar(value=0.5, low=0.4, high=0.6, n=10, method="95 % Wilson")
FIGURE = Figure(spec={"mark": "bar"}, title="T", caption="C", alt="A")
GRID = ImageGrid(title="T", caption="C", alt="A", images=np.zeros((1, 2, 3, 3), np.uint8))
TABLE = Table(title="T", columns=(Column(key="a", title="A"),), rows=((1,), ("b",)))


def _refused(words: str, **fields: Any) -> None:
    with pytest.raises(MetricError) as caught:
        check_result(Result(**{"answer": "A.", **fields}))
    assert words in str(caught.value)


def test_what_is_right_is_returned_as_it_is() -> None:
    result = Result(
        answer="Half.", scalars={"acc": SCALAR, "acc[linf, 8/255]": SCALAR}, tables={"t": TABLE},
        figures={"f": FIGURE}, images={"g": GRID}, arrays={"a": np.ones(3)},
        findings=(Finding(severity="low", claim="C", evidence=("acc",), recommendation="R"),),
        caveats=(Caveat(code="small-sample", detail="n = 10"),),
        checks=(Check(name="c", passed=bool(np.True_), detail="d"),),
        artifacts={"gate": Path("gate.npz")},
    )  # fmt: skip
    assert check_result(result) is result


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": math.nan}, "value is nan, which no record can hold"),
        ({"high": math.inf}, "high is inf"),
        ({"value": "0.5"}, "value is a str, not a number"),
        ({"value": True}, "value is a bool, not a number"),
        ({"value": np.array(0.5)}, "value is a ndarray, not a number"),
        ({"value": 0.5 + 0j}, "value is a complex, not a number"),
        ({"n": None}, "n is None"), ({"n": -1}, "n is -1"), ({"n": 2.5}, "n is 2.5"),
        ({"n": True}, "n is True"), ({"n": math.nan}, "n is nan"),
        ({"value": None}, "value is None without a reason"),
        ({"low": None}, "the interval has one end only"),
        ({"low": None, "high": None}, "neither an interval nor a reason"),
        ({"low": 0.7}, "the interval is reversed"),
        ({"method": ""}, "the interval has no method"),
        ({"bound": "uper"}, "bound is 'uper'"),
        ({"better": "more"}, "better is 'more'"),
        ({"censored": "?"}, "censored is '?'"),
        ({"unit": None}, "unit is a NoneType, not a text"),
    ],
)  # fmt: skip
def test_scalars(change: dict[str, Any], words: str) -> None:
    assert words in replace(SCALAR, **change).problem()
    _refused(words, scalars={"acc": replace(SCALAR, **change)})


@pytest.mark.parametrize(
    "good",
    [
        SCALAR,
        replace(SCALAR, value=np.float32(0.5), n=np.int64(3)),
        Scalar(value=None, n=0, reason="refused"),
        Scalar(value=1, n=1, reason="exact"),
        Scalar.of(0.5, Interval(low=0.4, high=0.6, method="m"), n=3),
    ],
)
def test_good_scalars(good: Scalar) -> None:
    assert good.problem() == ""


@pytest.mark.parametrize("name", ["Acc", "acc[", "acc[]", "acc[a]b", "acc [a]", "", "acc[a[b]]"])
def test_bad_names(name: str) -> None:
    with pytest.raises(ValueError, match="not a scalar name"):
        facets(name)
    _refused("not of the form", scalars={name: SCALAR})


@pytest.mark.parametrize("name", ["acc[a,]", "acc[ ]", "acc[a\nb]", "acc[,]"])
def test_empty_and_unprintable_facets(name: str) -> None:
    _refused("empty or unprintable facet", scalars={name: SCALAR})


def test_facets() -> None:
    assert facets("acc") == ("acc", ())
    assert facets("acc[linf,8/255 , x]") == ("acc", ("linf", "8/255", "x"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"answer": " "}, "no answer sentence"),
        ({"answer": None}, "answer is a NoneType, not a text"),
        ({"scalars": [SCALAR]}, "scalars is a list, not a mapping"),
        ({"scalars": {"a": 0.5}}, "scalars a: it is a float, not a Scalar"),
        ({"scalars": {3: SCALAR}}, "scalars: the name 3 is not a text"),
        ({"tables": {"t": [1]}}, "it is a list, not a Table"),
        ({"tables": {"T": TABLE}}, "'T' is not an id"),
        ({"tables": {"t": replace(TABLE, rows=((1, 2),))}}, "row 0 has 2 cells, not 1"),
        ({"tables": {"t": replace(TABLE, rows=((math.nan,),))}}, "row 0 holds nan"),
        ({"tables": {"t": replace(TABLE, rows=((np.float32("inf"),),))}}, "row 0 holds inf"),
        ({"tables": {"t": replace(TABLE, rows=((object(),),))}}, "row 0 holds a object"),
        ({"tables": {"t": replace(TABLE, rows=(([1, 2, 3],),))}}, "a list of 3 in the text column"),
        ({"tables": {"t": replace(TABLE, columns=(Column(key="a", title="A", kind="interval"),),
                                  rows=(((1, 2),),))}}, "a list of 2 in the interval column"),
        ({"tables": {"t": replace(TABLE, columns=())}}, "no columns"),
        ({"tables": {"t": replace(TABLE, columns=("a",))}}, "a column is a str"),
        ({"tables": {"t": replace(TABLE, title=None)}}, "title is a NoneType"),
        ({"figures": {"f": replace(FIGURE, alt=" ")}}, "caption and alt text must not be empty"),
        ({"figures": {"f": replace(FIGURE, spec=[])}}, "spec is a list"),
        ({"images": {"g": replace(GRID, images=np.zeros((1, 1, 2, 2)))}}, "need uint8"),
        ({"images": {"g": replace(GRID, images=[[1]])}}, "need uint8"),
        ({"images": {"g": replace(GRID, images=np.zeros((1, 1, 2, 2, 4), np.uint8))}}, "the shape"),
        ({"images": {"g": replace(GRID, images=np.zeros((2, 2), np.uint8))}}, "the shape (2, 2)"),
        ({"images": {"g": replace(GRID, images=np.zeros((0, 1, 2, 2), np.uint8))}}, "need uint8"),
        ({"images": {"g": replace(GRID, row_labels=("a", "b"))}}, "labels do not fit 1 rows and 2"),
        ({"images": {"g": replace(GRID, cell_labels=(("a",),))}}, "labels do not fit"),
        ({"images": {"g": replace(GRID, row_labels=(1,))}}, "labels must be tuples of texts"),
        ({"arrays": {"a": [1, 2]}}, "it is a list, not a ndarray"),
        ({"arrays": {"a/b": np.ones(2)}}, "'a/b' is not an id"),
        ({"artifacts": {"a": "gate.npz"}}, "it is a str, not a Path"),
        ({"artifacts": {"a": Path("x/gate"), "b": Path("y/gate")}}, "two are called 'gate'"),
        ({"artifacts": {"a": Path("x/..")}}, "no file name"),
        ({"findings": (Finding(severity="low", claim="C", evidence=(), recommendation=""),)}, "e"),
        ({"findings": (Finding(severity="low", claim="C", evidence=("x",), recommendation=""),)},
         "evidence ['x'] is not in the result"),
        ({"findings": (Finding(severity="fail", claim="C", evidence=("a",), recommendation=""),),  # type: ignore[arg-type]
          "scalars": {"a": SCALAR}}, "severity is 'fail'"),
        ({"caveats": (Caveat(code="x", detail=3),)}, "detail is a int"),  # type: ignore[arg-type]
        ({"checks": (Check(name="x", passed="yes", detail=""),)}, "passed is 'yes'"),  # type: ignore[arg-type]
        ({"checks": (Check(name="x", passed=True, detail="", applies=1),)}, "applies is 1"),  # type: ignore[arg-type]
        ({"spent": {"fit": -1.0}}, "-1.0 is no number of seconds"),
        ({"spent": {"fit": math.nan}}, "nan is no number of seconds"),
        ({"spent": {1: 1.0}}, "the name 1 is not a text"),
        ({"caveats": ("text",)}, "caveats holds a str, not a Caveat"),
        ({"checks": None}, "checks is a NoneType, not a tuple"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(fields: dict[str, Any], words: str) -> None:
    _refused(words, **fields)


def test_no_result_at_all() -> None:
    with pytest.raises(MetricError, match="compute returned dict, not a Result"):
        check_result({})


OUTSIDE = "https://example.org/x.png"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"data": {"url": OUTSIDE}}, "spec.data.url refers to"),
        ({"data": {"url": "file:///etc/passwd"}}, "only data: URLs"),
        ({"data": {"url": "rows.json"}}, "only data: URLs"),
        ({"layer": [{"mark": {"type": "image", "url": OUTSIDE}}]}, "spec.layer[0].mark.url"),
        ({"mark": {"type": "bar", "href": OUTSIDE}}, "spec.mark.href"),
        ({"encoding": {"url": {"field": "u"}}}, "spec.encoding.url"),
        ({"encoding": {"href": {"field": "u"}}}, "spec.encoding.href"),
        ({"encoding": {"url": {"value": OUTSIDE}}}, "spec.encoding.url"),
        ({"encoding": {"url": {"value": "data:x", "condition": {"value": OUTSIDE}}}}, "ing.url"),
        ({"data": [{"url": {"signal": "'http:' + x"}}]}, "spec.data[0].url"),
        ({"mark": {"type": "bar", "fill": f"url({OUTSIDE})"}}, "spec.mark.fill refers to"),
        ({"mark": {"fill": f"URL( '{OUTSIDE}')"}}, "spec.mark.fill refers to"),
        ({"data": {"values": [{"a": math.nan}]}}, "is nan, which no record can hold"),
        ({"width": math.inf}, "spec.width is inf"),
        ({"width": {1, 2}}, "spec.width is a set"),
        ({"data": {"values": np.ones(2)}}, "is a ndarray, not plain JSON"),
        ({1: 2}, "the key 1, which is not a text"),
    ],
)  # fmt: skip
def test_figures_that_reach_outside(spec: dict[Any, Any], words: str) -> None:
    _refused(words, figures={"f": replace(FIGURE, spec=spec)})


@pytest.mark.parametrize(
    "spec",
    [
        {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "mark": "bar"},
        {"encoding": {"url": {"value": "data:image/png;base64,AA"}}},
        {"data": {"url": "data:text/csv,a"}},
        {"data": {"values": [{"url": OUTSIDE, "a": 1, "b": None, "c": True}]}},
        {"datasets": {"d": [{"href": OUTSIDE}]}},
        {"mark": {"fill": "url(#gradient)"}},
        {"title": "curl(3) and x"},
    ],
)
def test_figures_that_do_not(spec: dict[str, Any]) -> None:
    check_result(Result(answer="A.", figures={"f": replace(FIGURE, spec=spec)}))


def test_a_spec_that_never_ends_is_refused() -> None:
    spec: dict[str, Any] = {}
    spec["a"] = spec
    _refused("is nested more than", figures={"f": replace(FIGURE, spec=spec)})


def test_a_figure_is_checked_when_it_is_built() -> None:
    class Chart:
        def __init__(self, spec: Any) -> None:
            self.spec = spec

        def to_dict(self, format: str) -> Any:
            assert format == "vega-lite"
            if self.spec is None:
                raise RuntimeError("unfinished")
            return self.spec

    figure = Figure.from_chart(Chart({"mark": "bar"}), title="T", caption="C", alt="A")
    assert figure.spec == {"mark": "bar"}
    for spec, alt, words in (
        (None, "A", "figure 'T' is not a valid chart: unfinished"),
        ({"data": {"url": OUTSIDE}}, "A", "only data: URLs"),
        ({"mark": "bar"}, "", "alt text must not be empty"),
    ):
        with pytest.raises(MetricError) as caught:
            Figure.from_chart(Chart(spec), title="T", caption="C", alt=alt)
        assert words in str(caught.value)


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3),
    st.binary(max_size=3), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from([SCALAR, FIGURE, GRID, TABLE, np.ones(2), object(), Path("x"), int]),
)  # fmt: skip
FIELDS = st.sampled_from(
    ["answer", "scalars", "tables", "figures", "images", "findings", "caveats", "checks", "arrays",
     "artifacts"]
)  # fmt: skip


GROUPS = st.one_of(JUNK, st.dictionaries(st.text(max_size=3), JUNK, max_size=2), st.tuples(JUNK))


@given(st.dictionaries(FIELDS, GROUPS))
def test_any_result_is_right_or_refused(fields: dict[str, Any]) -> None:
    result = Result(**{"answer": "A.", **fields})
    with contextlib.suppress(MetricError):
        assert check_result(result) is result


FINDING = Finding(severity="low", claim="C", evidence=("acc",), recommendation="R")


@settings(max_examples=600)
@given(
    st.sampled_from(
        [("scalars", SCALAR), ("tables", TABLE), ("figures", FIGURE), ("images", GRID),
         ("findings", FINDING), ("caveats", Caveat(code="x", detail="y")),
         ("checks", Check(name="x", passed=True, detail="y")), ("columns", TABLE.columns[0])]
    ),
    st.data(),
)  # fmt: skip
def test_any_part_is_right_or_refused(case: tuple[str, Any], data: st.DataObject) -> None:
    group, part = case
    name = data.draw(st.sampled_from(type(part).__slots__))
    broken = replace(part, **{name: data.draw(st.one_of(JUNK, st.lists(JUNK, max_size=2)))})
    fields: dict[str, Any] = {"answer": "A.", "scalars": {"acc": SCALAR}}
    if group == "columns":
        fields["tables"] = {"x": replace(TABLE, columns=(broken,))}
    else:
        many = group in ("findings", "caveats", "checks")
        fields[group] = (broken,) if many else {"x": broken}
    result = Result(**fields)
    with contextlib.suppress(MetricError):
        assert check_result(result) is result
