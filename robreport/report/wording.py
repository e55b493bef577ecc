"""The words that documents put around what was measured, and the names they give things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from robreport.outcome import Computed, Failed, Outcome, Requirement, Skipped, Status
from robreport.result import Scalar, facets
from robreport.threat import Norm

LABEL = "Robustness and privacy audit"

WORST_FIRST = (
    Status.FAIL, Status.ERROR, Status.NOT_RUN, Status.INCONCLUSIVE, Status.WARN, Status.PASS,
    Status.INFO,
)  # fmt: skip

SEVERITIES = ("high", "medium", "low")

STATUS_HELP: Mapping[Status, str] = {
    Status.PASS: "the whole interval meets the requirement; of an upper bound such as robust "
    "accuracy: what was run does not refute it",
    Status.WARN: "a wish that was declared as a warning is not met",
    Status.FAIL: "the whole interval misses the requirement",
    Status.INCONCLUSIVE: "the evidence does not decide the requirement",
    Status.ERROR: "the measurement broke",
    Status.NOT_RUN: "the measurement did not run",
    Status.INFO: "measured; no requirement was declared",
}

BOUNDS = {
    "exact": "exact",
    "upper": "upper bound",
    "lower": "lower bound",
    "estimate": "estimate",
}

FAILURES = {
    "exception": "It raised an error",
    "exit": "Its process left",
    "signal": "Its process was killed by a signal",
    "memory": "It ran out of memory",
    "timeout": "It ran out of time",
    "input": "Its model or data could not be used",
}

GLOSSARY: tuple[tuple[str, str], ...] = (
    ("Perturbation budget ε", "How far an attacker may move an input, measured in the stated norm "
     "and in the units of the data."),
    ("Norms", "L∞: the largest change of any one value. L2: the length of the change. L1: the sum "
     "of all changes. L0: how many values change."),
    ("Clean accuracy", "Share of inputs, as they are, that the model gets right."),
    ("Robust accuracy", "Share of inputs that stay right under every attack that was run. Attacks "
     "can only lower it: it is an upper bound of what holds against all attackers."),
    ("Certified accuracy", "Share of inputs proven to stay right within ε: a lower bound."),
    ("Attack success rate", "Share of the initially right inputs that some attack turned wrong."),
    ("Minimal norm", "Size of the smallest successful perturbation found for an input."),
    ("Interval", "The range that holds the true value in the stated share of repetitions of such "
     "a measurement, 95 % unless said otherwise."),
    ("n", "Number of independent examples behind a number."),
    ("Members, non-members", "Records that were, or were not, in the training data."),
    ("Leakage", "How much a training record shows through the model's behaviour."),
    ("White box, black box", "Whether the attacker sees the model's parameters and gradients, or "
     "its outputs only."),
    ("Digest", "SHA-256 of a file or an array: two with equal digests are the same."),
)  # fmt: skip

ACRONYMS = {
    "auc": "AUC", "auroc": "AUROC", "aupr": "AUPR", "dp": "DP", "ece": "ECE", "fgsm": "FGSM",
    "fpr": "FPR", "lira": "LiRA", "mae": "MAE", "mse": "MSE", "ood": "OOD", "pgd": "PGD",
    "r2": "R²", "rmse": "RMSE", "roc": "ROC", "shapr": "SHAPr", "tpr": "TPR", "95tpr": "95 % TPR",
}  # fmt: skip


def count(number: int, noun: str, plural: str = "") -> str:
    """Return "1 model", "3 models"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def counts(statuses: Iterable[Status]) -> str:
    """Return "1 fail, 2 pass", the worst first."""
    given = list(statuses)
    return ", ".join(f"{given.count(one)} {one.value}" for one in WORST_FIRST if one in given)


def spelled(number: int) -> str:
    """Return small numbers as words: "three"."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[number] if 0 <= number < len(words) else f"{number:,}"


def listed(items: list[str] | tuple[str, ...], last: str = "and") -> str:
    """Return "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def sentence(text: str) -> str:
    """Return the text with a full stop at its end, where it has no mark of its own."""
    text = text.strip()
    return text if not text or text[-1] in ".!?:…" else f"{text}."


def area(metric: str) -> str:
    """Return the family of a metric id as a heading: "Privacy"."""
    family = metric.partition(".")[0].replace("_", " ").replace("-", " ")
    return {"ood": "Out-of-distribution", "linear": "Linear models"}.get(
        family, family.capitalize()
    )


def status_of(outcome: Outcome, requirements: tuple[Requirement, ...]) -> Status:
    """Return the status of one measurement: what became of it, or its worst requirement."""
    own = [
        r.status
        for r in requirements
        if r.name == outcome.about.name and r.model == outcome.about.model
    ]
    if isinstance(outcome, Failed):
        return Status.ERROR
    if isinstance(outcome, Skipped):
        return Status.NOT_RUN
    return worst(own) if own else Status.INFO


def weight(requirement: Requirement) -> int:
    """Return how early a requirement is shown: the worst first.

    A wish weighs as a warning, and so does what the audit allows to be missing.
    """
    status = requirement.status
    wish = requirement.level == "warn" or requirement.allowed
    if wish and status in (Status.ERROR, Status.NOT_RUN):
        status = Status.WARN
    return WORST_FIRST.index(status)


def worst(statuses: list[Status]) -> Status:
    """Return the worst of several statuses; info when there is none."""
    return min(statuses, key=WORST_FIRST.index, default=Status.INFO)


def why(outcome: Outcome) -> str:
    """Return why a measurement has no result, in one sentence; empty when it has one."""
    if isinstance(outcome, Computed):
        return ""
    return sentence(outcome.reason if isinstance(outcome, Skipped) else outcome.error)


Threats = Mapping[str, Mapping[str, Any]]


def threat_symbol(name: str, threats: Threats) -> str:
    """Return a threat's norm as a symbol: "L∞"; the name itself when it is not known."""
    try:
        return Norm(str(threats[name]["norm"])).symbol
    except (KeyError, ValueError, TypeError):
        return name


def scalar_label(name: str, scalar: Scalar | None, threats: Threats, own: bool = True) -> str:
    """Return what a page calls a scalar: "Robust accuracy, L∞, ε = 8/255".

    Its own label is taken where it has one; without `own`, with the facets of its name after it.
    """
    try:
        base, parts = facets(name)
    except ValueError:
        return name
    if scalar is not None and scalar.label and (own or not parts):
        return scalar.label
    words = " ".join(ACRONYMS.get(word, word) for word in base.split("_"))
    words = words[:1].upper() + words[1:]
    if scalar is not None and scalar.label:
        words = scalar.label
    shown, after_threat = [], False
    for part in parts:
        known = part in threats
        if known:
            shown.append(_named_threat(part, threats))
        elif after_threat:
            shown.append(f"ε\u00a0=\u00a0{part}")
        else:
            shown.append(ACRONYMS.get(part, part))
        after_threat = known
    return ", ".join([words, *shown])


def _named_threat(name: str, threats: Threats) -> str:
    """The norm's symbol, with the threat's name where two threats share the norm."""
    symbol = threat_symbol(name, threats)
    twins = [other for other in threats if threat_symbol(other, threats) == symbol]
    return symbol if len(twins) < 2 else f"{symbol} ({name})"


def scalar_labels(scalars: Mapping[str, Scalar], threats: Threats) -> dict[str, str]:
    """Return labels that tell the scalars of one result apart."""
    given = [scalar.label for scalar in scalars.values() if scalar.label]
    return {
        name: scalar_label(name, scalar, threats, own=given.count(scalar.label) == 1)
        for name, scalar in scalars.items()
    }


def plain_value(value: object) -> str:
    """Return a parameter as a reader writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(plain_value(item) for item in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {plain_value(item)}" for key, item in value.items()) or "none"
    return str(value)
