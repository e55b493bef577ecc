"""The record as the documents carry it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFiles:
    """The bytes that travel inside each document, and the time that stamps them.

    ``finished`` is the record's ISO 8601 time: documents made twice from one record are equal.
    """

    audit_json: bytes
    arrays_npz: bytes
    spec_toml: bytes
    finished: str = ""
