"""How the suite calls attacks that only ask the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from robreport import Norm
from robreport_plugins.attacks.case import Array, Case
from robreport_plugins.methods.perturb import Attempt

if TYPE_CHECKING:
    from robreport_plugins.attacks.params import SuiteParams

# Changes of one feature that are tried for an input; where there are more, a random part.
_MOST_SINGLES = 600
# Values that are tried for a column, at most.
_A_COLUMN = 22


def square(case: Case, params: SuiteParams) -> Attempt:
    """Random search over squares of pixels, or sets of features."""
    from robreport_plugins.methods.perturb_square import square

    return square(
        case.scores, case.x, case.labels, norm=case.norm, eps=case.eps,
        bounds=(case.low, case.high), queries=params.queries, targeted=case.aim is not None,
        generator=case.generator,
    )  # fmt: skip


def noise(case: Case, params: SuiteParams) -> Attempt:
    """Random noise of the size of the radius."""
    from robreport_plugins.methods.perturb_noise import noise

    return noise(
        case.decide, case.x, case.y, norm=case.norm, eps=case.eps, bounds=(case.low, case.high),
        tries=params.noise_tries, generator=case.generator,
    )  # fmt: skip


def search(case: Case, params: SuiteParams) -> Attempt:
    """The best change of one feature after the other, of tables."""
    from robreport_plugins.methods.perturb_search import greedy_search

    found = greedy_search(
        case.target.scores, case.space, case.data, case.target.y[case.rows], norm=case.norm,
        eps=case.eps, reference=case.target.starts, rng=_rng(case),
        restarts=params.restarts, aim=case.aim,
    )  # fmt: skip
    return case.exact(found.x_adv, found.claimed, found.queries)


def draws(case: Case, params: SuiteParams) -> Attempt:
    """Every change of one feature, then random changes of several, of tables: by classes alone."""
    from robreport_plugins.methods.perturb_search import greedy_search

    space = case.space
    jumps = sum(space.codes.values()) + sum(len(group) + 1 for group in space.groups)
    known = _A_COLUMN * int(np.prod(space.shape)) + jumps
    # one asks for the input itself
    left = max(params.queries - 1, 1)
    singles = max(1, min(_MOST_SINGLES, left * 3 // 4, known))
    found = greedy_search(
        case.target.decisions, case.space, case.data, case.target.y[case.rows], norm=case.norm,
        eps=case.eps, reference=case.target.starts, rng=_rng(case), steps=1, restarts=0,
        width=singles, tries=left - singles, aim=case.aim,
    )  # fmt: skip
    return case.exact(found.x_adv, found.claimed, found.queries)


def hopskipjump(case: Case, params: SuiteParams) -> Attempt:
    """A walk along the decision boundary that asks for classes alone."""
    from robreport_plugins.methods.perturb_hopskipjump import hopskipjump

    reference = torch.from_numpy(np.asarray(case.target.starts, dtype=np.float32)).to(case.x.device)
    return hopskipjump(
        case.decide, case.x, case.y, norm=case.norm, bounds=case.room(),
        reference=reference if case.unit is None else reference / case.unit,
        iterations=_iterations(params.queries), generator=case.generator,
    )  # fmt: skip


def transfer(case: Case, params: SuiteParams) -> Attempt:
    """PGD on a network that was fitted to the model's answers.

    On tables, where it could not change what goes by whole steps, a greedy search instead.
    """
    from robreport_plugins.attacks.target import InUnits
    from robreport_plugins.methods.perturb_pgd import pgd

    network = case.target.surrogate(params.surrogate_seed)
    if case.data.ndim == 2 and (case.norm is Norm.L0 or not case.space.smooth):
        return _transfer_search(case, params, network)
    if case.unit is not None:
        network = InUnits(network, case.unit)
    # to the end of its steps: what barely fools the surrogate seldom fools the model
    found = pgd(
        network, case.x, case.labels, norm=case.norm, eps=case.eps, bounds=(case.low, case.high),
        steps=params.steps, step=params.step_length(case.eps), random_start=False,
        loss=params.loss, targeted=case.aim is not None, early_stop=False,
    )  # fmt: skip
    # the gradients are the surrogate's, and what fools it is no claim about the model
    return Attempt(
        x_adv=found.x_adv, claimed=torch.zeros_like(found.claimed), gradients=0, queries=0
    )


def _transfer_search(case: Case, params: SuiteParams, network: torch.nn.Module) -> Attempt:
    from robreport_plugins.methods.perturb_search import greedy_search

    def scores(rows: Array) -> Array:
        with torch.no_grad():
            given = torch.from_numpy(np.asarray(rows, dtype=np.float32)).to(case.x.device)
            return np.asarray(network(given).cpu().numpy())

    found = greedy_search(
        scores, case.space, case.data, case.target.y[case.rows], norm=case.norm, eps=case.eps,
        reference=case.target.starts, rng=_rng(case), restarts=params.restarts, aim=case.aim,
        onward=True,
    )  # fmt: skip
    return case.exact(found.x_adv, np.zeros(len(found.x_adv), dtype=bool))


def _iterations(queries: int, first: int = 100, most: int = 1000) -> int:
    """How many steps of HopSkipJump these questions allow, at least one."""
    count = 1
    while (count + 1) * (min(most, first * (count + 1) ** 0.5 * 2 / 3) + 25) <= queries:
        count += 1
    return count


def _rng(case: Case) -> np.random.Generator:
    return np.random.default_rng(int(torch.randint(2**31 - 1, (), generator=case.generator)))
