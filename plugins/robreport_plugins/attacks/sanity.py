"""Checks that tell a strong result from a weak attack, and the caveats of those that fail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robreport import Caveat, Check, Norm
from robreport_plugins.attacks.suite import REPEATED, Campaign, Trial

# One-sided: how surprising a single step's lead must be before the iterative attack counts as
# the weaker one. One example more is chance, and is in the worst case all the same.
WEAKER_LEVEL = 0.05
# Share of re-attacked examples that may withstand a larger radius.
HELD_SHARE = 0.1
# Share of examples with a zero gradient, or with another class in the module, that is tolerated.
STRAY_SHARE = 0.01


def checks(campaign: Campaign) -> tuple[tuple[Check, ...], tuple[Caveat, ...]]:
    """Return the checks in a fixed order, and the caveats of the failed ones."""
    found = [
        weaker_iterative(campaign),
        not_monotone(campaign),
        zero_gradients(campaign),
        random_output(campaign),
        not_confirmed(campaign),
        another_model(campaign),
        probabilities(campaign),
    ]
    caveats = [Caveat(code=code, detail=check.detail) for code, check in found if not check.passed]
    if masked := _masking(campaign, {caveat.code for caveat in caveats}):
        caveats.append(masked)
    return tuple(check for _, check in found), tuple(caveats)


def weaker_iterative(campaign: Campaign) -> tuple[str, Check]:
    """Whether each iterative attack breaks at least as much as each single step does."""
    worst: tuple[float, str] | None = None
    compared = 0
    for norm, eps in _places(campaign):
        trials = campaign.of(norm, eps)
        for many in (t for t in trials if t.attack.iterative):
            for single in (t for t in trials if not t.attack.iterative):
                compared += 1
                alone = int((single.broken & ~many.broken).sum())
                gained = int((many.broken & ~single.broken).sum())
                chance = _tail(alone, alone + gained)
                if chance < WEAKER_LEVEL and (worst is None or chance < worst[0]):
                    words = (
                        f"in {norm.symbol} at \u03b5 = {eps:g}, {single.attack.title} alone broke "
                        f"{alone} inputs and {many.attack.title} alone only {gained}"
                    )
                    worst = chance, words
    if worst:
        detail = worst[1]
    elif compared:
        detail = f"in none of {compared} comparisons did a single step break significantly more"
    else:
        detail = "not applicable: it takes an iterative and a single-step attack in one suite"
    name = "iterative attacks are at least as strong as a single step"
    return "weaker-iterative", Check(name=name, passed=worst is None, detail=detail)


def not_monotone(campaign: Campaign) -> tuple[str, Check]:
    """Whether what fell at a small radius falls again when attacked anew with a larger one."""
    failing = [t for t in campaign.trials if t.probed and t.held > max(1, HELD_SHARE * t.probed)]
    probed = sum(t.probed for t in campaign.trials)
    held = sum(t.held for t in campaign.trials)
    if failing:
        worst = max(failing, key=lambda t: t.held / t.probed)
        detail = (
            f"of {worst.probed} inputs that {worst.attack.title} had broken at a smaller \u03b5, "
            f"{worst.held} withstood it at {_place(worst)}"
        )
    elif probed:
        detail = f"of {probed} attacks repeated with a larger \u03b5, {held} failed"
    else:
        detail = "not applicable: nothing fell at one \u03b5 and could be attacked at a larger one"
    name = "success does not fall as \u03b5 grows"
    return "not-monotone", Check(name=name, passed=not failing, detail=detail)


def zero_gradients(campaign: Campaign) -> tuple[str, Check]:
    """Whether the loss has a gradient where the model is right."""
    right, flat = int(campaign.right.sum()), int(campaign.flat.sum())
    detail = (
        f"all gradients are finite; {flat} of {right} inputs that the model gets right have a "
        "gradient of exactly zero"
    )
    name = "gradients are finite and not zero"
    return "zero-gradients", Check(name=name, passed=flat <= STRAY_SHARE * right, detail=detail)


def random_output(campaign: Campaign) -> tuple[str, Check]:
    """Whether the same inputs give the same outputs twice."""
    n = min(campaign.n, REPEATED)
    words = "the same outputs" if campaign.repeatable else "different outputs"
    detail = f"{n} inputs evaluated twice gave {words}"
    return "random-output", Check(
        name="the output is deterministic", passed=campaign.repeatable, detail=detail
    )


def not_confirmed(campaign: Campaign) -> tuple[str, Check]:
    """Whether the audited model agrees with each success that an attack claimed."""
    lost = sum(t.unconfirmed for t in campaign.trials)
    broken = sum(int(np.isfinite(t.size).sum()) for t in _last(campaign))
    detail = (
        f"{lost} claimed successes were rejected, {broken} confirmed, on inputs put back into ball "
        "and bounds in float64"
    )
    return "success-not-confirmed", Check(
        name="each success is confirmed by the model as loaded", passed=lost == 0, detail=detail
    )


def another_model(campaign: Campaign) -> tuple[str, Check]:
    """Whether the module that gives gradients is the model that is audited."""
    detail = (
        f"the module that gives gradients and the audited model give another class for "
        f"{campaign.strangers} of {campaign.n} inputs"
    )
    passed = campaign.strangers <= STRAY_SHARE * campaign.n
    return "gradients-of-another-model", Check(
        name="gradients belong to the audited model", passed=passed, detail=detail
    )


def probabilities(campaign: Campaign) -> tuple[str, Check]:
    """Whether the module returns logits, whose gradients do not fade as probabilities' do."""
    words = "lie in [0, 1] and add up to 1" if campaign.probabilities else "are no probabilities"
    return "probabilities-as-logits", Check(
        name="outputs are logits",
        passed=not campaign.probabilities,
        detail=f"the outputs that the loss is computed from {words}",
    )


def _masking(campaign: Campaign, codes: set[str]) -> Caveat | None:
    """The caveat that robustness may be an artefact, when flat or weak gradients explain it."""
    right = int(campaign.right.sum())
    stuck = campaign.flat.copy()
    for trial in _last(campaign):
        stuck &= ~trial.broken
    if right and stuck.sum() > STRAY_SHARE * right:
        detail = (
            f"{int(stuck.sum())} of {right} inputs were broken by no attack and have a gradient of "
            "exactly zero: the attacks had nothing to follow there"
        )
        return Caveat(code="gradient-masking-suspected", detail=detail)
    if "weaker-iterative" in codes:
        detail = "a single step broke more than the iterative attack, a sign of useless gradients"
        return Caveat(code="gradient-masking-suspected", detail=detail)
    return None


def _last(campaign: Campaign) -> list[Trial]:
    """The trial with the largest radius of each attack and norm."""
    last = {(t.attack.name, t.norm): t for t in campaign.trials}
    return list(last.values())


def _places(campaign: Campaign) -> Sequence[tuple[Norm, float]]:
    return list(dict.fromkeys((t.norm, t.eps) for t in campaign.trials))


def _tail(successes: int, n: int) -> float:
    """P(X >= successes) of X ~ Binomial(n, 1/2)."""
    from scipy.stats import binom

    return float(binom.sf(successes - 1, n, 0.5))


def _place(trial: Trial) -> str:
    return f"{trial.norm.symbol} \u03b5 = {trial.eps:g}"
