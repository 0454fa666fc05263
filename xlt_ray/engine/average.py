"""Mean steps: the mean of the weights of several models, in one pass over their files.

The result has the layout of the first model: its settings and tokenizer, and for each of its files
of weights one with the means. A file of them is written at a time.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from xlt_ray.engine.driver_node import call_near
from xlt_ray.models.files import OPTIMISER, SNAPSHOT
from xlt_ray.ops.weight_mean import mean_of_weights
from xlt_ray.store.artifacts import BASE, Artifact
from xlt_ray.store.step_task import StepTask

WEIGHTS = ".safetensors"
"""Ending of files of weights."""


@dataclass(frozen=True, kw_only=True)
class MeanTask(StepTask):
    """The mean of some models.

    Attributes:
        models: The models, of one architecture and one training objective.
    """

    kind = "mean"

    models: tuple[Artifact, ...]

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """The models."""
        return self.models

    @property
    def modules(self) -> tuple[str, ...]:
        """This one."""
        return (__name__,)


def run_mean(task: MeanTask) -> dict[str, Any]:
    """Take the mean, in the driver's process or, of large models, in one of the driver's node."""
    return call_near(write_mean, task, *task.models)


def write_mean(task: MeanTask) -> dict[str, Any]:
    """Write the mean into the attempt; returns facts for the manifest.

    Raises:
        ValueError: the models are adapters, or not of one architecture; says which file and weight.
    """
    first, *others = task.models
    for model in task.models:
        if BASE in model.info:
            raise ValueError(
                f"{model.kind}/{model.fingerprint} is adapters: the mean of products of matrices "
                "is not the product of their means"
            )
    names = weights_of(first)
    for other in others:
        if weights_of(other) != names:
            raise ValueError(
                f"{other.kind}/{other.fingerprint} has weights in {', '.join(weights_of(other))}, "
                f"{first.kind}/{first.fingerprint} in {', '.join(names)}"
            )
    folders = [model.local() for model in task.models]
    count = 0
    with TemporaryDirectory() as made:
        for name in names:
            path = Path(made) / name
            count += _write_file([folder / name for folder in folders], path)
            task.out.copy(name, path)
            path.unlink()
    for name in first.names:
        if not name.endswith((WEIGHTS, ".parquet")):
            task.out.copy(name, folders[0] / name)
    return {"models": len(task.models), "tensors": count}


def weights_of(model: Artifact) -> list[str]:
    """Names of the files of a model's weights, without those that it keeps besides: an optimiser's
    state and weights along the way of its training."""
    kept = [name for name in model.names if name.endswith(WEIGHTS) and name != OPTIMISER]
    return [name for name in kept if not name.startswith(SNAPSHOT)]


def _write_file(paths: Sequence[Path], out: Path) -> int:
    """Write the means of the weights of some files; returns how many there are."""
    with ExitStack() as stack:
        files: list[Any] = [stack.enter_context(safe_open(path, "pt")) for path in paths]
        names = sorted(files[0].keys())
        for file in files[1:]:
            if sorted(file.keys()) != names:
                differ = sorted(set(names) ^ set(file.keys()))
                raise ValueError(f"{out.name}: not all models have {', '.join(differ[:3])}")
        means = {}
        for name in names:
            try:
                means[name] = mean_of_weights([file.get_tensor(name) for file in files])
            except ValueError as error:
                raise ValueError(f"{out.name}, {name}: {error}") from None
        save_file(means, out, metadata=files[0].metadata())
    return len(names)
