"""The catalogue of metrics: what each answers, its parameters and scalars, from the classes."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo

from robreport.bundle import Needs
from robreport.metric import Comparison, Params
from robreport.plugins import Registry
from robreport.spec import jsonable


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
    types = _types(metric.Params)
    return {
        "id": identity,
        "kind": "comparison" if comparison else "metric",
        "scope": getattr(metric, "scope", ""),
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
                "type": types.get(name, "any"),
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


def _types(params: type[Params]) -> dict[str, str]:
    """Return each parameter's type and limits in words, from the JSON Schema of all."""
    try:
        schema = params.model_json_schema(by_alias=False)
    except PydanticInvalidForJsonSchema:
        # a type of the plugin's own, which no schema can express
        return {name: str(field.annotation) for name, field in params.model_fields.items()}
    named = schema.get("$defs", {})
    return {name: _type(part, named) for name, part in schema.get("properties", {}).items()}


def _type(schema: dict[str, Any], named: dict[str, Any]) -> str:
    """Return a type and its limits in words; `named` are the types that it may refer to."""
    if "enum" in schema:
        return " | ".join(_toml(word) for word in schema["enum"])
    if "const" in schema:
        return _toml(schema["const"])
    if "anyOf" in schema:
        return " | ".join(_type(part, named) for part in schema["anyOf"])
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return _type(named[name], {}) if "enum" in named.get(name, {}) else name
    word = {"null": "none"}.get(str(schema.get("type", "any")), str(schema.get("type", "any")))
    if word == "array" and "items" in schema:
        word = f"list of {_type(schema['items'], named)}"
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
    if field.default_factory_takes_validated_data:
        return "made from the others"
    return _toml(field.get_default(call_default_factory=True))


def _toml(value: Any) -> str:
    """Return a value as an audit file would hold it; none has no spelling there."""
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(jsonable(value), ensure_ascii=False)
