"""Results as strict JSON and arrays, and back, from files that may be hostile."""

from __future__ import annotations

import copy
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records import RESULT, about, results

from robreport import Result
from robreport.codec import (
    from_json,
    outcome_from_json,
    outcome_to_json,
    plain,
    result_from_json,
    result_to_json,
    to_json,
)
from robreport.errors import MetricError, RecordError
from robreport.npz import arrays_from_npz, arrays_to_npz
from robreport.outcome import Computed, Status
from robreport.threat import parse_eps


def _read(result: Result) -> tuple[bytes, bytes, Result]:
    tree, arrays = result_to_json(result, "one@m/")
    raw, npz = to_json(tree), arrays_to_npz(arrays)
    read = arrays_from_npz(npz, "arrays.npz")
    return raw, npz, result_from_json(from_json(raw, "x"), read, "x", Path("there"))


@settings(
    max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(results())
def test_any_result_survives(result: Result) -> None:
    raw, npz, again = _read(result)
    assert json.loads(raw, parse_constant=pytest.fail)
    second, npz2, _ = _read(again)
    assert raw == second
    assert npz == npz2
    assert again.scalars == result.scalars
    assert again.findings == result.findings
    assert list(again.tables) == list(result.tables)
    for name, array in result.arrays.items():
        assert again.arrays[name].dtype == array.dtype
        assert again.arrays[name].shape == array.shape
        assert again.arrays[name].tobytes() == array.tobytes()
    assert [path.parent for path in again.artifacts.values()] == [Path("there")] * len(
        result.artifacts
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5), (np.int8(3), 3), (np.bool_(True), True), ((1, [2]), [1, [2]]),
        ({"b", "a"}, ["a", "b"]), (Path("a/b"), "a/b"), (Status.PASS, "pass"), ({1: 2}, {"1": 2}),
        (parse_eps("8/255"), {"value": 8 / 255, "text": "8/255"}), (np.str_("x"), "x"),
        ("caf\udce9", "caf\\udce9"), ({"\udce9": 1}, {"\\udce9": 1}),
    ],
)  # fmt: skip
def test_plain_values(value: object, expected: object) -> None:
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)
    to_json(found)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), np.float32("nan"), pytest.param(object(), id="object"),
     np.ones(2), b"x", 2**64, int, 1j, [{"a": (float("nan"),)}]],
    ids=repr,
)  # fmt: skip
def test_what_no_record_holds(value: object) -> None:
    with pytest.raises(MetricError):
        plain(value)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[NaN]", b"[Infinity]", b"[-Infinity]", b"[1e999]", b"[-1e999]",
        b'{"a": 1, "a": 2}', b'["\\ud800"]', b'{"\\udfff": 1}', b"\xff\xfe\x00", b"[" * 100_000,
        b"[" * 150 + b"]" * 150, b'{"a":' * 150 + b"1" + b"}" * 150, b"[" + b"9" * 5000 + b"]",
        b"[1] 2", b"\x00", b'"\xed\xa0\x80"',
    ],
    ids=lambda raw: repr(raw[:16]),
)  # fmt: skip
def test_what_is_not_strict_json(raw: bytes) -> None:
    with pytest.raises(RecordError, match="strict JSON"):
        from_json(raw, "audit.json")


@given(st.binary(max_size=40))
def test_any_bytes_are_json_or_one_error(raw: bytes) -> None:
    said = "x is not strict JSON"
    try:
        to_json(from_json(raw, "x"))
    except RecordError as error:
        said = str(error)
    assert said.startswith("x is not strict JSON")


def test_json_is_the_same_for_the_same_tree() -> None:
    tree, _ = result_to_json(RESULT)
    assert to_json(tree) == to_json(copy.deepcopy(tree))
    assert to_json({"é": "∞"}).decode() == '{\n "é": "∞"\n}\n'


def _delete(node: Any, key: Any) -> None:
    del node[key]


def _setter(value: object) -> Callable[[Any, Any], None]:
    def change(node: Any, key: Any) -> None:
        node[key] = value

    return change


WRONG: tuple[Any, ...] = (None, 3, "x", [], {}, [1], {"a": 1}, True)


def _places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, value in items:
        found += _places(value, (*at, key))
    return found


def _damaged(tree: Any, place: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    tree = copy.deepcopy(tree)
    node = tree
    for key in place[:-1]:
        node = node[key]
    change(node, place[-1])
    return tree


def test_damage_anywhere_is_a_record_error_and_nothing_else() -> None:
    tree, arrays = result_to_json(RESULT, "one@m/")
    tree = from_json(to_json(tree), "x")
    top = 0
    for place in _places(tree):
        changes = [_delete, *map(_setter, WRONG)]
        for i, change in enumerate(changes):
            damaged = _damaged(tree, place, change)
            said = ""
            try:
                result_from_json(damaged, arrays, "x")
            except RecordError as error:
                said = str(error)
            assert "\n" not in said
            top += bool(said) and len(place) == 1 and i == 0
    # without any of its parts it is no result
    assert top == len(tree)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("arrays", "norm", "key"), "one@m/none", "the array 'one@m/none', which is missing"),
        (("arrays", "norm", "shape"), [3], "does not describe the array that is there"),
        (("arrays", "norm", "dtype"), "int64", "does not describe the array"),
        (("images", "g", "key"), "one@m/norm", "need uint8"),
        (("scalars", "acc", "low"), 2.0, "the interval is reversed"),
        (("scalars", "acc", "bound"), "uper", "damaged at acc.bound"),
        (("figures", "f", "spec"), {"data": {"url": "http://x"}}, "only data: URLs"),
        (("findings", 0, "evidence"), ["none"], "is not in the result"),
        (("artifacts",), {"a": "../../etc/passwd"}, "is no file name"),
        (("artifacts",), {"a": ".."}, "is no file name"),
        (("artifacts",), {"a": ""}, "is no file name"),
        (("artifacts",), {"a": 3}, "is no file name"),
        (("artifacts",), {"a": "x\0y"}, "is no file name"),
    ],
)  # fmt: skip
def test_damage_is_named(place: tuple[Any, ...], value: object, words: str) -> None:
    tree, arrays = result_to_json(RESULT, "one@m/")
    damaged = _damaged(from_json(to_json(tree), "x"), place, _setter(value))
    with pytest.raises(RecordError) as caught:
        result_from_json(damaged, arrays, "audit.json outcome one@m")
    assert words in str(caught.value)


def test_arrays_of_objects_are_refused() -> None:
    for array in (np.array([object()]), np.array([("a", 1)], dtype=[("x", "U1"), ("y", int)])):
        with pytest.raises(MetricError, match="which no record can hold"):
            result_to_json(Result(answer="A.", arrays={"a": array}))


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", "a b", "x" * 65])
def test_names_that_are_no_folders_are_refused(name: str) -> None:
    tree, arrays = outcome_to_json(Computed(about=about("one"), result=RESULT), Status.INFO)
    tree = from_json(to_json(tree), "x")
    for key in ("name", "model"):
        with pytest.raises(RecordError, match="is no name"):
            outcome_from_json({**tree, key: name}, arrays, {}, Path("artifacts"))


def test_artifacts_lie_under_the_outcome() -> None:
    result = Result(answer="A.", artifacts={"gate": Path("/made/here/gate.npz")})
    tree, arrays = outcome_to_json(Computed(about=about("one"), result=result), Status.INFO)
    read = outcome_from_json(from_json(to_json(tree), "x"), arrays, {}, Path("run/artifacts"))
    assert isinstance(read, Computed)
    assert read.result.artifacts == {"gate": Path("run/artifacts/one@m/gate.npz")}


# ------------------------------------------------------------------------------------------- npz


def _npz(members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=kind)
    return buffer.getvalue()


def _npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def _header(text: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    encoded = text.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(encoded)) + encoded + body


def test_npz_bytes_are_the_same_for_the_same_arrays() -> None:
    arrays = {"b/x": np.arange(5), "a": np.ones((2, 3), order="F"), "n": np.array(3.5)}
    raw = arrays_to_npz(arrays)
    assert raw == arrays_to_npz(dict(reversed(arrays.items())))
    assert raw != arrays_to_npz({**arrays, "n": np.array(3.25)})
    read = arrays_from_npz(raw, "x")
    assert list(read) == ["a", "b/x", "n"]
    assert read["n"].shape == ()
    # NumPy reads it, too
    assert np.load(io.BytesIO(raw))["b/x"].tolist() == [0, 1, 2, 3, 4]
    assert read["a"].flags.writeable


class Bomb:
    fired = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return (_fire, ())


def _fire() -> None:
    Bomb.fired = True


def _lying() -> bytes:
    """An npz whose directory says that a member is smaller than what it unpacks to."""
    raw = bytearray(_npz({"a.npy": _npy(np.zeros(100_000))}))
    true = struct.pack("<I", len(_npy(np.zeros(100_000))))
    assert raw.count(true) == 2
    return bytes(raw.replace(true, struct.pack("<I", 200)))


def _twice() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", _npy(np.ones(1)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", _npy(np.ones(2)))
    return buffer.getvalue()


def _bomb() -> bytes:
    """An npz that says it unpacks to 5 GB."""
    raw = bytearray(_npz({f"a{i}.npy": _npy(np.zeros(3)) for i in range(2)}))
    size = struct.pack("<I", len(_npy(np.zeros(3))))
    return bytes(raw.replace(size, struct.pack("<I", 2_600_000_000)))


ONE = "{'descr': '%s', 'fortran_order': False, 'shape': %s}"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: b"no zip", "File is not a zip file"),
        (lambda: _npz({"a.npy": _npy(np.array([Bomb()]), allow_pickle=True)}), "not read"),
        (lambda: _npz({"a.npy": pickle.dumps(Bomb())}), "magic string is not correct"),
        (lambda: _npz({"a.npy": b""}), "damaged"),
        (lambda: _npz({"a.npy": _npy(np.ones(5))[:-3]}), "header describes 40 bytes, it has 3"),
        (lambda: _npz({"a.npy": _npy(np.ones(5)) + b"more"}), "describes 40 bytes, it has 44"),
        (lambda: _npz({"a.npy": _header(ONE % ("<f8", "(10000000000000,)"))}), "it has 0"),
        (lambda: _npz({"a.npy": _header(ONE % ("<f8", "(-1, -1)"), b"12345678")}), "it has 8"),
        (lambda: _npz({"a.npy": _header(ONE % ("|V0", "(999999999999,)"))}), "are not read"),
        (lambda: _npz({"a.npy": _header(ONE % ("|S0", "(999999999999,)"))}), "are not read"),
        (lambda: _npz({"a.npy": _header(ONE % ("<U1", "(1,)"), b"\xff\xff\xff\x7f")}), "Unicode"),
        (lambda: _npz({"a.npy": _header(ONE % ("|O", "(1,)"), b"12345678")}), "are not read"),
        (lambda: _npz({"a.npy": _header("__import__('os').abort()")}), "damaged"),
        (lambda: _npz({"a.npy": _header("x" * 20_000)}), "damaged"),
        (lambda: _npz({"a.npy": _header(ONE % ("<f8", "(1,)"), b"1" * 8, b"\x09\x00")}), "damaged"),
        (lambda: _npz({"a.txt": b"x"}), "'a.txt', which is no name of an array"),
        (lambda: _npz({"../a.npy": _npy(np.ones(1))}), "is no name of an array"),
        (lambda: _npz({"x/../a.npy": _npy(np.ones(1))}), "is no name of an array"),
        (lambda: _npz({"/a.npy": _npy(np.ones(1))}), "is no name of an array"),
        (lambda: _npz({"a\\b.npy": _npy(np.ones(1))}), "is no name of an array"),
        (lambda: _npz({"d/": b""}), "is no name of an array"),
        (lambda: _npz({"a.npy": _npy(np.ones(1))}, kind=zipfile.ZIP_LZMA), "compressed in a"),
        (_twice, "two arrays of one name"),
        (_lying, "damaged"),
        (_bomb, "unpacks to 5,200,000,000 bytes; at most 4,294,967,296 are read"),
        (lambda: _npz({"a.npy": _npy(np.ones(50))})[:-40], "damaged"),
    ],
)  # fmt: skip
def test_hostile_archives(make: Callable[[], bytes], words: str, tmp_path: Path) -> None:
    raw = make()
    (tmp_path / "arrays.npz").write_bytes(raw)
    for source in (raw, tmp_path / "arrays.npz"):
        with pytest.raises(RecordError) as caught:
            arrays_from_npz(source, "arrays.npz")
        assert str(caught.value).startswith("arrays.npz ")
        assert words in str(caught.value)
    assert not Bomb.fired


def test_a_flipped_bit_is_noticed() -> None:
    raw = bytearray(arrays_to_npz({"a": np.arange(200.0)}))
    for at in range(0, len(raw), 7):
        raw[at] ^= 0x10
        try:
            read = arrays_from_npz(bytes(raw), "x")
        except RecordError:
            pass
        else:
            # in the directory's dates and attributes nothing is told of the arrays
            assert all(np.array_equal(a, np.arange(200.0)) for a in read.values())
        raw[at] ^= 0x10


def test_plain_refuses_classes_of_dataclasses() -> None:
    @dataclass
    class Thing:
        a: int

    assert plain(Thing(1)) == {"a": 1}
    with pytest.raises(MetricError):
        plain(Thing)
