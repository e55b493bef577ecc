"""Plugins load whole or not at all, whatever they do."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from robreport import (
    Bundle,
    Comparison,
    Context,
    Metric,
    Needs,
    Outcome,
    Params,
    Result,
    Section,
    hookimpl,
)
from robreport.discovery import Candidate, installed
from robreport.plugins import PluginRecord, Registry


class One(Metric):
    id = "fake.one"
    title = "One"
    question = "Is it one?"
    summary = "It is."

    def compute(self, bundle: Bundle, params: Params, ctx: Context) -> Result:
        return Result(answer="One.")


class Loader:
    Options = Params
    summary = ""

    def load(self, source: Any) -> Any:
        raise NotImplementedError


class OnlyOptions:
    Options = Params


class PathOptions(Params):
    path: str = ""
    fine: int = 0


class Plugin:
    """Offers whatever it is given, one hook each."""

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        for name, function in hooks.items():
            setattr(self, name, hookimpl(function))


def _candidate(plugin: Any, name: str = "fake", distribution: str = "fake-dist") -> Candidate:
    def load() -> Any:
        if isinstance(plugin, BaseException):
            raise plugin
        return plugin

    return Candidate(name=name, distribution=distribution, version="1", module=name, load=load)


def _registry(*plugins: Any) -> Registry:
    return Registry(candidates=[_candidate(p, f"fake{i}") for i, p in enumerate(plugins)])


def _last(registry: Registry) -> PluginRecord:
    return registry.records[-1]


def _metrics(*metrics: Any) -> Plugin:
    def register_metrics(register: Any) -> None:
        for metric in metrics:
            register(metric)

    return Plugin(register_metrics=register_metrics)


def test_a_plugin_that_works() -> None:
    registry = _registry(_metrics(One))
    assert registry.metrics["fake.one"] is One
    assert registry.owner("metrics", "fake.one").distribution == "fake-dist"
    assert _last(registry).offers == {"metrics": ("fake.one",)}
    assert _last(registry).hooks == ("register_metrics",)
    assert registry.failed == []
    assert registry.wrapping == []
    assert {"html", "pdf"} <= set(registry.renderers)


class _Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("planted"), "import failed: RuntimeError: planted"),
        (ImportError("no numpy\nat all"), "import failed: ImportError: no numpy at all"),
        (SystemExit(3), "import failed: SystemExit: 3"),
        (ValueError(), "import failed: ValueError: no message"),
        (_Mute(), "import failed: _Mute: no message"),
    ],
)
def test_a_plugin_that_raises_at_import_harms_nobody(error: BaseException, said: str) -> None:
    registry = _registry(error, _metrics(One))
    assert [record.error for record in registry.failed] == [said]
    assert set(registry.metrics) == {"fake.one"}


def test_an_interrupt_at_import_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        _registry(KeyboardInterrupt())


def _misspelled() -> Plugin:
    return Plugin(register_metric=lambda register: None)


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        (_misspelled(), "unknown hook 'register_metric'. Did you mean 'register_metrics'?"),
        (Plugin(zzz=lambda: None), "unknown hook 'zzz'. Hooks: register_metrics, register_model_"),
        (Plugin(), "implements no hook; mark functions with @robreport.hookimpl"),
        (Plugin(register_metrics=lambda registre: None), "registre"),
        (Plugin(register_metrics=lambda register: register(5)), "register(MetricClass) expected"),
        (Plugin(register_metrics=lambda register: register(One())), "register(MetricClass) expect"),
        (Plugin(register_metrics=lambda register: register(int)), "register(MetricClass) expected"),
        (Plugin(register_themes=lambda register: register("x")), "register(Theme(...)) expected"),
        (Plugin(register_renderers=lambda register: register("x", 3)), "'x' cannot be called"),
        (Plugin(register_gates=lambda register: register("a b", 3)), "'a b' is not a name"),
        (Plugin(register_gates=lambda register: register(3, 3)), "3 is not a name"),
        (Plugin(register_gates=lambda register: [register("g", 1), register("g", 2)]),
         "gate 'g' is already offered by itself"),
        (Plugin(register_model_loaders=lambda register: register("x", object())),
         "loader 'x' has no Options class derived from Params"),
        (Plugin(register_data_loaders=lambda register: register("x", OnlyOptions())),
         "loader 'x' has no load method"),
        (Plugin(register_data_loaders=lambda register: register("x", Loader)),
         "loader 'x' is a class; register an instance"),
        (Plugin(register_model_loaders=lambda register: register(
            "x", type("L", (Loader,), {"Options": PathOptions})())),
         "loader 'x' has Options called path, which every entry has"),
    ],
)  # fmt: skip
def test_a_wrong_plugin_is_refused_with_the_reason(plugin: Plugin, said: str) -> None:
    registry = _registry(_metrics(One), plugin)
    assert said in _last(registry).error
    assert set(registry.metrics) == {"fake.one"}
    assert not registry.gates
    assert _last(registry).offers == {}


def _compute(self: Any, bundle: Any, params: Any, ctx: Any) -> Result:
    return Result(answer="A.")


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"id": "One"}, "id is 'One', not of the form 'family.method'"),
        ({"id": None}, "not of the form 'family.method'"),
        ({"title": 3}, "declares no title"),
        ({"limits": None}, "declares no limits"),
        ({"Params": dict}, "Params is not derived from robreport.Params"),
        ({"splits": "test"}, "splits is 'test', not a tuple of roles"),
        ({"splits": ("tets",)}, "not a tuple of roles"),
        ({"needs": "labels"}, "needs is 'labels', not a Needs"),
        ({"scope": "audit"}, "scope is 'audit'"),
        ({"threats": True}, "threats is True"),
        ({"norms": ("linf",)}, "norms is ('linf',), not a tuple of L0, L1, L2, Linf"),
        ({"references": "a book"}, "references is 'a book'"),
        ({"scalar_help": ("a",)}, "scalar_help is not a mapping"),
        ({"scalar_help": {"A b": ""}}, "scalar_help names 'A b'"),
    ],
)  # fmt: skip
def test_a_wrong_metric_is_refused_with_the_reason(attributes: dict[str, Any], said: str) -> None:
    registry = _registry(_metrics(type("Wrong", (One,), attributes)))
    assert said in _last(registry).error
    assert not registry.metrics


def test_metrics_without_a_body_are_refused() -> None:
    class Abstract(Metric):
        id = "fake.abstract"
        title = question = summary = ""

    class Compares(Comparison):
        id = "fake.compares"
        title = question = summary = ""
        consumes = "fake.one"  # type: ignore[assignment]

        def compare(self, outcomes: Any, params: Any, ctx: Any) -> Result:
            return Result(answer="A.")

    registry = _registry(_metrics(Abstract), _metrics(Compares))
    assert "does not implement its compute or compare" in registry.records[-2].error
    assert "consumes is 'fake.one', not a frozenset" in _last(registry).error


def test_a_taken_id_names_its_owner_and_the_first_stays() -> None:
    other = type("Other", (One,), {"title": "Other"})
    registry = _registry(_metrics(One), _metrics(other))
    assert _last(registry).error == (
        "metric 'fake.one' is already offered by plugin 'fake0' (fake-dist)"
    )
    assert registry.metrics["fake.one"] is One


def test_nothing_of_a_plugin_remains_that_raises_half_way() -> None:
    calls: list[str] = []

    def register_metrics(register: Any) -> None:
        register(One)

    def register_themes(register: Any) -> None:
        raise RuntimeError("half way")

    def run_metric(metric: Any) -> None:
        calls.append("called")

    half = Plugin(register_metrics=register_metrics, register_themes=register_themes,
                  run_metric=run_metric)  # fmt: skip
    two = type("Two", (One,), {"id": "fake.two"})
    registry = _registry(_metrics(two), half)
    assert _last(registry).error == "RuntimeError: half way"
    assert set(registry.metrics) == {"fake.two"}
    assert set(registry.themes) == {"default"}
    assert _last(registry).wrappers == ()
    result = registry.hook.run_metric(metric=One(), bundle=None, params=None, ctx=None)
    assert result.answer == "One."
    assert calls == []


def test_what_a_plugin_registers_later_is_not_taken() -> None:
    kept: list[Any] = []
    registry = _registry(Plugin(register_gates=lambda register: kept.append(register)))
    kept[0]("late", 1)
    assert "late" not in registry.gates


def test_the_same_entry_point_name_in_two_distributions() -> None:
    two = type("Two", (One,), {"id": "fake.two"})
    registry = Registry(
        candidates=[_candidate(_metrics(One), "same", "dist-a"),
                    _candidate(_metrics(two), "same", "dist-b")]
    )  # fmt: skip
    assert registry.failed == []
    assert set(registry.metrics) == {"fake.one", "fake.two"}


def test_one_plugin_object_twice_is_an_error_of_the_second() -> None:
    plugin = _metrics(One)
    registry = _registry(plugin, plugin)
    assert len(registry.failed) == 1
    assert registry.metrics["fake.one"] is One


def test_whoever_can_change_a_result_is_flagged() -> None:
    class Wraps:
        @hookimpl(wrapper=True)
        def run_metric(self, metric: Any) -> Any:
            result = yield
            return Result(answer=f"Wrapped {result.answer}")

    registry = _registry(Wraps(), Plugin(run_metric=lambda metric: None), _metrics(One))
    assert [record.wrappers for record in registry.wrapping] == [("run_metric",)] * 2
    result = registry.hook.run_metric(metric=One(), bundle=None, params=None, ctx=None)
    assert result.answer == "Wrapped One."


@pytest.mark.parametrize("hook", ["report_sections", "audit_finished"])
def test_other_hooks_cannot_be_wrapped(hook: str) -> None:
    def wrap(run: Any) -> Any:
        yield

    plugin = Plugin()
    setattr(plugin, hook, hookimpl(wrapper=True)(wrap))
    assert _last(_registry(plugin)).error == f"it wraps {hook}; only run_metric can be wrapped"


def test_a_hook_of_a_later_version_may_be_optional() -> None:
    plugin = _metrics(One)
    plugin.later_hook = hookimpl(optionalhook=True)(lambda: None)  # type: ignore[attr-defined]
    assert _registry(plugin).failed == []


def test_sections_of_a_broken_plugin_do_not_lose_the_others() -> None:
    section = Section(id="a", title="A")

    def breaks(run: Any) -> Any:
        raise RuntimeError("planted")

    registry = _registry(
        Plugin(report_sections=lambda run: [section]), Plugin(report_sections=breaks),
        Plugin(report_sections=lambda: None), Plugin(report_sections=lambda run: ["text"]),
    )  # fmt: skip
    found, broken = registry.sections(None)
    assert found == [section]
    assert [error for _, error in broken] == [
        "RuntimeError: planted", "TypeError: it returned a str, not a Section",
    ]  # fmt: skip


def _install(
    folder: Path, name: str, points: str, code: str = "", metadata: str | None = None
) -> None:
    info = folder / f"{name.replace('-', '_')}-2.5.dist-info"
    info.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n" if metadata is None else metadata
    (info / "METADATA").write_text(text)
    (info / "entry_points.txt").write_text(points)
    if code:
        (folder / f"{name.replace('-', '_')}_code.py").write_text(textwrap.dedent(code))


CODE = """
    from robreport import Metric, Result, hookimpl

    class Real(Metric):
        id = "real.metric"
        title = question = summary = "Real"

        def compute(self, bundle, params, ctx):
            return Result(answer="Real.")

    @hookimpl
    def register_metrics(register):
        register(Real)
"""
POINTS = "[robreport.plugins]\nreal = real_dist_code\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    return tmp_path


def test_an_installed_distribution_is_found(site: Path) -> None:
    _install(site, "real-dist", POINTS, CODE)
    _install(site, "damaged-dist", "[robreport.plugins\nno equals sign\n")
    _install(site, "nameless-dist", "[robreport.plugins]\nx = nowhere\n", metadata="")
    registry = Registry()
    record = registry.owner("metrics", "real.metric")
    assert (record.distribution, record.version, record.module) == (
        "real-dist", "2.5", "real_dist_code",
    )  # fmt: skip
    assert all(record.distribution != "damaged-dist" for record in registry.records)


@pytest.mark.parametrize(
    ("allow", "variable", "there"),
    [
        (None, None, True),
        (["real-dist"], None, True),
        (["Real.Dist"], None, True),
        (["robreport"], None, False),
        ([], None, False),
        (None, "real", True),
        (None, "real_dist , other", True),
        (None, "attacks", False),
        (None, ",", False),
        (None, "", True),
        (["robreport"], "real", False),
    ],
)
def test_what_may_be_loaded(
    site: Path, monkeypatch: pytest.MonkeyPatch, allow: list[str] | None, variable: str | None,
    there: bool,
) -> None:  # fmt: skip
    _install(site, "real-dist", POINTS, CODE)
    if variable is not None:
        monkeypatch.setenv("ROBREPORT_PLUGINS", variable)
    assert ("real" in [c.name for c in installed(allow)]) is there


def test_the_built_in_plugins_come_first_and_once() -> None:
    found = installed()
    assert found[0].distribution == "robreport"
    keys = [(c.distribution, c.name, c.module) for c in found]
    assert len(set(keys)) == len(keys)


def test_a_module_is_a_plugin() -> None:
    module = ModuleType("planted")
    module.register_metrics = hookimpl(lambda register: register(One))  # type: ignore[attr-defined]
    module.needs = Needs.NONE  # type: ignore[attr-defined]
    module.outcome = Outcome  # type: ignore[attr-defined]
    assert _registry(module).failed == []
