"""What a metric's class says of itself, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar, Literal

from pydantic import Field

from robreport import Comparison, Metric, Needs, Result, hookimpl
from robreport import Params as AnyParams
from robreport.catalogue import describe, listing, wrapped
from robreport.discovery import Candidate
from robreport.plugins import Registry


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Opaque:
    pass


class Fitted(Metric):
    id = "fake.fitted"
    title = "Fitted"
    question = "Does it fit?"
    summary = "It is measured " * 20
    reading = "More is better."
    references = ("A. Author, 2020",)
    needs = Needs.LABELS | Needs.GRADIENTS
    splits = ("test", "train?")
    threats = "optional"
    norms = ("L2",)
    knowledge = "white box"
    scalar_help: ClassVar[Mapping[str, str]] = {"fit[eps]": "share that fits"}

    class Params(AnyParams):
        steps: int = Field(40, ge=1, lt=1000, description="Steps.")
        step: float | None = Field(None, gt=0, description="Length.")
        kind: Literal["a", "b"] = Field("a", description="Which.")
        colour: Colour = Field(Colour.RED, description="Hue.")
        names: tuple[str, ...] = Field(("x", "y"), description="Names.")
        flag: bool = Field(True, description="Whether.")
        needed: str = Field(description="No default.", alias="must")
        table: dict[str, int] = Field(default_factory=dict, description="Made anew.")
        made: int = Field(default_factory=lambda data: data["steps"], description="From steps.")

    def compute(self, bundle: Any, params: Any, ctx: Any) -> Result:
        return Result(answer="Fits.")


class Odd(Fitted):
    id = "fake.odd"

    class Params(AnyParams):
        model_config = {"arbitrary_types_allowed": True}  # noqa: RUF012
        thing: Opaque = Field(default_factory=Opaque)


class Compares(Comparison):
    id = "fake.compares"
    title = question = summary = "Compares"
    consumes = frozenset({"fake.fitted"})

    def compare(self, outcomes: Any, params: Any, ctx: Any) -> Result:
        return Result(answer="Compared.")


class Planted:
    @hookimpl
    def register_metrics(self, register: Any) -> None:
        for metric in (Odd, Fitted, Compares):
            register(metric)


def _registry() -> Registry:
    return Registry(
        candidates=[
            Candidate(name="p", distribution="planted", version="1", module="p", load=Planted)
        ]
    )


def test_the_listing_is_sorted_and_names_the_owner() -> None:
    rows = listing(_registry())
    assert [row["id"] for row in rows] == ["fake.compares", "fake.fitted", "fake.odd"]
    assert {row["plugin"] for row in rows} == {"planted"}


def test_parameters_are_described_from_their_types() -> None:
    description = describe(_registry(), "fake.fitted")
    found = {p["name"]: (p["type"], p["default"]) for p in description["params"]}
    assert found == {
        "steps": ("integer (≥ 1, < 1000)", "40"),
        "step": ("number (> 0) | none", "none"),
        "kind": ('"a" | "b"', '"a"'),
        "colour": ('"red" | "blue"', '"red"'),
        "names": ("list of string", '["x", "y"]'),
        "flag": ("boolean", "true"),
        "needed": ("string", "required"),
        "table": ("object", "{}"),
        "made": ("integer", "made from the others"),
    }
    assert description["needs"] == ["labels", "gradients"]
    assert description["splits"] == ["test", "train?"]
    assert (description["threats"], description["norms"]) == ("optional", ["L2"])
    assert (description["kind"], description["scope"]) == ("metric", "model")
    json.dumps(description, allow_nan=False)


def test_comparisons_and_odd_parameters_are_described_too() -> None:
    description = describe(_registry(), "fake.compares")
    assert (description["kind"], description["consumes"]) == ("comparison", ["fake.fitted"])
    assert (description["needs"], description["threats"]) == ([], "none")
    odd = describe(_registry(), "fake.odd")
    assert "Opaque" in odd["params"][0]["type"]
    json.dumps(odd, allow_nan=False)


def test_the_prose_fits_a_terminal() -> None:
    text = wrapped(describe(_registry(), "fake.fitted"))
    assert max(map(len, text.splitlines())) <= 88
    for words in ("fake.fitted: Fitted", "How to read it: More", "Norms: L2", "Needs: labels",
                  "References: A. Author"):  # fmt: skip
        assert words in text
    assert "What it does not show" not in text


def test_every_metric_that_is_installed_can_be_described() -> None:
    registry = Registry()
    for row in listing(registry):
        description = describe(registry, row["id"])
        json.dumps(description, allow_nan=False)
        assert all(p["type"] != "any" for p in description["params"]), description["params"]
        wrapped(description)
