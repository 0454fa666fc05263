"""A row that kills whoever works on it is found and left out; everything else goes on."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from ray.exceptions import RayError

from tests.deadly import StubTask, StubWorker, names
from tests.home import short_temporary_folder
from xlt_ray.config.errors import ConfigError
from xlt_ray.engine import isolation
from xlt_ray.engine.isolation import write_all
from xlt_ray.engine.pool import Pool
from xlt_ray.store.artifacts import Store
from xlt_ray.store.attempt import Attempt

pytestmark = [pytest.mark.ray, pytest.mark.slow]
TWO = Pool(2, 2, 1, 0.0)
REASON = "the process that worked on this row died, again and again, also with this row alone"


def attempt(folder: Path, name: str = "stub") -> Attempt:
    return Store(str(folder)).attempt("annotation", name)


def ids(out: Attempt, shards: int) -> list[str]:
    """Ids that were written, in order."""
    store = Store(out.root)
    info = {"rows": sum(out.rows(name) for name in names(shards))}
    return store.commit(out, {"info": info, "seconds": 0.0}).table()["id"].to_pylist()


def ids_but(kills: set[int], rows: int) -> list[str]:
    return [f"row {number}" for number in range(rows) if number not in kills]


@pytest.mark.parametrize(
    ("kills", "rows"),
    [
        ({21}, 16),
        pytest.param({3, 4, 599}, 300, marks=pytest.mark.long),
        pytest.param({16, 24, 31}, 16, marks=pytest.mark.long),
    ],
    ids=["one", "three, two of them together", "three in a shard"],
)
def test_rows_that_kill_are_left_out(
    ray_cluster: str, tmp_path: Path, kills: set[int], rows: int
) -> None:
    task = StubTask(attempt(tmp_path), rows, frozenset(kills))
    lost = write_all(StubWorker, task, TWO, names(4), limit=3)
    assert [(x.id, x.language, x.file, x.line, x.reason) for x in lost] == [
        (f"row {number}", "xx", f"{number // rows:06d}.parquet", number % rows + 1, REASON)
        for number in sorted(kills)
    ]
    assert ids(task.out, 4) == ids_but(kills, 4 * rows)


@pytest.mark.long
def test_a_million_rows_and_ten_that_kill(ray_cluster: str, tmp_path: Path) -> None:
    """Two of them in one shard, one at each end of the rows."""
    rows, shards = 1024, 977
    kills = {0, 70_000, 70_900, *range(123_456, 800_000, 123_456), rows * shards - 1}
    assert (len(kills), rows * shards) == (10, 1_000_448)
    task = StubTask(attempt(tmp_path), rows, frozenset(kills))
    lost = write_all(StubWorker, task, TWO, names(shards), limit=len(kills))
    assert [row.id for row in lost] == [f"row {number}" for number in sorted(kills)]
    assert ids(task.out, shards) == ids_but(kills, rows * shards)


def test_a_shard_of_which_nothing_is_left(ray_cluster: str, tmp_path: Path) -> None:
    task = StubTask(attempt(tmp_path), 1, frozenset({1}))
    assert [row.id for row in write_all(StubWorker, task, TWO, names(3), limit=1)] == ["row 1"]
    assert ids(task.out, 3) == ["row 0", "row 2"]


def driver(task: StubTask, shards: int) -> subprocess.CompletedProcess[str]:
    """A driver that works on shards in its own process."""
    told = {"out": asdict(task.out), "rows": task.rows, "kills": sorted(task.kills)}
    folder = tempfile.mkdtemp(prefix="xlt-", dir=short_temporary_folder())
    try:
        return subprocess.run(
            [sys.executable, "-m", "tests.deadly",
             json.dumps({**told, "shards": shards, "limit": 3}), folder],
            env={**os.environ, "RAY_ADDRESS": ""}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
def test_a_driver_that_died_has_an_actor_go_on(ray_cluster: str, tmp_path: Path) -> None:
    """Killers in the first group of shards and in the second: it dies of the first one alone, and
    the bytes are those that a pool of actors writes."""
    kills = frozenset({5, 16 * 9 + 2})
    task = StubTask(attempt(tmp_path / "own"), 16, kills)
    first = driver(task, 10)
    assert first.returncode == -9
    second = driver(task, 10)
    assert second.returncode == 0, second.stderr
    assert "lost ['row 5', 'row 146']" in second.stdout
    pooled = StubTask(attempt(tmp_path / "pool"), 16, kills)
    write_all(StubWorker, pooled, TWO, names(10), limit=3)
    own, others = (Path(x.out.root, "artifacts/annotation", x.out.folder) for x in (task, pooled))
    assert [path.read_bytes() for path in sorted(own.iterdir())] == [
        path.read_bytes() for path in sorted(others.iterdir())
    ]
    assert ids(task.out, 10) == ids_but(set(kills), 160)


@pytest.mark.long
def test_verdicts_are_kept(ray_cluster: str, tmp_path: Path) -> None:
    """The first run ends when it has found two rows where one may be lost. The next one has nothing
    killed again, and what lived is not done again either."""
    log = tmp_path / "log"
    task = StubTask(attempt(tmp_path), 32, frozenset({3, 20}), log=str(log))
    with pytest.raises(ConfigError, match=r"more than 1 rows of this step kill .* such as row"):
        write_all(StubWorker, task, TWO, names(1), limit=1)
    before = Counter(log.read_text().splitlines())
    assert before["000000.parquet 0 32"] == 3  # in the pool, and alone
    assert before["000000.parquet 3 4"] == before["000000.parquet 20 21"] == 2
    lost = write_all(StubWorker, task, TWO, names(1), limit=2)
    assert [row.id for row in lost] == ["row 3", "row 20"]
    again = Counter(log.read_text().splitlines()) - before
    assert set(again) & set(before) <= {"start"}
    assert ids(task.out, 1) == ids_but({3, 20}, 32)


@pytest.mark.long
def test_where_everything_dies_it_is_not_the_rows(
    ray_cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "IN_A_ROW", 3)
    task = StubTask(attempt(tmp_path), 16, frozenset(range(32)))
    with pytest.raises(RuntimeError, match="3 processes died one after another, whatever rows"):
        write_all(StubWorker, task, Pool(1, 1, 1, 0.0), names(2), limit=100)
    assert not (tmp_path / "work/stub").exists()  # nothing is held against the rows


@pytest.mark.parametrize("lived", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_start_that_kills_is_not_tried_for_ever(
    ray_cluster: str, tmp_path: Path, lived: int
) -> None:
    """From the beginning, or of those that come back after a death."""
    log = tmp_path / "log"
    task = StubTask(attempt(tmp_path), 16, frozenset({0}), starts=lived, log=str(log))
    with pytest.raises(RayError, match="died 3 times while it loaded its model"):
        write_all(StubWorker, task, Pool(1, 1, 1, 0.0), names(2), limit=100)
    assert lived < log.read_text().splitlines().count("start") < 10
