"""What loaders say of files when an audit is drafted: the optional part of their contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGuess:
    """What a model loader recognised in a file.

    Attributes
    ----------
    kind : str
        What it is, in a few words ("ONNX network, 12 operators").
    options : mapping
        Keys of the loader to write into the ``[[models]]`` entry.
    notes : tuple of str
        What was guessed and why, a sentence each: comments above the entry.
    missing : mapping of str to str
        Keys without which the model cannot be loaded, and which the file does not say, each with
        a sentence on what to write there.
    trust : str
        Why ``trusted = true`` would be needed, in a clause ("reading a pickle runs code from
        it"); empty when it is not.
    task : "classification", "regression" or ""
        What it predicts, where the file says it.
    features : tuple of str
        Names of the columns that it takes, where the file says them.
    width : int or None
        How many numbers one input has, where the file says it.
    categories : mapping of str to tuple of str
        The names of columns' categories in the order of their codes, where the file says them.
    certainty : float
        From 0 to 1; of several loaders that recognise a file, the surest is taken.
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    trust: str = ""
    task: str = ""
    features: tuple[str, ...] = ()
    width: int | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    certainty: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A file or folder of data that a draft is made from, with what is known already.

    Attributes
    ----------
    path : Path
    label : str
        The label's column (or array) as the author names it; empty when it is to be guessed.
    task : "classification", "regression" or ""
        What the models predict, where they say it.
    features : tuple of str
        Names of the columns that a model takes, where one says them.
    width : int or None
        How many numbers one input has, where a model says it.
    categories : mapping of str to tuple of str
        The names of columns' categories in the order of their codes, where a model says them.
    alone : bool
        Whether it has to give both train and test.
    """

    path: Path
    label: str = ""
    task: str = ""
    features: tuple[str, ...] = ()
    width: int | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    alone: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DataGuess:
    """What a data loader recognised in a file or folder.

    Attributes
    ----------
    kind : str
        What it is, in a few words ("table of 48,842 rows and 15 columns").
    key : str
        The loader's key that names the file; empty for a folder, which becomes ``root``.
    options : mapping
        Keys of the loader for ``[data]``.
    splits : mapping of role to mapping
        The splits that it gives, each with keys of its own: ``train`` and ``test`` where the
        loader can divide it, else ``test``. Looked at only where the file is alone.
    schema : mapping
        Keys of ``[data] schema``.
    task : "classification", "regression" or ""
        What the labels suggest.
    notes : tuple of str
        What was guessed and why, a sentence each: comments above ``[data]``.
    certainty : float
        From 0 to 1; of several loaders that recognise a file, the surest is taken.
    """

    kind: str
    key: str = "path"
    options: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    schema: Mapping[str, Any] = field(default_factory=dict)
    task: str = ""
    notes: tuple[str, ...] = ()
    certainty: float = 1.0
