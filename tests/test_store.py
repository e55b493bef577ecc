"""Run folders: written whole or not at all, and read with suspicion."""

from __future__ import annotations

import copy
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import records
from hypothesis import HealthCheck, given, settings

from robreport import Result
from robreport.codec import from_json, to_json
from robreport.errors import MetricError, OutputError, RecordError
from robreport.npz import arrays_from_npz
from robreport.outcome import Computed, Failed, Skipped, Status
from robreport.store import (
    Record,
    check_output,
    decode,
    encode,
    is_run_folder,
    load_result,
    load_run,
    run_folder,
    save_result,
    status_of,
    write_manifest,
    write_record,
)


def replace(thing: Any, **changes: Any) -> Any:
    """`dataclasses.replace` of any kind of outcome."""
    return dataclasses.replace(thing, **changes)


RUN = records.run()
RECORD = encode(RUN)


def _decoded(tree: Any, record: Record = RECORD) -> Any:
    return decode(to_json(tree), arrays_from_npz(record.arrays_npz, "arrays.npz"))


def _tree() -> dict[str, Any]:
    return dict(from_json(RECORD.audit_json, "x"))


def _written(place: Path, run: Any = RUN) -> Path:
    with run_folder(place) as fresh:
        write_record(fresh, encode(run), run)
        (fresh / "report.html").write_text("report")
        write_manifest(fresh)
    return place


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


# ------------------------------------------------------------------------------------- the record


def test_a_run_survives() -> None:
    again = decode(RECORD.audit_json, arrays_from_npz(RECORD.arrays_npz, "x"))
    assert encode(again) == RECORD
    assert again.verdict == RUN.verdict
    assert again.requirements == RUN.requirements
    assert again.models == RUN.models
    assert again.data == RUN.data
    assert [type(o) for o in again.outcomes] == [Computed, Skipped, Failed]
    computed, _, failed = again.outcomes
    assert isinstance(computed, Computed)
    assert (computed.seconds, computed.cached, computed.peak_memory) == (1.25, True, 5)
    assert isinstance(failed, Failed)
    assert (failed.error, failed.kind, failed.trace, failed.log) == ("boom", "timeout", "T", "L")
    assert computed.result.arrays["norm"].tolist() == [0.1, np.inf]
    assert computed.result.spent == {"fit": 2.5}


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(records.results())
def test_any_result_survives_in_a_run(result: Result) -> None:
    outcome = Computed(about=records.about("any"), result=result)
    record = encode(records.run(outcomes=(outcome,), requirements=()))
    again = decode(record.audit_json, arrays_from_npz(record.arrays_npz, "x"))
    assert encode(again) == record


def test_what_varies_stands_under_execution_alone() -> None:
    one = records.run()
    computed, skipped, failed = one.outcomes
    result = replace(records.RESULT, spent={"fit": 7.0, "draw": 1.0})
    other = replace(
        one, execution={"workers": 7},
        outcomes=(replace(computed, result=result, seconds=9.0, cached=False, peak_memory=99),
                  skipped,
                  replace(failed, trace="other", log="other", seconds=8.0)),
    )  # fmt: skip
    first, second = (from_json(encode(run).audit_json, "x") for run in (one, other))
    assert first.pop("execution") != second.pop("execution")
    assert first == second
    assert encode(one).arrays_npz == encode(other).arrays_npz


def test_text_that_is_no_unicode_does_not_lose_the_record() -> None:
    run = records.run()
    failed = replace(run.outcomes[2], error="no file caf\udce9", trace="\udce9", log="\udce9")
    skipped = replace(run.outcomes[1], reason="caf\udce9")
    record = encode(replace(run, outcomes=(skipped, failed), requirements=()))
    again = decode(record.audit_json, arrays_from_npz(record.arrays_npz, "x"))
    assert isinstance(again.outcomes[1], Failed)
    assert again.outcomes[1].error == "no file caf\\udce9"


def test_the_status_of_an_outcome_is_its_worst_requirement() -> None:
    assert [status_of(o, RUN.requirements) for o in RUN.outcomes] == [
        Status.PASS, Status.NOT_RUN, Status.ERROR,
    ]  # fmt: skip
    assert status_of(RUN.outcomes[0], ()) is Status.INFO
    worse = replace(RUN.requirements[0], status=Status.WARN, level="warn")
    assert status_of(RUN.outcomes[0], (*RUN.requirements, worse)) is Status.WARN
    elsewhere = replace(worse, model="other")
    assert status_of(RUN.outcomes[0], (*RUN.requirements, elsewhere)) is Status.PASS


@pytest.mark.parametrize("key", sorted(from_json(RECORD.audit_json, "x")))
def test_a_damaged_key_is_a_record_error_and_nothing_else(key: str) -> None:
    tree = _tree()
    del tree[key]
    with pytest.raises(RecordError):
        _decoded(tree)
    anything: tuple[Any, ...] = (None, 3, "x", [3], {"a": []}, True)
    for wrong in anything:
        said = ""
        try:
            encode(_decoded({**_tree(), key: wrong}))
        except RecordError as error:
            said = str(error)
        # mappings of anything are allowed to hold anything, and a text any text
        assert said or isinstance(wrong, dict | str), (key, wrong)
        assert "\n" not in said


def test_damage_within_outcomes_is_a_record_error_and_nothing_else() -> None:
    tree = _tree()
    anything: tuple[Any, ...] = (..., None, 3, "x", [3], {"a": []})
    for i, outcome in enumerate(tree["outcomes"]):
        for key in outcome:
            for wrong in anything:
                damaged = copy.deepcopy(tree)
                if wrong is ...:
                    del damaged["outcomes"][i][key]
                else:
                    damaged["outcomes"][i][key] = wrong
                said = ""
                try:
                    encode(_decoded(damaged))
                except RecordError as error:
                    said = str(error)
                assert "\n" not in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.update(schema_version=2), "schema version 2; this robreport reads 1"),
        (lambda t: t.update(schema_version=True), "schema version True"),
        (lambda t: t["outcomes"][0].update(status="fail"), "has the status 'fail', and its req"),
        (lambda t: t["outcomes"][0].pop("status"), "has the status None"),
        (lambda t: t["outcomes"].append(t["outcomes"][1]), "two stands twice among the outcomes"),
        (lambda t: t["coverage"].update(failed=0), "coverage does not count the outcomes"),
        (lambda t: t["outcomes"][0].update(outcome="well"), "is of the unknown kind 'well'"),
        (lambda t: t["outcomes"][0].pop("scalars"), "it has no scalars"),
        (lambda t: t["execution"].pop("outcomes"), "execution.outcomes must be an object"),
        (lambda t: t["execution"]["outcomes"]["one@m"].update(seconds="long"), "seconds"),
        (lambda t: t["models"][0].pop("digest"), "audit.json models is damaged at 0.digest"),
    ],
)  # fmt: skip
def test_damage_is_named(change: Callable[[Any], None], words: str) -> None:
    tree = _tree()
    change(tree)
    with pytest.raises(RecordError) as caught:
        _decoded(tree)
    assert words in str(caught.value)


# --------------------------------------------------------------------------------- reading folders


def test_a_written_run_is_read_again(tmp_path: Path) -> None:
    place = _written(tmp_path / "out")
    run, record = load_run(place)
    assert record == RECORD
    assert encode(run) == RECORD


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"is not a run folder: it has no audit\.json"):
        load_run(tmp_path)
    (tmp_path / "audit.json").write_bytes(b"{}")
    with pytest.raises(RecordError, match="schema version None"):
        load_run(tmp_path)


def test_missing_arrays_are_named(tmp_path: Path) -> None:
    place = _written(tmp_path / "out")
    (place / "arrays.npz").unlink()
    with pytest.raises(RecordError, match="which is missing"):
        load_run(place)


def test_a_truncated_file_is_a_record_error(tmp_path: Path) -> None:
    place = _written(tmp_path / "out")
    for name in ("audit.json", "arrays.npz"):
        whole = (place / name).read_bytes()
        for length in (0, 1, len(whole) // 2, len(whole) - 2):
            (place / name).write_bytes(whole[:length])
            with pytest.raises(RecordError):
                load_run(place)
        (place / name).write_bytes(whole)


def test_size_is_bounded_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = _written(tmp_path / "out")
    monkeypatch.setattr("robreport.store.MAX_JSON_BYTES", 100)
    with pytest.raises(RecordError, match=r"audit\.json has more than the 100 bytes that are read"):
        load_run(place)


# --------------------------------------------------------------------------------- single results


def test_a_result_is_saved_with_its_artifacts(tmp_path: Path) -> None:
    (tmp_path / "gate.npz").write_bytes(b"gate")
    (tmp_path / "made" / "deep").mkdir(parents=True)
    (tmp_path / "made" / "deep" / "w").write_bytes(b"w")
    result = replace(
        records.RESULT,
        artifacts={"gate": tmp_path / "gate.npz", "model": tmp_path / "made"},
    )
    folder = tmp_path / "kept"
    folder.mkdir()
    save_result(result, folder)
    moved = folder.rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "made")
    again = load_result(moved)
    assert again.scalars == result.scalars
    assert again.artifacts["gate"].read_bytes() == b"gate"
    assert (again.artifacts["model"] / "deep" / "w").read_bytes() == b"w"
    again.artifacts["gate"].unlink()
    with pytest.raises(RecordError, match="names the artifact gate, which is missing"):
        load_result(moved)


def test_an_artifact_that_was_not_written_is_the_metrics_fault(tmp_path: Path) -> None:
    result = Result(answer="A.", artifacts={"gate": tmp_path / "none"})
    with pytest.raises(MetricError, match="the artifact gate was declared but not written"):
        save_result(result, tmp_path)


def test_a_damaged_saved_result_is_a_record_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        load_result(tmp_path)
    save_result(records.RESULT, tmp_path)
    for name in ("result.json", "arrays.npz"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(RecordError):
            load_result(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(RecordError):
            load_result(tmp_path)
        (tmp_path / name).write_bytes(whole)


# ---------------------------------------------------------------------------------- writing folders


def _with_artifact(tmp_path: Path) -> Any:
    (tmp_path / "gate").mkdir(exist_ok=True)
    (tmp_path / "gate" / "manifest.json").write_text("an artifact's own")
    result = replace(records.RESULT, artifacts={"gate": tmp_path / "gate"})
    return records.run(result)


def test_the_manifest_has_the_digest_of_every_file(tmp_path: Path) -> None:
    place = _written(tmp_path / "out", _with_artifact(tmp_path))
    tree = json.loads((place / "manifest.json").read_bytes())
    found = _contents(place)
    del found["manifest.json"]
    assert tree["sha256"] == {n: hashlib.sha256(c).hexdigest() for n, c in sorted(found.items())}
    assert set(found) == {
        "audit.json", "arrays.npz", "report.html", "artifacts/one@m/gate/manifest.json",
    }  # fmt: skip
    run, _ = load_run(place)
    assert isinstance(run.outcomes[0], Computed)
    path = run.outcomes[0].result.artifacts["gate"]
    assert (path / "manifest.json").read_text() == "an artifact's own"


def test_a_run_folder_is_replaced_whole(tmp_path: Path) -> None:
    place = _written(tmp_path / "out", _with_artifact(tmp_path))
    with run_folder(place) as fresh:
        assert "report.html" in _contents(place)
        write_record(fresh, RECORD, RUN)
        write_manifest(fresh)
    assert set(_contents(place)) == {"audit.json", "arrays.npz", "manifest.json"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["gate", "out"]


def test_parents_are_made_and_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert is_run_folder(_written(tmp_path / "a" / "b" / "out"))
    (tmp_path / "empty").mkdir()
    assert is_run_folder(_written(tmp_path / "empty"))


def _file(place: Path) -> None:
    place.write_text("mine")


def _folder(place: Path) -> None:
    place.mkdir()
    (place / "notes.txt").write_text("mine")


def _lookalike(place: Path) -> None:
    # a web application has a manifest, and somebody's audit may be called audit.json
    place.mkdir()
    (place / "audit.json").write_text("{}")
    (place / "manifest.json").write_text('{"name": "app"}')


def _guest(place: Path) -> None:
    _written(place)
    (place / "notes.txt").write_text("mine")


def _guest_below(place: Path) -> None:
    _written(place)
    (place / "artifacts").mkdir()
    (place / "artifacts" / "notes.txt").write_text("mine")


def _link(place: Path) -> None:
    _written(place.with_name("real"))
    place.symlink_to(place.with_name("real"))


def _dangling(place: Path) -> None:
    place.symlink_to(place.with_name("nowhere"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_file, "is no folder; it was left alone"),
        (_folder, "exists and is not a run folder; it was left alone"),
        (_lookalike, "is not a run folder"),
        (_guest, "holds notes.txt, which is not of the run"),
        (_guest_below, "holds artifacts/notes.txt, which is not of the run"),
        (_link, "is a link; it was left alone"),
        (_dangling, "is a link; it was left alone"),
    ],
)  # fmt: skip
def test_what_is_no_run_folder_is_left_alone(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    make(tmp_path / "out")
    before = _contents(tmp_path)
    for attempt in (check_output, _written):
        with pytest.raises(OutputError) as caught:
            attempt(tmp_path / "out")
        assert words in str(caught.value)
    assert _contents(tmp_path) == before


def test_hidden_files_of_a_file_manager_do_not_matter(tmp_path: Path) -> None:
    place = _written(tmp_path / "out")
    (place / ".DS_Store").write_bytes(b"x")
    check_output(place)


def test_a_place_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError):
        check_output(tmp_path / "file" / "out")
    with pytest.raises(OutputError):
        check_output(tmp_path / "file" / "deep" / "out")
    with pytest.raises(OutputError):
        check_output(tmp_path / ("x" * 300))


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="no permission in"):
        check_output(tmp_path / "a" / "out")


@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OutputError, "no space left for"),
        (shutil.Error([("a", "b", f"[Errno 28] {os.strerror(errno.ENOSPC)}: 'b'")]), OutputError,
         "no space left for"),
        (OSError(errno.EROFS, "Read-only file system"), OutputError, "Read-only file system"),
        (ValueError("planted"), ValueError, "planted"),
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
    ],
)  # fmt: skip
def test_a_failure_leaves_the_earlier_run_and_nothing_else(
    tmp_path: Path, error: BaseException, raised: type[BaseException], words: str, earlier: bool
) -> None:
    place = tmp_path / "new" / "out"
    if earlier:
        _written(place)
    before = _contents(tmp_path)

    def attempt() -> None:
        with run_folder(place) as fresh:
            (fresh / "audit.json").write_bytes(b"half")
            raise error

    with pytest.raises(raised) as caught:
        attempt()
    assert words in str(caught.value)
    assert _contents(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == (["new"] if earlier else [])


@pytest.mark.parametrize("failure", [OSError(errno.EBUSY, "busy"), KeyboardInterrupt()])
def test_an_interrupt_while_replacing_keeps_the_earlier_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    place = _written(tmp_path / "out")
    before = _contents(tmp_path)
    true_rename = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if target == place and self.name != "run":
            raise failure
        return true_rename(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        _written(place)
    assert _contents(tmp_path) == before


def test_what_came_in_the_meantime_is_left_alone(tmp_path: Path) -> None:
    def attempt() -> None:
        with run_folder(tmp_path / "out") as fresh:
            write_manifest(fresh)
            _folder(tmp_path / "out")

    with pytest.raises(OutputError, match="is not a run folder"):
        attempt()
    assert _contents(tmp_path) == {"out/notes.txt": b"mine"}


def test_a_private_umask_is_kept(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        assert _written(tmp_path / "private").stat().st_mode & 0o777 == 0o700
        os.umask(0o022)
        assert _written(tmp_path / "public").stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(old)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k"]
    if os.name != "posix" or shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting needs root")
    made = subprocess.run(["mount", *options, "tmpfs", str(disk)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(tiny: Path) -> None:
    place = _written(tiny / "out")
    before = _contents(tiny)
    noise = np.random.default_rng(0).normal(size=100_000)
    large = records.run(replace(records.RESULT, arrays={"noise": noise}))
    for at in (place, tiny / "deep" / "other"):
        with pytest.raises(OutputError, match=r"no space left for .*; nothing was lost"):
            _written(at, large)
    assert _contents(tiny) == before
    assert [p.name for p in tiny.iterdir()] == ["out"]
