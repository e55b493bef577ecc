"""What a metric class declares, checked without running it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from robreport.bundle import Needs
from robreport.metric import Comparison, Params
from robreport.plugins import METRIC_ID
from robreport.result import facets
from robreport.threat import Norm

ROLE = re.compile(r"(train|test|calibration|(ood|shift|extra)\.(\*|[A-Za-z0-9._-]{1,64}))\??\Z")
TEXTS = ("title", "question", "summary", "reading", "limits", "knowledge")
OF_THE_MODEL = (
    Needs.PROBABILITIES
    | Needs.LOGITS
    | Needs.GRADIENTS
    | Needs.PARAMETERS
    | Needs.REFIT
    | Needs.TREES
)


def declaration_problems(metric: type[Any], *, required: bool) -> list[str]:
    """Return what is wrong with the class attributes; `required` allows Params without default."""
    found = _words(metric) + _scalar_help(metric) + params_problems(metric, required=required)
    if issubclass(metric, Comparison):
        found += _comparison(metric)
    else:
        found += _metric(metric)
    if inspect.isabstract(metric):
        missing = "compare" if issubclass(metric, Comparison) else "compute"
        found.append(f"it does not implement {missing}")
    return found


def _words(metric: type[Any]) -> list[str]:
    found = []
    identity = getattr(metric, "id", None)
    if not isinstance(identity, str) or not METRIC_ID.match(identity):
        found.append(f"id is {identity!r}, not of the form 'family.method' in lower case")
    for name in TEXTS:
        text = getattr(metric, name, None)
        if not isinstance(text, str) or not text.strip():
            found.append(f"{name} is missing or empty")
    question = getattr(metric, "question", None)
    if isinstance(question, str) and question.strip() and not question.endswith("?"):
        found.append(f"question {question!r} does not end with a question mark")
    references = getattr(metric, "references", None)
    if not isinstance(references, tuple) or not references:
        found.append("references is not a tuple with at least one reference")
    elif any(not isinstance(r, str) or not r.strip() for r in references):
        found.append("references holds something that is not a text")
    return found


def _scalar_help(metric: type[Any]) -> list[str]:
    patterns = getattr(metric, "scalar_help", None)
    if not isinstance(patterns, Mapping):
        return ["scalar_help is not a mapping of scalar names to what they are"]
    found = []
    for pattern, text in patterns.items():
        try:
            facets(pattern)
        except (ValueError, TypeError):
            found.append(f"scalar_help names {pattern!r}, which is not of the form base[facet]")
        if not isinstance(text, str) or not text.strip():
            found.append(f"scalar_help says nothing about {pattern!r}")
    return found


def _metric(metric: type[Any]) -> list[str]:
    found = []
    needs, splits = metric.needs, metric.splits
    if not isinstance(needs, Needs):
        found.append(f"needs is {needs!r}, not a Needs")
        needs = Needs.NONE
    if not isinstance(splits, tuple) or any(not isinstance(role, str) for role in splits):
        return [*found, f"splits is {splits!r}, not a tuple of roles"]
    for role in splits:
        if not ROLE.match(role):
            found.append(
                f"splits names {role!r}; roles are train, test, calibration, ood.*, shift.*, "
                "extra.NAME, with a ? when optional"
            )
    plain = {role.rstrip("?") for role in splits}
    if len(plain) < len(splits):
        found.append(f"splits {splits!r} names a role twice")
    if Needs.MEMBERS in needs and not {"train", "test"} <= plain:
        found.append("needs MEMBERS but splits does not name both train and test")
    for need, head in ((Needs.OOD, "ood."), (Needs.SHIFT, "shift.")):
        if need in needs and not any(role.startswith(head) for role in splits):
            found.append(f"needs {need.name} but splits names no {head}* role")
    if Needs.REGRESSION in needs and Needs.CLASSIFICATION in needs:
        found.append("needs both CLASSIFICATION and REGRESSION, which no audit offers")
    if metric.scope not in ("model", "data"):
        found.append(f"scope is {metric.scope!r}, not 'model' or 'data'")
    if metric.scope == "data" and needs & OF_THE_MODEL:
        words = ", ".join((needs & OF_THE_MODEL).words).upper()
        found.append(f"scope is 'data' but needs asks the model for {words}")
    if metric.threats not in ("none", "optional", "required"):
        found.append(f"threats is {metric.threats!r}, not 'none', 'optional' or 'required'")
    unknown = [norm for norm in metric.norms if norm not in list(Norm)]
    if not isinstance(metric.norms, tuple) or unknown:
        found.append(f"norms is {metric.norms!r}, not a tuple of {', '.join(Norm)}")
    return found


def _comparison(metric: type[Any]) -> list[str]:
    consumes = metric.consumes
    if not isinstance(consumes, frozenset) or not consumes:
        return ["consumes is not a frozenset with at least one metric id"]
    wrong = sorted(str(i) for i in consumes if not isinstance(i, str) or not METRIC_ID.match(i))
    return [f"consumes names {', '.join(wrong)}, not of the form family.method"] if wrong else []


def params_problems(metric: type[Any], *, required: bool) -> list[str]:
    """Return what is wrong with the nested `Params`."""
    kind = getattr(metric, "Params", None)
    if not (inspect.isclass(kind) and issubclass(kind, Params)):
        return ["Params is not derived from robreport.Params"]
    found = []
    if kind.model_config.get("extra") != "forbid":
        found.append("Params takes unknown keys; keep extra='forbid', so that a typo is an error")
    if not kind.model_config.get("frozen"):
        found.append("Params can be changed after validation; keep frozen=True")
    for name, field in kind.model_fields.items():
        if not (field.description or "").strip():
            found.append(f"Params.{name} has no description")
        if field.is_required() and not required:
            found.append(f"Params.{name} has no default, and check_metric was given no params")
    return found + _schema_problems(kind) + _default_problems(kind)


def _schema_problems(kind: type[Params]) -> list[str]:
    try:
        json.dumps(kind.model_json_schema(), allow_nan=False)
    except Exception as error:  # noqa: BLE001 - whatever pydantic cannot express raises its own
        return [f"Params has no JSON schema ({type(error).__name__})"]
    return []


def _default_problems(kind: type[Params]) -> list[str]:
    if any(field.is_required() for field in kind.model_fields.values()):
        return []
    try:
        params = kind()
    except ValidationError as error:
        return [f"Params refuses its own defaults ({error.errors()[0]['msg']})"]
    return round_trip_problems(params)


def round_trip_problems(params: Params) -> list[str]:
    """Return what keeps the parameters from being recorded and read again."""
    try:
        text = json.dumps(params.model_dump(mode="json"), allow_nan=False)
        again = type(params).model_validate(json.loads(text))
    except (ValueError, TypeError) as error:
        first = str(error).splitlines()[0]
        return [f"Params does not survive JSON ({type(error).__name__}: {first})"]
    if again != params:
        return ["Params does not survive JSON: what is read back differs from what was written"]
    return []
