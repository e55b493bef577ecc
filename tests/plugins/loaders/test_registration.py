"""The family registers its loaders, and stays light until one of them loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

import robreport_plugins.loaders as family
from robreport import Params

MODEL_LOADERS = {
    "callable",
    "http",
    "lightgbm",
    "mat",
    "onnx",
    "sklearn",
    "torch",
    "torch-export",
    "torchscript",
    "xgboost",
}
DATA_LOADERS = {"csv", "idx", "imagefolder", "npz", "parquet", "sklearn"}


@pytest.mark.parametrize(
    ("hook", "names"),
    [
        (family.register_model_loaders, MODEL_LOADERS),
        (family.register_data_loaders, DATA_LOADERS),
    ],
)
def test_hooks(hook: object, names: set[str]) -> None:
    found: dict[str, object] = {}
    hook(found.__setitem__)  # type: ignore[operator]
    assert set(found) == names
    for loader in found.values():
        assert issubclass(loader.Options, Params)  # type: ignore[attr-defined]
        assert loader.summary  # type: ignore[attr-defined]
        schema = loader.Options.model_json_schema()  # type: ignore[attr-defined]
        for name, field in schema["properties"].items():
            assert field.get("description"), name
        with pytest.raises(ValueError, match="xtra"):
            loader.Options(colour=1)  # type: ignore[attr-defined]


def test_registering_is_light() -> None:
    """Neither importing nor registering brings in a heavy library."""
    code = (
        "import sys, robreport_plugins.loaders as f\n"
        "f.register_model_loaders(lambda n, l: l.Options)\n"
        "f.register_data_loaders(lambda n, l: l.Options)\n"
        "heavy = {'torch', 'sklearn', 'pandas', 'numba', 'scipy', 'skops', 'joblib',\n"
        "         'safetensors', 'altair', 'art', 'onnx', 'onnxruntime', 'pyarrow',\n"
        "         'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)
