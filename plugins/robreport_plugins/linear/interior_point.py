"""A primal-dual interior-point method for the least robust hinge loss.

The problem, in the units of its caller, is to minimise ``sum xi`` subject to

    xi_i >= 1 - y_i (w . x_i + b) + eps t,    xi >= 0,    ||w||_q <= t.

For q = infinity the norm is the inequalities ``t +- w_j >= 0``; for q = 1 there are ``p_j +- w_j >=
0`` with ``t = sum p_j``; for q = 2 it is a second-order cone. Each step of Mehrotra's predictor and
corrector solves one dense symmetric system in ``(w, b)`` and t or p: the n unknowns xi are
eliminated by hand. Multipliers of the first inequality are the dual's variables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse

from robreport import Norm
from robreport_plugins.linear import second_order_cone as cone
from robreport_plugins.linear.linear_model import Floats

# Rows whose products are added up at a time: a scaled copy of all would double the memory.
_BLOCK = 4096
# Part of the way to the boundary that a step goes at most, and how near the target it aims.
_SHORT = 0.995
# Of the correctors: how many, how much longer a step they aim for, how far products may lie from
# their mean, and what the two steps must gain for another one.
_CORRECTORS, _LONGER, _SPREAD, _GAIN = 4, 1.1, 10.0, 0.02
# Mean of slack times multiplier, both about one in size, below which only rounding is left.
_SMALLEST = 1e-16
# Added to the scaled diagonal where the system is singular, growing while it is found indefinite.
_RIDGES = (0.0, 1e-14, 1e-12, 1e-10, 1e-8, 1e-6)


@dataclass(frozen=True, slots=True)
class Iterate:
    """Where the method stands: a model, and multipliers in [0, 1] that are nearly feasible."""

    w: Floats
    b: float
    multipliers: Floats


def iterates(x: Floats, y: Floats, eps: float, norm: Norm) -> Iterator[Iterate]:
    """Yield ever better models and multipliers, until the arithmetic gives no further step.

    Parameters
    ----------
    x : array (n, d)
        About one in size.
    y : array (n,)
        Labels -1 and +1.
    eps : float
        Zero leaves the norm out.
    norm : Norm
        Of the perturbation.
    """
    # Divisions by what has become zero end the sequence; they are no news to the caller.
    with np.errstate(all="ignore"):
        method = _Method(x, y, eps, norm)
        while True:
            try:
                moved = method.step()
            except (np.linalg.LinAlgError, FloatingPointError):
                return
            if not moved:
                return
            d = x.shape[1]
            yield Iterate(method.u[:d].copy(), float(method.u[d]), method.z[: y.size].copy())


class _Method:
    """Slacks s and multipliers z: of the hinge, of xi >= 0, of the norm's inequalities, in a row.

    ``u`` holds w, b and then t (q = 2, infinity), p (q = 1) or nothing (eps = 0); the cone of q = 2
    has slack ``sc`` and multiplier ``zc``, both ``(t, w)``.
    """

    def __init__(self, x: Floats, y: Floats, eps: float, norm: Norm) -> None:
        n, d = x.shape
        self.x, self.y, self.eps, self.n, self.d = x, y, eps, n, d
        self.conic = eps > 0 and norm is Norm.L2
        extra = 0 if eps == 0 else d if norm is Norm.Linf else 1
        self.u = np.zeros(d + 1 + extra)
        # What gives t: t itself, or the sum of p.
        self.tau = np.zeros(self.u.size)
        self.tau[d + 1 :] = 1.0
        rows = np.zeros((0, self.u.size))
        self.inequalities = scipy.sparse.csr_array(rows)
        if extra and not self.conic:
            one = scipy.sparse.eye_array(d)
            bias = scipy.sparse.csr_array((d, 1))
            right = one if norm is Norm.Linf else scipy.sparse.csr_array(np.ones((d, 1)))
            self.inequalities = scipy.sparse.csr_array(
                scipy.sparse.vstack(
                    [scipy.sparse.hstack([sign * one, bias, right]) for sign in (-1.0, 1.0)]
                )
            )
        # t = 1, and multipliers that are feasible but for the weights' equations.
        self.u[d + 1 :] = 1.0 / max(extra, 1)
        self.xi = np.full(n, 2.0 + (eps if extra else 0.0))
        self.s = np.concatenate([np.ones(n), self.xi, self.inequalities @ self.u])
        pull = eps * n / 2
        each = pull / 2 if norm is Norm.Linf else pull / (2 * d)
        self.z = np.concatenate([np.full(2 * n, 0.5), np.full(self.inequalities.shape[0], each)])
        self.sc = np.zeros(d + 1)
        self.zc = np.zeros(d + 1)
        self.sc[0], self.zc[0] = 1.0, pull

    # ------------------------------------------------------------------------- the linear maps

    def hinge(self, u: Floats) -> Floats:
        """``y (w . x + b) - eps t`` for each row."""
        found: Floats = self.y * (self.x @ u[: self.d] + u[self.d]) - self.eps * float(self.tau @ u)
        return found

    def hinge_transposed(self, v: Floats) -> Floats:
        found = -self.eps * float(v.sum()) * self.tau
        signed = self.y * v
        found[: self.d] += signed @ self.x
        found[self.d] += signed.sum()
        return found

    def cone_point(self, u: Floats) -> Floats:
        return np.concatenate([[float(self.tau @ u)], u[: self.d]])

    def cone_transposed(self, v: Floats) -> Floats:
        found: Floats = v[0] * self.tau
        found[: self.d] += v[1:]
        return found

    # -------------------------------------------------------------------------------- the step

    def step(self) -> bool:
        """Move once; False where no step of any length is left."""
        n = self.n
        ratio = self.z / self.s
        scaling = cone.Scaling(self.sc, self.zc) if self.conic else None
        system = _System(self, ratio, scaling)
        degree = self.s.size + (1 if scaling else 0)
        gap = float(self.s @ self.z) + (float(self.sc @ self.zc) if scaling else 0.0)
        mean = gap / degree
        if mean < _SMALLEST:
            return False
        # What is left to make up: slacks that are not what the unknowns say, and stationarity.
        behind = self.s - np.concatenate(
            [self.xi + self.hinge(self.u) - 1.0, self.xi, self.inequalities @ self.u]
        )
        behind_cone = self.sc - self.cone_point(self.u) if scaling else self.sc
        off_u = -self.hinge_transposed(self.z[:n]) - self.inequalities.T @ self.z[2 * n :]
        if scaling:
            off_u -= self.cone_transposed(self.zc)
        off_xi = 1.0 - self.z[:n] - self.z[n : 2 * n]

        target = -self.s * self.z
        target_cone = -cone.product(scaling.point, scaling.point) if scaling else self.sc
        move = system.direction(target, target_cone, behind, behind_cone, off_u, off_xi)
        primal, dual = self._room(move)
        along = (self.s + primal * move.s) @ (self.z + dual * move.z)
        if scaling:
            along += (self.sc + primal * move.sc) @ (self.zc + dual * move.zc)
        centring = mean * min(1.0, max(0.0, float(along) / gap)) ** 3
        target += centring - move.s * move.z
        if scaling:
            target_cone = target_cone - cone.product(
                scaling.unapply(move.sc), scaling.apply(move.zc)
            )
            target_cone[0] += centring
        move = system.direction(target, target_cone, behind, behind_cone, off_u, off_xi)
        rooms = self._room(move)
        # Gondzio's correctors: a solution costs little beside the factor, and products that are
        # far from their mean are what keeps steps short.
        for _ in range(_CORRECTORS):
            primal, dual = (min(1.0, _LONGER * room + _LONGER - 1.0) for room in rooms)
            products = (self.s + primal * move.s) * (self.z + dual * move.z)
            wanted = np.clip(products, centring / _SPREAD, centring * _SPREAD) - products
            target = target + np.maximum(wanted, -_SPREAD * centring)
            other = system.direction(target, target_cone, behind, behind_cone, off_u, off_xi)
            found = self._room(other)
            if min(1.0, found[0]) + min(1.0, found[1]) < sum(min(1.0, r) for r in rooms) + _GAIN:
                break
            move, rooms = other, found
        primal, dual = (min(1.0, _SHORT * room) for room in rooms)
        if not (np.isfinite(move.u).all() and max(primal, dual) > 1e-10):
            return False
        self.u += primal * move.u
        self.xi += primal * move.xi
        self.s += primal * move.s
        self.z += dual * move.z
        if scaling:
            self.sc = self.sc + primal * move.sc
            self.zc = self.zc + dual * move.zc
        return bool(self.s.min() > 0 and self.z.min() > 0)

    def _room(self, move: _Move) -> tuple[float, float]:
        """How far slacks and multipliers may go; in the cone both go equally far."""
        primal, dual = (
            float(np.divide(-now, by, out=np.full_like(now, np.inf), where=by < 0).min())
            for now, by in ((self.s, move.s), (self.z, move.z))
        )
        if self.conic:
            primal = min(primal, cone.longest_step(self.sc, move.sc))
            dual = min(dual, cone.longest_step(self.zc, move.zc))
        return primal, dual


@dataclass(frozen=True, slots=True)
class _Move:
    u: Floats
    xi: Floats
    s: Floats
    z: Floats
    sc: Floats
    zc: Floats


class _System:
    """The Newton equations at one point, factorised once and solved for several right sides."""

    def __init__(self, at: _Method, ratio: Floats, scaling: cone.Scaling | None) -> None:
        self.at, self.ratio, self.scaling = at, ratio, scaling
        n, d = at.n, at.d
        self.both = ratio[:n] + ratio[n : 2 * n]
        weight = ratio[:n] * (ratio[n : 2 * n] / self.both)
        matrix = np.zeros((at.u.size, at.u.size))
        for first in range(0, n, _BLOCK):
            part = slice(first, first + _BLOCK)
            root = np.sqrt(weight[part])[:, None]
            scaled = np.concatenate([at.x[part] * root, root], axis=1)
            # The rank-k product of the library does half the work and fills one triangle.
            matrix[: d + 1, : d + 1] += scipy.linalg.blas.dsyrk(1.0, scaled.T, lower=1)
        low = matrix[: d + 1, : d + 1]
        low += np.tril(low, -1).T
        if at.tau.any():
            signed = at.y * weight
            cross = -at.eps * np.append(signed @ at.x, signed.sum())
            matrix[: d + 1] += np.outer(cross, at.tau)
            matrix[d + 1 :, : d + 1] += np.outer(at.tau[d + 1 :], cross)
            matrix[d + 1 :, d + 1 :] += at.eps**2 * weight.sum()
        if at.inequalities.shape[0]:
            rows = at.inequalities
            matrix += (rows.T @ scipy.sparse.diags_array(ratio[2 * n :]) @ rows).toarray()
        if scaling:
            block = scaling.inverse_square()
            t = at.u.size - 1
            matrix[:d, :d] += block[1:, 1:]
            matrix[t, :d] += block[0, 1:]
            matrix[:d, t] += block[0, 1:]
            matrix[t, t] += block[0, 0]
        self._factorise(matrix)

    def _factorise(self, matrix: Floats) -> None:
        # Equilibrated: the entries span many orders of magnitude near the end.
        diagonal = np.diagonal(matrix).copy()
        diagonal[~(diagonal > 0)] = 1.0
        self.scale = 1.0 / np.sqrt(diagonal)
        self.matrix = matrix * self.scale * self.scale[:, None]
        for ridge in _RIDGES if self.at.tau.any() else _RIDGES[1:]:
            raised = self.matrix.copy()
            raised[np.diag_indices_from(raised)] += ridge
            try:
                self.factor = scipy.linalg.cho_factor(raised, lower=True, overwrite_a=True)
            except np.linalg.LinAlgError:
                continue
            return
        raise np.linalg.LinAlgError("the Newton system is not positive definite")

    def _solve(self, right: Floats) -> Floats:
        right = right * self.scale
        found = scipy.linalg.cho_solve(self.factor, right)
        # What the ridge and the rounding have left over.
        for _ in range(2):
            found = found + scipy.linalg.cho_solve(self.factor, right - self.matrix @ found)
        return np.asarray(found * self.scale)

    def direction(
        self,
        target: Floats,
        target_cone: Floats,
        behind: Floats,
        behind_cone: Floats,
        off_u: Floats,
        off_xi: Floats,
    ) -> _Move:
        """Return the move that makes up for all that is off and brings s z to its target."""
        at, n = self.at, self.at.n
        pull = target / at.s + self.ratio * behind
        right_xi = pull[:n] + pull[n : 2 * n] - off_xi
        right = at.hinge_transposed(pull[:n] - self.ratio[:n] * (right_xi / self.both)) - off_u
        right += at.inequalities.T @ pull[2 * n :]
        pull_cone = at.zc
        if self.scaling:
            pull_cone = self.scaling.unapply(
                self.scaling.divided(target_cone) + self.scaling.unapply(behind_cone)
            )
            right += at.cone_transposed(pull_cone)
        u = self._solve(right)
        hinge = at.hinge(u)
        xi = (right_xi - self.ratio[:n] * hinge) / self.both
        ahead = np.concatenate([xi + hinge, xi, at.inequalities @ u])
        sc, zc = at.sc, at.zc
        if self.scaling:
            cone_ahead = at.cone_point(u)
            sc = cone_ahead - behind_cone
            zc = pull_cone - self.scaling.unapply(self.scaling.unapply(cone_ahead))
        return _Move(u, xi, ahead - behind, pull - self.ratio * ahead, sc, zc)
