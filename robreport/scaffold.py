"""Write the examples that come with the package."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from robreport.errors import OutputError, UsageError, unknown_word


def examples() -> dict[str, Traversable]:
    """Return the example folders by name."""
    folder = files("robreport_templates") / "scaffold"
    return {item.name: item for item in folder.iterdir() if (item / "audit.toml").is_file()}


def write_example(folder: Path, name: str) -> Path:
    """Copy an example into a new or empty folder and return its audit.toml.

    Raises
    ------
    UsageError
        No example of that name.
    OutputError
        The folder holds something, or cannot be written.
    """
    known = examples()
    if name not in known:
        message, hint = unknown_word("example", name, known)
        raise UsageError(f"{message} {hint}".strip())
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"{folder} exists and is not empty; nothing was written.")
        folder.mkdir(parents=True, exist_ok=True)
        for item in known[name].iterdir():
            if item.is_file() and not item.name.endswith((".pyc", "__init__.py")):
                (folder / item.name).write_bytes(item.read_bytes())
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}.") from None
    return folder / "audit.toml"
