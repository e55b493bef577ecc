"""The JSON Schema of audit.toml, for editors: the spec's tables with all that plugins offer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from robreport import __version__
from robreport.errors import OutputError
from robreport.metric import Comparison
from robreport.plugins import AnyMetric, Registry
from robreport.requirement import schema_pattern
from robreport.schema_parts import (
    Schema,
    all_of,
    choice,
    chosen,
    one_of_several,
    ref,
    table_schema,
)
from robreport.spec import (
    AuditTable,
    DataTable,
    ExecutionTable,
    MetricEntry,
    ModelEntry,
    PluginsTable,
    ReportTable,
    SplitEntry,
    ThreatEntry,
)
from robreport.values import NAME_SCHEMA

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SPLITS = ("train", "test", "calibration")
_GROUPS = ("ood", "shift", "extra")


def audit_schema(registry: Registry) -> Schema:
    """Return the JSON Schema (2020-12) of an audit file for what is installed here.

    What depends on a ``loader`` or an ``id`` is said with if and then, one by one: validators
    then name the key that is wrong, where a list of alternatives would only say that none fits.
    The keys of all alternatives stand in ``properties`` as well, since editors complete those.
    """
    shared: Schema = {}
    shared["models"] = _models(registry, shared)
    _splits(registry, shared)
    shared["data"] = _data(registry, shared)
    shared["metrics"] = _metrics(registry, shared)
    shared["threats"] = table_schema(ThreatEntry, "threats", shared)
    tables: dict[str, tuple[type[BaseModel], str]] = {
        "audit": (AuditTable, "What the document says of itself."),
        "report": (ReportTable, "Which documents are written, and how they look."),
        "plugins": (PluginsTable, "Which plugins may be loaded; all when left out."),
        "execution": (ExecutionTable, "How the audit is run."),
    }
    properties: Schema = {}
    for name, (kind, description) in tables.items():
        shared[name] = table_schema(kind, name, shared)
        properties[name] = {**ref(name), "description": description}
    report = shared["report"]["properties"]
    report["formats"]["items"] = choice({"type": "string"}, registry.renderers)
    report["theme"] = choice(report["theme"], registry.themes)
    named = {"type": "object", "propertyNames": NAME_SCHEMA}
    properties |= {
        "models": {
            "type": "array",
            "items": ref("models"),
            "description": "The models to audit; several are compared.",
        },
        "data": {**ref("data"), "description": "What the models are measured on."},
        "threats": {
            **named,
            "additionalProperties": ref("threats"),
            "description": "What attackers may do, by name.",
        },
        "metrics": {
            "type": "array",
            "items": ref("metrics"),
            "minItems": 1,
            "description": "What is measured, and what is required of it.",
        },
    }
    return {
        "$schema": DIALECT,
        "title": "audit.toml",
        "description": f"An audit for robreport {__version__} with the plugins installed here.",
        "type": "object",
        "properties": properties,
        "required": ["audit", "metrics"],
        "additionalProperties": False,
        "$defs": dict(sorted(shared.items())),
    }


def schema_text(registry: Registry) -> str:
    """Return the schema as a file holds it."""
    return json.dumps(audit_schema(registry), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def write_schema(registry: Registry, path: Path) -> None:
    """Write the schema into a file.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    text = schema_text(registry)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from None


def _with_options(common: Schema, loader: Any, name: str, shared: Schema) -> Schema:
    """Return the schema of an entry of one loader: the common keys and the loader's own."""
    options = table_schema(loader.Options, name, shared)
    own: Schema = options.get("properties", {})
    return {
        "type": "object",
        "description": str(getattr(loader, "summary", "")),
        "properties": {
            **common["properties"],
            **own,
            "loader": {**common["properties"]["loader"], "const": name.partition(":")[2]},
        },
        "required": [*common.get("required", ()), *options.get("required", ())],
        "additionalProperties": False,
    }


def _by_loader(prefix: str, loaders: Mapping[str, Any]) -> Schema:
    """Return the rules that lead from an entry's loader to what such an entry may hold."""
    return all_of(
        [
            {"if": chosen("loader", name), "then": ref(f"{prefix}:{name}")}
            for name in sorted(loaders)
        ]
    )


def _all_options(prefix: str, loaders: Mapping[str, Any], shared: Schema, common: Schema) -> Schema:
    """Return every key of every loader by reference, for editors that complete from it."""
    found: dict[str, list[Schema]] = {}
    for name in sorted(loaders):
        for key in shared[f"{prefix}:{name}"]["properties"]:
            if key not in common["properties"]:
                found.setdefault(key, []).append(ref(f"{prefix}:{name}", "properties", key))
    return {key: one_of_several(schemas) for key, schemas in sorted(found.items())}


def _models(registry: Registry, shared: Schema) -> Schema:
    loaders = registry.model_loaders
    common = table_schema(ModelEntry, "model", shared)
    for name, loader in loaders.items():
        shared[f"model:{name}"] = _with_options(common, loader, f"model:{name}", shared)
    return {
        "type": "object",
        "properties": {
            **_keys_only(_all_options("model", loaders, shared, common)),
            **common["properties"],
            "loader": choice(common["properties"]["loader"], loaders),
        },
        "required": ["name", "loader"],
        **_by_loader("model", loaders),
    }


def _keys_only(options: Schema) -> Schema:
    """Return keys that mean different things to different loaders without a type of their own."""
    return {key: {} if "anyOf" in schema else schema for key, schema in options.items()}


def _splits(registry: Registry, shared: Schema) -> None:
    """Add the schemas of a split of each loader, and of one that names its own loader."""
    loaders = registry.data_loaders
    common = table_schema(SplitEntry, "split", shared)
    for name, loader in loaders.items():
        shared[f"split:{name}"] = _with_options(common, loader, f"split:{name}", shared)
        # what a loader requires may stand in [data] just as well: that is said there
        del shared[f"split:{name}"]["required"]
    shared["split"] = {
        "type": "object",
        "properties": {
            **_keys_only(_all_options("split", loaders, shared, common)),
            **common["properties"],
            "loader": choice(common["properties"]["loader"], loaders),
        },
        **_by_loader("split", loaders),
    }


def _data(registry: Registry, shared: Schema) -> Schema:
    loaders = registry.data_loaders
    common = table_schema(DataTable, "data", shared)
    keys: Schema = common["properties"]
    for name in _SPLITS:
        keys[name] = {**ref("split"), "description": keys[name].get("description", "")}
    for name in _GROUPS:
        keys[name] = {
            "type": "object",
            "description": keys[name].get("description", ""),
            "propertyNames": NAME_SCHEMA,
            "additionalProperties": ref("split"),
        }
    shared.pop("data.SplitEntry", None)
    split = table_schema(SplitEntry, "split", shared)
    options = _all_options("split", loaders, shared, split)
    rules: list[Schema] = []
    for name in sorted(loaders):
        # Where every split is of this loader, [data] has its keys and no other's.
        own = shared[f"split:{name}"]["properties"]
        only = {key: ref(f"split:{name}", "properties", key) for key in own if key in options}
        required = table_schema(loaders[name].Options, f"split:{name}", shared).get("required", ())
        inherited = {"if": {"required": ["loader"]}, "else": ref(f"split:{name}")}
        rules.append(
            {
                "if": chosen("loader", name),
                "then": {
                    **_each_split(inherited),
                    "if": _each_split({"properties": {"loader": {"const": name}}}),
                    "then": {
                        "properties": {**{key: {} for key in keys}, **only},
                        "additionalProperties": False,
                        **all_of(
                            [
                                {
                                    "if": {"not": {"required": [key]}},
                                    "then": _each_split({"required": [key]}),
                                }
                                for key in required
                            ]
                        ),
                    },
                },
            }
        )
    rules.append(
        {"if": {"not": {"required": ["loader"]}}, "then": _each_split({"required": ["loader"]})}
    )
    return {
        "type": "object",
        "properties": {
            **options,
            **keys,
            "loader": choice(keys["loader"], loaders),
        },
        "required": ["task"],
        "anyOf": [{"required": [name]} for name in (*_SPLITS, *_GROUPS)],
        "additionalProperties": False,
        "allOf": rules,
    }


def _each_split(rule: Schema) -> Schema:
    """Return a schema of [data] that asks something of each of its splits."""
    return {
        "properties": {
            **dict.fromkeys(_SPLITS, rule),
            **{name: {"additionalProperties": rule} for name in _GROUPS},
        }
    }


def _metrics(registry: Registry, shared: Schema) -> Schema:
    common = table_schema(MetricEntry, "metric", shared)
    keys = common["properties"]
    for key in ("threats", "models"):
        keys[key]["uniqueItems"] = True
    keys["models"]["minItems"] = 1
    for key in ("require", "warn"):
        keys[key]["items"] = {"type": "string", "pattern": schema_pattern()}
    every: dict[str, list[Schema]] = {}
    for identity, metric in registry.metrics.items():
        params = table_schema(metric.Params, f"params:{identity}", shared)
        shared[f"params:{identity}"] = params
        for key in params.get("properties", {}):
            every.setdefault(key, []).append(ref(f"params:{identity}", "properties", key))
    params = {key: one_of_several(schemas) for key, schemas in sorted(every.items())}
    return {
        "type": "object",
        "properties": {
            **keys,
            "id": choice(keys["id"], registry.metrics),
            "params": {**keys["params"], "properties": _keys_only(params)},
        },
        # a name is needed only where an id stands twice, which no schema can see
        "required": ["id"],
        "additionalProperties": False,
        **all_of(
            [
                {"if": chosen("id", identity), "then": _metric(identity, metric, shared)}
                for identity, metric in sorted(registry.metrics.items())
            ]
        ),
    }


def _metric(identity: str, metric: AnyMetric, shared: Schema) -> Schema:
    """Return what holds for an entry of one metric."""
    required_text = {"type": "string", "pattern": schema_pattern(metric.scalar_help)}
    properties: Schema = {
        "params": ref(f"params:{identity}"),
        "require": {"items": required_text},
        "warn": {"items": required_text},
    }
    required = ["params"] if shared[f"params:{identity}"].get("required") else []
    takes = getattr(metric, "threats", "none")
    if takes == "none":
        properties["threats"] = {"maxItems": 0}
    elif takes == "required":
        required.append("threats")
        properties["threats"] = {"minItems": 1}
    if not issubclass(metric, Comparison) and metric.scope == "data":
        # none at all: an empty list is refused for every metric
        properties["models"] = {"maxItems": 0}
    return {
        "description": metric.question,
        "properties": properties,
        **({"required": required} if required else {}),
    }
