"""Hold both runtimes of an ONNX network against each other on the data that an audit measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.flop_counter import FlopCounterMode

from robreport import ModelError, Split
from robreport_plugins.loaders.data_space import Outputs
from robreport_plugins.loaders.network import deterministic
from robreport_plugins.loaders.onnx_handle import two_columns
from robreport_plugins.loaders.onnx_session import Session
from robreport_plugins.loaders.onnx_twin import (
    OR_TOLERANCE,
    Converted,
    flat,
    relative,
    torch_scores,
)
from robreport_plugins.loaders.wording import shown

Array = npt.NDArray[Any]

MOST_WORK = 10**13
"""Operations that comparing may take, both runtimes and all splits together: some minutes."""

_BATCH_ROWS = 512
_BATCH_NUMBERS = 1 << 20
# Reading, rounding and comparing a number, beside what the network does with it.
_WORK_PER_NUMBER = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class BothRuntimes:
    """A network's session and its conversion, which must say the same.

    Attributes
    ----------
    session : Session
        Computes the scores as its first value.
    converted : Converted
        Computes them in torch.
    device : str
    tolerance : float
        Largest relative difference allowed.
    outputs : "logits", "probabilities" or "value"
        What the scores are.
    names : tuple of str
        What each of their columns is about, as the sentence says it: ``class 'cat'``.
    where : str
    """

    session: Session
    converted: Converted
    device: str
    tolerance: float
    outputs: Outputs
    names: tuple[str, ...]
    where: str

    def compare(self, splits: Mapping[str, Split], most: int = MOST_WORK) -> dict[str, str]:
        """Return in words how far both are apart on each split.

        All rows are compared, in batches; of more than `most` operations allow, as many rows as
        they do, evenly over each split.

        Raises
        ------
        ModelError
            They part: the sentence names the first split, row and class, and both values.
        """
        total = sum(map(len, splits.values()))
        if not total:
            return {}
        first = next(split for split in splits.values() if len(split))
        affordable = max(1, most // self._work(np.asarray(first.x[:1])))
        found = {}
        for role, split in splits.items():
            count = len(split)
            if total > affordable:
                count = min(count, max(1, count * affordable // total))
            found[f"onnxruntime and torch on data.{role}"] = self._on(role, split, count)
        return found

    def _work(self, x: Array) -> int:
        """Return how many operations both runtimes take for one row, without running it twice."""
        counter = FlopCounterMode(display=False)
        with counter:
            torch_scores(self.converted, x, self.device)
        return int(2 * counter.get_total_flops() + _WORK_PER_NUMBER * max(1, x.size))

    def _on(self, role: str, split: Split, count: int) -> str:
        if not count:
            return "no rows"
        rows = np.arange(count) * len(split) // count
        step = max(1, min(_BATCH_ROWS, _BATCH_NUMBERS // max(1, int(np.prod(split.x.shape[1:])))))
        largest, other = 0.0, 0
        for start in range(0, count, step):
            part = rows[start : start + step]
            x = np.asarray(split.x[part])
            theirs = flat(self.session.run(self.converted.entry.array(x, self.where))[0])
            with deterministic():
                ours = torch_scores(self.converted, x, self.device)
            apart = relative(ours, theirs)
            wrong = np.flatnonzero(~(apart <= self.tolerance))
            if len(wrong):
                at = int(wrong[0])
                source = int(split.index[part[at]])
                raise ModelError(self._parted(role, source, ours[at], theirs[at], apart[at]))
            largest = max(largest, float(apart.max()))
            other += int((self._classes(ours) != self._classes(theirs)).sum())
        words = f"{count:,} of {len(split):,} rows compared, at most {largest:.1e} apart (relative)"
        if self.outputs == "value":
            return words
        return f"{words}, {f'another class on {other:,}' if other else 'the same class on each'}"

    def _classes(self, scores: Array) -> Array:
        return np.asarray(two_columns(scores, self.outputs).argmax(axis=1))

    def _parted(self, role: str, row: int, ours: Array, theirs: Array, apart: float) -> str:
        gap = np.where(ours == theirs, 0.0, np.abs(ours - theirs))
        column = int(np.argmax(np.where(np.isnan(gap), np.inf, gap)))
        return (
            f"{self.where}: onnxruntime and its conversion to torch differ on data.{role}: in row "
            f"{row} (counted from 0), for {self.names[column]}, onnxruntime says "
            f"{theirs[column]:.6g} and torch {ours[column]:.6g}, {apart:.2g} apart relative to the "
            f"row's largest where tolerance = {self.tolerance:g}; declare gradients = false to "
            f"audit its predictions alone{OR_TOLERANCE}."
        )


def column_names(
    outputs: Outputs, columns: int, index: Array, classes: tuple[str, ...]
) -> tuple[str, ...]:
    """Return what each column of the scores is about; a single one is that of the second class."""
    if outputs == "value":
        return ("its value",)
    order = index[1:2] if columns == 1 else index[:columns]
    return tuple(
        f"class {shown(classes[code]) if code < len(classes) else code}" for code in order.tolist()
    )
