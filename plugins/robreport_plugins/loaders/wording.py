"""The small pieces of which the loaders' error sentences are made."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


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


def one_line(error: BaseException, most: int = 160) -> str:
    """Return the first line of another library's message, cut to a clause's length."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    text = text.rstrip(".")
    if len(text) > most:
        text = text[: most - 3].rstrip() + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def word(text: object, most: int = 60) -> str:
    """Return a name from somebody else's file or service, on one line and cut to `most`."""
    full = str(text)
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in full[:most])
    return shown if len(full) <= most else f"{shown}..."
