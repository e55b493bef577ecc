"""Loaders of models (torch, sklearn) and of data (idx, npz, sklearn, csv)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robreport import hookimpl


@hookimpl
def register_model_loaders(register: Callable[[str, Any], None]) -> None:
    """Offer the loaders of torch networks and of scikit-learn estimators."""
    from robreport_plugins.loaders.sklearn_model import SklearnModelLoader
    from robreport_plugins.loaders.torch_file import TorchLoader

    register("torch", TorchLoader())
    register("sklearn", SklearnModelLoader())


@hookimpl
def register_data_loaders(register: Callable[[str, Any], None]) -> None:
    """Offer the loaders of IDX files, npz archives, scikit-learn's sets and tables."""
    from robreport_plugins.loaders.bundled import BundledLoader
    from robreport_plugins.loaders.idx import IdxLoader
    from robreport_plugins.loaders.npz import NpzLoader
    from robreport_plugins.loaders.table import CsvLoader

    register("idx", IdxLoader())
    register("npz", NpzLoader())
    register("sklearn", BundledLoader())
    register("csv", CsvLoader())
