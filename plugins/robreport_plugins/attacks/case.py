"""One batch to attack, seen by gradients, by scores, by decisions, or as trees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from robreport import ModelError, Norm, TreeEnsemble
from robreport_plugins.methods.perturb import Attempt
from robreport_plugins.methods.space import Space

if TYPE_CHECKING:
    from robreport_plugins.attacks.target import Target

Array = npt.NDArray[Any]

# How far, as a share of the radius, float32 may carry a candidate out of the ball.
_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact(Attempt):
    """An attempt whose candidates are given in data space, to the last digit.

    Attributes
    ----------
    data : array (n, *shape)
        In the type of the data; where a candidate is valid and inside the ball it is judged as it
        is, for beyond a tree's threshold one digit decides.
    """

    data: Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One batch to attack in one norm with one radius.

    Attributes
    ----------
    target : Target
        The model as loaded.
    space : Space
        Where the attacker may go.
    rows : array (n,)
        Which inputs of the target.
    data : array (n, *shape)
        The inputs in data space, in their own type.
    module : torch.nn.Module or None
        Inputs, in the units of the budget, to logits; None of a model without gradients.
    unit : Tensor or None
        The units of the budget, shaped like one input; None for those of the data.
    x, y : Tensor
        float32 inputs ``(n, *shape)`` in the units of the budget, and int64 labels ``(n,)``, on
        the device.
    norm, eps
        The threat.
    low, high : Tensor like x
        Room in the units of the budget: what may not move has no room.
    generator : torch.Generator
        On the CPU, of this attack, threat, radius and batch.
    aim : int or None
        The class that all examples are to be moved to; None for any wrong one.
    """

    target: Target
    space: Space
    rows: npt.NDArray[np.int64]
    data: Array
    module: torch.nn.Module | None
    unit: torch.Tensor | None
    x: torch.Tensor
    y: torch.Tensor
    norm: Norm
    eps: float
    low: torch.Tensor
    high: torch.Tensor
    generator: torch.Generator
    aim: int | None = None

    @property
    def labels(self) -> torch.Tensor:
        """The classes that an attack moves examples towards, or where there is no aim, from."""
        return self.y if self.aim is None else torch.full_like(self.y, self.aim)

    @property
    def network(self) -> torch.nn.Module:
        """The module, for attacks that need gradients.

        Raises
        ------
        ModelError
            The model has none.
        """
        if self.module is None:
            raise ModelError("an attack that needs gradients was given a model without")
        return self.module

    @property
    def trees(self) -> TreeEnsemble | None:
        """The model's trees, where it is made of such."""
        return self.target.trees

    @property
    def stepwise(self) -> bool:
        """Whether an attack has room to move whole numbers or groups by parts of a step."""
        bound = torch.from_numpy(self.space.whole | self.space.discrete).to(self.x.device)
        return bool(((self.low < self.high) & bound).any())

    def room(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ends of all the room there is, in the units of the budget.

        For a walk that begins far away, and comes nearer than the radius by and by.
        """
        return ends(self.space, self.data, self.norm, np.inf, self.x)

    def landed(self, attempt: Attempt, *, stretched: bool = False) -> Array:
        """Return candidates ``(n, *shape)`` as valid inputs in the ball, in data space.

        With `stretched` their changes are first grown to the whole radius.
        """
        delta = self._moved(attempt)
        if stretched:
            delta = self.space.stretch(self.data, delta, self.norm, self.eps)
        landed = self.space.land(self.data, delta, self.norm, self.eps)
        if isinstance(attempt, Exact):
            good = self.space.inside(self.data, attempt.data, self.norm, self.eps)
            landed[good] = attempt.data[good]
        return landed

    def asked(self, attempt: Attempt) -> tuple[Array, ...]:
        """Return candidates as the model may have been asked about them, in data space.

        By their scores as they are; by decisions with the digits of the data where nothing moved.
        """
        if isinstance(attempt, Exact):
            return (attempt.data,)
        moved = np.asarray(self.data + self._moved(attempt), dtype=self.data.dtype)
        return self._inputs(attempt.x_adv), moved

    def within(self, attempt: Attempt) -> npt.NDArray[np.bool_]:
        """Return which candidates lie in the ball as the attack left them, but for rounding."""
        sizes = self.space.sizes(self.data, self.data + self._moved(attempt), self.norm)
        return np.asarray(sizes <= self.eps * (1 + _ROUNDING))

    def _moved(self, attempt: Attempt) -> Array:
        """Return what the attack changed, in data space."""
        if isinstance(attempt, Exact):
            return np.asarray(attempt.data, dtype=np.float64) - self.data
        # the float32 difference is what the attack did; float64 data keep their own digits
        delta = (attempt.x_adv.double() - self.x.double()).cpu().numpy()
        return delta if self.space.unit is None else delta * self.space.unit

    def settled(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return candidates of some examples where they land, in the units of the budget."""
        given = Attempt(
            x_adv=x, claimed=torch.zeros(len(x), dtype=torch.bool), gradients=0, queries=0
        )
        landed = self.only(places.cpu().numpy(), self.eps).landed(given)
        found = torch.from_numpy(np.asarray(landed, dtype=np.float32)).to(x.device)
        return found if self.unit is None else found / self.unit

    def exact(self, data: Array, claimed: Array, queries: int = 0) -> Exact:
        """Return rows of the data's space as an attempt of this batch."""
        given = torch.from_numpy(np.asarray(data, dtype=np.float32)).to(self.x.device)
        return Exact(
            x_adv=given if self.unit is None else given / self.unit,
            claimed=torch.from_numpy(np.asarray(claimed, dtype=bool)),
            gradients=0,
            queries=queries,
            data=np.asarray(data, dtype=self.data.dtype),
        )

    def only(self, places: Array, eps: float) -> Case:
        """Return some examples of the batch, with another radius."""
        here = torch.from_numpy(places)
        return replace(
            self, rows=self.rows[places], data=self.data[places], x=self.x[here], y=self.y[here],
            low=self.low[here], high=self.high[here], eps=eps,
        )  # fmt: skip

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """Return the model's scores ``(m, k)`` of inputs in the units of the budget."""
        return torch.from_numpy(self.target.scores(self._inputs(x))).to(x.device)

    def decide(self, x: torch.Tensor, places: torch.Tensor | None = None) -> torch.Tensor:
        """Return the classes ``(m,)`` of inputs, by the model as loaded.

        With `places`, which examples of the batch they belong to, what an input shares with its
        example it shares to the last digit.
        """
        given = self._inputs(x)
        if places is not None:
            moved = (x.double() - self.x[places].double()).cpu().numpy()
            if self.space.unit is not None:
                moved = moved * self.space.unit
            given = (self.data[places.cpu().numpy()] + moved).astype(self.data.dtype)
        return torch.from_numpy(self.target.predict(given)).to(x.device)

    def _inputs(self, x: torch.Tensor) -> Array:
        given = x if self.unit is None else x * self.unit
        return np.asarray(given.cpu().numpy(), dtype=self.data.dtype)


def ends(
    space: Space, data: Array, norm: Norm, eps: float, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ends of what small steps can reach, shaped like the inputs `x` of an attack.

    In the units of the budget, as `x`; what may not move has no room.
    """
    reach = space.reach(data, norm, eps)
    low, high = (torch.from_numpy(end.astype(np.float32)).to(x.device) for end in reach)
    if space.unit is not None:
        # rounded as the inputs are, so that what is held stays where it is to the last digit
        unit = torch.from_numpy(space.unit.astype(np.float32)).to(x.device)
        low, high = low / unit, high / unit
    return torch.minimum(low, x), torch.maximum(high, x)
