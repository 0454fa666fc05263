"""Models along the way of a training, for analyses that look at them after the run.

A training keeps them beside its checkpoints, so that one that was killed has all of them, and puts
them into its artifact at the end, as ``snapshot-<optimiser step>.safetensors``. As a model of its
own, a snapshot is an artifact with these weights and the other files of the model.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xlt_ray.engine.train.checkpoints import Checkpoints
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.files import SNAPSHOT
from xlt_ray.store.artifacts import Artifact, Attempt
from xlt_ray.store.files import read_bytes, write_bytes
from xlt_ray.store.step_task import StepTask

WEIGHTS, ENDING = "model.safetensors", ".safetensors"


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
            data = (Path(folder) / WEIGHTS).read_bytes()
        write_bytes(self.fs, f"{self.folder}/{_name(step)}", data)

    def publish(self, out: Attempt) -> None:
        """Put all of them into the attempt; training may have ended before some."""
        for step in sorted(self.due):
            data = read_bytes(self.fs, f"{self.folder}/{_name(step)}")
            if data is not None:
                out.write(_name(step), data)


def _name(step: int) -> str:
    return f"{SNAPSHOT}{step:09d}{ENDING}"


def kept_in(model: Artifact) -> list[int]:
    """Optimiser steps of the snapshots that an artifact has, in order."""
    names = [name for name in model.names if name.startswith(SNAPSHOT)]
    return sorted(int(name.removeprefix(SNAPSHOT).removesuffix(ENDING)) for name in names)


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
    task.out.write(WEIGHTS, task.model.read(_name(task.step)))
    for name in task.model.names:
        if not name.endswith(ENDING):
            task.out.write(name, task.model.read(name))
    return {"steps": task.step}
