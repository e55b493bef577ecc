"""The http loader against services on this machine: every protocol, and every misbehaviour."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from robreport import DataSchema, ModelError, ModelHandle, Needs, NotOffered
from robreport_plugins.loaders.black_box import AnswerMemory
from robreport_plugins.loaders.http_pace import Clock, Pace
from robreport_plugins.loaders.http_protocols import JsonProtocol
from robreport_plugins.loaders.http_secrets import Mask
from robreport_plugins.loaders.http_service import HttpLoader
from robreport_plugins.loaders.input_form import InputForm
from robreport_plugins.loaders.input_options import InputOptions
from tests.plugins.loaders.local_service import Answer, Asked, LocalService, answers

X, Y = load_iris(return_X_y=True)
MODEL = LogisticRegression(max_iter=500).fit(X, Y)
P = MODEL.predict_proba(X)
NAMES = ("setosa", "versicolor", "virginica")
COLUMNS = ("sl", "sw", "pl", "pw")
SCHEMA = DataSchema(
    task="classification", input_shape=(4,), layout="table", classes=NAMES, features=COLUMNS
)
REGRESSION = DataSchema(task="regression", input_shape=(4,), layout="table", features=COLUMNS)
SECRET = 'tok"en/471147114711+x'


class FakeClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.at += seconds

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.at, wall=lambda: 1.8e9 + self.at, sleep=self.sleep)


@pytest.fixture
def serve() -> Iterator[Callable[..., LocalService]]:
    running: list[LocalService] = []

    def start(answer: Answer, **more: Any) -> LocalService:
        running.append(LocalService(answer, **more))
        return running[-1]

    yield start
    for service in running:
        service.close()


@pytest.fixture
def fake() -> FakeClock:
    return FakeClock()


@pytest.fixture
def load(load_model: Any, fake: FakeClock) -> Callable[..., ModelHandle]:
    """``load(service_or_url, **options)``: plain protocol, tried on iris, with a fake clock."""

    def make(service: Any, **options: Any) -> ModelHandle:
        url = service.url if isinstance(service, LocalService) else service
        given = {"protocol": "plain", "schema": SCHEMA, "examples": X[:40], **options}
        handle: ModelHandle = load_model(HttpLoader(fake.clock), None, url=url, **given)
        return handle

    return make


def plain(asked: Asked) -> Any:
    """The model as a service: a list of rows of probabilities."""
    return answers(MODEL.predict_proba(np.array(asked.json["inputs"])).tolist())


def v1(asked: Asked) -> Any:
    return answers({"predictions": MODEL.predict_proba(np.array(asked.json["instances"])).tolist()})


def v2(asked: Asked) -> Any:
    assert set(asked.json) == {"inputs", "id"}
    (tensor,) = asked.json["inputs"]
    assert (tensor["name"], tensor["datatype"]) == ("input-0", "FP64")
    x = np.array(tensor["data"]).reshape(tensor["shape"])
    p = MODEL.predict_proba(x)
    return answers({"model_name": "iris", "outputs": [
        {"name": "label", "datatype": "INT64", "shape": [len(x)], "data": p.argmax(1).tolist()},
        {"name": "p", "datatype": "FP64", "shape": list(p.shape), "data": p.reshape(-1).tolist()},
    ]})  # fmt: skip


def mlflow(asked: Asked) -> Any:
    frame = asked.json["dataframe_split"]
    assert frame["columns"] == list(COLUMNS)
    return answers({"predictions": MODEL.predict_proba(np.array(frame["data"])).tolist()})


def nested(asked: Asked) -> Any:
    p = MODEL.predict_proba(np.array(asked.json))
    return answers({"result": [{"scores": {"all": row.tolist()}} for row in p]})


def by_name(asked: Asked) -> Any:
    rows = MODEL.predict_proba(np.array(asked.json["inputs"])).tolist()
    order = (2, 0, 1)
    return answers([{NAMES[i]: row[i] for i in order} for row in rows])


def records(asked: Asked) -> Any:
    x = np.array([[row[name] for name in COLUMNS] for row in asked.json["instances"]])
    return answers({"predictions": MODEL.predict_proba(x).tolist()})


@pytest.mark.parametrize("batch", [7, 256])
@pytest.mark.parametrize(
    ("answer", "options"),
    [
        (plain, {}),
        (v1, {"protocol": "kserve-v1"}),
        (v2, {"protocol": "kserve-v2", "output_field": "p", "request": {"id": "7"}}),
        (mlflow, {"protocol": "mlflow"}),
        (nested, {"input_field": "", "output_field": "result.scores.all"}),
        (by_name, {}),
        (records, {"protocol": "kserve-v1", "frame": True}),
    ],
)
def test_every_protocol_gives_the_model_itself(
    serve: Any, load: Any, answer: Answer, options: dict[str, Any], batch: int
) -> None:
    """The same float64 numbers as the model gives when it is asked directly."""
    service = serve(answer)
    handle = load(service, batch=batch, **options)
    assert handle.offers == Needs.CLASSIFICATION | Needs.PROBABILITIES
    np.testing.assert_allclose(handle.predict_proba(X), P, rtol=1e-14, atol=1e-300)
    np.testing.assert_array_equal(handle.predict(X), MODEL.predict(X))
    assert handle.facts["address"] == service.url
    assert handle.facts["same answer twice"] == "yes"
    assert len(handle.digest) == 64
    with pytest.raises(NotOffered):
        handle.torch_module()


def test_values_labels_and_logits(serve: Any, load: Any) -> None:
    service = serve(lambda a: answers({"predictions": [sum(r) for r in a.json["instances"]]}))
    handle = load(service, protocol="kserve-v1", schema=REGRESSION)
    assert handle.offers == Needs.REGRESSION
    np.testing.assert_allclose(handle.predict(X), X.sum(axis=1), rtol=1e-12)
    service = serve(
        lambda a: answers([NAMES[i] for i in MODEL.predict(np.array(a.json["inputs"]))])
    )
    handle = load(service)
    assert handle.offers == Needs.CLASSIFICATION
    np.testing.assert_array_equal(handle.predict(X), MODEL.predict(X))
    service = serve(
        lambda a: answers({"o": MODEL.decision_function(np.array(a.json["inputs"])).tolist()})
    )
    handle = load(service, returns="logits", output_field="o")
    assert Needs.LOGITS in handle.offers
    np.testing.assert_allclose(handle.logits(X), MODEL.decision_function(X), rtol=1e-12)
    np.testing.assert_allclose(handle.predict_proba(X), P, rtol=1e-9)


def test_images_and_numbers_are_sent_exactly(serve: Any, load: Any) -> None:
    """float32 numbers arrive bit by bit, with the declared shape and transformation."""
    x = np.random.default_rng(0).random((5, 1, 2, 3), dtype=np.float32)
    schema = DataSchema(task="regression", input_shape=(1, 2, 3), layout="image")
    seen: list[Any] = []

    def answer(asked: Asked) -> Any:
        seen.append(asked.json["inputs"][0])
        return answers({"outputs": [
            {"name": "y", "shape": [seen[-1]["shape"][0], 1], "datatype": "FP32",
             "data": [[0.5]] * seen[-1]["shape"][0]},
        ]})  # fmt: skip

    options = {"protocol": "kserve-v2", "schema": schema, "examples": None, "returns": "values"}
    handle = load(serve(answer), **options, input={"layout": "NHWC"}, input_field="pixels")
    assert handle.predict(x).tolist() == [0.5] * 5
    assert seen[0]["shape"] == [5, 2, 3, 1]
    assert (seen[0]["name"], seen[0]["datatype"]) == ("pixels", "FP32")
    sent = np.array(seen[0]["data"], dtype=np.float32).reshape(5, 2, 3, 1)
    np.testing.assert_array_equal(sent, x.transpose(0, 2, 3, 1))
    handle = load(serve(answer), **options, dtype="uint8", flatten=True)
    handle.predict(np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]).reshape(1, 1, 2, 3))
    assert (seen[-1]["shape"], seen[-1]["datatype"]) == ([1, 6], "UINT8")
    assert seen[-1]["data"] == [0, 51, 102, 153, 204, 255]


def test_tables_with_texts_and_gaps(serve: Any, load: Any, refused: Any) -> None:
    schema = DataSchema(
        task="regression", input_shape=(2,), layout="table", features=("age", "sex"),
        categories={"sex": ("female", "male")},
    )  # fmt: skip
    x = np.array([[30.0, 1], [np.nan, 0], [40, np.nan]])
    seen: list[Any] = []

    def answer(asked: Asked) -> Any:
        seen.append(asked.json)
        return answers({"predictions": [1.0, 2.0, 3.0]})

    common = {"schema": schema, "examples": None, "returns": "values", "frame": True}
    service = serve(answer)
    load(service, protocol="mlflow", **common).predict(x)
    assert seen[-1] == {"dataframe_split": {
        "columns": ["age", "sex"], "data": [[30.0, "male"], [None, "female"], [40.0, None]]
    }}  # fmt: skip
    load(service, protocol="kserve-v1", **common).predict(x)
    assert seen[-1]["instances"][1] == {"age": None, "sex": "female"}
    # Without frame the codes go, and a gap is still a null.
    load(service, output_field="predictions", **{**common, "frame": False}).predict(x)
    assert seen[-1] == {"inputs": [[30.0, 1.0], [None, 0.0], [40.0, None]]}
    v2_handle = load(service, protocol="kserve-v2", **common)
    refused(lambda: v2_handle.predict(x), "missing value", "'age'")
    refused(lambda: v2_handle.predict(x[:1]), "no list 'outputs'")
    assert seen[-1]["inputs"] == [
        {"name": "age", "shape": [1, 1], "datatype": "FP64", "data": [30.0]},
        {"name": "sex", "shape": [1, 1], "datatype": "BYTES", "data": ["male"]},
    ]
    flat = load(service, protocol="kserve-v2", **{**common, "frame": False})
    refused(lambda: flat.predict(x), "missing value")
    plain_handle = load(service, **{**common, "frame": False}, output_field="predictions")
    refused(lambda: plain_handle.predict(np.full((3, 2), np.inf)), "infinite")


def test_what_was_asked_is_not_asked_again(serve: Any, load: Any) -> None:
    service = serve(plain)
    handle = load(service, batch=50)
    # 4 rows twice, then the 32 by which the service is known.
    assert [len(a.json["inputs"]) for a in service.asked] == [4, 4, 32]
    handle.predict_proba(X)
    # Those 32 are known; what is left comes in whole batches. Iris has one row twice.
    left = len(np.unique(X, axis=0)) - 32
    assert [len(a.json["inputs"]) for a in service.asked][3:] == [50, 50, left - 100]
    handle.predict(X)
    handle.predict_proba(X[::-1])
    assert handle.requests == len(service.asked) == 6
    np.testing.assert_allclose(handle.predict_proba(X[::-1]), P[::-1], rtol=1e-14)
    handle.predict(X[:2] + 0.1)
    assert [len(a.json["inputs"]) for a in service.asked][6:] == [2]


def test_memory_is_bounded() -> None:
    memory = AnswerMemory(most_bytes=10 * 400)
    x = np.arange(40.0).reshape(40, 1)
    keys = memory.keys(x)
    assert len(set(keys)) == 40
    assert memory.keys(x) == keys
    assert memory.keys(x.astype(np.float32)) != keys
    for i, key in enumerate(keys):
        memory.put(key, np.full(10, float(i)))
    assert len(memory) == 10
    # The last ten, each with its own answer.
    assert [memory.get(key) for key in keys[:30]] == [None] * 30
    np.testing.assert_array_equal(
        [memory.get(key) for key in keys[30:]], [[i] * 10 for i in range(30, 40)]
    )


def test_a_random_service_is_asked_each_time(serve: Any, load: Any) -> None:
    def answer(asked: Asked) -> Any:
        p = 0.2 + asked.number / 100
        return answers([[p, 1 - p, 0.0]] * len(asked.json["inputs"]))

    service = serve(answer)
    handle = load(service)
    assert handle.facts["same answer twice"].startswith("no")
    assert handle.digest == ""
    first = handle.predict_proba(X[:3])
    assert not np.array_equal(first, handle.predict_proba(X[:3]))


def test_the_digest_is_that_of_the_answers_and_options(
    serve: Any, load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "one")
    service = serve(plain)
    options = {"headers": {"Authorization": "Bearer env:TOKEN"}}
    digest = load(service, **options).digest
    assert load(service, **options).digest == digest
    monkeypatch.setenv("TOKEN", "two")
    assert load(service, **options).digest == digest
    assert load(service, **options, timeout=9.0).digest != digest
    service.answer = lambda a: answers(
        MODEL.predict_proba(np.array(a.json["inputs"]) + 1e-9).tolist()
    )
    assert load(service, **options).digest != digest


# ------------------------------------------------------------------------------------- patience


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_tries_again(serve: Any, load: Any, fake: FakeClock, caplog: Any, status: int) -> None:
    service = serve(lambda a: answers({}, status) if a.number < 2 else plain(a))
    with caplog.at_level(logging.WARNING, "robreport.http"):
        handle = load(service)
    assert fake.slept == [0.5, 1.0]
    assert handle.predict(X[:1]).tolist() == [0]
    assert f"HTTP {status}" in caplog.text


@pytest.mark.parametrize(
    ("after", "slept"),
    [("3", 3.0), ("date", 20.0), ("0", 0.0), ("-1", 0.5), ("soon", 0.5), ("1e3", 0.5), ("", 0.5)],
)
def test_retry_after(serve: Any, load: Any, fake: FakeClock, after: str, slept: float) -> None:
    if after == "date":
        after = formatdate(1.8e9 + fake.at + 20, usegmt=True)
    service = serve(lambda a: answers({}, 429, Retry_After=after) if a.number < 1 else plain(a))
    load(service)
    assert fake.slept == [slept]


def test_gives_up(serve: Any, load: Any, fake: FakeClock, refused: Any) -> None:
    service = serve(lambda a: answers({"error": "no\nmemory\x1b[31m."}, 500))
    refused(lambda: load(service), "HTTP 500", "no\\nmemory", "(4 tries)")
    assert fake.slept == [0.5, 1.0, 2.0]
    assert len(service.asked) == 4
    refused(lambda: load(service, retries=0), "(1 try)")
    service.answer = lambda a: answers({}, 429, Retry_After="3600")
    refused(lambda: load(service), "asks to wait 3,600 s", "longest_wait = 60")
    fake.slept.clear()
    service.answer = lambda a: answers({}, 503)
    refused(lambda: load(service, retries=12, longest_wait=4), "(13 tries)")
    assert fake.slept == [0.5, 1.0, 2.0] + [4.0] * 9


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 501, 204, 100 + 99])
def test_other_statuses_are_final(serve: Any, load: Any, refused: Any, status: int) -> None:
    service = serve(lambda a: answers({"detail": "no such model"}, status))
    refused(lambda: load(service), f"HTTP {status}")
    assert len(service.asked) == 1


def test_rate(serve: Any, load: Any, fake: FakeClock, tmp_path: Path, monkeypatch: Any) -> None:
    """Requests are at least a gap apart, retries among them, by a clock that only waiting moves."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    at: list[float] = []

    def answer(asked: Asked) -> Any:
        at.append(fake.at)
        return answers({}, 503) if asked.number == 2 else plain(asked)

    handle = load(serve(answer), rate=0.25, batch=10)
    handle.predict(X)
    assert len(at) > 10
    assert min(np.diff(at)) == pytest.approx(4.0)


def test_rate_is_kept_by_several_processes(tmp_path: Path) -> None:
    """Two paces with one file, as in two processes, and a file that cannot be."""
    time_ = FakeClock()
    booked: list[float] = []

    def sleep(seconds: float) -> None:
        booked.append(time_.at + seconds)

    clock = Clock(now=lambda: time_.at, wall=time.time, sleep=sleep)
    one, two = (Pace(2.0, tmp_path / "pace", clock) for _ in range(2))
    for _ in range(3):
        one.wait()
        two.wait()
    assert booked == [1000.5, 1001.0, 1001.5, 1002.0, 1002.5]
    booked.clear()
    for text in ("nan", "rubbish", "", "1e300", "inf"):
        (tmp_path / "pace").write_text(text)
        Pace(2.0, tmp_path / "pace", clock).wait()
    assert booked == []
    alone = Pace(2.0, tmp_path / "no" / "pace", clock)
    alone.wait()
    alone.wait()
    assert booked == [1000.5]


# -------------------------------------------------------------------------------- misbehaviour


def drip_body(asked: Asked) -> None:
    asked.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(5000):
        asked.raw(b" ")
        time.sleep(0.02)


def drip_headers(asked: Asked) -> None:
    asked.raw(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(5000):
        asked.raw(b"x")
        time.sleep(0.02)


def silence(asked: Asked) -> None:
    asked.handler.rfile.read(1)  # nothing more comes, so this ends when the client gives up


@pytest.mark.parametrize("answer", [drip_body, drip_headers, silence])
def test_time_is_limited(serve: Any, load: Any, refused: Any, answer: Any) -> None:
    """Each would go on for 100 seconds and more; the request ends when its time is over."""
    service = serve(answer)
    refused(lambda: load(service, timeout=0.15, retries=1), "within 0.15 s", "(2 tries)")
    assert len(service.asked) == 2


@pytest.fixture
def slow(load_model: Any, fake: FakeClock) -> Callable[..., ModelHandle]:
    """As `load`, where waiting for an answer takes its time and waiting between tries none."""
    clock = Clock(now=time.monotonic, wall=time.time, sleep=fake.sleep)

    def make(service: LocalService, **options: Any) -> ModelHandle:
        given = {"protocol": "plain", "schema": SCHEMA, "examples": X[:40], **options}
        handle: ModelHandle = load_model(HttpLoader(clock), None, url=service.url, **given)
        return handle

    return make


def test_a_service_that_is_not_there_is_given_up_at_once(
    serve: Any, slow: Any, refused: Any, fake: FakeClock
) -> None:
    service = serve(silence)
    refused(lambda: slow(service, timeout=0.2), "did not answer within 0.2 s",
            "given up while the model is loaded: first_contact = 0.2")  # fmt: skip
    assert (len(service.asked), fake.slept) == (1, [])
    # two tries fit, and the third has what is left
    service = serve(silence)
    refused(lambda: slow(service, timeout=0.2, first_contact=0.5), "first_contact = 0.5")
    assert len(service.asked) == 3
    service = serve(silence)
    refused(lambda: slow(service, timeout=5.0, first_contact=0.2), "did not answer within 0.2 s")
    assert len(service.asked) == 1
    # the second question of the first contact is not waited for any longer
    service = serve(lambda asked: plain(asked) if asked.number == 0 else silence(asked))
    refused(lambda: slow(service, timeout=0.2), "given up while the model is loaded")
    assert len(service.asked) == 2


def test_what_was_met_is_waited_for(serve: Any, slow: Any, refused: Any, fake: FakeClock) -> None:
    """While measuring, a try that came to nothing is repeated as `retries` says."""
    service = serve(plain)
    model = slow(service, timeout=5.0, first_contact=0.3)
    before = model.requests
    # the connection that was kept from the first contact has the whole time again
    service.answer = lambda asked: time.sleep(0.5) or plain(asked)
    assert model.predict(X[100:101]).tolist() == MODEL.predict(X[100:101]).tolist()
    assert model.requests == before + 1
    refusing = serve(plain)
    short = slow(refusing, timeout=0.2)
    met = len(refusing.asked)
    refusing.answer = silence
    refused(lambda: short.predict(X[100:101]), "did not answer within 0.2 s (4 tries)")
    assert len(refusing.asked) == met + 4


def test_a_busy_service_is_tried_again_at_the_first_contact(
    serve: Any, slow: Any, fake: FakeClock
) -> None:
    service = serve(lambda a: answers({}, 503, Retry_After="7") if a.number < 3 else plain(a))
    assert slow(service, timeout=2.0).predict(X[:1]).tolist() == [0]
    assert fake.slept == [7.0, 7.0, 7.0]


def cut_short(asked: Asked) -> None:
    asked.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[[0.1")


def cut_chunk(asked: Asked) -> None:
    asked.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n[[0.1")


def hang_up(asked: Asked) -> None:
    asked.handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (cut_short, "in the middle"),
        (cut_chunk, "in the middle"),
        (hang_up, "without an answer"),
    ],
)
def test_broken_connections_are_tried_again(
    serve: Any, load: Any, refused: Any, answer: Any, words: str
) -> None:
    service = serve(answer)
    refused(lambda: load(service), words, "(4 tries)")
    assert len(service.asked) == 4
    service = serve(lambda a: answer(a) if a.number < 2 else plain(a))
    assert load(service).predict(X[:1]).tolist() == [0]


def raw(data: bytes) -> Answer:
    return lambda asked: asked.raw(data)


def body(data: bytes | str, kind: str = "application/json", **headers: str) -> Answer:
    packed = data if isinstance(data, bytes) else data.encode()
    return lambda asked: (200, {"Content-Type": kind, **headers}, packed)


BOMB = gzip.compress(b" " * (64 << 20))
ROWS = json.dumps(P[:4].tolist())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (body("<html><b>Login</b></html>", "text/html; charset=utf-8"), ["text/html", "no JSON"]),
        (body(ROWS[:-5]), ["no JSON", "breaks off"]),
        (body(""), ["no JSON"]),
        (body(b"\xff\xfe\x00"), ["no JSON"]),
        (body("[" * 15_000), ["no JSON"]),
        (body("[[NaN, 0.5, 0.5]]"), ["NaN"]),
        (body("[[-Infinity, 0.5, 0.5]]"), ["-Infinity"]),
        (body("[[1e999, 0.5, 0.5], [0,0,1], [0,0,1], [0,0,1]]"), ["several ways"]),
        (body(f"[{'9' * 5000}]"), ["no JSON"]),
        (body(f"[{'9' * 500}, 1, 2, 3]"), ["int", "number"]),
        (body("[]"), ["shape (0,) for 4 inputs"]),
        (body("null"), ["nothing"]),
        (body("0.5"), ["shape ()"]),
        (body('"setosa"'), ["single str"]),
        (body("[[0.5, 0.5]]"), ["(1, 2) for 4 inputs"]),
        (body(json.dumps([[0.5, 0.5]] * 4)), ["2 scores", "3 classes"]),
        (body(json.dumps([["a", "b", "c"]] * 4)), ["several ways"]),
        (body(json.dumps([["a" * 1500]] * 4)), ["more than 1,000 characters"]),
        (body(json.dumps([[0.1, 0.2, 0.7], [1.0]] * 2)), ["unequal length"]),
        (body(json.dumps([[[0.1, 0.2, 0.7]]] * 4)), ["shape (4, 1, 3)"]),
        (body(json.dumps([[True, False, False]] * 4)), ["several ways"]),
        (body(json.dumps([[None, 0.5, 0.5]] * 4)), ["nulls"]),
        (body(json.dumps({"error": "cold"})), ["members error", "output_field"]),
        (body(json.dumps({"setosa": [1]})), ["members setosa", "output_field"]),
        (body(" " * 20_001, "application/json"), ["more than 20,000 bytes"]),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), ["more than 20,000"]),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n"
             + b" " * 1024 + b"\r\n" + (b"400\r\n" + b" " * 1024 + b"\r\n") * 29),
         ["more than 20,000"]),
        (body(BOMB[:16_000], Content_Encoding="gzip"), ["more than 20,000 bytes"]),
        (body(b"\x1f\x8b nonsense", Content_Encoding="gzip"), ["HTTP"]),
        (body(gzip.compress(b"[]" * 99)[:-6], Content_Encoding="gzip"), ["damaged gzip"]),
        (body(ROWS, Content_Encoding="br"), ["packing"]),
        (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), ["HTTP as it should"]),
        (raw(b"HTTP/1.1 two hundred\r\n\r\n"), ["HTTP as it should"]),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"), ["HTTP as it should"]),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"), ["HTTP as it should"]),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), []),
    ],
)  # fmt: skip
def test_nonsense(serve: Any, load: Any, refused: Any, answer: Answer, words: list[str]) -> None:
    def named(asked: Asked) -> Any:
        reply = answer(asked)
        if reply is None:
            return None
        status, headers, data = reply
        return status, {name.replace("_", "-"): v for name, v in headers.items()}, data

    refused(lambda: load(serve(named), response_limit=20_000, retries=0), *words)


def test_gzip_that_is_honest(serve: Any, load: Any) -> None:
    def answer(asked: Asked) -> Any:
        status, headers, data = plain(asked)
        packed = gzip.compress(data)
        return status, {**headers, "Content-Encoding": "gzip"}, packed

    np.testing.assert_allclose(load(serve(answer)).predict_proba(X), P, rtol=1e-14)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], ["no list 'outputs'"]),
        ({"outputs": 3}, ["no list 'outputs'"]),
        ({"outputs": []}, ["outputs none", "output_field"]),
        ({"outputs": [{"name": "a"}, {"name": "b"}]}, ["a, b", "output_field"]),
        ({"outputs": [{"name": "a", "shape": [4, 3]}]}, ["its data in JSON"]),
        ({"outputs": [{"shape": [4, -3], "data": []}]}, ["shape"]),
        ({"outputs": [{"shape": [4, True], "data": [1] * 4}]}, ["shape"]),
        ({"outputs": [{"shape": [2, 2, 3], "data": [1.0] * 12}]}, ["one or two sizes"]),
        ({"outputs": [{"shape": [4, 3], "data": [1.0] * 11}]}, ["[4, 3]", "11"]),
        ({"outputs": [{"shape": [10**18, 10**18], "data": []}]}, ["has 0 numbers"]),
        ({"outputs": [{"shape": [0, 10**18], "data": []}]}, ["for 4 inputs"]),
    ],
)
def test_tensors_that_are_none(
    serve: Any, load: Any, refused: Any, found: Any, words: list[str]
) -> None:
    refused(lambda: load(serve(lambda a: answers(found)), protocol="kserve-v2"), *words)


@pytest.mark.parametrize(
    ("found", "path", "words"),
    [
        ({"a": {"b": 1}}, "a.c", ["'a.c'", "there is b"]),
        ({"a": 5}, "a.b", ["'a.b'", "there is a number"]),
        ({"a": [1, 2]}, "a.b", ["items", "a number"]),
        ({"a": [[1]]}, "a.3", ["'a.3'", "list"]),
        ({}, "a", ["'a'", "nothing"]),
        ([], "a.0.b", ["shape (0,)"]),
    ],
)
def test_paths_that_lead_nowhere(
    serve: Any, load: Any, refused: Any, found: Any, path: str, words: list[str]
) -> None:
    refused(lambda: load(serve(lambda a: answers(found)), output_field=path), *words)


WORDS = st.sampled_from(["outputs", "predictions", "name", "shape", "data", "a", "0", "\n\x1b"])
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(
    answer=JSON | st.fixed_dictionaries({"outputs": st.lists(
        st.fixed_dictionaries({"shape": st.lists(st.integers(-1, 3)), "data": JSON}), max_size=2)}),
    protocol=st.sampled_from(["plain", "kserve-v1", "kserve-v2", "mlflow"]),
    field=st.sampled_from([None, "a", "predictions.0", "outputs.data.a"]),
)  # fmt: skip
def test_any_json_leads_somewhere_or_to_one_sentence(
    answer: Any, protocol: Any, field: str | None
) -> None:
    form = InputForm(where="m", shape=None, input=InputOptions(), dtype="float32")
    read = JsonProtocol(protocol, form, frame=False, input_field=None, output_field=field,
                        request={}, where="m")  # fmt: skip
    said = "m: "
    try:
        read.predictions(answer)
    except ModelError as error:
        said = str(error)
    assert said.isprintable()
    assert len(said) < 500
    assert said.startswith("m: ")


def test_nobody_there(load: Any, fake: FakeClock, refused: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    refused(lambda: load(f"http://127.0.0.1:{port}/"), "refuses the connection", "(4 tries)")
    assert fake.slept == [0.5, 1.0, 2.0]
    refused(
        lambda: load("http://nowhere.invalid/", retries=0), "nowhere.invalid", "cannot be looked up"
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(
    serve: Any, load: Any, refused: Any, status: int, monkeypatch: Any
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    other = serve(plain)
    service = serve(lambda a: answers({}, status, Location=other.url))
    refused(
        lambda: load(service, headers={"Authorization": "env:TOKEN"}),
        f"redirects to {other.url}", f"HTTP {status}", "not followed",
    )  # fmt: skip
    assert other.asked == []


def test_proxies_are_not_used(serve: Any, load: Any, monkeypatch: Any) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert load(serve(plain)).predict(X[:1]).tolist() == [0]


def test_a_kept_connection_that_the_server_closed(serve: Any, load: Any, fake: FakeClock) -> None:
    """That is no failure: the request is sent again at once, and no try is spent."""

    def answer(asked: Asked) -> Any:
        _, _, data = plain(asked)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n"
        asked.raw(head.encode() + data)  # and then the connection is closed, which it did not say

    handle = load(serve(answer), retries=0)
    handle.predict(X)
    assert fake.slept == []


# ------------------------------------------------------------------------------------- secrets


def test_secrets_are_sent_and_never_told(
    serve: Any, load: Any, refused: Any, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.setenv("TOKEN", f" {SECRET}\n")
    options = {
        "headers": {"Authorization": "Bearer env:TOKEN", "X-Api-Key": "env:TOKEN", "X-Team": "a b"}
    }
    service = serve(plain)
    caplog.set_level(logging.DEBUG)
    handle = load(service, **options)
    sent = service.asked[0].headers
    assert sent["Authorization"] == f"Bearer {SECRET}"
    assert (sent["X-Api-Key"], sent["X-Team"]) == (SECRET, "a b")
    told = f"{handle.facts} {handle.kind} {handle.digest} {vars(handle.__class__)}"
    assert handle.facts["header Authorization"] == "from the environment variable TOKEN"
    forms = {SECRET, json.dumps(SECRET)[1:-1], base64.b64encode(SECRET.encode()).decode(),
             "tok%22en", "471147114711"}  # fmt: skip
    assert not any(form in told for form in forms)
    # A service that repeats what it was sent, in every place that a sentence may quote.
    echoes: list[Answer] = [
        lambda a: answers({"you sent": a.headers["Authorization"]}, 401),
        lambda a: answers({"x" * 150: a.headers["Authorization"]}, 401),
        lambda a: (401, {}, f"{' ' * 100}{SECRET}".encode()),
        lambda a: (401, {}, base64.b64encode(SECRET.encode())),
        lambda a: answers({}, 307, Location=f"/login?k={SECRET}"),
        lambda a: answers({}, 503, X=SECRET),
        lambda a: (503, {}, SECRET.encode()),
        lambda a: answers([a.headers["X-Api-Key"]] * 4),
        lambda a: answers(["y" * 75 + a.headers["X-Api-Key"]] * 4),
        lambda a: answers({"y" * 55 + SECRET: 1}),
        lambda a: answers([{"y" * 55 + SECRET: 1}] * 4),
        lambda a: (200, {"Content-Type": SECRET}, b"{"),
        lambda a: (200, {"Content-Encoding": SECRET}, b"{"),
        lambda a: a.raw(f"HTTP/1.1 {SECRET}\r\n\r\n".encode()),
        lambda a: a.raw(f"{SECRET}\r\n\r\n".encode()),
    ]
    for echo in echoes:
        text = refused(lambda echo=echo: load(serve(echo), **options, retries=1))
        text += caplog.text
        assert not any(form in text for form in forms), text
        assert "tok" not in text, text


def test_a_mask_hides_every_form() -> None:
    mask = Mask(("Bearer abc/def+1", "x"))
    said = mask("abc/def+1 abc%2Fdef%2B1 Bearer abc/def+1; YWJjL2RlZisx")
    assert said == "*** *** ***; ***"
    assert Mask(())("text") == "text"
    assert Mask(("12345678",)).scrubbed(b"[0.12345678]") == b"[0.12345678]"
    assert Mask(("short",)).scrubbed(b'["short"]') == b'["short"]'
    assert Mask(("long enough",)).scrubbed(b'\xff["long enough"]') == b'\xff["***"]'


@pytest.mark.parametrize("value", [None, "", "  ", "a\nb: c", "caf\xe9"])
def test_secrets_that_cannot_be_sent(
    load: Any, refused: Any, monkeypatch: Any, value: str | None
) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("TOKEN", value)
    text = refused(lambda: load("http://127.0.0.1:9/", headers={"A": "env:TOKEN"}), "TOKEN")
    assert "caf" not in text
    assert "b: c" not in text


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"url": "file:///etc/passwd"}, "http://"),
        ({"url": "ftp://host/x"}, "http://"),
        ({"url": "localhost:80/x"}, "http://"),
        ({"url": "http:///x-y-z"}, "no host"),
        ({"url": "http://user:pw@host/"}, "recorded"),
        ({"url": "http://host:99999/"}, "no address"),
        ({"url": "http://host:0/"}, "port 0"),
        ({"url": "http://[::1/xyz"}, "no address"),
        ({"url": "http://host/a b"}, "spaces"),
        ({"url": "http://host/\r\nX: y"}, "spaces"),
        ({"url": "http://höst/"}, "percent"),
        ({"url": "http://a..b/x"}, "no host"),
        ({"url": "http://host/#part"}, "fragment"),
        ({"headers": {"Authorization": "Bearer hunter2"}}, "environment"),
        ({"headers": {"X-API-Key": "hunter2"}}, "environment"),
        ({"headers": {"X-Team": "my env:hunter2!"}}, "environment"),
        ({"headers": {"Host": "elsewhere"}}, "sets itself"),
        ({"headers": {"a b": "hunter2"}}, "no header"),
        ({"headers": {"X-A": "hunter2\n"}}, "no header"),
        ({"headers": {"X-A": "b", "x-a": "c"}}, "twice"),
        ({"url": "http://host/xy", "headers": {"A": "env:TOKEN"}}, "plain http"),
        ({"ca": "own.pem"}, "for https"),
        ({"protocol": "kserve-v1", "input_field": ""}, "bare list"),
        ({"request": {"inputs": 1}, "input_field": "inputs"}, "holds the inputs"),
        ({"request": {"a": float("nan")}}, "JSON"),
        ({"protocol": "grpc"}, "kserve-v1"),
        ({"timeout": 0}, "greater"),
        ({"timeout": float("nan")}, "timeout"),
        ({"rate": 0}, "greater"),
        ({"retries": -1}, "greater"),
        ({"response_limit": 10}, "greater"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word) as caught:
        HttpLoader.Options(**{"url": "http://127.0.0.1:9/", "protocol": "plain", **options})
    assert "hunter2" not in "".join(item["msg"] for item in caught.value.errors())


def test_where_secrets_may_go_unencrypted() -> None:
    common = {"protocol": "plain", "headers": {"A": "env:TOKEN"}}
    for url in ("https://host/", "http://localhost/", "http://[::1]:80/"):
        HttpLoader.Options(**common, url=url)
    HttpLoader.Options(**common, url="http://host/", unencrypted=True)


def test_a_path_is_refused(load_model: Any, tmp_path: Path, refused: Any) -> None:
    file = tmp_path / "m.bin"
    file.write_bytes(b"x")
    refused(
        lambda: load_model(HttpLoader(), file, url="http://127.0.0.1:9/", protocol="plain"),
        "leave path out",
    )


# ----------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of an authority of its own for 127.0.0.1, with its key beside it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=local",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem"


def test_tls(serve: Any, load: Any, refused: Any, certificate: Path, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    service = serve(plain, context=context)
    (tmp_path / "own.pem").write_bytes(certificate.read_bytes())
    handle = load(service, ca="own.pem")
    assert handle.facts["transport"] == "TLS"
    np.testing.assert_array_equal(handle.predict(X), MODEL.predict(X))
    # Not without that file, not under another name, not where nobody speaks TLS.
    refused(lambda: load(service), "not trusted", "ca = ")
    elsewhere = service.url.replace("127.0.0.1", "localhost")
    refused(lambda: load(elsewhere, ca="own.pem"), "not trusted")
    refused(lambda: load(serve(plain).url.replace("http:", "https:"), retries=0), "TLS")
    refused(lambda: load(service, ca="none.pem"), "none.pem", "No such file")
    (tmp_path / "bad.pem").write_text("nothing")
    refused(lambda: load(service, ca="bad.pem"), "bad.pem", "PEM")
