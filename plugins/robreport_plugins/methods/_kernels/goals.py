"""What classes a row is to be moved to, in one number."""

from __future__ import annotations

from robreport_plugins.methods._kernels.compiled import within


@within
def reached(goal: int, given: int) -> bool:
    """Return whether a class is another than `goal`, or where that is -1 - c, the class c."""
    return given == -1 - goal if goal < 0 else given != goal
