"""How a shard is cut until the rows that kill are alone; actors are stood in for by calls."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import OutOfMemoryError

from tests import deadly
from tests.deadly import StubTask, StubWorker, names
from xlt_ray.config.errors import ConfigError
from xlt_ray.engine import isolation
from xlt_ray.engine.deaths import Deaths
from xlt_ray.engine.isolation import DiedError, Isolation, Lonely, LonelyActor
from xlt_ray.engine.pool import Pool
from xlt_ray.store.artifacts import Store

ALONE = Lonely


class Deadly(RuntimeError):
    """A process died."""


class Here:
    """An actor in this process."""

    deaths = 0

    def __init__(self, make: Callable[[Any], Any], task: Any, pool: Pool):
        self.actor = LonelyActor(make, task)

    def call(self, method: str, *args: Any) -> Any:
        try:
            return getattr(self.actor, method)(*args)
        except Deadly:
            Here.deaths += 1
            raise DiedError("exit code 9") from None

    def end(self) -> None:
        """Nothing to end."""


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies() -> None:
        raise Deadly

    monkeypatch.setattr(isolation, "Lonely", Here)
    monkeypatch.setattr(isolation, "needed", lambda: None)
    monkeypatch.setattr(deadly, "die", dies)
    monkeypatch.setattr(Here, "deaths", 0)


def task_of(folder: Path, rows: int, kills: set[int]) -> StubTask:
    return StubTask(Store(str(folder)).attempt("annotation", "a"), rows, frozenset(kills))


def found(task: StubTask, *, limit: int = 100) -> list[int]:
    """Rows that are lost of the one shard; all others are written."""
    Isolation(StubWorker, task, Pool(1, 1, 1, 0.0), limit=limit).write(names(1))  # type: ignore[arg-type]
    store = Store(task.out.root)
    kept = task.rows - len(task.kills)
    made = store.commit(task.out, {"info": {"rows": kept}, "seconds": 0.0}).table()
    assert made["id"].to_pylist() == [f"row {n}" for n in range(task.rows) if n not in task.kills]
    return [int(row.id.split()[1]) for row in isolation.Deaths.of(task.out).lost()]


@pytest.mark.parametrize(
    ("rows", "kills", "deaths"),
    [
        (1024, set(), 0),  # the process died of something else
        (1024, {700}, 5),  # of all rows, of 64, of 4, and twice alone
        (16, {0}, 3),
        (1, {0}, 2),
        (1024, {0, 1023}, 9),
        (1000, {*range(40, 60)}, 47),  # all, 63, five of 4, and twenty times two
        (1024, {*range(0, 1024, 64)}, 65),  # every first part
        (1024, {0, 1, 2, 1021, 1022, 1023}, 17),  # both ends
    ],
)
def test_rows_that_kill_are_found(tmp_path: Path, rows: int, kills: set[int], deaths: int) -> None:
    assert found(task_of(tmp_path, rows, kills)) == sorted(kills)
    assert Here.deaths == deaths


def test_where_nothing_lives_the_text_is_not_to_blame(tmp_path: Path) -> None:
    task = task_of(tmp_path, 1024, set(range(1024)))
    with pytest.raises(RuntimeError, match=r"24 processes died .* the last one: exit code 9"):
        found(task)
    assert Here.deaths == isolation.IN_A_ROW
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").iterdir())


def test_more_rows_than_may_be_lost_end_the_step(tmp_path: Path) -> None:
    task = task_of(tmp_path, 64, {5, 6, 50})
    with pytest.raises(ConfigError, match=r"data\.max_fatal_rows: more than 2 rows of this step"):
        found(task, limit=2)
    before = Here.deaths
    assert found(task, limit=3) == [5, 6, 50]
    assert Here.deaths == before, "what is known is not tried again"


def test_what_is_lost_of_written_shards_stays_lost(tmp_path: Path) -> None:
    """A shard is written without a row; then every process dies at the next one, once."""
    first, second = names(2)
    sick = [True]

    class Sick(StubWorker):
        def part(self, name: str, start: int, stop: int) -> Any:
            if sick and name == second:
                deadly.die()
            return super().part(name, start, stop)

    def go() -> StubTask:
        out = Store(str(tmp_path)).attempt("annotation", "a")
        Store(str(tmp_path)).adopt(out)
        left = [name for name in (first, second) if not out.has(name)]
        task = StubTask(out, 16, frozenset({3}))
        Isolation(Sick, task, Pool(1, 1, 1, 0.0), limit=100).write(left)  # type: ignore[arg-type]
        return task

    with pytest.raises(RuntimeError, match="24 processes died"):
        go()
    sick.clear()
    task = go()
    assert Here.deaths == 3 + isolation.IN_A_ROW
    assert [row.id for row in Deaths.of(task.out).lost()] == ["row 3"]
    assert [task.out.rows(name) for name in (first, second)] == [15, 16]


class Actor:
    """Answers a call with what Ray raises."""

    def __init__(self, error: Exception):
        self.error = error

    def __getattr__(self, method: str) -> "Actor":
        return self

    def remote(self, *args: Any) -> Exception:
        return self.error


@pytest.mark.parametrize("starts", [True, False])
def test_a_process_that_ray_ends_for_its_memory_has_died(
    monkeypatch: pytest.MonkeyPatch, starts: bool
) -> None:
    def get(answer: Any) -> Any:
        raise answer

    error = OutOfMemoryError("Task was killed due to the node running low on memory.\nmore")
    actor = Actor(error)
    monkeypatch.setattr(isolation.ray, "get", get)
    monkeypatch.setattr(isolation.ray, "kill", lambda _: None)
    made = SimpleNamespace(remote=lambda *_: actor)
    monkeypatch.setattr(isolation.ray, "remote", lambda **_: lambda _: made)
    lonely = ALONE(StubWorker, None, Pool(1, 1, 1, 0.0))  # type: ignore[arg-type]
    if starts:
        lonely._actor = actor
        with pytest.raises(DiedError, match=r"^Task was killed due to the node running low on"):
            lonely.call("whole", "a")
    else:
        with pytest.raises(RuntimeError, match=r"3 processes died .* low on memory\."):
            lonely.call("whole", "a")
