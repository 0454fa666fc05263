"""A row that kills whoever works on it is found and left out; everything else goes on."""

from pathlib import Path

import pytest

from tests.deadly import StubTask, StubWorker, names
from xlt_ray.engine.isolation import write_all
from xlt_ray.engine.pool import Pool
from xlt_ray.store.artifacts import Attempt, Store

pytestmark = pytest.mark.ray
TWO = Pool(2, 2, 1, 0.0)


def attempt(folder: Path, name: str = "stub") -> Attempt:
    return Store(str(folder)).attempt("annotation", name)


def ids(out: Attempt, shards: int) -> list[str]:
    """Ids that were written, in order."""
    store = Store(out.root)
    info = {"rows": sum(out.rows(name) for name in names(shards))}
    return store.commit(out, {"info": info, "seconds": 0.0}).table()["id"].to_pylist()


@pytest.mark.parametrize("kills", [{70}, {3, 4, 250}, {64, 80, 95}])
def test_rows_that_kill_are_left_out(ray_cluster: str, tmp_path: Path, kills: set[int]) -> None:
    """One; three, two of them side by side; three of one shard."""
    task = StubTask(attempt(tmp_path), 32, frozenset(kills))
    lost = write_all(StubWorker, task, TWO, names(10), limit=3)
    assert [row.id for row in lost] == [f"row {number}" for number in sorted(kills)]
    assert [(row.file, row.line) for row in lost] == [
        (f"{number // 32:06d}.parquet", number % 32 + 1) for number in sorted(kills)
    ]
    assert ids(task.out, 10) == [f"row {n}" for n in range(320) if n not in kills]
