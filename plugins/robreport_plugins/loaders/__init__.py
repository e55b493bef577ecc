"""Loaders of models (networks, estimators, black boxes) and of data (arrays, tables, images)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robreport import hookimpl


@hookimpl
def register_model_loaders(register: Callable[[str, Any], None]) -> None:
    """Offer the loaders of network files, scikit-learn estimators and black boxes."""
    from robreport_plugins.loaders.function_file import CallableLoader
    from robreport_plugins.loaders.http_service import HttpLoader
    from robreport_plugins.loaders.lightgbm_model import LightgbmLoader
    from robreport_plugins.loaders.mat_model import MatLoader
    from robreport_plugins.loaders.onnx_model import OnnxLoader
    from robreport_plugins.loaders.sklearn_model import SklearnModelLoader
    from robreport_plugins.loaders.torch_file import TorchLoader
    from robreport_plugins.loaders.torch_program import ExportLoader, ScriptLoader
    from robreport_plugins.loaders.xgboost_model import XgboostLoader

    register("torch", TorchLoader())
    register("torch-export", ExportLoader())
    register("torchscript", ScriptLoader())
    register("onnx", OnnxLoader())
    register("mat", MatLoader())
    register("sklearn", SklearnModelLoader())
    register("xgboost", XgboostLoader())
    register("lightgbm", LightgbmLoader())
    register("callable", CallableLoader())
    register("http", HttpLoader())


@hookimpl
def register_data_loaders(register: Callable[[str, Any], None]) -> None:
    """Offer the loaders of IDX files, npz archives, scikit-learn's sets, tables and images."""
    from robreport_plugins.loaders.bundled import BundledLoader
    from robreport_plugins.loaders.idx import IdxLoader
    from robreport_plugins.loaders.image_folder import ImageFolderLoader
    from robreport_plugins.loaders.npz import NpzLoader
    from robreport_plugins.loaders.parquet_table import ParquetLoader
    from robreport_plugins.loaders.table import CsvLoader

    register("idx", IdxLoader())
    register("npz", NpzLoader())
    register("sklearn", BundledLoader())
    register("csv", CsvLoader())
    register("parquet", ParquetLoader())
    register("imagefolder", ImageFolderLoader())
