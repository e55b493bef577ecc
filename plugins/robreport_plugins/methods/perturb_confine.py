"""Perturbed inputs that provably stay in their ball and bounds, judged in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from robreport import Norm

Array = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]

# What float64 arithmetic itself may add to a norm of a million terms, relative to the radius.
RADIUS_TOLERANCE = 1e-9


def sizes(x: Array, x_adv: Array, norm: Norm) -> Floats:
    """Return how far each example was moved, ``(n,)``, computed in float64.

    Parameters
    ----------
    x, x_adv : array (n, *shape)
    norm : Norm
    """
    delta = _float64(x_adv) - _float64(x)
    flat = delta.reshape(len(delta), -1)
    if norm is Norm.L0:
        return np.asarray(np.count_nonzero(flat, axis=1), dtype=np.float64)
    return np.asarray(np.linalg.norm(flat, ord=norm.order, axis=1), dtype=np.float64)


def confine(x: Array, delta: Array, norm: Norm, eps: float, low: Array, high: Array) -> Array:
    """Return ``x + delta`` in x's own dtype, inside the ball and the bounds despite rounding.

    Parameters
    ----------
    x : array (n, *shape), float32 or float64
        The inputs as the data gives them, inside the bounds.
    delta : array (n, *shape)
        The perturbation; float32 attacks on float64 data pass the difference they made.
    norm, eps
        L1, L2 or Linf, and the radius in input units.
    low, high : array broadcastable to x
        The data's bounds; infinite where there are none.

    Notes
    -----
    The perturbation is cut to the bounds, shrunk to the radius in float64, added, and cast.
    Where the cast carried a coordinate further from x than the perturbation said, the next
    float towards x is taken, so that no norm can grow. A row that is not finite becomes x.

    Raises
    ------
    ValueError
        The norm is L0.
    """
    if norm is Norm.L0:
        raise ValueError("confine works in L1, L2 and Linf")
    base = _float64(x)
    moved = _float64(delta).copy()
    moved[~np.isfinite(moved.reshape(len(moved), -1)).all(axis=1)] = 0.0
    floor, ceiling = np.minimum(_float64(low), base), np.maximum(_float64(high), base)
    moved = np.clip(moved, floor - base, ceiling - base)
    if norm is Norm.Linf:
        moved = np.clip(moved, -eps, eps)
    else:
        flat = moved.reshape(len(moved), -1)
        size = np.linalg.norm(flat, ord=norm.order, axis=1)
        shrink = np.where(size > eps, eps / np.where(size > 0, size, 1.0), 1.0)
        moved = (flat * shrink[:, None]).reshape(moved.shape)
    landed = np.clip(base + moved, floor, ceiling).astype(x.dtype)
    # Twice at most: the sum and the cast can each have rounded away from x once.
    for _ in range(2):
        outside = np.abs(_float64(landed) - base) > np.abs(moved)
        if not outside.any():
            break
        landed = np.where(outside, np.nextafter(landed, x), landed)
    return landed


def inside(x: Array, x_adv: Array, norm: Norm, eps: float, low: Array, high: Array) -> Array:
    """Return, for each example, whether `x_adv` lies in the ball and in the bounds.

    The radius may be exceeded by `RADIUS_TOLERANCE` of itself; the bounds by nothing, except
    that an input which itself lies outside of them may stay where it is.
    """
    base, moved = _float64(x), _float64(x_adv)
    floor, ceiling = np.minimum(_float64(low), base), np.maximum(_float64(high), base)
    flat = ((moved >= floor) & (moved <= ceiling)).reshape(len(moved), -1)
    within = sizes(x, x_adv, norm) <= eps * (1 + RADIUS_TOLERANCE)
    return np.asarray(flat.all(axis=1) & within)


def _float64(values: Array) -> Floats:
    return np.asarray(values, dtype=np.float64)
