"""Requirements on outcomes: what proves, what refutes, and the words for the verdict."""

from __future__ import annotations

import itertools
import re
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robreport.outcome import (
    Computed,
    Failed,
    Outcome,
    Requirement,
    Skipped,
    Status,
    Subject,
)
from robreport.policy import decide_verdict, find_scalar, judge, judge_all, worst_first
from robreport.report.wording import weight
from robreport.requirement import parse_expression, same_name
from robreport.result import Check, Result, Scalar

OPERATORS = (">=", ">", "<=", "<")
BOUNDS = ("exact", "estimate", "upper", "lower")


def _about(name: str = "pgd", model: str | None = "m") -> Subject:
    return Subject(name=name, metric="a.b", model=model, title="", question="", summary="")


def _outcome(scalar: Scalar, checks: tuple[Check, ...] = (), key: str = "acc") -> Computed:
    return Computed(
        about=_about(), result=Result(answer="A.", scalars={key: scalar}, checks=checks)
    )


def _scalar(value: float | None, low: float | None, high: float | None, **rest: Any) -> Scalar:
    return Scalar(value=value, low=low, high=high, n=10, method="Wilson", reason="refused", **rest)


POSITIONS = {
    "above": (0.8, 0.7, 0.9), "below": (0.2, 0.1, 0.3), "across": (0.5, 0.4, 0.6),
    "touches from above": (0.6, 0.5, 0.7), "touches from below": (0.4, 0.3, 0.5),
    "point above": (0.8, None, None), "point below": (0.2, None, None),
    "point on it": (0.5, None, None),
}  # fmt: skip


def _oracle(position: str, operator: str, bound: str, censored: str) -> Status:
    """Decide by asking every value that the truth may have, on a grid around the threshold."""
    value, low, high = POSITIONS[position]
    low, high = (value if low is None else low), (value if high is None else high)
    # the measured quantity lies in [low, high], or beyond when censored
    measured = [i / 100 for i in range(-300, 401) if low * 100 - 1e-6 <= i <= high * 100 + 1e-6]
    if censored == ">":
        measured = [i / 100 for i in range(-300, 401) if i > low * 100 + 1e-6]
    if censored == "<":
        measured = [i / 100 for i in range(-300, 401) if i < high * 100 - 1e-6]
    holds = {">=": lambda t: t >= 0.5, ">": lambda t: t > 0.5,
             "<=": lambda t: t <= 0.5, "<": lambda t: t < 0.5}[operator]  # fmt: skip
    # an upper bound stands for a truth anywhere below it, a lower bound for one anywhere above
    possible = {
        "upper": [i / 100 for i in range(-300, round(max(measured) * 100) + 1)],
        "lower": [i / 100 for i in range(round(min(measured) * 100), 401)],
    }.get(bound, measured)
    if all(map(holds, possible)):
        return Status.PASS
    if not any(map(holds, possible)):
        return Status.FAIL
    # not refuted: the bound itself meets it, whatever the truth behind the bound
    if bound in ("upper", "lower") and all(map(holds, measured)):
        return Status.PASS
    return Status.INCONCLUSIVE


@pytest.mark.parametrize("censored", ["", ">", "<"])
@pytest.mark.parametrize(
    ("position", "operator", "bound"), list(itertools.product(POSITIONS, OPERATORS, BOUNDS))
)
def test_the_truth_table(
    position: str, operator: str, bound: Any, censored: Literal["", ">", "<"]
) -> None:
    value, low, high = POSITIONS[position]
    scalar = _scalar(value, low, high, bound=bound, censored=censored)
    found = judge(parse_expression(f"acc {operator} 0.5"), _outcome(scalar))
    assert found.status is _oracle(position, operator, bound, censored), found.words
    proven = (bound == "upper") == operator.startswith("<")
    if found.status is Status.PASS:
        unproven = bound in ("upper", "lower") and not proven
        assert found.words.startswith("not refuted") == unproven
    if low is None and not censored and bound in ("exact", "estimate"):
        assert "whole interval" not in found.words


def test_robust_accuracy_under_attack_never_proves() -> None:
    scalar = _scalar(0.9, 0.8, 0.95, bound="upper")
    assert judge(parse_expression("acc >= 0.5"), _outcome(scalar)).words == (
        "not refuted by the attacks run"
    )


def test_the_requirement_carries_what_was_observed() -> None:
    scalar = _scalar(0.8, 0.7, 0.9, unit="share")
    found = judge(parse_expression("acc  >= 50 %"), _outcome(scalar))
    assert (found.observed, found.low, found.high, found.n, found.unit) == (
        0.8,
        0.7,
        0.9,
        10,
        "share",
    )
    assert (found.expression, found.threshold, found.threshold_text) == (
        "acc >= 50 %",
        0.5,
        "≥ 50 %",
    )
    assert (found.name, found.model, found.level) == ("pgd", "m", "require")


@pytest.mark.parametrize("level", ["require", "warn"])
@pytest.mark.parametrize(
    ("outcome", "status", "words"),
    [
        (Skipped(about=_about(), reason="no labels"), Status.NOT_RUN, "not run: no labels"),
        (Failed(about=_about(), error="boom"), Status.ERROR, "the metric failed: boom"),
        (_outcome(_scalar(0.9, 0.8, 1.0), key="accu"), Status.ERROR, "Did you mean 'accu'?"),
    ],
)
def test_what_was_not_measured(
    outcome: Outcome, status: Status, words: str, level: Literal["require", "warn"]
) -> None:
    found = judge(parse_expression("acc >= 0.5"), outcome, level)
    assert found.status is status
    assert words in found.words
    assert found.observed is None


def test_refused_values_and_failed_checks_are_inconclusive() -> None:
    refused = _outcome(Scalar(value=None, n=3, reason="too few"))
    found = judge(parse_expression("acc >= 0.5"), refused)
    assert (found.status, found.words) == (Status.INCONCLUSIVE, "refused: too few")
    broken = (Check(name="gradients", passed=False, detail=""),)
    passing = _outcome(_scalar(0.9, 0.8, 1.0), broken)
    assert judge(parse_expression("acc >= 0.5"), passing).status is Status.INCONCLUSIVE
    assert judge(parse_expression("acc >= 0.95"), passing).status is Status.INCONCLUSIVE
    assert judge(parse_expression("acc <= 0.5"), passing).status is Status.FAIL
    nothing = (Check(name="the output is deterministic", passed=False, detail="", vital=True),)
    for text in ("acc >= 0.5", "acc <= 0.5"):
        found = judge(parse_expression(text), _outcome(_scalar(0.9, 0.8, 1.0), nothing))
        assert found.status is Status.INCONCLUSIVE
        assert "the output is deterministic" in found.words


@pytest.mark.parametrize(("low", "status"), [(0.6, "pass"), (0.4, "warn"), (0.1, "warn")])
def test_a_wish_that_is_not_met_is_a_warning(low: float, status: str) -> None:
    scalar = _scalar(low + 0.1, low, low + 0.2)
    assert judge(parse_expression("acc > 0.5"), _outcome(scalar), "warn").status == status


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a[linf, 8/255]", "a[linf,8/255]", True), ("a[0.1]", "a[0.10]", True),
        ("a[1/10]", "a[0.1]", True), ("a[8/255]", "a[0.031]", False), ("a[x]", "a[y]", False),
        ("a[x]", "a[x, y]", False), ("a", "b", False), ("a[1e999999999]", "a[1]", False),
    ],
)  # fmt: skip
def test_facets_are_equal_as_text_or_as_numbers(one: str, other: str, same: bool) -> None:
    assert same_name(one, other) is same


def test_a_scalar_of_exactly_that_name_comes_first() -> None:
    scalars = {"a[0.10]": _scalar(1, 0, 1), "a[0.1]": _scalar(2, 0, 2)}
    found = find_scalar(Result(answer="A.", scalars=scalars), "a[0.1]")
    assert found is not None
    assert found.value == 2


@pytest.mark.parametrize(
    ("text", "threshold", "shown"),
    [
        ("a >= 0.5", 0.5, "≥ 0.5"), ("a<5%", 0.05, "< 5 %"), ("a > 99.9 %", 0.999, "> 99.9 %"),
        ("a[b,c] <= 1/3", 1 / 3, "≤ 1/3"), ("a>-1e-3", -1e-3, "> -1e-3"), ("a > 8 / 255", 8 / 255,
         "> 8 / 255"), ("a < 8/255 %", 8 / 25500, "< 8/255 %"),
    ],
)  # fmt: skip
def test_expressions(text: str, threshold: float, shown: str) -> None:
    found = parse_expression(text)
    assert found.threshold == threshold
    assert found.shown == shown


@pytest.mark.parametrize(
    "text", ["", "a", "a == 1", "a > ", "a > x", "a > 1/0", "A > 1", "a[] > 1", "a > 1e999",
             "a > 1e999999999", "a > nan", "a >= 1 and b > 2", "a > 1 %%"],
)  # fmt: skip
def test_no_expression(text: str) -> None:
    with pytest.raises(ValueError, match=r"form|number"):
        parse_expression(text)


@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_one_error(text: str) -> None:
    said = ""
    try:
        said = f"a threshold of {parse_expression(text).threshold}"
    except ValueError as error:
        said = str(error)
    assert said
    assert "threshold of inf" not in said


def test_requirements_are_judged_on_every_model_in_order() -> None:
    outcomes = [
        Computed(about=_about(model=model), result=Result(answer="A.", scalars={"acc": scalar}))
        for model, scalar in (("m", _scalar(0.9, 0.8, 1.0)), ("o", _scalar(0.1, 0.0, 0.2)))
    ]
    declared = {"pgd": ([parse_expression("acc >= 0.5")], [parse_expression("acc >= 0.85")])}
    found = judge_all([*outcomes, Skipped(about=_about("other"), reason="x")], declared)
    assert [(r.model, r.level, r.status) for r in found] == [
        ("m", "require", "pass"), ("m", "warn", "warn"), ("o", "require", "fail"),
        ("o", "warn", "warn"),
    ]  # fmt: skip
    assert [r.status for r in worst_first(found)] == ["fail", "warn", "warn", "pass"]


def _requirement(
    status: Status, level: Any = "require", name: str = "pgd", words: str = ""
) -> Requirement:
    return Requirement(
        expression="acc >= 0.5", name=name, model="m", level=level, scalar="acc", operator=">=",
        threshold=0.5, threshold_text="≥ 0.5", status=status, words=words,
        allowed=name == "loose" and status in (Status.ERROR, Status.NOT_RUN),
    )  # fmt: skip


COMPUTED = _outcome(_scalar(0.9, 0.8, 1.0))
BINDING = (Status.PASS, Status.FAIL, Status.INCONCLUSIVE, Status.ERROR, Status.NOT_RUN)


@given(
    st.lists(st.tuples(st.sampled_from(BINDING), st.booleans(), st.booleans()), max_size=6),
    st.lists(st.sampled_from((Status.PASS, Status.WARN, Status.ERROR, Status.NOT_RUN)), max_size=3),
    st.lists(st.sampled_from(("computed", "failed", "skipped")), max_size=4),
    st.booleans(),
)
def test_the_sentence_never_contradicts_the_counts(
    binding: list[tuple[Status, bool, bool]], wishes: list[Status], ran: list[str], stopped: bool
) -> None:
    requirements = [
        _requirement(
            status, name="loose" if loose else "strict",
            words="not refuted by the attacks run" if unproven and status is Status.PASS else "",
        )
        for status, loose, unproven in binding
    ] + [_requirement(status, "warn") for status in wishes]  # fmt: skip
    kinds: dict[str, Outcome] = {
        "computed": COMPUTED, "failed": Failed(about=_about(), error="x"),
        "skipped": Skipped(about=_about(), reason="x"),
    }  # fmt: skip
    outcomes = [kinds[word] for word in ran]
    verdict = decide_verdict(requirements, outcomes, interrupted=stopped)
    sentence = verdict.sentence
    missing = (Status.ERROR, Status.NOT_RUN)
    excused = sum(s in missing and loose for s, loose, _ in binding)
    counts = {
        s: sum(found is s and not (loose and s in missing) for found, loose, _ in binding)
        for s in BINDING
    }
    total = len(binding)

    def said(pattern: str) -> int:
        match = re.search(pattern, sentence)
        return int(match[1]) if match else 0

    assert said(r"(\d+) warnings? stands?\.") == sum(s is Status.WARN for s in wishes)
    assert said(r"(\d+) warnings? could not be judged\.") == sum(s in missing for s in wishes)
    assert said(r"(\d+) measurements? failed to run\.") == ran.count("failed")
    assert ("interrupted" in sentence) == stopped
    assert not re.search(r"\b1 (warnings|requirements|measurements|are|were)\b", sentence)
    assert not re.search(
        r"\b(?:0|[2-9]|\d\d) (warning|requirement|measurement|is)\b(?!s)", sentence
    )
    assert sentence.endswith(".")
    assert sentence[0].isdigit()
    if not binding:
        assert said(r"^(\d+) of \d+ measurements? ran") == ran.count("computed")
        assert said(r"^\d+ of (\d+) measurement") == len(ran)
        assert verdict.status in (Status.ERROR, Status.WARN, Status.INFO)
        return
    assert said(r"^\d+ of (\d+) requirement") == total
    if counts[Status.FAIL] + counts[Status.ERROR] + counts[Status.NOT_RUN]:
        assert verdict.status is Status.FAIL
        for status, words in ((Status.FAIL, "failed"), (Status.ERROR, "could not be measured"),
                              (Status.NOT_RUN, "did not run")):  # fmt: skip
            head = sentence.split(".")[0]
            match = re.search(rf"(\d+)(?: of \d+ requirements?)? {words}", head)
            assert (int(match[1]) if match else 0) == counts[status]
        assert said(r"(\d+) (?:is|are) inconclusive") == counts[Status.INCONCLUSIVE]
    elif counts[Status.INCONCLUSIVE]:
        assert verdict.status is Status.INCONCLUSIVE
        assert said(r"^(\d+) of \d+ requirements? (?:is|are) inc") == counts[Status.INCONCLUSIVE]
        assert said(r"; (\d+) could not be judged, which") == excused
    elif counts[Status.PASS]:
        assert verdict.status is (Status.WARN if Status.WARN in wishes else Status.PASS)
        assert said(r"^(\d+) of \d+ requirements? (?:is|are) met") == counts[Status.PASS]
        assert said(r"; (\d+) could not be judged, which") == excused
        unproven = sum(s is Status.PASS and bare for s, _, bare in binding)
        assert said(r"(\d+) of them (?:is|are) only not refuted") == unproven
    else:
        assert verdict.status is Status.NOT_RUN
        assert said(r"^(\d+) of \d+ requirements? could be judged") == 0
        assert excused == total


@pytest.mark.parametrize(
    ("statuses", "sentence"),
    [
        ([Status.PASS], "1 of 1 requirement is met."),
        ([Status.PASS] * 2, "2 of 2 requirements are met."),
        ([Status.FAIL], "1 of 1 requirement failed."),
        ([Status.FAIL, Status.PASS, Status.ERROR, Status.INCONCLUSIVE],
         "1 of 4 requirements failed, 1 could not be measured and 1 is inconclusive."),
        ([Status.NOT_RUN, Status.INCONCLUSIVE, Status.INCONCLUSIVE],
         "1 of 3 requirements did not run and 2 are inconclusive."),
        ([Status.INCONCLUSIVE],
         "1 of 1 requirement is inconclusive: the evidence does not decide it."),
        ([Status.INCONCLUSIVE] * 2 + [Status.PASS],
         "2 of 3 requirements are inconclusive: the evidence does not decide them."),
    ],
)  # fmt: skip
def test_sentences(statuses: list[Status], sentence: str) -> None:
    assert decide_verdict([_requirement(s) for s in statuses], [COMPUTED]).sentence == sentence


def test_missing_measurements_with_leave() -> None:
    lost = Failed(about=_about("loose"), error="x")
    loose = [_requirement(Status.ERROR, name="loose")]
    found = decide_verdict([_requirement(Status.PASS), *loose], [COMPUTED, lost])
    assert found.status is Status.PASS
    assert found.sentence == (
        "1 of 2 requirements is met; 1 could not be judged, which its entry allows."
        " 1 measurement failed to run."
    )
    left_out = Skipped(about=_about("loose"), reason="x")
    loose = [_requirement(Status.NOT_RUN, name="loose")]
    found = decide_verdict(loose, [left_out])
    assert found.status is Status.NOT_RUN
    assert "0 of 1 requirement could be judged; 1 could not" in found.sentence
    failed = decide_verdict([_requirement(Status.FAIL, name="loose")], [COMPUTED])
    assert failed.status is Status.FAIL


def test_leave_marks_what_has_no_result() -> None:
    written = {name: ([parse_expression("acc >= 0.5")], []) for name in ("loose", "strict")}
    outcomes = [
        Failed(about=_about("loose"), error="x"),
        Skipped(about=_about("loose"), reason="x"),
        Skipped(about=_about("strict"), reason="x"),
        COMPUTED,
    ]
    found = judge_all(outcomes, written | {"pgd": written["loose"]}, frozenset({"loose", "pgd"}))
    assert [r.allowed for r in found] == [True, True, False, False]
    early = sorted([*found, _requirement(Status.FAIL), _requirement(Status.WARN, "warn")],
                   key=weight)  # fmt: skip
    assert [r.status for r in early] == [
        Status.FAIL, Status.NOT_RUN, Status.ERROR, Status.NOT_RUN, Status.WARN, Status.PASS,
    ]  # fmt: skip
    assert not early[1].allowed


def test_leave_to_be_missing_is_none_for_a_misspelt_scalar() -> None:
    written = [parse_expression("acc >= 0.5"), parse_expression("aca >= 0.5")]
    requirements = judge_all([COMPUTED], {"pgd": (written, [])}, frozenset({"pgd"}))
    assert [r.status for r in requirements] == [Status.PASS, Status.ERROR]
    found = decide_verdict(requirements, [COMPUTED])
    assert found.status is Status.FAIL
