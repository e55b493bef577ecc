"""The kinds of value that an audit file holds: how each is read, and its schema for editors."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema

from robreport.complaints import shown
from robreport.threat import Eps, parse_eps

NAME = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,64}\Z")
NAME_FORM = "1 to 64 letters, digits, '.', '_' or '-'"

# What the functions below accept, said a second time in the words of JSON Schema: its patterns
# are ECMA-262's, which has neither \Z nor named groups. A test holds each pair together.
_POSITIVE = r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?"
NAME_SCHEMA: dict[str, Any] = {"type": "string", "pattern": r"^(?!\.+$)[A-Za-z0-9._-]{1,64}$"}
_ONE_EPS: list[dict[str, Any]] = [
    {"type": "number", "minimum": 0},
    {"type": "string", "pattern": rf"^\s*{_POSITIVE}\s*(/\s*{_POSITIVE}\s*)?$"},
]
_EPS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        *_ONE_EPS,
        {"type": "array", "items": {"anyOf": _ONE_EPS}, "minItems": 1, "uniqueItems": True},
    ]
}
_SECONDS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e9},
        {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*[smhd]\s*$"},
    ]
}
_BYTES_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 10**6},
        {
            "type": "string",
            "pattern": r"^\s*[0-9]{1,15}(\.[0-9]{1,6})?\s*([KkMmGgTt]?[Ii]?[Bb])\s*$",
        },
    ]
}


def _name(value: str) -> str:
    # "." and ".." would lead out of the folders that names become
    if not NAME.match(value):
        raise ValueError(f"a name of {NAME_FORM} is needed, found {shown(value)}")
    return value


def _eps_list(value: object) -> tuple[Eps, ...]:
    items = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise ValueError("at least one eps is needed")
    budgets = tuple(item if isinstance(item, Eps) else parse_eps(item) for item in items)
    values = [budget.value for budget in budgets]
    if len(set(values)) != len(values):
        raise ValueError(f"each eps may stand once, found {', '.join(map(str, budgets))}")
    return tuple(sorted(budgets))


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        match = isinstance(value, str) and re.fullmatch(
            r"\s*([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|d)\s*", value
        )
        if not match:
            raise ValueError(
                f"a duration such as '90s', '30m' or '2h' is needed, found {shown(value)}"
            )
        seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
    if not 0 < seconds < 1e9:
        raise ValueError(f"a duration above 0 and below 30 years is needed, found {shown(value)}")
    return seconds


def _bytes(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        match = isinstance(value, str) and re.fullmatch(
            r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([KMGT]?i?B)\s*", value, re.IGNORECASE
        )
        if not match:
            raise ValueError(f"a size such as '512MB' or '8GB' is needed, found {shown(value)}")
        unit = match[2].upper()
        # 8GB is 8 * 10**9 bytes and 8GiB is 8 * 2**30, as the standards have it
        power = ("B", "KB", "MB", "GB", "TB").index(unit.replace("I", ""))
        size = int(float(match[1]) * (1024 if "I" in unit else 1000) ** power)
    if not 10**6 <= size < 2**60:
        raise ValueError(f"a size from 1 MB to 1 EB is needed, found {shown(value)}")
    return size


def _digest(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value.lower()):
        raise ValueError(f"a SHA-256 of 64 hexadecimal digits is needed, found {shown(value)}")
    return value.lower()


def _metric_id(value: str) -> str:
    if not NAME.match(value):
        raise ValueError(f"an id such as 'attacks.suite' is needed, found {shown(value)}")
    return value


Name = Annotated[str, AfterValidator(_name), WithJsonSchema(NAME_SCHEMA)]
MetricId = Annotated[str, AfterValidator(_metric_id), WithJsonSchema(NAME_SCHEMA)]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
YesNo = Annotated[bool, Strict()]
Bound = Number | tuple[Number, ...]
EpsList = Annotated[tuple[Eps, ...], BeforeValidator(_eps_list), WithJsonSchema(_EPS_SCHEMA)]
Seconds = Annotated[float | None, BeforeValidator(_seconds), WithJsonSchema(_SECONDS_SCHEMA)]
Bytes = Annotated[int | None, BeforeValidator(_bytes), WithJsonSchema(_BYTES_SCHEMA)]
Digest = Annotated[
    str,
    AfterValidator(_digest),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}),
]


def _bounds(value: tuple[Bound, Bound]) -> tuple[Bound, Bound]:
    low, high = (side if isinstance(side, tuple) else (side,) for side in value)
    if (len(low) != len(high) and 1 not in (len(low), len(high))) or not low or not high:
        raise ValueError(f"the lower side has {len(low)} values and the upper {len(high)}")
    width = max(len(low), len(high))
    pairs = zip(low * (width // len(low)), high * (width // len(high)), strict=True)
    if not all(below < above for below, above in pairs):
        raise ValueError(f"the lower bound must lie below the upper, found {shown(value)}")
    return value


Bounds = Annotated[tuple[Bound, Bound], AfterValidator(_bounds)]
