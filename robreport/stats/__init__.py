"""Confidence intervals and tests for shares, means, areas under a ROC curve, and anything else.

Every interval comes as an `Interval` whose ``method`` says how it was made. Needs NumPy; SciPy is
imported where a quantile is asked for.
"""

from __future__ import annotations

from robreport.stats.pairs import PairedTest, holm, mcnemar
from robreport.stats.resampling import (
    bootstrap,
    bootstrap_many,
    bootstrap_mean,
    paired_bootstrap,
    resample_counts,
)
from robreport.stats.roc import auc_delong, auc_hanley, auc_interval, auc_placements
from robreport.stats.shares import clopper_pearson, mean_of_shares, mean_t, wilson

__all__ = [
    "PairedTest",
    "auc_delong",
    "auc_hanley",
    "auc_interval",
    "auc_placements",
    "bootstrap",
    "bootstrap_many",
    "bootstrap_mean",
    "clopper_pearson",
    "holm",
    "mcnemar",
    "mean_of_shares",
    "mean_t",
    "paired_bootstrap",
    "resample_counts",
    "wilson",
]
