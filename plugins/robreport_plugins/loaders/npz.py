"""The ``npz`` loader: NumPy archives, without pickle and without surprises."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from robreport import DataError, DataFile, DataGuess, LoadedData, Params, SplitSource
from robreport_plugins.loaders.bounded import (
    LARGEST,
    UNREADABLE_ARCHIVE,
    believable,
    check_archive,
    read_exactly,
)
from robreport_plugins.loaders.labels import (
    LONGEST_TEXT,
    class_codes,
    may_lack_labels,
    named_codes,
    one_per_row,
    target_values,
)
from robreport_plugins.loaders.regular_file import beginning
from robreport_plugins.loaders.wording import did_you_mean, listed

Array = npt.NDArray[Any]


class NpzOptions(Params):
    """Keys of ``loader = "npz"`` under [data] or one of its splits."""

    path: str = Field(min_length=1, description="The .npz file, relative to root.")
    x: str | None = Field(
        None,
        min_length=1,
        description="Name of the array of inputs; by default x_SPLIT where the archive has one "
        "(x_train, x_test), else x.",
    )
    y: str | None = Field(
        None,
        description="Name of the array of labels, by default as that of the inputs; empty for "
        "none (out-of-distribution sets).",
    )
    group: str = Field(
        "", description="Name of the array that says which group an input belongs to."
    )
    layout: Literal["NCHW", "NHWC", "NHW"] | None = Field(
        None,
        description="Order of the axes of images in the file; by default 4 dimensions are NCHW "
        "and 2 are a table.",
    )
    scale: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Inputs are divided by it; by default 255 for images stored as bytes, else 1.",
    )
    classes: tuple[str, ...] = Field(
        (), description="Names of the classes, in the order of their numbers."
    )
    features: tuple[str, ...] = Field((), description="Names of the columns of a table.")


class NpzLoader:
    """Loads arrays of inputs and labels from a NumPy archive."""

    Options: ClassVar[type[Params]] = NpzOptions
    summary: ClassVar[str] = "NumPy archive (.npz) with arrays of inputs and labels"

    def recognise(self, question: DataFile) -> DataGuess | None:
        """Return what an archive is for a drafted audit; None when it is something else."""
        from robreport_plugins.loaders.arrays_guess import guess_archive

        return guess_archive(question)

    def files(self, source: SplitSource) -> tuple[Path, ...]:
        """Return the file that `load` reads."""
        path: str = source.options.path
        return (source.root / path,)

    def load(self, source: SplitSource) -> LoadedData:
        """Return inputs in data space and labels.

        Images become float32 ``(n, c, h, w)``, bytes divided by 255; tables float64.

        Raises
        ------
        DataError
            The file is damaged, lacks an array, holds pickled objects, or an array's shape or
            type is not that of inputs or labels.
        """
        options: NpzOptions = source.options
        path = source.root / options.path
        where = f"data.{source.role} ({path.name})"
        head, size = beginning(path, where, DataError)
        if not head.startswith(b"PK"):
            raise DataError(f"{where}: is no .npz archive; write it with numpy.savez.")
        names = [
            name.removesuffix(".npy")
            for name in check_archive(path, size, where, DataError, packed=True)
        ]
        labels = groups = None
        x_name = _array_name(options.x, "x", source.role, names)
        y_name = _array_name(options.y, "y", source.role, names)
        try:
            with zipfile.ZipFile(path) as archive:
                inputs = _member(archive, x_name, names, size, where, inputs=True)
                if y_name and (y_name in names or not may_lack_labels(source.role)):
                    labels = _member(archive, y_name, names, size, where)
                if options.group:
                    groups = _member(archive, options.group, names, size, where)
        except UNREADABLE_ARCHIVE as error:
            raise DataError(f"{where}: is damaged or encrypted ({error}).") from None
        if labels is None and not may_lack_labels(source.role):
            raise DataError(f"{where}: this split needs labels; say y = 'NAME'.")
        x, layout = _inputs(inputs, options, where)
        if options.features and (layout != "table" or len(options.features) != x.shape[1]):
            raise DataError(
                f"{where}: features names {len(options.features)} columns, and inputs have "
                f"shape {x.shape[1:]}."
            )
        y: Array | None = None
        classes = options.classes
        if labels is not None:
            labels = one_per_row(labels, len(x), where)
            if source.task == "regression":
                y = target_values(labels, where)
            elif labels.dtype.kind == "U":
                y, classes = named_codes(labels.tolist(), classes, where)
            else:
                y = class_codes(labels, where)
        return LoadedData(
            x=x,
            y=y,
            layout=layout,
            source=f"NumPy archive {path.name}, arrays {x_name!r}"
            + (f" and {y_name!r}" if y is not None else ""),
            classes=classes if source.task != "regression" else (),
            features=options.features,
            missing=layout == "table",
            groups=None if groups is None else one_per_row(groups, len(x), where),
            group=options.group,
        )


def _array_name(given: str | None, letter: str, role: str, names: list[str]) -> str:
    """Return the name of an array: as declared, or ``x_train`` of the split train, or ``x``."""
    if given is not None:
        return given
    part = role.rpartition(".")[2]
    usual = (f"{letter}_{part}", f"{letter.upper()}_{part}", letter, letter.upper())
    return next((name for name in usual if name in names), letter)


def _member(
    archive: zipfile.ZipFile, name: str, names: list[str], size: int, where: str, *,
    inputs: bool = False,
) -> Array:  # fmt: skip
    """Return one array, its header checked against the archive before anything is allocated."""
    if name not in names:
        raise DataError(
            f"{where}: has no array {name!r}; it has {listed(map(repr, names))}."
            f"{did_you_mean(name, names)}"
        )
    where = f"{where}, array {name!r}"
    member = f"{name}.npy" if f"{name}.npy" in archive.namelist() else name
    info = archive.getinfo(member)
    with archive.open(info) as stream:
        shape, fortran, dtype, header = _header(stream, where)
        count = math.prod(shape) * dtype.itemsize
        if count != info.file_size - header:
            raise DataError(
                f"{where}: its header says shape {shape} of {dtype} ({count:,} bytes), and the "
                f"archive holds {info.file_size - header:,} bytes of it; write it again."
            )
        if count > believable(size):
            raise DataError(
                f"{where}: unpacks to {count:,} bytes in a file of {size:,}, which is not "
                "believable; write it with numpy.savez, which does not pack."
            )
        _check_held(shape, dtype, inputs, where)
        data = read_exactly(stream, count, where)
        stream.read(1)  # reaching the end makes zipfile compare the checksum
    if count == 0:
        raise DataError(f"{where}: is empty (shape {shape}).")
    array = np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")
    # what is there already is not copied
    return np.asarray(array, dtype=dtype.newbyteorder("="), order="C")


def _check_held(shape: tuple[int, ...], dtype: np.dtype[Any], inputs: bool, where: str) -> None:
    """Refuse what would be too large in memory, where bytes may become numbers of eight each."""
    if dtype.kind == "U":
        room = dtype.itemsize // 4
        if room > LONGEST_TEXT:
            raise DataError(
                f"{where}: its texts have room for {room:,} characters each; at most "
                f"{LONGEST_TEXT} are taken. Is it the right array?"
            )
        return
    # images are kept in single precision, all else in double
    image = inputs and (len(shape) == 4 or (len(shape) == 3 and dtype == np.uint8))
    held = math.prod(shape) * (4 if image else 8)
    if held > LARGEST:
        raise DataError(
            f"{where}: its {math.prod(shape):,} values need {held:,} bytes in memory, more than "
            f"{LARGEST:,}; split it into parts."
        )


def _header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, order, type and length of an array's header."""
    begin = bytes(read_exactly(stream, 8, where))
    try:
        version = np.lib.format.read_magic(io.BytesIO(begin))
        wide = 2 if version == (1, 0) else 4
        length = bytes(read_exactly(stream, wide, where))
        count = int.from_bytes(length, "little")
        if version not in ((1, 0), (2, 0)) or count > 10_000:
            raise ValueError("a header of an unusual form")
        text = io.BytesIO(length + bytes(read_exactly(stream, count, where)))
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(text)
    except (
        ValueError,
        TypeError,
        SyntaxError,
        RecursionError,
        MemoryError,
        tokenize.TokenError,
    ) as error:
        raise DataError(f"{where}: is no NumPy array ({str(error)[:80]}).") from None
    if dtype.hasobject:
        raise DataError(
            f"{where}: holds pickled objects, which may run code when read; store plain numbers."
        )
    if dtype.kind not in "buifU" or dtype.itemsize == 0:
        raise DataError(f"{where}: holds {dtype} values; store plain real numbers.")
    if any(n < 0 for n in shape):
        raise DataError(f"{where}: its header says the impossible shape {shape}.")
    return tuple(int(n) for n in shape), bool(fortran), dtype, 8 + wide + count


def _inputs(x: Array, options: NpzOptions, where: str) -> tuple[Array, str]:
    """Return inputs in data space and their layout."""
    if x.dtype.kind not in "buif":
        raise DataError(f"{where}: inputs are {x.dtype}, and numbers are needed.")
    if x.ndim < 2:
        raise DataError(f"{where}: inputs have shape {x.shape}; one row per input is needed.")
    layout = options.layout
    if layout is None and x.ndim == 3 and x.dtype == np.uint8:
        layout = "NHW"
    if layout is None and x.ndim == 4:
        if x.shape[3] in (1, 3, 4) and x.shape[1] not in (1, 3, 4):
            raise DataError(
                f"{where}: images of shape {x.shape[1:]} look like (height, width, channels); "
                "say layout = 'NHWC' if they are, or layout = 'NCHW' if they are not."
            )
        layout = "NCHW"
    if layout is not None:
        if x.ndim != len(layout):
            raise DataError(
                f"{where}: layout = {layout!r} needs {len(layout)} dimensions, and inputs have "
                f"shape {x.shape}."
            )
        if layout == "NHWC":
            x = x.transpose(0, 3, 1, 2)
        elif layout == "NHW":
            x = x[:, None]
        scale = options.scale or (255.0 if x.dtype == np.uint8 else 1.0)
        return _divided(np.ascontiguousarray(x, dtype=np.float32), scale), "image"
    kind = "table" if x.ndim == 2 else "array"
    return _divided(x.astype(np.float64), options.scale or 1.0), kind


def _divided(x: Array, scale: float) -> Array:
    if scale != 1.0:
        x /= x.dtype.type(scale)
    return x
