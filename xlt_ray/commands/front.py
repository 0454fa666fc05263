"""The door of a service: tokens, limits, routes and counts, over whatever labels texts.

    POST /predict   {"texts": [...]} -> {"predictions": [...]}
    GET  /metrics   counts for Prometheus
    GET  /health    whether a replica is up; needs no token

It is in front of Ray Serve rather than one of its proxies. Those answer some paths themselves,
whoever asks, and tell callers what a replica that failed says.
"""

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xlt_ray.commands.requests import Refusal, answer_of, texts_of
from xlt_ray.data.readers.rows import Text
from xlt_ray.data.readers.words import Cut
from xlt_ray.data.schema import Task

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from xlt_ray.engine.gather import Answer, Round
    from xlt_ray.engine.labeller import Prediction

PREDICT, METRICS, HEALTH = "/predict", "/metrics", "/health"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
TOKENS = tuple(2**n for n in range(5, 18))
"""Upper bounds of the parts of histograms."""


class LabellingError(Exception):
    """The model failed on some texts; says why, for the log of the service."""


@dataclass(frozen=True)
class Limits:
    """What a caller may ask for.

    Attributes:
        max_bytes: Bytes of a request at most.
        max_rows: Rows of a request at most.
        queue: Requests at a time at most.
        timeout: Seconds that a request may take.
    """

    max_bytes: int
    max_rows: int
    queue: int
    timeout: float


class Counts:
    """What Prometheus is told."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "xlt_requests", "Requests by path and status.", ("path", "status"), registry=registry
        )
        self.rows = Counter("xlt_rows", "Rows that were labelled.", registry=registry)
        self.seconds = Histogram(
            "xlt_request_seconds", "Seconds from a request to its predictions.",
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "xlt_requests_at_once", "Requests that are being answered.", registry=registry
        )
        self.batch_rows = Histogram(
            "xlt_batch_rows", "Rows that were labelled together.", buckets=ROWS, registry=registry
        )
        self.batch_tokens = Histogram(
            "xlt_batch_tokens", "Sub-words that were labelled together.",
            buckets=TOKENS, registry=registry,
        )  # fmt: skip
        self.batch_seconds = Histogram(
            "xlt_batch_seconds", "Seconds of the model over them.",
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.again = Counter(
            "xlt_retries", "Requests that were sent to another replica.", registry=registry
        )

    def answered(self, rows: int, rounds: "Sequence[Round]", seconds: float) -> None:
        """A request got its predictions."""
        self.rows.inc(rows)
        self.seconds.observe(seconds)
        for done in rounds:
            self.batch_rows.observe(done.rows)
            self.batch_tokens.observe(done.tokens)
            self.batch_seconds.observe(done.seconds)


class Front:
    """The door of one service."""

    def __init__(
        self,
        *,
        task: Task,
        words: Cut,
        limits: Limits,
        token: str,
        ask: "Callable[[Sequence[Text]], Awaitable[Answer]]",
        replicas: Callable[[], Awaitable[int]],
        counts: Counts,
        log: Callable[[str], object],
    ):
        """Open it.

        Args:
            task: Kind of task.
            words: Where the words of strings end, unless a request says so.
            limits: What a caller may ask for.
            token: What a caller has to know.
            ask: Labels texts; raises LabellingError where the model fails.
            replicas: How many of them are up.
            counts: What Prometheus is told.
            log: Is told why the model failed.
        """
        self._task: Task = task
        self._words: Cut = words
        self._limits, self._ask, self._replicas = limits, ask, replicas
        self._secret = token.encode("ascii")
        self._log, self._counts = log, counts
        self._busy = 0

    def app(self) -> "ASGIApp":
        """The application, for any ASGI server."""
        from starlette.applications import Starlette
        from starlette.exceptions import HTTPException
        from starlette.routing import Route

        routes = [
            Route(PREDICT, self._predict, methods=["POST"]),
            Route(METRICS, self._metrics, methods=["GET"]),
            Route(HEALTH, self._health, methods=["GET"]),
        ]
        handlers: Any = {Refusal: _refused, HTTPException: _not_ours, Exception: _failed}
        inner = Starlette(routes=routes, exception_handlers=handlers)
        return _Door(inner, self._is_known, self._counts)

    def _is_known(self, scope: "Scope") -> bool:
        """Whether a caller may come in."""
        if scope["path"] == HEALTH:
            return True
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        kind, _, secret = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        return kind.lower() == b"bearer" and hmac.compare_digest(secret.strip(), self._secret)

    async def _predict(self, request: "Request") -> "Response":
        began = time.perf_counter()
        if self._busy >= self._limits.queue:
            raise Refusal(503, f"the queue is full: serve.queue={self._limits.queue} requests")
        self._busy += 1
        self._counts.waiting.set(self._busy)
        try:
            predictions, rounds = await self._answer(request)
        finally:
            self._busy -= 1
            self._counts.waiting.set(self._busy)
        self._counts.answered(len(predictions), rounds, time.perf_counter() - began)
        return _json(answer_of(predictions))

    async def _answer(self, request: "Request") -> "tuple[Sequence[Prediction], Sequence[Round]]":
        limits = self._limits
        until = asyncio.get_running_loop().time() + limits.timeout
        try:
            async with asyncio.timeout_at(until):
                body = await self._body(request)
        except TimeoutError:
            raise Refusal(
                408, f"the body took longer than serve.timeout={limits.timeout:g} s"
            ) from None
        texts = texts_of(body, self._task, words=self._words, max_rows=limits.max_rows)
        if not texts:
            return (), ()
        try:
            async with asyncio.timeout_at(until):
                answer = await self._ask(texts)
        except TimeoutError:
            raise Refusal(503, f"no answer within serve.timeout={limits.timeout:g} s") from None
        except LabellingError as error:
            self._log(f"failed: {error}")
            raise Refusal(500, "the model failed; the log of the service says why") from None
        return answer.predictions, answer.rounds

    async def _body(self, request: "Request") -> bytes:
        from starlette.requests import ClientDisconnect

        most = self._limits.max_bytes
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told) > most:
            raise Refusal(413, f"the body has {told} bytes, serve.max_bytes={most} at most")
        found = bytearray()
        try:
            async for part in request.stream():
                found += part
                if len(found) > most:
                    raise Refusal(413, f"the body has more than serve.max_bytes={most} bytes")
        except ClientDisconnect:
            raise Refusal(400, "the body ended early") from None
        return bytes(found)

    async def _health(self, request: "Request") -> "Response":
        up = await self._replicas()
        return _json({"status": "ok" if up else "no replica is up"}, 200 if up else 503)

    async def _metrics(self, request: "Request") -> "Response":
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
        from starlette.responses import Response

        found = generate_latest(self._counts.registry)
        return Response(found, headers={"content-type": CONTENT_TYPE_LATEST})


@dataclass(frozen=True)
class _Door:
    """Lets in who knows the token, before anything else is looked at, and counts all."""

    inner: "ASGIApp"
    is_known: Callable[["Scope"], bool]
    counts: Counts

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request."""
        if scope["type"] != "http":  # nothing else is served
            return
        path = scope["path"] if scope["path"] in (PREDICT, METRICS, HEALTH) else "other"

        async def counted(message: "Message") -> None:
            if message["type"] == "http.response.start":
                self.counts.requests.labels(path, str(message["status"])).inc()
            await send(message)

        app: ASGIApp = self.inner
        if not self.is_known(scope):
            app = _json(
                {"error": "the token is missing or wrong: Authorization: Bearer TOKEN"}, 401
            )
        await app(scope, receive, counted)


_MORE = {401: {"www-authenticate": "Bearer"}, 503: {"retry-after": "1"}}
"""Headers that a status asks for."""


def _json(content: Any, status: int = 200) -> "Response":
    from starlette.responses import Response

    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(body, status, _MORE.get(status), "application/json")


async def _refused(request: "Request", error: Refusal) -> "Response":
    return _json({"error": error.message}, error.status)


async def _not_ours(request: "Request", error: Any) -> "Response":
    """What is no route, or is called by another method."""
    there = f"POST {PREDICT}, GET {METRICS}, GET {HEALTH}"
    found = _json({"error": f"{error.detail}; there are: {there}"}, error.status_code)
    found.headers.update(error.headers or {})
    return found


async def _failed(request: "Request", error: Exception) -> "Response":
    return _json({"error": "an error of the service; its log says more"}, 500)
