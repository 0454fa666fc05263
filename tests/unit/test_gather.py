"""Requests that wait for a model are labelled together; the model here counts letters."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from xlt_ray.data.readers.rows import Text
from xlt_ray.engine.gather import Answer, Gatherer
from xlt_ray.engine.labeller import Prediction


class Letters:
    """Labels a text by itself; a letter is a sub-word. Waits while its gate is closed."""

    def __init__(self) -> None:
        self.gate, self.busy = threading.Event(), threading.Event()
        self.gate.set()
        self.rounds = list[list[str]]()

    def tokens(self, texts: Sequence[Text]) -> pa.Table:
        return pa.table({"pieces": [[1] * len(text.text or "") for text in texts]})

    def label(self, texts: Sequence[Text], tokens: pa.Table) -> list[Prediction]:
        self.busy.set()
        assert self.gate.wait(60)
        said = [text.text or "" for text in texts]
        assert [len(x) for x in tokens["pieces"].to_pylist()] == [len(text) for text in said]
        self.rounds.append(said)
        if "bad" in said:
            raise ValueError("the model cannot say")
        return [Prediction(text, text, 1.0) for text in said]


def asked(model: Letters, requests: Sequence[Sequence[str]], *, budget: int = 10) -> list[Any]:
    """Answers to requests of which the first keeps the model busy until all others wait."""

    async def run() -> list[Any]:
        gatherer = Gatherer(lambda: model, budget=budget)
        model.gate.clear()
        calls = list[asyncio.Task[Answer]]()
        for number, texts in enumerate(requests):
            calls.append(asyncio.create_task(gatherer.answer([Text(text=x) for x in texts])))
            while not model.busy.is_set() or len(gatherer._waiting) < number:
                await asyncio.sleep(0.01)
        model.gate.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(run())


def labels(answer: Answer) -> list[str | None]:
    return [found.label for found in answer.predictions]


def test_what_waits_is_labelled_together_oldest_first_within_the_budget() -> None:
    """4 + 3 + 3 letters fill the budget of 10; the next ones come after."""
    model = Letters()
    requests = [["first"], ["aaaa"], ["bb", "b"], ["ccc"], ["d"], ["ee"]]
    found = asked(model, requests)
    assert [labels(answer) for answer in found] == requests
    assert model.rounds == [["first"], ["aaaa", "bb", "b", "ccc"], ["d", "ee"]]


def test_each_round_is_told_once() -> None:
    found = asked(Letters(), [["first"], ["aaaa"], ["bb", "b"], ["ccc"], ["d"]])
    told = [(x.requests, x.rows, x.tokens) for answer in found for x in answer.rounds]
    assert told == [(1, 1, 5), (3, 4, 10), (1, 1, 1)]


def test_a_request_beyond_the_budget_is_a_round_by_itself() -> None:
    model = Letters()
    asked(model, [["first"], ["a"], ["b" * 11], ["c"]])
    assert model.rounds == [["first"], ["a"], ["b" * 11], ["c"]]


def test_one_that_fails_fails_alone() -> None:
    model = Letters()
    found = asked(model, [["first"], ["a"], ["bad"], ["c"]])
    assert [labels(found[at]) for at in (0, 1, 3)] == [["first"], ["a"], ["c"]]
    assert isinstance(found[2], ValueError)
    assert model.rounds[1:] == [["a", "bad", "c"], ["a"], ["bad"], ["c"]]


def test_whoever_has_gone_is_not_labelled() -> None:
    async def run(model: Letters) -> Answer:
        gatherer = Gatherer(lambda: model, budget=10)
        model.gate.clear()
        calls = list[asyncio.Task[Answer]]()
        for number, text in enumerate(("first", "gone", "last")):
            calls.append(asyncio.create_task(gatherer.answer([Text(text=text)])))
            while not model.busy.is_set() or len(gatherer._waiting) < number:
                await asyncio.sleep(0.01)
        first, gone, last = calls
        gone.cancel()
        await asyncio.sleep(0)
        model.gate.set()
        await first
        return await last

    model = Letters()
    assert labels(asyncio.run(run(model))) == ["last"]
    assert model.rounds == [["first"], ["last"]]


def test_after_a_pause_the_model_is_at_work_again() -> None:
    async def run() -> list[Answer]:
        gatherer = Gatherer(Letters, budget=10)
        found = []
        for text in ("a", "b"):
            found.append(await gatherer.answer([Text(text=text)]))
            await asyncio.sleep(0.02)
        return found

    assert [labels(answer) for answer in asyncio.run(run())] == [["a"], ["b"]]


def test_a_model_that_cannot_be_loaded_is_told() -> None:
    def broken() -> Letters:
        raise ValueError("no weights")

    with pytest.raises(ValueError, match="no weights"):
        Gatherer(broken, budget=1)
