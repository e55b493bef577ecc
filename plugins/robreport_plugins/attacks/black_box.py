"""How the suite calls attacks that only ask the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robreport_plugins.attacks.case import Case
from robreport_plugins.methods.perturb import Attempt

if TYPE_CHECKING:
    from robreport_plugins.attacks.params import SuiteParams


def square(case: Case, params: SuiteParams) -> Attempt:
    from robreport_plugins.methods.perturb_square import square

    return square(
        case.scores, case.x, case.labels, norm=case.norm, eps=case.eps,
        bounds=(case.low, case.high), queries=params.queries, targeted=case.aim is not None,
        generator=case.generator,
    )  # fmt: skip


def noise(case: Case, params: SuiteParams) -> Attempt:
    from robreport_plugins.methods.perturb_noise import noise

    return noise(
        case.decide, case.x, case.y, norm=case.norm, eps=case.eps, bounds=(case.low, case.high),
        tries=params.noise_tries, generator=case.generator,
    )  # fmt: skip
