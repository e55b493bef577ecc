"""What a requirement says: a scalar, a comparison and a threshold, parsed from its text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from robreport.result import facets
from robreport.threat import parse_number

_EXPRESSION = re.compile(
    r"\s*(?P<name>[a-z][a-z0-9_]*(?:\[[^\[\]]+\])?)\s*(?P<operator>>=|<=|>|<)\s*"
    r"(?P<threshold>[-+0-9.eE]+(?:\s*/\s*[-+0-9.eE]+)?)\s*(?P<percent>%?)\s*"
)
_SIGN = {">=": "≥", "<=": "≤", ">": ">", "<": "<"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A parsed requirement: ``robust_accuracy[linf, 8/255] >= 0.5``."""

    text: str
    scalar: str
    operator: str
    threshold: float
    threshold_text: str

    @property
    def wants_more(self) -> bool:
        """True for >= and >."""
        return self.operator.startswith(">")

    @property
    def shown(self) -> str:
        """Operator and threshold as documents write them: "≥ 0.5"."""
        return f"{_SIGN[self.operator]} {self.threshold_text}"


def parse_expression(text: str) -> Expression:
    """Parse a requirement such as ``clean_accuracy >= 0.98`` or ``tpr_at_fpr[lira, 0.01] < 5 %``.

    Raises
    ------
    ValueError
        Not of that form, or the threshold is not a finite number.
    """
    match = _EXPRESSION.fullmatch(text)
    if not match:
        raise ValueError(
            f"{text!r} is not of the form 'scalar >= number' (with >=, <=, > or <), such as "
            "'robust_accuracy[linf, 8/255] >= 0.5'"
        )
    written = match["threshold"]
    try:
        threshold = parse_number(written, per=100 if match["percent"] else 1)
    except ValueError as error:
        raise ValueError(f"{error}, in {text!r}") from None
    name = canonical(match["name"])
    return Expression(
        text=" ".join(text.split()),
        scalar=name,
        operator=match["operator"],
        threshold=threshold,
        threshold_text=f"{written} %" if match["percent"] else written,
    )


def schema_pattern(scalars: Iterable[str] = ()) -> str:
    """Return a pattern of JSON Schema (ECMA-262) for requirements on these scalars, or on any.

    `scalars` are names as a metric's ``scalar_help`` has them: a facet's name stands for any value.
    """
    number = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?"
    facet = r"[^,\[\]]+"
    forms = sorted({(base, len(parts)) for base, parts in map(facets, scalars)})
    names = [
        base + (rf"\[{','.join([facet] * count)}\]" if count else "") for base, count in forms
    ] or [r"[a-z][a-z0-9_]*(\[[^\[\]]+\])?"]
    return rf"^\s*({'|'.join(names)})\s*(>=|<=|>|<)\s*{number}(\s*/\s*{number})?\s*%?\s*$"


def canonical(name: str) -> str:
    """Return a scalar's name with one space after each comma and none elsewhere."""
    base, parts = facets(name)
    return f"{base}[{', '.join(parts)}]" if parts else base


def same_name(one: str, other: str) -> bool:
    """Whether two scalar names mean the same: facets equal as text or as numbers."""
    base, parts = facets(one)
    base2, parts2 = facets(other)
    return (
        base == base2
        and len(parts) == len(parts2)
        and all(a == b or (_number(a) is not None and _number(a) == _number(b))
                for a, b in zip(parts, parts2, strict=True))
    )  # fmt: skip


def _number(text: str) -> float | None:
    try:
        return parse_number(text)
    except ValueError:
        return None
