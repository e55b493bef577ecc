"""A loaded PyTorch network as a `ModelHandle`."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from robreport import ModelError, ModelHandle, Needs, NotOffered
from robreport_plugins.loaders.data_space import DataSpaceNetwork, Outputs
from robreport_plugins.loaders.wording import one_line

Array = npt.NDArray[Any]
Trainer = Callable[[Array, Array, int, DataSpaceNetwork], DataSpaceNetwork]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSetup:
    """What stays the same when a network is trained again.

    Attributes
    ----------
    name, kind : str
    where : str
        How error sentences begin.
    input_shape : tuple of int
        Shape of one input in data space.
    outputs : "logits", "probabilities" or "value"
    device : str
    batch_size : int
        Inputs per forward pass.
    """

    name: str
    kind: str
    where: str
    input_shape: tuple[int, ...]
    outputs: Outputs
    device: str
    batch_size: int


class TorchHandle(ModelHandle):
    """A PyTorch network: float32, evaluation mode, batched, no gradients unless asked for."""

    input_shape: tuple[int, ...]

    def __init__(
        self,
        setup: NetworkSetup,
        module: DataSpaceNetwork,
        *,
        trainer: Trainer | None = None,
        initial: Mapping[str, Array] | None = None,
    ) -> None:
        super().__init__()
        self._setup = setup
        self._trainer = trainer
        self._initial = initial
        self._module = module.to(device=setup.device, dtype=torch.float32).eval()
        self._module.requires_grad_(False)
        self.name = setup.name
        self.kind = setup.kind
        self.input_shape = setup.input_shape
        columns = _probe(self._module, setup)
        self.n_outputs = columns if setup.outputs == "value" else max(columns, 2)
        self.offers = Needs.GRADIENTS | Needs.PARAMETERS
        if setup.outputs == "value":
            self.offers |= Needs.REGRESSION
        else:
            self.offers |= Needs.CLASSIFICATION | Needs.PROBABILITIES
        if setup.outputs == "logits":
            self.offers |= Needs.LOGITS
        if trainer is not None:
            self.offers |= Needs.REFIT

    def predict(self, x: Array) -> Array:
        """Return class indices ``(n,)`` int64, the lowest among equals; or values, float64."""
        if self._setup.outputs == "value":
            return self._run(self._module, x)[:, 0]
        declared = self._setup.outputs == "probabilities"
        scores = self.predict_proba(x) if declared else self._run(self._module, x)
        return np.asarray(scores.argmax(axis=1), dtype=np.int64)

    def predict_proba(self, x: Array) -> Array:
        """Return class probabilities ``(n, k)`` in float64: the softmax of the logits.

        A network declared with ``outputs = "probabilities"`` gives its own, divided by their
        sum (which may be off by float32 rounding).

        Raises
        ------
        ModelError
            Declared probabilities are negative or do not sum to 1 within 0.001.
        NotOffered
            The network predicts values.
        """
        if self._setup.outputs == "value":
            raise NotOffered(f"{self.name}: predict_proba")
        if self._setup.outputs == "logits":
            scores = self._run(self._module, x)
            scores -= scores.max(axis=1, keepdims=True)
            raised = np.exp(scores)
            return np.asarray(raised / raised.sum(axis=1, keepdims=True))
        found = self._run(self._module.raw, x)
        if found.shape[1] == 1:
            found = np.concatenate([1.0 - found, found], axis=1)
        _check_probabilities(found, self._setup.where)
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def logits(self, x: Array) -> Array:
        """Return pre-softmax scores ``(n, k)``: the network's float32 values as float64."""
        if self._setup.outputs != "logits":
            raise NotOffered(f"{self.name}: logits")
        return self._run(self._module, x)

    def torch_module(self) -> nn.Module:
        """Return a copy in eval mode, parameters without gradients, on this model's device.

        It is a copy so that whoever perturbs its weights leaves this model as it was.
        """
        return copy.deepcopy(self._module)

    def refit(self, x: Array, y: Array, seed: int) -> TorchHandle:
        """Return a network of the same architecture trained by the declared ``train``."""
        if self._trainer is None:
            raise NotOffered(f"{self.name}: refit")
        again = TorchHandle(
            self._setup, self._trainer(x, y, seed, self._module), trainer=self._trainer
        )
        if again.n_outputs != self.n_outputs:
            raise ModelError(
                f"{self._setup.where}: train returned a network with {again.n_outputs} outputs, "
                f"and the audited one has {self.n_outputs}; return the same architecture."
            )
        again.facts = {**self.facts, "trained again with seed": seed}
        return again

    def initial_parameters(self) -> Mapping[str, Array] | None:
        """Return the parameters before training, by the names in ``torch_module()``."""
        return self._initial

    def _run(self, forward: Callable[[torch.Tensor], torch.Tensor], x: Array) -> Array:
        """Return float64 outputs ``(n, columns)`` of data-space inputs, batch by batch."""
        setup = self._setup
        if tuple(x.shape[1:]) != setup.input_shape:
            raise ModelError(
                f"{setup.where}: takes inputs of shape {setup.input_shape}, and was given "
                f"{tuple(x.shape[1:])}; check the model's input.shape against the data."
            )
        if not len(x):
            return np.zeros((0, self.n_outputs))
        parts = []
        with torch.inference_mode(), deterministic():
            for start in range(0, len(x), setup.batch_size):
                # A writeable copy where needed: torch warns about memory that it may not change.
                part = np.require(x[start : start + setup.batch_size], np.float32, ["C", "W"])
                out = forward(torch.from_numpy(part).to(setup.device))
                parts.append(out.to("cpu", torch.float64).numpy())
        found = np.concatenate(parts)
        bad = int((~np.isfinite(found).all(axis=1)).sum())
        if bad:
            raise ModelError(
                f"{setup.where}: gives NaN or infinite outputs on {bad:,} of {len(x):,} inputs; "
                "check its weights and its input declaration."
            )
        return found


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Make cuDNN choose reproducible full-precision algorithms; nothing changes on a CPU."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


def _check_probabilities(found: Array, where: str) -> None:
    off = np.abs(found.sum(axis=1) - 1)
    if len(found) and (found.min() < 0 or off.max() > 1e-3):
        raise ModelError(
            f"{where}: outputs = 'probabilities' is declared, and they range from "
            f"{found.min():.4g} to {found.max():.4g} with row sums off by up to {off.max():.4g}; "
            "declare outputs = 'logits' if they are scores."
        )


def _probe(module: DataSpaceNetwork, setup: NetworkSetup) -> int:
    """Run three inputs; return the number of the network's own output columns.

    Raises
    ------
    ModelError
        It raises, returns something else than ``(n, k)`` finite numbers, or what it returns
        contradicts the declared ``outputs``.
    """
    where = setup.where
    rng = np.random.default_rng(0)
    x = np.zeros((3, *setup.input_shape), dtype=np.float32)
    x[1:] = rng.random((2, *setup.input_shape), dtype=np.float32)
    try:
        with torch.inference_mode(), deterministic():
            out = module.network(module.input(torch.from_numpy(x).to(setup.device)))
    except Exception as error:  # an architecture beside the spec may raise anything
        raise ModelError(
            f"{where}: fails on an input of shape {setup.input_shape} with {one_line(error)}; "
            "check input.shape, pad and layout against the architecture."
        ) from error
    if not isinstance(out, torch.Tensor):
        raise ModelError(
            f"{where}: returns a {type(out).__name__}, and one tensor (n, outputs) is needed; "
            "wrap the architecture so that it returns its scores only."
        )
    if out.ndim == 1 and out.shape[0] == 3:
        out = out.unsqueeze(1)
    if out.ndim != 2 or out.shape[0] != 3 or not out.shape[1]:
        raise ModelError(
            f"{where}: returns shape {tuple(out.shape)} for 3 inputs, and (3, outputs) is needed; "
            "check that the architecture ends in one score per class."
        )
    if not out.is_floating_point():
        raise ModelError(f"{where}: returns {out.dtype}; scores must be floating-point numbers.")
    found = out.to("cpu", torch.float64).numpy()
    if not np.isfinite(found).all():
        raise ModelError(
            f"{where}: gives NaN or infinite outputs on plain inputs; check its weights and "
            "its input declaration."
        )
    columns = int(found.shape[1])
    if setup.outputs == "value" and columns != 1:
        raise ModelError(
            f"{where}: outputs = 'value' is declared, and the network gives {columns} outputs; "
            "one value per input is needed."
        )
    if setup.outputs == "probabilities":
        both = np.concatenate([1 - found, found], axis=1) if columns == 1 else found
        _check_probabilities(both, where)
    # Scores of three inputs that are all positive and sum to one are no coincidence.
    sums_to_one = bool(np.abs(found.sum(axis=1) - 1).max() < 1e-5)
    if setup.outputs == "logits" and columns > 1 and found.min() >= 0 and sums_to_one:
        raise ModelError(
            f"{where}: its outputs are probabilities (positive, summing to 1), and "
            "outputs = 'logits' is declared; leave the softmax out, or declare "
            "outputs = 'probabilities'."
        )
    return columns
