"""What an archive of arrays or a folder of IDX files is, for a drafted audit."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from robreport import DataError, DataFile, DataGuess
from robreport_plugins.loaders.bounded import UNREADABLE_ARCHIVE, check_archive
from robreport_plugins.loaders.file_kind import file_kind
from robreport_plugins.loaders.wording import did_you_mean, listed

_INPUTS = ("x", "inputs", "input", "images", "image", "features", "data")
_LABELS = ("y", "labels", "label", "targets", "target", "classes", "class")
_PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test",
          "val": "calibration", "valid": "calibration", "calibration": "calibration"}  # fmt: skip
_UNREADABLE: tuple[type[Exception], ...] = (
    *UNREADABLE_ARCHIVE, TypeError, SyntaxError, RecursionError,
)  # fmt: skip


def guess_archive(question: DataFile) -> DataGuess | None:
    """Return what a NumPy archive holds; None when the file is something else.

    Raises
    ------
    DataError
        It is damaged, or has no array of the name that was given for the labels.
    """
    path = question.path
    if file_kind(path) != "npz":
        return None
    members = check_archive(path, path.stat().st_size, path.name, DataError, packed=True)
    names = [name.removesuffix(".npy") for name in members]
    found = _pairs(names, question.label, path)
    if not found:
        raise DataError(
            f"{path.name}: its arrays are {listed(map(repr, names))}, and inputs and labels are "
            "looked for as x and y (or x_train, y_train, x_test, y_test); say --label NAME."
        )
    shapes = _shapes(path, [x for x, _ in found.values()])
    notes = [
        f"Arrays {x!r} and {y!r} are taken for the inputs and labels of {role}."
        for role, (x, y) in found.items()
    ]
    options: dict[str, Any] = {}
    splits: dict[str, dict[str, Any]] = {}
    if set(found) == {"test"}:
        x, y = found["test"]
        options = {key: value for key, value in (("x", x), ("y", y)) if key != value}
        splits = {"test": {}}
        if question.alone:
            notes.append(
                "One pair of arrays is the test part; give the training data with --train, if "
                "you have it, for what asks about members."
            )
    else:
        splits = {role: {"x": x, "y": y} for role, (x, y) in found.items()}
    layout = _layout(shapes)
    if layout:
        options["layout"] = layout
        notes.append(f"The inputs are taken for pictures in the order {layout}, by their shape.")
    each = ", ".join(f"{name} {list(shape)}" for name, (shape, _) in shapes.items())
    return DataGuess(
        kind=f"NumPy archive, {each}",
        options=options,
        splits=splits,
        task=_task(path, next(iter(found.values()))[1]),
        notes=tuple(notes),
    )


def guess_idx(question: DataFile) -> DataGuess | None:
    """Return which splits a folder has in files as MNIST's are called; None for another folder."""
    from robreport_plugins.loaders.idx import candidates

    if file_kind(question.path) != "folder":
        return None
    there = {
        role: all(
            any(path.is_file() for path in candidates(question.path, role, stem))
            for stem in ("images-idx3-ubyte", "labels-idx1-ubyte")
        )
        for role in ("train", "test")
    }
    if not there["test"]:
        return None
    return DataGuess(
        kind="folder of IDX files, " + " and ".join(role for role, has in there.items() if has),
        key="",
        splits={role: {} for role, has in there.items() if has},
        task="classification",
    )


def _pairs(names: list[str], label: str, path: Path) -> dict[str, tuple[str, str]]:
    """Return the arrays of inputs and labels by role, as their names tell them apart."""
    if label and label not in names:
        raise DataError(
            f"{path.name}: --label names the array {label!r}, and the archive has "
            f"{listed(map(repr, names))}.{did_you_mean(label, names)}"
        )
    inputs: dict[str, str] = {}
    labels: dict[str, str] = {"test": label} if label else {}
    for name in names:
        words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
        role = next((_PARTS[word] for word in words if word in _PARTS), "")
        rest = [word for word in words if word not in _PARTS]
        if rest and rest[0] in _LABELS and not (label and not role):
            labels.setdefault(role or "test", name)
        elif rest and rest[0] in _INPUTS:
            inputs.setdefault(role or "test", name)
    if label and not inputs and len(names) == 2:
        inputs = {"test": next(name for name in names if name != label)}
    order = ("train", "test", "calibration")
    return {r: (inputs[r], labels[r]) for r in order if r in inputs and r in labels}


def _shapes(path: Path, names: list[str]) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Return shape and type of arrays from their headers; the loader checks them once more."""
    found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            for name in names:
                with archive.open(f"{name}.npy" if f"{name}.npy" in members else name) as stream:
                    first = np.lib.format.read_magic(stream) == (1, 0)
                    form = np.lib.format
                    read = form.read_array_header_1_0 if first else form.read_array_header_2_0
                    shape, _, dtype = read(stream)
                found[name] = (tuple(int(n) for n in shape), dtype)
    except _UNREADABLE as error:
        raise DataError(f"{path.name}: is damaged or no NumPy archive ({error}).") from None
    return found


def _layout(shapes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> str:
    """Return the order of axes that has to be said: the loader asks where it sees two."""
    shape, _ = next(iter(shapes.values()))
    if len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4):
        return "NHWC"
    return ""


def _task(path: Path, name: str) -> str:
    """Return the task that an array of labels suggests."""
    shape, dtype = _shapes(path, [name])[name]
    return "regression" if dtype.kind == "f" and shape else "classification"
