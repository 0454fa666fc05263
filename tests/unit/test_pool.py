"""How many actors a step gets."""

import json
import math
import time
from pathlib import Path
from threading import Barrier
from typing import Any, cast

import pytest

from tests.encoders import commit, tokenised
from xlt_ray.engine.annotate import AnnotateTask, seconds_of
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.pool import LITTLE_SECONDS, START_SECONDS, Pool, over_shards
from xlt_ray.recipe.corpus import Corpus
from xlt_ray.store.artifacts import Artifact, Store

SMALL = 0.9 * START_SECONDS


@pytest.mark.parametrize(
    ("pool", "seconds", "actors"),
    [
        (Pool(2, 2, 1, 0.0, spared=True), SMALL, 0),
        (Pool(2, 2, 1, 0.0, spared=True), 2.5 * START_SECONDS, 2),  # two of them save half
        (Pool(2, 2, 1, 0.0, spared=True), 1.9 * START_SECONDS, 0),
        (Pool(1, 8, 1, 0.0, spared=True), math.inf, 8),
        (Pool(1, 1, 1, 0.0, spared=True), 0.9 * LITTLE_SECONDS, 0),  # one actor saves nothing
        (Pool(1, 1, 1, 0.0, spared=True), 1e6, 1),  # but what is long is not done by the driver
        (Pool(2, 2, 1, 0.0, spared=True, threads=2), 1.9 * LITTLE_SECONDS, 0),
        (Pool(2, 2, 1, 0.0, spared=True, threads=2), 2.1 * LITTLE_SECONDS, 2),
        (Pool(8, 8, 1, 0.0, spared=True, threads=2), 3 * START_SECONDS, 8),
        (Pool(2, 2, 1, 0.0), SMALL, 2),  # the configuration asks for them
        (Pool(2, 2, 0, 1.0, spared=True), SMALL, 2),  # the driver may be where no GPU is
        (Pool(0, 0, 1, 0.0), 1e6, 0),
    ],
)
def test_actors_have_to_pay(pool: Pool, seconds: float, actors: int) -> None:
    assert pool.for_work(seconds).largest == actors


class Counting:
    """An actor that notes who calls it, and fails if it is told to."""

    def __init__(self, task: dict[str, Any]):
        self.task = task

    def __call__(self, shards: dict[str, Any]) -> dict[str, Any]:
        self.task.setdefault("calls", []).append(list(shards["shard"]))
        self.task["together"].wait(10)
        if "bad" in shards["shard"]:
            raise OSError("no space left")
        return shards


def test_threads_of_the_driver_take_a_shard_each() -> None:
    task = {"together": Barrier(2)}
    over_shards(Counting, task, Pool(0, 0, 1, 0.0), ["a", "b", "c", "d"], threads=2)
    assert sorted(task["calls"]) == [["a"], ["b"], ["c"], ["d"]]  # type: ignore[index]
    task = {"together": Barrier(1)}
    over_shards(Counting, task, Pool(0, 0, 1, 0.0), ["a", "b"])
    assert task["calls"] == [["a", "b"]]
    with pytest.raises(OSError, match="no space left"):
        over_shards(Counting, {"together": Barrier(1)}, Pool(0, 0, 1, 0.0), ["a", "bad"], threads=2)


def test_after_a_failure_no_other_shard_is_begun() -> None:
    """Every call takes a while, so that nearly all shards wait when the first one fails."""

    class Slow:
        def wait(self, seconds: float) -> None:
            time.sleep(0.01)

    task: dict[str, Any] = {"together": Slow()}
    names = ["bad", *(f"part-{number}" for number in range(500))]
    with pytest.raises(OSError, match="no space left"):
        over_shards(Counting, task, Pool(0, 0, 1, 0.0), names, threads=2)
    assert len(task["calls"]) < 100


def model(tmp_path: Path, **config: Any) -> Artifact:
    store = Store(str(tmp_path))
    attempt = store.attempt("model", "m")
    attempt.write("config.json", json.dumps(config).encode())
    return store.commit(attempt, {"info": {}, "seconds": 0.0})


def task(tmp_path: Path, rows: int, **config: Any) -> AnnotateTask:
    store = Store(str(tmp_path / "t"))
    tokens = commit(store, "tokens", "t", {"part-000000": tokenised([[[5]]])})
    corpus = Corpus(
        Artifact(store.root, "tokens", "t", {**tokens.manifest, "info": {"rows": rows}})
    )
    nothing = cast(Any, None)
    return AnnotateTask(
        corpus=corpus, model=model(tmp_path, **config), annotator=nothing,
        context=nothing, dim_reduce=None, max_length=128, batch_tokens=4096,
        arithmetic=Arithmetic(),
    )  # fmt: skip


def test_work_grows_with_rows_and_with_the_encoder(tmp_path: Path) -> None:
    shape = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    base = seconds_of(task(tmp_path / "a", 1000, **shape))
    assert base == pytest.approx(1000 * (3e-4 + 24 * 2 * 85e6 / 3e10), rel=0.01)
    assert seconds_of(task(tmp_path / "b", 2000, **shape)) == pytest.approx(2 * base)
    deeper = {**shape, "num_hidden_layers": 24}
    assert seconds_of(task(tmp_path / "c", 1000, **deeper)) > 1.9 * base


def test_an_encoder_of_unknown_size_is_a_large_one(tmp_path: Path) -> None:
    assert seconds_of(task(tmp_path, 10, dim=768, n_layers=6)) == math.inf
