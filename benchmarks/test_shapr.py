"""SHAPr beside ART on the same outputs, and at the size of a whole image data set.

Run with ``python -m pytest benchmarks/test_shapr.py --benchmark-only`` after ``pip install -e
'.[bench]'``. Both must give the same scores, so that nobody is fast by doing less.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

FASTER = 100
SECONDS, BYTES = 60, 1_000_000_000
ROOT = Path(__file__).resolve().parent.parent

# In a process of its own: the peak of its resident size, interpreter and compiler included.
LARGE = """
import json, resource, sys, time
import numpy as np
from robreport_plugins.privacy.shapr import shapr

rng = np.random.default_rng(0)

def outputs(n):
    y = rng.integers(0, 10, n)
    z = rng.normal(size=(n, 10)) * 2 + 5 * np.eye(10)[y]
    p = np.exp(z)
    return p / p.sum(axis=1, keepdims=True), y

(p, y), (q, z) = outputs(60_000), outputs(10_000)
start = time.perf_counter()
found = shapr(p, y, q, z, threads=2)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
gap = float(np.abs(found.worth - found.nearest).max())
print(json.dumps({"seconds": seconds, "peak": peak, "gap": gap, "tied": found.tied}))
"""


def test_digits_beside_art(benchmark) -> None:
    from art.estimators.classification import SklearnClassifier
    from art.metrics import SHAPr
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    from robreport_plugins.privacy.shapr import shapr

    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x / 16, y, test_size=0.3, random_state=0)
    model = LogisticRegression(max_iter=500).fit(x_train, y_train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        theirs = SHAPr(SklearnClassifier(model), x_train, y_train, x_test, y_test)
        art = time.perf_counter() - start

    def ours() -> np.ndarray:
        train, test = model.predict_proba(x_train), model.predict_proba(x_test)
        return shapr(train, y_train, test, y_test).scores

    scores = benchmark.pedantic(ours, rounds=7, warmup_rounds=1)
    seconds = benchmark.stats.stats.median
    benchmark.extra_info |= {"art_seconds": art, "times_faster": art / seconds}
    print(f"\nART {art:.2f} s, robreport {1000 * seconds:.1f} ms: {art / seconds:.0f} times")
    assert np.abs(scores - theirs).max() < 1e-5
    assert art >= FASTER * seconds


def test_sixty_thousand_by_ten_thousand(benchmark) -> None:
    def run() -> dict[str, float]:
        done = subprocess.run(
            [sys.executable, "-c", LARGE], capture_output=True, text=True, check=True, cwd=ROOT
        )
        return json.loads(done.stdout)

    found = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info |= found
    print(f"\n{found['seconds']:.1f} s, peak {found['peak'] / 1e6:.0f} MB")
    assert found["gap"] < 1e-8
    assert found["seconds"] <= SECONDS
    assert found["peak"] <= BYTES
