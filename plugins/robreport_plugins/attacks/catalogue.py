"""The attacks that a suite can run, each as one entry: what it is, and how to call it.

A new attack is a new entry: a function from a `Case` and the suite's parameters to an `Attempt`.
It need not be right about its own success, nor stay exactly inside the ball: the suite puts the
returned inputs back into ball and bounds and asks the model itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from robreport import Norm

if TYPE_CHECKING:
    from robreport_plugins.attacks.case import Case
    from robreport_plugins.attacks.params import SuiteParams
    from robreport_plugins.methods.perturb import Attempt

Sees = Literal["gradients", "trees", "scores", "decisions"]
Kind = Literal["step", "iterative", "minimal", "search", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack of the catalogue.

    Attributes
    ----------
    name, title : str
        As the parameters and as pages call it.
    norms : frozenset of Norm
    sees : str
        What it needs of the model: "gradients", "trees", "scores" or "decisions".
    kind : str
        "step" and "noise" try once; "iterative" takes ``steps`` and is expected to break what a
        single step breaks, and what it broke with a smaller radius; "minimal" looks for the
        smallest perturbation, so that one run serves all radii of a threat; "search" asks the
        model again and again.
    run : callable (case, params) -> Attempt
    budget : callable (params) -> (steps, restarts)
        What it takes of each example; searches that share their steps count as one start.
    sets : tuple of (name, value)
        Parameters that a preset gives it where the audit says nothing.
    tables : bool
        Whether it is for tables alone.
    table_norms : frozenset of Norm
        Norms that it works in besides, on tables.
    aims : bool
        Whether it can move an example to a chosen class, `Case.aim`.
    loss : str
        What it follows whatever the parameters say; "" where they decide.
    from_input : bool
        Whether it begins at the input itself when no random start is asked for.
    changes_codes : bool
        Whether it changes categories and one-hot groups.
    """

    name: str
    title: str
    norms: frozenset[Norm]
    sees: Sees
    kind: Kind
    run: Callable[[Case, SuiteParams], Attempt]
    budget: Callable[[SuiteParams], tuple[int, int]]
    aims: bool = False
    tables: bool = False
    table_norms: frozenset[Norm] = frozenset()
    sets: tuple[tuple[str, int], ...] = ()
    loss: str = ""
    from_input: bool = False
    changes_codes: bool = False

    @property
    def knowledge(self) -> str:
        """Return "white box" or "black box"."""
        return "white box" if self.sees in ("gradients", "trees") else "black box"

    def settings(self, params: SuiteParams) -> SuiteParams:
        """Return the parameters that this attack runs with."""
        own = {name: value for name, value in self.sets if name not in params.model_fields_set}
        return params.model_copy(update=own) if own else params

    @property
    def iterative(self) -> bool:
        """Whether it climbs towards one radius in steps."""
        return self.kind == "iterative"


def _late(module: str, name: str) -> Callable[[Case, SuiteParams], Attempt]:
    """Return a function of a module that is imported when it is first called."""

    def run(case: Case, params: SuiteParams) -> Attempt:
        found: Callable[[Case, SuiteParams], Attempt] = getattr(import_module(module), name)
        return found(case, params)

    return run


def _white(name: str) -> Callable[[Case, SuiteParams], Attempt]:
    return _late("robreport_plugins.attacks.white_box", name)


def _black(name: str) -> Callable[[Case, SuiteParams], Attempt]:
    return _late("robreport_plugins.attacks.black_box", name)


def _steps(params: SuiteParams) -> tuple[int, int]:
    return params.steps, params.restarts


def _alone(params: SuiteParams) -> tuple[int, int]:
    return params.steps, 1


def _once(params: SuiteParams) -> tuple[int, int]:
    return 1, 1


_CONVEX = frozenset({Norm.L1, Norm.L2, Norm.Linf})

CATALOGUE: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack(name="fgsm", title="FGSM", norms=_CONVEX, sees="gradients", kind="step",
               run=_white("fgsm"), budget=_once, aims=True),
        Attack(name="bim", title="BIM", norms=_CONVEX, sees="gradients", kind="iterative",
               run=_white("bim"), budget=_alone, aims=True, from_input=True),
        Attack(name="pgd", title="PGD", norms=_CONVEX, sees="gradients", kind="iterative",
               run=_white("pgd"), budget=_steps, aims=True, from_input=True),
        Attack(name="apgd-ce", title="APGD-CE", norms=_CONVEX, sees="gradients",
               kind="iterative", run=_white("apgd_ce"), budget=_steps, aims=True,
               loss="cross-entropy"),
        Attack(name="apgd-dlr", title="APGD-DLR", norms=_CONVEX, sees="gradients",
               kind="iterative", run=_white("apgd_dlr"), budget=_steps, aims=True, loss="margin"),
        Attack(name="apgd-t", title="APGD-T", norms=_CONVEX, sees="gradients", kind="iterative",
               run=_white("apgd_targeted"), budget=_steps, loss="margin"),
        Attack(name="apgd-ce-eot", title="APGD-CE, averaged", norms=_CONVEX, sees="gradients",
               kind="iterative", run=_white("apgd_ce_eot"), budget=_steps, aims=True,
               loss="cross-entropy"),
        Attack(name="apgd-dlr-eot", title="APGD-DLR, averaged", norms=_CONVEX,
               sees="gradients", kind="iterative", run=_white("apgd_dlr_eot"), budget=_steps,
               aims=True, loss="margin"),
        Attack(name="fab", title="FAB-T", norms=_CONVEX, sees="gradients", kind="minimal",
               run=_white("fab"), budget=_steps),
        Attack(name="deepfool", title="DeepFool", norms=frozenset({Norm.L2, Norm.Linf}),
               sees="gradients", kind="minimal", run=_white("deepfool"), budget=_alone),
        Attack(name="ddn", title="DDN", norms=frozenset({Norm.L2}), sees="gradients",
               kind="minimal", run=_white("ddn"), budget=_alone),
        Attack(name="fmn", title="FMN", norms=frozenset(Norm), sees="gradients", kind="minimal",
               run=_white("fmn"), budget=_alone),
        Attack(name="closest", title="Closest point", norms=_CONVEX, sees="gradients",
               kind="minimal", run=_white("closest"), budget=_alone),
        Attack(name="cw", title="Carlini-Wagner", norms=frozenset({Norm.L2}), sees="gradients",
               kind="minimal", run=_white("cw"), budget=_alone),
        Attack(name="ead", title="EAD", norms=frozenset({Norm.L1}), sees="gradients",
               kind="minimal", run=_white("ead"), budget=_alone),
        Attack(name="square", title="Square", norms=_CONVEX, sees="scores", kind="search",
               run=_black("square"), budget=lambda params: (params.queries, 1), aims=True),
        Attack(name="search", title="Greedy search", norms=frozenset(Norm), sees="scores",
               kind="search", run=_black("search"), budget=lambda params: (50, params.restarts),
               tables=True, aims=True, changes_codes=True),
        Attack(name="hopskipjump", title="HopSkipJump", norms=frozenset({Norm.L2, Norm.Linf}),
               sees="decisions", kind="minimal", run=_black("hopskipjump"),
               budget=lambda params: (params.queries, 1)),
        Attack(name="draws", title="Single and random changes", norms=frozenset(Norm),
               sees="decisions", kind="search", run=_black("draws"),
               budget=lambda params: (params.queries, 1), tables=True, aims=True,
               changes_codes=True),
        Attack(name="transfer", title="Transfer", norms=_CONVEX, sees="decisions",
               kind="search", run=_black("transfer"), budget=lambda params: (params.steps, 1),
               aims=True, table_norms=frozenset({Norm.L0}), changes_codes=True),
        Attack(name="trees", title="Tree geometry", norms=frozenset(Norm), sees="trees",
               kind="minimal", run=_late("robreport_plugins.attacks.tree_box", "trees"),
               budget=_once, aims=True, changes_codes=True),
        Attack(name="noise", title="Noise", norms=_CONVEX, sees="decisions", kind="noise",
               run=_black("noise"), budget=lambda params: (1, params.noise_tries)),
    )
}  # fmt: skip

PRESETS: dict[str, tuple[str, ...]] = {
    "default": ("fgsm", "pgd", "apgd-t", "trees", "square", "search", "noise"),
    "autoattack": ("apgd-ce", "apgd-t", "fab", "square"),
    "minimal": ("deepfool", "ddn", "fmn", "fab", "closest"),
    "autoattack-random": ("apgd-ce-eot", "apgd-dlr-eot"),
}
"""Names for several attacks together; those that a model or threat does not admit are left out."""

PUBLISHED: dict[str, tuple[tuple[str, int], ...]] = {
    "autoattack": (("steps", 100), ("restarts", 1), ("queries", 5000)),
    "autoattack-random": (("steps", 100), ("restarts", 1)),
}
"""What the attacks of a preset were published with (Croce and Hein, ICML 2020)."""

LAST_RESORT = ("draws", "transfer", "hopskipjump")
"""What ``default`` means for a model that gives classes and nothing else."""
