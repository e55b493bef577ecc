"""The attacks that a suite can run, each as one entry: what it is, and how to call it.

A new attack is a new entry: a function from a `Case` and the suite's parameters to an `Attempt`.
It need not be right about its own success, nor stay exactly inside the ball: the suite puts the
returned inputs back into ball and bounds and asks the model itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from robreport import Norm

if TYPE_CHECKING:
    import torch

    from robreport_plugins.attacks.params import SuiteParams
    from robreport_plugins.methods.perturb import Attempt

Predict = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One batch to attack in one norm with one radius.

    Attributes
    ----------
    module : torch.nn.Module
        Inputs in data space to logits; for attacks that need gradients.
    predict : callable
        The audited model's own classes for an array; for attacks that only ask.
    x, y : Tensor
        float32 inputs ``(n, *shape)`` and int64 labels ``(n,)``, on the module's device.
    norm, eps
        The threat.
    low, high : Tensor broadcastable to x
        The data's bounds.
    generator : torch.Generator
        On the CPU, of this attack, norm, radius and batch.
    """

    module: torch.nn.Module
    predict: Predict
    x: torch.Tensor
    y: torch.Tensor
    norm: Norm
    eps: float
    low: torch.Tensor
    high: torch.Tensor
    generator: torch.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack of the catalogue.

    Attributes
    ----------
    name, title : str
        As the parameters and as pages call it.
    norms : frozenset of Norm
    knowledge : str
        "white box" or "black box".
    iterative : bool
        Takes ``steps`` and ``restarts``; is expected to break what a single step breaks, and
        what it broke with a smaller radius.
    run : callable (case, params) -> Attempt
    """

    name: str
    title: str
    norms: frozenset[Norm]
    knowledge: str
    iterative: bool
    run: Callable[[Case, SuiteParams], Attempt]

    def budget(self, params: SuiteParams) -> tuple[int, int]:
        """Return (steps, restarts) that the attack takes of each example."""
        return (params.steps, params.restarts) if self.iterative else (1, 1)


def _fgsm(case: Case, params: SuiteParams) -> Attempt:
    from robreport_plugins.methods.perturb_pgd import fgsm

    return fgsm(
        case.module,
        case.x,
        case.y,
        norm=case.norm,
        eps=case.eps,
        bounds=(case.low, case.high),
        loss=params.loss,
    )


def _pgd(case: Case, params: SuiteParams) -> Attempt:
    from robreport_plugins.methods.perturb_pgd import pgd

    return pgd(
        case.module,
        case.x,
        case.y,
        norm=case.norm,
        eps=case.eps,
        bounds=(case.low, case.high),
        steps=params.steps,
        step=params.step_length(case.eps),
        restarts=params.restarts,
        random_start=params.random_start,
        generator=case.generator,
        loss=params.loss,
    )


_CONVEX = frozenset({Norm.L1, Norm.L2, Norm.Linf})

CATALOGUE: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack(
            name="fgsm",
            title="FGSM",
            norms=_CONVEX,
            knowledge="white box",
            iterative=False,
            run=_fgsm,
        ),
        Attack(
            name="pgd",
            title="PGD",
            norms=_CONVEX,
            knowledge="white box",
            iterative=True,
            run=_pgd,
        ),
    )
}
