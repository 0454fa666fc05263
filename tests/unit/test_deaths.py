"""Notes on processes that died at a step's shards, on a disk and on object storage."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.s3 import S3
from xlt_ray.data.quarantine import LostRow
from xlt_ray.engine import deaths
from xlt_ray.engine.deaths import Deaths, Watched
from xlt_ray.store.artifacts import Store
from xlt_ray.store.attempt import Attempt


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store(str(tmp_path / "store"))
    server: S3 = request.getfixturevalue("s3")
    return Store(server.root())


class Worker:
    """Writes shards and remembers its calls; a shard named bad is an error."""

    def __init__(self, task: Any):
        self.out: Attempt = task.out
        self.calls: list[list[str]] = task.calls

    def __call__(self, shards: dict[str, Any]) -> dict[str, Any]:
        self.calls.append([str(name) for name in shards["shard"]])
        for name in self.calls[-1]:
            if name == "bad":
                raise OSError("no space left")
            self.out.write_table(name, pa.table({"id": [name]}))
        return shards


class Task:
    """What a worker needs."""

    def __init__(self, store: Store):
        self.out, self.calls = store.attempt("annotation", "step"), list[list[str]]()


def leave(store: Store, how: str, *names: str) -> None:
    """Marks of a process that died at shards."""
    for name in names:
        store.write(f"{Deaths(store.root, 'step').folder}/at/{name}~{how}~gone", b"")


def test_whoever_writes_or_fails_leaves_no_mark(store: Store) -> None:
    task = Task(store)
    watched = Watched(Worker, True, task)
    watched({"shard": ["a", "b"]})
    with pytest.raises(OSError, match="no space left"):
        watched({"shard": ["bad"]})
    assert not Deaths.of(task.out).any_marks()
    assert Deaths.of(task.out).any_lived()
    assert task.calls == [["a", "b"], ["bad"]]


def test_shards_of_the_dead_are_taken_singly_and_then_left(store: Store) -> None:
    """b died in a group and singly, c in a group; nine shards are two groups."""
    leave(store, "group", "b", "c")
    leave(store, "single", "b")
    task, fresh = Task(store), [f"x{number}" for number in range(9)]
    assert Deaths.of(task.out).any_marks()
    Watched(Worker, True, task)({"shard": ["a", "b", "c", *fresh]})
    assert task.calls == [["a", *fresh[:7]], fresh[7:], ["c"]]
    assert not task.out.has("b")


def test_where_nothing_lives_no_other_shard_is_tried(store: Store) -> None:
    leave(store, "single", *(f"x{number}" for number in range(deaths.FEW)))
    task = Task(store)
    Watched(Worker, True, task)({"shard": ["a"]})
    assert not task.calls
    Deaths.of(task.out).live()
    Watched(Worker, True, task)({"shard": ["a"]})
    assert task.calls == [["a"]]


def test_verdicts(store: Store) -> None:
    found, table = Deaths(store.root, "step"), pa.table({"id": ["a", "b"]})
    assert found.part("p", 0, 2) is None
    found.keep_part("p", 0, 2, table)
    assert found.part("p", 0, 2) == table
    found.killed("p", 2, 3, 1)
    found.killed("p", 2, 3, 2)
    assert [found.kills("p", *ends) for ends in ((2, 3), (2, 30), (0, 2))] == [2, 0, 0]
    rows = [LostRow("b", "xx", "p", 2), LostRow("a", "xx", "p", 1)]
    found.lose("p", rows)
    found.lose("o", [])
    assert found.lost() == rows[::-1]
    found.forgive(lambda name: False)
    found.forgive(lambda name: False)
    assert not found.lost()
    assert found.part("p", 0, 2) is None


def test_what_is_forgiven(store: Store) -> None:
    """What is known of rows goes, but for the rows that a written shard is without."""
    leave(store, "single", "a")
    found, table = Deaths(store.root, "step"), pa.table({"id": ["a"]})
    found.keep_part("p", 0, 1, table)
    rows = [LostRow("a", "xx", "p", 1), LostRow("b", "xx", "q", 1)]
    for row in rows:
        found.lose(row.file, [row])
    found.live()
    found.forgive(lambda name: name == "p")
    found.forgive(lambda name: name == "p")
    assert found.lost() == rows[:1]
    assert not found.any_marks()
    assert not found.any_lived()
    assert found.part("p", 0, 1) is None
