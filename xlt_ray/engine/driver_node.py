"""Work on the driver's own node: in the driver's process where little is read, else in another.

A node with an actor or task on it is never idle, so none of those that may go is given one.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from xlt_ray.engine.local_ray import needed
from xlt_ray.engine.same_code import guarded
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.step_task import StepTask

T = TypeVar("T", bound=StepTask)

SMALL = 1 << 28
"""Bytes of artifacts, all together, up to which the driver's process reads them itself."""


def here() -> NodeAffinitySchedulingStrategy:
    """The driver's node; another one if it is gone. Starts the Ray of this process if need be."""
    needed()
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)


def call_near(work: Callable[[T], dict[str, Any]], task: T, *read: Artifact) -> dict[str, Any]:
    """Call something with a step, in the driver's process or in one beside it; returns its result.

    Args:
        work: It, of a module.
        task: The step.
        read: The artifacts that it reads whole.
    """
    size = sum(file["bytes"] for item in read for file in item.manifest["files"].values())
    if size <= SMALL:
        return work(task)
    strategy = here()
    remote: Any = ray.remote(num_cpus=0, max_retries=3)(_call)
    remote = remote.options(scheduling_strategy=strategy)
    return ray.get(remote.remote(guarded(work), task))


def _call(work: Callable[[Any], dict[str, Any]], task: Any) -> dict[str, Any]:
    return work(task)
