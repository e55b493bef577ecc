"""All classifiers of one entry: trained as the parameters say, and attacked on the test set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from robreport import Context, Eps, Norm, SkipMetric
from robreport_plugins.linear.attacked import Attacked, attack, lead
from robreport_plugins.linear.dataset import Dataset, Examples
from robreport_plugins.linear.linear_model import LinearModel, robust_hinge
from robreport_plugins.linear.optimum import solve
from robreport_plugins.linear.params import HingeParams, read_eps
from robreport_plugins.linear.published_start import published_start
from robreport_plugins.linear.tasks import Task, schedule_of, tasks_of
from robreport_plugins.linear.training import Trained, train

Floats = npt.NDArray[np.float64]
Solver = Literal["sgd", "optimum"]

WIPED = 1e-3
"""A weight is wiped out where its feature cannot move the score by this much."""

# A loss of 1 is that of knowing nothing.
_DIVERGED = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """A trained classifier: one linear model for two classes, else one for each class.

    Attributes
    ----------
    loss, robust_loss, accuracy : array (epochs + 1,) or None
        During SGD, on the training set: mean over its linear models of hinge and robust hinge;
        for two classes the accuracy.
    primal, bound : float
        Mean robust hinge of the training set (mean over the linear models) and, where an optimum
        was computed, the proven lower bound of its minimum.
    converged : bool
        Whether the optimum reached its tolerance; True for SGD, which has none.
    seed : int or None
        Of the start and the order of the rows; None for the published start in the data's order.
    """

    eps: Eps
    norm: Norm
    solver: Solver
    seed: int | None
    models: tuple[LinearModel, ...]
    primal: float
    loss: Floats | None = None
    robust_loss: Floats | None = None
    accuracy: Floats | None = None
    bound: float | None = None
    converged: bool = True

    @property
    def weights(self) -> Floats:
        """All weights, ``(models, d)``."""
        return np.stack([model.w for model in self.models])

    @property
    def gap(self) -> float | None:
        """The relative duality gap, None where no bound is known."""
        if self.bound is None:
            return None
        return max(0.0, self.primal - self.bound) / max(1e-3, self.primal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A classifier with what it does on the training and under attack on the test set.

    ``both`` says that the entry has classifiers of two solvers, which names then tell apart.
    ``wiped`` is the share of the weights that cannot move the score by `WIPED` (the hinge asks
    for 1) while their feature goes through all of its width.
    """

    task: Task
    classifier: Classifier
    train_right: int
    wiped: float
    attacked: Attacked
    hinge: Floats
    both: bool = False

    @property
    def constant(self) -> bool:
        """Whether every input gets the same class, whatever it is."""
        return not np.any(self.classifier.weights)

    @property
    def label(self) -> str:
        """What charts and tables call it."""
        eps = self.classifier.eps
        word = "regular" if eps.value == 0 else f"robust \u03b5 = {eps}"
        return f"{word} (optimum)" if self.second else word

    @property
    def second(self) -> bool:
        """Whether it is the optimum beside a classifier of SGD."""
        return self.both and self.classifier.solver == "optimum"

    @property
    def key(self) -> str:
        """An id of lower-case letters, digits, dots and dashes."""
        eps = self.classifier.eps.text.lower().replace(" ", "").replace("/", "-").replace("+", "")
        word = "regular" if self.classifier.eps.value == 0 else f"eps-{eps}"
        return f"{self.task.key}.{word}{'.optimum' if self.second else ''}"

    def scalar(self, base: str, *further: str) -> str:
        """Return the name of one of its scalars."""
        parts = [self.task.name, self.classifier.eps.text, *further]
        return f"{base}[{', '.join([*parts, 'optimum'] if self.second else parts)}]"


@dataclass(slots=True)
class Steps:
    """Counts what is done; the total is known before anything starts."""

    total: int
    tell: Callable[[int, int, str], None]
    done: int = 0
    what: str = "starting"

    def now(self, what: str) -> None:
        self.what = what
        self.tell(self.done, self.total, what)

    def part(self, place: int, of: int) -> Callable[[int, int], None]:
        """Return what tells of the steps of one of several trainings."""
        return lambda done, total: self.tell(
            self.done, self.total, f"{self.what}, {place * total + done:,} of {of * total:,}"
        )

    def finish(self) -> None:
        self.done = min(self.total, self.done + 1)
        self.tell(self.done, self.total, self.what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How the training eps was chosen: held-out robust accuracy of each candidate."""

    target: Eps
    eps: tuple[Eps, ...]
    right: tuple[int, ...]
    n: int

    @property
    def best(self) -> int:
        """The smallest eps of the highest accuracy."""
        return int(np.argmax(self.right))


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Everything that was trained: the classifiers that are reported on, and the other seeds'."""

    tasks: tuple[Task, ...]
    fitted: tuple[Fitted, ...]
    repeats: tuple[Fitted, ...] = ()
    choices: Mapping[str, Choice] = field(default_factory=dict)
    clip: bool = False

    def of(self, task: Task, *, second: bool = False) -> tuple[Fitted, ...]:
        """Return the classifiers of one norm, the regular one first."""
        return tuple(f for f in self.fitted if f.task is task and f.second == second)

    def spoken(self, task: Task) -> tuple[Fitted, ...]:
        """Return those that sentences speak of: the optimum ones where there are some."""
        return self.of(task, second=True) or self.of(task)


def run(data: Dataset, params: HingeParams, ctx: Context) -> Campaign:
    """Train and attack everything that the parameters ask for."""
    tasks = tasks_of(params, ctx.threats, blog=params.preset == "blog")
    solvers: tuple[Solver, ...] = (
        ("sgd", "optimum") if params.solver == "both" else (params.solver,)
    )
    own_seed = ctx.seed % 2**32
    seeds: tuple[int | None, ...] = params.seeds or (own_seed,)
    if params.preset == "blog" and not params.shuffle:
        seeds = (None, *(params.seeds or ()))
    clip = data.bounds is not None and (
        params.preset != "blog" if params.clip is None else params.clip
    )
    if params.clip and data.bounds is None:
        raise SkipMetric("params.clip needs data.bounds, which the audit does not declare")
    models = sum(len(task.trained) for task in tasks)
    reported = models * len(solvers)
    others = models * (len(seeds) - 1) * ("sgd" in solvers)
    held = models if params.validation is not None else 0
    steps = Steps(total=2 * (reported + others) + held, tell=ctx.progress)
    choices = {}
    if params.validation is not None:
        choices = {
            task.name: _choose(data, task, params, own_seed, seeds[0], clip, steps)
            for task in tasks
        }
    fitted: list[Fitted] = []
    repeats: list[Fitted] = []
    for task in tasks:
        for solver in solvers:
            for eps in task.trained:
                for seed in seeds if solver == "sgd" else seeds[:1]:
                    one = _fit(data, task, solver, eps, seed, params, clip, steps)
                    one = replace(one, both=len(solvers) > 1)
                    (fitted if seed == seeds[0] else repeats).append(one)
    if len(solvers) > 1:
        fitted = _bounded(fitted)
    return Campaign(
        tasks=tasks, fitted=tuple(fitted), repeats=tuple(repeats), choices=choices, clip=clip
    )


def _fit(
    data: Dataset, task: Task, solver: Solver, eps: Eps, seed: int | None, params: HingeParams,
    clip: bool, steps: Steps,
) -> Fitted:  # fmt: skip
    what = "regular" if eps.value == 0 else f"\u03b5 = {eps}"
    steps.now(f"training ({task.norm.symbol}, {what})")
    classifier = fit(data.train, len(data.classes), task.norm, solver, eps, seed, params, steps)
    steps.finish()
    steps.now(f"attacking ({task.norm.symbol}, {what})")
    test = data.test
    attacked = attack(
        classifier.models, test.x, test.y, grid=task.grid, norm=task.norm, bounds=data.bounds,
        eps=np.array([e.value for e in task.attacked]), clip=clip,
        progress=lambda: steps.now(steps.what),
    )  # fmt: skip
    steps.finish()
    right = int((lead(classifier.models, data.train.x, data.train.y) > 0).sum())
    hinge = np.mean(
        [
            robust_hinge(model, test.x, sign, eps=eps.value, norm=task.norm)
            for model, sign in zip(classifier.models, test.signs(len(data.classes)), strict=True)
        ],
        axis=0,
    )
    return Fitted(
        task=task, classifier=classifier, train_right=right, attacked=attacked, hinge=hinge,
        wiped=float(np.mean(np.abs(classifier.weights) * data.width < WIPED)),
    )  # fmt: skip


def fit(
    train_set: Examples, classes: int, norm: Norm, solver: Solver, eps: Eps, seed: int | None,
    params: HingeParams, steps: Steps,
) -> Classifier:  # fmt: skip
    """Return one classifier trained on the examples; of more than two classes, each against the
    rest.

    Raises
    ------
    SkipMetric
        SGD left the range of numbers.
    """
    x, level, signs = train_set.x, eps.value, train_set.signs(classes)
    if solver == "optimum":
        best = [
            solve(x, sign, eps=level, norm=norm, tolerance=params.tolerance,
                  progress=steps.part(i, len(signs)))
            for i, sign in enumerate(signs)
        ]  # fmt: skip
        return Classifier(
            eps=eps, norm=norm, solver=solver, seed=seed,
            models=_untied([o.model for o in best], train_set.y),
            primal=float(np.mean([o.primal for o in best])),
            bound=float(np.mean([o.dual for o in best])),
            converged=all(o.converged for o in best),
        )  # fmt: skip
    schedule, rng = schedule_of(params, level, train_set.n), np.random.default_rng(seed or 0)
    source = params.preset == "blog" and (seed is None or schedule.shuffle)
    trained: list[Trained] = []
    try:
        for i, sign in enumerate(signs):
            start = published_start(x.shape[1], level, i) if source else None
            trained.append(
                train(x, sign, eps=level, norm=norm, schedule=schedule, rng=rng, start=start,
                      progress=steps.part(i, len(signs)))
            )  # fmt: skip
    except ValueError as error:
        # The data was checked before; what is left is a descent that left the finite numbers.
        raise SkipMetric(f"SGD has no result at eps = {eps}: {error}") from error
    worst = max(float(t.robust_loss[-1]) for t in trained)
    if not worst <= _DIVERGED:
        raise SkipMetric(
            f"SGD has no result at eps = {eps}: the training loss went to {worst:.0e}; set "
            "standardise = true, or a smaller lr"
        )
    return Classifier(
        eps=eps, norm=norm, solver=solver, seed=seed, models=tuple(t.model for t in trained),
        loss=np.mean([t.loss for t in trained], axis=0),
        robust_loss=np.mean([t.robust_loss for t in trained], axis=0),
        accuracy=trained[0].accuracy if classes == 2 else None,
        primal=float(np.mean([t.robust_loss[-1] for t in trained])),
    )  # fmt: skip


def _untied(models: Sequence[LinearModel], y: npt.NDArray[np.int64]) -> tuple[LinearModel, ...]:
    """Let the commoner class win where models without weights would give equal scores.

    They all say no (a bias of -1) where nothing speaks for their class. One unit of float32 less
    for each rarer class, which exported weights keep, costs them 6e-8 of their loss.
    """
    counts = np.bincount(y, minlength=len(models))
    plain = [c for c, model in enumerate(models) if not model.w.any()]
    found = list(models)
    for rank, c in enumerate(sorted(plain, key=lambda c: -counts[c])):
        found[c] = replace(models[c], b=models[c].b - rank * 2.0**-23)
    return tuple(found)


def _bounded(fitted: Sequence[Fitted]) -> list[Fitted]:
    """Give each classifier of SGD the lower bound that the optimum of its problem proves."""
    bounds = {
        (f.task.name, f.classifier.eps): f.classifier.bound for f in fitted if f.second
    }  # fmt: skip
    return [
        f if f.second
        else replace(
            f,
            classifier=replace(f.classifier, bound=bounds[f.task.name, f.classifier.eps]),
        )
        for f in fitted
    ]  # fmt: skip


def _choose(
    data: Dataset, task: Task, params: HingeParams, held_by: int, seed: int | None, clip: bool,
    steps: Steps,
) -> Choice:  # fmt: skip
    """Train on a part of the training set for each eps, and attack the held-out rest."""
    share, y = params.validation or 0.0, data.train.y
    order = np.random.default_rng([held_by, 1]).permutation(y.size)
    held, kept = order[: max(1, round(share * y.size))], order[max(1, round(share * y.size)) :]
    if len(np.unique(y[kept])) < len(data.classes):
        raise SkipMetric(
            "holding out examples to choose eps leaves a class without any: lower params.validation"
        )
    part = replace(
        data.train, x=np.ascontiguousarray(data.train.x[kept]), y=y[kept],
        index=data.train.index[kept], rows=data.train.rows[kept],
    )  # fmt: skip
    candidates = task.trained
    target = read_eps(params.target) if params.target is not None else max(candidates)
    solver: Solver = "sgd" if params.solver == "sgd" else "optimum"
    right = []
    for eps in candidates:
        steps.now(f"choosing \u03b5 ({task.norm.symbol}, {eps})")
        one = fit(part, len(data.classes), task.norm, solver, eps, seed, params, steps)
        found = attack(
            one.models, data.train.x[held], y[held], eps=np.array([target.value]),
            grid=np.array([target.value]), norm=task.norm, bounds=data.bounds, clip=clip,
        )  # fmt: skip
        right.append(int(found.right.sum()))
        steps.finish()
    return Choice(target=target, eps=candidates, right=tuple(right), n=int(held.size))
