"""Import ``module:callable`` from a Python file beside the audit file."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from robreport import ModelError
from robreport_plugins.loaders.wording import did_you_mean, listed, one_line

REFERENCE = re.compile(r"[A-Za-z_]\w*:[A-Za-z_]\w*", re.ASCII)


def check_reference(text: str) -> str:
    """Return `text` if it has the form ``module:callable``.

    Raises
    ------
    ValueError
        It has not.
    """
    if not REFERENCE.fullmatch(text):
        raise ValueError(
            f"expected 'module:callable', such as 'nets:small_cnn' for the function small_cnn in "
            f"nets.py beside the audit file, found {text!r}"
        )
    return text


class _FreshSource(SourceFileLoader):
    """Compiles the source each time: no stale byte code is read, none is written beside it."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def load_callable(reference: str, base: Path, where: str) -> tuple[Callable[..., Any], str]:
    """Return the callable, and in words which file (with its SHA-256) it came from.

    The file is imported by its path under a private name made from that path and its content,
    so two audits whose files are both called ``nets.py`` never meet, and ``architecture`` and
    ``train`` of one file share one module. The folder is not put on the import path.

    Parameters
    ----------
    reference : str
        ``module:callable``, which is `callable` in ``module.py``.
    base : Path
        The folder of the audit file.
    where : str
        How sentences begin.

    Raises
    ------
    ModelError
        No such file, the file raises when imported, or has no such callable.
    """
    module_name, _, name = reference.partition(":")
    path = base / f"{module_name}.py"
    try:
        source = path.read_bytes()
    except OSError as error:
        there = sorted(p.stem for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise ModelError(
            f"{where}: {reference!r} is looked up in {path.name} beside the audit file, which "
            f"cannot be read ({error.strerror}); Python files there: {listed(there)}."
            f"{did_you_mean(module_name, there)}"
        ) from None
    digest = hashlib.sha256(source).hexdigest()
    module = _import(path, digest, where)
    found = getattr(module, name, None)
    if not callable(found):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise ModelError(
            f"{where}: {path.name} has no callable {name!r}; it has {listed(known)}."
            f"{did_you_mean(name, known)}"
        )
    return found, f"{reference} ({path.name}, SHA-256 {digest[:12]})"


def _import(path: Path, digest: str, where: str) -> ModuleType:
    place = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    private = f"_robreport_{path.stem}_{place[:16]}_{digest[:16]}"
    if private in sys.modules:
        return sys.modules[private]
    loader = _FreshSource(private, str(path))
    spec = importlib.util.spec_from_loader(private, loader)
    if spec is None:
        raise ModelError(f"{where}: {path.name} cannot be imported as a Python module.")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickling look their module up by name while it is still being executed.
    sys.modules[private] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the author's code may raise anything
        del sys.modules[private]
        aside = (
            " (files beside the audit file are not on the import path: keep what it needs in it)"
            if isinstance(error, ModuleNotFoundError)
            else ""
        )
        raise ModelError(
            f"{where}: importing {path.name} failed with {one_line(error)}{aside}; correct it."
        ) from error
    return module
