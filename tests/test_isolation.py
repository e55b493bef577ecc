"""Jobs in processes of their own: whatever one does, it is reported, and nothing is left alive."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from robreport.errors import RobreportError
from robreport.isolation import Crashed, Finished, Job, Progress, Report, Workshop, tail
from robreport.isolation.endings import seconds_words, size_words
from robreport.isolation.joblog import MOST_LOG, JobLog
from robreport.isolation.jobprocess import MOST_TRACE, plain_text
from robreport.isolation.processes import children, descendants, held_memory, oom_kills

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs process groups")
TAG = "ROBREPORT_TEST_TAG"
HERE = Path(__file__).parent
MB = 1_000_000


@pytest.fixture
def tag(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Mark every process that this test starts, and see that none is left."""
    monkeypatch.syspath_prepend(HERE)
    value = uuid.uuid4().hex
    yield value
    assert wait_for(lambda: not alive(value)), alive(value)


def alive(value: str) -> list[psutil.Process]:
    """Return the processes that carry a tag, zombies left out."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(TAG) == value:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_for(what: Callable[[], bool], seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.05)
    return what()


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Workshop, str]]:
    """One workshop for most tests, whatever its jobs have done before, and its tag."""
    value = uuid.uuid4().hex
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        with Workshop(workers=2, preload=("numpy",), env={TAG: value}) as workshop:
            yield workshop, value
    assert alive(value) == []


@pytest.fixture
def shop_tag(shared: tuple[Workshop, str]) -> str:
    return shared[1]


@pytest.fixture
def shop(shared: tuple[Workshop, str]) -> Iterator[Workshop]:
    workshop, value = shared
    yield workshop
    if workshop.pending:
        workshop.cancel_all()
        while workshop.next_report(0) is not None:
            pass
    crew = workshop._crew
    left = [p for p in alive(value) if crew is None or p.pid != crew.process.pid]
    assert left == []


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Job]:
    def job(function: str, payload: Any = None, key: str = "", **options: Any) -> Job:
        key = key or function
        options = {"timeout": 60.0, "log": tmp_path / "logs" / f"{key}.log", **options}
        target = function if ":" in function else f"isolation_jobs:{function}"
        return Job(key=key, target=target, payload=payload, **options)

    return job


def run(workshop: Workshop, *jobs: Job) -> dict[str, Finished | Crashed]:
    """Run jobs and return how each ended."""
    for job in jobs:
        workshop.submit(job)
    ended: dict[str, Finished | Crashed] = {}
    while workshop.pending:
        report = workshop.next_report(60)
        assert report is not None, "nothing was heard for a minute"
        if not isinstance(report, Progress):
            assert report.key not in ended
            ended[report.key] = report
    assert set(ended) == {job.key for job in jobs}
    return ended


def one(workshop: Workshop, job: Job) -> Finished | Crashed:
    return run(workshop, job)[job.key]


def crash(workshop: Workshop, job: Job) -> Crashed:
    ended = one(workshop, job)
    assert isinstance(ended, Crashed), ended
    return ended


# ---------------------------------------------------------------------- what a job gets and gives


def test_a_job_returns_its_value(shop: Workshop, make: Callable[..., Job]) -> None:
    value = {"a": [1, 2.5, None, True, "ε ≤ 8/255"], "b": {"c": 1e-300}}
    ended = one(shop, make("echo", value))
    assert isinstance(ended, Finished)
    assert ended.value == value
    assert 0 < ended.seconds < 60
    assert ended.peak_memory > MB


def test_surroundings_of_a_job(shop: Workshop, make: Callable[..., Job]) -> None:
    before = dict(os.environ)
    ended = one(shop, make("surroundings", ["MKL_NUM_THREADS", "PYTHONHASHSEED", TAG]))
    assert dict(os.environ) == before
    assert isinstance(ended, Finished), ended
    got = ended.value
    assert got["session"] == got["group"] == got["pid"] != os.getpid()
    assert got["stdin"] == ""
    assert got["threads"] == got["variables"]["MKL_NUM_THREADS"] == "1"
    assert got["variables"]["PYTHONHASHSEED"] == os.environ.get("PYTHONHASHSEED", "0")
    assert got["main"] is None, "the caller's __main__ was run again"
    assert got["daemon"] is False
    assert got["interrupt"] is True
    assert "pytest" not in got["modules"]
    # stdin, stdout, stderr, the channel, and the folder that is being listed
    assert len(got["descriptors"]) == 5
    assert not Path(got["temporary"]).exists()


def test_threads_are_those_asked_for(tag: str, make: Callable[..., Job]) -> None:
    preload = ("numpy", "torch", "numba")
    with Workshop(workers=1, threads=2, preload=preload, env={TAG: tag}) as workshop:
        ended = one(workshop, make("numerical", 2))
    assert isinstance(ended, Finished), ended
    assert ended.value == {"torch": 2, "numba": [1000.0, 2], "numpy": 300.0**3}


def test_progress(shop: Workshop, make: Callable[..., Job]) -> None:
    shop.submit(make("steps", 200_000))
    reports: list[Report] = []
    while shop.pending:
        report = shop.next_report(60)
        assert report is not None
        reports.append(report)
    assert reports[0] == Progress(key="steps", done=0, total=0, what="")
    told = [r for r in reports[1:] if isinstance(r, Progress)]
    assert told[0] == Progress(key="steps", done=0, total=200_000, what="step 0 red ")
    assert told[-1] == Progress(key="steps", done=200_000, total=200_000, what="at the end")
    assert isinstance(reports[-1], Finished)
    assert len(told) <= 2 + 11 * reports[-1].seconds


def test_a_slow_listener_blocks_nobody(shop: Workshop, make: Callable[..., Job]) -> None:
    shop.submit(make("restless"))
    assert wait_for(lambda: not children(_foreman(shop)))
    while shop.pending:
        last = shop.next_report(60)
    assert isinstance(last, Finished)
    assert last.value == "a" * 300_000


def test_log_takes_all_output(shop: Workshop, make: Callable[..., Job]) -> None:
    job = make("loud")
    assert isinstance(one(shop, job), Finished)
    assert set(job.log.read_text().splitlines()) == {
        "from Python", "to stderr", "from C", "from a shell"
    }  # fmt: skip


def test_log_is_kept_short(shop: Workshop, make: Callable[..., Job]) -> None:
    job = make("flood", 60 * MB)
    assert isinstance(one(shop, job), Finished)
    assert job.log.stat().st_size <= MOST_LOG
    text = job.log.read_text()
    assert text.startswith("the beginning\n")
    assert text.endswith("the end\n")
    assert "[robreport left out " in text


def test_temporary_files_go_with_the_job(shop: Workshop, make: Callable[..., Job]) -> None:
    ended = one(shop, make("temporary"))
    assert isinstance(ended, Finished)
    assert not Path(ended.value).parent.exists()


def test_libraries_say_farewell(shop: Workshop, make: Callable[..., Job], tmp_path: Path) -> None:
    job = make("farewell", str(tmp_path / "bye"))
    assert isinstance(one(shop, job), Finished)
    assert (tmp_path / "bye").read_text() == "bye"
    assert "ZeroDivisionError" in job.log.read_text()


def test_workers_limit_how_many_run(tag: str, make: Callable[..., Job]) -> None:
    jobs = [make("steps", 3, key=f"job{i}") for i in range(6)]
    with Workshop(workers=2, env={TAG: tag}) as workshop:
        for job in jobs:
            workshop.submit(job)
        running: set[str] = set()
        most = 0
        order = []
        while workshop.pending:
            report = workshop.next_report(60)
            assert report is not None
            if not isinstance(report, Progress):
                running.discard(report.key)
            elif report.total == 0:
                running.add(report.key)
                order.append(report.key)
            most = max(most, len(running))
    assert most == 2
    assert order == [job.key for job in jobs]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_both_ways_to_start(method: Any, tag: str, make: Callable[..., Job]) -> None:
    with Workshop(workers=2, method=method, env={TAG: tag}) as workshop:
        ended = run(
            workshop,
            make("echo", [1]),
            make("raises", "a reason"),
            make("leave", 9),
            make("never", timeout=0.6),
            make("loud"),
        )
    assert isinstance(ended["echo"], Finished)
    kinds = {key: end.kind for key, end in ended.items() if isinstance(end, Crashed)}
    assert kinds == {"raises": "exception", "leave": "exit", "never": "timeout"}


# ---------------------------------------------------------------------- how a job can fail


def test_an_exception(shop: Workshop, make: Callable[..., Job]) -> None:
    ended = crash(shop, make("raises", "the reason\nin two lines"))
    assert (ended.kind, ended.error) == ("exception", "ValueError: the reason in two lines")
    assert ended.trace.startswith("Traceback (most recent call last):")
    assert "isolation_jobs.py" in ended.trace
    assert "jobprocess.py" not in ended.trace
    assert "foreman.py" not in ended.trace


@pytest.mark.parametrize(
    ("payload", "kind", "error"),
    [
        ("exit", "exception", "it called sys.exit(4)"),
        ("interrupt", "exception", "KeyboardInterrupt without a message"),
        ("memory", "memory", "MemoryError without a message"),
        ("robreport", "exception", "data.test: the file is empty."),
        ("hostile", "exception", "Hostile: (its text could not be made)"),
        ("surrogate", "exception", "ValueError: ??bold"),
    ],
)
def test_exceptions_in_words(
    shop: Workshop, make: Callable[..., Job], payload: str, kind: str, error: str
) -> None:
    ended = crash(shop, make("raises", payload))
    assert (ended.kind, ended.error) == (kind, error)
    ended.trace.encode()


def test_long_texts_are_bounded(shop: Workshop, make: Callable[..., Job]) -> None:
    ended = run(shop, make("raises", "long", key="long"), make("raises", "deep", key="deep"))
    long, deep = ended["long"], ended["deep"]
    assert isinstance(long, Crashed)
    assert isinstance(deep, Crashed)
    assert len(long.error) < 1100
    assert len(long.trace) <= MOST_TRACE
    assert deep.error.startswith("RecursionError: maximum recursion depth exceeded")


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ("nan", "JSON cannot hold"),
        ("object", "JSON cannot hold: Object of type object"),
        ("bytes", "JSON cannot hold: Object of type bytes"),
        ("surrogate", "JSON cannot hold"),
        ("cycle", "JSON cannot hold: Circular"),
        ("large", "at most 16,777,216 are taken, larger results belong in a file"),
    ],
)
def test_values_that_are_not_taken(
    shop: Workshop, make: Callable[..., Job], payload: str, says: str
) -> None:
    ended = crash(shop, make("returns", payload))
    assert ended.kind == "exception"
    assert says in ended.error


def test_a_target_or_payload_that_is_not_there(
    shop: Workshop, make: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = run(
        shop,
        make("no_such_module_here:f", key="module"),
        make("no_such_function", key="function"),
    )
    module, function = ended["module"], ended["function"]
    assert isinstance(module, Crashed)
    assert isinstance(function, Crashed)
    assert "No module named 'no_such_module_here'" in module.error
    assert "no attribute 'no_such_function'" in function.error
    with pytest.raises((pickle.PicklingError, AttributeError)):
        shop.submit(make("echo", lambda: None))
    assert shop.pending == 0


def test_leaving_and_crashing(shop: Workshop, make: Callable[..., Job]) -> None:
    ended = run(shop, make("leave", 1), make("leave", 0, key="zero"), make("segfault"))
    leave, zero, fault = ended["leave"], ended["zero"], ended["segfault"]
    assert isinstance(leave, Crashed)
    assert isinstance(zero, Crashed)
    assert isinstance(fault, Crashed)
    assert leave.kind == zero.kind == "exit"
    assert "exit code 1 before there was a result" in leave.error
    assert "exit code 0 before there was a result" in zero.error
    assert fault.kind == "signal"
    assert "SIGSEGV (segmentation fault" in fault.error
    assert "Fatal Python error: Segmentation fault" in fault.trace
    assert "isolation_jobs.py" in fault.trace
    assert "foreman.py" not in fault.trace
    assert "<string>" not in fault.trace


def test_signals_from_outside(shop: Workshop, make: Callable[..., Job]) -> None:
    before = oom_kills()
    killed = crash(shop, make("die", int(signal.SIGKILL)))
    if before is not None and oom_kills() == before:
        assert killed.kind == "signal"
        assert "killed by SIGKILL from outside" in killed.error
    else:
        assert killed.kind == "memory"
    other = crash(shop, make("die", int(signal.SIGTERM)))
    assert (other.kind, other.error.split(" (")[0]) == (
        "signal", "the process was killed by SIGTERM"
    )  # fmt: skip


@pytest.mark.parametrize("function", ["never", "deaf", "never_let_go"])
def test_a_timeout(shop: Workshop, make: Callable[..., Job], function: str) -> None:
    ended = crash(shop, make(function, timeout=0.8))
    assert ended.kind == "timeout"
    assert ended.error == "there was no result within 0.8 s, the time limit"
    assert 0.8 <= ended.seconds < 30
    assert ended.trace.startswith("Timeout (")
    assert "isolation_jobs.py" in ended.trace


def test_an_answer_outlives_a_lingering_process(
    shop: Workshop, make: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = one(shop, make("lingers"))
    assert isinstance(ended, Finished)
    assert ended.value == "answer"
    assert ended.seconds < 2.5, "the time after the answer does not count"


def test_forks_that_come_back(shop: Workshop, make: Callable[..., Job]) -> None:
    ended = run(shop, make("fall_through"), make("exit_code_of_child"))
    assert isinstance(ended["fall_through"], Finished)
    assert ended["fall_through"].value == "from the parent"
    assert isinstance(ended["exit_code_of_child"], Finished)
    assert ended["exit_code_of_child"].value == 7


@pytest.mark.parametrize(
    "payload",
    [
        b"\x80garbage\n",
        b"[" * 100_000 + b"\n",
        b'{"value": NaN}\n',
        b'{"error": 1, "kind": "exception", "trace": ""}\n',
        b'{"progress": [1, 2]}\n',
        b"x" * (3 << 20),
    ],
    ids=["bytes", "deep", "nan", "error", "progress", "endless"],
)
def test_garbage_in_the_channel(shop: Workshop, make: Callable[..., Job], payload: bytes) -> None:
    ended = crash(shop, make("garbage", payload))
    assert ended.kind == "exit"
    assert "something other than progress and one answer" in ended.error


def test_a_forged_answer_is_only_data(shop: Workshop, make: Callable[..., Job]) -> None:
    forged = (
        b'{"progress": [1, 2, "\\u001b[2Jx"]}\n{"value": ["forged"], "key": "other"}\n{"oops"\n'
    )
    ended = one(shop, make("garbage", forged))
    assert isinstance(ended, Finished)
    assert (ended.key, ended.value) == ("garbage", ["forged"])


def test_a_closed_channel(shop: Workshop, make: Callable[..., Job]) -> None:
    ended = crash(shop, make("close_everything"))
    assert ended.kind == "exit"
    assert "closed files that it had not opened" in ended.error


# ---------------------------------------------------------------------- memory


def test_one_allocation_beyond_the_limit(shop: Workshop, make: Callable[..., Job]) -> None:
    ended = crash(shop, make("eat", {"bytes": 10**9, "at once": True}, memory=200 * MB))
    assert ended.kind == "memory"
    assert ended.error == "MemoryError without a message (limit 200 MB)"
    assert "isolation_jobs.py" in ended.trace
    assert ended.peak_memory < 200 * MB


def test_growing_beyond_the_limit(shop: Workshop, make: Callable[..., Job]) -> None:
    ended = crash(shop, make("eat", {"bytes": 10**9, "unlimited": True}, memory=150 * MB))
    assert ended.kind == "memory"
    assert "used more memory than 150 MB, the limit" in ended.error
    assert 150 * MB < ended.peak_memory < 10**9


def test_children_count(shop: Workshop, make: Callable[..., Job]) -> None:
    ended = crash(shop, make("eat_in_child", {"bytes": 10**9, "unlimited": True}, memory=150 * MB))
    assert ended.kind == "memory"


def test_shared_memory_counts_once(shop: Workshop, make: Callable[..., Job]) -> None:
    ended = one(shop, make("share_after_fork", 100 * MB, memory=200 * MB))
    assert isinstance(ended, Finished), ended


def test_within_the_limit(shop: Workshop, make: Callable[..., Job]) -> None:
    ended = one(shop, make("eat", {"bytes": 60 * MB}, memory=200 * MB))
    assert isinstance(ended, Finished), ended
    assert ended.peak_memory > 60 * MB


def test_mapped_files_do_not_count(
    shop: Workshop, make: Callable[..., Job], tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", np.ones(25 * MB // 2))
    size = (tmp_path / "a.npy").stat().st_size
    path = str(tmp_path / "a.npy")
    ended = run(
        shop,
        make("read_mapped", path, memory=60 * MB, mapped=size),
        make("read_mapped", path, key="unannounced", memory=60 * MB),
    )
    assert isinstance(ended["read_mapped"], Finished), ended
    assert ended["read_mapped"].value == 25 * MB // 2
    refused = ended["unannounced"]
    assert isinstance(refused, Crashed)
    assert refused.kind == "memory"
    assert "Cannot allocate memory" in refused.error


# ---------------------------------------------------------------------- nothing is left alive


@pytest.mark.parametrize("how", ["return", "exit", "crash"])
def test_children_end_with_their_job(
    shop: Workshop, make: Callable[..., Job], shop_tag: str, how: str
) -> None:
    ended = one(shop, make("with_children", how))
    assert isinstance(ended, Finished if how == "return" else Crashed)
    assert wait_for(lambda: [p.pid for p in alive(shop_tag)] == [_foreman(shop)], 5), alive(
        shop_tag
    )


def test_children_end_with_a_timeout(
    shop: Workshop, make: Callable[..., Job], shop_tag: str, tmp_path: Path
) -> None:
    ended = crash(shop, make("with_children", str(tmp_path / "ready"), timeout=1.5))
    assert ended.kind == "timeout"
    assert (tmp_path / "ready").exists()
    assert wait_for(lambda: [p.pid for p in alive(shop_tag)] == [_foreman(shop)], 5), alive(
        shop_tag
    )


def test_other_jobs_keep_their_children(
    shop: Workshop, make: Callable[..., Job], shop_tag: str, tmp_path: Path
) -> None:
    shop.submit(make("with_children", str(tmp_path / "ready"), timeout=None))
    assert wait_for((tmp_path / "ready").exists)
    staying = {p.pid for p in alive(shop_tag)}
    assert len(staying) == 6, "the foreman, the job, and its four"
    for how in ("return", "exit"):
        shop.submit(make("with_children", how, key=how))
    ended = 0
    while ended < 2:
        ended += not isinstance(shop.next_report(60), Progress)
    assert wait_for(lambda: {p.pid for p in alive(shop_tag)} == staying, 5), alive(shop_tag)
    shop.cancel_all()
    assert alive(shop_tag) == []


def test_cancel(shop: Workshop, make: Callable[..., Job], shop_tag: str, tmp_path: Path) -> None:
    shop.submit(make("echo", 1))
    for i in range(3):
        shop.submit(make("with_children", str(tmp_path / f"ready{i}"), key=f"never{i}"))
    assert wait_for((tmp_path / "ready1").exists)
    shop.cancel_all()
    assert alive(shop_tag) == []
    assert shop.pending == 1
    report = shop.next_report(0)
    assert isinstance(report, Finished)
    assert report.key == "echo"
    assert shop.next_report(0) is None
    assert isinstance(one(shop, make("echo", 2)), Finished), "a workshop can go on afterwards"


MAIN = """
    import sys
    sys.path[:] = {path!r}
    from pathlib import Path
    from robreport.isolation import Job, Workshop

    with Workshop(workers=2) as shop:
        for i in range(3):
            shop.submit(Job(
                key=f"job{{i}}", target="isolation_jobs:with_children",
                payload={folder!r} + f"/ready{{i}}", log=Path({folder!r}, f"log{{i}}"),
            ))
        try:
            while shop.pending:
                shop.next_report({timeout!r})
        except KeyboardInterrupt:
            shop.cancel_all()
            print("interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_nothing_outlives_the_main_process(tag: str, tmp_path: Path, number: int) -> None:
    code = textwrap.dedent(MAIN).format(path=sys.path, folder=str(tmp_path), timeout=None)
    main = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, TAG: tag},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert wait_for(lambda: (tmp_path / "ready0").exists() and (tmp_path / "ready1").exists(), 60)
    assert len(alive(tag)) == 12, "the main process, the foreman, two jobs with four each"
    assert not (tmp_path / "ready2").exists(), "a third job ran beside two workers"
    main.send_signal(number)
    out, err = main.communicate(timeout=60)
    assert wait_for(lambda: not alive(tag), 10), alive(tag)
    if number == signal.SIGINT:
        assert (main.returncode, out, err) == (0, b"interrupted\n", b"")
    else:
        assert main.returncode == -number


def test_the_main_process_is_killed_while_a_job_holds_the_lock(tag: str, tmp_path: Path) -> None:
    code = textwrap.dedent(MAIN).format(path=sys.path, folder=str(tmp_path), timeout=None)
    code = code.replace("with_children", "never_let_go")
    main = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, TAG: tag})
    assert wait_for(lambda: len(alive(tag)) == 4, 60)
    main.kill()
    main.wait()
    assert wait_for(lambda: not alive(tag), 10), alive(tag)


def test_a_foreman_that_is_killed(
    shop: Workshop, make: Callable[..., Job], shop_tag: str, tmp_path: Path
) -> None:
    """Its jobs are lost and reported; those that waited are done by another foreman."""
    ended = run(
        shop,
        make("kill_foreman"),
        make("with_children", str(tmp_path / "ready"), timeout=None),
        make("echo", 1),
        make("echo", 2, key="echo2"),
    )
    for key in ("kill_foreman", "with_children"):
        lost = ended[key]
        assert isinstance(lost, Crashed)
        assert lost.kind == "exit"
        assert "lost when the process that watches all jobs died (exit status -9)" in lost.error
    assert isinstance(ended["echo"], Finished)
    assert isinstance(ended["echo2"], Finished)
    # What had left its session is beyond the reach of everybody but the foreman.
    strays = [p for p in alive(shop_tag) if p.pid != _foreman(shop)]
    for process in strays:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(strays, timeout=10)


def test_a_foreman_that_cannot_start(tag: str, make: Callable[..., Job], tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    env = {TAG: tag, "PYTHONHOME": str(tmp_path / "broken")}
    with Workshop(workers=1, env=env) as workshop:
        ended = crash(workshop, make("echo"))
    assert ended.kind == "exit"
    assert "died (exit status 1" in ended.error
    assert ended.trace


# ---------------------------------------------------------------------- where it is used


def test_from_another_thread(tag: str, make: Callable[..., Job]) -> None:
    found: list[Finished | Crashed] = []

    def work() -> None:
        with Workshop(workers=1, env={TAG: tag}) as workshop:
            found.append(one(workshop, make("echo", "thread")))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert isinstance(found[0], Finished)
    assert found[0].value == "thread"


def test_a_script_is_not_run_again(tag: str, tmp_path: Path) -> None:
    """Neither a script without a guard nor a module of ``python -m`` is run in the jobs."""
    body = f"""
        import sys
        sys.path[:] = {sys.path!r}
        from pathlib import Path
        from robreport.isolation import Job, Workshop
        print("main ran", flush=True)
        with Workshop(workers=1) as shop:
            shop.submit(Job(key="a", target="isolation_jobs:echo", payload=[1], log=Path("log")))
            while shop.pending:
                report = shop.next_report(60)
        print(report.value)
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(body))
    (tmp_path / "json.py").write_text("raise SystemExit('a stranger was imported')")
    for arguments in (["script.py"], ["-m", "script"]):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, TAG: tag, "PYTHONSAFEPATH": ""},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("main ran\n[1]\n", ""), done


def test_a_relative_log_and_two_workshops(
    tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = Job(key="a", target="isolation_jobs:loud", payload=None, log=Path("deep/er/log"))
    with (
        Workshop(workers=1, threads=1, env={TAG: tag}) as first,
        Workshop(workers=1, threads=3, env={TAG: tag}) as second,
    ):
        other = Job(key="a", target="isolation_jobs:surroundings", payload=[], log=Path("log2"))
        assert isinstance(one(first, job), Finished)
        ended = one(second, other)
    assert (tmp_path / "deep/er/log").is_file()
    assert isinstance(ended, Finished)
    assert ended.value["threads"] == "3"


def test_a_log_that_cannot_be_made(
    shop: Workshop, make: Callable[..., Job], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    ended = crash(shop, make("echo", log=tmp_path / "file" / "log"))
    assert ended.kind == "exit"
    assert "its log or temporary folder cannot be made" in ended.error


def test_no_temporary_folder_is_left(
    tag: str, make: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with Workshop(workers=1, env={TAG: tag}) as workshop:
        run(workshop, make("temporary"))
        assert len(list((tmp_path / "tmp").iterdir())) == 1
    assert list((tmp_path / "tmp").iterdir()) == []


# ---------------------------------------------------------------------- bad requests


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"target": "module"}, "'module:function', found 'module'"),
        ({"target": ":f"}, "'module:function'"),
        ({"timeout": 0.0}, "timeout must be a positive number, found 0.0"),
        ({"timeout": float("nan")}, "timeout must be a positive number"),
        ({"memory": 0}, "memory must be a positive number, found 0"),
    ],
)
def test_jobs_that_make_no_sense(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    usual: dict[str, Any] = {"key": "a", "target": "m:f", "payload": None, "log": tmp_path / "l"}
    with pytest.raises(ValueError, match=says):
        Job(**{**usual, **changes})


def test_requests_that_make_no_sense(shop: Workshop, make: Callable[..., Job]) -> None:
    with pytest.raises(ValueError, match="at least 1, found 0, 1"):
        Workshop(workers=0)
    with pytest.raises(ValueError, match="my_plugin must not be imported before a fork"):
        Workshop(workers=1, preload=("numpy", "my_plugin"))
    shop.submit(make("echo", 1))
    with pytest.raises(ValueError, match="a job 'echo' is pending already"):
        shop.submit(make("echo", 2))
    assert shop.next_report(60) == Progress(key="echo", done=0, total=0, what="")


def test_next_report_does_not_wait_for_nothing(shop: Workshop, make: Callable[..., Job]) -> None:
    assert shop.next_report() is None
    shop.submit(make("never", timeout=None))
    report: Report | None = shop.next_report(60)
    while report is not None:
        report = shop.next_report(0.6)
    assert shop.pending == 1


ANY_JOB = Job(key="any", target="isolation_jobs:echo", payload=[1], log=Path("any.log"))


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(RobreportError, match="No temporary folder can be made: No such file"):
        Workshop(workers=1).submit(ANY_JOB)


def test_windows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robreport.isolation.workshop.os.name", "nt")
    with pytest.raises(RobreportError, match="only Linux, macOS and WSL offer"):
        Workshop(workers=1).submit(ANY_JOB)


# ---------------------------------------------------------------------- small parts


def test_tail(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_bytes("αβγ\x1b[1m\x00\r\nend\n".encode() + b"\xff")
    assert tail(log) == "αβγ?\nend\n\ufffd"
    log.write_text("é" * 100)
    assert tail(log, most=5) == "éé"


def test_a_log_that_is_cut_twice(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "log")
    for _ in range(2):
        os.write(log.descriptor, b"start" + b"." * MOST_LOG + b"stop")
        log.keep_short()
    text = (tmp_path / "log").read_text()
    assert text.startswith("start")
    assert text.endswith("stop")
    assert len(text) < MOST_LOG
    assert text.count("robreport left out") == 1
    log.close()
    log.close()


def test_words() -> None:
    assert [size_words(n) for n in (8 * 10**9, 1_500_000_000, 300_000_000, 2048, 12)] == [
        "8 GB", "1.5 GB", "300 MB", "2.05 kB", "12 bytes"
    ]  # fmt: skip
    assert [seconds_words(s) for s in (0.5, 90, 1800, 3601)] == [
        "0.5 s",
        "90 s",
        "30 min",
        "3601 s",
    ]


def test_plain_text_survives_every_document() -> None:
    text = plain_text("".join(map(chr, [*range(0x3000), *range(0xD700, 0x10010), 0x10FFFF])))
    assert json.loads(json.dumps(text)) == text
    text.encode()
    assert not set(text) & set("\x00\x08\x0b\x1b\x7f\x9f\ufffe\uffff\r")
    assert {"\t", "\n", "é", "ε", "∞"} <= set(text)


def test_process_trees() -> None:
    command = [sys.executable, "-S", "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])"]
    sleeper = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    with subprocess.Popen([*command, *sleeper]) as process:
        try:
            assert wait_for(lambda: len(descendants(process.pid)) == 1)
            (below,) = descendants(process.pid)
            assert psutil.Process(below).ppid() == process.pid
            assert process.pid in children(os.getpid())
            exact = held_memory([process.pid, below], 1)
            assert 0 < exact <= held_memory([process.pid, below])
        finally:
            for pid in [*descendants(process.pid), process.pid]:
                os.kill(pid, signal.SIGKILL)
    assert descendants(2**22 + 1) == []
    assert held_memory([2**22 + 1]) == 0


def _foreman(workshop: Workshop) -> int:
    crew = workshop._crew
    assert crew is not None
    return crew.process.pid
