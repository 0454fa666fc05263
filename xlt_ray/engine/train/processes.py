"""What a process of a training does: one worker, or all the seats that it has."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch

from xlt_ray.engine.train.determinism import repeatable
from xlt_ray.engine.train.loop import Worker
from xlt_ray.engine.train.placement import Seated, placement_of
from xlt_ray.engine.train.seats import Seat, Turns, seats_of, take_seats
from xlt_ray.engine.train.task import TrainTask
from xlt_ray.engine.train.workers import Workers


def run_in_group(task: TrainTask) -> dict[str, Any]:
    """`run_worker` as one of the workers of a trainer."""
    import ray.train
    from ray.train.torch import get_device

    context = ray.train.get_context()
    rank = context.get_world_rank()
    processes = context.get_world_size()
    assert task.seated or processes == task.world
    device = task.arithmetic.take()
    if device.type == "cuda":
        device = get_device()  # of several, this worker's own
    if task.seated:
        process = Workers(rank, processes, device)
        return run_seats(task, process, on_epoch=ray.train.report)
    return run_worker(task, rank, device=device, on_epoch=ray.train.report)


def run_worker(
    task: TrainTask,
    rank: int = 0,
    device: torch.device | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train, and leave the chosen model in the attempt; returns facts for the manifest.

    Args:
        task: What to train.
        rank: Number of this worker.
        device: Where this worker computes; absent: as the task's arithmetic says.
        on_epoch: Is told the facts of every epoch, at its end.
    """
    with repeatable(task.train.deterministic):
        return worker_of(task, rank, device).run(on_epoch)


def worker_of(task: TrainTask, rank: int = 0, device: torch.device | None = None) -> Worker:
    """A worker with a process of its own; arguments as of `run_worker`."""
    workers = Workers(rank, task.world, device or task.arithmetic.take())
    return Worker(task, workers, placement_of(workers, shard=task.train.shard))


def run_seats(
    task: TrainTask,
    process: Workers,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """The same of all seats of a process.

    Args:
        task: What to train.
        process: This one, among the others.
        on_epoch: As of `run_worker`.
    """
    shared = dict[str, Any]()

    def sit(number: int, turns: Turns) -> dict[str, Any]:
        seat = Seat(number, task.world, process.device, turns, process)
        own = replace(task, objective=deepcopy(task.objective))
        worker = Worker(own, seat, Seated(seat, shared))
        return worker.run(on_epoch if seat.leads else None)

    with repeatable(task.train.deterministic):
        return take_seats(seats_of(process.rank, process.world, task.world), sit)
