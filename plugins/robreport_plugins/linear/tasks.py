"""What an entry trains against and attacks with, and how descent goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from robreport import Eps, Norm, SkipMetric, ThreatModel
from robreport_plugins.linear.params import DEFAULT_EPS, AttackParams, HingeParams, budgets
from robreport_plugins.linear.training import BLOG_REGULAR, BLOG_ROBUST, Schedule

Floats = npt.NDArray[np.float64]

REGULAR = Eps(0.0, "0")
_BLOG_GRID = 0.5
# Ten epochs of 12,665 rows in batches of 100, and what sets with fewer steps get.
_STEPS = 1270
_SMALL_STEPS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One norm: what is trained against, attacked with, and drawn.

    ``name`` is the facet of the scalars: the threat's name, or the norm in lower case. ``key`` is
    an id made of it, ``trained`` begins with the regular classifier's 0.
    """

    name: str
    key: str
    norm: Norm
    trained: tuple[Eps, ...]
    attacked: tuple[Eps, ...]
    grid: Floats


def tasks_of(
    params: AttackParams, threats: Sequence[ThreatModel], *, blog: bool = False
) -> tuple[Task, ...]:
    """Return what is trained and attacked in each norm.

    Raises
    ------
    SkipMetric
        The entry names both threats and a norm, or threats beside a preset that fixes its own.
    """
    if blog and threats:
        raise SkipMetric(
            'preset = "blog" brings its own norm and eps: leave the entry\'s threats out'
        )
    if threats and params.norm is not None:
        raise SkipMetric("the entry's threats say the norm: leave params.norm out")
    given = None if params.eps is None else budgets(params.eps)
    if not threats:
        norm = Norm(params.norm or "Linf")
        eps = given or budgets(DEFAULT_EPS)
        return (_task(str(norm).lower(), norm, eps, eps, params, blog),)
    found: list[Task] = []
    for threat in threats:
        one = _task(threat.name, threat.norm, given or threat.eps, threat.eps, params, blog)
        while one.key in [other.key for other in found]:
            one = replace(one, key=f"{one.key}-")
        found.append(one)
    return tuple(found)


def _task(
    name: str, norm: Norm, trained: Sequence[Eps], attacked: Sequence[Eps],
    params: AttackParams, blog: bool,
) -> Task:  # fmt: skip
    robust = tuple(eps for eps in trained if eps.value > 0)
    largest = max((eps.value for eps in (*robust, *attacked)), default=0.0)
    end = _BLOG_GRID if blog else params.grid_max or (largest * 5 / 3 if largest > 0 else 1.0)
    key = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    return Task(
        name=name, key=key, norm=norm, trained=(REGULAR, *robust),
        attacked=tuple(eps for eps in attacked if eps.value > 0),
        grid=np.linspace(0.0, end, params.grid_points),
    )  # fmt: skip


def schedule_of(params: HingeParams, eps: float, n: int) -> Schedule:
    """Return how SGD goes over `n` rows: the source's schedule with what the entry sets.

    Ten epochs of fewer rows than the source's end long before the loss does; such sets, mostly
    tables, whose features are fewer and smaller than pixels, get more steps than the source takes.
    """
    source = BLOG_REGULAR if eps == 0 else BLOG_ROBUST
    if params.preset == "blog":
        return replace(source, shuffle=bool(params.shuffle))
    batches = math.ceil(n / (params.batch or source.batch))
    enough = source.epochs * batches >= _STEPS
    made = replace(
        source,
        epochs=params.epochs or (source.epochs if enough else math.ceil(_SMALL_STEPS / batches)),
        momentum=params.momentum or source.momentum,
        shuffle=True if params.shuffle is None else params.shuffle,
    )
    if params.batch is None and params.lr is None and n >= source.batch:
        return made
    # Steps on a summed loss would grow and shrink with the batch.
    lr = params.lr or (0.1 if eps == 0 else 0.01)
    return replace(made, batch=params.batch or source.batch, lr=lr, loss="mean")
