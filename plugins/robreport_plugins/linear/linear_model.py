"""A linear classifier ``f(x) = w . x + b`` for labels -1 and +1, its margins and hinge losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Norm

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearModel:
    """Weights and bias; a positive decision is class +1.

    Attributes
    ----------
    w : array (d,)
    b : float
    """

    w: Floats
    b: float

    def decision(self, x: npt.NDArray[Any]) -> Floats:
        """Return ``w . x + b`` for each row, ``(n,)``."""
        found: Floats = np.asarray(x, dtype=np.float64) @ self.w + self.b
        return found

    def __post_init__(self) -> None:
        w = np.asarray(self.w, dtype=np.float64)
        if w.ndim != 1 or not np.isfinite(w).all() or not np.isfinite(self.b):
            raise ValueError(
                "a linear model has finite weights of one dimension and a finite bias, "
                f"found weights of shape {w.shape}"
            )
        object.__setattr__(self, "w", w)
        object.__setattr__(self, "b", float(self.b))


def dual_length(w: Floats, norm: Norm) -> float:
    """Return ``||w||_q``: what a perturbation of length 1 in `norm` can gain.

    Parameters
    ----------
    w : array (d,)
    norm : Norm
        Of the perturbation: L1, L2 or Linf; q is its dual.

    Raises
    ------
    ValueError
        The norm is L0.
    """
    return float(np.linalg.norm(w, ord=norm.dual.order)) if w.size else 0.0


def margins(model: LinearModel, x: Floats, y: Floats) -> Floats:
    """Return ``y f(x)`` for each row, ``(n,)``: positive where the class is right."""
    found: Floats = y * model.decision(x)
    return found


def robust_hinge(model: LinearModel, x: Floats, y: Floats, *, eps: float, norm: Norm) -> Floats:
    """Return ``max(0, 1 - y f(x) + eps ||w||_q)`` for each row, ``(n,)``.

    It is the largest hinge loss that a perturbation of at most `eps` can cause; ``eps = 0`` gives
    the hinge loss itself.
    """
    found: Floats = np.maximum(0.0, 1.0 - margins(model, x, y) + eps * dual_length(model.w, norm))
    return found
