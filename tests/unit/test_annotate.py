"""Annotators read ahead and write behind."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.deadly_corpora import KINDS, annotating
from xlt_ray.engine.annotate import ShardAnnotator, read_ahead
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.store.artifacts import Store
from xlt_ray.store.attempt import Attempt


def test_the_next_shard_is_read_while_the_caller_is_at_one() -> None:
    read = {name: Event() for name in "abc"}

    def reading(name: str) -> str:
        read[name].set()
        return name.upper()

    seen = []
    with ThreadPoolExecutor(1) as reader:
        for name, found in read_ahead(reader, reading, ["a", "b", "c"]):
            seen.append((name, found))
            if name == "a":
                assert read["b"].wait(10)
                assert not read["c"].is_set()  # one ahead, no more
    assert seen == [("a", "A"), ("b", "B"), ("c", "C")]


def test_nothing_to_read() -> None:
    with ThreadPoolExecutor(1) as reader:
        assert list(read_ahead(reader, str, [])) == []


class Stub(ShardAnnotator):
    """Says of every shard what it is called."""

    def __init__(self, attempt: Attempt, failing: str = ""):
        self.task: Any = SimpleNamespace(out=attempt, arithmetic=Arithmetic())
        self.failing, self.annotated_names = failing, list[str]()

    def read(self, name: str) -> tuple[Any, Any]:
        if name == self.failing:
            raise OSError(f"{name} cannot be read")
        return name, name

    def annotated(self, rows: Any, examples: Any) -> pa.Table:
        self.annotated_names.append(rows)
        return pa.table({"name": [rows]})


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Store(str(tmp_path)).attempt("annotation", "a")


def shards(*names: str) -> dict[str, Any]:
    return {"shard": np.array(names)}


def test_every_shard_is_written_before_a_call_ends(attempt: Attempt) -> None:
    Stub(attempt)(shards("a.parquet", "b.parquet", "c.parquet"))
    assert [attempt.rows(f"{name}.parquet") for name in "abc"] == [1, 1, 1]


def test_shards_that_are_there_are_left_as_they_are(attempt: Attempt) -> None:
    attempt.write_table("b.parquet", pa.table({"name": ["old"] * 3}))
    actor = Stub(attempt)
    actor(shards("a.parquet", "b.parquet"))
    assert actor.annotated_names == ["a.parquet"]
    assert attempt.rows("b.parquet") == 3


def test_a_shard_that_cannot_be_read_ends_the_call(attempt: Attempt) -> None:
    with pytest.raises(OSError, match="cannot be read"):
        Stub(attempt, failing="b.parquet")(shards("a.parquet", "b.parquet", "c.parquet"))
    assert attempt.has("a.parquet")
    assert not attempt.has("c.parquet")


def test_a_shard_that_cannot_be_written_ends_the_call(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Attempt, name: str, table: pa.Table) -> None:
        raise OSError(f"no room for {name}")

    monkeypatch.setattr(Attempt, "write_table", fails)
    actor = Stub(attempt)
    with pytest.raises(OSError, match="no room"):
        actor(shards("a.parquet", "b.parquet", "c.parquet"))
    assert actor.annotated_names == ["a.parquet", "b.parquet"]  # and nothing after it


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_a_shard_are_the_shard(tmp_path: Path, kind: str) -> None:
    """Also one without rows, and each row is known by its place."""
    store = Store(str(tmp_path / "store"))
    task = annotating(store, tmp_path, kind, [f"row{n}" for n in range(9)], 9)
    actor, name = ShardAnnotator(task), "part-000000.parquet"
    actor(shards(name))
    whole = store.commit(task.out, {"info": {"rows": 9}, "seconds": 0.0}).table()
    parts = pa.concat_tables([actor.part(name, *ends) for ends in ((0, 4), (4, 4), (4, 9))])
    assert parts.schema == whole.schema
    assert parts.select(["id", "labels"]) == whole.select(["id", "labels"])
    assert [(row.id, row.file, row.line) for row in actor.rows(name)] == [
        (f"row{n}", name, n + 1) for n in range(9)
    ]
