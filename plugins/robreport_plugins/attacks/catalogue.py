"""The attacks that a suite can run, each as one entry: what it is, and how to call it.

A new attack is a new entry: a function from a `Case` and the suite's parameters to an `Attempt`.
It need not be right about its own success, nor stay exactly inside the ball: the suite puts the
returned inputs back into ball and bounds and asks the model itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from robreport import Norm

if TYPE_CHECKING:
    from robreport_plugins.attacks.case import Case
    from robreport_plugins.attacks.params import SuiteParams
    from robreport_plugins.methods.perturb import Attempt

Sees = Literal["gradients", "trees", "scores", "decisions"]
Kind = Literal["step", "iterative", "minimal", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack of the catalogue.

    Attributes
    ----------
    name, title : str
        As the parameters and as pages call it.
    norms : frozenset of Norm
    sees : str
        What it needs of the model: "gradients", "trees", "scores" or "decisions".
    kind : str
        "step" and "noise" try once; "iterative" takes ``steps`` and is expected to break what a
        single step breaks, and what it broke with a smaller radius; "minimal" looks for the
        smallest perturbation, so that one run serves all radii of a threat.
    run : callable (case, params) -> Attempt
    budget : callable (params) -> (steps, restarts)
        What it takes of each example.
    aims : bool
        Whether it can move an example to a chosen class, `Case.aim`.
    """

    name: str
    title: str
    norms: frozenset[Norm]
    sees: Sees
    kind: Kind
    run: Callable[[Case, SuiteParams], Attempt]
    budget: Callable[[SuiteParams], tuple[int, int]]
    aims: bool = False

    @property
    def knowledge(self) -> str:
        """Return "white box" or "black box"."""
        return "white box" if self.sees in ("gradients", "trees") else "black box"

    @property
    def iterative(self) -> bool:
        """Whether it climbs towards one radius in steps."""
        return self.kind == "iterative"


def _steps(params: SuiteParams) -> tuple[int, int]:
    return params.steps, params.restarts


def _once(params: SuiteParams) -> tuple[int, int]:
    return 1, 1


def _fgsm(case: Case, params: SuiteParams) -> Attempt:
    from robreport_plugins.methods.perturb_pgd import fgsm

    return fgsm(
        case.network, case.x, case.labels, norm=case.norm, eps=case.eps,
        bounds=(case.low, case.high),
        loss=params.loss, targeted=case.aim is not None,
    )  # fmt: skip


def _pgd(case: Case, params: SuiteParams) -> Attempt:
    return _climb(case, params, params.restarts, params.random_start)


def _bim(case: Case, params: SuiteParams) -> Attempt:
    return _climb(case, params, 1, False)


def _climb(case: Case, params: SuiteParams, restarts: int, random_start: bool) -> Attempt:
    from robreport_plugins.methods.perturb_pgd import pgd

    return pgd(
        case.network, case.x, case.labels, norm=case.norm, eps=case.eps,
        bounds=(case.low, case.high),
        steps=params.steps, step=params.step_length(case.eps), restarts=restarts,
        random_start=random_start, generator=case.generator, loss=params.loss,
        targeted=case.aim is not None,
    )  # fmt: skip


def _noise(case: Case, params: SuiteParams) -> Attempt:
    from robreport_plugins.methods.perturb_noise import noise

    return noise(
        case.decide, case.x, case.y, norm=case.norm, eps=case.eps, bounds=(case.low, case.high),
        tries=params.noise_tries, generator=case.generator,
    )  # fmt: skip


_CONVEX = frozenset({Norm.L1, Norm.L2, Norm.Linf})

CATALOGUE: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack(name="fgsm", title="FGSM", norms=_CONVEX, sees="gradients", kind="step",
               run=_fgsm, budget=_once, aims=True),
        Attack(name="bim", title="BIM", norms=_CONVEX, sees="gradients", kind="iterative",
               run=_bim, budget=lambda params: (params.steps, 1), aims=True),
        Attack(name="pgd", title="PGD", norms=_CONVEX, sees="gradients", kind="iterative",
               run=_pgd, budget=_steps, aims=True),
        Attack(name="noise", title="Noise", norms=_CONVEX, sees="decisions", kind="noise",
               run=_noise, budget=lambda params: (1, params.noise_tries)),
    )
}  # fmt: skip

PRESETS: dict[str, tuple[str, ...]] = {
    "default": ("fgsm", "pgd", "noise"),
}
"""Names for several attacks together; those that a model or threat does not admit are left out."""
