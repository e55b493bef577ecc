"""What data offers, and why a metric cannot run on it."""

from __future__ import annotations

from robreport import Needs
from robreport.offers import data_offers, missing_needs
from robreport.outcome import ModelFacts, SplitFacts


def _fact(role: str) -> SplitFacts:
    return SplitFacts(role=role, loader="", n=1, shape=(1,), dtype="", digest="", source="")


def test_what_the_data_offers() -> None:
    facts = {role: _fact(role) for role in ("train", "test", "ood.a")}
    offers = data_offers(facts, frozenset({"test"}), "classification")
    assert offers == Needs.CLASSIFICATION | Needs.LABELS | Needs.MEMBERS | Needs.OOD
    assert data_offers({"shift.a": _fact("shift.a")}, frozenset(), "regression") == (
        Needs.REGRESSION | Needs.SHIFT
    )


def test_why_a_metric_cannot_run() -> None:
    model = ModelFacts(
        name="tree", version="", loader="", path="", digest="", kind="a tree",
        offers=("probabilities",), n_outputs=2, input_shape=None,
    )  # fmt: skip
    data = Needs.LABELS | Needs.CLASSIFICATION
    asked = Needs.LABELS | Needs.PROBABILITIES
    assert missing_needs(asked, model, data, ()) == ""
    assert missing_needs(asked, model, data, ("train", "ood.a")) == (
        "needs [data.train], [data.ood.a], which the audit does not declare"
    )
    wanting = asked | Needs.GRADIENTS | Needs.REFIT | Needs.MEMBERS
    assert missing_needs(wanting, model, data, ()) == (
        "needs gradients and refit, which tree (a tree) does not offer; "
        "needs members, which the data does not offer"
    )
    assert missing_needs(Needs.TREES, None, data, ()) == "needs trees"
