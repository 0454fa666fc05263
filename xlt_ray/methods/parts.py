"""What steps are made of: the objective of a train step, the annotator of an annotate step."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from torch import Tensor, nn

from xlt_ray.data.batch import Batch
from xlt_ray.data.examples import Examples
from xlt_ray.methods.facts import Facts, Step
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.models.span_tagger import SpanHead


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

    def build(self, facts: Facts, width: int) -> nn.Module | None:
        """Trainable parameters of its own, which are optimised, averaged over the workers and
        saved with the model; a later step that starts from the model and builds the same goes on
        with them.

        Args:
            facts: The task.
            width: H, the size of a feature.
        """
        return None

    def prepare(self, facts: Facts, model: Classifier) -> None:  # noqa: B027 - most have no state
        """Set up state on the model's device; ``model.own`` is what :meth:`build` made."""

    def begin(self, examples: Examples) -> None:  # noqa: B027
        """Called once after :meth:`prepare`, with all examples of this worker."""

    def join(self, chosen: np.ndarray, examples: Examples) -> np.ndarray:
        """Rows that a forward pass needs besides its own, such as negatives from the pool.

        They stand last in the batch, count nowhere, and may be drawn with torch's generator, which
        is seeded before each step. A pass may be planned several times.

        Args:
            chosen: Examples of the pass, of the parts and of the companion text.
            examples: All examples of this worker.
        """
        return np.zeros(0, np.int64)

    def alter(self, batch: Batch) -> Batch:
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

    def before_step(self, step: Step) -> None:  # noqa: B027
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


@dataclass
class Columns:
    """What an annotator says about some rows.

    Attributes:
        items: [N] (or [N, K]) array per column, one entry per item, stored as a list per row.
        words: [W] array per column, one entry per word, where the items are spans.
        rows: [S] (or [S, K]) array per column, one entry per row.
    """

    items: dict[str, np.ndarray] = field(default_factory=dict)
    words: dict[str, np.ndarray] = field(default_factory=dict)
    rows: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Annotator(ABC):
    """What an annotate step computes per shard: model output in, small columns out."""

    uses_languages: ClassVar[bool] = False
    """Whether it looks at the languages of the facts; only then are they known to it."""

    @property
    def span_head(self) -> SpanHead | None:
        """The head over spans that the model was trained with; None: it has another."""
        return None

    def build(self, facts: Facts, width: int) -> nn.Module | None:
        """What an objective built that this annotator reads; the model must have been trained with
        it. It comes back as ``own`` of the output.
        """
        return None

    def extra(self, own: nn.Module | None, features: Tensor) -> Tensor | None:
        """[N, K] values made of the features [N, H] of some items, which are not kept themselves;
        they come back as ``extra`` of the output. None: nothing is made of them.
        """
        return None

    @abstractmethod
    def annotate(self, output: Output, offsets: np.ndarray, facts: Facts) -> Columns:
        """Columns of some rows.

        Args:
            output: What the model says about all items, row after row; without features.
            offsets: [S + 1] first item of each row, and N.
            facts: The task.
        """


@dataclass(frozen=True)
class PredictLabels(Annotator):
    """The class of the largest logit, lowest index on ties."""

    def annotate(self, output: Output, offsets: np.ndarray, facts: Facts) -> Columns:
        """One column, ``labels``."""
        labels = output.logits.argmax(dim=1).cpu().numpy()
        return Columns(items={"labels": labels.astype(np.int16)})
