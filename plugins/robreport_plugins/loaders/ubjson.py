"""Read UBJSON strictly: the binary JSON in which XGBoost keeps its models."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

_DEEPEST = 32
_NUMBERS = {
    b"i": ">i1",
    b"U": ">u1",
    b"I": ">i2",
    b"l": ">i4",
    b"L": ">i8",
    b"d": ">f4",
    b"D": ">f8",
}
_SIGNED = {b"i": "b", b"U": "B", b"I": ">h", b"l": ">i", b"L": ">q"}


def read_ubjson(data: bytes) -> Any:
    """Return the document: dictionaries, lists, texts, numbers, and arrays of typed numbers.

    Raises
    ------
    ValueError
        It is cut short, nests too deeply, repeats a key, or is followed by anything.
    """
    reader = _Reader(data)
    found = reader.value(0)
    if reader.place != len(data):
        raise ValueError("there is more behind its end")
    return found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self.place:
            raise ValueError("it is cut short")
        self.place += count
        return self.data[self.place - count : self.place]

    def peek(self) -> bytes:
        return self.data[self.place : self.place + 1]

    def count(self) -> int:
        mark = self.take(1)
        if mark not in _SIGNED:
            raise ValueError("a length is no whole number")
        kind = _SIGNED[mark]
        found = struct.unpack(kind, self.take(struct.calcsize(kind)))[0]
        if found < 0:
            raise ValueError("a length is negative")
        return int(found)

    def text(self) -> str:
        return self.take(self.count()).decode("utf-8")

    def value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("it nests too deeply")
        mark = self.take(1)
        if mark == b"{":
            return self._object(depth)
        if mark == b"[":
            return self._array(depth)
        if mark == b"S":
            return self.text()
        if mark in _NUMBERS:
            kind = np.dtype(_NUMBERS[mark])
            return np.frombuffer(self.take(kind.itemsize), kind)[0].item()
        if mark in (b"T", b"F"):
            return mark == b"T"
        if mark == b"Z":
            return None
        raise ValueError(f"it has an unknown kind of value {mark!r}")

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.peek() != b"}":
            key = self.text()
            if key in found:
                raise ValueError(f"it repeats the key {key!r}")
            found[key] = self.value(depth + 1)
        self.take(1)
        return found

    def _array(self, depth: int) -> Any:
        if self.peek() == b"$":
            self.take(1)
            mark = self.take(1)
            if mark not in _NUMBERS or self.take(1) != b"#":
                raise ValueError("an array has an unknown type")
            kind = np.dtype(_NUMBERS[mark])
            raw = self.take(self.count() * kind.itemsize)
            return np.frombuffer(raw, kind).astype(kind.newbyteorder("="))
        if self.peek() == b"#":
            self.take(1)
            count = self.count()
            if count > len(self.data) - self.place:
                raise ValueError("it is cut short")
            return [self.value(depth + 1) for _ in range(count)]
        found = []
        while self.peek() != b"]":
            found.append(self.value(depth + 1))
        self.take(1)
        return found
