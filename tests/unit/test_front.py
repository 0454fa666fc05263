"""The door of a service: tokens, limits and counts; what labels texts here is made up."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import pytest

from xlt_ray.commands.front import Counts, Front, LabellingError, Limits
from xlt_ray.data.readers.rows import Text
from xlt_ray.engine.gather import Answer, Round
from xlt_ray.engine.labeller import Prediction

TOKEN = "a-token-of-more-than-16"
KNOWN = {"authorization": f"Bearer {TOKEN}"}
Ask = Callable[[Sequence[Text]], Awaitable[Answer]]


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def length(texts: Sequence[Text]) -> Answer:
    """Says of each text how long it is."""
    said = [Prediction(text.text or "", str(len(text.text or "")), 1.0) for text in texts]
    return Answer(said, (Round(1, len(texts), 7, 0.25),))


class Service:
    """A door, called as an ASGI server does."""

    def __init__(self, ask: Ask = length, *, up: int = 1, **limits: Any):
        async def replicas() -> int:
            return up

        self.logged = list[str]()
        given: dict[str, Any] = {
            "max_bytes": 200,
            "max_rows": 4,
            "queue": 2,
            "timeout": 5.0,
            **limits,
        }
        self.app = Front(
            task="sentence", words="marks", limits=Limits(**given), token=TOKEN, ask=ask,
            replicas=replicas, counts=Counts(), log=self.logged.append,
        ).app()  # fmt: skip

    async def call(
        self,
        method: str,
        path: str,
        parts: Sequence[bytes] = (),
        headers: dict[str, str] = KNOWN,
        *,
        ends: bool = True,
    ) -> Reply:
        sent = list[dict[str, Any]]()
        incoming = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        if ends:
            incoming.append({"type": "http.request", "body": b"", "more_body": False})
        coming = iter(incoming)

        async def receive() -> Any:
            for message in coming:
                return message
            await asyncio.sleep(60)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": b"", "http_version": "1.1", "scheme": "http", "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        await self.app(scope, receive, send)
        got = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], got, b"".join(x.get("body", b"") for x in sent[1:]))

    async def predict(self, asked: Any, **more: Any) -> Reply:
        return await self.call("POST", "/predict", [json.dumps(asked).encode()], **more)


def predict(service: Service, asked: Any, **more: Any) -> Reply:
    return asyncio.run(service.predict(asked, **more))


def test_texts_are_answered_in_their_order() -> None:
    reply = predict(Service(), {"texts": ["good", "bad", "größer"]})
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    found = reply.json["predictions"]
    assert [(x["text"], x["label"]) for x in found] == [
        ("good", "4"),
        ("bad", "3"),
        ("größer", "6"),
    ]
    assert predict(Service(), {"texts": []}).json == {"predictions": []}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer another-token-of-16"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer größer-als-sechzehn"},
        {"x-token": TOKEN},
    ],
)
def test_nothing_is_said_without_the_token(headers: dict[str, str]) -> None:
    async def fail(texts: Sequence[Text]) -> Answer:
        raise AssertionError

    service = Service(fail)
    for method, path in (("POST", "/predict"), ("GET", "/metrics"), ("GET", "/nothing")):
        reply = asyncio.run(service.call(method, path, [b"{"], headers))
        assert reply.status == 401
        assert reply.headers["www-authenticate"] == "Bearer"
        assert "the token is missing or wrong" in reply.json["error"]


def test_health_needs_no_token() -> None:
    assert asyncio.run(Service().call("GET", "/health", headers={})).json == {"status": "ok"}
    reply = asyncio.run(Service(up=0).call("GET", "/health", headers={}))
    assert (reply.status, reply.json) == (503, {"status": "no replica is up"})


def test_a_request_that_is_too_large_is_not_read_to_its_end() -> None:
    told = {**KNOWN, "content-length": "201"}
    reply = asyncio.run(Service().call("POST", "/predict", headers=told, ends=False))
    assert (reply.status, reply.json["error"]) == (
        413, "the body has 201 bytes, serve.max_bytes=200 at most"
    )  # fmt: skip
    reply = asyncio.run(Service().call("POST", "/predict", [b" " * 150] * 2, ends=False))
    assert (reply.status, reply.json["error"]) == (
        413, "the body has more than serve.max_bytes=200 bytes"
    )  # fmt: skip
    assert predict(Service(), {"texts": ["a"] * 5}).status == 413


def test_a_malformed_request_is_told_what_is_wrong() -> None:
    reply = predict(Service(), {"texts": ["a", 5]})
    assert (reply.status, reply.json["error"]) == (
        422, "texts[1]: 5 is no row of a sentence task; allowed: a text, or text"
    )  # fmt: skip
    assert asyncio.run(Service().call("POST", "/predict", [b"x"])).status == 400


def test_what_is_no_route_names_those_that_are() -> None:
    there = "there are: POST /predict, GET /metrics, GET /health"
    for method, path, status in (("GET", "/predict", 405), ("GET", "/nothing", 404)):
        reply = asyncio.run(Service().call(method, path))
        assert reply.status == status
        assert there in reply.json["error"]


def test_a_full_queue_is_told_with_its_limit_and_empties() -> None:
    async def run() -> tuple[list[Reply], Reply]:
        gate = asyncio.Event()

        async def held(texts: Sequence[Text]) -> Answer:
            await gate.wait()
            return await length(texts)

        service = Service(held)
        calls = [asyncio.create_task(service.predict({"texts": ["a"]})) for _ in range(3)]
        await asyncio.sleep(0.05)
        gate.set()
        return await asyncio.gather(*calls), await service.predict({"texts": ["b"]})

    replies, later = asyncio.run(run())
    assert [reply.status for reply in replies] == [200, 200, 503]
    assert replies[2].json["error"] == "the queue is full: serve.queue=2 requests"
    assert replies[2].headers["retry-after"] == "1"
    assert later.status == 200


def test_nobody_waits_for_ever() -> None:
    async def never(texts: Sequence[Text]) -> Answer:
        await asyncio.sleep(60)
        raise AssertionError

    reply = predict(Service(never, timeout=0.1), {"texts": ["a"]})
    assert (reply.status, reply.json["error"]) == (503, "no answer within serve.timeout=0.1 s")
    service = Service(timeout=0.1)
    reply = asyncio.run(service.call("POST", "/predict", [b"{"], ends=False))
    assert reply.status == 408


def test_a_model_that_fails_is_for_the_log() -> None:
    async def failing(texts: Sequence[Text]) -> Answer:
        raise LabellingError("ValueError: the model's outputs are not finite")

    service = Service(failing)
    reply = predict(service, {"texts": ["a"]})
    assert (reply.status, reply.json["error"]) == (
        500, "the model failed; the log of the service says why"
    )  # fmt: skip
    assert service.logged == ["failed: ValueError: the model's outputs are not finite"]


def test_prometheus_is_told_of_requests_rows_and_batches() -> None:
    async def run() -> str:
        service = Service()
        for texts in (["a", "b"], ["c"], 5):
            await service.predict({"texts": texts})
        await service.predict({"texts": ["a"]}, headers={})
        await service.call("GET", "/other/path")
        reply = await service.call("GET", "/metrics")
        assert reply.headers["content-type"].startswith("text/plain; version=")
        return reply.body.decode()

    lines = asyncio.run(run()).splitlines()
    expected = {
        'xlt_requests_total{path="/predict",status="200"} 2.0',
        'xlt_requests_total{path="/predict",status="422"} 1.0',
        'xlt_requests_total{path="/predict",status="401"} 1.0',
        'xlt_requests_total{path="other",status="404"} 1.0',
        "xlt_rows_total 3.0",
        "xlt_request_seconds_count 2.0",
        'xlt_batch_rows_bucket{le="1.0"} 1.0',
        'xlt_batch_rows_bucket{le="2.0"} 2.0',
        "xlt_batch_tokens_sum 14.0",
        "xlt_batch_seconds_sum 0.5",
        "xlt_requests_at_once 0.0",
        "xlt_retries_total 0.0",
    }
    assert expected <= set(lines)
