"""How the suite attacks models that are made of trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from robreport import ModelError
from robreport_plugins.attacks.case import Case
from robreport_plugins.methods.perturb import Attempt

if TYPE_CHECKING:
    from robreport_plugins.attacks.params import SuiteParams


def trees(case: Case, params: SuiteParams) -> Attempt:
    """The nearest leaf that a single tree gives a wrong class, exactly; of several, a search."""
    from robreport_plugins.methods.perturb_trees import nearest_other_leaf, smallest_in_cells

    ensemble = case.trees
    if ensemble is None:
        raise ModelError("an attack on trees was given a model without")
    y = case.target.y[case.rows]
    aim = None if case.aim is None else np.full(len(y), case.aim)
    if len(ensemble.trees) == 1:
        found, size = nearest_other_leaf(ensemble, case.space, case.data, y, case.norm, aim)
    else:
        found, size = smallest_in_cells(
            ensemble, case.space, case.data, y, case.norm, case.target.starts, aim=aim
        )
    return case.exact(found, size <= case.eps)
