"""What the classifiers' numbers say: an answer, findings, caveats and checks."""

from __future__ import annotations

import numpy as np

from robreport import Caveat, Check, Context, Finding, stats
from robreport_plugins.linear.attacked import Bounds, confirmed
from robreport_plugins.linear.charts import still_falling
from robreport_plugins.linear.dataset import Dataset
from robreport_plugins.linear.fitted import Campaign, Fitted
from robreport_plugins.linear.params import HingeParams
from robreport_plugins.linear.scalars import robust_key, zero_share
from robreport_plugins.linear.tasks import Task
from robreport_plugins.linear.words import listed, number, percent, points

_SMALL = 100
_WIPED = 0.25


def clean(f: Fitted) -> float:
    """Return the share of the test set that is right without an attack."""
    return float(np.mean(f.attacked.margin > 0))


def kept(f: Fitted, place: int) -> float:
    """Return the robust accuracy at one of the attacked radii."""
    return float(np.mean(f.attacked.right[:, place]))


def constant(f: Fitted) -> bool:
    """Whether every input gets the same class, whatever it is."""
    return not np.any(f.classifier.weights)


def spokesman(campaign: Campaign, task: Task) -> tuple[Fitted, int] | None:
    """Return the robust classifier that sentences speak of, and the attacked radius.

    It is the one that validation chose, else the one trained against the smallest attacked radius,
    else the best there.
    """
    robust = [f for f in campaign.of(task) if f.classifier.eps.value > 0]
    if not robust or not task.attacked:
        return None
    choice = campaign.choices.get(task.name)
    if choice is not None:
        best = choice.eps[choice.best]
        named = [f for f in robust if f.classifier.eps == best]
        if named:
            return named[0], _place(task, choice.target.value)
    named = [f for f in robust if f.classifier.eps.value == task.attacked[0].value]
    if named:
        return named[0], 0
    return max(robust, key=lambda f: kept(f, 0)), 0


def _place(task: Task, eps: float) -> int:
    return int(np.argmin([abs(e.value - eps) for e in task.attacked]))


def _trade(campaign: Campaign, task: Task) -> str:
    found = spokesman(campaign, task)
    if found is None:
        return ""
    f, place = found
    regular = campaign.of(task)[0]
    change = clean(f) - clean(regular)
    price = (
        "costs no clean accuracy" if change == 0
        else f"{'costs' if change < 0 else 'adds'} {points(change)} of clean accuracy"
    )  # fmt: skip
    gain = kept(f, place) - kept(regular, place)
    verb = "keeps" if gain > 0 else "keeps only"
    return (
        f"training against \u03b5 = {f.classifier.eps} {price} ({percent(clean(regular), 2)} to "
        f"{percent(clean(f), 2)}) and {verb} {percent(kept(f, place))} right under every "
        f"perturbation of {task.norm.symbol} \u03b5 = {task.attacked[place]}, where the regular "
        f"classifier keeps {percent(kept(regular, place))}"
    )


def answer(campaign: Campaign, data: Dataset) -> str:
    """Return the metric's question answered in a sentence."""
    trades = [trade for task in campaign.tasks if (trade := _trade(campaign, task))]
    if trades:
        text = "; ".join(trades)
        return f"On {data.test.n:,} test inputs, {text}."
    first = campaign.fitted[0]
    return (
        f"The regular classifier gets {percent(clean(first), 2)} of {data.test.n:,} test inputs "
        "right; no robust one was asked for."
    )


def findings(campaign: Campaign) -> tuple[Finding, ...]:
    """Return what stands out, for each norm."""
    found: list[Finding] = []
    for task in campaign.tasks:
        members = campaign.of(task)
        regular, trade = members[0], spokesman(campaign, task)
        if trade is not None and not constant(trade[0]):
            f, place = trade
            gain = kept(f, place) - kept(regular, place)
            radius = task.attacked[place]
            test = stats.mcnemar(f.attacked.right[:, place], regular.attacked.right[:, place])
            if gain > 0 and test.p_value < 0.05:
                text = _trade(campaign, task)
                found.append(
                    Finding(
                        severity="medium" if gain >= 0.1 else "low",
                        claim=f"{text[0].upper()}{text[1:]}.",
                        evidence=(
                            f.scalar("test_accuracy"), regular.scalar("test_accuracy"),
                            f.scalar("robust_accuracy", radius.text), f"curve.{task.key}",
                        ),
                        recommendation=(
                            "Where inputs can be changed by that much and a linear classifier is "
                            "good enough, ship the robust one: it is among the artifacts."
                        ),
                    )
                )  # fmt: skip
        wiped = [f for f in members if f.classifier.eps.value > 0 and not constant(f)]
        wiped = [f for f in wiped if zero_share(f) - zero_share(regular) >= _WIPED]
        if wiped:
            f = max(wiped, key=zero_share)
            parts = [f"{percent(zero_share(f))} at \u03b5 = {f.classifier.eps}" for f in wiped]
            found.append(
                Finding(
                    severity="low",
                    claim=(
                        "Robust training wiped out weights that are worth less than what a "
                        f"perturbation can do to them: {listed(parts)} are below 0.001 in size, "
                        f"{percent(zero_share(regular))} of the regular classifier's."
                    ),
                    evidence=(f.scalar("zero_weights"), "models"),
                    recommendation="The features that keep their weight are those to protect.",
                )
            )
        empty = [f for f in members if constant(f)]
        if empty:
            names = listed([f"\u03b5 = {f.classifier.eps}" for f in empty])
            found.append(
                Finding(
                    severity="medium",
                    claim=(
                        f"Trained against {task.norm.symbol} {names}, no linear classifier beats "
                        "the one that gives every input the same class."
                    ),
                    evidence=(empty[0].scalar("zero_weights"), robust_key(empty[0])
                              if task.attacked else "models"),
                    recommendation=(
                        "Perturbations of this size hide the classes from every linear "
                        "classifier: lower \u03b5, or use features that they do not reach."
                    ),
                )
            )  # fmt: skip
    return tuple(found)


def caveats(campaign: Campaign, data: Dataset) -> tuple[Caveat, ...]:
    """Return the reasons to trust the numbers less."""
    made = []
    if data.columns.left_out:
        names = list(data.columns.left_out)
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        made.append(Caveat(code="linear-columns-left-out", detail=f"Left out: {shown}."))
    falling = [f for f in campaign.fitted if still_falling(f) > 0]
    if falling:
        parts = [f"{f.label} {percent(still_falling(f))}" for f in falling]
        made.append(
            Caveat(
                code="linear-training-unfinished",
                detail=f"The last epoch's part of all that the loss has fallen: {listed(parts)}.",
            )
        )
    short = [f for f in campaign.fitted if not f.classifier.converged]
    if short:
        parts = [f"{f.label}: {number(f.classifier.gap or 0.0)}" for f in short]
        made.append(
            Caveat(code="linear-optimum-not-reached", detail=f"Relative gap: {listed(parts)}.")
        )
    if data.test.n < _SMALL:
        made.append(Caveat(code="small-sample", detail=f"{data.test.n} test examples."))
    return tuple(made)


def checks(
    campaign: Campaign, data: Dataset, params: HingeParams, ctx: Context
) -> tuple[Check, ...]:
    """Return the sanity checks of the measurement itself."""
    bounds = data.bounds if campaign.clip else None
    found = [_monotone(campaign), _radii_agree(campaign), _confirmed(campaign, data, bounds)]
    optima = [f for f in campaign.fitted if f.classifier.solver == "optimum"]
    if optima:
        largest = max(f.classifier.gap or 0.0 for f in optima)
        found.append(
            Check(
                name="the optimum is proven",
                passed=largest <= params.tolerance,
                detail=(
                    "training loss minus the value of a feasible dual, divided by the loss (at "
                    f"least 0.001): at most {largest:.1e}, {params.tolerance:.0e} allowed"
                ),
            )
        )
    return tuple(found)


def _monotone(campaign: Campaign) -> Check:
    curves = [
        c for f in campaign.fitted for c in (f.attacked.free, f.attacked.clipped) if c is not None
    ]
    rises = sum(int((np.diff(c) > 0).sum()) for c in curves)
    return Check(
        name="accuracy never rises with \u03b5",
        passed=rises == 0,
        detail=f"{len(curves)} curves, {rises} rises",
    )


def _radii_agree(campaign: Campaign) -> Check:
    """Count inputs beyond each radius of the curve, which was made without the radii."""
    worst = 0
    for f in campaign.fitted:
        grid = f.attacked.grid
        near = 1e-9 * np.maximum(grid, 1e-12)
        radius = np.sort(np.where(f.attacked.margin > 0, f.attacked.radius, -1.0))
        n = radius.size
        # Inputs within rounding of a radius may count either way.
        most = n - np.searchsorted(radius, grid - near, side="left")
        least = n - np.searchsorted(radius, grid + near, side="right")
        off = np.maximum(f.attacked.free - most, least - f.attacked.free)
        worst = max(worst, int(off.max(initial=0)))
    return Check(
        name="flip radii agree with the curve",
        passed=worst <= 0,
        detail=(
            "at every \u03b5 of the unclipped curve as many inputs stay right as have a larger "
            f"flip radius; the largest difference is {max(worst, 0)}"
        ),
    )


def _confirmed(campaign: Campaign, data: Dataset, bounds: Bounds | None) -> Check:
    agree = of = 0
    excess = 0.0
    for f in campaign.fitted:
        eps = f.task.attacked[0].value if f.task.attacked else float(f.task.grid[-1])
        own, n, over = confirmed(
            f.classifier.models, data.test.x, data.test.y, eps, f.task.norm, bounds
        )
        agree, of, excess = agree + own, of + n, max(excess, over)
    return Check(
        name="worst inputs are as bad as predicted",
        passed=agree == of and excess <= 1e-9,
        detail=(
            f"{agree:,} of {of:,} perturbed inputs give the predicted margin to 9 digits; they "
            f"leave ball and bounds by at most {excess:.1e}"
        ),
    )
