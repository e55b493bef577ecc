"""What it takes to set the type of one PDF, as plain values that travel to another process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

MOST_BYTES = 2_000_000_000
"""The largest part that is read: a length beyond it is damage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file to attach: name, what it is, and how it relates to the page."""

    name: str
    description: str
    relationship: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfJob:
    """A page with all that it refers to.

    Attributes
    ----------
    page, rules : str
        The page as HTML, and its style sheet.
    faces : str
        The rules that name the fonts.
    fonts : mapping
        From the URL of each font to the path of its file.
    drawings : mapping
        From the URL of each drawing to its SVG.
    charts : mapping
        The same of drawings that are made plain first, by the letters' widths of `letters`.
    letters : str
        The folder of the fonts.
    attachments : tuple of Attachment
    finished : float
        The time that everything is stamped with, in seconds since 1970.
    shipped : bool
        Whether page and rules are made of the shipped templates and style sheets alone.
    """

    page: str
    rules: str
    faces: str
    fonts: Mapping[str, str]
    drawings: Mapping[str, str]
    charts: Mapping[str, str]
    letters: str
    attachments: tuple[Attachment, ...]
    finished: float
    shipped: bool = False


def write_job(job: PdfJob, pipe: IO[bytes]) -> None:
    """Write a job, to be read by `read_job` at the other end."""
    plain = {
        "page": job.page,
        "rules": job.rules,
        "faces": job.faces,
        "fonts": dict(job.fonts),
        "drawings": dict(job.drawings),
        "charts": dict(job.charts),
        "letters": job.letters,
        "attachments": [[a.name, a.description, a.relationship] for a in job.attachments],
        "finished": job.finished,
        "shipped": job.shipped,
    }
    write_parts(pipe, json.dumps(plain).encode(), *(a.content for a in job.attachments))


def read_job(pipe: IO[bytes]) -> PdfJob | None:
    """Return the next job; None at the end of the input.

    Raises
    ------
    ValueError, KeyError
        What came is no job.
    """
    head, *contents = read_parts(pipe) or [b""]
    if not head:
        return None
    plain: dict[str, Any] = json.loads(head)
    attachments = tuple(
        Attachment(name=name, description=words, relationship=relation, content=content)
        for (name, words, relation), content in zip(plain.pop("attachments"), contents, strict=True)
    )
    return PdfJob(attachments=attachments, **plain)


def write_parts(pipe: IO[bytes], *parts: bytes) -> None:
    """Write byte strings so that `read_parts` tells them apart."""
    pipe.write(f"{' '.join(str(len(part)) for part in parts)}\n".encode())
    for part in parts:
        pipe.write(part)
    pipe.flush()


def read_parts(pipe: IO[bytes]) -> list[bytes]:
    """Return the next byte strings; none at the end of the input.

    Raises
    ------
    ValueError
        What came is not what `write_parts` writes, or it ends early.
    """
    line = pipe.readline(4096)
    if not line:
        return []
    sizes = [int(word) for word in line.split()]
    if any(size < 0 or size > MOST_BYTES for size in sizes):
        raise ValueError("a part of an impossible size")
    parts = [pipe.read(size) for size in sizes]
    if [len(part) for part in parts] != sizes:
        raise ValueError("the input ends early")
    return parts
