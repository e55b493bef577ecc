"""JSON Schemas of pydantic models, in the form that editors of TOML show best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

Schema = dict[str, Any]


def table_schema(kind: type[BaseModel], name: str, shared: Schema) -> Schema:
    """Return the JSON Schema of a table; the types that it refers to are added to `shared`.

    Parameters
    ----------
    kind : type of BaseModel
    name : str
        Unique: the types of `kind` stand in `shared` as ``name.Type``.
    shared : dict
        The ``$defs`` of the whole schema.
    """
    try:
        schema = kind.model_json_schema(by_alias=True, ref_template=f"#/$defs/{name}.{{model}}")
    except PydanticInvalidForJsonSchema:
        # a type of a plugin's own, which no schema can express: any value then
        keys = {field.alias or key: field for key, field in kind.model_fields.items()}
        return {
            "type": "object",
            "properties": {
                key: {"description": field.description} if field.description else {}
                for key, field in keys.items()
            },
            "required": [key for key, field in keys.items() if field.is_required()],
            "additionalProperties": False,
        }
    for word, part in schema.pop("$defs", {}).items():
        shared[f"{name}.{word}"] = tidy(part)
    tidied: Schema = tidy(schema)
    return tidied


def tidy(schema: Any) -> Any:
    """Return a schema without titles made from names, and without null, which TOML lacks."""
    if isinstance(schema, list):
        return [tidy(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    made: Schema = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties"):
            made[key] = {name: tidy(part) for name, part in value.items()}
        elif key in ("default", "const", "enum", "examples"):
            if value is not None and _finite(value):
                made[key] = value
        elif key == "anyOf":
            arms = [tidy(arm) for arm in value if arm != {"type": "null"}]
            if len(arms) == 1:
                made = {**arms[0], **made}
            else:
                made[key] = arms
        elif key != "title":
            made[key] = tidy(value)
    return made


def one_of_several(schemas: Iterable[Schema]) -> Schema:
    """Return a schema that any of several meets; the one itself when they are the same."""
    different: list[Schema] = []
    for schema in schemas:
        if schema not in different:
            different.append(schema)
    return different[0] if len(different) == 1 else {"anyOf": different}


def ref(name: str, *path: str) -> Schema:
    """Return a reference to a part of ``$defs``."""
    steps = (step.replace("~", "~0").replace("/", "~1") for step in (name, *path))
    return {"$ref": "#/$defs/" + "/".join(steps)}


def chosen(key: str, value: str) -> Schema:
    """Return a schema that a table with ``key = value`` meets."""
    return {"properties": {key: {"const": value}}, "required": [key]}


def all_of(rules: list[Schema]) -> Schema:
    """Return ``allOf`` with these rules, or nothing, since it must not be empty."""
    return {"allOf": rules} if rules else {}


def choice(key: Schema, names: Iterable[str]) -> Schema:
    """Return the schema of a key that takes one of these names; any text where there are none."""
    known = sorted(names)
    return {**key, "enum": known} if known else key


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return True
