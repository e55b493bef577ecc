"""Names of classes as charts and tables can show them."""

from __future__ import annotations

from collections.abc import Sequence


def short_names(classes: Sequence[str], most: int = 24) -> tuple[str, ...]:
    """Return one distinct, non-empty name of at most `most` characters for each class.

    Charts tell categories apart by name alone: a name that is long, empty or used twice gets its
    index.
    """
    cut = [
        name if len(name) <= most else name[: most - 1] + "…" for name in map(str.strip, classes)
    ]
    names: list[str] = []
    for i, name in enumerate(cut):
        twice = cut.count(name) > 1 or not name
        names.append(f"{name[: most - 8]} ({i})".strip() if twice else name)
    if len(set(names)) < len(names):
        return tuple(str(i) for i in range(len(names)))
    return tuple(names)
