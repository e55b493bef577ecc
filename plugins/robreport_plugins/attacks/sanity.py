"""Checks that tell a strong result from a weak attack, and the caveats of those that fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from robreport import Caveat, Check, ThreatModel
from robreport_plugins.attacks.campaign import REPEATED, Campaign, Trial
from robreport_plugins.attacks.looked_again import not_converged, once_more, other_loss
from robreport_plugins.attacks.rules import symbol
from robreport_plugins.methods.space_landing import changes_in

# One-sided: how surprising a single step's lead must be before the iterative attack counts as
# the weaker one. One example more is chance, and is in the worst case all the same.
WEAKER_LEVEL = 0.05
# How surprising it must be that more withstand an attack without limits than guessing would leave.
CHANCE_LEVEL = 0.01
# Share of re-attacked examples that may withstand a larger radius.
HELD_SHARE = 0.1
# Share of examples with a zero gradient, or with another class in the module, that is tolerated.
STRAY_SHARE = 0.01
# Share of what white-box attacks left that a short black-box search may surely break: a few are
# what the one finds and the other does not.
BLIND_SHARE = 0.1


def checks(campaign: Campaign) -> tuple[tuple[Check, ...], tuple[Caveat, ...]]:
    """Return the checks in a fixed order, and the caveats of the failed ones."""
    found = [
        weaker_iterative(campaign),
        not_monotone(campaign),
        survives_everything(campaign),
        not_converged(campaign),
        other_loss(campaign),
        stronger_black_box(campaign),
        stronger_noise(campaign),
        zero_gradients(campaign),
        random_output(campaign),
        not_confirmed(campaign),
        another_model(campaign),
        probabilities(campaign),
    ]
    caveats = [Caveat(code=code, detail=check.detail) for code, check in found if not check.passed]
    if masked := _masking(campaign, {caveat.code for caveat in caveats}):
        caveats.append(masked)
    if untried := _untried(campaign):
        caveats.append(untried)
    if incomplete := _incomplete(campaign):
        caveats.append(incomplete)
    return tuple(check for _, check in found), tuple(caveats)


def weaker_iterative(campaign: Campaign) -> tuple[str, Check]:
    """Whether each iterative attack breaks at least as much as each single step does."""
    worst: tuple[float, str] | None = None
    compared = 0
    for place, eps in _places(campaign):
        trials = campaign.of(place, eps) if campaign.target.space(place).smooth else ()
        for many in (t for t in trials if t.attack.iterative):
            for single in (t for t in trials if t.attack.kind == "step"):
                compared += 1
                alone = int((single.broken & ~many.broken).sum())
                gained = int((many.broken & ~single.broken).sum())
                chance = _tail(alone, alone + gained)
                if chance < WEAKER_LEVEL and (worst is None or chance < worst[0]):
                    words = (
                        f"at {campaign.at(place, eps)}, {single.attack.title} alone "
                        f"broke {alone} inputs and {many.attack.title} alone only {gained}"
                    )
                    worst = chance, words
    if worst:
        detail = worst[1]
    elif compared:
        detail = f"in none of {compared} comparisons did a single step break significantly more"
    else:
        detail = (
            "it takes an iterative and a single-step attack in one suite, and "
            "features that need not be whole numbers"
        )
    name = "iterative attacks are at least as strong as a single step"
    return "weaker-iterative", Check(
        name=name, passed=worst is None, detail=detail, applies=compared > 0
    )


def not_monotone(campaign: Campaign) -> tuple[str, Check]:
    """Whether what fell at a small radius falls again when attacked anew with a larger one."""
    trials = [t for t in campaign.trials if campaign.target.space(t.arena).smooth]
    failing = [t for t in trials if t.probed and t.held > max(1, HELD_SHARE * t.probed)]
    probed = sum(t.probed for t in trials)
    held = sum(t.held for t in trials)
    if failing:
        worst = max(failing, key=lambda t: t.held / t.probed)
        detail = (
            f"of {worst.probed} inputs that {worst.attack.title} had broken at a smaller \u03b5, "
            f"{worst.held} withstood it at {campaign.at(worst.arena, worst.eps)}"
        )
    elif probed:
        detail = f"of {probed} attacks repeated with a larger \u03b5, {held} failed"
    else:
        detail = (
            "it takes an attack that breaks inputs at one \u03b5 and is run at a larger one, any "
            "wrong class as the goal, and features that need not be whole numbers"
        )
    name = "success does not fall as \u03b5 grows"
    return "not-monotone", Check(name=name, passed=not failing, detail=detail, applies=probed > 0)


def survives_everything(campaign: Campaign) -> tuple[str, Check]:
    """Whether a radius as large as the data's range leaves no more than guessing would."""
    classes = max(2, campaign.target.schema.n_classes or campaign.target.model.n_outputs)
    # of so few inputs even all might be left by guessing
    floods = [
        f for f in campaign.floods if _tail(f.attacked, f.attacked, 1 / classes) < CHANCE_LEVEL
    ]
    failing = [f for f in floods if _tail(f.left, f.attacked, 1 / classes) < CHANCE_LEVEL]
    if failing:
        worst = max(failing, key=lambda f: f.left / f.attacked)
        detail = (
            f"{worst.left} of {worst.attacked} inputs withstood {worst.attack.title}"
            f"{', begun at the inputs,' if worst.attack.from_input else ''} with "
            f"{symbol(worst.arena)} \u03b5 = {worst.eps:.4g}, from one end of the data to the "
            f"other, where guessing among {classes} classes leaves {100 / classes:.0f} %"
        )
    elif floods:
        most = max(floods, key=lambda f: f.left / max(f.attacked, 1))
        detail = (
            f"at most {most.left} of {most.attacked} inputs withstood an \u03b5 from one end of "
            "the data to the other"
        )
    elif campaign.floods:
        detail = "of so few inputs even guessing might leave all"
    else:
        detail = (
            "it takes an iterative attack, any wrong class as the goal, and bounds within which "
            "every feature may move freely"
        )
    name = "an \u03b5 as large as the data's range leaves no accuracy"
    return "survives-everything", Check(
        name=name, passed=not failing, detail=detail, applies=bool(floods)
    )


def stronger_black_box(campaign: Campaign) -> tuple[str, Check]:
    """Whether attacks that look into the model break at least as much as those that only ask.

    Where the suite has none of the latter, what a short one broke of what was left decides.
    """
    # where categories may change, only attacks that ask can change them
    found = _stronger(
        campaign,
        lambda t: t.attack.knowledge == "black box" and t.attack.kind != "noise"
        and campaign.target.space(t.arena).smooth,
        lambda t: t.attack.knowledge == "white box",
    )  # fmt: skip
    name = "black-box attacks are no stronger than white-box ones"
    asked = once_more(
        campaign, "black box", name, "{attack}, which asks only,",
        "it takes attacks that follow gradients, a model that gives scores, and features that "
        "need not be whole numbers", BLIND_SHARE,
    )  # fmt: skip
    if found is None or (asked.applies and not asked.passed):
        return "stronger-black-box", asked
    worse, detail = found
    return "stronger-black-box", Check(name=name, passed=not worse, detail=detail)


def stronger_noise(campaign: Campaign) -> tuple[str, Check]:
    """Whether random noise of the same size breaks less than the attacks do."""
    found = _stronger(
        campaign, lambda t: t.attack.kind == "noise", lambda t: t.attack.kind != "noise"
    )
    name = "random noise of the same size is weaker"
    if found is None:
        detail = "noise was not among the attacks"
        return "stronger-noise", Check(name=name, passed=True, detail=detail, applies=False)
    worse, detail = found
    return "stronger-noise", Check(name=name, passed=not worse, detail=detail)


def _stronger(
    campaign: Campaign, weak: Callable[[Trial], bool], strong: Callable[[Trial], bool]
) -> tuple[bool, str] | None:
    """Whether what should be weak alone breaks significantly more, with the place in words.

    The strong ones count together, the weak ones each by itself.
    """
    worst: tuple[float, str] | None = None
    compared = alone_most = 0
    for place, eps in _places(campaign):
        trials = campaign.of(place, eps)
        together = np.zeros(campaign.n, dtype=bool)
        strongs = [t for t in trials if strong(t)]
        for trial in strongs:
            together |= trial.broken
        for trial in (t for t in trials if weak(t) and strongs):
            compared += 1
            alone = int((trial.broken & ~together).sum())
            missed = int((together & ~trial.broken).sum())
            alone_most = max(alone_most, alone)
            chance = _tail(alone, alone + missed)
            if chance < WEAKER_LEVEL and (worst is None or chance < worst[0]):
                words = (
                    f"at {campaign.at(place, eps)}, {trial.attack.title} alone broke "
                    f"{alone} inputs, and the others {missed} that it did not"
                )
                worst = chance, words
    if worst:
        return True, worst[1]
    if not compared:
        return None
    return False, f"alone it broke at most {alone_most} inputs in {compared} comparisons"


def zero_gradients(campaign: Campaign) -> tuple[str, Check]:
    """Whether the loss has a gradient where the model is right."""
    right, flat = int(campaign.right.sum()), int(campaign.flat.sum())
    name = "gradients are finite and not zero"
    if not campaign.follows:
        detail = "none of the attacks follows gradients"
        return "zero-gradients", Check(name=name, passed=True, detail=detail, applies=False)
    detail = (
        f"all gradients are finite; {flat} of {right} inputs that the model gets right have a "
        "gradient of exactly zero"
    )
    return "zero-gradients", Check(name=name, passed=flat <= STRAY_SHARE * right, detail=detail)


def random_output(campaign: Campaign) -> tuple[str, Check]:
    """Whether the same inputs give the same outputs twice.

    Of a model that draws lots, each of many tries is judged by one draw: some succeed by chance.
    """
    n = min(campaign.n, REPEATED)
    words = "the same outputs" if campaign.repeatable else "different outputs"
    detail = f"{n} inputs evaluated twice, half of them again after the attacks, gave {words}"
    return "random-output", Check(
        name="the output is deterministic", passed=campaign.repeatable, detail=detail, vital=True
    )


def not_confirmed(campaign: Campaign) -> tuple[str, Check]:
    """Whether the audited model agrees with each success that an attack claimed."""
    lost = sum(t.unconfirmed for t in campaign.trials)
    broken = sum(int(np.isfinite(t.size).sum()) for t in _last(campaign))
    detail = (
        f"{lost:,} claimed successes were rejected, {broken:,} confirmed, on inputs put back into "
        "ball and bounds in float64"
    )
    return "success-not-confirmed", Check(
        name="each success is confirmed by the model as loaded", passed=lost == 0, detail=detail
    )


def another_model(campaign: Campaign) -> tuple[str, Check]:
    """Whether the module that gives gradients is the model that is audited."""
    name = "gradients belong to the audited model"
    if campaign.target.module is None:
        detail = "the model offers no gradients"
    elif not campaign.repeatable:
        detail = "the model gives another class from one evaluation to the next"
    else:
        detail = ""
    if detail:
        return "gradients-of-another-model", Check(
            name=name, passed=True, detail=detail, applies=False
        )
    detail = (
        f"the module that gives gradients and the audited model give another class for "
        f"{campaign.strangers} of {campaign.n} inputs"
    )
    passed = campaign.strangers <= STRAY_SHARE * campaign.n
    return "gradients-of-another-model", Check(name=name, passed=passed, detail=detail)


def probabilities(campaign: Campaign) -> tuple[str, Check]:
    """Whether the module returns logits, whose gradients do not fade as probabilities' do."""
    name = "outputs are logits"
    if campaign.target.module is None:
        detail = "no loss is computed from outputs of a model without gradients"
        return "probabilities-as-logits", Check(
            name=name, passed=True, detail=detail, applies=False
        )
    words = "lie in [0, 1] and add up to 1" if campaign.probabilities else "are no probabilities"
    return "probabilities-as-logits", Check(
        name=name,
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


def _untried(campaign: Campaign) -> Caveat | None:
    """The caveat that categories were free to change and no attack could change them."""
    for place, eps in _places(campaign):
        space = campaign.target.space(place)
        fixed = space.fixed.reshape(-1)
        free = sum(not fixed[code] for code in space.codes)
        tried = any(trial.attack.changes_codes for trial in campaign.of(place, eps))
        if free and changes_in(place.norm, eps) >= 1 and not tried:
            detail = (
                f"at {campaign.at(place, eps)} the attacker may change {free} categorical "
                f"column{'s' if free > 1 else ''}, and none of the attacks run can"
            )
            return Caveat(code="categories-not-tried", detail=detail)
    return None


def _incomplete(campaign: Campaign) -> Caveat | None:
    """The caveat that rows were passed over, of which the result does not speak."""
    lacking = campaign.target.incomplete
    if not lacking:
        return None
    detail = (
        f"{lacking:,} of the first {lacking + campaign.n:,} test rows have missing values and were "
        "not attacked"
    )
    return Caveat(code="incomplete-rows", detail=detail)


def _last(campaign: Campaign) -> list[Trial]:
    """The trial with the largest radius of each attack and norm."""
    last = {(t.attack.name, t.arena): t for t in campaign.trials}
    return list(last.values())


def _places(campaign: Campaign) -> Sequence[tuple[ThreatModel, float]]:
    return list(dict.fromkeys((t.arena, t.eps) for t in campaign.trials))


def _tail(successes: int, n: int, share: float = 0.5) -> float:
    """P(X >= successes) of X ~ Binomial(n, share)."""
    from scipy.stats import binom

    return float(binom.sf(successes - 1, n, share))
