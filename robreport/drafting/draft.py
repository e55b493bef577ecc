"""Draft an audit from models and data: look at the files, and write an audit.toml that runs."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robreport.drafting.guess import guess_data, guess_model
from robreport.errors import OutputError, UsageError
from robreport.plugins import Registry
from robreport.recognition import DataFile, DataGuess, ModelGuess


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftModel:
    """A model of a draft: what its file is, and how the audit file names it."""

    name: str
    loader: str
    path: str
    guess: ModelGuess
    trusted: bool = False

    def entry(self) -> dict[str, Any]:
        """Return its ``[[models]]`` entry."""
        tree = {"name": self.name, "loader": self.loader, "path": self.path}
        trust = {"trusted": True} if self.trusted else {}
        return {**tree, **trust, **self.guess.options}


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftData:
    """The data of a draft: one loader, keys for all splits, and those of each."""

    loader: str
    kinds: tuple[str, ...]
    task: str
    root: str = "."
    options: dict[str, Any] = field(default_factory=dict)
    schema: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def table(self) -> dict[str, Any]:
        """Return ``[data]``, without bounds."""
        head: dict[str, Any] = {"task": self.task, "loader": self.loader}
        if self.root != ".":
            head["root"] = self.root
        schema = {"schema": self.schema} if self.schema else {}
        return {**head, **self.options, **schema, **self.splits}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Everything that was recognised, before anything is loaded."""

    folder: Path
    title: str
    models: tuple[DraftModel, ...]
    data: DraftData


def make_draft(
    registry: Registry,
    folder: Path,
    *,
    models: Sequence[Path],
    data: Path | None = None,
    train: Path | None = None,
    test: Path | None = None,
    label: str = "",
    trusted: bool = False,
    copy: bool = False,
) -> Draft:
    """Return the draft of an audit in `folder`, which is made; files are copied where asked.

    Raises
    ------
    UsageError
        A file is missing or of no kind that is known, or the files contradict each other.
    OutputError
        The folder holds an audit.toml already, or cannot be written.
    RobreportError
        A file is damaged.
    """
    if data is None and train is None and test is None:
        raise UsageError("--from needs data to audit the models on: say --data FILE.")
    if data is not None and train is not None and test is not None:
        raise UsageError("--data stands for train or test; with both --train and --test, drop it.")
    guesses = [(path, *guess_model(registry, path, trusted=trusted)) for path in models]
    task = _one_task(guesses)
    features = next((g.features for _, _, g in guesses if g.features), ())
    width = next((g.width for _, _, g in guesses if g.width), None)
    _make_folder(folder)
    place = _Places(folder, copy)
    categories = next((g.categories for _, _, g in guesses if g.categories), {})
    question = DataFile(
        path=folder, label=label, task=task, features=features, width=width, categories=categories
    )
    drafted = _data(registry, question, place, data=data, train=train, test=test)
    names = _names([path for path, _, _ in guesses])
    entries = [
        DraftModel(
            name=name,
            loader=loader,
            path=place.written(path),
            guess=guess,
            trusted=bool(guess.trust),
        )
        for name, (path, loader, guess) in zip(names, guesses, strict=True)
    ]
    return Draft(
        folder=folder,
        title=f"Audit of {', '.join(names)}"[:300] if names else "Audit of the data",
        models=tuple(entries),
        data=drafted,
    )


def _one_task(guesses: Iterable[tuple[Path, str, ModelGuess]]) -> str:
    tasks = {guess.task: path.name for path, _, guess in guesses if guess.task}
    if len(tasks) > 1:
        said = " and ".join(f"{name} is for {task}" for task, name in sorted(tasks.items()))
        raise UsageError(f"--from: {said}; one audit has one task, so draft two.")
    return next(iter(tasks), "")


def _data(
    registry: Registry,
    question: DataFile,
    place: _Places,
    *,
    data: Path | None,
    train: Path | None,
    test: Path | None,
) -> DraftData:
    """Return the data of a draft: one file that is divided, or one for each split."""
    if train is None and test is None and data is not None:
        loader, guess = guess_data(registry, replace(question, path=data), "--data")
        return _alone(question, data, loader, guess, place)
    files = {"train": train or (data if test is not None else None), "test": test or data}
    if files["test"] is None:
        raise UsageError("--train needs the test data as well: say --test FILE.")
    found: dict[str, tuple[str, DataGuess]] = {}
    for role, path in files.items():
        if path is not None:
            option = f"--{role}" if (train if role == "train" else test) else "--data"
            found[role] = guess_data(registry, replace(question, path=path, alone=False), option)
    return _apart(question, {r: p for r, p in files.items() if p is not None}, found, place)


def _alone(
    question: DataFile, path: Path, loader: str, guess: DataGuess, place: _Places
) -> DraftData:
    written = place.written(path)
    splits = {role: dict(keys) for role, keys in guess.splits.items()} or {"test": {}}
    return DraftData(
        loader=loader,
        kinds=(f"{path.name}: {guess.kind}",),
        task=question.task or guess.task or "classification",
        root="." if guess.key else written,
        options={**({guess.key: written} if guess.key else {}), **guess.options},
        schema=dict(guess.schema),
        splits=splits,
        notes=guess.notes,
    )


def _apart(
    question: DataFile,
    files: dict[str, Path],
    found: dict[str, tuple[str, DataGuess]],
    place: _Places,
) -> DraftData:
    """Return data of one file per split; what both files say alike stands in [data]."""
    loader, lead = found["test"]
    tasks = {guess.task for _, guess in found.values() if guess.task}
    alike = {
        key: value
        for key, value in lead.options.items()
        if all(n == loader and g.options.get(key) == value for n, g in found.values())
    }
    splits = {}
    for role, path in files.items():
        name, guess = found[role]
        written = place.written(path)
        splits[role] = {
            **({"loader": name} if name != loader else {}),
            **({guess.key: written} if guess.key else {"root": written}),
            **{key: value for key, value in guess.options.items() if key not in alike},
        }
    return DraftData(
        loader=loader,
        kinds=tuple(f"{files[role].name}: {guess.kind}" for role, (_, guess) in found.items()),
        task=question.task or ("regression" if "regression" in tasks else "classification"),
        options=alike,
        schema=_merged([guess.schema for _, guess in found.values()]),
        splits=splits,
        notes=lead.notes,
    )


def _merged(schemas: list[Any]) -> dict[str, Any]:
    """Return one schema of several: lists joined, so that a column is categorical for all."""
    made: dict[str, Any] = {}
    for schema in schemas:
        for key, value in schema.items():
            if isinstance(value, list | tuple) and key != "classes":
                made[key] = list(dict.fromkeys([*made.get(key, []), *value]))
            else:
                made[key] = value
    return made


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each model, from its file's."""
    names: list[str] = []
    for path in paths:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name.partition(".")[0]).strip("-.")[:48]
        name, number = stem or "model", 1
        while name in names:
            number += 1
            name = f"{stem or 'model'}-{number}"
        names.append(name)
    return names


def _make_folder(folder: Path) -> None:
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is no folder; nothing was written.")
        if (folder / "audit.toml").exists():
            raise OutputError(f"{folder / 'audit.toml'} exists already; nothing was written.")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}.") from None


class _Places:
    """Says how the audit file names a file: relative to it, or copied beside it."""

    def __init__(self, folder: Path, copy: bool) -> None:
        self._folder = folder
        self._copy = copy
        self._known: dict[Path, str] = {}

    def written(self, path: Path) -> str:
        """Return the path as the audit file has it, with slashes; copy the file where asked."""
        source = path.absolute()
        if source not in self._known:
            self._known[source] = self._copied(source) if self._copy else self._relative(source)
        return self._known[source]

    def _relative(self, source: Path) -> str:
        try:
            relative = os.path.relpath(source, self._folder.absolute())
        except ValueError:  # another drive
            return source.as_posix()
        return Path(relative).as_posix()

    def _copied(self, source: Path) -> str:
        taken = set(self._known.values())
        name, number = source.name, 1
        while name in taken or (self._folder / name).exists():
            if name not in taken and (self._folder / name).samefile(source):
                return name
            number += 1
            name = f"{number}-{source.name}"
        try:
            if source.is_dir():
                shutil.copytree(source, self._folder / name)
            else:
                shutil.copyfile(source, self._folder / name)
        except (OSError, shutil.Error) as error:
            said = getattr(error, "strerror", None) or "see the folder"
            raise OutputError(f"{source.name} cannot be copied: {said}.") from None
        return name
