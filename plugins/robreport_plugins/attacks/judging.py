"""What the model itself says of what an attack returns: the suite believes no claim."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robreport import ModelError
from robreport_plugins.attacks.case import Case, Exact
from robreport_plugins.methods.perturb import Attempt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the model itself says of a batch of candidates.

    ``x_adv`` lies in ball and bounds and is valid; ``broken`` where the model's class is not the
    label; ``unconfirmed`` counts the attack's claims that the model does not share, and
    ``queries`` the candidates that the model was asked about.
    """

    x_adv: Floats
    predicted: Ints
    broken: Bools
    size: npt.NDArray[np.float64]
    unconfirmed: int
    queries: int


def judge(case: Case, attempt: Attempt) -> Judged:
    """Return what the model says of an attempt, after putting it where the threat allows.

    Where whole numbers or groups were moved by parts of a step, landing may have taken the
    success away: what is not broken is judged once more with its change stretched to the
    whole radius.

    Raises
    ------
    ModelError
        The attack returned another shape than it was given.
    """
    if attempt.x_adv.shape != case.x.shape:
        raise ModelError(
            f"an attack returned shape {tuple(attempt.x_adv.shape)} for inputs of shape "
            f"{tuple(case.x.shape)}"
        )
    x = case.data
    x_adv = case.landed(attempt)
    predicted, broken = _verdict(case, x_adv)
    queries = len(x)
    if case.stepwise and not isinstance(attempt, Exact):
        further = case.landed(attempt, stretched=True)
        moved = (further != x_adv).reshape(len(x), -1).any(axis=1)
        left = np.flatnonzero(~broken & moved)
        if len(left):
            classes, fell = _verdict(case.only(left, case.eps), further[left])
            new = left[fell]
            x_adv[new], predicted[new], broken[new] = further[new], classes[fell], True
            queries += len(left)
    denied = attempt.claimed.cpu().numpy() & ~broken
    return Judged(
        x_adv=x_adv,
        predicted=predicted,
        broken=broken,
        size=case.space.sizes(x, x_adv, case.norm),
        # where values are rounded to whole ones, a claim is about another input
        unconfirmed=_unconfirmed(case, attempt, denied) if case.space.smooth else 0,
        queries=queries,
    )


def _verdict(case: Case, x_adv: Floats) -> tuple[Ints, Bools]:
    """Return the model's classes of candidates, and which of them break their example."""
    predicted = case.target.predict(x_adv)
    inside = case.space.inside(case.data, x_adv, case.norm, case.eps)
    return predicted, inside & _hits(case, predicted, slice(None))


def _hits(case: Case, predicted: Ints, places: Ints | slice) -> Bools:
    """Return which of these classes are what the threat is after, for those of a batch."""
    if case.aim is not None:
        return np.asarray(predicted == case.aim)
    return np.asarray(predicted != case.target.y[case.rows[places]])


def _unconfirmed(case: Case, attempt: Attempt, denied: Bools) -> int:
    """Count the claims that do not even hold for the very candidates that they are about.

    Putting a candidate back into ball and bounds may lose the one digit that decided.
    """
    places = np.flatnonzero(denied)
    if not len(places):
        return 0
    outside = ~case.within(attempt)[places]
    wrong = np.zeros(len(places), dtype=bool)
    for asked in case.asked(attempt):
        wrong |= _hits(case, case.target.predict(asked[places]), places)
    return int((outside | ~wrong).sum())
