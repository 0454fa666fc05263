"""Workers that die of some rows, in processes of their own: of actors, or of a driver."""

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from xlt_ray.data.quarantine import LostRow
from xlt_ray.engine.isolation import write_all
from xlt_ray.engine.pool import Pool
from xlt_ray.store.attempt import Attempt


def die() -> None:
    """As the kernel has a process die that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class StubTask:
    """Rows with numbers, a few to a shard.

    Attributes:
        out: Where shards are written.
        rows: Rows of a shard.
        kills: Numbers of the rows that kill.
        starts: How many workers live through their start, all after this one die; None: all live.
        log: A file that has a line for every start and every piece of work, if there is one.
    """

    out: Attempt
    rows: int
    kills: frozenset[int] = frozenset()
    starts: int | None = None
    log: str = ""


class StubWorker:
    """Writes the numbers of rows, without any model."""

    def __init__(self, task: StubTask):
        self.task = task
        self._log("start")
        if task.starts is not None:
            before = Path(task.log).read_text().splitlines().count("start")
            if before > task.starts:
                die()

    def __call__(self, shards: dict[str, Any]) -> dict[str, Any]:
        for name in map(str, shards["shard"]):
            if not self.task.out.has(name):
                self.task.out.write_table(name, self.part(name, 0, self.task.rows))
        return shards

    def rows(self, name: str) -> list[LostRow]:
        numbers = range(self._first(name), self._first(name) + self.task.rows)
        return [LostRow(f"row {n}", "xx", name, at) for at, n in enumerate(numbers, start=1)]

    def part(self, name: str, start: int, stop: int) -> pa.Table:
        first = self._first(name)
        numbers = range(first + start, first + stop)
        self._log(f"{name} {start} {stop}")
        if any(number in numbers for number in self.task.kills):
            die()
        return pa.table({"id": pa.array([f"row {number}" for number in numbers], pa.string())})

    def _log(self, line: str) -> None:
        if self.task.log:
            with Path(self.task.log).open("a") as log:
                log.write(f"{line}\n")

    def _first(self, name: str) -> int:
        return int(name.partition(".")[0]) * self.task.rows


def names(count: int) -> list[str]:
    """Shards of a stub."""
    return [f"{number:06d}.parquet" for number in range(count)]


def as_driver(told: str) -> None:
    """A driver without actors, as a process of its own; writes what is lost to standard output."""
    found = json.loads(told)
    task = StubTask(Attempt(**found["out"]), found["rows"], frozenset(found["kills"]))
    pool = Pool(0, 0, 1, 0.0)
    lost = write_all(StubWorker, task, pool, names(found["shards"]), limit=found["limit"])
    print("lost", [row.id for row in lost])


if __name__ == "__main__":
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
             object_store_memory=100_000_000, _temp_dir=sys.argv[2])  # fmt: skip
    as_driver(sys.argv[1])
