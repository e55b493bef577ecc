"""Does importing a metric's module stay light: asked of a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache

HEAVY = ("torch", "art", "sklearn", "numba", "pandas", "altair", "weasyprint")
SECONDS = 120

_PROGRAM = """
import importlib, json, sys
name, heavy = sys.argv[1], sys.argv[2].split(",")
try:
    importlib.import_module(name)
except BaseException as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
else:
    print(json.dumps({"heavy": [m for m in heavy if m in sys.modules]}))
"""


@cache
def import_problems(module: str) -> tuple[str, ...]:
    """Return what is wrong with importing `module`: it fails alone, or brings a heavy library.

    Families register at every start, also of ``robreport --help``, so what is heavy is imported
    inside the method that needs it.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, module, ",".join(HEAVY)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return (f"importing {module} takes over {SECONDS} seconds",)
    except (ValueError, IndexError):
        return (f"importing {module} alone ends the interpreter",)
    if "error" in answer:
        return (f"{module} cannot be imported in a fresh interpreter ({answer['error']})",)
    if answer["heavy"]:
        return (
            f"importing {module} imports {', '.join(answer['heavy'])}; "
            "import it inside the method that needs it",
        )
    return ()
