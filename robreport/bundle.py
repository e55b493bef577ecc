"""What a metric is given: one model, the splits it asked for, and what they can offer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    import torch

    from robreport.trees import TreeEnsemble

Array = npt.NDArray[Any]


class Needs(Flag):
    """What a metric asks of a bundle, and what a bundle offers; compared as sets."""

    NONE = 0
    LABELS = auto()
    PROBABILITIES = auto()
    LOGITS = auto()
    GRADIENTS = auto()
    PARAMETERS = auto()
    REFIT = auto()
    TREES = auto()
    MEMBERS = auto()
    OOD = auto()
    SHIFT = auto()
    REGRESSION = auto()
    CLASSIFICATION = auto()

    @property
    def words(self) -> tuple[str, ...]:
        """Lower-case names of the members, in declaration order."""
        return tuple(str(need.name).lower() for need in self)


class NotOffered(Exception):
    """A metric asked a model for something that it did not declare in its ``needs``."""


class ModelHandle:
    """One loaded model behind one face, whatever library it came from.

    Subclasses set `offers` and override what they offer. Inputs are in **data space**: the
    declared `input` transformation (normalisation, padding, layout) is part of the model.
    Batch first: ``x`` is ``(n, *input_shape)``.

    Attributes
    ----------
    name : str
        The model's name in the spec.
    kind : str
        What it is, in words a reviewer reads ("PyTorch Sequential, 166,406 parameters").
    offers : Needs
        PROBABILITIES, LOGITS, GRADIENTS, PARAMETERS, REFIT, TREES, REGRESSION, CLASSIFICATION.
    input_shape : tuple of int or None
        Shape of one input in data space; None when the model takes any.
    n_outputs : int
        Number of classes, or 1 for regression.
    facts : mapping
        Further plain facts for the provenance page (strings and numbers).
    digest : str
        What tells this model from another where no file does, such as a digest of its answers to
        fixed inputs; empty otherwise.
    """

    name: str = ""
    kind: str = ""
    offers: Needs = Needs.NONE
    input_shape: tuple[int, ...] | None = None
    n_outputs: int = 0
    facts: Mapping[str, str | int | float]
    digest: str = ""

    def __init__(self) -> None:
        self.facts = {}

    def predict(self, x: Array) -> Array:
        """Return predictions: class indices ``(n,)`` int64, or values ``(n,)`` float64."""
        raise NotOffered(f"{self.name}: predict")

    def predict_proba(self, x: Array) -> Array:
        """Return class probabilities ``(n, k)``, float64, rows summing to 1."""
        raise NotOffered(f"{self.name}: predict_proba")

    def logits(self, x: Array) -> Array:
        """Return pre-softmax scores ``(n, k)``."""
        raise NotOffered(f"{self.name}: logits")

    def torch_module(self) -> torch.nn.Module:
        """Return a module in eval mode mapping data-space ``(n, *input_shape)`` float32 tensors
        to logits ``(n, k)`` (or ``(n, 1)`` values), differentiable in its input.
        """
        raise NotOffered(f"{self.name}: torch_module")

    def refit(self, x: Array, y: Array, seed: int) -> ModelHandle:
        """Return a new model of the same class and hyper-parameters trained on ``(x, y)``."""
        raise NotOffered(f"{self.name}: refit")

    def trees(self) -> TreeEnsemble:
        """Return the model's trees as arrays over flattened data space, predicting as it does."""
        raise NotOffered(f"{self.name}: trees")

    def examine(self, splits: Mapping[str, Split]) -> Mapping[str, str | int | float]:
        """Return what a look at all rows of the audit's data shows, for the record.

        It is asked once in an audit, before anything is measured, with the splits that this model
        is measured on by role, and is for a loader that can hold its model against itself there.

        Raises
        ------
        ModelError
            The model cannot be trusted on some row; the audit does not measure it.
        """
        return {}

    def initial_parameters(self) -> Mapping[str, Array] | None:
        """Return the parameters before training where the model brings them, else None."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One named part of the data; ``x`` is read-only in spirit (memory-mapped copy-on-write).

    Attributes
    ----------
    role : str
        ``train``, ``test``, ``calibration``, ``ood.NAME``, ``shift.NAME`` or ``extra.NAME``.
    x : array (n, *shape)
        Inputs in data space, float32 for images, float64 for tables.
    y : array (n,) or None
        Class indices (int64) or values (float64); None for unlabelled sets.
    index : array (n,)
        Row number of each example in the source, so that a record can be found again.
    digest : str
        SHA-256 of dtype, shape and bytes of x and y.
    source : str
        Where it came from, in words.
    groups : array (n,) of str or None
        The value of the declared group column; "" where it is missing. The column need not be
        one of the features.

    A categorical column of a table holds codes: positions in ``DataSchema.categories``. A missing
    value of a table is NaN, and only columns named in ``DataSchema.missing`` have any.
    """

    role: str
    x: Array
    y: Array | None
    index: Array
    digest: str
    source: str = ""
    groups: Array | None = None

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def labels(self) -> Array:
        """The labels, for a metric that declared ``Needs.LABELS``."""
        if self.y is None:
            raise NotOffered(f"split {self.role}: labels")
        return self.y


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSchema:
    """What is known of the data whatever the split.

    ``bounds`` is ``(low, high)``; each a float or a tuple of one float per feature.
    ``classes`` are display names, index = class; empty for regression.
    ``layout`` is ``image`` (inputs ``(c, h, w)``), ``table`` (inputs ``(d,)``) or ``array``.

    The rest is about tables, whose columns have the names in ``features``:

    - ``categories``: the values of each categorical column; a code is a position among them, and
      the same in every split.
    - ``sensitive``: columns declared to be about protected or private traits.
    - ``frozen``: columns that nobody can change, so that an attack must leave them alone.
    - ``group``: name of the column in ``Split.groups``; empty for none. It need not be a feature.
    - ``integer``: columns, categorical ones aside, of whole numbers only, in all splits.
    - ``missing``: columns with a missing value (NaN) in some split.
    - ``positive``: the class declared to be the positive one of two; it is the last class then.
    """

    task: str
    input_shape: tuple[int, ...]
    layout: str
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    bounds: tuple[float | tuple[float, ...], float | tuple[float, ...]] | None = None
    target: str = ""
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sensitive: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    group: str = ""
    integer: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    positive: str = ""

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    def positions(self, names: Iterable[str]) -> tuple[int, ...]:
        """Return where columns of these names stand in ``x``."""
        place = {name: i for i, name in enumerate(self.features)}
        return tuple(place[name] for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One model with the splits that the metric declared, and what both offer together."""

    model: ModelHandle
    splits: Mapping[str, Split]
    schema: DataSchema
    offers: Needs
    digests: Mapping[str, str] = field(default_factory=dict)

    def split(self, role: str) -> Split:
        """Return the split of that role.

        Raises
        ------
        NotOffered
            The metric did not declare it in ``splits``, or the audit has none.
        """
        try:
            return self.splits[role]
        except KeyError:
            raise NotOffered(f"split {role}") from None

    def group(self, prefix: str) -> dict[str, Split]:
        """Return the splits ``prefix.NAME`` by NAME, in declaration order."""
        head = prefix + "."
        return {r[len(head) :]: s for r, s in self.splits.items() if r.startswith(head)}
