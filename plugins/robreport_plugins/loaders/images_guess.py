"""What a folder of pictures is, for a drafted audit."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from pathlib import Path
from typing import Any

from robreport import DataFile, DataGuess
from robreport_plugins.loaders.file_kind import file_kind
from robreport_plugins.loaders.regular_file import DAMAGED

_ENDINGS = (".png", ".jpg", ".jpeg")
_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation")
_MOST_FOLDERS = 2000
_LOOKED_AT = 200


def guess_images(question: DataFile) -> DataGuess | None:
    """Return how a folder is divided into splits and classes; None when it holds no such images."""
    if file_kind(question.path) != "folder":
        return None
    inside = {path.name.lower(): path for path in _folders(question.path)}
    train = next((inside[name] for name in _TRAIN if name in inside), None)
    test = next((inside[name] for name in _TEST if name in inside), None)
    options: dict[str, Any] = {}
    splits: dict[str, dict[str, Any]] = {}
    if test is not None and _classes(test):
        for role, path in (("train", train), ("test", test)):
            if path is not None and _classes(path):
                splits[role] = {} if path.name == role else {"path": path.name}
        classes = _classes(test)
    else:
        classes = _classes(question.path)
        options["path"] = "."
        splits["test"] = {}
    if not classes:
        return None
    sizes, modes = _forms(classes)
    notes = []
    if len(sizes) > 1:
        height, width = sizes.most_common(1)[0][0]
        options["size"] = [height, width]
        notes.append(f"Images differ in size; {height} x {width}, the most common, is a guess.")
    if len(modes) > 1:
        options["mode"] = "rgb"
        notes.append("Some images are grey and some are not; all are read as RGB.")
    if "train" not in splits and question.alone:
        notes.append("There is no folder of training images: nothing can be asked about members.")
    return DataGuess(
        kind=f"folder of images in {len(classes)} classes, {' and '.join(splits)}",
        key="",
        options=options,
        splits=splits,
        task="classification",
        notes=tuple(notes),
        certainty=0.9,
    )


def _folders(root: Path) -> list[Path]:
    with os.scandir(root) as entries:
        found = (entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        names = sorted(itertools.islice(found, _MOST_FOLDERS))
    return [root / name for name in names if not name.startswith(".")]


def _images(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        found = (entry.name for entry in entries if entry.name.lower().endswith(_ENDINGS))
        names = sorted(itertools.islice(found, _LOOKED_AT))
    return [folder / name for name in names]


def _classes(root: Path) -> list[list[Path]]:
    """Return some images of each class; none where not every folder holds images."""
    found = [_images(folder) for folder in _folders(root)]
    return found if len(found) > 1 and all(found) else []


def _forms(classes: list[list[Path]]) -> tuple[Counter[tuple[int, int]], set[bool]]:
    """Return how often each (height, width) occurs, and whether there is grey and colour."""
    from PIL import Image

    damaged: tuple[type[Exception], ...] = (Image.DecompressionBombError, *DAMAGED)
    sizes: Counter[tuple[int, int]] = Counter()
    grey: set[bool] = set()
    each = max(1, _LOOKED_AT // len(classes))
    for path in itertools.chain.from_iterable(images[:each] for images in classes):
        try:
            # opening reads the header alone; a damaged one is the loader's to name
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                sizes[image.height, image.width] += 1
                grey.add(image.mode in ("1", "L", "LA", "I", "I;16"))
        except damaged:
            continue
    return sizes, grey
