"""Read trained weights, and nothing but weights, from safetensors or a state dict."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from robreport import ModelError
from robreport_plugins.loaders.bounded import check_archive
from robreport_plugins.loaders.regular_file import DAMAGED, beginning
from robreport_plugins.loaders.wording import listed, one_line

State = dict[str, torch.Tensor]
_NESTED = ("state_dict", "model_state_dict")
_WRAPPER = "module."  # what torch's DataParallel puts before every key
_DAMAGED: tuple[type[Exception], ...] = (zipfile.BadZipFile, *DAMAGED)
_SAVE_IT_SO = "save it with torch.save(model.state_dict(), ...) or as safetensors"


def read_weights(path: Path, where: str) -> tuple[State, str]:
    """Return the tensors by key (floating ones as float32, on the CPU), and the file's format.

    No code of the file is run: a state dict goes through torch's weights-only unpickler, and
    sizes are compared with the file's before anything is allocated.

    Parameters
    ----------
    path : Path
    where : str
        How sentences begin, such as ``model 'natural' (natural.safetensors)``.

    Raises
    ------
    ModelError
        Missing, empty, truncated, of another format, a pickled module, TorchScript, or with a
        weight that is no dense finite number.
    """
    head, size = beginning(path, where, ModelError)
    if head.startswith(b"PK\x03\x04"):
        return _state(_read_zip(path, size, where), where), "PyTorch state dict"
    if len(head) >= 9 and head[8:9] == b"{":
        return _state(_read_safetensors(path, where), where), "safetensors"
    if head.startswith((b"\x80", b"(", b"c")):
        raise ModelError(
            f"{where}: is a plain pickle or a state dict of torch before 1.6, which may run "
            f"code when read; {_SAVE_IT_SO}."
        )
    raise ModelError(
        f"{where}: is neither safetensors nor a PyTorch state dict, or is cut short; "
        "export it again, or name another loader."
    )


def _read_safetensors(path: Path, where: str) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    damaged: tuple[type[Exception], ...] = (SafetensorError, *DAMAGED)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except damaged as error:
        raise ModelError(
            f"{where}: is a truncated or damaged safetensors file ({one_line(error)}); "
            "export or download it again."
        ) from None


def _read_zip(path: Path, size: int, where: str) -> Any:
    # TorchScript and exported programs may be packed: they are told apart before that matters
    names = check_archive(path, size, where, ModelError, packed=True)
    files = {name.partition("/")[2] for name in names}
    if "constants.pkl" in files or any(name.startswith("code/") for name in files):
        raise ModelError(
            f"{where}: is a TorchScript archive, which holds code; {_SAVE_IT_SO} and name "
            "its architecture, or name loader = 'torchscript' if you trust it."
        )
    if "archive_format" in files:
        raise ModelError(
            f"{where}: is a torch.export program, which brings its own architecture; name "
            "loader = 'torch-export' if you trust it."
        )
    check_archive(path, size, where, ModelError, packed=False)
    if "data.pkl" not in files:
        raise ModelError(f"{where}: is a zip archive but no PyTorch state dict; {_SAVE_IT_SO}.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{where}: holds pickled objects other than tensors, such as a whole module; "
            f"{_SAVE_IT_SO}."
        ) from None
    except _DAMAGED as error:
        raise ModelError(
            f"{where}: is a damaged PyTorch file ({one_line(error)}); save or download it again."
        ) from None


def _state(found: Any, where: str) -> State:
    """Return the checked tensors: nesting and DataParallel's prefix taken off."""
    if isinstance(found, Mapping):
        for key in _NESTED:
            if isinstance(found.get(key), Mapping):
                found = found[key]
                break
    if not isinstance(found, Mapping) or not found:
        raise ModelError(
            f"{where}: holds {'no tensors' if isinstance(found, Mapping) else 'no state dict'}; "
            f"{_SAVE_IT_SO}."
        )
    foreign = [
        key
        for key, value in found.items()
        if not isinstance(key, str) or not isinstance(value, torch.Tensor)
    ]
    if foreign:
        raise ModelError(
            f"{where}: holds things other than tensors ({listed(map(repr, foreign))}); "
            f"{_SAVE_IT_SO}."
        )
    state = {key: _tensor(key, value, where) for key, value in found.items()}
    if all(key.startswith(_WRAPPER) and key != _WRAPPER for key in state):
        state = {key[len(_WRAPPER) :]: value for key, value in state.items()}
    return state


def _tensor(key: str, value: torch.Tensor, where: str) -> torch.Tensor:
    """Return one tensor of its own, dense and finite; floating ones as float32."""
    value = value.detach()
    if value.layout != torch.strided or value.is_quantized or value.is_meta or value.is_complex():
        raise ModelError(
            f"{where}: weight {key!r} is sparse, quantised, complex or empty of values; "
            "save dense real weights."
        )
    # An expanded view (stride 0) is a few bytes that unfold to any size.
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ModelError(
            f"{where}: weight {key!r} claims shape {tuple(value.shape)}, more than its storage "
            "holds; save contiguous tensors."
        )
    if not value.is_floating_point():
        return value.clone()
    bad = int((~torch.isfinite(value.to(torch.float64))).sum())
    if bad:
        raise ModelError(
            f"{where}: weight {key!r} has {bad:,} values that are NaN or infinite; "
            "train or export the model again."
        )
    single = value.to(torch.float32).clone(memory_format=torch.contiguous_format)
    if not bool(torch.isfinite(single).all()):
        raise ModelError(f"{where}: weight {key!r} has values too large for float32; rescale it.")
    return single
