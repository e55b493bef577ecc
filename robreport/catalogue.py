"""The catalogue of metrics: what each answers, its parameters and scalars, from the classes."""

from __future__ import annotations

import textwrap
from typing import Any

from pydantic.fields import FieldInfo

from robreport.bundle import Needs
from robreport.metric import Comparison
from robreport.plugins import Registry


def listing(registry: Registry) -> list[dict[str, str]]:
    """Return id, title, question and plugin of every metric, by id."""
    return [
        {
            "id": identity,
            "title": metric.title,
            "question": metric.question,
            "plugin": registry.owner("metrics", identity).distribution,
        }
        for identity, metric in sorted(registry.metrics.items())
    ]


def describe(registry: Registry, identity: str) -> dict[str, Any]:
    """Return all that a metric's class says of itself, as plain JSON."""
    metric = registry.metrics[identity]
    comparison = issubclass(metric, Comparison)
    needs: Needs = getattr(metric, "needs", Needs.NONE)
    return {
        "id": identity,
        "kind": "comparison" if comparison else "metric",
        "title": metric.title,
        "question": metric.question,
        "summary": metric.summary,
        "reading": metric.reading,
        "limits": metric.limits,
        "knowledge": metric.knowledge,
        "references": list(metric.references),
        "needs": list(needs.words),
        "splits": list(getattr(metric, "splits", ())),
        "threats": getattr(metric, "threats", "none"),
        "norms": [str(norm) for norm in getattr(metric, "norms", ())],
        "consumes": sorted(getattr(metric, "consumes", ())),
        "params": [
            {
                "name": name,
                "type": _type(metric.Params.model_json_schema()["properties"][name]),
                "default": _default(field),
                "description": field.description or "",
            }
            for name, field in metric.Params.model_fields.items()
        ],
        "scalars": dict(metric.scalar_help),
    }


def wrapped(description: dict[str, Any]) -> str:
    """Return a description's prose for a terminal."""
    lines = [f"{description['id']}: {description['title']}", "", description["question"], ""]
    lines += textwrap.wrap(description["summary"], 88)
    for key, label in (
        ("reading", "How to read it"), ("limits", "What it does not show"),
        ("knowledge", "Knowledge"), ("needs", "Needs"), ("splits", "Reads the splits"),
        ("norms", "Norms"), ("consumes", "Compares"), ("references", "References"),
    ):  # fmt: skip
        value = description[key]
        text = ", ".join(value) if isinstance(value, list) and key != "references" else value
        if isinstance(text, list):
            text = "; ".join(text)
        if text:
            lines += ["", *textwrap.wrap(f"{label}: {text}", 88)]
    return "\n".join(lines)


def _type(schema: dict[str, Any]) -> str:
    """A parameter's type and limits in words, from its JSON Schema."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " | ".join(_type(part) for part in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    word = str(schema.get("type", "any"))
    if word == "array" and "items" in schema:
        word = f"list of {_type(schema['items'])}"
    limits = [
        f"{sign} {schema[key]}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"),
                          ("exclusiveMaximum", "<"))
        if key in schema
    ]  # fmt: skip
    return f"{word} ({', '.join(limits)})" if limits else word


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return "none" if default is None else str(default)
