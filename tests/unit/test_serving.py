"""How replicas are asked, and what becomes of an answer that does not come; Serve is made up."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, OwnerDiedError, RayTaskError, TaskCancelledError

from xlt_ray.data.readers.rows import Text
from xlt_ray.engine import serving
from xlt_ray.engine.gather import Answer
from xlt_ray.engine.serving import Replicas

ANSWER = Answer([])
Response = Callable[[], Awaitable[Answer]]


class Failed(Exception):
    pass


class Handle:
    """Serve's handle: the responses one after another, and which of them were cancelled."""

    def __init__(self, *responses: Any):
        self.responses, self.cancelled = list(responses), 0

    def remote(self, texts: Sequence[Text]) -> Any:
        handle, response = self, self.responses.pop(0)

        class Asked:
            def __await__(self) -> Any:
                if isinstance(response, BaseException):
                    raise response
                if response is None:
                    yield from asyncio.sleep(60).__await__()
                return response

            def cancel(self) -> None:
                handle.cancelled += 1

        return Asked()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_PAUSE", 0.0)


@pytest.fixture(autouse=True, scope="module")
def serve_is_imported() -> None:
    """It warns as it is imported, of what it does with pydantic."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray.serve.exceptions  # noqa: F401


def ask(handle: Handle, timeout: float = 5.0) -> tuple[Answer, int]:
    """The answer, and how often another replica was asked."""
    again = list[int]()

    async def run() -> Answer:
        async with asyncio.timeout(timeout):
            return await Replicas("x", handle).ask(
                [Text(text="a")], lambda: again.append(1), Failed
            )

    return asyncio.run(run()), len(again)


@pytest.mark.slow
@pytest.mark.parametrize(
    "lost",
    [
        ActorDiedError(),
        OwnerDiedError("00" * 28, None, ""),
        TaskCancelledError(),
        asyncio.CancelledError(),  # by Serve, and not by whoever asks
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_replica_was_at_is_asked_of_another_one(lost: BaseException) -> None:
    assert ask(Handle(lost, lost, ANSWER)) == (ANSWER, 2)


@pytest.mark.slow
def test_a_model_that_fails_is_not_asked_again() -> None:
    error = RayTaskError("label", "a\nlong\ntrace", ValueError("first\nnot finite"))
    for raised in (error, error.as_instanceof_cause()):
        with pytest.raises(Failed, match=r"^ValueError: not finite$"):
            ask(Handle(raised))


def test_whoever_gives_up_has_the_replica_give_up() -> None:
    handle = Handle(None)
    with pytest.raises(TimeoutError):
        ask(handle, timeout=0.05)
    assert handle.cancelled == 1
