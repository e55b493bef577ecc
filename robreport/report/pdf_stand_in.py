"""Functions of WeasyPrint replaced by others that answer the same."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def stand_in(name: str, theirs: Callable[..., Any], ours: Callable[..., Any]) -> None:
    """Put a function in the place of one of WeasyPrint's, in each module that imported it."""
    for place, module in list(sys.modules.items()):
        if place.startswith("weasyprint.") and vars(module).get(name) is theirs:
            vars(module)[name] = ours
