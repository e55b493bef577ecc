"""Every attack of a suite on every radius of every norm, and what the model said of the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from robreport import ThreatModel
from robreport_plugins.attacks.campaign import REPEATED, Campaign
from robreport_plugins.attacks.choice import chosen, left_out
from robreport_plugins.attacks.params import SuiteParams
from robreport_plugins.attacks.retries import retries
from robreport_plugins.attacks.runner import Progress, Runner
from robreport_plugins.attacks.target import Target, arena

# How far outputs in another batch may differ, of the largest: sums in another order do, and more
# so in half precision.
_BATCHED = 5e-3


def run_suite(
    target: Target,
    threats: Sequence[ThreatModel],
    params: SuiteParams,
    *,
    seed: int,
    progress: Progress,
) -> Campaign:
    """Return what the attacks did to the target.

    Each attack runs by itself on every example that the model gets right, so that attacks can be
    compared; an example that it broke is not attacked again with a larger radius, since the same
    perturbation still breaks it there.

    Raises
    ------
    DataError
        A threat asks for what the data does not have.
    ModelError
        The model's outputs or gradients cannot be used.
    """
    for threat in threats:
        target.space(threat)  # what is wrong with it is said by its own name
    grid = radii(threats)
    runs = [(place, values, chosen(params, target, place)) for place, values in grid.items()]
    steps = sum(len(values) * len(attacks) for _, values, attacks in runs)
    with _repeatable_kernels(target.device):
        logits = target.outputs()
        predicted = target.predict(target.x)
        right = predicted == target.y
        repeatable = np.array_equal(target.predict(target.x[:REPEATED]), predicted[:REPEATED])
        if logits is not None:
            twice = target.scores(target.x[:REPEATED])
            repeatable &= np.allclose(twice, logits[:REPEATED], rtol=1e-5, atol=1e-6)
        total = steps * target.n
        follows = any(a.sees == "gradients" for _, _, attacks in runs for a in attacks)
        runner = Runner(target, params, right, seed=seed, progress=progress, total=total)
        flat = runner.flat() if follows else np.zeros_like(right)
        for place, values, attacks in runs:
            for attack in attacks:
                if place.goal == "targeted":
                    runner.aim(attack, place, values)
                elif attack.kind == "minimal":
                    runner.reach(attack, place, values)
                else:
                    runner.climb(attack, place, values)
        floods, again = retries(runner, [(place, attacks) for place, _, attacks in runs])
        repeatable &= _same_later(target, predicted, logits)
    module = logits if target.module is not None else None
    return Campaign(
        target=target,
        predicted=predicted,
        right=right,
        trials=tuple(runner.trials),
        shown={
            place: tuple(found[r] for r in sorted(found)) for place, found in runner.shown.items()
        },
        taken={place: np.where(right, taken, -1) for place, taken in runner.taken.items()},
        reached=runner.reached,
        floods=floods,
        again=again,
        flat=flat,
        repeatable=bool(repeatable),
        strangers=0 if module is None else int((module.argmax(axis=1) != predicted).sum()),
        probabilities=module is not None and _look_like_probabilities(module),
        left_out=tuple(
            dict.fromkeys(
                (title, why)
                for place in grid
                for title, why in left_out(params, target, place).items()
            )
        ),
        written={eps.value: str(eps) for threat in threats for eps in threat.eps},
    )


def radii(threats: Sequence[ThreatModel]) -> dict[ThreatModel, tuple[float, ...]]:
    """Return the radii of each arena, rising, each once though several threats name it."""
    found: dict[ThreatModel, set[float]] = {}
    for threat in threats:
        found.setdefault(arena(threat), set()).update(eps.value for eps in threat.eps)
    return {place: tuple(sorted(values)) for place, values in found.items()}


def _same_later(
    target: Target, predicted: npt.NDArray[np.int64], logits: npt.NDArray[np.float32] | None
) -> bool:
    """Whether some inputs in another batch, and after all attacks, give what they gave before."""
    rows = np.arange((min(target.n, REPEATED) + 1) // 2)[::-1]
    same = target.predict(target.x[rows]) == predicted[rows]
    if logits is None:
        return bool(same.all())
    before, after = logits[rows], target.scores(target.x[rows])
    near = _BATCHED * float(np.abs(before).max())
    # of classes that are so near to each other either may be given
    first = np.sort(before, axis=1)
    same |= first[:, -1] - first[:, -2] <= near
    return bool(same.all() and (np.abs(after - before) <= near).all())


def _look_like_probabilities(logits: npt.NDArray[np.float32]) -> bool:
    rows = logits.sum(axis=1, dtype=np.float64)
    return bool(((logits >= 0) & (logits <= 1)).all() and (np.abs(rows - 1) < 1e-4).all())


@contextmanager
def _repeatable_kernels(device: str) -> Iterator[None]:
    """Have cuDNN choose the same, repeatable algorithms each time."""
    if not device.startswith("cuda"):
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield
