"""The optimum by solvers that are not ours: HiGHS for the linear programs, Clarabel for L2."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
from scipy.optimize import linprog

from robreport import Norm
from robreport_plugins.linear.certificate import dual_value
from robreport_plugins.linear.linear_model import Floats, LinearModel, robust_hinge
from robreport_plugins.linear.optimum import FLOOR, Optimum
from robreport_plugins.linear.problem import checked_problem


def reference_optimum(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    *,
    eps: float,
    norm: Norm,
    tolerance: float = 1e-6,
) -> Optimum:
    """Return the optimum as HiGHS (L1, Linf, and eps = 0) or Clarabel (L2) finds it.

    The loss of their model and the bound of their multipliers are computed here, not taken from
    them. Parameters as for `robreport_plugins.linear.optimum.solve`.

    Raises
    ------
    ValueError
        As for `solve`, or the solver did not find an optimum.
    ImportError
        Clarabel is not installed.
    """
    rows, labels = checked_problem(x, y, eps=eps, norm=norm)
    if norm is Norm.L2 and eps > 0:
        w, b, alpha, iterations = _by_clarabel(rows, labels, float(eps))
    else:
        w, b, alpha, iterations = _by_highs(rows, labels, float(eps), norm)
    model = LinearModel(w=w, b=b)
    primal = float(robust_hinge(model, rows, labels, eps=eps, norm=norm).mean())
    dual = dual_value(rows, labels, alpha, eps=eps, norm=norm)
    gap = max(0.0, primal - dual)
    return Optimum(
        model=model,
        primal=primal,
        dual=dual,
        gap=gap,
        iterations=iterations,
        converged=gap / max(FLOOR, primal) <= tolerance,
    )


def _by_highs(x: Floats, y: Floats, eps: float, norm: Norm) -> tuple[Floats, float, Floats, int]:
    """Unknowns w, b, xi, and t (L1) or p (Linf) where there is a norm."""
    n, d = x.shape
    extra = 0 if eps == 0 else d if norm is Norm.Linf else 1
    losses = np.hstack([-y[:, None] * x, -y[:, None], -np.eye(n), np.full((n, extra), eps)])
    blocks: list[Any] = [scipy.sparse.csr_array(losses)]
    if extra:
        one: Any = scipy.sparse.eye_array(d)
        gap = scipy.sparse.csr_array((d, 1 + n))
        length = -one if extra == d else scipy.sparse.csr_array(np.full((d, 1), -1.0))
        blocks += [scipy.sparse.hstack([sign * one, gap, length]) for sign in (1.0, -1.0)]
    constraints: Any = scipy.sparse.csr_array(scipy.sparse.vstack(blocks))
    found = linprog(
        np.concatenate([np.zeros(d + 1), np.full(n, 1 / n), np.zeros(extra)]),
        A_ub=constraints,
        b_ub=np.concatenate([-np.ones(n), np.zeros(2 * d if extra else 0)]),
        bounds=[(None, None)] * (d + 1) + [(0, None)] * (n + extra),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.x is None:
        raise ValueError(f"HiGHS found no optimum: {found.message}")
    return found.x[:d], float(found.x[d]), -found.ineqlin.marginals[:n], int(found.nit)


def _by_clarabel(x: Floats, y: Floats, eps: float) -> tuple[Floats, float, Floats, int]:
    """Unknowns w, b, xi, t."""
    try:
        import clarabel
    except ImportError as error:
        raise ImportError("the cone program of L2 needs Clarabel: pip install clarabel") from error
    n, d = x.shape
    one = scipy.sparse.eye_array(n)
    losses = np.hstack([-y[:, None] * x, -y[:, None], -np.eye(n), np.full((n, 1), eps)])
    signs = scipy.sparse.hstack(
        [scipy.sparse.csc_array((n, d + 1)), -one, scipy.sparse.csc_array((n, 1))]
    )
    cone = scipy.sparse.lil_array((d + 1, d + n + 2))
    cone[0, d + n + 1] = -1.0
    for j in range(d):
        cone[1 + j, j] = -1.0
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    size = d + n + 2
    solver = clarabel.DefaultSolver(
        scipy.sparse.csc_matrix((size, size)),
        np.concatenate([np.zeros(d + 1), np.full(n, 1 / n), [0.0]]),
        scipy.sparse.csc_matrix(scipy.sparse.vstack([scipy.sparse.csc_array(losses), signs, cone])),
        np.concatenate([-np.ones(n), np.zeros(n + d + 1)]),
        [
            clarabel.NonnegativeConeT(n),
            clarabel.NonnegativeConeT(n),
            clarabel.SecondOrderConeT(d + 1),
        ],
        settings,
    )
    found = solver.solve()
    solution, multipliers = np.array(found.x), np.array(found.z)
    if not (np.isfinite(solution).all() and np.isfinite(multipliers).all()):
        raise ValueError(f"Clarabel found no optimum: {found.status}")
    return solution[:d], float(solution[d]), multipliers[:n], int(found.iterations)
