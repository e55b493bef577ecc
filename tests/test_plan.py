"""A spec against the registry: what will run, or every problem of both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field

from robreport import Comparison, Metric, Needs, Params, Result, hookimpl
from robreport import Params as AnyParams
from robreport.codec import plain
from robreport.discovery import Candidate
from robreport.errors import SpecError
from robreport.plan import make_plan
from robreport.planned import Plan
from robreport.plugins import Registry
from robreport.spec_reader import parse_spec


class _Fake(Metric):
    title = question = summary = "Fake"

    def compute(self, bundle: Any, params: Any, ctx: Any) -> Result:
        return Result(answer="Fake.")


class Layer(Params):
    size: int = 1


class Attack(_Fake):
    id = "fake.attack"
    threats = "required"
    norms = ("Linf", "L2")
    scalar_help: ClassVar[Mapping[str, str]] = {
        "clean_accuracy": "", "robust_accuracy[threat, eps]": "", "worst[eps]": "",
    }  # fmt: skip

    class Params(AnyParams):
        steps: int = Field(10, ge=1)
        layers: tuple[Layer, ...] = ()
        inner: Layer | None = None
        limit: float = math.inf


class Plain(_Fake):
    id = "fake.plain"
    splits = ("test", "train?")


class Members(_Fake):
    id = "fake.members"
    splits = ("train", "test", "calibration")
    needs = Needs.MEMBERS


class Foreign(_Fake):
    id = "fake.foreign"
    splits = ("test", "ood.*", "ood.fashion", "shift.*")


class OfData(_Fake):
    id = "fake.data"
    scope = "data"


class Compare(Comparison):
    id = "fake.compare"
    title = question = summary = "Fake"
    consumes = frozenset({"fake.attack"})

    def compare(self, outcomes: Any, params: Any, ctx: Any) -> Result:
        return Result(answer="Fake.")


class Net:
    summary = ""

    class Options(Params):
        hidden: int = 1

    def load(self, source: Any) -> Any:
        raise NotImplementedError


class Npz(Net):
    class Options(Params):
        x: str = "x"
        scale: float = 1.0


class Csv(Net):
    class Options(Params):
        label: str = "y"
        columns: tuple[str, ...] = ()


class Planted:
    @hookimpl
    def register_metrics(self, register: Any) -> None:
        for metric in (Attack, Plain, Members, Foreign, OfData, Compare):
            register(metric)

    @hookimpl
    def register_model_loaders(self, register: Any) -> None:
        register("net", Net())

    @hookimpl
    def register_data_loaders(self, register: Any) -> None:
        register("npz", Npz())
        register("csv", Csv())


def _broken() -> Any:
    raise RuntimeError("planted")


@pytest.fixture(scope="module")
def registry() -> Registry:
    def candidate(name: str, load: Any) -> Candidate:
        return Candidate(name=name, distribution="d", version="1", module=name, load=load)

    return Registry(candidates=[candidate("fake", Planted), candidate("broken", _broken)])


@pytest.fixture(scope="module")
def clean() -> Registry:
    load = Planted
    return Registry(
        candidates=[Candidate(name="f", distribution="d", version="1", module="f", load=load)]
    )


def _tree(**rest: Any) -> dict[str, Any]:
    return {
        "audit": {"title": "t"},
        "models": [{"name": "m", "loader": "net"}, {"name": "o", "loader": "net"}],
        "data": {"task": "classification", "loader": "npz", "test": {}},
        "threats": {
            "linf": {"norm": "Linf", "eps": ["8/255", 0.1]},
            "ones": {"norm": "L1", "eps": [1]},
        },
        "metrics": [{"name": "pgd", "id": "fake.attack", "threats": ["linf"]}],
        **rest,
    }


def _plan(registry: Registry, base: Path = Path(), **rest: Any) -> Plan:
    return make_plan(parse_spec(_tree(**rest), base=base), registry)


def _problems(registry: Registry, base: Path = Path(), **rest: Any) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        _plan(registry, base, **rest)
    return {p.where: f"{p.message} {p.hint}".strip() for p in caught.value.problems}


def _metric(**keys: Any) -> dict[str, Any]:
    entry = {"name": "pgd", "id": "fake.attack", "threats": ["linf"], **keys}
    return {"metrics": [{k: v for k, v in entry.items() if v is not None}]}


def test_a_plan(clean: Registry) -> None:
    plan = _plan(clean, metrics=[
        {"name": "pgd", "id": "fake.attack", "threats": ["linf"], "models": ["o"],
         "require": ["robust_accuracy[linf, 8/255] >= 50 %"], "warn": ["clean_accuracy > 0.9"]},
        {"id": "fake.plain"}, {"id": "fake.data"}, {"id": "fake.compare", "allow_missing": True},
    ])  # fmt: skip
    assert [(unit.key, unit.kind) for unit in plan.units] == [
        ("pgd@o", "model"), ("fake.plain@m", "model"), ("fake.plain@o", "model"),
        ("fake.data", "data"), ("fake.compare", "comparison"),
    ]  # fmt: skip
    require, warn = plan.requirements["pgd"]
    assert [e.text for e in (*require, *warn)] == [
        "robust_accuracy[linf, 8/255] >= 50 %", "clean_accuracy > 0.9",
    ]  # fmt: skip
    assert plan.allow_missing == {"fake.compare"}
    about = plan.units[0].subject({"test": 7})
    assert about.threats == ("linf",)
    assert about.splits == {"test": 7}
    # an infinity is no JSON: the record has it as text
    assert plain(about.params) == {"steps": 10, "layers": [], "inner": None, "limit": "inf"}
    assert [m.name for m in plan.models] == ["m", "o"]


# Each with its place, and words of the sentence that must name it.
MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    (_metric(id="fake.attak"), "metrics.pgd.id", "Did you mean 'fake.attack'"),
    (_metric(params={"stesp": 3}), "metrics.pgd.params.stesp",
     "unknown key 'stesp'; known: inner, layers, limit, steps. Did you mean 'steps'?"),
    (_metric(params={"steps": 0}), "metrics.pgd.params.steps", "least 1 is needed, found 0."),
    (_metric(params={"layers": [{}, {"sise": 1}]}), "metrics.pgd.params.layers[1].sise",
     "known: size. Did you mean 'size'?"),
    (_metric(params={"inner": {"sise": 1}}), "metrics.pgd.params.inner.sise", "known: size."),
    (_metric(threats=None), "metrics.pgd.threats", "one threat model; known: linf, on"),
    (_metric(threats=["lnf"]), "metrics.pgd.threats[0]", "Did you mean 'linf'?"),
    (_metric(threats=["linf", "linf"]), "metrics.pgd.threats[1]", "'linf' stands twice."),
    (_metric(threats=["linf", "ones"]), "metrics.pgd.threats[1]",
     "fake.attack does not work in the norm L1; it does in Linf, L2."),
    (_metric(id="fake.plain"), "metrics.pgd.threats", "works without threat models."),
    (_metric(models=["mm"]), "metrics.pgd.models[0]", "unknown model 'mm'; known: m, o."),
    (_metric(models=[]), "metrics.pgd.models", "an empty list measures nothing."),
    (_metric(models=["m", "m"]), "metrics.pgd.models[1]", "'m' stands twice."),
    (_metric(id="fake.data", threats=None, models=["m"]), "metrics.pgd.models", "measures the"),
    (_metric(require=["nonsense"]), "metrics.pgd.require[0]", "is not of the form"),
    (_metric(warn=["x > 1", "clean_acuracy > 1"]), "metrics.pgd.warn[1]",
     "Did you mean 'clean_accuracy'?"),
    (_metric(require=["robust_acuracy[linf, 0.1] > 1"]), "metrics.pgd.require[0]",
     "Did you mean 'robust_accuracy'?"),
    (_metric(require=["robust_accuracy > 1"]), "metrics.pgd.require[0]",
     "it is written robust_accuracy[threat, eps]."),
    (_metric(require=["robust_accuracy[l2, 0.1] > 1"]), "metrics.pgd.require[0]",
     "unknown threat of this entry 'l2'; known: linf."),
    (_metric(require=["robust_accuracy[linf, 0.2] > 1"]), "metrics.pgd.require[0]",
     "the eps 0.2 is not declared: threats.linf has 8/255, 0.1."),
    (_metric(require=["worst[0.2] > 1"]), "metrics.pgd.require[0]", "eps 0.2 is not declared"),
    (_metric(require=["robust_accuracy[linf, x] > 1"]), "metrics.pgd.require[0]", "eps must"),
    ({"metrics": []}, "metrics", "nothing is to be measured."),
    ({"models": []}, "metrics.pgd", "fake.attack measures a model, and none is declared."),
    ({"models": [{"name": "m", "loader": "nett"}]}, "models.m.loader", "Did you mean 'net'?"),
    ({"models": [{"name": "m", "loader": "net", "hiden": 1}]}, "models.m.hiden",
     "known: hidden, loader, name, path, sha256, trusted, version. Did you mean 'hidden'?"),
    ({"models": [{"name": "m", "loader": "net", "hidden": "x"}]}, "models.m.hidden", "whole n"),
    ({"models": [{"name": "m", "loader": "net", "path": "no.pt"}]}, "models.m.path",
     "the file 'no.pt' does not exist. Paths are relative to the spec's folder."),
    ({"models": [{"name": "m", "loader": "net", "path": "."}]}, "models.m.path", "is no file."),
    ({"models": [{"name": "m", "loader": "net", "path": "x" * 300}]}, "models.m.path",
     "cannot be looked at (File name too long)."),
    ({"data": {"task": "regression", "loader": "npzz", "test": {}}}, "data.loader",
     "Did you mean 'npz'?"),
    ({"data": {"task": "regression", "test": {}}}, "data.test.loader",
     "no loader is declared, here or in [data]. Known: csv, npz."),
    ({"data": {"task": "regression", "test": {"loader": "x"}}}, "data.test.loader", "known"),
    ({"data": {"task": "regression", "loader": "npz", "test": {"lim": 1}}}, "data.test.lim",
     "known: limit, loader, root, scale, shuffle, x. Did you mean 'limit'?"),
    ({"data": {"task": "regression", "loader": "npz", "sale": 1, "test": {}}}, "data.sale",
     "Did you mean 'scale'?"),
    ({"data": {"task": "regression", "loader": "npz", "validation": {}, "test": {}}},
     "data.validation", "known: calibration, extra, ood, schema, shift, test, train."),
    ({"data": {"task": "regression", "loader": "npz", "zzz": {}, "test": {}}},
     "data.zzz", "known: bounds, calibration, extra, loader, ood, root, scale, schema"),
    ({"data": {"task": "regression", "loader": "npz", "scale": "x", "test": {}, "train": {}}},
     "data.scale", 'a number is needed, found "x".'),
    ({"data": {"task": "regression", "loader": "npz", "root": "none", "test": {}}}, "data.root",
     "the folder 'none' does not exist."),
    ({"data": {"task": "regression", "loader": "npz"}}, "data", "no split is declared."),
    ({"report": {"formats": ["html", "pfd"]}}, "report.formats[1]", "Did you mean 'pdf'?"),
    ({"report": {"theme": "defalt"}}, "report.theme", "Did you mean 'default'?"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "where", "words"), MISTAKES)
def test_each_problem_names_its_place_and_what_is_allowed(
    clean: Registry, tmp_path: Path, change: dict[str, Any], where: str, words: str
) -> None:
    found = _problems(clean, tmp_path, **change)
    assert where in found, found
    assert words in found[where]


def test_problems_of_spec_and_plan_come_together(clean: Registry) -> None:
    found = _problems(
        clean, bogus=1, report={"theme": "x"}, threats={"linf": {"norm": "Linf"}},
        models=[{"name": "m", "loader": "x"}, {"name": "o"}],
        metrics=[{"id": "fake.plain", "models": ["o"]}, {"id": "none.such"},
                 {"name": "pgd", "id": "fake.attack", "threats": ["linf"]}],
    )  # fmt: skip
    # what refers to a broken entry is no problem of its own
    assert set(found) == {
        "bogus", "report.theme", "threats.linf.eps", "models.m.loader", "models.o.loader",
        "metrics.none.such.id",
    }  # fmt: skip


def test_an_unknown_name_names_the_plugins_that_failed(registry: Registry) -> None:
    found = _problems(registry, **_metric(id="none.such"))
    assert (
        "Plugins that failed to load: broken (import failed: RuntimeError: planted)."
        in (found["metrics.pgd.id"])
    )


def test_one_problem_for_an_option_that_all_splits_share(clean: Registry) -> None:
    with pytest.raises(SpecError) as caught:
        _plan(clean, data={"task": "regression", "loader": "npz", "scale": "x", "test": {},
                           "train": {}, "ood": {"a": {}}})  # fmt: skip
    assert len(caught.value.problems) == 1


def test_splits_take_from_data_what_their_loader_knows(clean: Registry, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    plan = _plan(clean, tmp_path, data={
        "task": "classification", "loader": "npz", "x": "inputs", "label": "z", "columns": ["a"],
        "test": {"limit": 5, "shuffle": False},
        "train": {"loader": "csv", "label": "w", "root": "sub"},
    })  # fmt: skip
    train, test = plan.splits
    assert test.options == Npz.Options(x="inputs")
    assert (test.limit, test.shuffle, test.root) == (5, False, tmp_path / ".")
    assert train.options == Csv.Options(label="w", columns=("a",))
    assert train.root == tmp_path / "sub"


def test_roles(clean: Registry) -> None:
    data = {"task": "classification", "loader": "npz", "test": {},
            "ood": {"fashion": {}, "b": {}}}  # fmt: skip
    metrics = [{"id": "fake.plain"}, {"id": "fake.foreign"}, {"id": "fake.members"}]
    plan = _plan(clean, data=data, metrics=metrics, models=[{"name": "m", "loader": "net"}])
    plain_, foreign, members = plan.units
    assert (plain_.roles, plain_.missing) == (("test",), ())
    assert (foreign.roles, foreign.missing) == (("test", "ood.fashion", "ood.b"), ())
    assert (members.roles, members.missing) == (("test", "calibration"), ("train",))
    # a calibration part is cut from test, right after it, since a metric reads one
    assert [(s.role, s.carved_from) for s in plan.splits] == [
        ("test", ""), ("calibration", "test"), ("ood.fashion", ""), ("ood.b", ""),
    ]  # fmt: skip
    declared = _plan(clean, data={**data, "calibration": {}, "train": {}}, metrics=metrics)
    assert [s.carved_from for s in declared.splits] == [""] * 5
    unread = _plan(clean, data=data)
    assert [s.role for s in unread.splits] == ["test", "ood.fashion", "ood.b"]


def test_an_audit_of_the_data_alone_needs_no_model(clean: Registry) -> None:
    plan = _plan(clean, models=[], metrics=[{"id": "fake.data"}])
    assert [unit.model for unit in plan.units] == [None]
