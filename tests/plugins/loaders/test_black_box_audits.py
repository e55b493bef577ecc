"""Whole audits of models that are only asked: the same numbers as for the model itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

from robreport_plugins.loaders.bundled import BundledLoader
from tests.plugins.loaders.local_service import Asked, LocalService, answers
from tests.running import command, record

pytestmark = pytest.mark.slow

X, Y = load_iris(return_X_y=True)
MODEL = LogisticRegression(max_iter=500, C=0.05).fit(X[::2], Y[::2])
SECRET = "hunter2-4711"

SPEC = """
[audit]
title = "Black boxes"
[[models]]
name = "function"
loader = "callable"
callable = "box:predict"
path = "weights.json"
[[models]]
name = "service"
loader = "http"
url = "{url}"
protocol = "kserve-v1"
headers = {{ Authorization = "Bearer env:SERVICE_TOKEN" }}
retries = 1
[data]
task = "classification"
loader = "sklearn"
dataset = "iris"
[data.train]
[data.test]
[threats.linf]
norm = "Linf"
eps = [0.1]
[[metrics]]
id = "performance.classification"
[[metrics]]
id = "attacks.suite"
threats = ["linf"]
params = {{ attacks = ["fgsm", "pgd"] }}
[report]
formats = []
"""

BOX = """
import json
import numpy as np

def predict(x, path):
    told = json.loads(path.read_text())
    scores = x @ np.array(told["coef"]).T + told["intercept"]
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
"""


def honest(asked: Asked) -> Any:
    if asked.headers.get("Authorization") != f"Bearer {SECRET}":
        return answers({"error": "who are you?"}, 401)
    p = MODEL.predict_proba(np.array(asked.json["instances"]))
    return answers({"predictions": p.tolist()})


@pytest.fixture(scope="module")
def service() -> Iterator[LocalService]:
    running = LocalService(honest)
    yield running
    running.close()


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory, service: LocalService) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    (folder / "audit.toml").write_text(SPEC.format(url=service.url), encoding="utf-8")
    (folder / "box.py").write_text(BOX, encoding="utf-8")
    weights = {"coef": MODEL.coef_.tolist(), "intercept": MODEL.intercept_.tolist()}
    (folder / "weights.json").write_text(json.dumps(weights), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _token() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVICE_TOKEN", SECRET)
        yield


def run(audit: Path, output: str, spec: Path | None = None) -> Any:
    done = command("run", spec or audit / "audit.toml", "--output", audit / output,
                   cache=audit / "cache", plugins=())  # fmt: skip
    assert SECRET not in done.stdout + done.stderr
    return done


def outcomes(folder: Path) -> dict[tuple[str, str], Any]:
    return {(o["name"], o["model"]): o for o in record(folder)["outcomes"]}


@pytest.fixture(scope="module")
def first(audit: Path) -> tuple[Any, Path]:
    return run(audit, "first"), audit / "first"


def test_the_numbers_are_those_of_the_model(first: Any, load_data: Any) -> None:
    done, folder = first
    assert done.returncode == 0, done.stdout + done.stderr
    found = outcomes(folder)
    test = load_data(BundledLoader(), dataset="iris")
    p = MODEL.predict_proba(test.x)
    expected = {
        "clean_accuracy": accuracy_score(test.y, p.argmax(axis=1)),
        "macro_f1": f1_score(test.y, p.argmax(axis=1), average="macro"),
        "log_loss": log_loss(test.y, p),
        "roc_auc_ovr": roc_auc_score(test.y, p, multi_class="ovr"),
    }
    for model in ("function", "service"):
        got = found["performance.classification", model]["scalars"]
        for name, value in expected.items():
            assert got[name]["n"] == len(test.x)
            assert got[name]["value"] == pytest.approx(value, rel=1e-9), name
        outcome = found["attacks.suite", model]
        assert outcome["status"] == "not-run"
        assert "needs gradients, which " + model in outcome["reason"]


def test_the_record_says_what_was_asked_and_no_secret(first: Any, service: LocalService) -> None:
    _, folder = first
    models = {model["name"]: model for model in record(folder)["models"]}
    served = models["service"]
    assert served["facts"]["address"] == service.url
    assert served["facts"]["header Authorization"] == "from the environment variable SERVICE_TOKEN"
    assert served["facts"]["same answer twice"] == "yes"
    assert len(served["digest"]) == 64
    assert served["path"] == ""
    assert models["function"]["facts"]["function"].startswith("box:predict (box.py")
    assert len(models["function"]["digest"]) == 64
    assert "code SHA-256" in models["function"]["facts"]
    for path in folder.parent.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


ONE = """
[[models]]
name = "{name}"
loader = "http"
url = "{url}"
protocol = "kserve-v1"
headers = {{ Authorization = "Bearer env:SERVICE_TOKEN" }}
retries = 1
"""


def smaller(audit: Path, **urls: str) -> Path:
    """Write an audit of these services and the function, and return its path."""
    head, _, rest = SPEC.partition("[data]")
    title = head.partition("[[models]]")[0]
    box = head[head.index('[[models]]\nname = "function"') : head.index('[[models]]\nname = "serv')]
    served = "".join(ONE.format(name=name, url=url) for name, url in urls.items())
    data = rest.partition("[threats")[0]
    path = audit / "smaller.toml"
    path.write_text(
        f'{title}{box}{served}[data]{data}[[metrics]]\nid = "performance.classification"\n'
        "[report]\nformats = []\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def another() -> Iterator[LocalService]:
    running = LocalService(honest)
    yield running
    running.close()


@pytest.mark.slow
def test_again_only_what_changed_is_measured(
    first: Any, audit: Path, service: LocalService, another: LocalService
) -> None:
    """What answers as before is known again; a function that was changed is not; a service that
    dies or changes while it is measured fails with one sentence, and the rest stands.
    """
    moving = LocalService(
        lambda a: honest(a) if a.number < 4
        else answers({"predictions": [[0.2, 0.7, 0.1]] * len(a.json["instances"])})
    )  # fmt: skip
    another.answer = lambda a: (
        honest(a) if a.number < 4 else answers({"error": f"gone, {SECRET}"}, 503)
    )
    before = len(service.asked)
    (audit / "box.py").write_text(BOX.replace("return raised", "return raised[:, ::-1]"))
    spec = smaller(audit, service=service.url, dying=another.url, moving=moving.url)
    try:
        done = run(audit, "second", spec)
    finally:
        moving.close()
        (audit / "box.py").write_text(BOX)
    assert done.returncode == 2, done.stdout + done.stderr
    old, new = outcomes(audit / "first"), outcomes(audit / "second")
    key = "performance.classification"
    # Four rows twice, those that make the digest, and the rest that every model is tried on: the
    # metric itself did not ask.
    assert len(service.asked) - before == 4
    assert new[key, "service"] == old[key, "service"]
    assert new[key, "function"]["scalars"] != old[key, "function"]["scalars"]
    dead = new[key, "dying"]
    assert dead["status"] == "error"
    assert dead["reason"].endswith('answers HTTP 503: {"error": "gone, ***"} (2 tries).')
    assert "\n" not in dead["reason"]
    moved = new[key, "moving"]
    assert moved["status"] == "error"
    assert "otherwise than when the audit began" in moved["reason"]
    for path in (audit / "second").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
