"""The metrics of privacy: what they declare. The measuring is imported when it runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from robreport import Bundle, Context, Metric, Needs, Result
from robreport import Params as ParamsBase


class ShaprParams(ParamsBase):
    """How many records are scored, and what is shown of them."""

    n_train: int | None = Field(
        default=None,
        ge=2,
        description="score a random sample of this many training records; all when left out",
    )
    n_test: int | None = Field(
        default=None,
        ge=1,
        description="score against a random sample of this many test points; all when left out",
    )
    subsample_seed: int | None = Field(
        default=None, ge=0, description="seed of the two samples; the audit's when left out"
    )
    thresholds: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field(
        default=(0.0, 1.0, 2.0),
        min_length=1,
        max_length=10,
        description="scores above which the share of records is reported",
    )
    top_k: int = Field(
        default=10, ge=1, le=1000, description="how many of the most exposed records are listed"
    )
    show_images: bool = Field(
        default=True,
        description="show the most exposed records where the data are images (they are members "
        "of the training data: switch it off where the report's readers may not see them)",
    )


class Shapr(Metric):
    """Per-record exposure: the Shapley value of each training record in output space."""

    id = "privacy.shapr"
    title = "Exposure of training records (SHAPr)"
    question = "Which training records does the model's behaviour depend on most?"
    summary = (
        "Each training record gets the exact Shapley value that it has for a nearest-neighbour "
        "rule working on the model's outputs, summed over the test points and scaled by the number "
        "of training records. A record that the outputs single out scores high. Records at equal "
        "distance share the value, so that the score does not depend on the order of the rows."
    )
    reading = (
        "The mean is the accuracy of that nearest-neighbour rule, not a leak: read the upper tail. "
        "A record that is farther than all others from every test point still scores the share of "
        "test points of its class; above that line a record matters. A score of 2 means twice what "
        "records contribute on average where the rule is always right."
    )
    limits = (
        "A high score says that a record influences the outputs, not that an attacker can tell it "
        "was a member: run a membership attack beside it. Scores are relative to this training "
        "set, this test set and the model's outputs; they give no guarantee such as differential "
        "privacy. With few test points, chance alone spreads the scores and lengthens the tail."
    )
    references = (
        "Duddu, Szyller, Asokan, SHAPr: An efficient and versatile membership privacy risk metric, "
        "arXiv:2112.02230",
        "Jia et al., Efficient task-specific data valuation for nearest neighbor algorithms, "
        "arXiv:1908.08619",
    )
    knowledge = "model outputs"
    needs = Needs.PROBABILITIES | Needs.LABELS | Needs.MEMBERS | Needs.CLASSIFICATION
    splits = ("train", "test")
    scalar_help = {  # noqa: RUF012 - declared once, never changed
        "max_shapr": "score of the most exposed training record",
        "mean_shapr": "mean score: the accuracy of 1-nearest-neighbour on the model's outputs",
        "irrelevant_shapr": "mean score of records that are farthest from every test point",
        "share_above[threshold]": "share of training records that score above the threshold",
        "share_above[irrelevant]": "share that score above a record of their class that is "
        "farthest from every test point",
        "shapr_quantile[q]": "q-quantile of the scores",
    }
    Params = ShaprParams

    def compute(self, bundle: Bundle, params: ParamsBase, ctx: Context) -> Result:
        """Score the training records."""
        from robreport_plugins.privacy.shapr_report import measure

        if not isinstance(params, ShaprParams):
            raise TypeError(f"{self.id} needs its own Params, not {type(params).__name__}")
        return measure(bundle, params, ctx)
