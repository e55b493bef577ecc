"""How the kernels of this package are compiled."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba as nb

F = TypeVar("F", bound=Callable[..., object])

# What is called from kernels only needs no way in from Python, and no place in numba's cache: its
# machine code is part of its callers'.
within = nb.njit(  # type: ignore[call-overload]
    error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)


def _mark_of_the_sources() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return f"{zlib.crc32(b''.join(file.read_bytes() for file in files)):08x}"


_SOURCES = _mark_of_the_sources()


def entry(function: F) -> F:
    """Compile what Python calls, and keep the machine code until a file of this package changes.

    Numba compiles anew when the file that holds the function has changed, and would not notice a
    change of what it calls in another file. It finds machine code by the function's name.
    """
    function.__qualname__ += f"_{_SOURCES}"
    compiled = nb.njit(cache=True, nogil=True, error_model="numpy")(function)
    return cast(F, compiled)
