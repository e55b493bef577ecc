"""Run an ONNX network with onnxruntime, whatever batch it was exported for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch

from robreport import ModelError
from robreport_plugins.loaders.wording import one_line, shortened

Array = npt.NDArray[Any]

_TOO_NEW = (
    (re.compile(r"model IR version: (\d+), max supported IR version: (\d+)"), "ONNX's file format"),
    (re.compile(r"Opset (\d+) is under development.* is till opset (\d+)"), "the operator set"),
)


class Session:
    """Computes named values of a network for any number of inputs.

    Parameters
    ----------
    model : ModelProto
    values : sequence of str
        What to compute: outputs of the network, or values on the way.
    entry : str
        Name of its input.
    batch : int
        Inputs per run at most; exactly that many where `fixed`.
    fixed : bool
        Whether the network takes only batches of that size. Fewer inputs are then made up by
        repeating the last, and its further outputs are dropped.
    where : str
        How sentences begin.

    Raises
    ------
    ModelError
        onnxruntime cannot take the network.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        values: Sequence[str],
        entry: str,
        *,
        batch: int,
        fixed: bool,
        where: str,
        plain: bool = False,
    ) -> None:
        self.values = tuple(values)
        self.batch = batch
        self.fixed = fixed
        self.entry = entry
        self._where = where
        options = onnxruntime.SessionOptions()
        # As many threads as torch, since they are part of what decides a number.
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        if plain:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        shown = with_outputs(model, self.values)
        try:
            self._session = onnxruntime.InferenceSession(
                shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own kinds have no common root
            raise ModelError(f"{where}: {_refusal(error)}.") from error

    def run(self, x: Array) -> list[Array]:
        """Return each value ``(n, ...)`` for inputs ``(n, *shape)`` as the network reads them."""
        if not len(x):
            raise ModelError(f"{self._where}: was given no inputs.")
        parts: list[list[Array]] = [[] for _ in self.values]
        for start in range(0, len(x), self.batch):
            rows = x[start : start + self.batch]
            found = self.run_once(rows)
            for place, name, array in zip(parts, self.values, found, strict=True):
                made = self.batch if self.fixed else len(rows)
                if not array.ndim or len(array) != made:
                    raise ModelError(
                        f"{self._where}: gives {name!r} of shape {array.shape} for {made} "
                        "inputs, and one row each is needed; check which output is its scores."
                    )
                place.append(array[: len(rows)])
        return [np.concatenate(part) for part in parts]

    def run_once(self, rows: Array) -> list[Array]:
        """Return each value as it comes for one batch, made up to the fixed size."""
        if self.fixed and len(rows) < self.batch:
            rows = np.concatenate([rows, np.repeat(rows[-1:], self.batch - len(rows), axis=0)])
        try:
            found = self._session.run(list(self.values), {self.entry: rows})
        except Exception as error:  # its own kinds have no common root
            raise ModelError(
                f"{self._where}: onnxruntime cannot run it on inputs of shape {rows.shape[1:]} "
                f"({runtime_words(error)}); check input.shape, layout and pad."
            ) from error
        return [np.asarray(values) for values in found]


def with_outputs(model: onnx.ModelProto, values: Sequence[str]) -> onnx.ModelProto:
    """Return a copy of the network whose outputs are these values."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {v.name: v for v in (*model.graph.output, *model.graph.value_info)}
    del copy.graph.output[:]
    copy.graph.output.extend(known.get(n, onnx.ValueInfoProto(name=n)) for n in values)
    return copy


def runtime_words(error: BaseException) -> str:
    """Return what onnxruntime says, without its codes and places in its source."""
    text = one_line(error, most=1000).partition(": ")[2]
    for mark in (" : FAIL : ", "INVALID_GRAPH : ", "NOT_IMPLEMENTED : ", "INVALID_ARGUMENT : "):
        text = text.rpartition(mark)[2]
    text = text.replace("Non-zero status code returned while running ", "in its ")
    return shortened(text.replace(" Name:'' ", " ").replace("Status Message: ", ""), 300)


def _refusal(error: BaseException) -> str:
    """Return why onnxruntime does not take a network, and what to do, as the end of a sentence."""
    runtime = f"onnxruntime {onnxruntime.__version__}"
    for pattern, thing in _TOO_NEW:
        if found := pattern.search(str(error)):
            have, most = found.groups()
            return (
                f"is of version {have} of {thing}, and {runtime} reads those up to {most}; update "
                f"onnxruntime, or export it for version {most}"
            )
    return (
        f"onnxruntime cannot take it ({runtime_words(error)}); export it again for {runtime}, or "
        "with other operators"
    )
