"""What the classifiers' numbers say: an answer, findings, caveats and checks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robreport import Caveat, Check, Context, Finding, stats
from robreport_plugins.linear.attacked import Bounds, confirmed
from robreport_plugins.linear.charts import still_falling
from robreport_plugins.linear.dataset import Dataset
from robreport_plugins.linear.fitted import WIPED, Campaign, Fitted
from robreport_plugins.linear.optimum import REACH
from robreport_plugins.linear.params import HingeParams
from robreport_plugins.linear.scalars import robust_key
from robreport_plugins.linear.tasks import Task
from robreport_plugins.linear.words import listed, number, percent, points

_SMALL = 100
_WIPED = 0.25
_SIZE = (
    f"; for the regular classifier the bound holds against all weights of a length (L2) up to "
    f"{REACH:,.0f} over the largest distance of a feature from the middle of its range"
)
# A mean loss next to it is that of rounding.
SEPARATED = 1e-9
# How far above the least loss, as a part of it, SGD counts as unfinished.
_FAR = 0.1


def clean(f: Fitted) -> float:
    """Return the share of the test set that is right without an attack."""
    return float(np.mean(f.attacked.margin > 0))


def kept(f: Fitted, place: int) -> float:
    """Return the robust accuracy at one of the attacked radii."""
    return float(np.mean(f.attacked.right[:, place]))


def spokesman(campaign: Campaign, task: Task) -> tuple[Fitted, int] | None:
    """Return the robust classifier that sentences speak of, and the attacked radius.

    It is the one that validation chose, else the one trained nearest to the smallest attacked
    radius: never one that was chosen by its results on the test set.
    """
    robust = [f for f in campaign.spoken(task) if f.classifier.eps.value > 0]
    if not robust or not task.attacked:
        return None
    choice = campaign.choices.get(task.name)
    if choice is not None:
        named = [f for f in robust if f.classifier.eps == choice.eps[choice.best]]
        if named:
            return named[0], _place(task, choice.target.value)
    first = task.attacked[0].value
    return min(robust, key=lambda f: abs(f.classifier.eps.value - first)), 0


def _place(task: Task, eps: float) -> int:
    return int(np.argmin([abs(e.value - eps) for e in task.attacked]))


def _trade(campaign: Campaign, task: Task) -> str:
    found = spokesman(campaign, task)
    if found is None:
        return ""
    f, place = found
    regular = campaign.spoken(task)[0]
    where = f"{task.norm.symbol} \u03b5 = {task.attacked[place]}"
    if f.constant:
        return (
            f"the classifier trained against {task.norm.symbol} \u03b5 = {f.classifier.eps} gives "
            f"every input the same class, which is right for {percent(clean(f))} whatever the "
            f"perturbation; the regular one gets {percent(clean(regular), 2)} right, and keeps "
            f"{percent(kept(regular, place))} under every perturbation of {where}"
        )
    change = clean(f) - clean(regular)
    price = (
        "costs no clean accuracy" if change == 0
        else f"{'costs' if change < 0 else 'adds'} {points(change)} of clean accuracy"
    )  # fmt: skip
    gain = kept(f, place) - kept(regular, place)
    beside = (
        "as many as the regular classifier" if gain == 0
        else f"where the regular classifier keeps {percent(kept(regular, place))}"
    )  # fmt: skip
    return (
        f"training{' to the optimum' if f.classifier.solver == 'optimum' else ''} against "
        f"\u03b5 = {f.classifier.eps} {price} ({percent(clean(regular), 2)} to "
        f"{percent(clean(f), 2)}) and keeps {'only ' if gain < 0 else ''}"
        f"{percent(kept(f, place))} right under every perturbation of {where}, {beside}"
        f"{_beside(campaign, f, place)}"
    )


def _beside(campaign: Campaign, f: Fitted, place: int) -> str:
    """Say what SGD has where the sentence speaks of the optimum beside it."""
    if not f.second:
        return ""
    first = campaign.of(f.task)
    same = next(g for g in first if g.classifier.eps == f.classifier.eps)
    return (
        f" (by SGD instead: {percent(clean(same), 2)} clean and {percent(kept(same, place))} under "
        f"perturbation, the regular one {percent(kept(first[0], place))})"
    )


def answer(campaign: Campaign, data: Dataset) -> str:
    """Return the metric's question answered in a sentence or two."""
    trades = [trade for task in campaign.tasks if (trade := _trade(campaign, task))]
    first = campaign.spoken(campaign.tasks[0])[0]
    if trades:
        text = f"On {data.test.n:,} test inputs, {'; '.join(trades)}."
    else:
        text = (
            f"The regular classifier gets {percent(clean(first), 2)} of {data.test.n:,} test "
            "inputs right; no robust one was asked for."
        )
    fits = [says for task in campaign.tasks[:1] if (says := separable(campaign, task, data))]
    if any(still_falling(f) > 0 for task in campaign.tasks for f in campaign.spoken(task)):
        fits.append("Training had not ended when it was stopped, so another may do better.")
    return " ".join([text, *fits])


def separable(campaign: Campaign, task: Task, data: Dataset) -> str:
    """Say that the training set can be separated, and how far perturbations may go; else ""."""
    regular, *robust = campaign.spoken(task)
    if regular.train_right < data.train.n:
        return ""
    far = [f.classifier.eps for f in robust if f.classifier.primal <= SEPARATED]
    reach = (
        f" whatever the perturbation up to {task.norm.symbol} \u03b5 = {max(far)}" if far else ""
    )
    wide = (
        f"; with {data.d:,} features for {data.train.n:,} examples, that can be done whatever the "
        "labels"
        if data.d >= data.train.n else ""
    )  # fmt: skip
    many = (
        "; its least loss is 0, and the regular optimum shown is one of many"
        if regular.classifier.solver == "optimum" and data.binary else ""
    )  # fmt: skip
    return f"A linear classifier gets every training example right{reach}{many}{wide}."


def findings(campaign: Campaign) -> tuple[Finding, ...]:
    """Return what stands out, for each norm."""
    found = []
    for task in campaign.tasks:
        found += [
            finding
            for finding in (_better(campaign, task), _wiped(campaign, task),
                            _empty(campaign, task))
            if finding is not None
        ]  # fmt: skip
    return tuple(found)


def _better(campaign: Campaign, task: Task) -> Finding | None:
    """Say that robust training pays, where that is no chance of the test set."""
    found, regular = spokesman(campaign, task), campaign.spoken(task)[0]
    if found is None or found[0].constant:
        return None
    f, place = found
    gain = kept(f, place) - kept(regular, place)
    test = stats.mcnemar(f.attacked.right[:, place], regular.attacked.right[:, place])
    if gain <= 0 or test.p_value >= 0.05:
        return None
    text = _trade(campaign, task)
    return Finding(
        severity="medium" if gain >= 0.1 else "low",
        claim=f"{text[0].upper()}{text[1:]}.",
        evidence=(
            f.scalar("test_accuracy"), regular.scalar("test_accuracy"),
            f.scalar("robust_accuracy", task.attacked[place].text), f"curve.{task.key}",
        ),
        recommendation=(
            "Where inputs can be changed by that much and a linear classifier is good enough, "
            "ship the robust one: it is among the artifacts."
        ),
    )  # fmt: skip


def _wiped(campaign: Campaign, task: Task) -> Finding | None:
    regular, *robust = campaign.spoken(task)
    wiped = [f for f in robust if not f.constant and f.wiped - regular.wiped >= _WIPED]
    if not wiped:
        return None
    parts = [f"{percent(f.wiped)} at \u03b5 = {f.classifier.eps}" for f in wiped]
    return Finding(
        severity="low",
        claim=(
            f"Robust training ({task.norm.symbol}) wiped out weights that are worth less than what "
            f"a perturbation can do to them: {listed(parts)} of the weights cannot move the score "
            f"by {WIPED:g}, {percent(regular.wiped)} of the regular classifier's."
        ),
        evidence=(max(wiped, key=lambda f: f.wiped).scalar("zero_weights"), "models"),
        recommendation="The features that keep their weight are those to protect.",
    )


def _empty(campaign: Campaign, task: Task) -> Finding | None:
    """Say which classifiers ignore their input, and whether that is proven to be the best."""
    empty = [f for f in campaign.spoken(task) if f.constant]
    if not empty:
        return None
    names = listed([f"\u03b5 = {f.classifier.eps}" for f in empty])
    proven = all(f.classifier.solver == "optimum" and f.classifier.converged for f in empty)
    claim = (
        f"Against {task.norm.symbol} {names}, no linear classifier has a smaller robust hinge loss "
        "in training than one that gives every input the same class"
        if proven else
        f"Trained against {task.norm.symbol} {names}, the classifier gives every input the same "
        "class"
    )  # fmt: skip
    return Finding(
        severity="medium",
        claim=f"{claim}.",
        evidence=(
            empty[0].scalar("zero_weights"), robust_key(empty[0]) if task.attacked else "models",
        ),
        recommendation=(
            "Perturbations of this size hide the classes from every linear classifier: lower "
            "\u03b5, or use features that they do not reach."
            if proven else "Train to the optimum (params.solver), which proves whether another can."
        ),
    )  # fmt: skip


def caveats(campaign: Campaign, data: Dataset) -> tuple[Caveat, ...]:
    """Return the reasons to trust the numbers less."""
    made = []
    if data.columns.left_out:
        text = f"Left out: {_some(data.columns.left_out)}."
        made.append(Caveat(code="linear-columns-left-out", detail=text))
    if data.columns.constant:
        of = f"{len(data.columns.constant):,} of {data.d + len(data.columns.constant):,} features"
        text = f"Weight 0 for {of}: {_some(data.columns.constant, most=3)}."
        made.append(Caveat(code="linear-constant-features", detail=text))
    fits = [says for task in campaign.tasks if (says := separable(campaign, task, data))]
    if fits:
        made.append(Caveat(code="linear-separable", detail=" ".join(dict.fromkeys(fits))))
    if unfinished := _unfinished(campaign):
        made.append(Caveat(code="linear-training-unfinished", detail=unfinished))
    short = [f for f in campaign.fitted if not f.classifier.converged]
    if short:
        parts = [f"{f.label}: {number(f.classifier.gap or 0.0)}" for f in short]
        made.append(
            Caveat(code="linear-optimum-not-reached", detail=f"Relative gap: {listed(parts)}.")
        )
    if data.test.n < _SMALL:
        made.append(Caveat(code="small-sample", detail=f"{data.test.n} test examples."))
    return tuple(made)


def _unfinished(campaign: Campaign) -> str:
    """Say what SGD had still to learn: what it learned at the end, and its distance if known."""
    sgd = [f for f in campaign.fitted if f.classifier.solver == "sgd"]
    falling = [f"{f.label} {percent(still_falling(f))}" for f in sgd if still_falling(f) > 0]
    above = [
        f"{f.label} {percent(f.classifier.gap)}"
        for f in sgd
        if f.classifier.gap is not None and f.classifier.gap > _FAR
    ]
    found = []
    if falling:
        words = "Of all that the loss fell, in the last tenth of the epochs"
        found.append(f"{words}: {listed(falling)}.")
    if above:
        words = "Part of the loss that is above the least loss there is"
        found.append(f"{words}: {listed(above)}.")
    return " ".join(found)


def _some(names: Sequence[str], most: int = 8) -> str:
    more = len(names) - most
    return "; ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


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
                    + (_SIZE if any(f.classifier.eps.value == 0 for f in optima) else "")
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
