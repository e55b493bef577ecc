"""AutoAttack: four attacks (or two, for random models) in turn on what is not yet broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from robreport import Norm
from robreport_plugins.methods.perturb import Attempt, Bounds, everyone, hits, outputs
from robreport_plugins.methods.perturb_apgd import apgd, apgd_targeted
from robreport_plugins.methods.perturb_fab import fab
from robreport_plugins.methods.perturb_square import square

Version = Literal["standard", "random"]
UNBROKEN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one attack of a sequence did.

    Attributes
    ----------
    name : str
    attacked, broken : int
        Examples that it was given, and those of them that it claims.
    gradients, queries : int
        As in `perturb.Attempt`.
    """

    name: str
    attacked: int
    broken: int
    gradients: int
    queries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """What a sequence of attacks did.

    Attributes
    ----------
    attempt : Attempt
        The inputs found by all of them together, and all that was asked.
    stages : tuple of Stage
        In the order run; the first, "unperturbed", asks about the inputs themselves.
    broken_by : Tensor (n,) of int64
        Place in `stages` of the one that broke each example; `UNBROKEN` where none did.
    """

    attempt: Attempt
    stages: tuple[Stage, ...]
    broken_by: Tensor


def autoattack(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    eps: float,
    bounds: Bounds | None = None,
    version: Version = "standard",
    steps: int = 100,
    queries: int = 5000,
    restarts: int = 1,
    classes: int = 9,
    eot: int = 20,
    generator: torch.Generator | None = None,
    early_stop: bool = True,
    among: Tensor | None = None,
) -> Sequence:
    """Return what the attacks of AutoAttack break, each on what those before it left.

    Parameters
    ----------
    module : nn.Module
        Maps ``(n, *shape)`` to logits ``(n, k)``, each example by itself.
    x : Tensor (n, *shape)
    y : Tensor (n,) of int64
        The true classes.
    norm : Norm
        L1, L2 or Linf.
    eps : float
        Radius, in input units.
    bounds : (low, high) or None
        Of the data; floats or tensors that broadcast to `x` (per feature, or per example).
    version : "standard" or "random"
        Standard: Auto-PGD on the cross-entropy, Auto-PGD towards other classes, FAB towards
        other classes, Square. Random, for models whose outputs are: Auto-PGD on the
        cross-entropy and on the difference-of-logits ratio, each gradient a mean of `eot`.
    steps : int
        Of each gradient attack towards each class.
    queries : int
        Of Square, for each example.
    restarts : int
        Starts of each gradient attack towards each class; the paper's is one.
    classes : int
        Other classes aimed at, most likely first; k - 1 where there are no more.
    eot : int
        Evaluations averaged at each step of the random version.
    generator : torch.Generator on the CPU
        Source of all randomness.
    early_stop : bool
        Examples leave the batch as soon as they are broken; else only between the attacks and
        between the classes aimed at (Square always lets go of what is broken).
    among : Tensor (n,) of bool, or None
        Attack these only, for instance because the others are certified; the others come back
        as they are, and unbroken.

    Raises
    ------
    ModelError
        A gradient is not finite.
    ValueError
        The norm is L0, the radius is negative or not finite, the version is unknown, or a count
        is below 1.

    Notes
    -----
    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks" (ICML 2020). Each attack has a generator of its own, and what it does
    to an example depends on no other: it breaks what it would break if it ran alone.
    """
    attacks: dict[str, Callable[[Tensor, torch.Generator], Attempt]]
    if version == "standard":
        attacks = {
            "apgd-ce": lambda left, draws: apgd(
                module, x, y, norm=norm, eps=eps, bounds=bounds, steps=steps, restarts=restarts,
                generator=draws, early_stop=early_stop, among=left,
            ),
            "apgd-t": lambda left, draws: apgd_targeted(
                module, x, y, norm=norm, eps=eps, bounds=bounds, steps=steps, restarts=restarts,
                classes=classes, generator=draws, early_stop=early_stop, among=left,
            ),
            "fab-t": lambda left, draws: fab(
                module, x, y, norm=norm, bounds=bounds, steps=steps, restarts=restarts,
                classes=classes, within=eps, generator=draws, early_stop=early_stop, among=left,
            ),
            "square": lambda left, draws: square(
                lambda inputs: outputs(module, inputs), x, y, norm=norm, eps=eps, bounds=bounds,
                queries=queries, generator=draws, among=left,
            ),
        }  # fmt: skip
    elif version == "random":
        attacks = {
            "apgd-ce": lambda left, draws: apgd(
                module, x, y, norm=norm, eps=eps, bounds=bounds, steps=steps, restarts=restarts,
                eot=eot, generator=draws, early_stop=early_stop, among=left,
            ),
            "apgd-dlr": lambda left, draws: apgd(
                module, x, y, norm=norm, eps=eps, bounds=bounds, steps=steps, restarts=restarts,
                eot=eot, loss="dlr", generator=draws, early_stop=early_stop, among=left,
            ),
        }  # fmt: skip
    else:
        raise ValueError(f"version must be standard or random, found {version!r}")
    seeds = torch.randint(2**62, (len(attacks),), generator=generator).tolist()
    left = everyone(x, among)
    x_adv = x.clone()
    broken_by = torch.full_like(y, UNBROKEN)
    rows = torch.nonzero(left).squeeze(1)
    wrong = rows[hits(outputs(module, x[rows]), y[rows])] if len(rows) else rows
    broken_by[wrong] = 0
    left[wrong] = False
    stages = [
        Stage(
            name="unperturbed", attacked=len(rows), broken=len(wrong), gradients=0,
            queries=len(rows),
        )
    ]  # fmt: skip
    for place, ((name, attack), seed) in enumerate(zip(attacks.items(), seeds, strict=True), 1):
        attacked = int(left.sum())
        attempt = attack(left, torch.Generator().manual_seed(seed))
        new = attempt.claimed & left
        x_adv[left] = attempt.x_adv[left]
        broken_by[new] = place
        left &= ~new
        stages.append(
            Stage(
                name=name, attacked=attacked, broken=int(new.sum()),
                gradients=attempt.gradients, queries=attempt.queries,
            )
        )  # fmt: skip
    return Sequence(
        attempt=Attempt(
            x_adv=x_adv,
            claimed=broken_by != UNBROKEN,
            gradients=sum(stage.gradients for stage in stages),
            queries=sum(stage.queries for stage in stages),
        ),
        stages=tuple(stages),
        broken_by=broken_by,
    )
