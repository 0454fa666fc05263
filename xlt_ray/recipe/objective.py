"""The objective of a train step: what it minimises."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from torch import Tensor, nn

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import Examples
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.recipe.schedule import OptimiserStep
from xlt_ray.recipe.task import TaskContext


@dataclass
class Objective(ABC):
    """What a train step minimises.

    The fields are its configuration and travel to the workers. Anything that changes while
    training is set up in :meth:`prepare`, lives on the worker, and is named by :meth:`state_dict`,
    so that it is checkpointed with the model. An example stays on its worker, so state may be kept
    per item.
    """

    uses_languages: ClassVar[bool] = False
    """Whether it looks at the languages of a batch; only then are they known to it."""

    @property
    def span_head(self) -> SpanHead | None:
        """The head over spans that is trained, where these are the items of a sentence; None: the
        items are those of the task."""
        return None

    @property
    def alternates(self) -> bool:
        """Whether :meth:`trains` ever says other than "all"."""
        return False

    def build(self, context: TaskContext, width: int) -> nn.Module | None:
        """Trainable parameters of its own, which are optimised, averaged over the workers and
        saved with the model; a later step that starts from the model and builds the same goes on
        with them.

        Args:
            context: The task.
            width: H, the size of a feature.
        """
        return None

    def prepare(self, context: TaskContext, model: Classifier) -> None:  # noqa: B027 - most have no state
        """Set up state on the model's device; ``model.own`` is what :meth:`build` made."""

    def on_examples(self, examples: Examples) -> None:  # noqa: B027
        """Called once after :meth:`prepare`, with all examples of this worker."""

    def extra_rows(self, chosen: np.ndarray, examples: Examples) -> np.ndarray:
        """Rows that a forward pass needs besides its own, such as negatives from the pool.

        They stand last in the batch, count nowhere, and may be drawn with torch's generator, which
        is seeded before each step. A pass may be planned several times.

        Args:
            chosen: Examples of the pass, of the parts and of the paired text.
            examples: All examples of this worker.
        """
        return np.zeros(0, np.int64)

    def transform_batch(self, batch: Batch) -> Batch:
        """What the model is given in place of a batch, such as one with words masked."""
        return batch

    @abstractmethod
    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Loss of a batch.

        Args:
            output: Logits and features of the batch's items.
            batch: The batch, on the same device.

        Returns:
            ``"loss"``, summed over the labelled items of the parts, and any number of named terms
            for the log; the engine divides by the number of these items in the whole optimiser
            step.
        """

    def before_step(self, step: OptimiserStep) -> None:  # noqa: B027
        """Called before each optimiser step."""

    def trains(self, number: int) -> Literal["all", "model", "own"]:
        """What an optimiser step changes: all, all but its own parameters, or those alone."""
        return "all"

    def after_step(self) -> None:  # noqa: B027
        """Called after each optimiser step."""

    def after_epoch(self) -> None:  # noqa: B027
        """Called after each epoch."""

    def progress(self) -> dict[str, Any]:
        """JSON that is recorded with every source-dev score; the same on all workers."""
        return {}

    def findings(self, examples: Examples) -> dict[str, pa.Table]:
        """Tables about a worker's examples, by name, that are kept with the model."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors to checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Take up the tensors of a checkpoint."""
