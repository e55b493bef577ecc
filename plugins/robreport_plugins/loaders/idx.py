"""The ``idx`` loader: the files that MNIST and its relatives are published in."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from robreport import DataError, DataFile, DataGuess, LoadedData, Params, SplitSource
from robreport_plugins.loaders.bounded import (
    DEFLATE_RATIO,
    LARGEST,
    UNPACKING,
    open_packed,
    read_exactly,
)
from robreport_plugins.loaders.labels import (
    class_codes,
    may_lack_labels,
    one_per_row,
    target_values,
)
from robreport_plugins.loaders.regular_file import beginning

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class IdxOptions(Params):
    """Keys of ``loader = "idx"`` under [data] or one of its splits."""

    part: Literal["train", "test"] | None = Field(
        None,
        description="Which of the published files: train-* or t10k-*; by default train for the "
        "train split and test for every other.",
    )
    images: str | None = Field(
        None, min_length=1, description="File of the images, relative to root, instead of part."
    )
    labels: str | None = Field(
        None, min_length=1, description="File of the labels, relative to root, instead of part."
    )


class IdxLoader:
    """Loads grey images in IDX files, gzipped or not."""

    Options: ClassVar[type[Params]] = IdxOptions
    summary: ClassVar[str] = "IDX files as MNIST is published in, gzipped or not"

    def recognise(self, question: DataFile) -> DataGuess | None:
        """Return what a folder is for a drafted audit; None when it is no such folder."""
        from robreport_plugins.loaders.arrays_guess import guess_idx

        return guess_idx(question)

    def files(self, source: SplitSource) -> tuple[Path, ...]:
        """Return the files that `load` reads."""
        image_path, label_path = _paths(source, f"data.{source.role}")
        return (image_path,) if label_path is None else (image_path, label_path)

    def load(self, source: SplitSource) -> LoadedData:
        """Return images ``(n, 1, h, w)`` float32 in [0, 1] and their labels.

        Raises
        ------
        DataError
            A file is missing, truncated, of another form, or their counts differ.
        """
        role = f"data.{source.role}"
        image_path, label_path = _paths(source, role)
        x = _images(image_path, f"{role} ({image_path.name})")
        y = None
        if label_path is not None:
            where = f"{role} ({label_path.name})"
            found = one_per_row(read_idx(label_path, where), len(x), where)
            y = (target_values if source.task == "regression" else class_codes)(found, where)
        return LoadedData(
            x=x,
            y=y,
            layout="image",
            source=f"IDX file {image_path.name}, {len(x):,} images of {x.shape[2]} x {x.shape[3]}",
        )


def _paths(source: SplitSource, role: str) -> tuple[Path, Path | None]:
    """Return the file of images and the one of labels, where there is one."""
    options: IdxOptions = source.options
    if options.labels and not options.images:
        raise DataError(f"{role}: names a file of labels and none of images; give both.")
    part = options.part or ("train" if source.role == "train" else "test")
    image_path = _find(source.root, options.images, part, "images-idx3-ubyte", role)
    label_path = None
    try:
        if options.labels or not options.images:
            label_path = _find(source.root, options.labels, part, "labels-idx1-ubyte", role)
    except DataError:
        if options.labels or not may_lack_labels(source.role):
            raise
    if label_path is None and not may_lack_labels(source.role):
        raise DataError(f"{role}: names a file of images and none of labels; give both.")
    return image_path, label_path


def candidates(root: Path, part: str, stem: str) -> Iterable[Path]:
    """Yield the places where a part's images or labels may be, as they are published."""
    prefix = "train" if part == "train" else "t10k"
    for name in (f"{prefix}-{stem}", f"{prefix}-{stem.replace('-', '.', 1)}"):
        for suffix in ("", ".gz"):
            yield root / (name + suffix)


def _find(root: Path, given: str | None, part: str, stem: str, where: str) -> Path:
    if given is not None:
        return root / given
    for path in candidates(root, part, stem):
        try:
            if path.is_file():
                return path
        except (OSError, ValueError):
            break
    wanted = ", ".join(path.name for path in candidates(root, part, stem))
    raise DataError(
        f"{where}: the folder {root.name!r} has none of {wanted}; correct root, or name the files "
        "with images and labels."
    )


def _images(path: Path, where: str) -> npt.NDArray[np.float32]:
    found = read_idx(path, where)
    if found.dtype != np.uint8 or found.ndim != 3:
        raise DataError(
            f"{where}: holds {found.ndim}-dimensional {found.dtype} values, and images are 3-"
            "dimensional unsigned bytes (count, height, width); are images and labels swapped?"
        )
    scaled = found[:, None].astype(np.float32)
    scaled /= np.float32(255)
    return scaled


def read_idx(path: Path, where: str) -> npt.NDArray[Any]:
    """Return the array of an IDX file, gzipped or not.

    The header is not believed: its sizes are compared with the file before anything is
    allocated, and the file must end where the header says.

    Parameters
    ----------
    path : Path
    where : str
        How sentences begin.

    Raises
    ------
    DataError
        No such file, not IDX, truncated, too long, or claiming more than it can hold.
    """
    head, size = beginning(path, where, DataError)
    stream, packing = open_packed(path, head)
    with stream:
        magic = read_exactly(stream, 4, where)
        if magic[0] or magic[1] or magic[2] not in _TYPES or not 1 <= magic[3] <= 4:
            raise DataError(
                f"{where}: is no IDX file: it begins with {bytes(magic).hex(' ')} where 00 00, "
                "a type and a number of dimensions are expected."
            )
        dtype = np.dtype(_TYPES[magic[2]])
        sizes = read_exactly(stream, 4 * magic[3], where)
        shape = tuple(int(n) for n in np.frombuffer(sizes, dtype=">u4"))
        count = math.prod(shape) * dtype.itemsize
        if count == 0:
            raise DataError(f"{where}: its header says {_shape(shape)}, that is, no data.")
        most = size * DEFLATE_RATIO if packing else size
        if count > min(most, LARGEST):
            raise DataError(
                f"{where}: its header claims {_shape(shape)} values ({count:,} bytes), more than "
                f"a file of {size:,} bytes can hold; copy or download it again."
            )
        # images are kept in single precision, all else in double
        held = math.prod(shape) * (4 if len(shape) == 3 else 8)
        if held > LARGEST:
            raise DataError(
                f"{where}: its {_shape(shape)} values need {held:,} bytes in memory, more than "
                f"{LARGEST:,}; split it into parts."
            )
        data = read_exactly(stream, count, where)
        rest = 0
        try:
            rest = len(stream.read(1))
        except UNPACKING as error:
            raise DataError(f"{where}: is damaged at its end ({error}).") from None
        if rest:
            raise DataError(
                f"{where}: goes on after the {_shape(shape)} values that its header says; "
                "copy or download it again."
            )
    return np.frombuffer(data, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{n:,}" for n in shape)
