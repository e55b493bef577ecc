"""From an audit file to a finished run folder: the road that the command line takes."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robreport.cache import Cache
from robreport.engine import Forecast, Observer, Quiet, Ran, forecast, run_plan
from robreport.errors import (
    ExitCode,
    InputError,
    OutputError,
    RenderError,
    UsageError,
    unknown_word,
)
from robreport.outcome import AuditRun, Failed, Status
from robreport.plan import make_plan
from robreport.planned import Plan
from robreport.plugins import Registry
from robreport.preload import open_workshop
from robreport.prepare import Prepared, prepare
from robreport.report.compose import compose
from robreport.report.figures import fill_charts
from robreport.report.records import RecordFiles
from robreport.report.render import RenderContext
from robreport.runfolder import no_space
from robreport.spec import AuditSpec
from robreport.spec_reader import read_spec
from robreport.store import (
    Record,
    check_output,
    encode,
    load_run,
    run_folder,
    write_manifest,
    write_record,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """A finished audit: where it lies, what was decided, and the exit code."""

    place: Path
    run: AuditRun
    exit_code: ExitCode
    files: tuple[str, ...]


def read_plan(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Read a spec and resolve it against the plugins that it allows."""
    spec = read_spec(path, overrides)
    return make_plan(spec, Registry(spec.plugins.allow))


def run_audit(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    output: Path | None = None,
    only: Sequence[str] = (),
    use_cache: bool = True,
    observer: Observer | None = None,
) -> Audited:
    """Measure what a spec declares and write its run folder.

    Raises
    ------
    RobreportError
        The spec, every model or the data cannot be used, or the output cannot be written.
    """
    watcher = observer or Quiet()
    plan = read_plan(path, overrides)
    names = [entry.name for entry in plan.spec.metrics]
    for name in only:
        if name not in names:
            message, hint = unknown_word("entry for --only", name, names)
            raise UsageError(f"{message} {hint}".strip())
    place = (output or plan.spec.path("audit.output", plan.spec.audit.output)).absolute()
    check_output(place)
    for record in plan.registry.failed:
        watcher.warn(f"plugin {record.name} ({record.distribution}) was not loaded: {record.error}")
    with workplace(plan.spec, use_cache, watcher) as (folder, cache):
        ran = run_plan(plan, folder=folder, cache=cache, observer=watcher, only=frozenset(only))
        if ran.input_problems and all(
            isinstance(o, Failed) and o.kind == "input" for o in ran.run.outcomes
        ):
            # nothing could be measured: an earlier report there says more than an empty one
            raise InputError(ran.input_problems)
        watcher.stage("writing the documents")
        with run_folder(place) as fresh:
            broken, interrupted = write_run(ran.run, plan.registry, fresh, watcher)
            files = tuple(sorted(p.name for p in fresh.iterdir()))
    code = ExitCode.INTERRUPTED if interrupted else exit_code(ran, plan, broken)
    return Audited(place=place, run=ran.run, exit_code=code, files=files)


def write_run(
    run: AuditRun, registry: Registry, folder: Path, watcher: Observer
) -> tuple[bool, bool]:
    """Write record, documents and manifest; return whether a document broke, or an interrupt came.

    An interrupt keeps the record, from which `render_run` makes the documents.
    """
    record = encode(run)
    write_record(folder, record, run)
    broken = interrupted = False
    try:
        broken = write_documents(run, record, registry, folder, watcher)
    except KeyboardInterrupt:
        interrupted = True
        watcher.warn("interrupted; the record is kept: robreport render makes its documents")
    write_manifest(folder)
    return broken, interrupted


def write_documents(
    run: AuditRun, record: Record, registry: Registry, folder: Path, watcher: Observer
) -> bool:
    """Render every format that the audit asks for; one that breaks is reported and left out."""
    extra, failures = registry.sections(run)
    for plugin, error in failures:
        watcher.warn(f"plugin {plugin}: its report section broke: {error}")
    name = str(run.audit.get("theme", "default"))
    if name not in registry.themes:
        watcher.warn(f"no plugin offers the theme {name!r}; the default one is used")
    theme = registry.themes.get(name) or registry.themes["default"]
    files = RecordFiles(
        audit_json=record.audit_json,
        arrays_npz=record.arrays_npz,
        spec_toml=run.spec_text.encode(),
        finished=str(run.execution.get("finished", "")),
    )
    broken = bool(failures)
    formats = run.audit.get("formats", ())
    try:
        document = compose(run, extra)
    except Exception as error:
        # a section may be anybody's; the report stands without it
        if not extra:
            raise
        watcher.warn(f"plugins' report sections were left out: {type(error).__name__}: {error}")
        broken = True
        document = compose(run)
    if formats:
        watcher.stage("drawing the charts")
        document = fill_charts(document, theme)
    known = {name: registry.renderers[name] for name in formats if name in registry.renderers}
    # begun first: other processes work at these while the rest are made here
    begun = {
        name: _begun(render.begin, document, theme, files)
        for name, render in known.items()
        if hasattr(render, "begin")
    }
    for name in formats:
        if name not in known:
            watcher.warn(f"no plugin offers the format {name!r}; it was left out")
            broken = True
            continue
        watcher.stage(f"writing report.{name}")
        try:
            made = (
                begun[name]()
                if name in begun
                else known[name](document, theme, files, RenderContext())
            )
            content = made.encode() if isinstance(made, str) else bytes(memoryview(made))
        except Exception as error:
            # a renderer may be anybody's; the other formats stand
            if isinstance(error, OSError) and no_space(error):
                raise
            watcher.warn(f"report.{name} could not be made: {type(error).__name__}: {error}")
            broken = True
            continue
        (folder / f"report.{name}").write_bytes(content)
    return broken


def _begun(begin: Callable[..., Callable[[], Any]], *given: Any) -> Callable[[], Any]:
    """Begin a document; what is wrong with it is raised when it is asked for."""
    try:
        return begin(*given, RenderContext())
    except Exception as error:  # noqa: BLE001 - a renderer may be anybody's; the others stand
        problem = error

    def finish() -> Any:
        raise problem

    return finish


def render_run(
    folder: Path, *, output: Path | None = None, observer: Observer | None = None
) -> Path:
    """Make the documents of a run folder anew from its record alone.

    Raises
    ------
    RecordError
        No run folder, or a damaged record.
    RenderError
        A document could not be made.
    """
    watcher = observer or Quiet()
    run, record = load_run(folder)
    place = (output or folder).absolute()
    with run_folder(place) as fresh:
        write_record(fresh, record, run)
        if write_documents(run, record, Registry(_allowed(run)), fresh, watcher):
            raise RenderError(f"not every document of {folder} could be made; see above.")
        write_manifest(fresh)
    return place


def _allowed(run: AuditRun) -> list[str] | None:
    """Return the distributions that the record's spec allows; None for all."""
    plugins = run.spec.get("plugins")
    allow = plugins.get("allow") if isinstance(plugins, Mapping) else None
    return [str(name) for name in allow] if isinstance(allow, list) else None


def check_audit(
    path: Path, *, overrides: Sequence[str] = (), observer: Observer | None = None
) -> tuple[Prepared, list[Forecast]]:
    """Validate a spec, load its models and data, and forecast each measurement; measure nothing."""
    watcher = observer or Quiet()
    plan = read_plan(path, overrides)
    with workplace(plan.spec, True, watcher) as (folder, cache), open_workshop(plan) as workshop:
        prepared = prepare(plan, workshop, folder, cache, lambda report: None)
        return prepared, forecast(prepared, cache or Cache(folder / "no-cache"))


def exit_code(ran: Ran, plan: Plan, broken: bool) -> ExitCode:
    """Return the exit code of a finished audit."""
    if ran.interrupted:
        return ExitCode.INTERRUPTED
    if ran.input_problems:
        return ExitCode.UNUSABLE
    if broken or plan.registry.failed or any(isinstance(o, Failed) for o in ran.run.outcomes):
        return ExitCode.FAILED
    # not run: whatever is missing has its entry's leave
    if ran.run.verdict.status in (Status.FAIL, Status.INCONCLUSIVE):
        return ExitCode.REQUIREMENT
    return ExitCode.OK


@contextlib.contextmanager
def workplace(
    spec: AuditSpec, use_cache: bool, watcher: Observer
) -> Iterator[tuple[Path, Cache | None]]:
    """Yield a working folder, removed at the end, and the cache (None when it is not used)."""
    root = spec.path("execution.cache", spec.execution.cache) if spec.execution.cache else None
    cache = Cache(root, watcher.warn) if use_cache else None
    if cache is not None and not cache.usable:
        cache = None
    parent = cache.work_folder() if cache is not None else None
    folder = Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=parent))
    try:
        yield folder, cache
        if cache is not None:
            cache.prune()
    except OSError as error:
        if not no_space(error):
            raise
        raise OutputError(
            f"no space left in {folder.parent}, where an audit works; nothing was written."
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
