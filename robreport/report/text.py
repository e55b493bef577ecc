"""Text that any page can hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# what neither XML nor UTF-8 has: control characters, halves of surrogate pairs
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """Return the text with a replacement character for each that no page can hold."""
    return _UNPRINTABLE.sub("\ufffd", text)


def printable_tree(node: Any) -> Any:
    """Return plain JSON with every string of it printable, keys included."""
    if isinstance(node, str):
        return printable(node)
    if isinstance(node, Mapping):
        return {printable(str(key)): printable_tree(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [printable_tree(value) for value in node]
    return node
