"""The JSON Schema of audit.toml: editors see the mistakes that robreport would report."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from pydantic import TypeAdapter
from pydantic import ValidationError as Refused

from robreport import values
from robreport.errors import OutputError
from robreport.plugins import Registry
from robreport.requirement import parse_expression, schema_pattern
from robreport.schema import audit_schema, schema_text, write_schema
from tests import test_plan, test_spec
from tests.running import PLANTED, environment
from tests.test_catalogue import _registry as odd_registry
from tests.test_plan import _tree as valid_tree
from tests.test_plan import clean  # noqa: F401 - a fixture

# What needs a second look at the file, at other files, or at numbers side by side.
UNSEEN = (
    "is taken", "stands more than once", "must lie below", "the lower side has", "a NUL",
    "stand once", "does not work in the norm", "unknown model", "Did you mean 'linf'?",
    "unknown threat of this entry", "is not declared", "eps must", "measures a model",
    "the file 'no.pt' does not exist", "is no file", "cannot be looked at",
    "the folder 'none' does not exist",
)  # fmt: skip


@pytest.fixture(scope="module")
def installed() -> dict[str, Any]:
    return audit_schema(Registry())


@pytest.fixture(scope="module")
def fakes(clean: Registry) -> Draft202012Validator:  # noqa: F811
    return Draft202012Validator(audit_schema(clean))


def _audits(root: Path) -> list[Path]:
    return sorted(
        [*(root / "examples").glob("*/audit.toml"), *(root / "templates").rglob("audit.toml")]
    )


def test_it_is_valid_by_the_meta_schema_of_its_dialect(installed: dict[str, Any]) -> None:
    assert installed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(installed)
    Draft202012Validator.check_schema(audit_schema(odd_registry()))
    Draft202012Validator.check_schema(audit_schema(Registry(candidates=[])))


def test_every_reference_leads_somewhere(installed: dict[str, Any]) -> None:
    found = list(_references(installed))
    assert len(found) > 50
    for reference in found:
        target: Any = installed
        for step in reference.removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]


def test_the_audits_that_ship_are_valid(root: Path, installed: dict[str, Any]) -> None:
    validator = Draft202012Validator(installed)
    audits = _audits(root)
    assert {"digits", "mnist"} <= {path.parent.name for path in audits}
    for path in audits:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        assert [error.message for error in validator.iter_errors(tree)] == [], path


def test_what_runs_in_the_tests_is_valid(fakes: Draft202012Validator) -> None:
    assert list(fakes.iter_errors(valid_tree())) == []
    # splits of two loaders share [data], and each takes from it what it knows
    mixed = {
        "task": "classification", "loader": "npz", "x": "inputs", "label": "z", "columns": ["a"],
        "bounds": [0, [1, 2.5]], "schema": {"label": -1},
        "test": {"limit": 5, "shuffle": False},
        "train": {"loader": "csv", "label": "w", "root": "sub"},
        "ood": {"a": {"loader": "npz"}},
    }  # fmt: skip
    entry = {"id": "fake.attack", "threats": ["linf"],
             "require": ["robust_accuracy[linf, 8/255] >= 50 %", "clean_accuracy>.9",
                         "worst[ 1e-3 ] < -1/2"]}  # fmt: skip
    more = {"report": {"formats": ["pdf"], "theme": "default"},
            "execution": {"timeout": "30m", "memory": "8GB"}}  # fmt: skip
    tree = valid_tree(data=mixed, metrics=[entry, {"id": "fake.plain"}], **more)
    assert [error.message for error in fakes.iter_errors(tree)] == []


@pytest.mark.parametrize(("change", "where", "words"), [*test_spec.MISTAKES, *test_plan.MISTAKES])
def test_each_planted_mistake_is_seen_at_its_place(
    fakes: Draft202012Validator, change: dict[str, Any], where: str, words: str
) -> None:
    tree = valid_tree(**change)
    errors = list(_leaves(fakes.iter_errors(tree)))
    place = _locate(tree, where)
    seen = any(_is_at(error, place) for error in errors)
    if any(word in words for word in UNSEEN) or change == UNSEEN_INFINITY:
        # keeps the list of what a schema cannot see an honest one
        assert not seen, [(list(e.absolute_path), e.message) for e in errors]
    else:
        assert seen, [(list(e.absolute_path), e.message) for e in errors]


UNSEEN_INFINITY = {"data": {"task": "regression", "bounds": [0, float("inf")]}}


def test_a_loader_requires_its_keys_in_data_or_in_every_split(installed: dict[str, Any]) -> None:
    validator = Draft202012Validator(installed)

    def messages(data: dict[str, Any]) -> list[str]:
        tree = {"audit": {"title": "t"}, "data": {"task": "regression", **data},
                "metrics": [{"id": "performance.regression"}]}  # fmt: skip
        return [error.message for error in validator.iter_errors(tree)]

    assert messages({"loader": "csv", "path": "a.csv", "train": {}, "test": {}}) == []
    assert messages({"loader": "csv", "train": {"path": "a"}, "test": {"path": "b"}}) == []
    assert messages({"loader": "csv", "train": {"path": "a"}, "test": {}}) == [
        "'path' is a required property"
    ]
    # another loader's key has no meaning where every split is of this one
    wrong = messages({"loader": "csv", "path": "a.csv", "images": "x", "test": {}})
    assert len(wrong) == 1
    assert "'images' was unexpected" in wrong[0]


def test_every_key_says_what_it_means(installed: dict[str, Any]) -> None:
    mute = [
        f"{name}.{key}"
        for name, part in installed["$defs"].items()
        if name not in ("metrics", "models", "split", "data")  # these repeat the keys of others
        for key, schema in part.get("properties", {}).items()
        if not schema.get("description")
    ]
    mute += [key for key, schema in installed["properties"].items() if not schema["description"]]
    for name in ("metrics", "models", "split", "data"):
        for key, schema in installed["$defs"][name]["properties"].items():
            if schema and "$ref" not in schema and "anyOf" not in schema:
                assert schema["description"], f"{name}.{key}"
    assert mute == []


def test_nothing_in_it_is_unknown_to_toml_or_strict_json(installed: dict[str, Any]) -> None:
    text = schema_text(Registry())

    def refused(word: str) -> None:
        raise ValueError(f"{word} is no strict JSON")

    assert json.loads(text, parse_constant=refused) == installed
    assert '"type": "null"' not in text
    # no machine's path, and no address that an editor would fetch beside the dialect's name
    assert re.findall(r"https?://[^\"]+", text) == [installed["$schema"]]


@pytest.mark.parametrize(
    ("kind", "samples"),
    [
        (values.Name, ["a", "a.b-C_9", "..", ".", "", "a b", "x" * 64, "x" * 65, "a\n", "é"]),
        (values.EpsList, [0, 0.1, "8/255", " 8 / 255 ", ".5", "1e-3", -1, "-1", "x", "1/2/3", [],
                          ["1/2", 3], [[1]], True, None, "1e9999", "8 255", ["a"], {}]),
        (values.Seconds, ["30m", "90 s", "1.5h", 3, 0.5, 0, -1, "soon", "3", "", 1e10, "2w", []]),
        (values.Bytes, ["8GB", "512 MiB", "1000kb", 10**6, 10**5, "8", "8 G", "9" * 16 + "B", []]),
        (values.Digest, ["a" * 64, "A" * 64, "a" * 63, "g" * 64, "", 3]),
    ],
)  # fmt: skip
def test_patterns_accept_what_the_reader_accepts(kind: Any, samples: list[Any]) -> None:
    adapter = TypeAdapter(kind)
    validator = Draft202012Validator(adapter.json_schema())
    for sample in samples:
        try:
            adapter.validate_python(sample)
            taken = True
        except Refused:
            taken = False
        # a name's line feed is what Python's $ overlooks and ECMA-262's does not
        seen = validator.is_valid(sample) and sample != "a\n"
        # what is left out has a default, and TOML has no null to say so
        assert seen == taken or sample is None, (sample, taken)


EXPRESSIONS = [
    "a >= 1", "a>=1", " a < -1/2 ", "a <= 5 %", "a > 1e-3", "b[x] > 1", "b[x, 8/255] < 1",
    "c[l,2] > 0", "a = 1", "a >= ", ">= 1", "a >= x", "A > 1", "a > 1 2", "a >= 1 and b",
    "b[] > 1", "b[x > 1", "", "a > .5", "a > 5.", "a == 1", "a => 1",
]  # fmt: skip


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_the_pattern_of_requirements_is_that_of_the_reader(text: str) -> None:
    try:
        parse_expression(text)
        readable = True
    except ValueError:
        readable = False
    assert bool(re.search(schema_pattern(), text)) == readable


@settings(max_examples=60)
@given(
    st.from_regex(schema_pattern(["a", "b[threat, eps]"]), fullmatch=True, alphabet=st.characters(
        max_codepoint=126))
)  # fmt: skip
def test_what_the_pattern_lets_through_can_be_read(text: str) -> None:
    try:
        expression = parse_expression(text)
    except ValueError as error:
        # a division by zero and a number beyond float64 are beyond a pattern, too
        said = str(error)
    else:
        said = "finite"
        assert expression.scalar.partition("[")[0] in ("a", "b")
    assert "finite" in said


def test_the_command_prints_or_writes_it(tmp_path: Path) -> None:
    run = _run(tmp_path)
    assert run.returncode == 0, run.stderr
    schema = json.loads(run.stdout)
    # third parties' loaders and metrics are in it like any other
    assert schema["$defs"]["model:planted"]["properties"]["flip"]["default"] is False
    written = _run(tmp_path, "--output", "audit.schema.json")
    assert written.returncode == 0, written.stderr
    assert "#:schema ./audit.schema.json" in written.stdout
    assert (tmp_path / "audit.schema.json").read_text(encoding="utf-8") == run.stdout
    refused = _run(tmp_path, "--output", "no/such/folder/x.json")
    assert refused.returncode == 3
    assert "cannot be written: No such file or directory." in refused.stderr


def test_an_unwritable_place_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_schema(Registry(candidates=[]), tmp_path)


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "robreport", "schema", *arguments],
        cwd=folder, env=environment(folder / "cache", (PLANTED,)), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for part in schema.values():
            yield from _references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _references(part)


def _leaves(errors: Iterator[ValidationError]) -> Iterator[ValidationError]:
    for error in errors:
        yield error
        yield from _leaves(iter(error.context or ()))


def _is_at(error: ValidationError, place: list[str | int]) -> bool:
    """Whether the error is about the place: inside it, or naming it from just around it."""
    path = [*error.absolute_path]
    if path[: len(place)] == place:
        return True
    if path != place[:-1]:
        return False
    named = ("additionalProperties", "propertyNames", "required")
    return error.validator == "uniqueItems" or (
        error.validator in named and f"{place[-1]!r}" in error.message
    )


def _locate(tree: Any, where: str) -> list[str | int]:
    """Return the path of a problem's place, of which the last key need not be in the tree."""
    place: list[str | int] = []
    here = tree
    rest = where
    while rest:
        indexed = re.match(r"\[(\d+)\]\.?", rest)
        quoted = re.match(r'"([^"]*)"', rest)
        if indexed:
            place.append(int(indexed[1]))
            rest = rest[indexed.end() :]
        elif quoted:
            return [*place, quoted[1]]
        elif isinstance(here, list):
            names = [str(e.get("name", e.get("id"))) for e in here]
            name = max((n for n in names if f"{rest}.".startswith(f"{n}.")), key=len)
            place.append(names.index(name))
            rest = rest[len(name) + 1 :]
        else:
            key = re.split(r"[.\[]", rest)[0]
            place.append(key)
            rest = rest[len(key) :].removeprefix(".")
            if not isinstance(here, dict) or key not in here:
                return place
        here = here[place[-1]]
    return place
