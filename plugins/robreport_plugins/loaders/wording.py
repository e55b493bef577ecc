"""The small pieces of which the loaders' error sentences are made."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

_MOST_LINES = 3
# XGBoost begins with the time of day, which would be another in each run.
_TIME = re.compile(r"\[\d\d:\d\d:\d\d\] ?")
_PLACE = re.compile(r"[\w./+-]+\.(?:cc|cpp|cu|cuh|h|hpp):\d+")
# A function's bare name, of two humps at least: a sentence begins otherwise.
_NAME = re.compile(r"[A-Z][a-z]+[A-Z]\w* (?=[A-Z])")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'a' or 'b'?" for the nearest known words, or nothing."""
    spelled = {name.lower(): name for name in known}
    # a hostile file may have very many names, and very long ones
    found = get_close_matches(word[:200].lower(), list(spelled)[:2000], n=3, cutoff=0.6)
    close = [spelled[name] for name in found]
    return f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def listed(names: Iterable[object], most: int = 6) -> str:
    """Return "a, b, c and 4 more", so that a sentence stays one whatever is listed."""
    every = [str(name) for name in names]
    if not every:
        return "none"
    if len(every) <= most:
        return ", ".join(every)
    return f"{', '.join(every[:most])} and {len(every) - most} more"


def shown(value: object, most: int = 60) -> str:
    """Return a value of a file as one quoted word, cut to a length that a sentence can hold."""
    text = str(value)
    return repr(text if len(text) <= most else f"{text[: most - 3]}...")


def one_line(error: BaseException, most: int = 240) -> str:
    """Return what another library says, in one clause that keeps its reason.

    It is the message's first line, with those that it announces (a line that ends in a colon
    gives no reason yet), without the library's own source files. Of what is still too long the
    middle is left out: a reason stands at either end.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[:1]
    while said and said[-1].endswith(":") and len(said) < min(len(lines), _MOST_LINES):
        said.append(lines[len(said)])
    text = without_places(" ".join(" ".join(said).split())).rstrip(".")
    text = shortened(text, most)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shortened(text: str, most: int) -> str:
    """Return a text without its middle where it is longer than `most`."""
    if len(text) <= most:
        return text
    start = (most - 5) * 2 // 3
    return f"{text[:start].rstrip()} ... {text[start + 5 - most :].lstrip()}"


def without_places(text: str) -> str:
    """Return a library's message without the time and the place in its own source files.

    A place is ``file.cc:12``, and with it the C++ function that stands behind: its signature, or
    its bare name.
    """
    found = _TIME.sub("", text)
    while place := _PLACE.search(found):
        found = found[: place.start()] + _behind_function(found[place.end() :].lstrip(": "))
    return found


def _behind_function(text: str) -> str:
    """Return a text without the C++ function that it begins with, if it does."""
    opened = text.find("(")
    head = text[: max(opened, 0)]
    if "::" not in head.rpartition(" ")[2]:
        return _NAME.sub("", text, count=1)
    depth = 0
    for at, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if sign == ")" and not depth:
            return text[at + 1 :].lstrip().removeprefix("const ").lstrip()
    return text


def word(text: object, most: int = 60) -> str:
    """Return a name from somebody else's file or service, on one line and cut to `most`."""
    full = str(text)
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in full[:most])
    return shown if len(full) <= most else f"{shown}..."
