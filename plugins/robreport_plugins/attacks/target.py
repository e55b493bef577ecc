"""The model under attack with the inputs to attack, ready for torch and for NumPy."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from robreport import Bundle, DataError, ModelError, ModelHandle, Norm, SkipMetric
from robreport_plugins.attacks.catalogue import Case
from robreport_plugins.methods.perturb import Attempt
from robreport_plugins.methods.perturb_confine import confine, inside, sizes

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the model itself says of a batch of candidates.

    ``x_adv`` lies in ball and bounds; ``broken`` where the model's class is not the label;
    ``unconfirmed`` counts the attack's claims that the model does not share.
    """

    x_adv: Floats
    predicted: Ints
    broken: Bools
    size: npt.NDArray[np.float64]
    unconfirmed: int


class Target:
    """One model and the first `samples` inputs of a split.

    Frozen and categorical columns of a table are held as they are: nobody can change the ones,
    and between two codes of the others there is nothing.

    Parameters
    ----------
    bundle : Bundle
        With a split ``test`` and a model that offers gradients.
    samples : int or None
        How many inputs; None for all.
    device : str
        Where the attacks compute.
    batch_size : int

    Raises
    ------
    DataError
        Labels that the model has no output for, inputs that are infinite, or bounds that do
        not fit.
    SkipMetric
        The inputs have missing values.
    ModelError
        The module gives no logits ``(n, k)`` with k >= 2, or some that are not finite.
    """

    def __init__(
        self, bundle: Bundle, *, samples: int | None, device: str, batch_size: int
    ) -> None:
        split = bundle.split("test")
        self.n = len(split) if samples is None else min(samples, len(split))
        self.x: Floats = split.x[: self.n]
        self.y: Ints = np.asarray(split.labels[: self.n], dtype=np.int64)
        self.index: Ints = np.asarray(split.index[: self.n], dtype=np.int64)
        self.model: ModelHandle = bundle.model
        self.device = device
        self.batch_size = batch_size
        self.module = _on(bundle.model.torch_module(), device)
        self.low, self.high = _bounds(bundle, self.x.shape[1:])
        held = dict.fromkeys((*bundle.schema.frozen, *bundle.schema.categories))
        self.held: tuple[str, ...] = tuple(held)
        self._fixed = np.zeros(self.x.shape[1:], dtype=bool)
        self._fixed[list(bundle.schema.positions(self.held))] = True
        if self.n == 0:
            raise DataError("split test is empty; there is nothing to attack")
        if not np.issubdtype(self.x.dtype, np.floating):
            raise DataError(
                f"split test holds {self.x.dtype} inputs; attacks need float32 or float64"
            )
        self._check_finite()

    def batches(self, rows: Ints) -> Iterator[Ints]:
        """Yield the rows, batch by batch."""
        for start in range(0, len(rows), self.batch_size):
            yield rows[start : start + self.batch_size]

    def tensors(self, rows: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        """Return float32 inputs and int64 labels of these rows, on the device."""
        x = torch.from_numpy(np.array(self.x[rows], dtype=np.float32))
        return x.to(self.device), torch.from_numpy(self.y[rows]).to(self.device)

    def predict(self, x: Floats) -> Ints:
        """Return the classes that the model as loaded gives, batch by batch."""
        parts = [
            np.asarray(self.model.predict(x[i : i + self.batch_size]), dtype=np.int64).reshape(-1)
            for i in range(0, len(x), self.batch_size)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def logits(self, rows: Ints) -> npt.NDArray[np.float32]:
        """Return the module's outputs for these rows, ``(n, k)``."""
        parts = []
        with torch.no_grad():
            for batch in self.batches(rows):
                out = self.module(self.tensors(batch)[0])
                if out.ndim != 2 or out.shape[0] != len(batch) or out.shape[1] < 2:
                    raise ModelError(
                        f"the model's module returned shape {tuple(out.shape)} for {len(batch)} "
                        "inputs; a classifier returns one logit for each of at least two classes"
                    )
                parts.append(out.float().cpu().numpy())
        found = np.concatenate(parts)
        if not np.isfinite(found).all():
            bad = int((~np.isfinite(found).all(axis=1)).sum())
            raise ModelError(f"the model's outputs are not finite for {bad} of {len(rows)} inputs")
        if self.y.min() < 0 or self.y.max() >= found.shape[1]:
            raise DataError(
                f"split test has labels from {self.y.min()} to {self.y.max()}, "
                f"but the model has outputs for classes 0 to {found.shape[1] - 1}"
            )
        return found

    def case(self, rows: Ints, norm: Norm, eps: float, generator: torch.Generator) -> Case:
        """Return these rows as one batch to attack."""
        x, y = self.tensors(rows)
        fixed = torch.from_numpy(self._fixed).to(self.device)
        ends = [
            torch.where(fixed, x, torch.from_numpy(end.astype(np.float32)).to(self.device))
            for end in (self.low, self.high)
        ]
        return Case(
            module=self.module,
            predict=self.predict,
            x=x,
            y=y,
            norm=norm,
            eps=eps,
            low=ends[0],
            high=ends[1],
            generator=generator,
        )

    def judge(self, rows: Ints, case: Case, attempt: Attempt) -> Judged:
        """Return what the model says of an attempt, after putting it into ball and bounds.

        Raises
        ------
        ModelError
            The attack returned another shape than it was given.
        """
        if attempt.x_adv.shape != case.x.shape:
            raise ModelError(
                f"an attack returned shape {tuple(attempt.x_adv.shape)} for inputs of shape "
                f"{tuple(case.x.shape)}"
            )
        x, y = self.x[rows], self.y[rows]
        # The float32 difference is what the attack did; float64 data keep their own digits.
        delta = (attempt.x_adv.double() - case.x.double()).cpu().numpy()
        low, high = (np.where(self._fixed, x, end) for end in (self.low, self.high))
        x_adv = confine(x, delta, case.norm, case.eps, low, high)
        predicted = self.predict(x_adv)
        broken = inside(x, x_adv, case.norm, case.eps, low, high) & (predicted != y)
        claimed = attempt.claimed.cpu().numpy()
        return Judged(
            x_adv=x_adv,
            predicted=predicted,
            broken=broken,
            size=sizes(x, x_adv, case.norm),
            unconfirmed=int((claimed & ~broken).sum()),
        )

    def _check_finite(self) -> None:
        for start in range(0, self.n, self.batch_size):
            part = self.x[start : start + self.batch_size]
            if np.isnan(part).any():
                raise SkipMetric(
                    "the test set has missing values, and a perturbation of what is missing has no "
                    'size; leave those rows out (missing_values = "drop") or fill them'
                )
            if not np.isfinite(part).all():
                raise DataError("split test holds inputs that are not finite; attacks need numbers")


def _on(module: torch.nn.Module, device: str) -> torch.nn.Module:
    """Return the module on the device: itself where it is there, else a copy."""
    held = {tensor.device.type for tensor in (*module.parameters(), *module.buffers())}
    if held <= {torch.device(device).type}:
        return module
    return copy.deepcopy(module).to(device)


def _bounds(
    bundle: Bundle, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return (low, high), scalars or shaped like one input; infinite where nothing is declared."""
    if bundle.schema.bounds is None:
        return np.asarray(-np.inf), np.asarray(np.inf)
    ends = []
    for end in bundle.schema.bounds:
        values = np.asarray(end, dtype=np.float64)
        if values.ndim:
            if values.size != int(np.prod(shape)):
                raise DataError(
                    f"data.bounds holds {values.size} values an end, but an input has "
                    f"{int(np.prod(shape))}; give one number, or one for each feature"
                )
            values = values.reshape(shape)
        ends.append(values)
    low, high = ends
    if not (low <= high).all():
        raise DataError("data.bounds has a lower end above its upper end")
    return low, high
