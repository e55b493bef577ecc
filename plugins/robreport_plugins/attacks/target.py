"""The model under attack with the inputs to attack, ready for torch and for NumPy."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from robreport import (
    Bundle,
    DataError,
    ModelError,
    ModelHandle,
    Needs,
    Norm,
    ThreatModel,
    TreeEnsemble,
)
from robreport_plugins.attacks.case import Case, ends
from robreport_plugins.attacks.rows import complete_rows
from robreport_plugins.methods.space import Space
from robreport_plugins.methods.space_of import bounds_of, check_groups, codes_of, space_of

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]

# Where a probability of nothing stops counting: its logarithm must stay a number.
_LEAST = 1e-12
# Rows, at most, that searches begin from.
_STARTS = 2000
# Of them, those on which scores are held against classes.
_LOOKED_AT = 500


class Target:
    """One model and the first `samples` inputs of a split without missing values.

    Frozen columns of a table are held as they are, and categorical ones go from code to code:
    what a threat model allows is its `Space`.

    Parameters
    ----------
    bundle : Bundle
        With a split ``test``; ``train``, where there is one, gives columns their units.
    samples : int or None
        How many inputs; None for all. `incomplete` counts those that were passed over.
    device : str
        Where the attacks compute.
    batch_size : int

    Raises
    ------
    DataError
        Labels that the model has no output for, inputs that are infinite, or bounds that do
        not fit.
    SkipMetric
        Every input has missing values.
    ModelError
        The outputs are no logits ``(n, k)`` with k >= 2, or some are not finite.
    """

    def __init__(
        self, bundle: Bundle, *, samples: int | None, device: str, batch_size: int
    ) -> None:
        split = bundle.split("test")
        rows, self.incomplete = complete_rows(split.x, samples, batch_size)
        self.x: Floats = split.x[rows]
        self.n = len(self.x)
        self.y: Ints = np.asarray(split.labels[rows], dtype=np.int64)
        self.index: Ints = np.asarray(split.index[rows], dtype=np.int64)
        self.model: ModelHandle = bundle.model
        self.offers = bundle.offers
        self.schema = bundle.schema
        self.device = device
        self.batch_size = batch_size
        self.module: torch.nn.Module | None = None
        if Needs.GRADIENTS in bundle.offers:
            self.module = _on(bundle.model.torch_module(), device)
        self.trees: TreeEnsemble | None = None
        if Needs.TREES in bundle.offers:
            self.trees = bundle.model.trees()
        self.low, self.high = bounds_of(bundle.schema, self.x.shape[1:])
        units = bundle.splits.get("train", split)
        self.reference: Floats = units.x
        self._surrogates: dict[int, torch.nn.Module] = {}
        self._spaces: dict[ThreatModel, Space] = {}

    @cached_property
    def starts(self) -> Floats:
        """The first rows of the reference without missing values, at most 2,000.

        Searches begin from them, or take their values.
        """
        found, count = [self.reference[:0]], 0
        for start in range(0, len(self.reference), _STARTS):
            part = self.reference[start : start + _STARTS]
            found.append(part[np.isfinite(part.reshape(len(part), -1)).all(axis=1)])
            count += len(found[-1])
            if count >= _STARTS:
                break
        return np.concatenate(found)[:_STARTS]

    @property
    def held(self) -> tuple[str, ...]:
        """Columns that the data's schema freezes."""
        return self.schema.frozen

    @property
    def scored(self) -> bool:
        """Whether the model gives more than a class: logits or probabilities."""
        return self.module is not None or Needs.PROBABILITIES in self.offers

    @property
    def classes(self) -> int:
        """How many classes there are for the model or the data."""
        return max(2, self.schema.n_classes, self.model.n_outputs, int(self.y.max()) + 1)

    def surrogate(self, seed: int) -> torch.nn.Module:
        """Return a network fitted to what the model says of the training data, made once."""
        if seed not in self._surrogates:
            from robreport_plugins.methods.surrogate import fit_surrogate

            fitted = fit_surrogate(
                self.predict, self.reference, self.classes, seed=seed, codes=codes_of(self.schema)
            )
            self._surrogates[seed] = fitted.to(self.device)
        return self._surrogates[seed]

    def space(self, threat: ThreatModel) -> Space:
        """Return where an attacker of this threat model may go.

        Raises
        ------
        DataError
            The threat names columns that are not there.
        """
        known = arena(threat)
        if known not in self._spaces:
            found = space_of(self.schema, threat, self.x.shape[1:], self.reference)
            check_groups(self.schema, threat, self.reference)
            self._spaces[known] = found
        return self._spaces[known]

    def span(self, threat: ThreatModel) -> float | None:
        """Return the size of a change from one end of the data to the other.

        None where the bounds are not finite, or too much is held for such a change to be made.
        """
        space = self.space(threat)
        width = np.broadcast_to(self.high - self.low, space.shape).astype(np.float64)
        held = space.fixed | space.up | space.down | space.discrete
        if not np.isfinite(width).all() or held.any():
            return None
        unit = np.ones(space.shape) if space.unit is None else space.unit
        flat = (width / unit).reshape(-1)
        if threat.norm is Norm.L0:
            return float(flat.size)
        return float(np.linalg.norm(flat, ord=threat.norm.order))

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

    def scores(self, x: Floats) -> npt.NDArray[np.float32]:
        """Return outputs ``(n, k)`` that are larger for likelier classes.

        The module's logits where there is a module, else logarithms of probabilities; that of the
        class that the model gives is raised over all others, by its probability, where a model
        decides by something else.

        Raises
        ------
        DataError, ModelError
            As for the class.
        """
        parts = []
        for start in range(0, len(x), self.batch_size):
            part = x[start : start + self.batch_size]
            if self.module is not None:
                with torch.no_grad():
                    inputs = torch.from_numpy(np.array(part, dtype=np.float32)).to(self.device)
                    out = self.module(inputs).float().cpu().numpy()
            else:
                out = self._shares(part)
                if not self._by_shares:
                    # else an attack would take an input for broken that the model still gets
                    # right; by its share, so that there is a slope where the class stays
                    given = self.predict(part)[:, None]
                    share = np.exp(np.take_along_axis(out, given, axis=1))
                    top = out.max(axis=1, keepdims=True) + share
                    np.put_along_axis(out, given, top, axis=1)
            if out.ndim != 2 or out.shape[0] != len(part) or out.shape[1] < 2:
                raise ModelError(
                    f"the model's module returned shape {tuple(out.shape)} for {len(part)} "
                    "inputs; a classifier returns one logit for each of at least two classes"
                )
            parts.append(out)
        return np.concatenate(parts) if parts else np.zeros((0, 2), dtype=np.float32)

    def decisions(self, x: Floats) -> npt.NDArray[np.float32]:
        """Return ``(n, k)``: 1 for the class that the model gives, 0 for the others."""
        given = self.predict(x)
        return np.eye(max(self.classes, int(given.max(initial=0)) + 1), dtype=np.float32)[given]

    def _shares(self, x: Floats) -> npt.NDArray[np.float32]:
        shares = np.asarray(self.model.predict_proba(x), dtype=np.float64)
        return np.asarray(np.log(np.maximum(shares, _LEAST)), dtype=np.float32)

    @cached_property
    def _by_shares(self) -> bool:
        """Whether the model gives the class of its largest probability, as seen on the data."""
        for rows in (self.x, self.starts[:_LOOKED_AT].astype(self.x.dtype)):
            for start in range(0, len(rows), self.batch_size):
                part = rows[start : start + self.batch_size]
                out, given = self._shares(part), self.predict(part)
                if out.ndim != 2 or given.max(initial=0) >= out.shape[1]:
                    return True  # refused elsewhere
                if (np.take_along_axis(out, given[:, None], axis=1)[:, 0] < out.max(axis=1)).any():
                    return False
        return True

    def outputs(self) -> npt.NDArray[np.float32] | None:
        """Return the scores of the inputs themselves; None of a model that gives classes only.

        Raises
        ------
        DataError
            Labels that the model has no output for.
        ModelError
            Outputs that are not finite.
        """
        if not self.scored:
            return None
        found = self.scores(self.x)
        if not np.isfinite(found).all():
            bad = int((~np.isfinite(found).all(axis=1)).sum())
            raise ModelError(f"the model's outputs are not finite for {bad} of {self.n} inputs")
        if self.y.min() < 0 or self.y.max() >= found.shape[1]:
            raise DataError(
                f"split test has labels from {self.y.min()} to {self.y.max()}, "
                f"but the model has outputs for classes 0 to {found.shape[1] - 1}"
            )
        return found

    def case(
        self,
        rows: Ints,
        threat: ThreatModel,
        eps: float,
        generator: torch.Generator,
        aim: int | None = None,
    ) -> Case:
        """Return these rows as one batch to attack, to be moved to the class `aim` if any."""
        space = self.space(threat)
        x, y = self.tensors(rows)
        data = self.x[rows]
        module, unit = self.module, None
        if space.unit is not None:
            unit = torch.from_numpy(space.unit.astype(np.float32)).to(self.device)
            x = x / unit
            if module is not None:
                module = InUnits(module, unit)
        low, high = ends(space, data, threat.norm, eps, x)
        return Case(
            target=self, space=space, rows=rows, data=data, module=module, unit=unit,
            x=x, y=y, norm=threat.norm, eps=eps, low=low, high=high, generator=generator, aim=aim,
        )  # fmt: skip


class InUnits(torch.nn.Module):
    """A module that takes inputs in the units of a budget."""

    def __init__(self, module: torch.nn.Module, unit: torch.Tensor) -> None:
        super().__init__()
        self.module = module
        self.unit = unit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.module(x * self.unit)
        return found


def arena(threat: ThreatModel) -> ThreatModel:
    """Return what a threat model says apart from its name and budgets: threats share its runs."""
    return replace(threat, name="", eps=())


def _on(module: torch.nn.Module, device: str) -> torch.nn.Module:
    """Return the module on the device: itself where it is there, else a copy."""
    held = {tensor.device.type for tensor in (*module.parameters(), *module.buffers())}
    if held <= {torch.device(device).type}:
        return module
    return copy.deepcopy(module).to(device)
