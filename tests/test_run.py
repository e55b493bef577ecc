"""Whole runs from the command line: everything that can go wrong goes wrong beside what works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.running import (
    BROKEN,
    PLANTED,
    command,
    environment,
    outcome,
    record,
    spec,
    without_execution,
)

GOOD = """
[[metrics]]
name = "good"
id = "planted.good"
require = ["agreement >= 0.9"]
"""
FAULTS = (
    GOOD
    + """
[[metrics]]
id = "planted.raises"
require = ["agreement >= 0.9"]
[[metrics]]
id = "planted.exits"
[[metrics]]
id = "planted.segfaults"
[[metrics]]
id = "planted.forever"
[[metrics]]
id = "planted.children"
[[metrics]]
id = "planted.eats"
[[metrics]]
id = "planted.nan"
[[metrics]]
id = "planted.undeclared"
[execution]
workers = 2
timeout = "6s"
memory = "700MB"
"""
)


@pytest.fixture(scope="module")
def faulty(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One audit in which nearly everything goes wrong, with broken plugins installed."""
    folder = tmp_path_factory.mktemp("faulty")
    path = spec(folder, FAULTS, head='seed = 3\noutput = "out"')
    done = command("run", path, cache=folder / "cache", plugins=(PLANTED, BROKEN))
    return folder / "out", done


def test_faults_become_outcomes_and_the_rest_stands(
    faulty: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, done = faulty
    assert done.returncode == 2, done.stderr
    assert outcome(out, "good")["status"] == "pass"
    assert record(out)["coverage"] == {"declared": 9, "ran": 1, "failed": 8, "skipped": 0}
    assert record(out)["verdict"]["status"] == "fail"


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("planted.raises", "exception", "planted <b>fault</b>"),
        ("planted.exits", "exit", "1"),
        ("planted.segfaults", "signal", "SIGSEGV"),
        ("planted.forever", "timeout", "6"),
        ("planted.children", "timeout", "6"),
        ("planted.eats", "memory", "700 MB"),
        ("planted.nan", "exception", "nan"),
        ("planted.undeclared", "exception", "train"),
    ],
)
def test_each_fault_says_what_it_was(
    faulty: tuple[Path, subprocess.CompletedProcess[str]], name: str, kind: str, words: str
) -> None:
    out, done = faulty
    found = outcome(out, name)
    assert found["outcome"] == "failed"
    assert found["status"] == "error"
    assert found["kind"] == kind, found["reason"]
    assert words in found["reason"]
    assert name in done.stderr


def test_broken_plugins_are_named_with_their_reason(
    faulty: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, done = faulty
    errors = {p["name"]: p["error"] for p in record(out)["plugins"]}
    assert "register_metric" in errors["misspelled"]
    assert "'register_metrics'" in errors["misspelled"]
    assert "'privacy.shapr' is already offered by plugin 'privacy'" in errors["taken"]
    assert "planted at import" in errors["raising"]
    assert errors["planted"] == ""
    for name in ("misspelled", "taken", "raising"):
        assert f"plugin {name}" in done.stderr


def test_nothing_of_a_run_is_left_alive(
    faulty: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, _ = faulty
    assert not survivors(out.parent)


def survivors(folder: Path) -> list[psutil.Process]:
    """Return the processes that carry this run's cache folder in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("ROBREPORT_CACHE") == str(folder / "cache"):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def test_workers_and_cache_change_nothing_but_execution(tmp_path: Path) -> None:
    tables = GOOD + '[[metrics]]\nname = "again"\nid = "planted.good"\nparams = { pause = 0.1 }\n'
    path = spec(tmp_path, tables)
    cold = command("run", path, "--output", tmp_path / "one", "--set", "execution.workers=1",
                   cache=tmp_path / "cache")  # fmt: skip
    assert cold.returncode == 0, cold.stderr
    command("run", path, "--output", tmp_path / "warm", cache=tmp_path / "cache")
    command("run", path, "--output", tmp_path / "two", "--set", "execution.workers=2",
            "--no-cache", cache=tmp_path / "other")  # fmt: skip
    assert "is in the cache" in command("check", path, cache=tmp_path / "cache").stdout
    volatile = record(tmp_path / "warm")["execution"]["outcomes"]
    assert all(entry["cached"] for entry in volatile.values())
    assert without_execution(tmp_path / "one") == without_execution(tmp_path / "warm")
    assert without_execution(tmp_path / "one") == without_execution(tmp_path / "two")
    arrays = [(tmp_path / name / "arrays.npz").read_bytes() for name in ("one", "warm", "two")]
    assert arrays[0] == arrays[1] == arrays[2]


def test_a_killed_run_leaves_nothing_alive_and_resumes(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    tables = f"""
[[metrics]]
name = "quick"
id = "planted.good"
params = {{ mark = "{mark}" }}
[[metrics]]
name = "slow"
id = "planted.good"
params = {{ mark = "{mark}", pause = 30 }}
"""
    path = spec(tmp_path, tables)
    process = subprocess.Popen(
        [sys.executable, "-m", "robreport", "run", str(path)],
        env=environment(tmp_path / "cache"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "quick@m (" in line:
            break
    deadline = time.monotonic() + 20
    while len(mark.read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    deadline = time.monotonic() + 10
    while survivors(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not survivors(tmp_path)
    assert not (tmp_path / "audit").exists()
    resumed = command(
        "run", path, "--set", "metrics.slow.params.pause=0.01", cache=tmp_path / "cache"
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "quick@m (from the cache)" in resumed.stderr
    # quick once, slow in the killed run and once more
    assert mark.read_text().split() == ["m", "m", "m"]


def test_interrupted_runs_report_what_was_finished(tmp_path: Path) -> None:
    tables = GOOD + '[[metrics]]\nname = "slow"\nid = "planted.good"\nparams = { pause = 60 }\n'
    path = spec(tmp_path, tables)
    process = subprocess.Popen(
        [sys.executable, "-m", "robreport", "run", str(path)],
        env=environment(tmp_path / "cache"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "good@m (" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert outcome(tmp_path / "audit", "good")["status"] == "pass"
    assert outcome(tmp_path / "audit", "slow")["status"] == "not-run"
    assert "interrupted" in outcome(tmp_path / "audit", "slow")["reason"]
    assert "interrupted" in record(tmp_path / "audit")["verdict"]["sentence"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "data.test.fault=gap"], "the first in row 5"),
        (["--set", "data.test.fault=labels"], "labels out of range: found 7"),
        (["--set", "data.test.n=0"], "it is empty"),
        (["--set", "models.m.path=short"], "the file is truncated"),
        (["--set", "models.m.crash=true"], "models.m"),
        (["--set", "models.m.path=whole", "--set", f"models.m.sha256={'0' * 64}"],
         "the pinned one"),
        (["--set", "models.m.path=absent"], "models.m.path: the file 'absent' does not exist"),
        (["--set", "data.root=nowhere"], "data.root: the folder 'nowhere' does not exist"),
        (["--set", "models.m.flipp=true"], "Did you mean 'flip'?"),
        (["--only", "goood"], "Did you mean 'good'?"),
        (["--set", "metrics.good.id=planted.god"], "Did you mean 'planted.good'"),
    ],
)  # fmt: skip
def test_unusable_inputs_end_with_one_message_and_exit_code_3(
    tmp_path: Path, options: list[str], words: str
) -> None:
    path = spec(tmp_path, GOOD)
    (tmp_path / "short").write_bytes(b"plan")
    (tmp_path / "whole").write_bytes(b"planted")
    done = command("run", path, *options, cache=tmp_path / "cache", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "audit").exists()


def test_one_unusable_model_leaves_the_others_standing(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"plan")
    other = '[[models]]\nname = "broken"\nloader = "planted"\npath = "short"\n'
    extra = '[data.extra.narrow]\nfault = "shape"\n'
    path = spec(tmp_path, other, extra, GOOD)
    done = command("run", path, cache=tmp_path / "cache")
    assert done.returncode == 3, done.stderr
    tree = record(tmp_path / "audit")
    status = {o["model"]: (o["status"], o["reason"]) for o in tree["outcomes"]}
    assert status["m"] == ("pass", "")
    assert status["broken"] == ("error", "models.broken.path: the file is truncated.")
    narrow = next(s for s in tree["data"] if s["role"] == "extra.narrow")
    assert "(2,); those of the other splits (3,)" in narrow["problem"]


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_earlier_report_kept(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=False,
        capture_output=True,
    )  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        path = spec(tmp_path, GOOD.replace("planted.good", "planted.good"))
        first = command("run", path, "--output", small / "out", "--set", "data.test.n=50",
                        cache=tmp_path / "cache")  # fmt: skip
        assert first.returncode == 0, first.stderr
        before = (small / "out" / "audit.json").read_bytes()
        (small / "filler").write_bytes(b"x" * 40_000)
        full = command("run", path, "--output", small / "out", cache=tmp_path / "cache",
                       )  # fmt: skip
        assert full.returncode == 3
        assert "no space left" in full.stderr
        assert (small / "out" / "audit.json").read_bytes() == before
        assert sorted(p.name for p in small.iterdir()) == ["filler", "out"]
        (small / "filler").unlink()
        again = command("run", path, "--output", small / "out", cache=tmp_path / "cache")
        assert "from the cache" in again.stderr
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_an_output_that_is_no_run_folder_is_left_alone(tmp_path: Path) -> None:
    path = spec(tmp_path, GOOD)
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "thesis.txt").write_text("mine")
    done = command("run", path, cache=tmp_path / "cache")
    assert done.returncode == 3
    assert "is not a run folder" in done.stderr
    assert (tmp_path / "audit" / "thesis.txt").read_text() == "mine"


def test_an_unmet_requirement_exits_with_1(tmp_path: Path) -> None:
    path = spec(tmp_path, GOOD)
    done = command("run", path, "--set", "models.m.flip=true", cache=tmp_path / "cache")
    assert done.returncode == 1, done.stderr
    assert "fail: missed by the whole interval" in done.stdout
    assert "Requirements not met" in done.stdout


def test_check_measures_nothing(tmp_path: Path) -> None:
    path = spec(tmp_path, GOOD)
    done = command("check", path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert "will run" in done.stdout
    assert not (tmp_path / "audit").exists()
    assert not any((tmp_path / "cache").glob("outcomes/*"))


@pytest.mark.slow
def test_a_comparison_is_made_anew_when_a_name_changes(tmp_path: Path) -> None:
    names = '[[metrics]]\nid = "planted.names"\n'
    first = spec(tmp_path / "first", GOOD, names)
    assert command("run", first, cache=tmp_path / "cache").returncode == 0
    second = spec(tmp_path / "second", GOOD, names)
    text = second.read_text().replace('name = "m"', 'name = "other"')
    second.write_text(text.replace('name = "good"', 'name = "renamed"'))
    assert command("run", second, cache=tmp_path / "cache").returncode == 0
    found = [outcome(tmp_path / name / "audit", "planted.names") for name in ("first", "second")]
    rows = [entry["tables"]["names"]["rows"] for entry in found]
    assert rows == [[["good@m"]], [["renamed@other"]]]


@pytest.mark.parametrize(
    ("leave", "code", "verdict"), [("true", 0, "not-run"), ("false", 1, "fail")]
)
def test_an_entry_may_have_leave_to_be_missing(
    tmp_path: Path, leave: str, code: int, verdict: str
) -> None:
    table = (
        '[[metrics]]\nid = "privacy.shapr"\nrequire = ["max_shapr <= 2"]\n'
        f"allow_missing = {leave}\n"
    )
    path = spec(tmp_path, table, head='output = "out"')
    done = command("run", path, cache=tmp_path / "cache")
    assert done.returncode == code, done.stderr
    assert outcome(tmp_path / "out", "privacy.shapr")["status"] == "not-run"
    assert record(tmp_path / "out")["verdict"]["status"] == verdict
