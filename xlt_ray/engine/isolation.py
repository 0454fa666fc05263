"""Shards that kill the process that works on them, by an actor of their own, part by part.

The actor is given the whole shard once more: an innocent one, whose process was killed by something
else, is written as by everybody. If it dies of it, the shard is cut into sixteen parts, a part that
kills into sixteen again, until a single row is left. A row that kills twice is lost; all others are
written in the shard, in their order. Parts are many, not two, as a death costs the seconds of a
start, and a part that lives costs nothing: what is said of it is kept. How a shard is cut depends
on nothing but the parts that kill, so its bytes do not depend on who does it. Verdicts are written
down as they fall; a driver that is killed goes on from them.

A lost row is in no table that the step writes. That is how every consumer knows rows that are not
there: those that a corpus leaves out, that a rule does not select, that have no translation. So no
method can select one, and none has a case for it. It stands in ``quarantine-*.jsonl``, see
`xlt_ray.data.quarantine`, which is handed on to whatever is made of the artifact.

A driver that works on shards itself may die of one. When it is started again, an actor does what is
left of the step, so that it dies once a step at most.

Where every process dies, whatever it is given, the rows are not to blame, and the step fails.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import pyarrow as pa
import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    OutOfMemoryError,
    RayActorError,
    RayError,
)

from xlt_ray.config.credentials import redacted
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.quarantine import LostRow, in_order
from xlt_ray.engine.deaths import STARTS, Deaths, Watched
from xlt_ray.engine.local_ray import needed
from xlt_ray.engine.pool import Pool, over_shards
from xlt_ray.engine.same_code import guarded
from xlt_ray.store.step_task import StepTask

PARTS = 16
"""Parts that rows are cut into."""
IN_A_ROW = 24
"""Deaths without a life between them, at one shard at a time, that are none of the rows' doing."""
GRACE = 30.0
"""Seconds until Ray knows that a node is lost."""
TWICE = 2
"""Deaths of processes with nothing but one row, after which it is lost."""


class ShardWorker(Protocol):
    """Turns shards of a step into files."""

    def __call__(self, shards: dict[str, Any]) -> dict[str, Any]:
        """Write the files of shards, by name."""
        ...

    def rows(self, name: str) -> list[LostRow]:
        """The rows of a shard, each as it is known if it is lost."""
        ...

    def part(self, name: str, start: int, stop: int) -> pa.Table:
        """What the file of a shard has of some of its rows."""
        ...


class LonelyActor:
    """A worker in a process of its own, which is given what killed others."""

    def __init__(self, make: Callable[[Any], ShardWorker], task: StepTask):
        self._work, self._deaths = make(task), Deaths.of(task.out)

    def node(self) -> str:
        """Where it is, once it is ready."""
        return ray.get_runtime_context().get_node_id()

    def rows(self, name: str) -> list[LostRow]:
        """The rows of a shard."""
        return self._work.rows(name)

    def whole(self, name: str) -> None:
        """Write a shard."""
        self._work({"shard": [name]})

    def part(self, name: str, start: int, stop: int) -> None:
        """Note what is said of some of its rows; of one more worker, a part is there or not."""
        self._deaths.keep_part(name, start, stop, self._work.part(name, start, stop))


class DiedError(RuntimeError):
    """An actor is dead, and its node is not."""


class Isolation:
    """The shards of one step that are left."""

    def __init__(
        self, make: Callable[[Any], ShardWorker], task: StepTask, pool: Pool, *, limit: int
    ):
        """Begin.

        Args:
            make: Makes whoever writes shards.
            task: The step.
            pool: What its actors have.
            limit: Rows of the step that may be lost.
        """
        self._make, self._task, self._pool, self._limit = guarded(make), task, pool, limit
        self._deaths, self._lock = Deaths.of(task.out), threading.Lock()
        self._in_a_row, self._workers, self._failed = 0, 1, False
        self._lost = {row.id for row in self._deaths.lost()}

    def write(self, names: Sequence[str]) -> None:
        """Write shards without the rows that kill.

        Raises:
            RuntimeError: too many rows kill, or every process dies.
        """
        needed()
        self._workers = max(1, min(self._pool.largest, len(names)))
        with ThreadPoolExecutor(self._workers) as threads:
            try:
                for done in [threads.submit(self._shard, name) for name in names]:
                    done.result()
            except BaseException:
                self._failed = True  # no other shard is begun, and none goes on
                raise

    def _shard(self, name: str) -> None:
        if self._failed:
            return
        lonely = Lonely(self._make, self._task, self._pool)
        try:
            self._write(name, lonely)
        except BaseException:
            self._failed = True
            raise
        finally:
            lonely.end()

    def _write(self, name: str, lonely: "Lonely") -> None:
        rows = lonely.call("rows", name)
        lost, lived = list[LostRow](), list[tuple[int, int]]()
        pending, at_end = deque([(0, len(rows))]), False
        while pending and not self._failed:
            here = at_end
            start, stop = pending.pop() if here else pending.popleft()
            if self._lives(lonely, name, start, stop, len(rows)):
                lived.append((start, stop))
                at_end = False
                continue
            at_end = not here  # rows that kill often stand side by side: what lives elsewhere?
            if stop == start:
                raise everything_dies(TWICE, "it had no rows")
            if stop - start == 1:
                lost.append(rows[start])
                self._one_more(rows[start])
                continue
            step = -(-(stop - start) // PARTS)
            cut = [(at, min(at + step, stop)) for at in range(start, stop, step)]
            if here:
                pending.extend(cut)
            else:
                pending.extendleft(reversed(cut))
        if self._failed or self._task.out.has(name):
            return
        assert sum(stop - start for start, stop in lived) + len(lost) == len(rows)
        if not lived:  # a table without rows has columns
            lonely.call("part", name, 0, 0)
            lived = [(0, 0)]
        found = [self._deaths.part(name, start, stop) for start, stop in sorted(lived)]
        tables = [table for table in found if table is not None]
        assert len(tables) == len(found), f"{name}: what was said of rows is gone"
        self._deaths.lose(name, in_order(lost))
        self._task.out.write_table(name, pa.concat_tables(tables).combine_chunks())

    def _lives(self, lonely: "Lonely", name: str, start: int, stop: int, total: int) -> bool:
        """Whether a process lives through some rows, if only at the second try with one row."""
        whole = (start, stop) == (0, total)
        if not whole and self._deaths.part(name, start, stop) is not None:
            return True
        deadly = TWICE if stop - start <= 1 else 1
        for times in range(self._deaths.kills(name, start, stop) + 1, deadly + 1):
            try:
                if whole:
                    lonely.call("whole", name)
                else:
                    lonely.call("part", name, start, stop)
            except DiedError as error:
                self._deaths.killed(name, start, stop, times)
                self._one_death(error)
            else:
                with self._lock:
                    self._in_a_row = 0
                return True
        return False

    def _one_death(self, error: DiedError) -> None:
        with self._lock:
            self._in_a_row += 1
            if self._in_a_row < IN_A_ROW * self._workers:
                return
        self._deaths.forgive(self._task.out.has)
        raise everything_dies(self._in_a_row, str(error))

    def _one_more(self, row: LostRow) -> None:
        with self._lock:
            self._lost.add(row.id)
            if len(self._lost) <= self._limit:
                return
        raise ConfigError(
            f"data.max_fatal_rows: more than {self._limit} rows of this step kill the process that "
            f"works on them, such as {row.id} ({row.file}, row {row.line}). If that is what they "
            "do, allow more; else it is the machine or a library. See docs/recover.md"
        )


def everything_dies(times: int, cause: str) -> RuntimeError:
    """The error of a step in which nothing can be labelled."""
    return RuntimeError(
        f"{times} processes died one after another, whatever rows they were given: it is not the "
        "text but the machine (too little memory?), the model or a library; the last one: "
        f"{cause}. See docs/recover.md"
    )


class Lonely:
    """One actor at a time, with a new one after each death."""

    def __init__(self, make: Callable[[Any], ShardWorker], task: StepTask, pool: Pool):
        self._make, self._task, self._pool = make, task, pool
        self._actor: Any = None
        self._node = ""

    def call(self, method: str, *args: Any) -> Any:
        """What the actor answers; again, if its node was lost.

        Raises:
            DiedError: the actor died of it.
            RuntimeError: actors die before they are ready.
        """
        while True:
            actor = self._actor or self._start()
            try:
                return ray.get(getattr(actor, method).remote(*args))
            except (RayActorError, OutOfMemoryError) as error:  # the latter if Ray ended it
                self.end()
                if isinstance(error, OutOfMemoryError) or not self._is_lost(error):
                    raise DiedError(cause_of(error)) from None

    def end(self) -> None:
        """Have no actor any more."""
        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None

    def _start(self) -> Any:
        pool, died = self._pool, 0
        remote: Any = ray.remote(
            num_cpus=pool.cpus if not pool.gpus else 0,
            num_gpus=pool.gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="DEFAULT",  # beside whatever a trial has reserved
        )(LonelyActor)
        while True:
            self._actor = remote.remote(self._make, self._task)
            try:
                self._node = ray.get(self._actor.node.remote())
            except (ActorDiedError, OutOfMemoryError) as error:
                if isinstance(error, ActorDiedError) and error.actor_init_failed:
                    raise
                self.end()
                died += isinstance(error, OutOfMemoryError) or not error.preempted
                if died >= STARTS:
                    raise everything_dies(died, cause_of(error)) from None
            else:
                return self._actor

    def _is_lost(self, error: RayActorError) -> bool:
        """Whether an actor is gone for a reason that is not its own: its node is."""
        if isinstance(error, ActorUnavailableError):  # nobody knows yet whether its node is there
            until = time.monotonic() + GRACE
            while self._is_node_up() and time.monotonic() < until:
                time.sleep(1.0)
        return error.preempted or not self._is_node_up()

    def _is_node_up(self) -> bool:
        return any(x["Alive"] for x in ray.nodes() if x["NodeID"] == self._node)


def cause_of(error: RayError) -> str:
    """Why an actor died, as far as Ray knows, in a line."""
    lines = str(error).splitlines() or [type(error).__name__]
    said = [line for line in lines if "exit" in line.lower()]
    return redacted((said or lines)[0].strip())


def write_all(
    make: Callable[[Any], ShardWorker],
    task: Any,
    pool: Pool,
    names: Sequence[str],
    *,
    limit: int,
    threads: int = 1,
) -> list[LostRow]:
    """Have shards written, and find the rows that kill.

    Args:
        make: Makes of the task whoever writes shards.
        task: The step; it travels by value.
        pool: The actors; of none, the driver's process does it.
        names: All shards of the step.
        limit: Rows that may be lost.
        threads: Shards at a time in the driver's process.

    Returns:
        The rows that are lost.

    Raises:
        RuntimeError: a worker failed for good, or every process dies.
        ConfigError: more rows kill than may be lost.
    """
    if not pool.largest and Deaths.of(task.out).any_marks():
        pool = replace(pool, smallest=1, largest=1)
    watched = partial(Watched, make, not pool.largest)
    over_shards(watched, task, pool, missing(task, names), threads=threads)
    if left := missing(task, names):
        Isolation(make, task, pool, limit=limit).write(left)
    return Deaths.of(task.out).lost()


def missing(task: Any, names: Sequence[str]) -> list[str]:
    """Shards without a file."""
    return [name for name in names if not task.out.has(name)]
