"""Requests that wait while a model is busy are labelled together, by length.

As soon as the model is free it takes what has waited longest, under a budget of sub-words, so that
nothing waits for others while the model idles. Ray Serve's own `serve.batch` goes on to cut what
comes in into batches of a few milliseconds while the model is busy, and puts a request that does
not fit behind all others.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from xlt_ray.data.keyed import items_of
from xlt_ray.data.readers.rows import Text
from xlt_ray.engine.labeller import Prediction

PASSES = 4
"""Forward passes that a round is good for: so much text sorts well by length, and an answer does
not wait for more."""


class Labels(Protocol):
    """What labels texts, as `xlt_ray.engine.labeller.Labeller` does."""

    def tokens(self, texts: Sequence[Text]) -> pa.Table:
        """Texts as sub-words."""
        ...

    def label(self, texts: Sequence[Text], tokens: pa.Table) -> list[Prediction]:
        """What is said of each."""
        ...


@dataclass(frozen=True)
class Round:
    """What was labelled together.

    Attributes:
        requests: How many requests.
        rows: How many rows of them.
        tokens: Sub-words of these.
        seconds: How long the model was at it.
    """

    requests: int
    rows: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Answer:
    """What is said of the texts of a request.

    Attributes:
        predictions: One of each text.
        rounds: The rounds that are told with this request: each is told once.
    """

    predictions: list[Prediction]
    rounds: tuple[Round, ...] = ()


@dataclass(frozen=True, eq=False)
class _Waiting:
    texts: Sequence[Text]
    tokens: pa.Table
    size: int
    answer: "asyncio.Future[Answer]"


class Gatherer:
    """A model, and the requests that wait for it; belongs to one event loop.

    The model is loaded and called by one thread, the tokenizer by another.
    """

    def __init__(self, make: Callable[[], Labels], *, budget: int):
        """Load the model.

        Args:
            make: Loads it.
            budget: Sub-words of a round; a request that has more is a round by itself.
        """
        self._budget = budget
        self._reader, self._model = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._labels = self._model.submit(make).result()
        self._waiting = deque[_Waiting]()
        self._work: asyncio.Task[None] | None = None

    async def answer(self, texts: Sequence[Text]) -> Answer:
        """Label the texts of a request, together with those of others.

        Raises:
            ValueError: the outputs of the model are not finite; of these texts, labelled alone.
        """
        loop = asyncio.get_running_loop()
        tokens = await loop.run_in_executor(self._reader, self._labels.tokens, texts)
        size = len(items_of(tokens["pieces"])[0])
        waiting = _Waiting(texts, tokens, size, loop.create_future())
        self._waiting.append(waiting)
        if self._work is None or self._work.done():
            self._work = loop.create_task(self._rounds())
        return await waiting.answer

    async def _rounds(self) -> None:
        while chosen := self._next():
            try:
                done = await self._together(chosen)
            except Exception as error:  # one of several may be at fault: each alone
                done = [error] if len(chosen) == 1 else [await self._alone(x) for x in chosen]
            for waiting, found in zip(chosen, done, strict=True):
                if waiting.answer.done():  # whoever asked has gone
                    continue
                if isinstance(found, Exception):
                    waiting.answer.set_exception(found)
                else:
                    waiting.answer.set_result(found)

    def _next(self) -> list[_Waiting]:
        """Those that have waited longest, as many as a round has room for."""
        chosen, total = list[_Waiting](), 0
        while self._waiting:
            if self._waiting[0].answer.done():
                self._waiting.popleft()
                continue
            total += self._waiting[0].size
            if chosen and total > self._budget:
                break
            chosen.append(self._waiting.popleft())
        return chosen

    async def _alone(self, waiting: _Waiting) -> Answer | Exception:
        try:
            return (await self._together([waiting]))[0]
        except Exception as error:
            return error

    async def _together(self, chosen: Sequence[_Waiting]) -> list[Answer | Exception]:
        texts = [text for waiting in chosen for text in waiting.texts]
        tokens = pa.concat_tables([waiting.tokens for waiting in chosen])
        loop, began = asyncio.get_running_loop(), time.perf_counter()
        found = await loop.run_in_executor(self._model, self._labels.label, texts, tokens)
        seconds = time.perf_counter() - began
        size = sum(waiting.size for waiting in chosen)
        told = (Round(len(chosen), len(texts), size, seconds),)
        answers, start = list[Any](), 0
        for number, waiting in enumerate(chosen):
            part = found[start : start + len(waiting.texts)]
            answers.append(Answer(part, told if number == 0 else ()))
            start += len(waiting.texts)
        return answers
