"""What a loader is given and what it returns: the contract of the loader hooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy.typing as npt

if TYPE_CHECKING:
    from robreport.bundle import DataSchema, ModelHandle
    from robreport.metric import Params

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """One ``[[models]]`` entry, resolved.

    Attributes
    ----------
    name : str
    path : Path or None
        The model's file, resolved and present; None when the entry has none.
    base : Path
        The folder of the spec, where ``module:callable`` is looked up.
    options : Params
        The loader's own `Options`, validated.
    trusted : bool
        Whether the entry says ``trusted = true``.
    device : str
    schema : DataSchema or None
        What is known of the data; None when a model is loaded without an audit.
    examples : array (n, *shape) or None
        A few rows of the data, the same whenever the model is loaded in an audit, for a loader
        that has to try the model out; None when there is no data.
    """

    name: str
    path: Path | None
    base: Path
    options: Any
    trusted: bool = False
    device: str = "cpu"
    schema: DataSchema | None = None
    examples: Array | None = None


class ModelLoader(Protocol):
    """Loads one kind of model file. `Options` are the entry's keys beside the common ones.

    A loader whose models can change while their files and options stay the same, such as those
    behind a service, also has ``changes = True``: such a model is tried out in every audit, and
    its handle's `digest` tells whether it is still the same.

    A loader that also has ``recognise(path) -> ModelGuess | None`` takes part in drafting audits.
    """

    Options: ClassVar[type[Params]]
    summary: ClassVar[str]

    def load(self, source: ModelSource) -> ModelHandle:
        """Return the model; raise `ModelError` with one clear sentence when it cannot be used."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSource:
    """One split of ``[data]``, resolved: the keys of ``[data]`` with those of the split on top."""

    role: str
    base: Path
    root: Path
    options: Any
    seed: int
    task: str
    declared_schema: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedData:
    """What a data loader returns.

    Attributes
    ----------
    x : array (n, *shape)
        Inputs in data space. uint8 images are scaled to [0, 1] by the loader.
    y : array (n,) or None
        Integer class codes into `classes`, or values for regression.
    classes : tuple of str
        Names of the classes that the codes stand for; empty when the loader knows no names
        (then they are 0 … k−1).
    features : tuple of str
        Names of the columns of a table; empty otherwise.
    layout : "image", "table" or "array"
    source : str
        Where it came from, in words, without the machine's paths.
    index : array (n,) or None
        Row numbers in the source; None for 0 … n−1.
    categories : mapping of str to tuple of str
        For each categorical column of a table, the values that its codes 0, 1, 2 … in `x` stand
        for. Splits need not have seen the same values: they are matched by name afterwards.
    columns : tuple of str
        Names of all the columns of the source, label included, that positions in ``[data] schema``
        count; `features` when left out.
    target : str
        Name of the label's column; empty when it has none.
    missing : bool
        Whether NaN in `x` stands for a missing value; a NaN is refused otherwise.
    groups : array (n,) of str or None
        The values of the group column, "" where missing; `group` is that column's name.
    numbered : bool
        Whether `classes` are numbers that the core made up, since the loader named none.
    """

    x: Array
    y: Array | None
    layout: str
    source: str
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    index: Array | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    target: str = ""
    missing: bool = False
    groups: Array | None = None
    group: str = ""
    numbered: bool = False


class DataLoader(Protocol):
    """Loads one kind of data. `Options` are the keys that ``[data]`` and its splits may have.

    A loader may also have ``files(source) -> tuple[Path, ...]``: every file that `load` reads. What
    was decoded is then used again while those files, the options and the loader's code are the
    same. It runs in the main process, so it must be quick and import nothing heavy.

    With ``recognise(question: DataFile) -> DataGuess | None`` it takes part in drafting audits.
    """

    Options: ClassVar[type[Params]]
    summary: ClassVar[str]

    def load(self, source: SplitSource) -> LoadedData:
        """Return the split; raise `DataError` with one clear sentence when it cannot be used."""
        ...
