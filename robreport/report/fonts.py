"""The fonts of a theme: one family in up to four weights, found by file name."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from robreport.errors import RenderError

_WEIGHTS = {"Regular": 400, "Medium": 500, "SemiBold": 600, "Bold": 700}
_MEDIA = {"woff2": "font/woff2", "ttf": "font/ttf"}


@dataclass(frozen=True, slots=True)
class FontFile:
    """One weight of the family in one file."""

    family: str
    weight: int
    path: Path


def font_files(folder: Path, kind: str) -> tuple[FontFile, ...]:
    """Return the fonts of `folder` of one kind (``ttf`` or ``woff2``), lightest first.

    Raises
    ------
    RenderError
        There is none, or they are of several families.
    """
    found = []
    for path in sorted(folder.glob(f"*.{kind}")):
        family, _, weight = path.stem.rpartition("-")
        if family and weight in _WEIGHTS:
            found.append(FontFile(family, _WEIGHTS[weight], path))
    if not found or not any(font.weight == 400 for font in found):
        raise RenderError(f"the theme's font folder {folder.name!r} has no FAMILY-Regular.{kind}.")
    families = {font.family for font in found}
    if len(families) > 1:
        raise RenderError(
            f"the theme's font folder {folder.name!r} holds several families "
            f"({', '.join(sorted(families))}); a theme has one."
        )
    return tuple(sorted(found, key=lambda font: font.weight))


def family(folder: Path) -> str:
    """Return the family's name as style sheets and charts write it."""
    return font_files(folder, "ttf")[0].family.replace("_", " ")


@lru_cache(maxsize=8)
def font_faces(folder: Path, kind: str) -> str:
    """Return ``@font-face`` rules that carry the fonts as ``data:`` URIs."""
    rules = []
    for font in font_files(folder, kind):
        data = base64.b64encode(font.path.read_bytes()).decode()
        name = font.family.replace("_", " ").replace('"', "")
        rules.append(
            f'@font-face{{font-family:"{name}";font-style:normal;font-weight:{font.weight};'
            f'src:url("data:{_MEDIA[kind]};base64,{data}") format("{_format(kind)}")}}'
        )
    return "\n".join(rules)


def _format(kind: str) -> str:
    return "truetype" if kind == "ttf" else kind
