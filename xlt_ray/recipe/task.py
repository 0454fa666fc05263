"""The task as objectives and annotators see it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xlt_ray.data.schema import Task
from xlt_ray.labels import LabelSet
from xlt_ray.store.fingerprint import RUNTIME

if TYPE_CHECKING:
    from torch import Tensor

    from xlt_ray.data.batches.layout import InputLayout


@dataclass(frozen=True)
class TaskContext:
    """What an objective or an annotator is told about the task when it starts.

    Attributes:
        labels: Classes of the task.
        languages: Names by the language numbers of a batch.
        num_items: Items (words or texts) that this worker trains on; 0 when annotating.
        task: Kind of task.
        total: Sum of a tensor over all workers, which all have to ask for alike.
        everyone: Rows [N, ...] of all workers, one worker's after another's; likewise.
        layout: How rows become model input; None when annotating.
        worker: Number of the worker.
    """

    labels: LabelSet
    languages: tuple[str, ...]
    num_items: int = field(default=0, metadata=RUNTIME)
    task: Task = "token"
    total: "Callable[[Tensor], Tensor]" = field(default=lambda tensor: tensor, metadata=RUNTIME)
    everyone: "Callable[[Tensor], Tensor]" = field(default=lambda tensor: tensor, metadata=RUNTIME)
    layout: "InputLayout | None" = field(default=None, metadata=RUNTIME)
    worker: int = field(default=0, metadata=RUNTIME)

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.labels)
