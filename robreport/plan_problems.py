"""Collect what is wrong with a spec while it is resolved against the registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from robreport.complaints import problems_of
from robreport.errors import Problem, unknown_word
from robreport.metric import Params
from robreport.plugins import Registry
from robreport.spec import AuditSpec


class PlanProblems:
    """Every problem of a spec, those found on reading it first."""

    def __init__(self, spec: AuditSpec, registry: Registry) -> None:
        self._spec = spec
        self._registry = registry
        self.all = list(spec.problems)

    def add(self, where: str, message: str, hint: str = "") -> None:
        """Note a problem at a place of the spec."""
        self.all.append(Problem(where, message, hint))

    def unknown(self, where: str, kind: str, word: str, known: Iterable[str]) -> None:
        """Note an unknown name, with the plugins that might have offered it."""
        message, hint = unknown_word(kind, word, known)
        if self._registry.failed:
            names = ", ".join(f"{r.name} ({r.error})" for r in self._registry.failed)
            hint = f"{hint} Plugins that failed to load: {names}.".strip()
        self.add(where, message, hint)

    def exists(self, path: Path, where: str, written: str, *, folder: bool) -> None:
        """Note a path that leads to nothing, or to a folder instead of a file."""
        what = "folder" if folder else "file"
        try:
            if path.is_dir() if folder else path.is_file():
                return
            if not path.exists():
                wrong = "does not exist"
            else:
                wrong = f"is no {what}"
        except OSError as error:
            wrong = f"cannot be looked at ({error.strerror})"
        base = "current folder" if self._spec.overridden(where) else "spec's folder"
        if not self.noted(where):
            self.add(
                where, f"the {what} {written!r} {wrong}.", f"Paths are relative to the {base}."
            )

    def noted(self, where: str) -> bool:
        """Whether something is wrong at this place already."""
        return any(problem.where == where for problem in self.all)

    def options(
        self, kind: type[Params], given: Mapping[str, Any], where: str, also: Sequence[str] = ()
    ) -> Params | None:
        """Return the validated options or parameters; `also` are the keys known beside them."""
        try:
            return kind.model_validate(dict(given))
        except ValidationError as error:
            self.all += problems_of(error, kind, where, given, also)
            return None
