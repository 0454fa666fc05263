"""Models along the way of a training, for analyses that look at them after the run.

A training keeps them beside its checkpoints, so that one that was killed has all of them, and puts
them into its artifact at the end, as ``snapshot-<optimiser step>-<file>``, a file for each file of
weights that a model has. As a model of its own, a snapshot is an artifact with these weights and
the other files of the model.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xlt_ray.engine.train.checkpoints import Checkpoints
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.files import SNAPSHOT
from xlt_ray.store.artifacts import BASE, Artifact
from xlt_ray.store.attempt import Attempt
from xlt_ray.store.files import listed, read_bytes, write_bytes
from xlt_ray.store.step_task import StepTask

ENDING = ".safetensors"
"""Of files of weights."""


def steps_of(number: int, steps: int) -> list[int]:
    """Finished optimiser steps at which a training of so many steps keeps a snapshot, evenly: none
    before the first step, and none at the end, where the result is."""
    return sorted({steps * i // (number + 1) for i in range(1, number + 1)} - {0, steps})


class Snapshots:
    """The snapshots of a train step that is being computed.

    Args:
        checkpoints: Where it keeps its checkpoints.
        number: How many are kept.
        steps: Optimiser steps of the training.
    """

    def __init__(self, checkpoints: Checkpoints, number: int, steps: int):
        self.fs, self.folder = checkpoints.fs, f"{checkpoints.folder}/snapshots"
        self.due = frozenset(steps_of(number, steps))

    def keep(self, step: int, model: Classifier) -> None:
        """Write the weights after so many steps."""
        self.fs.create_dir(self.folder, recursive=True)
        with TemporaryDirectory() as folder:
            model.save(Path(folder))
            for path in sorted(Path(folder).glob(f"*{ENDING}")):
                write_bytes(self.fs, f"{self.folder}/{_begin(step)}{path.name}", path.read_bytes())

    def publish(self, out: Attempt) -> None:
        """Put all of them into the attempt; training may have ended before some."""
        due = tuple(map(_begin, self.due))
        there = listed(self.fs, self.folder)
        for name in sorted(item.base_name for item in there if item.base_name.startswith(due)):
            data = read_bytes(self.fs, f"{self.folder}/{name}")
            if data is not None:
                out.write(name, data)


def _begin(step: int) -> str:
    return f"{SNAPSHOT}{step:09d}-"


def kept_in(model: Artifact) -> list[int]:
    """Optimiser steps of the snapshots that an artifact has, in order."""
    names = [name for name in model.names if name.startswith(SNAPSHOT)]
    return sorted({int(name.removeprefix(SNAPSHOT).partition("-")[0]) for name in names})


@dataclass(frozen=True, kw_only=True)
class SnapshotTask(StepTask):
    """A snapshot as a model of its own.

    Attributes:
        model: The model that it was kept on the way to.
        step: Its optimiser step.
    """

    kind = "model"

    model: Artifact
    step: int

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """The model."""
        return (self.model,)

    @property
    def modules(self) -> tuple[str, ...]:
        """This one."""
        return (__name__,)


def run_snapshot(task: SnapshotTask) -> dict[str, Any]:
    """Copy the snapshot's weights and the model's other files; returns facts for the manifest."""
    begin = _begin(task.step)
    for name in task.model.names:
        if name.startswith(begin):
            task.out.write(name.removeprefix(begin), task.model.read(name))
        elif not name.endswith(ENDING):
            task.out.write(name, task.model.read(name))
    return {"steps": task.step, **{k: v for k, v in task.model.info.items() if k == BASE}}
