"""The cache: found again or not at all, whoever else reads, writes, or is killed meanwhile."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robreport.cache import (
    KINDS,
    Cache,
    default_root,
    digest,
    digest_array,
    digest_file,
    distribution_digest,
)
from robreport.cache import folder as cache_folder
from robreport.cache.pins import held_entries
from robreport.errors import UsageError

KEY = digest("a key")
OTHER = digest("another key")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)


def fill(cache: Cache, key: str = KEY, text: str = "text", kind: str = "outcomes") -> None:
    with cache.put(kind, key) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file.txt").write_text(text)


def files_below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def other_process(body: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start a Python process that has the cache at hand."""
    code = f"""
import sys
sys.path[:] = {sys.path!r}
import os, time
from pathlib import Path
from robreport.cache import Cache, digest
arguments = sys.argv[1:]
""" + textwrap.dedent(body)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


@pytest.fixture
def others() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start other processes, none of which outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(body: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        started.append(other_process(body, *arguments, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


# ---------------------------------------------------------------------- digests

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def exact(value: Any) -> Any:
    """Return a value that compares equal exactly when type and bits are equal."""
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, list):
        return ("list", tuple(exact(v) for v in value))
    if isinstance(value, dict):
        return ("dict", frozenset((k, exact(v)) for k, v in value.items()))
    return (type(value).__name__, value)


@given(PLAIN, PLAIN)
def test_digests_are_equal_when_values_are(a: Any, b: Any) -> None:
    assert (digest(a) == digest(b)) == (exact(a) == exact(b))
    assert digest(a) == digest(json.loads(json.dumps(a))) if _is_json(a) else True


def _is_json(value: Any) -> bool:
    try:
        return bool(exact(json.loads(json.dumps(value))) == exact(value))
    except (TypeError, ValueError):
        return False


def test_values_that_look_alike_differ() -> None:
    alike: list[Any] = [
        1, 1.0, True, "1", b"1", [1], [[1]], {"1": 1}, {1: 1}, None, "", b"", [], {}, [None],
        0.0, -0.0, 0.1, np.nextafter(0.1, 1).item(), float("nan"), float("inf"), "a\0b", ["a", "b"],
        ["ab"], [["a"], "b"], ["a", ["b"]],
    ]  # fmt: skip
    assert len({digest(value) for value in alike}) == len(alike)
    assert digest("a", "b") != digest("ab")
    assert digest("a", "b") != digest(["a", "b"])


def test_a_digest_is_the_same_everywhere() -> None:
    class Word(StrEnum):
        A = "a"

    known = digest({"b": (1, 2.5, None), "a": ["ε", b"\0", True]})
    assert known == digest({"a": ["ε", b"\0", True], "b": [1, 2.5, None]})
    assert digest(Word.A) == digest("a")
    # The bytes that are hashed, written out: a change would empty everybody's cache.
    written = b"l1:1" + b"m1:1" + b"s1:a" + b"l1:3" + b"i2:-7" + b"d20:0x1.4000000000000p+1" + b"n"
    assert digest({"a": [-7, 2.5, None]}) == hashlib.sha256(written).hexdigest()


@pytest.mark.parametrize("value", [object(), {1, 2}, np.float32(1), np.int64(1), Path("a"), 1j])
def test_what_has_no_digest(value: Any) -> None:
    with pytest.raises(TypeError, match="has no digest; make it plain first"):
        digest([value])


def test_file_digest(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc" * 1000)
    assert digest_file(tmp_path / "f") == hashlib.sha256(b"abc" * 1000).hexdigest()
    with pytest.raises(FileNotFoundError):
        digest_file(tmp_path / "none")


def test_array_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.arange(60, dtype=np.float64).reshape(5, 4, 3)
    known = digest_array(a)
    np.save(tmp_path / "a.npy", a)
    same = [
        a.copy(order="F"),
        np.ascontiguousarray(a[::-1])[::-1],
        np.load(tmp_path / "a.npy", mmap_mode="r"),
    ]
    assert {digest_array(b) for b in same} == {known}
    monkeypatch.setattr("robreport.cache.digests._CHUNK", 100)
    assert digest_array(a) == known, "the pieces do not matter"
    changed = a.copy()
    changed[4, 3, 2] = np.nextafter(59, 60)
    different = [
        a.reshape(4, 5, 3), a.ravel(), a.astype(np.float32), a.astype(">f8"), a.astype(np.int64),
        changed, a[:0], a[:, :0], np.float64(3), np.array(3), np.array([3.0]), np.array("ab"),
        np.array([(1, 2.0)], dtype=[("a", "i8"), ("b", "f8")]),
        np.array([(1, 2.0)], dtype=[("a", "i8"), ("c", "f8")]),
    ]  # fmt: skip
    found = {digest_array(np.asarray(b)) for b in different}
    assert len(found | {known}) == len(different) + 1
    with pytest.raises(TypeError, match="array of objects"):
        digest_array(np.array([None, "a"], dtype=object))


# ---------------------------------------------------------------------- distributions


def make_package(folder: Path, name: str) -> Path:
    package = folder / name
    (package / "__pycache__").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('never imported')")
    (package / "part.py").write_text("x = 1")
    (package / "table.json").write_text("[1]")
    (package / "__pycache__" / "part.cpython-311.pyc").write_bytes(b"1")
    return package


def make_info(folder: Path, name: str, **files: str) -> Path:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    for file, text in files.items():
        (info / file.replace("_json", ".json").replace("_txt", ".txt")).write_text(text)
    return info


def test_a_wheel_is_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = make_package(tmp_path, "wheeled_thing")
    record = "".join(
        f"{name},,\n"
        for name in ("wheeled_thing/__init__.py", "wheeled_thing/part.py",
                     "wheeled_thing/__pycache__/part.cpython-311.pyc",
                     "wheeled_thing-1.0.dist-info/METADATA",
                     "wheeled_thing-1.0.dist-info/RECORD",
                     "wheeled_thing-1.0.dist-info/INSTALLER")
    )  # fmt: skip
    info = make_info(tmp_path, "wheeled_thing", RECORD=record, INSTALLER="pip")
    monkeypatch.syspath_prepend(tmp_path)
    known = distribution_digest("wheeled_thing")
    assert distribution_digest("wheeled_thing") == known

    (package / "__pycache__" / "part.cpython-311.pyc").write_bytes(b"22")
    (info / "INSTALLER").write_text("uv")
    (package / "stray.txt").write_text("not in the record")
    assert distribution_digest("wheeled_thing") == known

    # The same size: the content counts, not what the record says.
    (package / "part.py").write_text("x = 2")
    os.utime(package / "part.py", ns=(1, 1))
    changed = distribution_digest("wheeled_thing")
    assert changed != known
    (package / "part.py").unlink()
    assert distribution_digest("wheeled_thing") not in (known, changed)


@pytest.mark.parametrize("editable", [True, False])
def test_an_editable_install_or_a_module_is_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editable: bool
) -> None:
    name = f"edited_thing_{int(editable)}"
    package = make_package(tmp_path / "src", name)
    if editable:
        (tmp_path / "site").mkdir()
        told = json.dumps({"url": "file:///x", "dir_info": {"editable": True}})
        make_info(tmp_path / "site", name, RECORD="", direct_url_json=told, top_level_txt=name)
        monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "src")
    known = distribution_digest(name)
    (package / "__pycache__" / "part.cpython-311.pyc").write_bytes(b"22")
    (package / ".hidden").write_text("")
    assert distribution_digest(name) == known
    if not editable:
        assert distribution_digest(f"{name}.part") == known
    (package / "table.json").write_text("[2]")
    os.utime(package / "table.json", ns=(1, 1))
    assert distribution_digest(name) != known
    assert name not in sys.modules


def test_single_modules_and_strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "single_thing.py").write_text("raise RuntimeError")
    known = distribution_digest("single_thing")
    (tmp_path / "single_thing.py").write_text("raise ValueError")
    assert distribution_digest("single_thing") != known
    for name in ("no_such_thing_anywhere", "", "sys"):
        with pytest.raises(LookupError, match="were found"):
            distribution_digest(name)


def test_large_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = make_package(tmp_path, "large_thing")
    with (package / "large.so").open("wb") as file:
        file.truncate(100 << 20)

    def read(path: Path) -> str:
        assert path.suffix != ".so"
        return digest_file(path)

    monkeypatch.setattr("robreport.cache.digests.digest_file", read)
    known = distribution_digest("large_thing")
    os.utime(package / "large.so", ns=(1, 1))
    assert distribution_digest("large_thing") != known


def test_robreport_has_a_digest() -> None:
    assert len(distribution_digest("robreport")) == 64
    assert distribution_digest("numpy") != distribution_digest("robreport")


# ---------------------------------------------------------------------- entries


def test_an_entry_is_found_again(cache: Cache) -> None:
    assert cache.get("outcomes", KEY) is None
    with cache.put("outcomes", KEY, metric="a.b", seconds=1.5) as folder:
        (folder / "x.bin").write_bytes(b"\0" * 1000)
        (folder / "empty").mkdir()
        assert cache.get("outcomes", KEY) is None, "nothing appears before it is whole"
    for again in (cache, Cache(cache.root), Cache(str(cache.root))):
        found = again.get("outcomes", KEY)
        assert found is not None
        assert (found / "x.bin").read_bytes() == b"\0" * 1000
        assert (found / "empty").is_dir()
        assert files_below(found) == ["x.bin"]
        assert again.facts("outcomes", KEY) == {"metric": "a.b", "seconds": 1.5}
    assert cache.get("outcomes", OTHER) is None
    assert cache.get("data", KEY) is None
    assert cache.facts("outcomes", OTHER) == {}
    info = cache.info()
    assert info["outcomes"] == {"entries": 1, "bytes": 1000}
    assert {info[kind]["entries"] for kind in KINDS if kind != "outcomes"} == {0}


def test_a_block_that_fails_leaves_nothing(cache: Cache) -> None:
    def write() -> None:
        with cache.put("outcomes", KEY) as folder:
            (folder / "x").write_text("half")
            places.append(folder)
            raise ZeroDivisionError

    places: list[Path] = []
    with pytest.raises(ZeroDivisionError):
        write()
    assert cache.get("outcomes", KEY) is None
    assert not places[0].exists()
    assert cache.usable


def test_a_finished_folder_is_moved_in(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").write_text("1")
    kept = cache.keep("outcomes", KEY, tmp_path / "out")
    assert kept is not None
    assert kept == cache.get("outcomes", KEY)
    assert not (tmp_path / "out").exists()

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").write_text("2")
    assert cache.keep("outcomes", KEY, tmp_path / "out") == kept
    assert (kept / "x").read_text() == "1", "who comes second takes what is there"

    (kept / "x").write_text("9")
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "x").write_text("3")
    assert cache.keep("outcomes", KEY, tmp_path / "out") == kept
    assert (kept / "x").read_text() == "3", "a damaged entry makes room"


@pytest.mark.parametrize("what", ["link to file", "link to folder", "pipe", "is a link"])
def test_links_and_special_files_are_not_kept(cache: Cache, tmp_path: Path, what: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "secret").write_text("s")
    if what == "link to file":
        (out / "x").symlink_to(tmp_path / "secret")
    elif what == "link to folder":
        (out / "x").symlink_to(tmp_path / "target")
    elif what == "pipe":
        os.mkfifo(out / "x")
    else:
        out.rmdir()
        out.symlink_to(tmp_path / "target")
    assert cache.keep("outcomes", KEY, out) is None
    assert out.exists(), "it stays where it was"
    assert cache.get("outcomes", KEY) is None
    assert cache.usable


@pytest.mark.parametrize(
    ("kind", "key", "says"),
    [
        ("outcome", KEY, "unknown kind 'outcome'; known: outcomes, data, artifacts, bundles"),
        ("outcomes", "../../etc", "a cache key is a SHA-256"),
        ("outcomes", KEY.upper(), "a cache key is a SHA-256"),
        ("outcomes", KEY + "\n", "a cache key is a SHA-256"),
    ],
)
def test_bad_kinds_and_keys(cache: Cache, tmp_path: Path, kind: str, key: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        cache.get(kind, key)
    with pytest.raises(ValueError, match=says), cache.put(kind, key):
        raise AssertionError("not reached")
    with pytest.raises(ValueError, match=says):
        cache.keep(kind, key, tmp_path)


def damage(entry: Path, how: str) -> None:
    payload, meta = entry / "payload", entry / "meta.json"
    file = payload / "deep" / "file.txt"
    if how == "bit":
        file.write_text("tex!")
    elif how == "shorter":
        file.write_text("tex")
    elif how == "file missing":
        file.unlink()
    elif how == "file added":
        (payload / "more").write_text("")
    elif how == "link":
        file.unlink()
        file.symlink_to("/etc/passwd")
    elif how == "folder linked":
        shutil.move(payload, entry.parent / "elsewhere")
        payload.symlink_to(entry.parent / "elsewhere")
    elif how == "payload missing":
        shutil.rmtree(payload)
    elif how == "meta missing":
        meta.unlink()
    elif how == "meta truncated":
        meta.write_bytes(meta.read_bytes()[:-5])
    elif how == "meta deep":
        meta.write_text("[" * 200_000)
    elif how == "meta is a list":
        meta.write_text("[]")
    elif how == "meta lies":
        told = json.loads(meta.read_text())
        told["files"] = {name: [size] for name, (size, _) in told["files"].items()}
        meta.write_text(json.dumps(told))
    elif how == "of another key":
        told = json.loads(meta.read_text())
        meta.write_text(json.dumps({**told, "key": OTHER}))


@pytest.mark.parametrize(
    "how",
    ["bit", "shorter", "file missing", "file added", "link", "folder linked", "payload missing",
     "meta missing", "meta truncated", "meta deep", "meta is a list", "meta lies",
     "of another key"],
)  # fmt: skip
def test_a_damaged_entry_is_a_miss(cache: Cache, how: str) -> None:
    fill(cache)
    found = cache.get("outcomes", KEY)
    assert found is not None
    damage(found.parent, how)
    assert cache.get("outcomes", KEY) is None
    assert not found.parent.exists(), "it is gone for good"
    assert cache.info()["outcomes"]["entries"] == 0
    fill(cache, text="anew")
    assert cache.get("outcomes", KEY) is not None
    assert cache.usable


# ---------------------------------------------------------------------- several processes


def test_two_processes_race(
    cache: Cache, tmp_path: Path, others: Callable[..., subprocess.Popen[str]]
) -> None:
    """Both write every key at the same time: each key has one whole entry, from one of them."""
    body = """
        cache = Cache(arguments[0])
        while not Path(arguments[1]).exists():
            time.sleep(0.001)
        for i in range(40):
            with cache.put("outcomes", digest(i)) as folder:
                for j in range(3):
                    (folder / f"{j}").write_text(arguments[2] * 100)
        print(cache.problem)
    """
    running = [others(body, cache.root, tmp_path / "go", name) for name in "ab"]
    (tmp_path / "go").touch()
    assert [p.communicate(timeout=120)[0] for p in running] == ["\n", "\n"]
    for i in range(40):
        found = cache.get("outcomes", digest(i))
        assert found is not None
        texts = {(found / f"{j}").read_text() for j in range(3)}
        assert texts in ({"a" * 100}, {"b" * 100})
    assert cache.info()["outcomes"] == {"entries": 40, "bytes": 40 * 300}


def test_a_writer_is_killed(cache: Cache, others: Callable[..., subprocess.Popen[str]]) -> None:
    body = """
        cache = Cache(arguments[0])
        with cache.put("outcomes", arguments[1]) as folder:
            (folder / "x").write_text("half")
            print(folder, flush=True)
            time.sleep(600)
    """
    process = others(body, cache.root, KEY)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert folder.exists()
    Cache(cache.root)
    assert folder.exists(), "its writer is alive"
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = Cache(cache.root)
    assert not folder.exists()
    assert again.get("outcomes", KEY) is None
    fill(again)
    assert again.get("outcomes", KEY) is not None


def test_writers_killed_at_any_moment(
    cache: Cache, others: Callable[..., subprocess.Popen[str]]
) -> None:
    """Whatever is found after a kill is whole."""
    body = """
        cache = Cache(arguments[0])
        print("ready", flush=True)
        for i in range(10_000):
            with cache.put("outcomes", digest(int(arguments[1]), i)) as folder:
                for j in range(5):
                    (folder / f"{j}").write_text(f"{i}" * 50)
    """
    for run, pause in enumerate((0.0, 0.0077, 0.013, 0.0234, 0.04)):
        process = others(body, cache.root, run)
        assert process.stdout is not None
        process.stdout.readline()
        first = cache.root / "outcomes"
        while not list(first.glob(f"??/{digest(run, 0)}")):
            time.sleep(0.001)
        time.sleep(pause)
        process.kill()
        process.wait()
    again = Cache(cache.root)
    assert again.usable
    kept = again.info()["outcomes"]["entries"]
    assert kept > 0
    whole = 0
    for run in range(5):
        for i in range(kept):
            found = again.get("outcomes", digest(run, i))
            if found is not None:
                assert [(found / f"{j}").read_text() for j in range(5)] == [f"{i}" * 50] * 5
                whole += 1
    assert whole == kept, "no damaged entry was ever visible"
    assert [p.name for p in (cache.root / "tmp").iterdir() if any(p.iterdir())] == []


def test_what_a_process_uses_stays(
    cache: Cache, others: Callable[..., subprocess.Popen[str]]
) -> None:
    fill(cache, KEY)
    fill(cache, OTHER)
    body = """
        cache = Cache(arguments[0])
        print(cache.get("outcomes", arguments[1]), flush=True)
        time.sleep(600)
    """
    process = others(body, cache.root, KEY)
    assert process.stdout is not None
    used = Path(process.stdout.readline().strip())
    assert cache.clear() == 1
    assert (used / "deep" / "file.txt").read_text() == "text"
    assert cache.get("outcomes", OTHER) is None
    process.kill()
    process.wait()
    assert cache.clear() == 1
    assert not used.exists()


def test_pins_of_the_dead_are_cleared_away(
    cache: Cache, others: Callable[..., subprocess.Popen[str]]
) -> None:
    body = "Cache(arguments[0]).get('outcomes', arguments[1])"
    fill(cache)
    for _ in range(3):
        others(body, cache.root, KEY).wait()
    # The last one's and ours; each process clears away those of the dead that it finds.
    assert len(list((cache.root / "pins").glob("*.keys"))) == 2
    assert held_entries(cache.root / "pins") == {f"outcomes/{KEY}"}
    assert len(list((cache.root / "pins").glob("*.keys"))) == 1
    assert len(list((cache.root / "pins").glob("*.lock"))) == 1


def test_a_fork_has_its_own_pin(cache: Cache) -> None:
    """What a parent uses stays when a child of it ends."""
    fill(cache)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child = Cache(cache.root)
            code = 0 if child.get("outcomes", KEY) is not None else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    done = other_process("print(Cache(arguments[0]).clear())", cache.root).communicate()[0]
    assert done == "0\n"


# ---------------------------------------------------------------------- upkeep


def test_pruning_takes_what_was_used_longest_ago(
    cache: Cache, others: Callable[..., subprocess.Popen[str]]
) -> None:
    keys = [digest(i) for i in range(5)]
    for i, key in enumerate(keys):
        with cache.put("artifacts" if i % 2 else "outcomes", key) as folder:
            (folder / "x").write_bytes(b"\0" * 1000)
        meta = cache.root.glob(f"*/??/{key}/meta.json")
        os.utime(next(meta), (i, i))
    assert cache.prune(5000) == 0
    assert cache.prune(1) == 0, "this process uses them"
    prune = "print(Cache(arguments[0]).prune(int(arguments[1])))"
    body = "Cache(arguments[0]).get('outcomes', arguments[1])"
    others(body, cache.root, keys[0]).wait()  # now the one used last
    # As another process would, once this one has gone.
    shutil.rmtree(cache.root / "pins")
    (cache.root / "pins").mkdir()
    assert others(prune, cache.root, 2500).communicate()[0] == "3\n"
    left = [key for key in keys if list(cache.root.glob(f"*/??/{key}"))]
    assert left == [keys[0], keys[4]]


def test_clearing_one_kind(cache: Cache) -> None:
    fill(cache, kind="outcomes")
    fill(cache, kind="data")
    cache.remember_seconds("a", 2.0)
    assert cache.clear("data") == 1
    assert cache.get("outcomes", KEY) is not None
    assert cache.seconds("a") == 2.0
    assert cache.clear() == 1
    assert cache.seconds("a") is None
    assert cache.clear() == 0
    with pytest.raises(UsageError, match="unknown kind 'everything'; known: outcomes"):
        cache.clear("everything")


def test_only_a_cache_is_ever_touched(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "outcomes" / "ab" / KEY).mkdir(parents=True)
    (home / "thesis.tex").write_text("years of work")
    before = sorted(home.rglob("*"))
    told: list[str] = []
    cache = Cache(home, warn=told.append)
    assert not cache.usable
    assert told == [f"the cache is not used: {home}: it holds something other than a cache"]
    with pytest.raises(UsageError, match="holds something other than a cache"):
        cache.clear()
    assert cache.prune(0) == 0
    assert cache.keep("outcomes", KEY, home) is None
    assert cache.artifact("a", lambda folder: None).exists()
    assert sorted(home.rglob("*")) == before
    assert Cache(tmp_path / "none-yet").clear() == 0


def test_markers(cache: Cache) -> None:
    tag = (cache.root / "CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    (cache.root / "robreport-cache.json").write_text('{"version": 2}')
    assert "another version of robreport" in Cache(cache.root, warn=lambda text: None).problem


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBREPORT_CACHE", str(tmp_path / "named"))
    assert default_root() == tmp_path / "named" == Cache().root
    monkeypatch.setenv("ROBREPORT_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_root().name == "robreport"
    assert tmp_path in default_root().parents
    assert not default_root().exists()
    assert Cache(tmp_path / "given").root == tmp_path / "given"


# ---------------------------------------------------------------------- when it cannot be used


def expect_off(cache: Cache, told: list[str]) -> None:
    """See that a cache that is off does no harm and says so once."""
    assert not cache.usable
    assert len(told) == 1
    assert told[0].startswith("the cache is not used: ")
    assert cache.get("outcomes", KEY) is None
    with cache.put("outcomes", KEY) as folder:
        (folder / "x").write_text("into the void")
    assert not folder.exists()
    assert cache.get("outcomes", KEY) is None
    cache.remember_seconds("a", 1.0)
    built = []
    for _ in range(2):
        made = cache.artifact("fit", lambda folder: built.append((folder / "w").write_text("1")))
        assert (made / "w").read_text() == "1"
    assert len(built) == 1
    shutil.rmtree(made)
    assert len(told) == 1


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told: list[str] = []
    expect_off(Cache(tmp_path / "file", warn=told.append), told)
    told.clear()
    expect_off(Cache(tmp_path / "file" / "below", warn=told.append), told)


def test_a_read_only_root(tmp_path: Path, others: Callable[..., subprocess.Popen[str]]) -> None:
    """Where permissions bind this user, or as a user whom they bind."""
    cache = Cache(tmp_path / "cache")
    fill(cache)
    modes = {p: p.stat().st_mode for p in [tmp_path, *tmp_path.parents][:3]}
    for folder in [cache.root, *(p for p in cache.root.rglob("*") if p.is_dir())]:
        modes[folder] = folder.stat().st_mode
    for folder, mode in modes.items():
        inside = folder == cache.root or cache.root in folder.parents
        folder.chmod(0o555 if inside else mode | 0o055)
    try:
        body = """
            if os.getuid() == 0:
                os.setuid(65534)
            told = []
            cache = Cache(arguments[0], warn=told.append)
            assert cache.get("outcomes", arguments[1]) is None
            with cache.put("outcomes", arguments[1]) as folder:
                (folder / "x").write_text("1")
            cache.remember_seconds("a", 1.0)
            assert cache.artifact("b", lambda folder: None).exists()
            print(*told, sep="|")
        """
        said = others(body, cache.root, KEY, stderr=subprocess.STDOUT).communicate()[0]
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)
    assert said.startswith(f"the cache is not used: {cache.root}: "), said
    assert said.count("|") == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_while_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    told: list[str] = []
    cache = Cache(tmp_path / "cache", warn=told.append)
    after = False
    with cache.put("outcomes", KEY) as folder:
        (folder / "x").write_text("begun")
        raise OSError(code, os.strerror(code))
    after = True
    assert after
    expect_off(cache, told)
    assert os.strerror(code) in cache.problem
    assert Cache(cache.root).get("outcomes", KEY) is None


def test_a_full_disk_while_keeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that could not be kept is still there for its owner."""
    told: list[str] = []
    cache = Cache(tmp_path / "cache", warn=told.append)
    for step in ("_place", "_lock"):
        out = tmp_path / f"out{step}"
        out.mkdir()
        (out / "x").write_text("result")
        with monkeypatch.context() as patch:
            patch.setattr(Cache, step, _full)
            assert cache.keep("outcomes", KEY, out) is None
        assert (out / "x").read_text() == "result"
        cache.problem = ""
    assert [p for p in cache.work_folder().iterdir() if p.name.startswith("entry")] == []
    assert len(told) == 2


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_real_full_disk(tmp_path: Path, others: Callable[..., subprocess.Popen[str]]) -> None:
    """A process that may write no more than 100 kB to a file: the write fails in the kernel."""
    body = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        told = []
        cache = Cache(arguments[0], warn=told.append)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            with cache.put("outcomes", arguments[1]) as folder:
                (folder / "x").write_bytes(bytes(1_000_000))
        except OSError as error:
            print(error.strerror, cache.get("outcomes", arguments[1]))
    """
    said = others(body, tmp_path / "cache", KEY).communicate()[0]
    assert said == "File too large None\n"


def test_an_error_of_the_block_is_not_swallowed(cache: Cache) -> None:
    with pytest.raises(FileNotFoundError), cache.put("outcomes", KEY) as folder:
        (folder / "none" / "x").write_text("")
    assert cache.usable


def test_a_root_that_is_removed_meanwhile(cache: Cache, tmp_path: Path) -> None:
    fill(cache)
    shutil.rmtree(cache.root)
    assert cache.get("outcomes", KEY) is None
    fill(cache)
    cache.remember_seconds("a", 1.0)
    out = tmp_path / "out"
    out.mkdir()
    cache.keep("outcomes", OTHER, out)
    assert cache.artifact("a", lambda folder: None).is_dir()


def test_a_lock_that_is_never_free(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, others: Callable[..., subprocess.Popen[str]]
) -> None:
    fill(cache)
    body = """
        from filelock import FileLock
        lock = FileLock(arguments[0])
        lock.acquire()
        print("held", flush=True)
        time.sleep(600)
    """
    process = others(body, cache.root / "cache.lock")
    assert process.stdout is not None
    process.stdout.readline()
    monkeypatch.setattr(cache_folder, "_PATIENCE", 0.1)
    assert cache.get("outcomes", KEY) is None
    assert cache.problem.endswith(": it is locked")
    process.kill()
    process.wait()
    assert Cache(cache.root).get("outcomes", KEY) is not None


# ---------------------------------------------------------------------- times


def test_times(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.seconds("a") is None
    cache.remember_seconds("a", 1.23456)
    cache.remember_seconds("b", 2)
    assert (cache.seconds("a"), Cache(cache.root).seconds("b")) == (1.235, 2.0)
    cache.remember_seconds("a", 9.0)
    assert cache.seconds("a") == 9.0
    for wrong in (float("nan"), float("inf"), -1.0):
        cache.remember_seconds("a", wrong)
    assert cache.seconds("a") == 9.0
    monkeypatch.setattr("robreport.cache.times._MOST", 2)
    cache.remember_seconds("c", 3.0)
    assert [cache.seconds(k) for k in "abc"] == [9.0, None, 3.0], "the oldest is forgotten"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": "1", "b": NaN, "c": -1, "d": 4}'])
def test_damaged_times(cache: Cache, text: str) -> None:
    (cache.root / "seconds.json").write_text(text)
    assert [cache.seconds(k) for k in "abc"] == [None] * 3
    cache.remember_seconds("a", 1.0)
    assert cache.seconds("a") == 1.0
    assert cache.usable


# ---------------------------------------------------------------------- artifacts


def test_an_artifact_is_built_once(cache: Cache) -> None:
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "weights").write_bytes(b"123")

    first = cache.artifact("model:fit", build)
    assert (first / "weights").read_bytes() == b"123"
    assert Cache(cache.root).artifact("model:fit", build) == first
    assert len(built) == 1
    assert cache.artifact("model:other", build) != first
    assert len(built) == 2
    (first / "weights").write_bytes(b"129")
    assert (cache.artifact("model:fit", build) / "weights").read_bytes() == b"123"
    assert len(built) == 3


def test_an_artifact_whose_build_fails(cache: Cache) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.artifact("a", build)
    assert files_below(cache.artifact("a", lambda folder: None)) == []


def test_an_artifact_with_links_is_used_but_not_kept(cache: Cache, tmp_path: Path) -> None:
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "link").symlink_to(tmp_path)

    assert cache.artifact("a", build) == Cache(cache.root).artifact("a", build)
    assert len(built) == 1
    assert cache.info()["artifacts"]["entries"] == 0


def test_processes_build_an_artifact_once(
    cache: Cache, tmp_path: Path, others: Callable[..., subprocess.Popen[str]]
) -> None:
    body = """
        def build(folder):
            with open(arguments[1], "a") as log:
                log.write("built\\n")
            time.sleep(0.5)
            (folder / "w").write_text("fitted")

        print((Cache(arguments[0]).artifact("fit", build) / "w").read_text())
    """
    running = [others(body, cache.root, tmp_path / "log") for _ in range(3)]
    assert [p.communicate(timeout=120)[0] for p in running] == ["fitted\n"] * 3
    assert (tmp_path / "log").read_text() == "built\n"


def test_a_builder_is_killed_and_another_takes_over(
    cache: Cache, tmp_path: Path, others: Callable[..., subprocess.Popen[str]]
) -> None:
    body = """
        def build(folder):
            (folder / "half").write_text("")
            print("building", flush=True)
            time.sleep(600)

        Cache(arguments[0]).artifact("fit", build)
    """
    process = others(body, cache.root)
    assert process.stdout is not None
    process.stdout.readline()
    follower = others(
        """
        def build(folder):
            (folder / "w").write_text("fitted")
        print("started", flush=True)
        print(sorted(os.listdir(Cache(arguments[0]).artifact("fit", build))))
        """,
        cache.root,
    )
    assert follower.stdout is not None
    follower.stdout.readline()
    process.kill()
    assert follower.communicate(timeout=60)[0] == "['w']\n"


def test_a_work_folder_is_on_the_cache_s_disk(
    cache: Cache, others: Callable[..., subprocess.Popen[str]]
) -> None:
    folder = cache.work_folder()
    assert folder == cache.work_folder() == Cache(cache.root).work_folder()
    assert folder.stat().st_dev == cache.root.stat().st_dev
    body = """
        (Cache(arguments[0]).work_folder() / "x").mkdir()
        print(Cache(arguments[0]).work_folder())
    """
    gone = Path(others(body, cache.root).communicate()[0].strip())
    assert gone.exists()
    Cache(cache.root)
    assert not gone.exists()
    assert folder.exists()
