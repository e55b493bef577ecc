"""Smallest changes that alter what trees say: exact for one tree, searched for an ensemble."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Norm, TreeEnsemble
from robreport_plugins.methods import _kernels
from robreport_plugins.methods.space import Space
from robreport_plugins.methods.tree_cells import Cells, cells_of
from robreport_plugins.methods.tree_leaves import Leaves, leaves_of

Rows = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_NUMBERS = {Norm.L0: 0, Norm.L1: 1, Norm.L2: 2, Norm.Linf: 3}
# Distances to reference rows that are held at a time.
_BLOCK = 2_000_000
# Single moves that a search looks at together.
_MOVES = 20_000


def nearest_other_leaf(
    ensemble: TreeEnsemble,
    space: Space,
    x: Rows,
    y: npt.ArrayLike,
    norm: Norm,
    aim: npt.ArrayLike | None = None,
) -> tuple[Rows, Floats]:
    """Return the nearest rows that one tree puts into another class, and how far they are.

    Parameters
    ----------
    ensemble : TreeEnsemble
        A classifier of one tree.
    space : Space
        Where the attacker may go.
    x : array (n, *shape), float32 or float64
    y : array (n,) of int
        The classes that the tree should give.
    norm : Norm
        L0, L1, L2 or Linf, in the units of the space.
    aim : array (n,) of int or None
        The class that each row is to be put into; None for any but that of `y`.

    Returns
    -------
    x_adv : array (n, *shape)
        In x's own type; x itself where the tree gives such a class already, or where no such leaf
        can be reached.
    size : array (n,) float64
        Exactly minimal over all rows of x's type that the space allows; infinite where no leaf
        can be reached, and for rows with missing values, of which a change has no size.

    Raises
    ------
    ValueError
        More than one tree, a regression, or inputs that do not fit.

    Notes
    -----
    A leaf is a box: on each feature that its path asks for, one stretch of numbers, or for
    categories several. Features are chosen independently of each other (those of a one-hot group
    together), so the nearest row of a box is the nearest value on each.
    """
    if len(ensemble.trees) != 1:
        raise ValueError(f"found {len(ensemble.trees)} trees; nearest_other_leaf takes one")
    ways = _Ways(ensemble, space, x)
    cells = cells_of(ensemble, x.dtype)
    leaves = leaves_of(cells, ensemble.n_features, ways.group)
    given = _classes(ensemble, cells.value[leaves.node], cells.output[0])
    least, found = np.empty(len(ways.x)), ways.x.copy()
    goal = _goals(y, aim, len(x))
    room = ways.room(cells, goal, norm)
    _kernels.nearest_leaves(room, _leaves(leaves, given), least, found)
    return _confirmed(ensemble, space, ways, x, goal, found, np.isfinite(least), norm)


def smallest_in_cells(
    ensemble: TreeEnsemble,
    space: Space,
    x: Rows,
    y: npt.ArrayLike,
    norm: Norm,
    reference: Rows,
    *,
    aim: npt.ArrayLike | None = None,
    starts: int = 2,
    tries: int = 100,
    kicks: int = 16,
    steps: int = 100_000,
) -> tuple[Rows, Floats]:
    """Return near rows that an ensemble puts into another class, and how far they are.

    Parameters
    ----------
    ensemble : TreeEnsemble
        A classifier of any number of trees.
    space, x, y, norm, aim
        As for `nearest_other_leaf`.
    reference : array (m, *shape)
        Rows of the data; those that the ensemble puts into other classes are where a search
        starts, the nearest first.
    starts : int
        Searches for each row, besides the one that goes outwards from the row itself.
    tries : int
        Reference rows that are tried for those starts: fixed features and one-way ones are left
        out of them, after which the class may be the own one again.
    kicks : int
        Trades of a kind that are tried before a search gives up.
    steps : int
        Descents of single trees after which each search stops looking for trades; large forests
        reach it.

    Returns
    -------
    x_adv : array (n, *shape)
        In x's own type; x itself where such a class is given already, or none was found.
    size : array (n,) float64
        An upper bound on the smallest change; infinite where none was found.

    Raises
    ------
    ValueError
        A regression, or inputs that do not fit.

    Notes
    -----
    An ensemble is constant on products of cells (`tree_cells`), and the best row of a product
    is the nearest value of each cell, so the search is over cells. From a start it draws one
    coordinate after the other towards the input while the class stays wrong, then trades: one
    nearer for one farther; one farther, then all others nearer; one all the way back, then
    others farther, most margin for their size first. In Linf it raises the margin coordinate by
    coordinate in smaller and smaller balls. That a search moves between neighbouring regions of
    an ensemble, each with its nearest point, is the idea of Zhang, Zhang and Hsieh ("An efficient
    adversarial attack for tree ensembles", 2020). Every result is one that the ensemble, summed
    as its library sums, gives another class.
    """
    if starts < 0 or tries < 0 or kicks < 1:
        raise ValueError(
            f"starts and tries must be at least 0 and kicks at least 1, found {starts}, {tries} "
            f"and {kicks}"
        )
    ways = _Ways(ensemble, space, x)
    goal = _goals(y, aim, len(x))
    cells = cells_of(ensemble, x.dtype)
    base = np.asarray(reference, dtype=x.dtype).reshape(len(reference), ensemble.n_features)
    base = base[np.isfinite(base).all(axis=1)]
    near = _nearest(space, ways, ensemble.predict(base), base, goal, norm, tries)
    least, found = np.empty(len(ways.x)), ways.x.copy()
    case = _case(ensemble, cells, ways, goal, norm, steps)
    _kernels.search(
        case, near, cells.locate(base), ways.choices(base), starts,
        _states(case, 4), _records(_kernels.MOVE, _MOVES), _records(_kernels.TRADE, kicks),
        least, found,
    )  # fmt: skip
    return _confirmed(ensemble, space, ways, x, goal, found, np.isfinite(least), norm)


class _Ways:
    """The inputs, flat, and where each of their features may go, as the kernels read it."""

    def __init__(self, ensemble: TreeEnsemble, space: Space, x: Rows) -> None:
        if not ensemble.n_classes:
            raise ValueError("a regression has no classes to tell apart")
        if x.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"inputs are float32 or float64, found {x.dtype}")
        if x.shape[1:] != space.shape or int(np.prod(space.shape)) != ensemble.n_features:
            raise ValueError(
                f"inputs of shape {x.shape[1:]}, a space of {space.shape} and trees of "
                f"{ensemble.n_features} features do not fit together"
            )
        d = ensemble.n_features
        flat = x.reshape(len(x), d)
        self.sound = np.asarray(np.isfinite(flat).all(axis=1))
        self.dtype = x.dtype
        self.x = np.where(self.sound[:, None], flat, 0.0).astype(np.float64)
        low, high = (np.broadcast_to(end, x.shape).reshape(-1, d) for end in space.room(x))
        self.floor, self.ceiling = _within(low, x.dtype, 1), _within(high, x.dtype, -1)
        self.unit = np.ones(d) if space.unit is None else space.unit.reshape(-1).astype(float)
        self.kind = space.whole.reshape(-1).astype(np.int64)
        for place, count in space.codes.items():
            self.kind[place] = 2
            self.floor[:, place] = np.maximum(self.floor[:, place], 0)
            self.ceiling[:, place] = np.minimum(self.ceiling[:, place], count - 1)
        self.group = np.full(d, -1, dtype=np.int64)
        for number, members in enumerate(space.groups):
            self.kind[members] = 3
            self.group[members] = number
        self.group_start = np.cumsum([0, *map(len, space.groups)]).astype(np.int64)
        self.group_member = np.concatenate([np.zeros(0, dtype=np.int64), *space.groups])
        self.group_member = self.group_member.astype(np.int64)
        self.groups = space.groups

    def room(self, cells: Cells, goal: Ints, norm: Norm) -> _kernels.Room:
        """Return the rows and their goals as the kernels read them."""
        d = len(self.unit)
        zero, one = (cells.locate(np.full((1, d), value, dtype=self.dtype))[0] for value in (0, 1))
        return _kernels.Room(
            spots=_records(
                _kernels.SPOT, self.x.shape, x=self.x, floor=self.floor, ceiling=self.ceiling,
                home=cells.locate(self.x.astype(self.dtype)),
            ),
            features=_records(
                _kernels.FEATURE, d, unit=self.unit, kind=self.kind, group=self.group,
                start=cells.start[:-1], cells=np.diff(cells.start), zero=zero, one=one,
            ),
            group_start=self.group_start, group_member=self.group_member, goal=goal,
            norm=_NUMBERS[norm],
        )  # fmt: skip

    def coordinates(self, cells: Cells) -> Ints:
        """Return what a search may move: features that some tree asks for, a group as -1 - g."""
        asked = np.diff(cells.start) > 1
        alone = np.flatnonzero(asked & (self.group < 0))
        together = [-1 - g for g, members in enumerate(self.groups) if asked[members].any()]
        return np.asarray([*alone, *together], dtype=np.int64)

    def choices(self, base: Rows) -> Ints:
        """Return the member that is 1 in each group of each row, -1 for none ``(m, groups)``."""
        found = np.full((len(base), max(1, len(self.groups))), -1, dtype=np.int64)
        for number, members in enumerate(self.groups):
            values = base[:, members]
            one = ((values == 0) | (values == 1)).all(axis=1) & (values.sum(axis=1) == 1)
            found[:, number] = np.where(one, values.argmax(axis=1), -1)
        return found


def _within(ends: Floats, dtype: np.dtype[np.floating], side: int) -> Floats:
    """Return the ends as numbers of the inputs' type, rounded into the room."""
    with np.errstate(over="ignore"):
        cast = ends.astype(dtype)
    beyond = cast < ends if side > 0 else cast > ends
    return np.where(beyond, np.nextafter(cast, dtype.type(side * np.inf)), cast).astype(np.float64)


def _goals(y: npt.ArrayLike, aim: npt.ArrayLike | None, n: int) -> Ints:
    """Return the class that each row is to leave, or -1 - c for the class c that it is to reach."""
    labels = np.asarray(y if aim is None else aim)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels are {n} whole numbers, found {labels.dtype} {labels.shape}")
    if labels.min(initial=0) < 0:
        raise ValueError(f"labels count from 0, found {labels.min()}")
    return labels.astype(np.int64) if aim is None else -1 - labels.astype(np.int64)


def _reached(goal: Ints, given: Ints) -> npt.NDArray[np.bool_]:
    """Return whether classes are those that are looked for."""
    return np.asarray(np.where(goal < 0, given == -1 - goal, given != goal))


def _classes(ensemble: TreeEnsemble, value: Floats, output: int) -> Ints:
    """Return the class that each leaf of the only tree gives."""
    kind = np.dtype(ensemble.sum_dtype)
    total = np.tile(ensemble.base.astype(kind), (len(value), 1))
    if output < 0:
        total += value.astype(kind)
    else:
        total[:, output] += value[:, 0].astype(kind)
    order = _order(ensemble)
    if ensemble.link == "sigmoid":
        return np.where(total[:, 0] == 0, order[0], total[:, 0] > 0).astype(np.int64)
    return np.asarray(order[total[:, order].argmax(axis=1)], dtype=np.int64)


def _order(ensemble: TreeEnsemble) -> Ints:
    # an array of its own: for a read-only one the kernels would be compiled once more
    given = ensemble.class_order
    return np.array(range(ensemble.n_classes) if given is None else given, dtype=np.int64)


def _records(
    kind: np.dtype[np.void], shape: int | tuple[int, ...], /, **fields: npt.NDArray[Any]
) -> _kernels.Records:
    """Return records of these fields, zeros where none are given."""
    records = np.zeros(shape, dtype=kind)
    for name, values in fields.items():
        records[name] = values
    return records.view(np.recarray)


def _leaves(leaves: Leaves, given: Ints) -> _kernels.Leaves:
    return _kernels.Leaves(
        given=given, start=leaves.start, asked=leaves.asked, stretch_start=leaves.stretch_start,
        stretches=_records(_kernels.STRETCH, len(leaves.low), low=leaves.low, high=leaves.high),
    )  # fmt: skip


def _case(
    ensemble: TreeEnsemble, cells: Cells, ways: _Ways, goal: Ints, norm: Norm, steps: int
) -> _kernels.Case:
    kind = np.dtype(ensemble.sum_dtype)
    shares = np.ones(ensemble.n_outputs)
    if ensemble.aggregation == "mean":
        every = float((cells.output < 0).sum())
        added = np.bincount(cells.output[cells.output >= 0], minlength=ensemble.n_outputs)
        shares = np.maximum(every + added, 1.0)
    base = ensemble.base.astype(kind).astype(np.float64)
    largest = np.maximum.reduceat(np.abs(cells.value).max(axis=1), cells.root).sum()
    doubt = 4 * (len(cells.root) + 2) * np.finfo(kind).eps * (np.abs(base).max() + largest)
    return _kernels.Case(
        nodes=_records(
            _kernels.NODE, len(cells.feature), feature=cells.feature, left=cells.left,
            right=cells.right, cut=cells.cut, special=cells.special,
        ),
        table=cells.table, value=cells.value,
        trees=_records(_kernels.TREE, len(cells.root), root=cells.root, output=cells.output),
        cells=_records(
            _kernels.CELL, len(cells.low), low=cells.low, high=cells.high,
            border=cells.border_start[:-1],
        ),
        border_tree=cells.border_tree,
        outputs=_records(_kernels.OUTPUT, len(base), offset=base, share=shares),
        order=_order(ensemble), single=kind == np.float32, binary=ensemble.link == "sigmoid",
        doubt=float(doubt), coordinate=ways.coordinates(cells), steps=steps,
        **ways.room(cells, goal, norm)._asdict(),
    )  # fmt: skip


def _states(case: _kernels.Case, number: int) -> _kernels.State:
    trees, outputs = (number, len(case.trees)), (number, len(case.outputs))
    return _kernels.State(
        cell=np.zeros((number, len(case.features)), dtype=np.int64),
        leaf=np.zeros(trees, dtype=np.int64), mark=np.zeros(trees, dtype=np.int64),
        total=np.zeros(outputs), exact=np.zeros(outputs),
        coordinates=_records(_kernels.COORDINATE, (number, len(case.coordinate))),
        progress=_records(_kernels.PROGRESS, (number, 1)),
    )  # fmt: skip


def _nearest(
    space: Space, ways: _Ways, given: Ints, base: Rows, goal: Ints, norm: Norm, tries: int
) -> Ints:
    """Return the numbers of the nearest rows that are at the goal ``(n, tries)``, -1 for none."""
    wide = min(tries, len(base))
    near = np.full((len(goal), wide), -1, dtype=np.int64)
    if not wide:
        return near
    rows = max(1, _BLOCK // max(1, base.size))
    for start in range(0, len(goal), rows):
        stop = min(len(goal), start + rows)
        own = np.repeat(ways.x[start:stop], len(base), axis=0)
        far = space.sizes(own, np.tile(base, (stop - start, 1)), norm).reshape(-1, len(base))
        far = np.where(_reached(goal[start:stop, None], given[None]), far, np.inf)
        order = np.argsort(far, axis=1, kind="stable")[:, :wide]
        near[start:stop] = np.where(np.isinf(np.take_along_axis(far, order, axis=1)), -1, order)
    return near


def _confirmed(
    ensemble: TreeEnsemble,
    space: Space,
    ways: _Ways,
    x: Rows,
    goal: Ints,
    found: Floats,
    claimed: npt.NDArray[np.bool_],
    norm: Norm,
) -> tuple[Rows, Floats]:
    """Return only what the ensemble itself puts at the goal, with the space's own sizes."""
    x_adv = found.astype(x.dtype).reshape(x.shape)
    claimed = claimed & ways.sound
    x_adv[~claimed] = x[~claimed]
    good = claimed.copy()
    if claimed.any():
        given = ensemble.predict(x_adv[claimed])
        good[claimed] = _reached(goal[claimed], given)
        good[claimed] &= space.valid(x[claimed], x_adv[claimed])
    x_adv[~good] = x[~good]
    if not len(x):
        return x_adv, np.zeros(0)
    return x_adv, np.where(good, space.sizes(x, x_adv, norm), np.inf)
