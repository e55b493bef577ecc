"""robreport: an audit of a model's robustness and privacy that a reviewer can check."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robreport.bundle import Bundle, DataSchema, ModelHandle, Needs, NotOffered, Split
    from robreport.classes import names_in_order, number_of
    from robreport.document import Section
    from robreport.errors import DataError, ModelError, RobreportError
    from robreport.hookspecs import hookimpl
    from robreport.loading import DataLoader, LoadedData, ModelLoader, ModelSource, SplitSource
    from robreport.metric import Comparison, Context, Metric, Params, SkipMetric
    from robreport.outcome import AuditRun, Computed, Failed, Outcome, Skipped, Status
    from robreport.recognition import DataFile, DataGuess, ModelGuess
    from robreport.report.records import RecordFiles
    from robreport.report.render import RenderContext
    from robreport.report.theme import Theme
    from robreport.result import (
        Caveat,
        Check,
        Column,
        Figure,
        Finding,
        ImageGrid,
        Interval,
        Result,
        Scalar,
        Table,
    )
    from robreport.threat import Eps, Norm, ThreatModel, parse_number
    from robreport.trees import Tree, TreeEnsemble

__version__ = "0.1.0"

_HOME = {
    "robreport.bundle": ("Bundle", "DataSchema", "ModelHandle", "Needs", "NotOffered", "Split"),
    "robreport.classes": ("names_in_order", "number_of"),
    "robreport.document": ("Section",),
    "robreport.errors": ("DataError", "ModelError", "RobreportError"),
    "robreport.hookspecs": ("hookimpl",),
    "robreport.loading": ("DataLoader", "LoadedData", "ModelLoader", "ModelSource", "SplitSource"),
    "robreport.metric": ("Comparison", "Context", "Metric", "Params", "SkipMetric"),
    "robreport.outcome": ("AuditRun", "Computed", "Failed", "Outcome", "Skipped", "Status"),
    "robreport.recognition": ("DataFile", "DataGuess", "ModelGuess"),
    "robreport.report.records": ("RecordFiles",),
    "robreport.report.render": ("RenderContext",),
    "robreport.report.theme": ("Theme",),
    "robreport.result": (
        "Caveat", "Check", "Column", "Figure", "Finding", "ImageGrid", "Interval", "Result",
        "Scalar", "Table",
    ),
    "robreport.threat": ("Eps", "Norm", "ThreatModel", "parse_number"),
    "robreport.trees": ("Tree", "TreeEnsemble"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [  # noqa: RUF022
    "AuditRun", "Bundle", "Caveat", "Check", "Column", "Comparison", "Computed", "Context",
    "DataError", "DataFile", "DataGuess", "DataLoader", "DataSchema", "Eps", "Failed", "Figure",
    "Finding", "ImageGrid", "Interval", "LoadedData", "Metric", "ModelError", "ModelGuess",
    "ModelHandle", "ModelLoader", "ModelSource", "Needs", "Norm", "NotOffered", "Outcome",
    "Params", "RecordFiles", "RenderContext", "Result", "RobreportError", "Scalar", "Section",
    "SkipMetric", "Skipped", "Split", "SplitSource", "Status", "Table", "Theme", "ThreatModel",
    "Tree", "TreeEnsemble", "hookimpl", "names_in_order", "number_of", "parse_number",
    "__version__",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'robreport' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
