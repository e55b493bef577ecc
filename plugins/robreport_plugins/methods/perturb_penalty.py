"""A perturbation's size traded against its effect, with the constant searched for each example."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from robreport_plugins.methods.geometry import column
from robreport_plugins.methods.perturb_screen import Screen, try_first
from robreport_plugins.methods.perturb_smallest import Probe, Smallest

# The first constant, in those that a linear model needs.
FIRST = 1.5
# Growth while nothing was found. The first constant is what a linear model needs, so few
# doublings are due; a factor of ten would throw away most of the searches.
GROWTH = 4.0
MOST = 1e30
# How often a search asks which examples still get better.
CHECKS = 5


class Constants:
    """A bisection, in ratio, for the smallest constant that yields adversarials.

    Parameters
    ----------
    first : Tensor (m,)
        Positive.

    Attributes
    ----------
    value : Tensor (m,)
        To be used in the next search.
    """

    def __init__(self, first: Tensor) -> None:
        self.value = first.clamp(1.0 / MOST, MOST)
        self._low = torch.zeros_like(first)
        self._high = torch.full_like(first, torch.inf)

    def narrow(self, found: Tensor) -> None:
        """Go on from where the last search found adversarials and where it did not."""
        self._high = torch.where(found, self.value, self._high)
        self._low = torch.where(found, self._low, self.value)
        between = (self._low * self._high).sqrt()
        known = (self._low > 0) & torch.isfinite(self._high)
        stepped = torch.where(found, self.value / GROWTH, self.value * GROWTH)
        self.value = torch.where(known, between, stepped).clamp(1.0 / MOST, MOST)


class Progress:
    """Which examples of a search still get better; asked for now and then.

    Parameters
    ----------
    like : Tensor (m,)
        One value for each example.
    """

    # Of its last value, what a loss must have lost since.
    LEAST = 1e-4

    def __init__(self, like: Tensor) -> None:
        self._last = torch.full_like(like, torch.inf)
        self._best = torch.full_like(like, torch.inf)

    def note(self, loss: Tensor) -> None:
        """Keep the losses of this step."""
        self._best = torch.minimum(self._best, loss)

    def going_on(self) -> Tensor:
        """Return where the best loss fell since the last time that this was asked."""
        better = self._best <= self._last * (1 - self.LEAST)
        self._last = self._best
        return better

    def keep(self, stay: Tensor) -> None:
        """Drop the other examples."""
        self._last, self._best = self._last[stay], self._best[stay]


class Descent(ABC):
    """One search, with the constants given: the examples still in play, shrinking.

    Parameters
    ----------
    record : Smallest
    rows : Tensor (m,)
        The examples.
    constants, unit : Tensor (m,)
        What weighs the margin, and the length that the steps are measured in.
    start : Tensor (m, *shape)
        The first perturbation.
    """

    # Tensors with one row for each example in play.
    _rows: tuple[str, ...] = ("rows", "where", "constants", "unit", "delta")

    def __init__(
        self, record: Smallest, rows: Tensor, constants: Tensor, unit: Tensor, start: Tensor
    ) -> None:
        self.record, self.rows, self.constants, self.unit = record, rows, constants, unit
        self.where = torch.arange(len(rows), device=rows.device)
        self.delta = start

    @abstractmethod
    def advance(self, k: int, length: int) -> tuple[Probe, Tensor]:
        """Take step k of so many; return the gradient that it took, and the losses there."""

    def run(self, length: int) -> Tensor:
        """Return where the search met an adversarial, in so many steps."""
        found = torch.zeros(len(self.rows), dtype=torch.bool, device=self.rows.device)
        progress = Progress(self.unit)
        check = max(1, length // CHECKS)
        for k in range(length):
            probe, loss = self.advance(k, length)
            found[self.where[probe.hit]] = True
            progress.note(loss)
            if (k + 1) % check == 0 and k + 1 < length:
                stay = progress.going_on()
                if not bool(stay.all()):
                    progress.keep(stay)
                    for name in self._rows:
                        setattr(self, name, getattr(self, name)[stay])
                if len(self.rows) == 0:
                    return found
        hit = self.record.try_out(self.rows, self.at(self.delta))
        found[self.where[hit]] = True
        return found

    def at(self, delta: Tensor) -> Tensor:
        """Return the perturbed inputs, cut to their bounds."""
        return self.record.inside(self.rows, self.record.x[self.rows] + delta)

    def cut(self, delta: Tensor) -> Tensor:
        """Return the perturbations, cut to the bounds."""
        return self.at(delta) - self.record.x[self.rows]

    def shortfall(self, probe: Probe) -> Tensor:
        """Return what is missing to another class, times the constants, ``(m,)``."""
        return self.constants * torch.where(probe.hit, 0.0, -probe.value).clamp_min(0)


def search_constants(
    record: Smallest,
    rows: Tensor,
    nearest: Screen,
    steps: int,
    searches: int,
    first: Tensor,
    descent: Callable[[Tensor, Tensor], Descent],
) -> None:
    """Search with one constant after the other; the record keeps what is found.

    Parameters
    ----------
    record : Smallest
    rows : Tensor (m,)
        The examples.
    nearest : Screen
        Of these; the first perturbation is the step to its nearest class.
    steps : int
        Gradients that each example may take in all, those of the screen among them.
    searches : int
        How many constants are tried, at most.
    first : Tensor (m,)
        The first constants.
    descent : callable, Tensor (m,), Tensor (m, *shape) -> Descent
        A search with these constants from these perturbations.
    """
    x = record.x[rows]
    start = try_first(record, rows, nearest)
    left = steps - nearest.taken
    count = min(searches, max(1, steps // CHECKS))
    constants = Constants(first)
    for turn in range(count):
        length = left // count + (turn < left % count)
        constants.narrow(descent(constants.value, start).run(length))
        known = torch.isfinite(record.size[rows])
        start = torch.where(column(known, x), record.best[rows] - x, start)
