"""What an attacker may do: norm, perturbation budgets, knowledge and goal."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from robreport.errors import printable

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_LONGEST_NUMBER = 64
# beyond it a change, or its square, is no float32
_LARGEST_EPS = 1e30


def parse_number(text: str, per: int = 1) -> float:
    """Return the number that ``"0.1"``, ``"1e-3"`` or ``"8/255"`` stands for, rounded once.

    `per` divides it, so that 99.9 % (per 100) and 0.999 are the same number.

    Raises
    ------
    ValueError
        Not of that form, divided by zero, or not finite. Long texts and large exponents are
        refused before they are computed: ``1e999999999`` would fill the memory.
    """
    above, slash, below = (part.strip() for part in text.partition("/"))
    for part in (above, below) if slash else (above,):
        if len(part) > _LONGEST_NUMBER or not _NUMBER.fullmatch(part):
            raise ValueError(f"{text[:_LONGEST_NUMBER]!r} is not a number")
    try:
        # a quotient of fractions is rounded once, so 8/255 and "8/255" are the same float
        value = float(Fraction(above) / (Fraction(below if slash else 1) * per))
    except (ZeroDivisionError, OverflowError):
        value = math.inf
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value


class Norm(StrEnum):
    """The norm that a perturbation is measured in."""

    L0 = "L0"
    L1 = "L1"
    L2 = "L2"
    Linf = "Linf"

    @property
    def order(self) -> float:
        """The p of the norm; infinity for Linf."""
        return {"L0": 0.0, "L1": 1.0, "L2": 2.0, "Linf": math.inf}[self.value]

    @property
    def dual(self) -> Norm:
        """The norm q with 1/p + 1/q = 1.

        Raises
        ------
        ValueError
            L0 is no norm and has no dual.
        """
        if self is Norm.L0:
            raise ValueError("L0 has no dual norm")
        return {Norm.L1: Norm.Linf, Norm.L2: Norm.L2, Norm.Linf: Norm.L1}[self]

    @property
    def symbol(self) -> str:
        """How documents write it: L₀, L₁, L₂, L∞."""
        return {"L0": "L₀", "L1": "L₁", "L2": "L₂", "Linf": "L∞"}[self.value]


@dataclass(frozen=True, slots=True, order=True)
class Eps:
    """A perturbation budget in input units, with the text that the spec gave it.

    ``value`` is what is computed with; ``text`` is what names and documents show ("8/255").
    """

    value: float
    text: str

    def __str__(self) -> str:
        return self.text


def parse_eps(given: object) -> Eps:
    """Return the budget that ``0.1``, ``"0.1"`` or ``"8/255"`` stands for.

    Raises
    ------
    ValueError
        Not a number or fraction, not finite, negative, or beyond 1e30.
    """
    try:
        if isinstance(given, bool) or not isinstance(given, str | float | int):
            raise ValueError("neither text nor number")
        text = "/".join(part.strip() for part in str(given).split("/"))
        value = parse_number(text)
    except ValueError:
        raise ValueError(
            f"eps must be a finite number or a fraction such as '8/255', found {_shown(given)}"
        ) from None
    if value < 0:
        raise ValueError(f"eps must not be negative, found {given!r}")
    if value > _LARGEST_EPS:
        raise ValueError(f"eps must be at most {_LARGEST_EPS:g}, found {given!r}")
    # -0.0 and 0 are one budget
    return Eps(value + 0.0, text)


def _shown(given: object) -> str:
    try:
        return printable(repr(given), 80)
    except ValueError:  # a whole number with more digits than Python writes out
        return f"a {type(given).__name__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatModel:
    """A named set of budgets in one norm, the attacker's knowledge and goal, and what holds.

    ``bounds`` are those of the data (per feature for tables); a perturbed input stays inside.
    The constraints are about tables, and name columns:

    - ``scale``: in which units a budget is: those of the data ("none"), or each column's standard
      deviation ("std") or range ("range") in the training split, in the test split without one.
    - ``frozen``: columns that stay as they are, beside those that the data's schema freezes.
    - ``increase``, ``decrease``: columns that may move in this direction only.
    - ``integer``: columns that hold whole numbers only, beside those of the data's schema.
    - ``one_hot``: groups of columns of which exactly one is 1 and the others 0. A group is one
      feature: changing it has size 1, like changing the code of a categorical column.
    """

    name: str
    norm: Norm
    eps: tuple[Eps, ...]
    knowledge: str = "white box"
    goal: str = "untargeted"
    scale: str = "none"
    frozen: tuple[str, ...] = ()
    increase: tuple[str, ...] = ()
    decrease: tuple[str, ...] = ()
    integer: tuple[str, ...] = ()
    one_hot: tuple[tuple[str, ...], ...] = ()

    @property
    def constrained(self) -> bool:
        """Whether it asks more than norm and budgets."""
        named = (self.frozen, self.increase, self.decrease, self.integer, self.one_hot)
        return self.scale != "none" or any(named)
