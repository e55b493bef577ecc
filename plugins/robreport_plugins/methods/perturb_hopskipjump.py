"""HopSkipJump: small perturbations from decisions alone, in L2 and Linf."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from robreport import Norm
from robreport_plugins.methods.geometry import TINY, norms
from robreport_plugins.methods.perturb import Attempt, Bounds, check_counts, full_box

Decide = Callable[[Tensor], Tensor]

# Numbers in the inputs that are asked for at a time.
_BLOCK = 20_000_000
_HALVINGS = 20
# Random inputs that are tried as a beginning where no reference will do.
_TRIES = 10
# Steps after which only the best beginning goes on.
_EARLY = 5


def hopskipjump(
    decide: Decide,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    bounds: Bounds | None = None,
    reference: Tensor | None = None,
    starts: int = 3,
    iterations: int = 40,
    first_samples: int = 100,
    most_samples: int = 1000,
    generator: torch.Generator | None = None,
) -> Attempt:
    """Return the smallest perturbations that walks along the decision boundary find.

    Parameters
    ----------
    decide : callable
        Maps inputs ``(m, *shape)`` to classes ``(m,)``; nothing else of the model is used.
    x : Tensor (n, *shape)
    y : Tensor (n,) of int64
        The true classes.
    norm : Norm
        L2 or Linf.
    bounds : (low, high) or None
        As for `pgd`; without bounds a beginning has to come from `reference`.
    reference : Tensor (m, *shape) or None
        Inputs to begin from: of each other class the nearest. The model is asked for all of
        them once.
    starts : int
        Of these beginnings, those whose way to x meets the boundary nearest to x walk the first
        five steps each; then the nearest goes on alone. Another class than that of the nearest
        beginning may be the nearest in the end.
    iterations : int
        Steps along the boundary, at least 1.
    first_samples, most_samples : int
        Directions that are asked for in the first step; they grow with the root of the number of
        steps, up to the most.
    generator : torch.Generator on the CPU

    Returns
    -------
    Attempt
        ``x_adv`` is the nearest input found that is given another class, x itself where there is
        none; ``claimed`` where one was found. `queries` are all decisions asked for: of an example
        the samples of each step and some 50 besides, about 18,000 of 40 steps, and 2,500 more for
        two further starts.

    Raises
    ------
    ValueError
        L0 or L1, or a count below 1.

    Notes
    -----
    Chen, Jordan and Wainwright (2020). From an input of another class, halving finds the boundary;
    random directions that cross it or not, weighed by their answers less the mean answer, give the
    boundary's normal; a step along it, halved until the class is still another, and a new search
    towards x follow. Beyond the paper, the straight way from x along the normal, and along the
    normals of all steps so far together, is tried too: where the boundary is nearly flat, as it
    is at small distances, that ends nearer than the steps do.
    """
    if norm not in (Norm.L2, Norm.Linf):
        raise ValueError(f"HopSkipJump works in L2 and Linf, found {norm}")
    check_counts(
        starts=starts, iterations=iterations, first_samples=first_samples,
        most_samples=most_samples,
    )  # fmt: skip
    walk = _Walk(decide, x, y, norm, bounds, generator)
    points = walk.begin(reference, starts)
    early = min(_EARLY, iterations) if starts > 1 else 0
    walk.choose(points, early, first_samples)
    for t in range(early + 1, iterations + 1):
        walk.step(t, min(most_samples, int(first_samples * math.sqrt(t))))
    return walk.attempt()


class _Walk:
    """The examples on their way along the boundary; only those that have begun take part."""

    def __init__(
        self,
        decide: Decide,
        x: Tensor,
        y: Tensor,
        norm: Norm,
        bounds: Bounds | None,
        generator: torch.Generator | None,
    ) -> None:
        self.decide, self.norm, self.generator = decide, norm, generator
        self.all_x, self.y = x, y
        self.x = x.flatten(1)
        self.low, self.high = (end.flatten(1) for end in full_box(x, bounds))
        self.queries = 0
        free = (self.low < self.high).sum(1, keepdim=True).clamp_min(1).to(x.dtype)
        self.free = free
        # the paper's accuracy of the halving, in the share of the way
        self.theta = free ** (-1.5 if norm is Norm.L2 else -2.0)
        self.best = self.x.clone()
        self.begun = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self.done = self.begun.clone()
        self.normal = torch.zeros_like(self.x)

    def wrong(self, rows: Tensor, points: Tensor) -> Tensor:
        """Return whether the model gives these points another class than their rows have."""
        found = []
        size = max(1, _BLOCK // max(1, points.shape[1]))
        for start in range(0, len(points), size):
            part = points[start : start + size].view(-1, *self.all_x.shape[1:])
            found.append(self.decide(part) != self.y[rows[start : start + size]])
        self.queries += len(points)
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.bool)

    def draw(self, *shape: int) -> Tensor:
        """Return normal or uniform draws, whatever the device."""
        if self.norm is Norm.L2:
            noise = torch.randn(shape, generator=self.generator, dtype=self.x.dtype)
        else:
            noise = torch.rand(shape, generator=self.generator, dtype=self.x.dtype) * 2 - 1
        return noise.to(self.x.device)

    def begin(self, reference: Tensor | None, starts: int) -> Tensor:
        """Find points of other classes and come back to the boundary from each.

        Returns them ``(n, starts, d)``, the nearest first, infinite where there are no more.
        """
        n, d = self.x.shape
        every = torch.arange(n, device=self.x.device)
        found = torch.full((n, starts, d), torch.inf, dtype=self.x.dtype, device=self.x.device)
        if n == 0:
            return found
        # an example that is misclassified is its own smallest perturbation
        self.done = self.wrong(every, self.x)
        self.begun |= self.done
        if reference is not None and len(reference):
            found = self._from_reference(reference.to(self.x).flatten(1), found)
        bounded = bool(torch.isfinite(self.low).all() and torch.isfinite(self.high).all())
        for _ in range(_TRIES if bounded else 0):
            left = every[~self.begun]
            if len(left) == 0:
                break
            share = torch.rand((len(left), d), generator=self.generator, dtype=self.x.dtype)
            between = self.high[left] - self.low[left]
            hit, points = self._take(left, self.low[left] + share.to(self.x.device) * between)
            found[hit, 0] = points
        return found

    def _from_reference(self, reference: Tensor, found: Tensor) -> Tensor:
        """Begin at the nearest reference of each class that the model tells apart."""
        given = self._classes(reference)
        starts = found.shape[1]
        for label in given.unique():
            own = reference[given == label]
            rows = torch.nonzero((self.y != label) & ~self.done).squeeze(1)
            size = max(1, _BLOCK // max(1, own.numel()))
            for part in rows.split(size):
                near = torch.cdist(self.x[part], own, p=self.norm.order).argmin(1)
                points = self._clip(part, own[near])
                hit, points = self._take(part, points)
                both = torch.cat([found[hit], points[:, None]], dim=1)
                far = norms((both - self.x[hit, None]).flatten(0, 1), self.norm)
                order = far.view(both.shape[:2]).argsort(dim=1, stable=True)[:, :starts]
                found[hit] = both.gather(1, order[:, :, None].expand(-1, -1, both.shape[2]))
        return found

    def _classes(self, points: Tensor) -> Tensor:
        size = max(1, _BLOCK // max(1, points.shape[1]))
        self.queries += len(points)
        shape = self.all_x.shape[1:]
        return torch.cat([self.decide(part.view(-1, *shape)) for part in points.split(size)])

    def _take(self, rows: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return (rows that these points are wrong for, where their ways meet the boundary)."""
        good = self.wrong(rows, points)
        hit = rows[good]
        points = self._back(hit, points[good])
        self.begun[hit] = True
        return hit, points

    def _between(self, rows: Tensor, points: Tensor, share: Tensor) -> Tensor:
        """Return the points at a share of the way from x: a blend, or in Linf a smaller box."""
        x = self.x[rows]
        if self.norm is Norm.L2:
            return x + share * (points - x)
        reach = (points - x).abs().amax(1, keepdim=True) * share
        return torch.minimum(torch.maximum(points, x - reach), x + reach)

    def _back(self, rows: Tensor, points: Tensor) -> Tensor:
        """Return where the way from these wrong points back to x leaves the other class."""
        far = torch.ones(len(rows), 1, dtype=self.x.dtype, device=self.x.device)
        near = torch.zeros_like(far)
        found = points.clone()
        theta = self.theta[rows].clamp(2.0**-_HALVINGS, 1e-3)
        for _ in range(_HALVINGS):
            open_ = torch.nonzero((far - near > theta).squeeze(1)).squeeze(1)
            if len(open_) == 0:
                break
            middle = (far[open_] + near[open_]) / 2
            tried = self._between(rows[open_], points[open_], middle)
            good = self.wrong(rows[open_], tried)
            found[open_[good]] = tried[good]
            far[open_[good]] = middle[good]
            near[open_[~good]] = middle[~good]
        return found

    def choose(self, points: Tensor, steps: int, samples: int) -> None:
        """Go on from the best of the beginnings ``(n, starts, d)``, after some steps of each."""
        if steps:
            number, start = torch.nonzero(torch.isfinite(points).all(2), as_tuple=True)
            twin = _Walk(self.decide, self.all_x[number], self.y[number], self.norm,
                         None, self.generator)  # fmt: skip
            twin.low, twin.high = self.low[number], self.high[number]
            twin.free, twin.theta = self.free[number], self.theta[number]
            twin.best = points[number, start]
            twin.begun |= True
            for t in range(1, steps + 1):
                twin.step(t, int(samples * math.sqrt(t)))
            self.queries += twin.queries
            points[number, start] = twin.best
            normals = torch.zeros_like(points)
            normals[number, start] = twin.normal
        far = norms((points - self.x[:, None]).flatten(0, 1), self.norm)
        least = far.view(points.shape[:2]).argmin(1)
        every = torch.arange(len(points), device=points.device)
        going = self.begun & ~self.done
        self.best[going] = points[every, least][going]
        if steps:
            self.normal[going] = normals[every, least][going]

    def step(self, t: int, samples: int) -> None:
        """Estimate the normal, step along it, and come back; keep what is nearer."""
        rows = torch.nonzero(self.begun & ~self.done).squeeze(1)
        if len(rows) == 0:
            return
        size = self._size(rows, self.best[rows])
        rows, size = rows[size > 0], size[size > 0][:, None]
        point = self.best[rows]
        free = self.free[rows]
        spread = (free.sqrt() if self.norm is Norm.L2 else free) * self.theta[rows] * size
        if t == 1:
            spread = 0.1 * size
        # below this the noise drowns in the rounding of the inputs
        spread = torch.maximum(spread, 1e-5 * point.abs().amax(1, keepdim=True)).clamp_min(TINY)
        normal = self._normal(rows, point, spread, samples)
        self.normal[rows] += normal
        direction = self._straight(normal)
        for along in (direction, self._straight(self.normal[rows])):
            point = self.best[rows]
            size = self._size(rows, point)[:, None]
            self._keep(rows, self._clip(rows, self.x[rows] + along * size))
        self._jump(rows, direction, t)

    def _jump(self, rows: Tensor, direction: Tensor, t: int) -> None:
        start = self.best[rows]
        length = self._size(rows, start)[:, None] / math.sqrt(t)
        open_ = torch.arange(len(rows), device=self.x.device)
        for _ in range(_HALVINGS):
            tried = self._clip(rows[open_], start[open_] + length[open_] * direction[open_])
            good = self.wrong(rows[open_], tried)
            hit = open_[good]
            if len(hit):
                self._offer(rows[hit], self._back(rows[hit], tried[good]))
            open_ = open_[~good]
            if len(open_) == 0:
                return
            length = length / 2

    def _keep(self, rows: Tensor, tried: Tensor) -> None:
        good = self.wrong(rows, tried)
        if bool(good.any()):
            self._offer(rows[good], self._back(rows[good], tried[good]))

    def _offer(self, rows: Tensor, points: Tensor) -> None:
        nearer = self._size(rows, points) < self._size(rows, self.best[rows])
        self.best[rows[nearer]] = points[nearer]

    def _normal(self, rows: Tensor, point: Tensor, spread: Tensor, samples: int) -> Tensor:
        """Return an estimate of the boundary's normal, towards the other class, of length 1."""
        total = torch.zeros_like(point)
        d = point.shape[1]
        size = max(1, _BLOCK // max(1, d * samples))
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            m = len(rows[part])
            noise = self.draw(m, samples, d)
            held = (self.low[rows[part]] == self.high[rows[part]])[:, None]
            noise = noise.masked_fill(held, 0.0)
            noise = _unit(noise)
            around = point[part, None] + spread[part, None] * noise
            low, high = self.low[rows[part], None], self.high[rows[part], None]
            around = torch.minimum(torch.maximum(around, low), high)
            noise = (around - point[part, None]) / spread[part, None]
            sign = self.wrong(rows[part].repeat_interleave(samples), around.flatten(0, 1))
            answer = sign.view(m, samples, 1).to(point.dtype) * 2 - 1
            mean = answer.mean(1, keepdim=True)
            # where all answers agree they are taken as they are
            weight = torch.where(mean.abs() < 1, answer - mean, answer)
            total[part] = (weight * noise).mean(1)
        return _unit(total)

    def _straight(self, normal: Tensor) -> Tensor:
        """Return the way of size 1 that goes farthest along the normal."""
        if self.norm is Norm.Linf:
            return normal.sign()
        return _unit(normal)

    def _clip(self, rows: Tensor, points: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(points, self.low[rows]), self.high[rows])

    def _size(self, rows: Tensor, points: Tensor) -> Tensor:
        return norms(points - self.x[rows], self.norm)

    def attempt(self) -> Attempt:
        """Return what was found."""
        return Attempt(
            x_adv=self.best.view_as(self.all_x), claimed=self.begun, gradients=0,
            queries=self.queries,
        )  # fmt: skip


def _unit(directions: Tensor) -> Tensor:
    """Return directions of length 1, along the last axis."""
    length = torch.linalg.vector_norm(directions, dim=-1, keepdim=True)
    scaled: Tensor = directions / length.clamp_min(TINY)
    return scaled
