"""Load plugins, each whole or not at all, and hold what they offer."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import pluggy

from robreport import hookspecs
from robreport.bundle import Needs
from robreport.discovery import Candidate, installed
from robreport.document import Section
from robreport.errors import PluginError, near_misses
from robreport.metric import Comparison, Metric, Params
from robreport.result import facets
from robreport.spec import ModelEntry, SplitEntry
from robreport.threat import Norm

METRIC_ID = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\Z")
ROLE = re.compile(r"(train|test|calibration|(ood|shift|extra)\.(\*|[A-Za-z0-9._-]{1,64}))\??\Z")
KINDS = ("metrics", "model_loaders", "data_loaders", "gates", "renderers", "themes")
HOOKS = tuple(name for name, value in vars(hookspecs).items() if hasattr(value, "robreport_spec"))

AnyMetric = type[Metric] | type[Comparison]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRecord:
    """One plugin as provenance lists it.

    Attributes
    ----------
    name, distribution, version : str
    module : str
    hooks : tuple of str
        The hooks it implements.
    wrappers : tuple of str
        Hooks that it wraps, or ``run_metric`` when it answers that itself: such a plugin can
        change any result.
    offers : mapping of kind to names
    error : str
        Why it was not loaded; empty when it was.
    """

    name: str
    distribution: str
    version: str
    module: str
    hooks: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()
    offers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    error: str = ""


class Registry:
    """Everything that the loaded plugins offer, by kind and name.

    Parameters
    ----------
    allow : collection of str or None
        Distributions that may be loaded; None for all.
    candidates : iterable of Candidate or None
        What to load instead of the installed entry points.
    """

    def __init__(
        self, allow: Collection[str] | None = None, candidates: Iterable[Candidate] | None = None
    ) -> None:
        self._manager = pluggy.PluginManager("robreport")
        self._manager.add_hookspecs(hookspecs)
        self._offers: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self._owner: dict[tuple[str, str], PluginRecord] = {}
        self.records: list[PluginRecord] = []
        self._load_core()
        for candidate in installed(allow) if candidates is None else candidates:
            self._load(candidate)

    @property
    def hook(self) -> Any:
        """Call hooks through this."""
        return self._manager.hook

    @property
    def metrics(self) -> Mapping[str, AnyMetric]:
        return self._offers["metrics"]

    @property
    def model_loaders(self) -> Mapping[str, Any]:
        return self._offers["model_loaders"]

    @property
    def data_loaders(self) -> Mapping[str, Any]:
        return self._offers["data_loaders"]

    @property
    def gates(self) -> Mapping[str, Any]:
        return self._offers["gates"]

    @property
    def renderers(self) -> Mapping[str, Any]:
        return self._offers["renderers"]

    @property
    def themes(self) -> Mapping[str, Any]:
        return self._offers["themes"]

    @property
    def failed(self) -> list[PluginRecord]:
        """The plugins that could not be loaded."""
        return [record for record in self.records if record.error]

    @property
    def wrapping(self) -> list[PluginRecord]:
        """The plugins that can change any result."""
        return [record for record in self.records if record.wrappers]

    def owner(self, kind: str, name: str) -> PluginRecord:
        """Return the plugin that offers `name`."""
        return self._owner[kind, name]

    def sections(self, run: Any) -> tuple[list[Any], list[tuple[str, str]]]:
        """Return the extra sections of every plugin, and (plugin, error) of those that broke."""
        found: list[Any] = []
        broken: list[tuple[str, str]] = []
        for implementation in self._manager.hook.report_sections.get_hookimpls():
            try:
                arguments = (run,)[: len(implementation.argnames)]
                sections: list[object] = list(implementation.function(*arguments) or ())  # type: ignore[call-overload]
                for section in sections:
                    if not isinstance(section, Section):
                        raise TypeError(f"it returned a {type(section).__name__}, not a Section")
                found += sections
            except Exception as error:  # noqa: BLE001 - a plugin's section must not lose the report
                broken.append((implementation.plugin_name, f"{type(error).__name__}: {error}"))
        return found, broken

    def _load_core(self) -> None:
        self._manager.register(_Core(), "robreport:core")
        self._load(
            Candidate(
                name="documents",
                distribution="robreport",
                version=_own_version(),
                module="robreport.report.builtin",
                load=lambda: import_module("robreport.report.builtin"),
            )
        )

    def _load(self, candidate: Candidate) -> None:
        record = PluginRecord(
            name=candidate.name,
            distribution=candidate.distribution,
            version=candidate.version,
            module=candidate.module,
        )
        try:
            plugin = candidate.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - becomes the plugin's record
            self.records.append(replace(record, error=f"import failed: {_said(error)}"))
            return
        unique = f"{candidate.distribution}:{candidate.name}:{candidate.module}"
        try:
            self._manager.register(plugin, unique)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - becomes the plugin's record
            # pluggy leaves a plugin half registered when one of its signatures is wrong
            if self._manager.get_plugin(unique) is not None:
                self._manager.unregister(name=unique)
            self.records.append(replace(record, error=_said(error)))
            return
        try:
            self._check_names(plugin)
            offers = self._collect(plugin)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - becomes the plugin's record
            self._manager.unregister(name=unique)
            self.records.append(replace(record, error=_said(error)))
            return
        hooks, wrappers = self._hooks_of(plugin)
        record = replace(
            record,
            hooks=hooks,
            wrappers=wrappers,
            offers={kind: tuple(names) for kind, names in offers.items() if names},
        )
        self.records.append(record)
        for kind, named in offers.items():
            self._offers[kind].update(named)
            for name in named:
                self._owner[kind, name] = record

    def _check_names(self, plugin: Any) -> None:
        """Refuse an implementation of a hook that does not exist, naming the near miss."""
        mine = self._implementations(plugin)
        for name, implementation in mine:
            if name not in HOOKS and not implementation.optionalhook:
                close = near_misses(name, HOOKS, 1)
                hint = f" Did you mean {close[0]!r}?" if close else f" Hooks: {', '.join(HOOKS)}."
                raise PluginError(f"it implements an unknown hook {name!r}.{hint}")
            if name != "run_metric" and (implementation.hookwrapper or implementation.wrapper):
                # the others are called plugin by plugin, so that one that breaks is named
                raise PluginError(f"it wraps {name}; only run_metric can be wrapped")
        self._manager.check_pending()
        if not mine:
            raise PluginError("it implements no hook; mark functions with @robreport.hookimpl")

    def _implementations(self, plugin: Any) -> list[tuple[str, Any]]:
        """Return (hook, implementation) of a registered plugin, by the hook's name."""
        return sorted(
            (
                (caller.name, implementation)
                for caller in self._manager.get_hookcallers(plugin) or ()
                for implementation in caller.get_hookimpls()
                if implementation.plugin is plugin
            ),
            key=lambda pair: pair[0],
        )

    def _collect(self, plugin: Any) -> dict[str, dict[str, Any]]:
        offers: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        for kind in KINDS:
            caller = getattr(self._manager.hook, f"register_{kind}")
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin:
                    implementation.function(self._receiver(kind, offers[kind]))
        return offers

    def _receiver(self, kind: str, into: dict[str, Any]) -> Callable[..., None]:
        def take(name: object, offer: Any) -> None:
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
                raise PluginError(f"{name!r} is not a name (letters, digits, . _ -)")
            if name in into or name in self._offers[kind]:
                owner = self._owner.get((kind, name))
                by = f"plugin {owner.name!r} ({owner.distribution})" if owner else "itself"
                what = kind[:-1].replace("_", " ")
                raise PluginError(f"{what} {name!r} is already offered by {by}")
            into[name] = offer

        def register_metric(metric: AnyMetric) -> None:
            _check_metric_class(metric)
            take(metric.id, metric)

        def register_theme(theme: Any) -> None:
            if not isinstance(getattr(theme, "name", None), str):
                raise PluginError(f"register(Theme(...)) expected, found {theme!r}")
            take(theme.name, theme)

        def register_loader(name: str, loader: Any) -> None:
            options = getattr(loader, "Options", None)
            if not (inspect.isclass(options) and issubclass(options, Params)):
                raise PluginError(f"loader {name!r} has no Options class derived from Params")
            if not callable(getattr(loader, "load", None)):
                raise PluginError(f"loader {name!r} has no load method")
            if inspect.isclass(loader) and inspect.isfunction(
                inspect.getattr_static(loader, "load")
            ):
                raise PluginError(f"loader {name!r} is a class; register an instance of it")
            entry = ModelEntry if kind == "model_loaders" else SplitEntry
            if taken := sorted(set(options.model_fields) & set(entry.model_fields)):
                raise PluginError(
                    f"loader {name!r} has Options called {', '.join(taken)}, which every entry has "
                    "of its own and keeps from the loader"
                )
            take(name, loader)

        def register_renderer(name: str, render: Any) -> None:
            if not callable(render):
                raise PluginError(f"renderer {name!r} cannot be called")
            take(name, render)

        if kind == "renderers":
            return register_renderer
        if kind == "metrics":
            return register_metric
        if kind == "themes":
            return register_theme
        if kind in ("model_loaders", "data_loaders"):
            return register_loader
        return take

    def _hooks_of(self, plugin: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        hooks = tuple(dict.fromkeys(name for name, _ in self._implementations(plugin)))
        return hooks, tuple(name for name in hooks if name == "run_metric")


class _Core:
    """The core's own answer to `run_metric`, after everybody else's."""

    @hookspecs.hookimpl(trylast=True)
    def run_metric(self, metric: Metric, bundle: Any, params: Params, ctx: Any) -> Any:
        return metric.compute(bundle, params, ctx)


def _check_metric_class(metric: object) -> None:
    if not (inspect.isclass(metric) and issubclass(metric, Metric | Comparison)):
        raise PluginError(f"register(MetricClass) expected, found {metric!r}")
    identity = getattr(metric, "id", None)
    if not isinstance(identity, str) or not METRIC_ID.match(identity):
        raise PluginError(f"{metric.__name__}.id is {identity!r}, not of the form 'family.method'")
    for word in ("title", "question", "summary", "reading", "limits", "knowledge"):
        if not isinstance(getattr(metric, word, None), str):
            raise PluginError(f"{metric.__name__} declares no {word}")
    kind: object = metric.Params
    if not (inspect.isclass(kind) and issubclass(kind, Params)):
        raise PluginError(f"{metric.__name__}.Params is not derived from robreport.Params")
    for problem in _declaration_problems(metric):
        raise PluginError(f"{metric.__name__}.{problem}")
    if inspect.isabstract(metric):
        raise PluginError(f"{metric.__name__} does not implement its compute or compare method")


def _declaration_problems(metric: Any) -> Iterator[str]:
    """Yield what the plan could not work with, such as a role where a tuple of roles belongs."""
    if not _texts(metric.references, tuple):
        yield f"references is {metric.references!r}, not a tuple of texts"
    if not isinstance(metric.scalar_help, Mapping):
        yield "scalar_help is not a mapping of scalar names to what they are"
    else:
        for pattern in metric.scalar_help:
            try:
                facets(pattern)
            except (TypeError, ValueError):
                yield f"scalar_help names {pattern!r}, which is not of the form base[facet, facet]"
    if issubclass(metric, Comparison):
        if not _texts(metric.consumes, frozenset):
            yield f"consumes is {metric.consumes!r}, not a frozenset of metric ids"
        return
    if not isinstance(metric.needs, Needs):
        yield f"needs is {metric.needs!r}, not a Needs"
    if not _texts(metric.splits, tuple) or not all(map(ROLE.match, metric.splits)):
        yield (
            f"splits is {metric.splits!r}, not a tuple of roles such as 'test', 'train?' or 'ood.*'"
        )
    if metric.scope not in ("model", "data"):
        yield f"scope is {metric.scope!r}, not 'model' or 'data'"
    if metric.threats not in ("none", "optional", "required"):
        yield f"threats is {metric.threats!r}, not 'none', 'optional' or 'required'"
    if not _texts(metric.norms, tuple) or not set(metric.norms) <= set(Norm):
        yield f"norms is {metric.norms!r}, not a tuple of {', '.join(Norm)}"


def _texts(values: object, kind: type[tuple[Any, ...]] | type[frozenset[Any]]) -> bool:
    return isinstance(values, kind) and all(isinstance(value, str) for value in values)


def _own_version() -> str:
    from robreport import __version__

    return __version__


def _said(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split()) or "no message"
    except Exception:  # noqa: BLE001 - a plugin's own exception may not even have a text
        text = "no message"
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}"
