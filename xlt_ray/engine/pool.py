"""Pools of Ray Data actors that take a few shards of a corpus at a time and write their files."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from xlt_ray.engine.local_ray import data_runs, needed
from xlt_ray.engine.same_code import guarded

AT_ONCE, TURNS = 8, 8
"""Most shards of one call, and fewest calls of an actor that there are more shards for."""
START_SECONDS = 8.0
"""Until an actor has imported what it needs and loaded a model, measured on two cores."""
LITTLE_SECONDS = 600.0
"""Most that the driver's process spends on a step that actors do no faster."""


TOKENS, CORE = 24, 3e10
"""Sub-words of a row, and operations a second of one core, about."""


def operations_of(shape: Mapping[str, Any], passes: float) -> float | None:
    """Operations of so many forward passes over a row, or None of an encoder without a known shape.

    Args:
        shape: ``hidden_size``, ``intermediate_size`` and ``num_hidden_layers`` of the encoder.
        passes: Number of rows, times the passes over each.
    """
    names = ("hidden_size", "intermediate_size", "num_hidden_layers")
    if not all(isinstance(shape.get(name), int) for name in names):
        return None
    width, inner, layers = (shape[name] for name in names)
    return 2.0 * layers * (4 * width**2 + 2 * width * inner) * TOKENS * passes


@dataclass(frozen=True)
class Pool:
    """Actors of a step: a fixed number, or between two numbers; 0 of 0: the driver's process.

    Attributes:
        smallest: Actors at the beginning.
        largest: Actors at most.
        cpus: CPUs (threads) of one.
        gpus: GPUs of one.
        spared: Whether the driver's process does alone what it finishes before actors would, or
            what is little.
        threads: Shards that the driver's process works on at a time.
    """

    smallest: int
    largest: int
    cpus: int
    gpus: float
    spared: bool = False
    threads: int = 1

    def for_work(self, seconds: float) -> "Pool":
        """The pool, or none where starting it costs more than it saves.

        Args:
            seconds: What the work takes one thread, about.
        """
        if not self.spared or self.gpus or not self.largest:
            return self
        alone = seconds / self.threads
        if alone > min(START_SECONDS + seconds / self.largest, LITTLE_SECONDS):
            return self
        return replace(self, smallest=0, largest=0)


class _Worker:
    """One actor, once it was seen to have the code of the driver."""

    def __init__(self, make: Callable[[Any], Callable[[Any], Any]], task: Any):
        self._work = make(task)

    def __call__(self, shards: dict[str, Any]) -> dict[str, Any]:
        """Have some shards written."""
        return self._work(shards)


def over_shards(
    actor: Callable[[Any], Callable[[Any], Any]],
    task: Any,
    pool: Pool,
    names: Sequence[str],
    *,
    threads: int = 1,
) -> None:
    """Have shards written, each by one actor, which takes a few at a time.

    Args:
        actor: Makes an actor of the task, which is called with a dict of an array of ``shard``
            names.
        task: What an actor needs; it travels by value.
        pool: The actors.
        names: Shards that are not there yet.
        threads: Calls at a time of the one that the driver's process makes where the pool is none;
            more than one if it can be called so.

    Raises:
        RuntimeError: an actor failed for good; the message is its cause.
    """
    if not names:
        return
    if pool.largest == 0:
        own, threads = actor(task), min(threads, len(names))
        if threads == 1:
            own({"shard": list(names)})
            return
        workers = ThreadPoolExecutor(threads)
        try:
            for done in [workers.submit(own, {"shard": [name]}) for name in names]:
                done.result()
        finally:  # after a failure or an interrupt no other shard is begun
            workers.shutdown(cancel_futures=True)
        return
    needed()
    largest = min(pool.largest, len(names))
    items = [{"shard": name} for name in names]
    at_once = max(1, min(AT_ONCE, len(names) // (TURNS * largest)))
    blocks = math.ceil(len(names) / at_once)
    with data_runs() as data:
        shards = data.from_items(items, override_num_blocks=blocks)
        done = shards.map_batches(
            _Worker,
            fn_constructor_args=(guarded(actor), task),
            batch_size=at_once,
            compute=data.ActorPoolStrategy(min_size=min(pool.smallest, largest), max_size=largest),
            num_cpus=pool.cpus if not pool.gpus else 0,
            num_gpus=pool.gpus or None,
        )
        finished = sum(1 for _ in done.iter_rows())
    if finished != len(names):
        raise RuntimeError(f"{finished} of {len(names)} shards were written")
