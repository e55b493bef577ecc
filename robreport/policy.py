"""Requirements to statuses and the verdict, with the words for them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from robreport.errors import unknown_word
from robreport.outcome import Computed, Failed, Outcome, Requirement, Skipped, Status, Verdict
from robreport.requirement import Expression, same_name
from robreport.result import Result, Scalar

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_UNPROVEN = {
    "upper": "not refuted by the attacks run",
    "lower": "not refuted by the bound computed",
}
_WORST_FIRST = (
    Status.FAIL, Status.ERROR, Status.NOT_RUN, Status.INCONCLUSIVE, Status.WARN, Status.PASS,
    Status.INFO,
)  # fmt: skip


def judge(
    expression: Expression,
    outcome: Outcome,
    level: Literal["require", "warn"] = "require",
    *,
    may_lack: bool = False,
) -> Requirement:
    """Return how one requirement stands on one outcome.

    `may_lack` gives leave for a metric that failed or did not run; not for a scalar that a
    metric which ran did not return: a misspelt requirement must not pass.
    """
    scalar: Scalar | None = None
    if isinstance(outcome, Skipped):
        status, words = Status.NOT_RUN, f"not run: {outcome.reason}"
    elif isinstance(outcome, Failed):
        status, words = Status.ERROR, f"the metric failed: {outcome.error}"
    else:
        scalar = find_scalar(outcome.result, expression.scalar)
        if scalar is None:
            message, hint = unknown_word("scalar", expression.scalar, outcome.result.scalars)
            status, words = Status.ERROR, f"{message} {hint}".strip()
        else:
            status, words = _decide(expression, scalar)
            broken = [
                check.name
                for check in outcome.result.checks
                if not check.passed and (status is Status.PASS or check.vital)
            ]
            if status in (Status.PASS, Status.FAIL) and broken:
                status = Status.INCONCLUSIVE
                words = f"the measurement failed its own check: {', '.join(broken)}"
    if level == "warn" and status in (Status.FAIL, Status.INCONCLUSIVE):
        status = Status.WARN
    return Requirement(
        expression=expression.text,
        name=outcome.about.name,
        model=outcome.about.model,
        level=level,
        scalar=expression.scalar,
        operator=expression.operator,
        threshold=expression.threshold,
        threshold_text=expression.shown,
        status=status,
        words=words,
        observed=scalar.value if scalar else None,
        low=scalar.low if scalar else None,
        high=scalar.high if scalar else None,
        n=int(scalar.n) if scalar else None,
        unit=scalar.unit if scalar else "",
        allowed=may_lack and not isinstance(outcome, Computed),
    )


def find_scalar(result: Result, name: str) -> Scalar | None:
    """Return the scalar of that name, facets compared as numbers where they are numbers."""
    for same in (lambda known: known == name, lambda known: same_name(known, name)):
        for known, scalar in result.scalars.items():
            if same(known):
                return scalar
    return None


def _decide(expression: Expression, scalar: Scalar) -> tuple[Status, str]:
    if scalar.value is None:
        return Status.INCONCLUSIVE, f"refused: {scalar.reason}"
    low = scalar.value if scalar.low is None else scalar.low
    high = scalar.value if scalar.high is None else scalar.high
    # beyond a censored value lies the truth, however far, but not on the value itself
    if scalar.censored == ">":
        low, high = max(low, math.nextafter(low, math.inf)), math.inf
        by = f"the true value, above {scalar.value:.6g}"
    elif scalar.censored == "<":
        low, high = -math.inf, math.nextafter(high, -math.inf)
        by = f"the true value, below {scalar.value:.6g}"
    elif scalar.low is None:
        by = f"the value, which has no interval ({scalar.reason})"
    else:
        by = "the whole interval"
    meets = _COMPARE[expression.operator]
    worst, best = (low, high) if expression.wants_more else (high, low)
    met, refuted = meets(worst, expression.threshold), not meets(best, expression.threshold)
    # an upper bound can refute "at least" and prove "at most"; a lower bound the reverse
    proves = scalar.bound in ("exact", "estimate") or (
        (scalar.bound == "lower") == expression.wants_more
    )
    refutes = scalar.bound in ("exact", "estimate") or not proves
    if met:
        if proves:
            return Status.PASS, f"met by {by}"
        return Status.PASS, _UNPROVEN[scalar.bound]
    if refuted and refutes:
        return Status.FAIL, f"missed by {by}"
    if refuted:
        return Status.INCONCLUSIVE, f"the {scalar.bound} bound does not decide it"
    if scalar.censored:
        return Status.INCONCLUSIVE, f"not decided by {by}"
    return Status.INCONCLUSIVE, "the interval holds the threshold"


def judge_all(
    outcomes: Iterable[Outcome],
    declared: Mapping[str, tuple[Sequence[Expression], Sequence[Expression]]],
    allow_missing: frozenset[str] = frozenset(),
) -> tuple[Requirement, ...]:
    """Judge every outcome against its entry's (require, warn) expressions, in order."""
    found: list[Requirement] = []
    for outcome in outcomes:
        require, warn = declared.get(outcome.about.name, ((), ()))
        leave = outcome.about.name in allow_missing
        found += [judge(one, outcome, "require", may_lack=leave) for one in require]
        found += [judge(one, outcome, "warn", may_lack=leave) for one in warn]
    return tuple(found)


def decide_verdict(
    requirements: Sequence[Requirement],
    outcomes: Sequence[Outcome],
    *,
    interrupted: bool = False,
) -> Verdict:
    """Return the verdict and the sentence that states why.

    A metric with a requirement that failed or did not run fails the audit, unless its entry
    allows that.
    """
    binding = [r for r in requirements if r.level == "require"]
    counts = {
        status: sum(r.status is status and not r.allowed for r in binding) for status in Status
    }
    bad = {s: counts[s] for s in (Status.FAIL, Status.ERROR, Status.NOT_RUN) if counts[s]}
    inconclusive = counts[Status.INCONCLUSIVE]
    passed = counts[Status.PASS]
    missing = len(binding) - sum(counts.values())
    warned = sum(r.status is Status.WARN for r in requirements)
    unjudged = sum(
        r.level == "warn" and r.status in (Status.ERROR, Status.NOT_RUN) for r in requirements
    )
    failed = sum(isinstance(o, Failed) for o in outcomes)
    tail = _tail(warned, unjudged, failed, interrupted)
    if not binding:
        count = sum(isinstance(o, Computed) for o in outcomes)
        status = Status.ERROR if failed else Status.WARN if warned else Status.INFO
        sentence = (
            f"{count} of {_count(len(outcomes), 'measurement')} ran; no requirement was declared, "
            f"so nothing was decided.{tail}"
        )
        return Verdict(status=status, headline="No requirement declared", sentence=sentence)
    total = _count(len(binding), "requirement")
    if bad:
        sentence = f"{_listed(bad, inconclusive, total)}.{tail}"
        return Verdict(status=Status.FAIL, headline="Requirements not met", sentence=sentence)
    if inconclusive:
        verb = "is" if inconclusive == 1 else "are"
        sentence = (
            f"{inconclusive} of {total} {verb} inconclusive: the evidence does not decide "
            f"{'it' if inconclusive == 1 else 'them'}{_allowed(missing)}.{tail}"
        )
        return Verdict(
            status=Status.INCONCLUSIVE, headline="Requirements not decided", sentence=sentence
        )
    if passed == 0:
        return Verdict(
            status=Status.NOT_RUN,
            headline="Nothing decided",
            sentence=f"0 of {total} could be judged{_allowed(missing)}.{tail}",
        )
    unproven = sum(r.status is Status.PASS and r.words in _UNPROVEN.values() for r in binding)
    caution = (
        f" {unproven} of them {'is' if unproven == 1 else 'are'} only not refuted: what was "
        "measured could refute, not prove."
        if unproven
        else ""
    )
    return Verdict(
        status=Status.WARN if warned else Status.PASS,
        headline="Requirements met" if not warned else "Requirements met, with warnings",
        sentence=f"{passed} of {total} {'is' if passed == 1 else 'are'} met{_allowed(missing)}."
        f"{caution}{tail}",
    )


def worst_first(requirements: Iterable[Requirement]) -> list[Requirement]:
    """Return the requirements from the worst status to the best, else in order."""
    return sorted(requirements, key=lambda r: _WORST_FIRST.index(r.status))


def _allowed(missing: int) -> str:
    """Words for the requirements that nothing was measured for, with their entry's leave."""
    if not missing:
        return ""
    return f"; {missing} could not be judged, which {'its' if missing == 1 else 'their'} " + (
        f"{'entry allows' if missing == 1 else 'entries allow'}"
    )


def _listed(bad: Mapping[Status, int], inconclusive: int, total: str) -> str:
    words = {
        Status.FAIL: "failed",
        Status.ERROR: "could not be measured",
        Status.NOT_RUN: "did not run",
    }
    parts = [f"{count} {words[status]}" for status, count in bad.items()]
    first = next(iter(bad))
    parts[0] = f"{bad[first]} of {total} {words[first]}"
    if inconclusive:
        parts.append(f"{inconclusive} {'is' if inconclusive == 1 else 'are'} inconclusive")
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _tail(warned: int, unjudged: int, failed: int, interrupted: bool) -> str:
    text = ""
    if warned:
        text += f" {_count(warned, 'warning')} stand{'s' if warned == 1 else ''}."
    if unjudged:
        text += f" {_count(unjudged, 'warning')} could not be judged."
    if failed:
        text += f" {_count(failed, 'measurement')} failed to run."
    if interrupted:
        text += " The audit was interrupted: what had not finished is missing."
    return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
