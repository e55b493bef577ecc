"""How documents write numbers: percent, four significant digits, intervals, sizes, digests.

Templates use these as filters; no other place turns a measured number into text.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np

from robreport.document import Limit, Quantity

MINUS = "\u2212"
NARROW = "\u202f"
DASH = "\u2013"
_NEAREST = 0.001
"""What is nearer to 0 % or 100 % is only said to be."""
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def integer(value: float) -> str:
    """Return a whole number with thousands separated: 10,000."""
    return f"{int(value):,}".replace("-", MINUS)


def number(value: Any) -> str:
    """Return a number with four significant digits: 0.1463, 1,257, 3.2 × 10⁻⁵."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return integer(int(value))
    value = float(value)
    if not math.isfinite(value):
        return "∞" if value > 0 else f"{MINUS}∞" if value < 0 else "–"
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-3 or size >= 1e7:
        mantissa, exponent = f"{value:.3e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}".replace("-", MINUS)
    decimals = max(0, 3 - math.floor(math.log10(size)))
    text = f"{value:,.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", MINUS)


def _share_decimals(*values: float, digits: int = 2) -> int:
    """Decimals of a percentage that tell these shares from 0 and from 1, with so many digits."""
    decimals = 1
    for value in values:
        gap = min(abs(value), abs(1 - value)) * 100
        if 0.999 * _NEAREST < gap < 0.1:
            decimals = max(decimals, min(3, math.ceil(-math.log10(gap)) + digits - 1))
    return decimals


def _percent(value: float, decimals: int) -> str:
    text = f"{value * 100:,.{decimals}f}".replace("-", MINUS)
    return text.lstrip(MINUS) if text.strip(f"{MINUS}0.") == "" else text


def share(value: float) -> str:
    """Return a share of one in percent: 98.9 %, 0.032 %, > 99.999 %."""
    value = float(value)
    if not math.isfinite(value):
        return "–"
    if 0 < value * 100 < _NEAREST:
        return f"< {_NEAREST}{NARROW}%"
    if 0 < (1 - value) * 100 < _NEAREST:
        return f"> {100 - _NEAREST}{NARROW}%"
    return f"{_percent(value, _share_decimals(value))}{NARROW}%"


def interval(low: float, high: float, unit: str = "") -> str:
    """Return both ends of an interval with the same decimals: 12.0–18.4 (percent for shares)."""
    low, high = float(low), float(high)
    if unit == "share":
        decimals = _share_decimals(low, high, digits=1)
        first, last = _percent(low, decimals), _percent(high, decimals)
    else:
        first, last = _ends(low, high)
    between = " to " if MINUS in first + last else DASH
    return f"{first}{between}{last}"


def _ends(low: float, high: float) -> tuple[str, str]:
    """Both ends rounded alike: to two digits of their distance, at least four of the larger."""
    size = max(abs(low), abs(high))
    if size == 0 or not math.isfinite(size) or size < 1e-3 or size >= 1e7:
        return number(low), number(high)
    decimals = max(0, 2 - math.floor(math.log10(size)))
    if high > low:
        decimals = max(decimals, min(6, 1 - math.floor(math.log10(high - low))))
    decimals = min(decimals, 3 - min(3, math.floor(math.log10(size))) + 2)
    ends = tuple(f"{end:,.{decimals}f}".replace("-", MINUS) for end in (low, high))
    return ends[0], ends[1]


def value_with_unit(value: float, unit: str) -> str:
    """Return a value with its unit: 98.9 %, 0.146, 1.27 s."""
    if unit == "share":
        return share(value)
    text = number(value)
    return f"{text}{NARROW}{unit}" if unit else text


def quantity(given: Quantity) -> str:
    """Return the value of a quantity, "> 0.3" when it is censored, a dash when refused."""
    if given.value is None:
        return "–"
    text = value_with_unit(given.value, given.unit)
    return f"{given.censored} {text}" if given.censored else text


def quantity_interval(given: Quantity) -> str:
    """Return the interval of a quantity, or an empty string."""
    if given.low is None or given.high is None:
        return ""
    return interval(given.low, given.high, given.unit)


def limit(given: Limit) -> str:
    """Return what is required: ≥ 50 %."""
    sign = {">=": "≥", "<=": "≤"}.get(given.operator, given.operator)
    if given.unit == "share":
        percent = f"{given.value * 100:.6f}".rstrip("0").rstrip(".").replace("-", MINUS)
        return f"{sign} {percent or '0'}{NARROW}%"
    if given.text:
        return given.text
    return f"{sign} {value_with_unit(given.value, given.unit)}"


def size(count: float) -> str:
    """Return a number of bytes in a unit that keeps it short: 14.2 MB."""
    if count < 1000:
        return f"{count:.0f}{NARROW}B"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f}{NARROW}{unit}"
    return f"{count / 1000:.1f}{NARROW}GB"


def seconds(value: float) -> str:
    """Return a duration: 0.8 s, 12 s, 3 min 20 s."""
    if value < 10:
        return f"{value:.1f}{NARROW}s"
    whole = round(value)
    if whole < 60:
        return f"{whole}{NARROW}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{NARROW}min {rest}{NARROW}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{NARROW}h {minutes}{NARROW}min"


def short_digest(digest: str) -> str:
    """Return the first eight digits of a digest."""
    return digest.removeprefix("sha256:")[:8]


def moment(text: str) -> str:
    """Return an ISO 8601 time as a reader writes it, with its time zone: 2026-11-20 18:42 UTC."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = when.strftime("%Z") or ("UTC" if when.utcoffset() is not None else "")
    return f"{when:%Y-%m-%d %H:%M} {zone}".strip()
