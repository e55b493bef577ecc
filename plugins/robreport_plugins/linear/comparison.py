"""``linear.compare``: trained and declared linear models in one chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from robreport import Comparison, Computed, Context, Outcome, Params, Result, SkipMetric


class LinearComparison(Comparison):
    """Declared linear models beside those that were trained on the same data."""

    id = "linear.compare"
    title = "Declared and trained linear models, compared"
    question = "Does a declared linear model give away robustness that the data would allow?"
    summary = (
        "Takes the curves of `linear.robust_hinge` and `linear.exact_attack` and draws them in one "
        "chart for each norm. All of them are exact, so that a difference is one of the models."
    )
    reading = (
        "A declared model below a robust one gives away robustness; whether that is worth what it "
        "costs in clean accuracy is read at the left end of the lines."
    )
    limits = (
        "Models that are not linear are not among them: attacks bound those from one side only."
    )
    references = (
        "Xu, Caramanis, Mannor: Robustness and regularization of support vector machines, JMLR "
        "10, 2009",
    )
    knowledge = "results"
    consumes = frozenset({"linear.robust_hinge", "linear.exact_attack"})
    scalar_help: ClassVar[dict[str, str]] = {}

    def compare(self, outcomes: Sequence[Outcome], params: Params, ctx: Context) -> Result:
        """Put the computed curves beside each other; the others are listed with their reason."""
        computed = [o for o in outcomes if isinstance(o, Computed)]
        if not computed:
            raise SkipMetric("no linear model was measured, so there is none to compare")
        from robreport_plugins.linear.compare_lines import compare_lines

        return compare_lines(computed, [o for o in outcomes if not isinstance(o, Computed)])
