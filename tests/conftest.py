"""Where tests find the real data, and what keeps them apart from the user's machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# A busy machine is no defect, so no deadline; the same examples each time, so that a failure
# belongs to the change that shows it.
settings.register_profile("robreport", deadline=None, derandomize=True)
settings.load_profile("robreport")

# Several processes of tests share the machine. With a thread for each core in each of them, the
# short loops of torch spend their time waiting for one another: twenty times as long was seen.
# Set before NumPy and torch are imported, and inherited by the processes that tests start.
if processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    for library in ("OMP", "OPENBLAS", "MKL"):
        share = max(1, (os.cpu_count() or 1) // processes)
        os.environ.setdefault(f"{library}_NUM_THREADS", str(share))

# Started in the background, a shell has Ctrl-C and hang-ups ignored, and whatever a test starts
# would inherit that.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data and models, beside the checkout.

    Anybody else's machine lacks it, and the test skips; where CI is set it must be there.
    """
    folder = Path(os.environ.get("ROBREPORT_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if folder.is_dir():
        return folder.resolve()
    reason = f"no real data at {folder} (ROBREPORT_SHARED_DATA names another folder)"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI is set")
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the session a cache of its own and none of the user's settings.

    Set in the environment, not passed along, so that processes that tests start have it too.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBREPORT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("ROBREPORT_PLUGINS", raising=False)
        # Messages are compared as text: no colours, and lines as wide as they come.
        patch.setenv("NO_COLOR", "1")
        patch.delenv("FORCE_COLOR", raising=False)
        patch.setenv("COLUMNS", "200")
        yield
