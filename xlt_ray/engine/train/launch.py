"""Train steps: the training loop in this process, or in workers of a Ray Train trainer."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from xlt_ray.engine.environment import ELASTIC, PATIENT, START_TIMEOUT
from xlt_ray.engine.local_ray import needed, quiet
from xlt_ray.engine.resources import Plan
from xlt_ray.engine.same_code import guarded
from xlt_ray.engine.train.checkpoints import Checkpoints
from xlt_ray.engine.train.processes import run_in_group, run_worker
from xlt_ray.engine.train.task import TrainTask

_START_LIMIT = 60
"""How often Ray Train looks for room and processes before it gives up: once a minute at most."""


def run_train(task: TrainTask, plan: Plan, *, retries: int) -> dict[str, Any]:
    """Train a model into the task's attempt; returns facts for the manifest.

    With 0 workers the loop runs in this process. A worker that dies is replaced, up to ``retries``
    times, and the step goes on from its newest checkpoint, as it does when this is called again.
    """
    if (
        not plan.train_workers
    ):  # a trainer would add nothing, and trials of Ray Tune may have none in them
        with quiet():
            done = run_worker(task)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # actors may share the GPU
        return done
    return _run_group(task, plan, retries)


def _run_group(task: TrainTask, plan: Plan, retries: int) -> dict[str, Any]:
    # Seconds to import, which who trains in its own process need not spend.
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    class Trainer(TorchTrainer):  # pyrefly: ignore [invalid-inheritance]
        def _register_sigint_handler(self, controller: Any) -> None:
            """Ctrl-C stays the driver's own, which ends with code 3; Ray's would end with 0."""

    needed()
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    notes = Checkpoints(task.out.root, task.out.fingerprint)
    work = guarded(run_in_group)
    resources = {"CPU": float(plan.train_cpus), "GPU": plan.train_gpus}
    trainer = Trainer(
        lambda: work(task),
        scaling_config=ScalingConfig(
            num_workers=_processes(plan),
            use_gpu=bool(plan.train_gpus),
            resources_per_worker=resources,
        ),
        run_config=RunConfig(
            # Ray silently takes up a run of the same name; an attempt's name is used once, so that
            # resuming is left to the checkpoints of the loop.
            name=task.out.folder.replace("/", "-"),
            storage_path=f"{notes.folder}/ray",
            storage_filesystem=notes.fs,
            failure_config=FailureConfig(
                max_failures=retries, controller_failure_limit=_START_LIMIT
            ),
        ),
    )
    with _start_timeout(plan):
        result = trainer.fit()
    assert result.return_value is not None, "training ended without a result"
    return dict(result.return_value)


@contextmanager
def _start_timeout(plan: Plan) -> Iterator[None]:
    """How long workers wait for their nodes, which Ray reads off the environment.

    It stays as a user has set it.
    """
    before = os.environ.get(START_TIMEOUT, PATIENT)
    if plan.fewest is not None and before == PATIENT:
        os.environ[START_TIMEOUT] = ELASTIC
    try:
        yield
    finally:
        os.environ[START_TIMEOUT] = before


def _processes(plan: Plan) -> int | tuple[int, int]:
    """Processes of a training: so many, or from the fewest to one for each worker."""
    if plan.fewest is None or plan.fewest == plan.train_workers:
        return plan.train_workers
    return plan.fewest, plan.train_workers
