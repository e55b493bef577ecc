"""The text of a drafted audit.toml: every line says where it came from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from robreport.drafting.draft import Draft, DraftModel
from robreport.drafting.survey import THREAT, Survey
from robreport.drafting.toml_text import assignment, comment, commented
from robreport.plugins import AnyMetric, Registry
from robreport.result import facets

SCHEMA_FILE = "audit.schema.json"
_MORE_IS_BETTER = ("accuracy", "auc", "f1", "precision", "recall", "r2", "certified", "stable")


def draft_text(draft: Draft, survey: Survey, registry: Registry) -> str:
    """Return audit.toml."""
    budgets, why = _budgets(survey)
    blocks = [
        _head(draft, survey),
        *(_model(model, survey) for model in draft.models),
        _data(draft, survey),
        *_splits(draft),
        _threat(budgets, why),
        *_metrics(survey, registry, budgets),
        _tail(),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _head(draft: Draft, survey: Survey) -> list[str]:
    unready = survey.problems or any(model.guess.missing for model in draft.models)
    runs = "It does not run yet: see below." if unready else "It runs as it is."
    return [
        f"#:schema ./{SCHEMA_FILE}",
        *comment(
            f"Drafted by robreport init. {runs} What was guessed says so, and what only you can "
            "say stands in comments. The first line lets editors complete and check it."
        ),
        "",
        "[audit]",
        *assignment("title", draft.title),
        "seed = 0  # every random choice follows from it",
        'status = "draft"',
        *commented(
            [
                'prepared_by = "NAME"',
                'purpose = "What the audit is to decide."',
                'out_of_scope = "What it says nothing about."',
            ]
        ),
        'output = "audit"  # the run folder, beside this file',
    ]


def _model(model: DraftModel, survey: Survey) -> list[str]:
    guess = model.guess
    lines = comment(f"{model.path.rpartition('/')[2]}: {guess.kind}.")
    lines += [line for note in guess.notes for line in comment(note)]
    if model.trusted:
        lines += comment(f"trusted = true was asked for: {guess.trust}.")
    problem = next((p for p in survey.problems if p.startswith(f"models.{model.name}:")), "")
    if problem:
        lines += comment(f"It cannot be used yet: {problem.partition(': ')[2]}")
    lines.append("[[models]]")
    for key, value in model.entry().items():
        lines += assignment(key, value)
    for key, words in guess.missing.items():
        lines += comment(f"Needed before it runs: {words}")
        lines += commented(assignment(key, ""))
    return lines


def _data(draft: Draft, survey: Survey) -> list[str]:
    data = draft.data
    lines = [line for kind in data.kinds for line in comment(f"{kind}.")]
    lines += [line for note in data.notes for line in comment(note)]
    lines.append("[data]")
    table = data.table()
    for key, value in table.items():
        if key not in data.splits:
            lines += assignment(key, value)
    bounds = survey.bounds
    if bounds is None:
        lines += comment("bounds: attacks stay inside, such as [0.0, 1.0]; the data did not load.")
        return lines
    per_column = isinstance(bounds[0], list)
    lines += comment(
        "The range of the data, rounded outwards"
        + (", in the order of the columns. " if per_column else ". ")
        + "Attacks stay inside, and data outside is refused: widen it to what can occur."
    )
    return [*lines, *assignment("bounds", bounds)]


def _splits(draft: Draft) -> Iterable[list[str]]:
    words = {
        "train": "# members: what the models were trained on",
        "test": "# what they have not seen",
    }
    for role, keys in draft.data.splits.items():
        lines = [f"[data.{role}]  {words.get(role, '')}".rstrip()]
        for key, value in keys.items():
            lines += assignment(key, value)
        yield lines


def _budgets(survey: Survey) -> tuple[list[str | float], str]:
    """Return budgets for the largest change of one feature, and why these."""
    if survey.low is None or survey.high is None or survey.schema is None:
        return [0.1], "The data did not load, so this is a placeholder: choose it in its units."
    if survey.schema.layout == "image" and survey.low.min() >= 0 and survey.high.max() <= 1:
        return ["2/255", "8/255"], (
            "Pictures in [0, 1]: 2/255 is below what the eye sees, 8/255 is the size that most "
            "studies take. Choose what an attacker could really do."
        )
    fixed = {*survey.schema.categories, *survey.schema.frozen}
    names = survey.schema.features or tuple(str(i) for i in range(len(survey.low)))
    span = survey.high - survey.low
    widths = {n: float(w) for n, w in zip(names, span, strict=False) if n not in fixed and w > 0}
    if not widths:
        return [0.1], "No column varies that an attack could change: choose it in their units."
    order = sorted(widths, key=lambda name: widths[name])
    narrow, middle, wide = order[0], order[len(order) // 2], order[-1]
    budgets: list[str | float] = [float(f"{share * widths[middle]:.1g}") for share in (0.01, 0.05)]
    why = (
        f"A placeholder in the units of the data: about 1 % and 5 % of the range of a typical "
        f"column ({middle!r}, {widths[middle]:.3g})."
    )
    if widths[wide] > 20 * widths[narrow]:
        why += (
            f" One number is meant for all columns, and theirs differ: {budgets[-1]:g} is "
            f"{_percent(budgets[-1], widths[narrow])} of the range of {narrow!r} and "
            f"{_percent(budgets[-1], widths[wide])} of that of {wide!r}. Put columns that no "
            "attacker can change into schema.frozen, or audit a model of scaled columns."
        )
    else:
        why += " Choose what an attacker could really do, or what measuring errors amount to."
    return budgets, why


def _percent(part: float | str, whole: float) -> str:
    return f"{100 * float(part) / whole:.2g} %"


def _threat(budgets: list[str | float], why: str) -> list[str]:
    return [
        *comment(why),
        f"[threats.{THREAT}]",
        'norm = "Linf"  # each feature may change by at most eps',
        *assignment("eps", budgets),
    ]


def _metrics(survey: Survey, registry: Registry, budgets: list[str | float]) -> Iterable[list[str]]:
    first = True
    for identity, remark in survey.runs.items():
        metric = registry.metrics[identity]
        lines = comment(metric.question)
        if remark:
            lines += comment(f"{remark[:1].upper()}{remark[1:]}.".replace("..", "."))
        lines += ["[[metrics]]", *assignment("id", identity)]
        norms = getattr(metric, "norms", ())
        takes = getattr(metric, "threats", "none")
        threatened = takes != "none" and (not norms or "Linf" in norms)
        if threatened:
            lines += assignment("threats", [THREAT])
        example = _example(metric, threatened, budgets[0])
        if example and first:
            lines += comment(
                "What must hold is yours to say, and best said before the numbers are known. It "
                "is judged on the whole interval; without it the number is shown and not judged."
            )
        if example:
            first = False
            lines += commented(assignment("require", [example]))
        if remark and example and remark.startswith("not for"):
            lines += commented(["allow_missing = true  # with require, where it cannot run"])
        yield lines
    if survey.skips:
        yield [
            line
            for identity, reason in sorted(survey.skips.items())
            for line in comment(f"Left out: {identity} {reason}.".replace("..", "."))
        ]


def _example(metric: AnyMetric, threatened: bool, eps: str | float) -> str:
    """Return a requirement as it could stand there: the first scalar with facets that are known."""
    known: dict[str, Any] = {"threat": THREAT, "eps": eps} if threatened else {}
    fitting = [
        (base, parts)
        for base, parts in map(facets, metric.scalar_help)
        if all(part in known for part in parts)
    ]
    if not fitting:
        return ""
    # what names the threat says more of such a metric than what does not
    base, parts = max(fitting, key=lambda pair: len(pair[1]))
    inside = f"[{', '.join(str(known[part]) for part in parts)}]" if parts else ""
    # a class does not say which way a scalar is better: names do, mostly
    sign = ">=" if any(word in base for word in _MORE_IS_BETTER) else "<="
    return f"{base}{inside} {sign} NUMBER"


def _tail() -> list[str]:
    return [
        "[report]",
        'formats = ["html", "pdf"]',
        "",
        "[execution]",
        "threads = 1  # of each measurement; part of what decides a number",
        'timeout = "2h"  # of one measurement',
    ]
