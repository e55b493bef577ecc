"""What the splits of an audit offer to metrics, and what a metric lacks here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from robreport.bundle import Needs
from robreport.outcome import ModelFacts, SplitFacts


def data_offers(splits: Mapping[str, SplitFacts], labelled: frozenset[str], task: str) -> Needs:
    """Return what the splits offer: labels, members, foreign and shifted sets, the task."""
    offers = Needs.REGRESSION if task == "regression" else Needs.CLASSIFICATION
    if "test" in labelled:
        offers |= Needs.LABELS
    if "train" in splits and "test" in splits:
        offers |= Needs.MEMBERS
    if any(role.startswith("ood.") for role in splits):
        offers |= Needs.OOD
    if any(role.startswith("shift.") for role in splits):
        offers |= Needs.SHIFT
    return offers


def missing_needs(
    needs: Needs, model: ModelFacts | None, offered: Needs, missing_roles: Sequence[str]
) -> str:
    """Return why a metric cannot run here, or an empty string.

    `offered` is what the data offers; the model's part is read from its facts.
    """
    if missing_roles:
        names = ", ".join(f"[data.{role}]" for role in missing_roles)
        return f"needs {names}, which the audit does not declare"
    if model is not None:
        for word in model.offers:
            offered |= Needs[word.upper()]
    absent = needs & ~offered
    if not absent:
        return ""
    from_data = (
        Needs.LABELS | Needs.MEMBERS | Needs.OOD | Needs.SHIFT
        | Needs.REGRESSION | Needs.CLASSIFICATION
    )  # fmt: skip
    by_model, by_data = absent & ~from_data, absent & from_data
    parts = []
    if by_model and model is not None:
        parts.append(
            f"needs {_and(by_model.words)}, which {model.name} ({model.kind}) does not offer"
        )
    if by_data:
        parts.append(f"needs {_and(by_data.words)}, which the data does not offer")
    return "; ".join(parts) or f"needs {_and(absent.words)}"


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
