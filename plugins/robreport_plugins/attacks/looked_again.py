"""Checks by attacks that were run again: what all attacks together left should stay."""

from __future__ import annotations

from robreport import Check, stats
from robreport_plugins.attacks.campaign import Again, Campaign, How

# Of fewer inputs than these, that an attack which the suite lacks broke, nothing is made.
FEW = 3
_LOSSES = {"margin": "the margin"}
_NONE_LEFT = "it takes an iterative attack, and inputs that all attacks left"


def not_converged(campaign: Campaign) -> tuple[str, Check]:
    """Whether twice the steps change less than the interval of the robust accuracy does."""
    return "not-converged", once_more(
        campaign, "longer", "twice the steps change less than the interval",
        "{attack} with twice the steps",
        _NONE_LEFT,
    )  # fmt: skip


def other_loss(campaign: Campaign) -> tuple[str, Check]:
    """Whether the loss that was not followed changes less than the interval does."""
    return "other-loss-stronger", once_more(
        campaign, "other loss", "another loss changes less than the interval",
        "{attack} that follows {loss}",
        _NONE_LEFT,
    )  # fmt: skip


def once_more(
    campaign: Campaign, how: How, name: str, what: str, without: str, most: float = 0.0
) -> Check:
    """Whether attacks run again in a way lower robust accuracy by less than half its interval.

    Of attacks that the suite lacks what they surely do counts, and they may break the share `most`.
    """
    foreign = how != "longer"
    worst: tuple[float, float, Again] | None = None
    for run in campaign.again:
        if run.how != how or not run.attacked:
            continue
        share = run.fallen / run.attacked
        low = stats.clopper_pearson(run.fallen, run.attacked).low
        # of a part of what was left, only what it surely says of the rest
        counts = low if foreign and run.attacked < run.survivors else share
        interval = stats.clopper_pearson(run.survivors, campaign.n)
        over = counts * run.survivors / campaign.n - (interval.high - interval.low) / 2
        if foreign and (run.fallen < FEW or low <= most):
            over = min(over, 0.0)
        if worst is None or over > worst[0]:
            worst = over, share * run.survivors / campaign.n, run
    if worst is None:
        return Check(name=name, passed=True, detail=without, applies=False)
    over, gained, run = worst
    surely = "surely " if foreign else ""
    verdict = f"{surely}more" if over > 0 else f"not {surely}more"
    limit = f" and {100 * most:.0f} % of them" if most else ""
    words = what.format(attack=run.attack.title, loss=_LOSSES.get(run.loss, run.loss))
    detail = (
        f"{words} broke {run.fallen} of {run.attacked} inputs that "
        f"all attacks had left at {campaign.at(run.arena, run.eps)}{_towards(campaign, run)}: "
        "robust accuracy "
        f"falls by {100 * gained:.1f} points, {verdict} than half its 95 % interval{limit}"
    )
    return Check(name=name, passed=over <= 0, detail=detail)


def _towards(campaign: Campaign, run: Again) -> str:
    if run.aim is None:
        return ""
    classes = campaign.target.schema.classes
    return f", towards class {classes[run.aim] if run.aim < len(classes) else run.aim}"
