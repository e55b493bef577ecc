"""Robust accuracy class by class: which class falls first, and what it is taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robreport import Column, Eps, Figure, Finding, Table, ThreatModel, stats
from robreport_plugins.attacks.campaign import Campaign
from robreport_plugins.attacks.rules import symbol
from robreport_plugins.attacks.target import arena
from robreport_plugins.methods.class_names import short_names
from robreport_plugins.methods.confusion_chart import confusion_chart

Ints = npt.NDArray[np.int64]

SIGNIFICANT = 0.05
# A difference that is certain but smaller is nothing to act on.
GAP = 0.1
# Up to here each class says what its examples were taken for.
_WHOLE = 15
_LISTED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ByClass:
    """What the attacks of one threat made of every class at one radius.

    Attributes
    ----------
    eps : Eps
        The smallest declared radius above 0: the same for every model, and one at which classes
        still differ when at larger ones everything has fallen.
    matrix : int array (k, k)
        Examples of class i that are labelled j in the worst case.
    right, robust : int array (k,)
        Examples of each class that are right without an attack, and under all attacks.
    """

    threat: ThreatModel
    eps: Eps
    names: tuple[str, ...]
    matrix: Ints
    right: Ints
    robust: Ints

    @property
    def examples(self) -> Ints:
        return np.asarray(self.matrix.sum(axis=1), dtype=np.int64)


def by_class(campaign: Campaign, threat: ThreatModel, names: Sequence[str]) -> ByClass | None:
    """Return the classes under one threat; None where it has no radius above 0."""
    radii = [eps for eps in threat.eps if eps.value > 0]
    if not radii:
        return None
    right, eps = campaign.right, min(radii)
    broken = campaign.broken(threat, eps.value)
    given = np.where(broken, campaign.taken[arena(threat), eps.value], campaign.predicted)
    y = campaign.target.y
    k = max(len(names), campaign.target.model.n_outputs, int(y.max()) + 1, int(given.max()) + 1)
    words = short_names(tuple(names) if len(names) == k else tuple(str(i) for i in range(k)))
    matrix = np.zeros((k, k), dtype=np.int64)
    np.add.at(matrix, (y, given), 1)
    count = [
        np.bincount(y[kept], minlength=k).astype(np.int64) for kept in (right, right & ~broken)
    ]
    return ByClass(threat=threat, eps=eps, names=words, matrix=matrix, right=count[0],
                   robust=count[1])  # fmt: skip


def class_table(classes: ByClass) -> Table:
    """Return one row for each class: accuracy without and under attack, and wrong labels."""
    whole = len(classes.names) <= _WHOLE
    n = classes.examples
    rows = []
    for i in np.flatnonzero(n).tolist():
        robust = stats.clopper_pearson(int(classes.robust[i]), int(n[i]))
        share = float(classes.robust[i] / n[i])
        rows.append((
            classes.names[i], int(n[i]), float(classes.right[i] / n[i]),
            [share, robust.low, robust.high], *((_taken_for(classes, i),) if whole else ()),
        ))  # fmt: skip
    where = f"{symbol(classes.threat)} \u03b5 = {classes.eps}"
    return Table(
        title=f"Classes under attack, {where} (threat {classes.threat.name})",
        columns=(
            Column(key="class", title="class"),
            Column(key="n", title="n", kind="integer"),
            Column(key="clean", title="clean", kind="share"),
            Column(key="robust", title="robust, at most", kind="share_interval"),
            *((Column(key="taken_for", title="taken for"),) if whole else ()),
        ),
        rows=tuple(rows),
        caption="At the smallest \u03b5 that was declared. Intervals: 95 % Clopper-Pearson."
        + (" Taken for: the wrong labels of the worst case, most frequent first." if whole else ""),
        appendix=len(rows) > 25,
    )


def confusion_figure(classes: ByClass) -> Figure:
    """Return the labels of the worst case as a heat map."""
    where = f"{symbol(classes.threat)} \u03b5 = {classes.eps}"
    return confusion_chart(
        classes.names,
        classes.matrix,
        title=f"Labels under attack, {where} (threat {classes.threat.name})",
        given="label under attack",
        written=False,
        caption="What each class is taken for in the worst case; the diagonal is what stays right.",
    )


def targets_figure(campaign: Campaign, threat: ThreatModel, classes: ByClass) -> Figure | None:
    """Return how many inputs of each class were moved to each other, of a targeted threat."""
    reached = campaign.reached.get((arena(threat), classes.eps.value))
    if reached is None:
        return None
    matrix = np.zeros_like(classes.matrix)
    for i in range(len(matrix)):
        rows = campaign.right & (campaign.target.y == i)
        matrix[i, : reached.shape[1]] = reached[rows].sum(axis=0)
    where = f"{symbol(threat)} \u03b5 = {classes.eps}"
    return confusion_chart(
        classes.names,
        matrix,
        totals=classes.right,
        title=f"Inputs moved to a chosen class, {where} (threat {threat.name})",
        given="class aimed at",
        written=False,
        caption="Of the inputs of each class that are right without an attack, those that were "
        "moved to the class aimed at.",
    )


def class_findings(classes: ByClass, table: str) -> tuple[Finding, ...]:
    """Name the class that loses most, of those where chance does not explain it.

    Fisher's exact test of each class against all others, over the examples that are right
    without an attack, adjusted by Holm over the classes. A class of few examples, whose loss may
    be chance, keeps no other from being named.
    """
    from scipy.stats import fisher_exact

    present = np.flatnonzero(classes.right).tolist()
    if len(present) < 2:
        return ()
    lost = classes.right - classes.robust
    p, gaps = [], []
    for i in present:
        rest = [int(a.sum() - a[i]) for a in (lost, classes.robust)]
        own = int(lost[i]), int(classes.robust[i])
        p.append(float(fisher_exact(np.array([own, rest]), alternative="greater").pvalue))
        gaps.append(own[0] / sum(own) - rest[0] / max(sum(rest), 1))
    adjusted = stats.holm(p)
    certain = [j for j, gap in enumerate(gaps) if adjusted[j] < SIGNIFICANT and gap >= GAP]
    if not certain:
        return ()
    worst = max(certain, key=lambda j: (gaps[j], -present[j]))
    i, name = present[worst], classes.names[present[worst]]
    others = float((lost.sum() - lost[i]) / max(classes.right.sum() - classes.right[i], 1))
    where = f"{symbol(classes.threat)} \u03b5 = {classes.eps}"
    return (
        Finding(
            severity="low",
            claim=(
                f"Class {name} falls first: at {where} the attacks break "
                f"{100 * lost[i] / classes.right[i]:.0f} % of its {int(classes.right[i]):,} inputs "
                f"that are right, and {100 * others:.0f} % of those of the other classes."
            ),
            evidence=(table,),
            recommendation=f"Judge the model by class {name} where that class matters.",
            affected=name,
        ),
    )


def least_robust(classes: ByClass) -> str:
    """Return the class with the least robust accuracy, with the share, in words."""
    present = np.flatnonzero(classes.examples).tolist()
    first = min(present, key=lambda i: (classes.robust[i] / classes.examples[i], i))
    share = 100 * classes.robust[first] / classes.examples[first]
    where = f"{symbol(classes.threat)} \u03b5 = {classes.eps}"
    return f"class {classes.names[first]} ({share:.1f} % at {where})"


def _taken_for(classes: ByClass, i: int) -> str:
    wrong = [(-int(c), j) for j, c in enumerate(classes.matrix[i]) if c and j != i]
    shown = [f"{classes.names[j]} ({-c:,})" for c, j in sorted(wrong)[:_LISTED]]
    return ", ".join(shown) + (", \u2026" if len(wrong) > _LISTED else "")
