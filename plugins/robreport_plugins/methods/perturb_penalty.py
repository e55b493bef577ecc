"""The constants that weigh a perturbation's size against its effect, searched for each example."""

from __future__ import annotations

import torch
from torch import Tensor

# Growth while nothing was found. The first constant is what a linear model needs, so few
# doublings are due; a factor of ten would throw away most of the searches.
GROWTH = 4.0
MOST = 1e30


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
    count : int
        Of the examples.
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
