"""Loops over trees, compiled: the nearest leaf of one tree, and the search over many trees."""

from __future__ import annotations

from robreport_plugins.methods._kernels.ensemble import add_up
from robreport_plugins.methods._kernels.one_tree import nearest_leaves
from robreport_plugins.methods._kernels.search import search
from robreport_plugins.methods._kernels.structures import (
    CELL,
    COORDINATE,
    FEATURE,
    MOVE,
    NODE,
    OUTPUT,
    PROGRESS,
    SPOT,
    STRETCH,
    TRADE,
    TREE,
    Case,
    Leaves,
    Records,
    Room,
    State,
)

__all__ = [
    "CELL",
    "COORDINATE",
    "FEATURE",
    "MOVE",
    "NODE",
    "OUTPUT",
    "PROGRESS",
    "SPOT",
    "STRETCH",
    "TRADE",
    "TREE",
    "Case",
    "Leaves",
    "Records",
    "Room",
    "State",
    "add_up",
    "nearest_leaves",
    "search",
]
