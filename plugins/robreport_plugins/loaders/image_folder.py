"""The ``imagefolder`` loader: a folder of pictures for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from robreport import DataError, DataFile, DataGuess, LoadedData, Params, SplitSource
from robreport_plugins.loaders.bounded import LARGEST
from robreport_plugins.loaders.labels import may_lack_labels, target_values
from robreport_plugins.loaders.wording import did_you_mean, listed, shown

_ENDINGS = (".png", ".jpg", ".jpeg")
_OTHER_PICTURES = (".avif", ".bmp", ".gif", ".heic", ".tif", ".tiff", ".webp")
_MOST_FILES = 1_000_000
Side = Annotated[int, Field(strict=True, ge=1, le=4096)]


class ImageFolderOptions(Params):
    """Keys of ``loader = "imagefolder"`` under [data] or one of its splits."""

    path: str | None = Field(
        None,
        min_length=1,
        description="The folder of the split, relative to root; by default the split's own name "
        "(train, test, or NAME of ood.NAME).",
    )
    size: tuple[Side, Side] | None = Field(
        None,
        description="[height, width] that every image is resized to; when left out, all must have "
        "one size.",
    )
    filter: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = Field(
        "bilinear", description="How images are resized."
    )
    mode: Literal["grey", "rgb"] | None = Field(
        None,
        description="What every image is turned into; when left out, all must be grey or all RGB.",
    )
    classes: tuple[str, ...] = Field(
        (),
        description="Names of the classes' folders in the order of their class numbers; in "
        "alphabetical order when left out.",
    )


class ImageFolderLoader:
    """Loads PNG and JPEG images, one folder a class."""

    Options: ClassVar[type[Params]] = ImageFolderOptions
    summary: ClassVar[str] = "Folders of PNG or JPEG images, one for each class"

    def recognise(self, question: DataFile) -> DataGuess | None:
        """Return what a folder is for a drafted audit; None when it holds no classes' images."""
        from robreport_plugins.loaders.images_guess import guess_images

        return guess_images(question)

    def files(self, source: SplitSource) -> tuple[Path, ...]:
        """Return the images that `load` reads."""
        return tuple(path for _, found in _listing(source)[1] for path in found)

    def load(self, source: SplitSource) -> LoadedData:
        """Return images ``(n, channels, height, width)`` float32 in [0, 1] and their classes.

        Images stand in the order of the classes' names, then of their own, so that the order is
        that of no file system. A foreign set may be one folder of images without classes.

        Raises
        ------
        DataError
            The folder is missing or empty, leads outside of itself, or holds an image that is
            damaged, too large, or of another size or mode than the others.
        """
        from robreport_plugins.loaders.image_file import ImageForm, read_image

        options: ImageFolderOptions = source.options
        folder, groups = _listing(source)
        where = f"data.{source.role} ({folder.name})"
        labelled = groups[0][0] is not None
        names = tuple(str(name) for name, _ in groups) if labelled else ()
        if labelled:
            names = _class_order(options.classes, names, where)
        code = {name: i for i, name in enumerate(names)}
        paths = [(name, path) for name, found in groups for path in found]
        form = ImageForm(size=options.size, filter=options.filter, mode=options.mode)
        x: Any = None
        for i, (_, path) in enumerate(paths):
            place = path.relative_to(folder).as_posix()
            pixels = read_image(path, form, f"{where}, image {shown(place)}")
            if x is None:
                first = place
                need = len(paths) * pixels.size * 4
                if need > LARGEST:
                    raise DataError(
                        f"{where}: {len(paths):,} images of {_words(pixels.shape)} need {need:,} "
                        f"bytes, more than {LARGEST:,}; say a smaller size, or split the folder."
                    )
                x = np.empty((len(paths), *pixels.shape), dtype=np.float32)
            if pixels.shape != x.shape[1:]:
                differ = "mode" if pixels.shape[1:] == x.shape[2:] else "size"
                raise DataError(
                    f"{where}: images differ: {shown(first)} is {_words(x.shape[1:])} and "
                    f"{shown(place)} {_words(pixels.shape)}; say {differ} = "
                    + ("'grey' or 'rgb'." if differ == "mode" else "[height, width].")
                )
            np.divide(pixels, np.float32(255), out=x[i], dtype=np.float32)
        y: Any = None
        if labelled:
            y = np.array([code[str(name)] for name, _ in paths], dtype=np.int64)
            if source.task == "regression":
                numbers = [_number(name, where) for name in names]
                y = target_values(np.array(numbers)[y], where)
        return LoadedData(
            x=x,
            y=y,
            layout="image",
            source=f"folder {folder.name}, {len(paths):,} images of {_words(x.shape[1:])}"
            + _left_out(folder, [folder / name for name in names] or [folder], len(paths)),
            classes=names if source.task != "regression" else (),
        )


def _left_out(folder: Path, places: Sequence[Path], images: int) -> str:
    """Return how many pictures were not read: of other formats, or links to nothing."""
    pictures = sum(
        path.suffix.lower() in (*_ENDINGS, *_OTHER_PICTURES)
        for place in places
        if place.is_dir()
        for path in _entries(place, folder, folder.name)
    )
    others = pictures - images
    return f" ({others:,} of other formats or links to nothing left out)" if others else ""


def _words(shape: Sequence[int]) -> str:
    kind = "grey" if shape[0] == 1 else "RGB"
    return f"{shape[1]} x {shape[2]} {kind}"


def _number(name: str, where: str) -> float:
    try:
        return float(name)
    except ValueError:
        raise DataError(
            f"{where}: the folder {shown(name)} stands for the target of a regression, and is no "
            "number."
        ) from None


def _class_order(declared: tuple[str, ...], found: tuple[str, ...], where: str) -> tuple[str, ...]:
    if not declared:
        return found
    unknown = [name for name in found if name not in declared]
    if unknown:
        raise DataError(
            f"{where}: has the folders {listed(map(shown, unknown))}, and classes declares "
            f"{listed(map(shown, declared))}.{did_you_mean(unknown[0], declared)}"
        )
    return declared


def _listing(source: SplitSource) -> tuple[Path, list[tuple[str | None, list[Path]]]]:
    """Return the folder, and (class, images) in order; the class is None where there is none."""
    options: ImageFolderOptions = source.options
    folder = source.root / (options.path or source.role.rpartition(".")[2])
    where = f"data.{source.role} ({folder.name})"
    entries = _entries(folder, folder, where)
    folders = [path for path in entries if path.is_dir()]
    images = [path for path in entries if path.suffix.lower() in _ENDINGS and path.is_file()]
    if folders and images:
        raise DataError(
            f"{where}: holds both images ({shown(images[0].name)}) and folders "
            f"({shown(folders[0].name)}); put every image into the folder of its class."
        )
    if images:
        if not may_lack_labels(source.role):
            raise DataError(
                f"{where}: holds images and no folders of classes; this split needs labels."
            )
        return folder, [(None, images)]
    if not folders:
        raise DataError(
            f"{where}: holds no images and no folders; images end in {', '.join(_ENDINGS)}."
        )
    found: list[tuple[str | None, list[Path]]] = []
    count = 0
    for sub in folders:
        inside = _entries(sub, folder, where)
        deeper = [path for path in inside if path.is_dir()]
        images = [path for path in inside if path.suffix.lower() in _ENDINGS and path.is_file()]
        if deeper:
            raise DataError(
                f"{where}: the folder {shown(sub.name)} of a class holds the folder "
                f"{shown(deeper[0].name)}; images must stand directly in it."
            )
        if not images:
            raise DataError(
                f"{where}: the folder {shown(sub.name)} holds no images; images end in "
                f"{', '.join(_ENDINGS)}."
            )
        count += len(images)
        if count > _MOST_FILES:
            raise DataError(f"{where}: has more than {_MOST_FILES:,} images; split the folder.")
        found.append((sub.name, images))
    return folder, found


def _entries(folder: Path, root: Path, where: str) -> list[Path]:
    """Return what a folder holds, hidden names aside, sorted by name.

    Raises
    ------
    DataError
        It cannot be read, holds too much, or a link in it leads out of `root`.
    """
    try:
        inside = os.path.realpath(root)
        found: list[Path] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = folder / entry.name
                # not `resolve`: it raises on a loop of links, which stands for nothing
                if entry.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                    raise DataError(
                        f"{where}: {shown(entry.name)} is a link that leads out of the folder; "
                        "copy what it stands for."
                    )
                found.append(path)
                if len(found) > _MOST_FILES:
                    raise DataError(
                        f"{where}: has more than {_MOST_FILES:,} entries; split the folder."
                    )
    except FileNotFoundError:
        raise DataError(f"{where}: no such folder; correct root, or say path = 'FOLDER'.") from None
    except NotADirectoryError:
        raise DataError(f"{where}: is a file, and a folder of images is needed.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{where}: cannot be read ({reason}); check the path.") from None
    return sorted(found, key=lambda path: path.name)
