"""What a result may depend on beside the spec: versions, threads, device, machine."""

from __future__ import annotations

import contextlib
import functools
import platform
import shutil
from pathlib import Path
from typing import Any

from robreport import __version__
from robreport.cache import digest, distribution_digest
from robreport.distributions import version_of

NUMERICAL = (
    "numpy", "scipy", "pandas", "pyarrow", "pillow", "scikit-learn", "numba", "torch",
    "onnxruntime", "xgboost", "xgboost-cpu", "lightgbm", "adversarial-robustness-toolbox",
)  # fmt: skip
DOCUMENT = ("altair", "vl-convert-python", "jinja2", "weasyprint", "pluggy", "pydantic")


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Return the installed versions of those distributions that are installed."""
    found = {name: version_of(name) for name in names}
    return {name: version for name, version in found.items() if version}


def find_device(wanted: str) -> str:
    """Return ``cpu`` or ``cuda``; torch is only asked where a GPU driver is present."""
    if wanted != "auto":
        return wanted
    if shutil.which("nvidia-smi") is None and not Path("/dev/nvidiactl").exists():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def environment(threads: int, device: str) -> dict[str, Any]:
    """Return what the record says of the machine; nothing that differs between two runs on it."""
    return {
        "robreport": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(NUMERICAL + DOCUMENT),
        "threads": threads,
        "device": device,
    }


# the plugins of one distribution have their files in common
_digest_of = functools.cache(distribution_digest)


@functools.cache
def plugin_digest(name: str, module: str) -> str:
    """Return a digest of a plugin's code: its distribution's files and its module's package."""
    found = []
    for word in (name, module.partition(".")[0]):
        # a distribution without a list of its files, or a module made at run time
        with contextlib.suppress(LookupError):
            found.append(_digest_of(word))
    return digest([name, module, found])
