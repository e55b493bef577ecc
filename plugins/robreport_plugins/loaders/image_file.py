"""Read one PNG or JPEG image without trusting what it says of its size."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from robreport import DataError
from robreport_plugins.loaders.regular_file import DAMAGED, beginning
from robreport_plugins.loaders.wording import one_line

_LARGEST_FILE = 64 * 2**20
_MOST_PIXELS = 50_000_000
_UNREADABLE: tuple[type[Exception], ...] = (
    struct.error,
    zlib.error,
    *DAMAGED,
)
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_BYTES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageForm:
    """What every image is turned into: a size and a mode, its own where None."""

    size: tuple[int, int] | None
    filter: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]
    mode: Literal["grey", "rgb"] | None


def read_image(path: Path, form: ImageForm, where: str) -> npt.NDArray[np.uint8]:
    """Return an image's pixels ``(channels, height, width)``.

    The picture is taken as it is stored: a rotation noted beside it is not carried out, and
    transparency is left out.

    Raises
    ------
    DataError
        It is damaged, no PNG or JPEG, animated, of more than 8 bits a channel, or too large.
    """
    _, size = beginning(path, where, DataError)
    if size > _LARGEST_FILE:
        raise DataError(
            f"{where}: has {size:,} bytes; at most {_LARGEST_FILE:,} are read of one image."
        )
    try:
        with warnings.catch_warnings():
            # sizes are checked below; remarks about odd metadata change no pixel
            warnings.simplefilter("ignore")
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                return _pixels(image, form, where)
    except Image.DecompressionBombError:
        raise DataError(
            f"{where}: claims more pixels than are read, {_MOST_PIXELS:,}; make it smaller."
        ) from None
    except UnidentifiedImageError:
        # its own words are the file's place on this machine
        raise DataError(
            f"{where}: is no PNG or JPEG image, whatever its name; convert it, or take it out."
        ) from None
    except _UNREADABLE as error:
        raise DataError(
            f"{where}: is a damaged image ({one_line(error, 100)}); export or copy it again."
        ) from None


def _pixels(image: Any, form: ImageForm, where: str) -> npt.NDArray[np.uint8]:
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise DataError(
            f"{where}: claims {height:,} x {width:,} pixels; at most {_MOST_PIXELS:,} "
            "are read, so make it smaller."
        )
    if getattr(image, "is_animated", False):
        raise DataError(f"{where}: is animated; store one picture.")
    if image.mode not in _BYTES:
        raise DataError(
            f"{where}: is of the mode {image.mode}, and 8 bits a channel are read; convert it."
        )
    if form.mode is None and image.mode not in ("L", "RGB"):
        raise DataError(
            f"{where}: is of the mode {image.mode}, neither grey nor RGB; say mode = 'grey' or "
            "'rgb' to have all images turned into one."
        )
    if form.mode is not None:
        image = image.convert("L" if form.mode == "grey" else "RGB")
    if form.size is not None and (height, width) != form.size:
        image = image.resize((form.size[1], form.size[0]), _FILTERS[form.filter])
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
