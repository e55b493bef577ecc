"""audit.toml to a spec, or to every problem with its place."""

from __future__ import annotations

import datetime
import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robreport.codec import to_json
from robreport.errors import Problem, RobreportError, SpecError, printable
from robreport.spec import AuditSpec
from robreport.spec_reader import parse_spec, read_spec

FULL = """
[audit]
title = "Small"
seed = 7
output = "out"

[[models]]
name = "natural.v1"
loader = "torch"
path = "net.pt"
hidden = 3

[data]
task = "classification"
loader = "npz"
root = "."
bounds = [0.0, 1.0]
columns = ["a", "b"]
schema = { label = "income" }
[data.train]
[data.test]
limit = 10
[data.ood."fashion.v2"]

[threats.linf]
norm = "Linf"
eps = ["8/255", 0.1, "1/255"]

[[metrics]]
name = "pgd"
id = "attacks.suite"
threats = ["linf"]
params = { steps = 40 }
require = ["robust_accuracy[linf, 8/255] >= 0.5"]

[execution]
workers = 2
timeout = "30m"
memory = "8GB"
"""


def _spec(text: str, *overrides: str, folder: Path | None = None) -> AuditSpec:
    path = (folder or Path()) / "audit.toml"
    path.write_text(text, encoding="utf-8")
    return read_spec(path, overrides)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _found(tree: dict[str, Any]) -> dict[str, str]:
    problems = parse_spec({"audit": {"title": "t"}, **tree}).problems
    return {problem.where: f"{problem.message} {problem.hint}".strip() for problem in problems}


def test_a_whole_spec(folder: Path) -> None:
    spec = _spec(FULL)
    assert spec.problems == ()
    assert spec.text == FULL
    assert spec.base == folder
    assert spec.models[0].options == {"hidden": 3}
    assert spec.data is not None
    # a loader's option may be called like a field of ours
    assert spec.data.options == {"columns": ["a", "b"]}
    assert spec.data.columns.label == "income"
    assert [role for role, _ in spec.data.splits()] == ["train", "test", "ood.fashion.v2"]
    assert [str(eps) for eps in spec.threats["linf"].eps] == ["1/255", "8/255", "0.1"]
    assert spec.execution.timeout == 1800
    assert spec.execution.memory == 8 * 10**9
    assert spec.metrics[0].models is None


def test_a_metric_is_named_by_its_id_when_that_is_unique() -> None:
    spec = parse_spec({"audit": {"title": "t"}, "metrics": [{"id": "a.b"}, {"id": "c.d"}]})
    assert [metric.name for metric in spec.metrics] == ["a.b", "c.d"]


# Each with its place, and words of the sentence that must name it.
MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"modles": []}, "modles", "unknown table 'modles'; known: audit, data,"),
    ({"modles": []}, "modles", "Did you mean 'models'?"),
    ({"audit": {"titel": "x"}}, "audit.titel", "Did you mean 'title' or"),
    ({"audit": {"titel": "x"}}, "audit.title", "is missing."),
    ({"audit": {"title": "t", "list": 1}}, "audit.list", "unknown key 'list'; known: dist"),
    ({"audit": []}, "audit", "a table is needed, found []."),
    ({"audit": {"title": "t", "seed": -1}}, "audit.seed", "of at least 0 is needed, found -1."),
    ({"audit": {"title": "t", "seed": "1"}}, "audit.seed", 'whole number is needed, found "1"'),
    ({"audit": {"title": "t", "seed": True}}, "audit.seed", "whole number is needed, found tr"),
    ({"audit": {"title": "t", "seed": 10**30}}, "audit.seed", "a whole number of 64 bits"),
    ({"models": {}}, "models", "an array of tables is needed, found {}. Write [[models]]"),
    ({"metrics": {"id": "a"}}, "metrics", "Write [[metrics]], with two brackets."),
    ({"models": [5]}, "models[0]", "a table is needed, found 5."),
    ({"models": [{"loader": "t"}]}, "models[0].name", "is missing."),
    ({"models": [{"name": "a b", "loader": "t"}]}, "models[0].name", 'is needed, found "a b".'),
    ({"models": [{"name": "..", "loader": "t"}]}, "models[0].name", 'is needed, found "..".'),
    ({"models": [{"name": "m", "loader": "t", "trusted": "no"}]}, "models.m.trusted",
     'true or false is needed, found "no".'),
    ({"models": [{"name": "m", "loader": "t", "sha256": "ab"}]}, "models.m.sha256",
     'a SHA-256 of 64 hexadecimal digits is needed, found "ab".'),
    ({"models": [{"name": "m", "loader": "t"}] * 2}, "models[1].name", "the name 'm' is taken"),
    ({"data": {}}, "data.task", "is missing."),
    ({"data": {"task": "clasification"}}, "data.task", "Did you mean 'classification'?"),
    ({"data": {"task": "regression", "tset": {}}}, "data.tset", "Did you mean 'test'?"),
    ({"data": {"task": "regression", "test": 5}}, "data.test", "a table is needed, found 5."),
    ({"data": {"task": "regression", "test": {"limit": 0}}}, "data.test.limit",
     "a number of at least 1 is needed, found 0."),
    ({"data": {"task": "regression", "test": {"limit": True}}}, "data.test.limit",
     "a whole number is needed, found true."),
    ({"data": {"task": "regression", "bounds": [0, "x"]}}, "data.bounds[1]",
     'a number or an array is needed, found "x".'),
    ({"data": {"task": "regression", "bounds": [0, ["x"]]}}, "data.bounds[1][0]",
     'a number is needed, found "x".'),
    ({"data": {"task": "regression", "bounds": [1, 0]}}, "data.bounds", "must lie below"),
    ({"data": {"task": "regression", "bounds": [[0, 0], [1, 1, 1]]}}, "data.bounds",
     "the lower side has 2 values and the upper 3."),
    ({"data": {"task": "regression", "bounds": [0, float("inf")]}}, "data.bounds[1]",
     "a finite number"),
    ({"data": {"task": "regression", "schema": {"lable": 1}}}, "data.schema.lable",
     "known: categorical, classes, drop, features, frozen, group, label, positive, sensitive. "
     "Did you mean 'label'?"),
    ({"data": {"task": "regression", "schema": {"label": [1]}}}, "data.schema.label",
     "a text or a whole number is needed, found [1]."),
    ({"data": {"task": "regression", "ood": {"a b": {}}}}, 'data.ood."a b"', "a name has 1 to"),
    ({"data": {"task": "regression", "ood": {"x": {"limit": 0}}}}, "data.ood.x.limit", "least"),
    ({"threats": {"l": {"norm": "linf", "eps": 1}}}, "threats.l.norm", "Did you mean 'Linf'?"),
    ({"threats": {"l": {"norm": "Linf", "eps": []}}}, "threats.l.eps", "at least one eps"),
    ({"threats": {"l": {"norm": "Linf", "eps": ["0.1", 0.10]}}}, "threats.l.eps", "stand once"),
    ({"threats": {"l": {"norm": "Linf", "eps": ["1e99999999"]}}}, "threats.l.eps", "finite"),
    ({"metrics": [{}]}, "metrics[0].id", "is missing."),
    ({"metrics": [{"id": "a b"}]}, "metrics[0].id", "an id such as 'attacks.suite' is needed"),
    ({"metrics": [{"id": "a.b"}, {"id": "a.b"}]}, "metrics[1].name", "stands more than once."),
    ({"metrics": [{"id": "a.b"}, {"id": "a.b", "thraets": []}]}, "metrics[1].thraets",
     "Did you mean 'threats'?"),
    ({"metrics": [{"id": "a.b", "params": 3}]}, "metrics.a.b.params", "a table is needed"),
    ({"metrics": [{"id": "a.b", "require": "x > 1"}]}, "metrics.a.b.require", "an array is ne"),
    ({"report": {"formats": "html"}}, "report.formats", 'an array is needed, found "html".'),
    ({"plugins": {"allow": [1]}}, "plugins.allow[0]", "a text is needed, found 1."),
    ({"execution": {"workers": 0}}, "execution.workers", "a number of at least 1 is needed"),
    ({"execution": {"timeout": "soon"}}, "execution.timeout", "such as '90s', '30m' or '2h'"),
    ({"execution": {"timeout": 0}}, "execution.timeout", "a duration above 0"),
    ({"execution": {"memory": "8"}}, "execution.memory", "a size such as '512MB' or '8GB'"),
    ({"execution": {"memory": "9" * 400 + "TB"}}, "execution.memory", "a size such as"),
    ({"execution": {"device": "gpu"}}, "execution.device", "'auto', 'cpu' or 'cuda' is needed"),
    ({"models": [{"name": "m", "loader": "t", "path": "a\0b"}]}, "models[0].path", "a NUL"),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "where", "words"), MISTAKES)
def test_each_problem_names_its_place_and_what_is_allowed(
    tree: dict[str, Any], where: str, words: str
) -> None:
    found = _found(tree)
    assert where in found, found
    assert words in found[where]


def test_all_problems_are_found_at_once() -> None:
    found = _found(
        {"audit": {"seed": -1}, "models": [{"name": "a"}, {"name": "b", "loader": 3}],
         "data": {"task": 1, "test": {"limit": -1}}, "report": {"theme": 1}, "bogus": 1}
    )  # fmt: skip
    assert set(found) == {
        "audit.title", "audit.seed", "models.a.loader", "models.b.loader", "data.task",
        "data.test.limit", "report.theme", "bogus",
    }  # fmt: skip


def test_a_missing_audit_table_is_a_problem() -> None:
    assert parse_spec({}).problems[0].where == "audit"


def test_problems_stay_on_one_line_and_move_no_cursor() -> None:
    text = str(SpecError(parse_spec({"au\x1b[2Jdit\n": {}, "x" * 5000: 1}).problems))
    assert "\x1b" not in text
    assert all(len(line) < 700 for line in text.splitlines())
    assert len(text.splitlines()) == 4  # the heading, [audit] missing, two unknown tables
    assert printable("a\nb\x07") == "a\\nb\\x07"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe[audit]", "not valid TOML"),
        (b"[audit", "not valid TOML"),
        (b"a = 1\na = 2", "not valid TOML"),
        (b"x = " + b"9" * 5000, "not valid TOML"),
        (b"x = " + b"[" * 100_000, "nested too deeply"),
        (b"# " + b"x" * 4_000_001, "too many for a spec"),
    ],
    ids=["encoding", "syntax", "twice", "digits", "deep", "huge"],
)
def test_what_is_no_toml_is_one_clear_error(folder: Path, content: bytes, words: str) -> None:
    (folder / "audit.toml").write_bytes(content)
    with pytest.raises(SpecError, match=words):
        read_spec(folder / "audit.toml")


@pytest.mark.parametrize("depth", [40, 300])
def test_deep_tables_are_a_problem(folder: Path, depth: int) -> None:
    spec = _spec(f"[audit]\ntitle = 't'\n[models.{'.'.join('a' * depth)}]")
    assert any("nested more than" in problem.message for problem in spec.problems)


def test_no_file_a_folder_and_no_permission(folder: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        read_spec(folder / "none.toml")
    with pytest.raises(SpecError, match="is a folder"):
        read_spec(folder)
    with pytest.raises(SpecError, match="cannot be read"):
        read_spec(Path("a\0b"))


def test_a_byte_order_mark_is_no_problem(folder: Path) -> None:
    (folder / "audit.toml").write_bytes(b"\xef\xbb\xbf[audit]\ntitle = 't'\n")
    assert read_spec(folder / "audit.toml").problems == ()


TOML_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.dates(),
        st.datetimes(), st.times(), st.sampled_from(["a.b", "classification", "Linf", "8/255"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.text(max_size=8),
                st.sampled_from(
                    ["name", "id", "loader", "eps", "norm", "task", "test", "ood", "schema",
                     "label", "params", "bounds", "timeout", "memory", "title", "limit",
                     "model_config", "model_fields", "options", "__class__", "list", "float"]
                ),
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)  # fmt: skip
TABLES = ["audit", "models", "data", "threats", "metrics", "report", "plugins", "execution"]


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.one_of(st.sampled_from(TABLES), st.text(max_size=6)), TOML_VALUES))
def test_any_tree_gives_a_spec_or_problems(tree: dict[str, Any]) -> None:
    spec = parse_spec(tree)
    for problem in spec.problems:
        assert problem.message
        assert "\n" not in str(problem)
    json.loads(to_json(spec.normalised()))


@given(st.lists(st.text(max_size=20), max_size=3))
def test_any_override_gives_a_spec_or_problems(overrides: list[str]) -> None:
    from robreport.overrides import apply_overrides

    tree = tomllib.loads(FULL)
    applied, problems = apply_overrides(tree, overrides)
    assert len(applied) + len(problems) <= len(overrides)
    parse_spec(tree, overrides=applied)


def test_overrides(folder: Path) -> None:
    spec = _spec(
        FULL, "metrics.pgd.params.steps=100", "models.natural.v1.version=\"3\"", "audit.title=New",
        "data.ood.fashion.v2.limit=5", "threats.linf.eps=[\"2/255\"]", "execution.workers=1",
        "data.extra.more.limit=3", "audit.purpose=",
    )  # fmt: skip
    assert spec.problems == ()
    assert spec.metrics[0].params == {"steps": 100}
    assert spec.models[0].version == "3"
    assert spec.audit.title == "New"
    assert spec.audit.purpose == ""
    assert spec.data is not None
    assert spec.data.ood["fashion.v2"].limit == 5
    assert spec.data.extra["more"].limit == 3
    assert [str(eps) for eps in spec.threats["linf"].eps] == ["2/255"]
    assert spec.text == FULL


def test_paths_are_relative_to_the_spec_and_overridden_ones_to_the_current_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "specs").mkdir()
    (folder / "else").mkdir()
    monkeypatch.chdir(folder / "else")
    spec = _spec(FULL, "data.root=here", "models.natural.v1.path=m.pt", folder=folder / "specs")
    assert spec.path("data.root", "here") == folder / "else" / "here"
    assert spec.path("models.natural.v1.path", "m.pt") == folder / "else" / "m.pt"
    assert spec.path("audit.output", "out") == folder / "specs" / "out"
    spec = _spec(FULL, 'data.test={root="here"}', folder=folder / "specs")
    assert spec.path("data.test.root", "here") == folder / "else" / "here"
    assert spec.path("data.testing.root", "here") == folder / "specs" / "here"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("nonsense", "is not of the form key=value"),
        ("=3", "is not of the form key=value"),
        ("data..root=x", "divided by single dots"),
        ("metrics.pdg.params.steps=1", "unknown entry 'pdg'; known: pgd. Did you mean 'pgd'?"),
        ("metrics.pgd=1", "names a whole entry"),
        ("models.other.path=1", "unknown entry 'other'; known: natural.v1."),
        ("data.root.deeper=1", "'deeper' lies inside something that is no table"),
        ("x." * 400 + "x=1", "divided by single dots"),
    ],
)
def test_bad_overrides_are_reported_with_the_other_problems(
    folder: Path, override: str, words: str
) -> None:
    spec = _spec(FULL + "\n[bogus]\n", override)
    assert any(words in str(problem) for problem in spec.problems), spec.problems
    assert any(problem.where == "bogus" for problem in spec.problems)


def test_an_entry_of_a_missing_list_is_unknown(folder: Path) -> None:
    spec = _spec("[audit]\ntitle='t'\n", "models.a.path=x")
    assert [str(p) for p in spec.problems] == [
        "--set models.a.path: unknown entry 'a'; known: none."
    ]


def test_an_override_sets_one_key_only(folder: Path) -> None:
    spec = _spec(FULL, "audit.title=1\nother = 2")
    assert spec.problems == ()
    assert spec.audit.title == "1\nother = 2"


def test_an_override_of_bytes_that_are_no_text_is_a_problem(folder: Path) -> None:
    spec = _spec(FULL, f"data.root={os.fsdecode(b'caf' + bytes([0xE9]))}")
    assert any("bytes that are no UTF-8" in problem.message for problem in spec.problems)


def test_the_normalised_spec_is_what_decides_the_results(folder: Path) -> None:
    one = _spec(FULL).normalised()
    other = _spec(
        FULL, "execution.workers=1", "execution.timeout=5", "execution.memory=1GB",
        "execution.cache=there", "audit.output=elsewhere",
    ).normalised()  # fmt: skip
    assert one == other == json.loads(to_json(one))
    assert to_json(one) == to_json(_spec(FULL).normalised())
    assert one["execution"] == {"threads": 1, "device": "auto"}
    assert one["threats"]["linf"]["eps"] == ["1/255", "8/255", "0.1"]
    assert one["data"]["schema"]["label"] == "income"
    assert one != _spec(FULL, "execution.threads=2").normalised()
    assert one != _spec(FULL, "metrics.pgd.params.steps=41").normalised()


def test_dates_and_infinities_are_normalised_as_text() -> None:
    day = datetime.date(2024, 1, 2)
    tree = {"audit": {"title": "t"}, "models": [{"name": "m", "loader": "x", "a": day,
            "b": float("-inf"), "c": float("nan")}]}  # fmt: skip
    spec = parse_spec(tree, overrides={"a": day, "b": float("inf")})
    entry = spec.normalised()["models"][0]
    assert (entry["a"], entry["b"], entry["c"]) == ("2024-01-02", "-inf", "nan")
    assert spec.overrides == {"a": "2024-01-02", "b": "inf"}


def test_a_spec_error_is_an_error_of_ours_that_lists_all() -> None:
    error = SpecError([Problem("a.b", "is wrong.", "Do this."), Problem("", "bad.")], "x.toml")
    assert isinstance(error, RobreportError)
    assert str(error) == "x.toml: 2 problems\n  a.b: is wrong. Do this.\n  bad."
    assert error.exit_code == 3
