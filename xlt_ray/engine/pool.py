"""Pools of Ray Data actors that take a few shards of a corpus at a time and write their files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray.data

AT_ONCE, TURNS = 8, 8
"""Most shards of one call, and fewest calls of an actor that there are more shards for."""
START_SECONDS = 8.0
"""Until an actor has imported what it needs and loaded a model, measured on two cores."""


@dataclass(frozen=True)
class Pool:
    """Actors of a step: a fixed number, or between two numbers; 0 of 0: the driver's process.

    Attributes:
        smallest: Actors at the beginning.
        largest: Actors at most.
        cpus: CPUs (threads) of one.
        gpus: GPUs of one.
        spared: Whether the driver's process does alone what it finishes before actors would.
    """

    smallest: int
    largest: int
    cpus: int
    gpus: float
    spared: bool = False

    def for_work(self, seconds: float) -> "Pool":
        """The pool, or none where starting it costs more than it saves.

        Args:
            seconds: What the work takes one process, about.
        """
        if not self.spared or self.gpus or not self.largest:
            return self
        saved = seconds * (1 - 1 / self.largest)
        return self if saved > START_SECONDS else replace(self, smallest=0, largest=0)


def over_shards(actor: type, task: Any, pool: Pool, names: Sequence[str]) -> None:
    """Have shards written, each by one actor, which takes a few at a time.

    Args:
        actor: Class of the actors, made with the task; is called with a dict of an array of
            ``shard`` names.
        task: What an actor needs; it travels by value.
        pool: The actors.
        names: Shards that are not there yet.

    Raises:
        RuntimeError: an actor failed for good; the message is its cause.
    """
    if not names:
        return
    if pool.largest == 0:
        actor(task)({"shard": list(names)})
        return
    largest = min(pool.largest, len(names))
    strategy = ray.data.ActorPoolStrategy(min_size=min(pool.smallest, largest), max_size=largest)
    items = [{"shard": name} for name in names]
    at_once = max(1, min(AT_ONCE, len(names) // (TURNS * largest)))
    blocks = math.ceil(len(names) / at_once)
    shards = ray.data.from_items(items, override_num_blocks=blocks)
    done = shards.map_batches(
        actor,
        fn_constructor_args=(task,),
        batch_size=at_once,
        compute=strategy,
        num_cpus=pool.cpus if not pool.gpus else 0,
        num_gpus=pool.gpus or None,
    )
    finished = sum(1 for _ in done.iter_rows())
    if finished != len(names):
        raise RuntimeError(f"{finished} of {len(names)} shards were written")
