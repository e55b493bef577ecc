"""What the processes of tests/test_isolation.py do: behave, and misbehave in every way."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Tell = Callable[[int, int, str], None]
SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


def echo(payload: Any, tell: Tell) -> Any:
    return payload


def surroundings(payload: Any, tell: Tell) -> dict[str, Any]:
    main = sys.modules["__main__"]
    import multiprocessing

    return {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "group": os.getpgid(0),
        "stdin": sys.stdin.read(),
        "threads": os.environ["OMP_NUM_THREADS"],
        "variables": {k: os.environ.get(k) for k in payload},
        "main": getattr(main, "__file__", None),
        "daemon": multiprocessing.current_process().daemon,
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "descriptors": sorted(int(f.name) for f in Path("/proc/self/fd").iterdir()),
        "modules": sorted(sys.modules),
        "temporary": os.environ["TMPDIR"],
    }


def steps(payload: int, tell: Tell) -> str:
    for i in range(payload):
        tell(i, payload, f"step {i} \x1b[31mred\x1b[0m\n")
    time.sleep(0.15)
    tell(payload, payload, "at the end")
    return "done"


def loud(payload: Any, tell: Tell) -> None:
    print("from Python")
    print("to stderr", file=sys.stderr)
    ctypes.CDLL(None).puts(b"from C")
    os.system("echo from a shell")


def flood(payload: int, tell: Tell) -> None:
    block = b"x" * 999 + b"\n"
    os.write(1, b"the beginning\n")
    for _ in range(payload // 1000):
        os.write(1, block)
    time.sleep(0.5)
    os.write(1, b"the end\n")


def raises(payload: str, tell: Tell) -> None:
    if payload == "exit":
        sys.exit(4)
    if payload == "interrupt":
        raise KeyboardInterrupt
    if payload == "memory":
        raise MemoryError
    if payload == "long":
        raise ValueError("a" * 5_000_000)
    if payload == "deep":
        return raises(payload, tell)
    if payload == "robreport":
        from robreport.errors import DataError

        raise DataError("data.test: the file is empty.")
    if payload == "hostile":
        raise Hostile
    if payload == "surrogate":
        raise ValueError("\ud800\x00\x1b[1mbold\x1b[0m")
    raise ValueError(payload)


class Hostile(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def returns(payload: str, tell: Tell) -> Any:
    return {
        "nan": float("nan"),
        "object": object(),
        "bytes": b"\0",
        "surrogate": "\ud800",
        "large": "a" * (1 << 24),
        "cycle": _cycle(),
    }[payload]


def _cycle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def leave(payload: int, tell: Tell) -> None:
    os._exit(payload)


def die(payload: int, tell: Tell) -> None:
    os.kill(os.getpid(), payload)
    time.sleep(60)


def segfault(payload: Any, tell: Tell) -> None:
    ctypes.string_at(0)


def never(payload: Any, tell: Tell) -> None:
    tell(0, 1, "waiting")
    while True:
        time.sleep(0.05)


def never_let_go(payload: Any, tell: Tell) -> None:
    """Hold the interpreter's lock for ever, so that no thread of this process can run."""
    ctypes.PyDLL(None).sleep(600)


def deaf(payload: Any, tell: Tell) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    never(payload, tell)


def with_children(payload: str, tell: Tell) -> str:
    """Start processes that never return: a child, one in a session of its own, an orphan."""
    subprocess.Popen(SLEEPER)
    subprocess.Popen(SLEEPER, start_new_session=True)
    middle = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
    subprocess.run([sys.executable, "-S", "-c", middle, *SLEEPER], check=True)
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
        os._exit(0)
    if payload == "return":
        return "returned"
    if payload == "exit":
        os._exit(5)
    if payload == "crash":
        ctypes.string_at(0)
    Path(payload).write_text("ready")
    tell(0, 1, "ready")
    time.sleep(600)
    return "never"


def eat(payload: dict[str, Any], tell: Tell) -> int:
    if payload.get("unlimited"):
        resource.setrlimit(resource.RLIMIT_DATA, (-1, -1))
    held = []
    if payload.get("at once"):
        held.append(bytearray(payload["bytes"]))
    while sum(map(len, held)) < payload["bytes"]:
        held.append(bytearray(os.urandom(1)) * 4_000_000)
        time.sleep(0.005)
    time.sleep(0.5)
    return sum(map(len, held))


def eat_in_child(payload: dict[str, Any], tell: Tell) -> int:
    pid = os.fork()
    if pid == 0:
        eat(payload, tell)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def share_after_fork(payload: int, tell: Tell) -> int:
    """Hold memory once and fork three times: nothing more is used."""
    block = bytearray(b"x") * payload
    children = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            time.sleep(0.8)
            os._exit(0)
        children.append(pid)
    return len(block) + sum(os.waitpid(pid, 0)[1] for pid in children)


def read_mapped(payload: str, tell: Tell) -> float:
    import numpy as np

    a = np.load(payload, mmap_mode="c")
    total = float(a.sum())
    time.sleep(0.5)
    return total


def lifted_limit(payload: Any, tell: Tell) -> int:
    bytearray(10**9)
    return 0


def garbage(payload: bytes, tell: Tell) -> str:
    for number in range(3, 64):
        try:
            os.set_blocking(number, True)
            os.write(number, payload)
        except OSError:
            continue
    time.sleep(0.3)
    return "answer"


def close_everything(payload: Any, tell: Tell) -> str:
    os.closerange(0, 1000)
    return "answer"


def fall_through(payload: Any, tell: Tell) -> str:
    pid = os.fork()
    if pid == 0:
        return "from the child"
    os.waitpid(pid, 0)
    if os.fork() == 0:
        raise ValueError("from another child")
    time.sleep(0.2)
    return "from the parent"


def exit_code_of_child(payload: Any, tell: Tell) -> int:
    pid = os.fork()
    if pid == 0:
        sys.exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def restless(payload: Any, tell: Tell) -> str:
    """Return while threads go on reporting and never end."""

    def work() -> None:
        while True:
            tell(1, 2, "still here")

    for _ in range(3):
        threading.Thread(target=work).start()
    time.sleep(0.2)
    return "a" * 300_000


def lingers(payload: Any, tell: Tell) -> str:
    import atexit

    atexit.register(time.sleep, 600)
    return "answer"


def farewell(payload: str, tell: Tell) -> str:
    import atexit

    atexit.register(Path(payload).write_text, "bye")
    atexit.register(lambda: 1 / 0)
    return "answer"


def kill_foreman(payload: Any, tell: Tell) -> None:
    time.sleep(0.3)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def temporary(payload: Any, tell: Tell) -> str:
    import tempfile

    folder = tempfile.mkdtemp()
    Path(folder, "left").write_text("behind")
    return folder


def numerical(payload: int, tell: Tell) -> dict[str, Any]:
    """Use every library that can be imported before the fork, with threads."""
    import numba
    import numpy as np
    import torch

    torch.set_num_threads(payload)
    x = torch.randn(8, 3, 16, 16, requires_grad=True)
    torch.nn.functional.conv2d(x, torch.randn(4, 3, 3, 3)).sum().backward()

    @numba.njit(parallel=True)
    def total(a: Any) -> float:
        s = 0.0
        for i in numba.prange(a.shape[0]):
            s += a[i]
        return s

    return {
        "torch": torch.get_num_threads(),
        "numba": [float(total(np.ones(1000))), numba.get_num_threads()],
        "numpy": float((np.ones((300, 300)) @ np.ones((300, 300))).sum()),
    }
