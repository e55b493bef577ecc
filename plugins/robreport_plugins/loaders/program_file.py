"""Read trusted torch.export and TorchScript files, and make networks of them."""

from __future__ import annotations

import contextlib
import copy
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robreport import ModelError
from robreport_plugins.loaders.bounded import check_archive
from robreport_plugins.loaders.fixed_batch import in_batches
from robreport_plugins.loaders.network import deterministic
from robreport_plugins.loaders.regular_file import DAMAGED, beginning
from robreport_plugins.loaders.wording import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A network as its file holds it.

    Attributes
    ----------
    module : Module
    batch : int or None
        The only batch size that it takes, as far as the file says it.
    words : str
    """

    module: Any
    batch: int | None
    words: str


class ProgramNetwork(nn.Module):
    """A program that can be copied, moved and put in evaluation mode like any module."""

    def __init__(self, module: Any, batch: int | None) -> None:
        super().__init__()
        self.program = module
        self.batch = batch

    def forward(self, x: Tensor) -> Any:
        if self.batch is None:
            return self.program(x)  # whatever it is: who uses it says what is wrong with it
        return in_batches(self.program, x, self.batch)

    def train(self, mode: bool = True) -> ProgramNetwork:
        """Return itself: an exported program has no modes, and a script is in its own."""
        self.training = mode
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ProgramNetwork:
        with _quiet():
            return ProgramNetwork(copy.deepcopy(self.program, memo), self.batch)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back torch's remarks: on its own workings, and that TorchScript is deprecated.

    The files are there all the same, and nobody who reads a report can act on them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_exported(path: Path, device: str, where: str) -> Program:
    """Return the program in a file of ``torch.export.save``, which the author trusts.

    Raises
    ------
    ModelError
        It is of another format or damaged.
    """
    files = _members(path, where)
    if "data.pkl" in files or "constants.pkl" in files:
        other = "TorchScript (loader = 'torchscript')" if "constants.pkl" in files else "weights"
        raise ModelError(
            f"{where}: holds {other} and no exported program; name the loader that reads it, or "
            "save it with torch.export.save."
        )
    with _quiet():
        try:
            exported = torch.export.load(path)
            module = exported.module().to(device)
        except Exception as error:  # a trusted file runs whatever it holds
            raise ModelError(
                f"{where}: torch.export.load cannot read it ({one_line(error)}); save it again "
                f"with torch.export.save, with torch {torch.__version__} or older."
            ) from error
    return Program(
        module=module, batch=_static_batch(exported), words="torch.export program, trusted"
    )


def _static_batch(exported: Any) -> int | None:
    names = set(exported.graph_signature.user_inputs)
    for node in exported.graph.nodes:
        if node.op == "placeholder" and node.name in names:
            value = node.meta.get("val")
            size = value.shape[0] if isinstance(value, Tensor) and value.ndim else None
            return size if isinstance(size, int) else None
    return None


def read_script(path: Path, device: str, where: str) -> Program:
    """Return the network in a TorchScript archive, which the author trusts.

    Raises
    ------
    ModelError
        It is of another format or damaged.
    """
    files = _members(path, where)
    if "constants.pkl" not in files:
        raise ModelError(
            f"{where}: is no TorchScript archive; name the loader that reads it ('torch' for "
            "weights, 'torch-export' for a .pt2 file), or save it with torch.jit.save."
        )
    with _quiet():
        try:
            module = torch.jit.load(path, map_location=device).eval()
        except Exception as error:  # a trusted file runs whatever it holds
            raise ModelError(
                f"{where}: torch.jit.load cannot read it ({one_line(error)}); save it again."
            ) from error
    return Program(module=module, batch=None, words="TorchScript, trusted")


def _members(path: Path, where: str) -> set[str]:
    head, size = beginning(path, where, ModelError)
    if not head.startswith(b"PK\x03\x04") or not zipfile.is_zipfile(path):
        raise ModelError(f"{where}: is no PyTorch archive, or is truncated; save it again.")
    names = check_archive(path, size, where, ModelError, packed=True)
    return {name.partition("/")[2] for name in names}


def settle(program: Program, shape: tuple[int, ...], device: str, where: str) -> ProgramNetwork:
    """Return the network with the batch that it takes, found by trying.

    Raises
    ------
    ModelError
        It runs for no batch, or answers an input differently from one time to the next or with
        other inputs in its batch: it was saved in training mode.
    """
    x = torch.rand((3, *shape), generator=torch.Generator().manual_seed(0)).to(device)
    fault: Exception | None = None
    for batch in dict.fromkeys((program.batch, 1)):
        network = ProgramNetwork(program.module, batch).to(device).requires_grad_(False)
        try:
            with torch.inference_mode(), deterministic():
                together, again = network(x), network(x)
                alone = network(x[1:2])
        except DAMAGED as error:
            fault = fault or error
            continue
        if isinstance(together, Tensor) and len(together) == len(x):
            scale = 1e-4 * float(together.abs().nan_to_num().max()) + 1e-12
            if not torch.equal(together, again) or not torch.allclose(
                alone, together[1:2], rtol=1e-4, atol=scale, equal_nan=True
            ):
                raise ModelError(
                    f"{where}: answers the same input differently from one time to the next, or "
                    "with other inputs in its batch; save it in evaluation mode (model.eval())."
                )
        return network
    raise ModelError(
        f"{where}: fails on an input of shape {shape} with {one_line(fault or ValueError())}; "
        "check input.shape, pad and layout against the network."
    ) from fault
