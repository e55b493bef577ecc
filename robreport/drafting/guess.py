"""Ask the loaders what a file is: models and data for a drafted audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from robreport.errors import PluginError, RobreportError, UsageError, printable
from robreport.plugins import Registry
from robreport.recognition import DataFile, DataGuess, ModelGuess

_LONGEST = 4096  # of a path: it is said whole
_Guess = TypeVar("_Guess", ModelGuess, DataGuess)


def guess_model(registry: Registry, path: Path, *, trusted: bool) -> tuple[str, ModelGuess]:
    """Return the loader that knows a model's file, and what it says of it.

    Raises
    ------
    UsageError
        No such file, no loader knows it, or reading it needs trust that was not given.
    RobreportError
        A loader knows its kind, and it is damaged.
    """
    _check_there(path, "--from")
    found = _surest(
        registry.model_loaders,
        lambda loader: loader.recognise(path),
        ModelGuess,
        f"--from: {_name(path)}: is no model that an installed loader recognises by its content",
    )
    if found[1].trust and not trusted:
        raise UsageError(
            f"--from: {_name(path)}: is {found[1].kind}, and {found[1].trust}; save it in a safe "
            "format, or say --trusted if you trust whoever made it."
        )
    return found


def guess_data(registry: Registry, question: DataFile, option: str) -> tuple[str, DataGuess]:
    """Return the loader that knows a file or folder of data, and what it says of it.

    Raises
    ------
    UsageError
        No such file, or no loader knows it.
    RobreportError
        A loader knows its kind, and it is damaged, or lacks the label that was named.
    """
    _check_there(question.path, option)
    return _surest(
        registry.data_loaders,
        lambda loader: loader.recognise(question),
        DataGuess,
        f"{option}: {_name(question.path)}: is no data that an installed loader recognises by its "
        "content",
    )


def _name(path: Path) -> str:
    """Return a file's name on one line, whatever it holds."""
    return printable(path.name, _LONGEST)


def _check_there(path: Path, option: str) -> None:
    try:
        there = path.exists()
    except (OSError, ValueError):
        there = False
    if not there:
        raise UsageError(f"{option}: {printable(str(path), _LONGEST)} does not exist.")
    if path.is_file() and not path.stat().st_size:
        raise UsageError(
            f"{option}: {_name(path)}: the file is empty; export or download it again."
        )


def _surest(
    loaders: Mapping[str, Any], ask: Callable[[Any], object], kind: type[_Guess], unknown: str
) -> tuple[str, _Guess]:
    """Return the surest guess; a complaint of a loader counts where no other knows the file."""
    guesses: list[tuple[str, _Guess]] = []
    complaints: list[RobreportError] = []
    for name, loader in sorted(loaders.items()):
        if not callable(getattr(loader, "recognise", None)):
            continue
        try:
            guess = ask(loader)
        except RobreportError as error:
            complaints.append(error)
            continue
        except Exception as error:  # noqa: BLE001 - a plugin's own code, looking at any file
            complaints.append(
                PluginError(f"the loader {name!r} broke: {type(error).__name__}: {error}")
            )
            continue
        if isinstance(guess, kind):
            guesses.append((name, guess))
    if guesses:
        return max(guesses, key=lambda pair: pair[1].certainty)
    if complaints:
        raise complaints[0]
    able = [n for n, loader in sorted(loaders.items()) if hasattr(loader, "recognise")]
    raise UsageError(f"{unknown} ({', '.join(able) or 'none'}); declare it by hand.")
