"""A tiny model behind HTTP, on a Ray that runs already: many callers, bad ones, killed replicas."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from ray.util import list_named_actors

import xlt_ray
from tests.encoders import write_tagger
from xlt_ray.data.benchmarks.toy import LANGUAGES, unlabelled_text

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
CALLERS, QUEUE = 60, 80
"""How many call at once, and how many requests the service takes at a time."""
START = 240.0
"""Seconds that a service may take to start, on a machine that is busy."""


@dataclass(frozen=True)
class Service:
    """A service that runs in a process of its own."""

    process: subprocess.Popen[str]
    place: str
    token: str
    folder: Path

    def call(self, path: str, asked: Any = None, token: str | None = "") -> tuple[int, Any]:
        """Status and content of one answer, by the standard library."""
        body = None if asked is None else json.dumps(asked).encode()
        request = urllib.request.Request(f"{self.place}{path}", body)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token or self.token}")
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                status, content = reply.status, reply.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        assert b"Traceback" not in content
        assert content is not None
        return status, content.decode() if path == "/metrics" else json.loads(content)

    def count(self, name: str) -> float:
        """A number that Prometheus is told."""
        lines = self.call("/metrics")[1].splitlines()
        (value,) = (line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} "))
        return float(value)

    async def at_once(self, requests: Sequence[Any]) -> list[tuple[int, Any]]:
        """Answers to requests that are all sent at once, each on a connection of its own."""
        headers = {"Authorization": f"Bearer {self.token}"}
        timeout = aiohttp.ClientTimeout(total=120)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            headers=headers, timeout=timeout, connector=connector
        ) as session:

            async def one(asked: Any) -> tuple[int, Any]:
                async with session.post(f"{self.place}/predict", json=asked) as reply:
                    return reply.status, await reply.json()

            return await asyncio.gather(*map(one, requests))

    def replicas(self) -> list[psutil.Process]:
        """Processes of its replicas."""
        (folder,) = (self.folder.parent / "store/runs").iterdir()
        name = f"ServeReplica:{folder.name}:"
        return [
            x for x in psutil.process_iter(["cmdline"]) if name in " ".join(x.info["cmdline"] or ())
        ]


@pytest.fixture(scope="module")
def service(ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("serve")
    folder = write_tagger(root, LABELS)
    env = {**os.environ, "XDG_CONFIG_HOME": str(root / "config"), "RAY_ADDRESS": ray_cluster}
    env.pop("XLT_SERVE_TOKEN", None)
    keys = {"serve.port": 0, "serve.replicas": 2, "serve.max_bytes": 20_000, "serve.queue": QUEUE,
            "store.root": root / "store"}  # fmt: skip
    sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    with (root / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "xlt_ray.commands.main", "serve", str(folder), *sets],
            env=env, stdout=log, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    try:
        yield started(process, root, folder)
    finally:
        process.terminate()
        process.wait(60)


def started(process: "subprocess.Popen[str]", root: Path, folder: Path) -> Service:
    until = time.monotonic() + START
    while "curl" not in (told := (root / "log").read_text()):
        assert process.poll() is None, told
        assert time.monotonic() < until, told
        time.sleep(0.2)
    (line,) = (line for line in told.splitlines() if line.startswith("serving "))
    place = line.partition(" at ")[2].partition(";")[0]
    path = root / "config/xlt_ray/serve-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() not in told
    return Service(process, place, path.read_text(), folder)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    words = [words for language in LANGUAGES for words in unlabelled_text(language, size=20)]
    return [" ".join(sentence) for sentence in words[:CALLERS]]


@pytest.fixture(scope="module")
def expected(service: Service, texts: list[str]) -> list[dict[str, Any]]:
    """What the model says of each text in one process."""
    return [as_json(found) for found in xlt_ray.load(str(service.folder)).predict(texts)]


def as_json(found: xlt_ray.Prediction) -> dict[str, Any]:
    """A prediction of words as the service writes it."""
    spans = [
        {"label": x.label, "start": x.start, "end": x.end, "text": x.text,
         "confidence": x.confidence}
        for x in found.spans
    ]  # fmt: skip
    return {
        "text": found.text, "confidence": found.confidence, "words": list(found.words),
        "labels": list(found.labels), "confidences": list(found.confidences), "spans": spans,
    }  # fmt: skip


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Equal but for rounding: with other texts in its batch a text is padded to another length."""
    numbers = ("confidence", "confidences", "spans")
    if any(found[name] != expected[name] for name in expected.keys() - set(numbers)):
        return False
    rest = [{**x, "confidence": 0} for x in found["spans"]]
    if rest != [{**x, "confidence": 0} for x in expected["spans"]]:
        return False
    sure = [[x["confidence"], *x["confidences"], *(y["confidence"] for y in x["spans"])]
            for x in (found, expected)]  # fmt: skip
    return sure[0] == pytest.approx(sure[1], abs=1e-5)


def test_many_callers_get_what_predict_says(
    service: Service, texts: list[str], expected: list[dict[str, Any]]
) -> None:
    assert len({tuple(x["labels"]) for x in expected}) > CALLERS // 2
    assert any(x["spans"] for x in expected)
    found = asyncio.run(service.at_once([{"texts": [text]} for text in texts]))
    assert [status for status, _ in found] == [200] * CALLERS
    for (_, answer), known in zip(found, expected, strict=True):
        (said,) = answer["predictions"]
        assert same(said, known), (said, known)
    assert service.count("xlt_rows_total") == service.count("xlt_batch_rows_sum") == CALLERS
    assert service.count("xlt_batch_rows_count") < CALLERS // 2  # they were labelled together
    assert service.count('xlt_requests_total{path="/predict",status="200"}') == CALLERS


def test_entities_are_places_in_the_text_as_given(service: Service, texts: list[str]) -> None:
    asked = [f"  «{text}»\t{text}." for text in texts[:20]]
    status, answer = service.call("/predict", {"texts": asked})
    assert status == 200
    spans = [(text, x) for text, found in zip(asked, answer["predictions"], strict=True)
             for x in found["spans"]]  # fmt: skip
    assert spans
    for text, span in spans:
        assert text[span["start"] : span["end"]] == span["text"]
        assert 0 <= span["confidence"] <= 1
    status, answer = service.call("/predict", {"texts": [["In", "Ulm."]], "words": "blanks"})
    assert (status, answer["predictions"][0]["words"]) == (200, ["In", "Ulm."])


def test_bad_callers_are_told_why(service: Service) -> None:
    assert service.call("/health", token=None) == (200, {"status": "ok"})
    for token in (None, "another-token-of-16"):
        status, answer = service.call("/predict", {"texts": ["a"]}, token=token)
        assert (status, list(answer)) == (401, ["error"])
        assert service.call("/health", token=token)[0] == 200
    status, answer = service.call("/predict", {"texts": ["a" * 30_000]})
    assert status == 413
    assert "serve.max_bytes=20000" in answer["error"]
    status, answer = service.call("/predict", {"texts": ["a", {"tokens": "b"}]})
    assert (status, answer["error"]) == (422, "texts[1]: tokens 'b' is not a list of strings")
    assert service.call("/predict", {"text": "a"})[0] == 422


def test_beyond_the_queue_callers_are_told_its_limit(service: Service, texts: list[str]) -> None:
    found = asyncio.run(service.at_once([{"texts": texts[:30]}] * (QUEUE + 20)))
    statuses = [status for status, _ in found]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= QUEUE
    told = {answer["error"] for status, answer in found if status == 503}
    assert told == {f"the queue is full: serve.queue={QUEUE} requests"}


@pytest.mark.parametrize("number", [2, pytest.param(1, marks=pytest.mark.long)])
def test_a_killed_replica_loses_nobody(
    service: Service, texts: list[str], expected: list[dict[str, Any]], number: int
) -> None:
    """All are killed while callers wait, or one of two."""

    async def killed() -> list[tuple[int, Any]]:
        calls = asyncio.create_task(service.at_once([{"texts": texts}] * CALLERS))
        while await asyncio.to_thread(service.count, "xlt_requests_at_once") < CALLERS // 2:
            assert not calls.done()
            await asyncio.sleep(0.01)
        for process in service.replicas()[:number]:
            os.kill(process.pid, signal.SIGKILL)
        return await calls

    before = service.count("xlt_retries_total")
    found = asyncio.run(killed())
    assert {status for status, _ in found} <= {200, 503}
    for status, answer in found:
        if status == 200:
            assert all(map(same, answer["predictions"], expected))
    until = time.monotonic() + START
    while len(service.replicas()) < 2 or service.call("/health")[0] != 200:
        assert time.monotonic() < until
        time.sleep(0.5)
    status, answer = service.call("/predict", {"texts": texts[:1]})
    assert status == 200
    assert same(answer["predictions"][0], expected[0])
    assert service.count("xlt_retries_total") > before  # the kill came in time


def test_it_stops_with_all_that_it_began(service: Service) -> None:
    """On a cluster of others its replicas and its Serve go, and the cluster stays."""
    replicas = service.replicas()
    assert replicas
    service.process.terminate()
    log = service.folder.parent / "log"
    assert service.process.wait(60) == 0, log.read_text()
    told = log.read_text()
    assert told.splitlines()[-1] == "stopping"
    assert "Traceback" not in told
    assert psutil.wait_procs(replicas, timeout=30)[1] == []
    assert not [x for x in list_named_actors(all_namespaces=True) if "SERVE" in str(x)]
