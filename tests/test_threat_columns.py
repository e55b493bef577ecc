"""Columns that threats name, against the columns of the data."""

from __future__ import annotations

from typing import Any

import pytest

from robreport.bundle import DataSchema
from robreport.spec import ThreatEntry
from robreport.threat_columns import column_problems

TABLE = DataSchema(
    task="classification", input_shape=(4,), layout="table",
    features=("age", "hours", "kind", "x<y>"), categories={"kind": ("a", "b")},
)  # fmt: skip


def problems(schema: DataSchema = TABLE, **threat: Any) -> list[str]:
    entry = ThreatEntry.model_validate({"norm": "Linf", "eps": [0.1], **threat})
    return [str(problem) for problem in column_problems({"t": entry}, schema)]


def test_columns_that_are_there_are_no_problem() -> None:
    assert not problems(
        frozen=["age", "kind"], increase=["hours"], integer=["hours"], one_hot=[["age", "x<y>"]]
    )
    assert not problems()


@pytest.mark.parametrize("key", ["frozen", "increase", "decrease", "integer"])
def test_each_column_that_is_not_there_is_named_with_a_near_miss(key: str) -> None:
    found = problems(**{key: ["Age", "nope", "hours"]})
    known = "which is no column; they are age, hours, kind, x<y>."
    assert found == [
        f"threats.t.{key}: names 'Age', {known} Did you mean 'age'?",
        f"threats.t.{key}: names 'nope', {known}",
    ]


def test_members_of_groups_are_columns_too() -> None:
    found = problems(one_hot=[["age", "hour"], ["gone", "kind"]])
    assert [one.split(",")[0] for one in found] == [
        "threats.t.one_hot: names 'hour'",
        "threats.t.one_hot: names 'gone'",
    ]


def test_categories_have_no_direction() -> None:
    (found,) = problems(increase=["kind"])
    assert found == (
        "threats.t.increase: names 'kind', whose categories have no order. "
        "Name it under frozen if it is to stay."
    )


def test_data_without_names_have_no_columns_to_name() -> None:
    plain = DataSchema(task="classification", input_shape=(1, 8, 8), layout="image")
    assert problems(plain, frozen=["age"]) == [
        "threats.t.frozen: names 'age', but the data have no named columns."
    ]
