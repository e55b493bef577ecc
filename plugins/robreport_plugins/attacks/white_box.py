"""How the suite calls attacks that follow gradients."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from robreport_plugins.attacks.case import Case
from robreport_plugins.methods.perturb import Attempt, LossName

if TYPE_CHECKING:
    from robreport_plugins.attacks.params import SuiteParams

Run = Callable[[Case, "SuiteParams"], Attempt]

# What a model that answers at random is asked for each step, where the parameters say less.
EXPECTATION = 20


def fgsm(case: Case, params: SuiteParams) -> Attempt:
    from robreport_plugins.methods.perturb_pgd import fgsm

    return fgsm(
        case.network, case.x, case.labels, **_ball(case), loss=params.loss,
        targeted=case.aim is not None,
    )  # fmt: skip


def pgd(case: Case, params: SuiteParams) -> Attempt:
    return _climb(case, params, params.restarts, params.random_start)


def bim(case: Case, params: SuiteParams) -> Attempt:
    return _climb(case, params, 1, False)


def _climb(case: Case, params: SuiteParams, restarts: int, random_start: bool) -> Attempt:
    from robreport_plugins.methods.perturb_pgd import pgd

    return pgd(
        case.network, case.x, case.labels, **_ball(case), steps=params.steps,
        step=params.step_length(case.eps), restarts=restarts, random_start=random_start,
        generator=case.generator, loss=params.loss, targeted=case.aim is not None,
        **_stop(case),
    )  # fmt: skip


def apgd(loss: LossName, *, expectation: bool = False) -> Run:
    """Return Auto-PGD on this loss; with `expectation` each gradient is a mean of many."""

    def run(case: Case, params: SuiteParams) -> Attempt:
        from robreport_plugins.methods.perturb_apgd import apgd

        return apgd(
            case.network, case.x, case.labels, **_ball(case), steps=params.steps,
            restarts=params.restarts, loss=loss, targeted=case.aim is not None,
            eot=max(params.eot, EXPECTATION) if expectation else params.eot,
            generator=case.generator, **_stop(case),
        )  # fmt: skip

    return run


def apgd_targeted(case: Case, params: SuiteParams) -> Attempt:
    from robreport_plugins.methods.perturb_apgd import apgd_targeted

    return apgd_targeted(
        case.network, case.x, case.y, **_ball(case), steps=params.steps,
        restarts=params.restarts, eot=params.eot, generator=case.generator, **_stop(case),
    )  # fmt: skip


def fab(case: Case, params: SuiteParams) -> Attempt:
    from robreport_plugins.methods.perturb_fab import fab

    return fab(
        case.network, case.x, case.y, norm=case.norm, bounds=(case.low, case.high),
        steps=params.steps, restarts=params.restarts, generator=case.generator,
    )  # fmt: skip


def smallest(name: str, *, searches: bool = False) -> Run:
    """Return the attack for the smallest perturbation of the module ``perturb_NAME``."""

    def run(case: Case, params: SuiteParams) -> Attempt:
        attack = getattr(import_module(f"robreport_plugins.methods.perturb_{name}"), name)
        more = {"searches": params.searches} if searches else {}
        found: Attempt = attack(
            case.network, case.x, case.y, norm=case.norm, bounds=(case.low, case.high),
            steps=params.steps, generator=case.generator, **more,
        )  # fmt: skip
        return found

    return run


def _ball(case: Case) -> dict[str, Any]:
    return {"norm": case.norm, "eps": case.eps, "bounds": (case.low, case.high)}


def _stop(case: Case) -> dict[str, Any]:
    """Return when an ascent may leave an example alone: once it is broken where it lands."""
    return {"early_stop": False, "settle": case.settled} if case.stepwise else {}


apgd_ce, apgd_dlr = apgd("cross-entropy"), apgd("dlr")
apgd_ce_eot, apgd_dlr_eot = (apgd(loss, expectation=True) for loss in ("cross-entropy", "dlr"))

deepfool, ddn, fmn, closest = (smallest(name) for name in ("deepfool", "ddn", "fmn", "closest"))
cw, ead = (smallest(name, searches=True) for name in ("cw", "ead"))
