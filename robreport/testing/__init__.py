"""For authors of plugins: check a metric against the contract, with data and models to try it on.

>>> from robreport.testing import check_metric
>>> check_metric(MyMetric)  # doctest: +SKIP
"""

from __future__ import annotations

from robreport.testing.bundles import make_bundle
from robreport.testing.contract import ContractError, ContractReport, check_metric
from robreport.testing.guard import GuardedModel, guarded
from robreport.testing.models import LinearRegressor, PredictionsOnly, SmallNet, StumpForest
from robreport.testing.oracle import LinearOracle
from robreport.testing.scenarios import make_outcomes

__all__ = [
    "ContractError",
    "ContractReport",
    "GuardedModel",
    "LinearOracle",
    "LinearRegressor",
    "PredictionsOnly",
    "SmallNet",
    "StumpForest",
    "check_metric",
    "guarded",
    "make_bundle",
    "make_outcomes",
]
