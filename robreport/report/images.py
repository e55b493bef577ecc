"""Pictures as PNG, and grids of them as HTML tables."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from robreport.document import ImageBlock
from robreport.errors import RenderError

COLUMN = 640
SMALL_TILE, LARGE_TILE = 64, 120


def png(picture: npt.NDArray[np.uint8]) -> bytes:
    """Return a PNG of an ``(h, w)`` grey or ``(h, w, 3)`` RGB picture of uint8.

    Raises
    ------
    RenderError
        Another shape or type, or nothing in it.
    """
    if (
        picture.dtype != np.uint8
        or picture.ndim not in (2, 3)
        or (picture.ndim == 3 and picture.shape[2] != 3)
        or picture.size == 0
    ):
        raise RenderError(f"a picture must be uint8 (h, w) or (h, w, 3), not {picture.shape}")
    height, width = picture.shape[:2]
    rows = np.ascontiguousarray(picture).reshape(height, -1)
    # each row begins with its filter type: 0, none
    raw = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    color = 2 if picture.ndim == 3 else 0
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(raw, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def grid(block: ImageBlock) -> Markup:
    """Return the pictures of a block as a table with labels; each picture has a text."""
    images = np.asarray(block.images)
    if images.ndim not in (4, 5):
        raise RenderError("a grid of pictures must be (rows, columns, h, w[, 3])")
    rows, columns = images.shape[:2]
    height, width = images.shape[2:4]
    shown = _shown_width(width, columns)
    cell, first = _cell_width(block), _label_width(block)
    parts: list[Markup | str] = [
        Markup('<table class="tiles" style="width:{}px"><colgroup>').format(first + columns * cell),
        Markup('<col style="width:{}px"/>').format(first) if first else Markup(""),
        Markup('<col style="width:{}px"/>').format(cell) * columns,
        Markup("</colgroup>"),
    ]
    if any(block.column_labels):
        parts.append(Markup("<thead><tr>"))
        if any(block.row_labels):
            parts.append(Markup("<td></td>"))
        for j in range(columns):
            parts.append(Markup('<th scope="col">{}</th>').format(_at(block.column_labels, j)))
        parts.append(Markup("</tr></thead>"))
    parts.append(Markup("<tbody>"))
    for i in range(rows):
        parts.append(Markup("<tr>"))
        if any(block.row_labels):
            parts.append(Markup('<th scope="row">{}</th>').format(_at(block.row_labels, i)))
        for j in range(columns):
            label = _at(block.cell_labels[i], j) if i < len(block.cell_labels) else ""
            if block.cell_labels and not label and (images[i, j] == 255).all():
                # white fills a last row that has too few pictures
                parts.append(Markup("<td></td>"))
                continue
            alt = ", ".join(
                word
                for word in (_at(block.row_labels, i), _at(block.column_labels, j), label)
                if word
            )
            data = base64.b64encode(png(images[i, j])).decode()
            parts.append(
                Markup(
                    '<td><img class="tile" style="width:{}px;height:{}px" alt="{}" '
                    'src="data:image/png;base64,{}"/>'
                ).format(shown, max(1, round(shown * height / width)), alt, data)
            )
            if label:
                parts.append(Markup('<span class="tile-label">{}</span>').format(label))
            parts.append(Markup("</td>"))
        parts.append(Markup("</tr>"))
    parts.append(Markup("</tbody></table>"))
    return Markup("").join(parts)


def grid_width(block: ImageBlock) -> float:
    """Return about how wide a block's table of pictures is, in CSS pixels."""
    return float(block.images.shape[1] * _cell_width(block) + _label_width(block))


def _label_width(block: ImageBlock) -> int:
    longest = max((len(label) for label in block.row_labels), default=0)
    return min(round(longest * 5.5) + 12, 120) if longest else 0


def _cell_width(block: ImageBlock) -> int:
    """Width of a column: of its picture, or of the longest word under one."""
    columns, width = block.images.shape[1], block.images.shape[3]
    labels = [*block.column_labels, *(label for line in block.cell_labels for label in line)]
    word = max((len(word) for label in labels for word in str(label).split()), default=0)
    return max(_shown_width(width, columns), min(round(word * 5.6), 100)) + 7


def _at(labels: tuple[str, ...], i: int) -> str:
    return str(labels[i]) if i < len(labels) else ""


def _shown_width(width: int, columns: int) -> int:
    """Width of one tile: small pictures grow by a whole factor, large ones shrink to fit."""
    largest = SMALL_TILE if width <= SMALL_TILE else LARGE_TILE
    room = min(largest, max(16, (COLUMN - 90) // max(columns, 1) - 8))
    return max(1, room // width) * width if width <= room else room
