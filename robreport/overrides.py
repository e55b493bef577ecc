"""Apply ``--set key=value`` to a TOML tree."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from robreport.complaints import shown
from robreport.errors import Problem, unknown_word

MAX_KEY = 500


def apply_overrides(
    tree: dict[str, Any], overrides: Sequence[str]
) -> tuple[dict[str, Any], list[Problem]]:
    """Set each ``key=value`` in `tree` (in place); return what was set by key, and the problems.

    Elements of ``models`` and ``metrics`` are named: ``metrics.pgd.params.steps=100``. A value is
    read as TOML, or as a string where it is none.
    """
    applied: dict[str, Any] = {}
    problems = []
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key:
            problems.append(Problem("--set", f"{shown(override)} is not of the form key=value."))
            continue
        value = _toml_value(text)
        problem = _set(tree, key, value)
        if problem:
            problems.append(problem)
        else:
            applied[key] = value
    return applied, problems


def _toml_value(text: str) -> Any:
    try:
        read = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    # a line break in the text would set further keys
    return read["value"] if len(read) == 1 else text.strip()


def _set(tree: dict[str, Any], key: str, value: object) -> Problem | None:
    where = f"--set {key}"
    if len(key) > MAX_KEY or not all(key.split(".")):
        return Problem(where, "a key is needed whose parts are divided by single dots.")
    node: Any = tree
    rest = key
    while True:
        if isinstance(node, list):
            named = {str(e.get("name", e.get("id"))): e for e in node if isinstance(e, dict)}
            name = _longest(named, rest)
            if name is None and rest in named:
                return Problem(where, "names a whole entry.", "Name one of its keys, as in "
                               f"{key}.KEY=VALUE.")  # fmt: skip
            if name is None:
                return Problem(where, *unknown_word("entry", rest.partition(".")[0], named))
            node, rest = named[name], rest[len(name) + 1 :]
            continue
        if not isinstance(node, dict):
            return Problem(where, f"'{rest}' lies inside something that is no table.")
        name = _longest(node, rest)
        if name is None and "." in rest and rest not in node:
            name = rest.partition(".")[0]
            node[name] = [] if node is tree and name in ("models", "metrics") else {}
        if name is None:
            node[rest] = value
            return None
        node, rest = node[name], rest[len(name) + 1 :]


def _longest(names: Mapping[str, Any], key: str) -> str | None:
    """Return the longest name that the key leads through: names may hold dots."""
    return max((name for name in names if key.startswith(f"{name}.")), key=len, default=None)
