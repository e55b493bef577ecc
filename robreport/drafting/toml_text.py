"""Write values as TOML, and prose as its comments."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

WIDTH = 98
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def toml_key(key: str) -> str:
    """Return a key, quoted where TOML wants it."""
    return key if _BARE.match(key) else toml_value(key)


def toml_value(value: Any) -> str:
    """Return a value on one line: text, numbers, arrays, and tables as inline tables.

    Raises
    ------
    TypeError
        A value that TOML has no word for.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which TOML wants escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return repr(value)
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        items = ", ".join(f"{toml_key(str(k))} = {toml_value(v)}" for k, v in value.items())
        return f"{{ {items} }}" if items else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    raise TypeError(f"a {type(value).__name__} has no form in TOML")


def assignment(key: str, value: Any) -> list[str]:
    """Return ``key = value``; a long array runs over several lines."""
    line = f"{toml_key(key)} = {toml_value(value)}"
    if len(line) <= WIDTH or not isinstance(value, list | tuple):
        return [line]
    lines = [f"{toml_key(key)} = ["]
    row = ""
    for item in map(toml_value, value):
        if row and len(row) + len(item) + 2 > WIDTH - 2:
            lines.append(f"  {row.rstrip()}")
            row = ""
        row += f"{item}, "
    return [*lines, f"  {row.rstrip()}", "]"] if row else [*lines, "]"]


def comment(*sentences: str) -> list[str]:
    """Return sentences as comment lines of bounded width; nothing of them leaves the comment."""
    text = " ".join(sentence for sentence in sentences if sentence)
    # a name from somebody's file may hold a line break, or what an editor would act on
    safe = "".join(c if c.isprintable() else " " for c in text)
    return [f"# {line}" for line in textwrap.wrap(safe, WIDTH - 2, break_long_words=False)]


def commented(lines: Iterable[str]) -> list[str]:
    """Return lines of TOML as an example that does not count."""
    return [f"# {line}" for line in lines]
