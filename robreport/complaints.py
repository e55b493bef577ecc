"""Turn what is wrong with a TOML tree into problems that name the place and what is allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from robreport.errors import MISSING, Problem, near_misses, printable, unknown_word

MAX_DEPTH = 32
_BARE_KEY = re.compile(r"[A-Za-z0-9._-]+\Z")
_NEEDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "an array",
    "tuple_type": "an array",
    "set_type": "an array",
    "frozen_set_type": "an array",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dataclass_type": "a table",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "string_too_short": "a text of at least {min_length} characters",
    "string_too_long": "a text of at most {max_length} characters",
    "string_pattern_mismatch": "a text of the form {pattern}",
    "too_short": "an array of at least {min_length} items",
    "too_long": "an array of at most {max_length} items",
}


def join(where: str, key: str) -> str:
    """Return the TOML path of a key: quoted where TOML would quote it."""
    part = key if _BARE_KEY.match(key) else json.dumps(key, ensure_ascii=False)
    return f"{where}.{part}" if where else part


def shown(value: object) -> str:
    """Return the value as TOML would write it, on one line and shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return printable(text, 80)


def cleaned(tree: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """Return the tree without what no spec can hold; each thing left out is a problem.

    TOML's own limits are not kept by its parser: whole numbers beyond 64 bits, and tables nested
    thousands deep, would raise far from here. A NUL or half a surrogate pair is no file name.
    """
    return {
        key: value
        for key, item in tree.items()
        if (value := _cleaned(item, join("", key), 1, problems)) is not _BAD
    }


_BAD = object()


def _cleaned(value: Any, where: str, depth: int, problems: list[Problem]) -> Any:
    if isinstance(value, Mapping | list) and depth > MAX_DEPTH:
        problems.append(Problem(where, f"is nested more than {MAX_DEPTH} deep."))
        return _BAD
    if isinstance(value, Mapping):
        items = {
            key: _cleaned(item, join(where, key), depth + 1, problems)
            for key, item in value.items()
            if _usable_text(key, where, problems)
        }
        return {key: item for key, item in items.items() if item is not _BAD}
    if isinstance(value, list):
        each = (_cleaned(v, f"{where}[{i}]", depth + 1, problems) for i, v in enumerate(value))
        return [item for item in each if item is not _BAD]
    if isinstance(value, str):
        return value if _usable_text(value, where, problems) else _BAD
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        problems.append(Problem(where, "a whole number of 64 bits is needed, found a larger one."))
        return _BAD
    return value


def _usable_text(text: str, where: str, problems: list[Problem]) -> bool:
    try:
        text.encode()
        wrong = "a NUL character" if "\0" in text else ""
    except UnicodeEncodeError:
        wrong = "bytes that are no UTF-8"
    if wrong:
        problems.append(Problem(where, f"the text {shown(text)} holds {wrong}."))
    return not wrong


def problems_of(
    error: ValidationError,
    kind: type[BaseModel],
    where: str,
    given: object,
    also: Sequence[str] = (),
) -> list[Problem]:
    """Return pydantic's errors as problems with TOML paths, allowed values and near misses.

    Parameters
    ----------
    kind : type of BaseModel
        What was validated against.
    where : str
        TOML path of `given`.
    given : object
        What was validated; tells the keys of a path from the tags that pydantic mixes in.
    also : sequence of str
        Further keys that are known at the top: those that an entry of any kind has.
    """
    needs: dict[str, list[str]] = {}
    said: dict[str, list[Problem]] = {}
    found: dict[str, object] = {}
    for item in error.errors(include_url=False):
        place = _place(item, where, given)
        need = _need(item)
        found[place] = item.get("input")
        if need:
            wanted = needs.setdefault(place, [])
            wanted += [need] if need not in wanted else []
        else:
            message, hint = _explained(item, kind, also)
            problem = Problem(place, message, hint)
            wordings = said.setdefault(place, [])
            wordings += [problem] if problem not in wordings else []
    problems = []
    for place in found:
        # one arm of a union refuses the whole value, another a part of it: the part says more
        if any(other.startswith((f"{place}.", f"{place}[")) for other in found):
            continue
        problems += said.get(place, [])
        allowed = needs.get(place, [])
        if allowed:
            message = f"{' or '.join(allowed)} is needed, found {shown(found[place])}."
            problems.append(Problem(place, message, _nearest(allowed, found[place])))
    return problems


def _place(item: Mapping[str, Any], where: str, given: object) -> str:
    place, current = where, given
    loc = item["loc"]
    for i, part in enumerate(loc):
        if isinstance(part, int):
            place += f"[{part}]"
            inside = isinstance(current, Sequence) and 0 <= part < len(current)
            current = current[part] if inside else None  # type: ignore[index]
        elif isinstance(current, Mapping) and part in current:
            place, current = join(place, part), current[part]
        elif item["type"] == "missing" and i == len(loc) - 1:
            place = join(place, part)
    return place


def _need(item: Mapping[str, Any]) -> str:
    """Return what would have been right, as "a number", or an empty string."""
    template = _NEEDS.get(item["type"], "")
    return template.format(**item.get("ctx", {})) if template else ""


def _nearest(wanted: Sequence[str], value: object) -> str:
    words = re.findall(r"'([^']*)'", " ".join(wanted))
    close = near_misses(value, words, 1) if isinstance(value, str) else ()
    return f"Did you mean '{close[0]}'?" if close else ""


def _explained(
    item: Mapping[str, Any], kind: type[BaseModel], also: Sequence[str]
) -> tuple[str, str]:
    code, loc = item["type"], item["loc"]
    if code == "extra_forbidden":
        known = [*_fields_at(kind, loc[:-1]), *(also if len(loc) == 1 else ())]
        return unknown_word("key", str(loc[-1]), known)
    if code == "missing":
        return MISSING, ""
    text = str(item["ctx"]["error"]) if code == "value_error" else str(item["msg"])
    text = text.strip().rstrip(".") or "is not usable"
    if code == "value_error":
        return f"{text}.", ""
    return f"{text[0].lower()}{text[1:]}, found {shown(item.get('input'))}.", ""


def keys_of(kind: type[BaseModel]) -> list[str]:
    """Return the keys that a model reads: its fields, by alias where they have one."""
    return [field.alias or name for name, field in kind.model_fields.items()]


def _fields_at(kind: type[BaseModel], loc: Sequence[Any]) -> list[str]:
    """Keys that the (nested) models at `loc` allow."""
    here: list[type[BaseModel]] = [kind]
    for part in loc:
        if isinstance(part, int):
            continue
        inner = [
            model
            for outer in here
            for name, field in outer.model_fields.items()
            if part in (name, field.alias)
            for model in _models_in(field.annotation)
        ]
        # a part that is no field is a tag: of one arm of a union when it names a model
        tagged = [model for model in here if model.__name__ == part]
        here = inner or tagged or here
    return list(dict.fromkeys(key for model in here for key in keys_of(model)))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
