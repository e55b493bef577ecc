"""The numbers of a campaign: worst case over the attacks, with intervals, and the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from robreport import Column, Eps, Scalar, Table, ThreatModel, stats
from robreport_plugins.attacks.choice import because
from robreport_plugins.attacks.rules import rules, symbol

if TYPE_CHECKING:
    from robreport_plugins.attacks.campaign import Campaign, Trial
    from robreport_plugins.attacks.params import SuiteParams

Better = Literal["higher", "lower"] | None
Bound = Literal["exact", "upper", "lower", "estimate"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The worst case of one threat at one radius."""

    threat: ThreatModel
    eps: Eps
    robust: Scalar
    success: Scalar


def share(
    hits: int,
    n: int,
    *,
    better: Better,
    bound: Bound = "exact",
    label: str = "",
    table: str = "",
) -> Scalar:
    """Return a share with its Clopper-Pearson interval, or refused when n is 0."""
    if n == 0:
        return Scalar(
            value=None,
            n=0,
            unit="share",
            better=better,
            bound=bound,
            label=label,
            table=table,
            reason="the model gets none of the inputs right, so no attack can succeed",
        )
    interval = stats.clopper_pearson(hits, n)
    return Scalar.of(
        hits / n,
        interval,
        n=n,
        unit="share",
        better=better,
        bound=bound,
        label=label,
        table=table,
    )


def clean(campaign: Campaign) -> Scalar:
    """Return the accuracy without an attack on the inputs attacked."""
    return share(int(campaign.right.sum()), campaign.n, better="higher", label="Clean accuracy")


def points(campaign: Campaign, threats: Sequence[ThreatModel]) -> tuple[Point, ...]:
    """Return the worst case of every threat and radius, in their order."""
    found = []
    right = int(campaign.right.sum())
    for threat in threats:
        for eps in threat.eps:
            broken = int(campaign.broken(threat, eps.value).sum())
            where = f"{symbol(threat)} \u03b5 = {eps}"
            robust = share(
                right - broken,
                campaign.n,
                bound="upper",
                better="higher",
                label=f"Robust accuracy, {where}",
                table="worst_case",
            )
            # More attacks could only raise it, hence a lower bound.
            success = share(
                broken,
                right,
                bound="lower",
                better="lower",
                label=f"Attack success, {where}",
                table="worst_case",
            )
            found.append(Point(threat=threat, eps=eps, robust=robust, success=success))
    return tuple(found)


def broken_eps(campaign: Campaign, threat: ThreatModel) -> Floats:
    """Return the smallest declared radius that broke each example, ``(n,)``.

    0 where the model is wrong without an attack, infinite where no attack succeeded.
    """
    return np.asarray(np.min([*broken_eps_of_each(campaign, threat).values()], axis=0))


def broken_eps_of_each(campaign: Campaign, threat: ThreatModel) -> dict[str, Floats]:
    """Return the same for each attack by itself, by its name."""
    found: dict[str, Floats] = {}
    for eps in sorted(threat.eps, reverse=True):
        for trial in campaign.of(threat, eps.value):
            name = trial.attack.name
            least = found.setdefault(name, np.where(campaign.right, np.inf, 0.0))
            least[trial.broken] = eps.value
    return found


def median_radius(values: Floats, largest: float, label: str) -> Scalar:
    """Return the median of `broken_eps` with its order-statistic interval, censored where needed.

    Parameters
    ----------
    values : array (n,)
        Infinite where nothing succeeded.
    largest : float
        The largest radius tried.

    Notes
    -----
    The median is the ceil(n/2)-th smallest value, the least that at least half of the inputs do
    not exceed: of an even number the lower of the two in the middle, so that it is a declared
    radius. It is censored when more than half are infinite.

    With B ~ Binomial(n, 1/2) and l the smallest integer with P(B <= l) >= 0.025, the interval
    runs from the l-th smallest value to the l-th largest.
    """
    from scipy.stats import binom

    ordered = np.sort(values)
    n = int(values.size)
    middle = float(ordered[(n - 1) // 2])
    if not np.isfinite(middle):
        return Scalar(
            value=largest,
            n=n,
            better="higher",
            bound="upper",
            censored=">",
            label=label,
            reason="more than half of the inputs withstood the largest \u03b5 tried",
        )
    rank = int(binom.ppf(0.025, n, 0.5))
    low = float(ordered[rank - 1]) if rank else np.nan
    high = float(ordered[n - rank]) if rank else np.nan
    if not (np.isfinite(low) and np.isfinite(high)):
        why = (
            "no interval: its upper end lies beyond the largest \u03b5 tried"
            if rank
            else f"no interval: {n} inputs are too few for one of the median"
        )
        return Scalar(value=middle, n=n, better="higher", bound="upper", label=label, reason=why)
    return Scalar(
        value=middle,
        n=n,
        low=low,
        high=high,
        better="higher",
        bound="upper",
        method="95 % order statistics",
        label=label,
    )


def scalars(campaign: Campaign, threats: Sequence[ThreatModel]) -> dict[str, Scalar]:
    """Return every scalar of the suite by its name."""
    right = int(campaign.right.sum())
    worst = points(campaign, threats)
    found = {"clean_accuracy": clean(campaign)}
    found |= {f"robust_accuracy[{p.threat.name}, {p.eps}]": p.robust for p in worst}
    found |= {f"attack_success_rate[{p.threat.name}, {p.eps}]": p.success for p in worst}
    for p in worst:
        for trial in campaign.of(p.threat, p.eps.value):
            name = f"attack_success_rate[{_facets(p.threat, p.eps, trial)}]"
            label = f"{trial.attack.title} success, {symbol(p.threat)} \u03b5 = {p.eps}"
            hits = int(trial.broken.sum())
            found[name] = share(
                hits, right, bound="lower", better="lower", label=label, table="attacks"
            )
    for threat in threats:
        label = f"Median \u03b5 that breaks, {symbol(threat)}"
        found[f"median_broken_eps[{threat.name}]"] = median_radius(
            broken_eps(campaign, threat), max(threat.eps).value, label
        )
    return found


def refusals(refused: Mapping[ThreatModel, str], n: int) -> dict[str, Scalar]:
    """Return the robust accuracy of threats that no attack could be run for: refused."""
    return {
        f"robust_accuracy[{threat.name}, {eps}]": Scalar(
            value=None, n=n, unit="share", better="higher", bound="upper", reason=why,
            label=f"Robust accuracy, {symbol(threat)} \u03b5 = {eps}",
        )
        for threat, why in refused.items()
        for eps in threat.eps
    }  # fmt: skip


WORST_COLUMNS = (
    Column(key="threat", title="threat"),
    Column(key="norm", title="norm"),
    Column(key="eps", title="\u03b5"),
    Column(key="clean", title="clean accuracy", kind="share_interval"),
    Column(key="robust", title="robust accuracy, at most", kind="share_interval"),
    Column(key="success", title="attack success, at least", kind="share_interval"),
    Column(key="broken", title="broken", kind="integer"),
    Column(key="right", title="of", kind="integer"),
    Column(key="n", title="n", kind="integer"),
)


def worst_case_table(campaign: Campaign, threats: Sequence[ThreatModel]) -> Table:
    """Return one row for each threat and radius: what is left under every attack together."""
    accuracy = clean(campaign)
    right = int(campaign.right.sum())
    rows = tuple(
        (
            p.threat.name,
            symbol(p.threat),
            str(p.eps),
            _cell(accuracy),
            _cell(p.robust),
            _cell(p.success),
            int(campaign.broken(p.threat, p.eps.value).sum()),
            right,
            campaign.n,
        )
        for p in points(campaign, threats)
    )
    return Table(
        title="Accuracy under the worst of the attacks, input by input",
        columns=WORST_COLUMNS,
        rows=rows,
        caption="An input counts as robust when it is right without an attack and no attack of the "
        "suite broke it at this \u03b5 or a smaller one. Intervals: 95 % Clopper-Pearson."
        + rules(campaign.target.schema, threats),
    )


def attack_table(campaign: Campaign, threats: Sequence[ThreatModel], params: SuiteParams) -> Table:
    """Return one row for each attack, threat and radius, the lowest accuracy first."""
    columns = (
        Column(key="attack", title="attack"),
        Column(key="knowledge", title="knowledge"),
        Column(key="norm", title="norm"),
        Column(key="eps", title="\u03b5"),
        Column(key="steps", title="steps", kind="integer"),
        Column(key="restarts", title="restarts", kind="integer"),
        Column(key="clean", title="clean", kind="share"),
        Column(key="robust", title="accuracy left", kind="share_interval"),
        Column(key="success", title="success", kind="share"),
        Column(key="alone", title="alone", kind="integer"),
        Column(key="size", title="median size", kind="number"),
        Column(key="gradients", title="gradients", kind="integer"),
        Column(key="queries", title="queries", kind="integer"),
        Column(key="seconds", title="took", kind="spent"),
    )
    accuracy = clean(campaign)
    right = int(campaign.right.sum())
    rows: list[tuple[Any, ...]] = []
    robust_place = [column.key for column in columns].index("robust")
    seen: set[tuple[str, ThreatModel, float]] = set()
    for threat in threats:
        for eps in threat.eps:
            for trial in campaign.of(threat, eps.value):
                place = trial.attack.name, trial.arena, trial.eps
                if place in seen:
                    continue
                seen.add(place)
                hits = int(trial.broken.sum())
                robust = share(right - hits, campaign.n, better="higher")
                rows.append(
                    (
                        trial.attack.title,
                        trial.attack.knowledge,
                        symbol(threat),
                        str(eps),
                        *trial.attack.budget(trial.attack.settings(params)),
                        accuracy.value,
                        _cell(robust),
                        hits / right if right else None,
                        _alone(campaign, trial),
                        _median_size(trial),
                        trial.gradients,
                        trial.queries,
                        _facets(threat, eps, trial),
                    )
                )
    rows.sort(key=lambda row: row[robust_place][0])
    return Table(
        title="Every attack by itself, the strongest first",
        columns=columns,
        rows=tuple(rows),
        caption="Successes are counted over the inputs that are right without an attack, those "
        "carried over from a smaller \u03b5 included. Alone: inputs that no other attack "
        "broke here. Median size: over the successes only. Gradients, queries and time are "
        "those of this \u03b5, gradients and queries one for each input and step; a search for the "
        "smallest change counts at the first \u03b5."
        + _steps_of(row[0] for row in rows)
        + (f" Left out: {because(campaign.left_out)}." if campaign.left_out else ""),
    )


# what stands under steps, of attacks that do not take so many in each restart
_STEPS = {
    "Carlini-Wagner": "those of all its searches together",
    "EAD": "those of all its searches together",
    "Square": "the most questions of each input",
    "Transfer": "those of PGD on the fitted network, which is searched with up to 50 changes where "
    "features move by whole steps",
    "HopSkipJump": "the questions that its steps were set from",
}


def _steps_of(titles: Iterable[str]) -> str:
    """Return what the column of steps means for the attacks of a table; often nothing."""
    told = [f"of {title}, {_STEPS[title]}" for title in dict.fromkeys(titles) if title in _STEPS]
    return f" Steps: {'; '.join(told)}." if told else ""


def spent(campaign: Campaign, threats: Sequence[ThreatModel]) -> dict[str, float]:
    """Return the seconds that each attack took at each radius, by what the scalars call it."""
    return {
        _facets(threat, eps, trial): trial.seconds
        for threat in threats
        for eps in threat.eps
        for trial in campaign.of(threat, eps.value)
    }


def _facets(threat: ThreatModel, eps: Eps, trial: Trial) -> str:
    return f"{threat.name}, {eps}, {trial.attack.name}"


def _alone(campaign: Campaign, trial: Trial) -> int:
    """How many examples this attack broke and no other did at its radius."""
    others = np.zeros(campaign.n, dtype=bool)
    for other in campaign.of(trial.arena, trial.eps):
        if other is not trial:
            others |= other.broken
    return int((trial.broken & ~others).sum())


def _median_size(trial: Trial) -> float | None:
    found = trial.size[np.isfinite(trial.size)]
    return float(np.median(found)) if found.size else None


def _cell(scalar: Scalar) -> list[float] | None:
    if scalar.value is None or scalar.low is None or scalar.high is None:
        return None
    return [scalar.value, scalar.low, scalar.high]


def keys(names: Iterable[str]) -> dict[str, str]:
    """Return an id for each threat's name, in order: lower case, each different."""
    found: dict[str, str] = {}
    for name in names:
        word = name.lower()
        while word in found.values():
            word += "-"
        found[name] = word
    return found
