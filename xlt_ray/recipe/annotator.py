"""The annotator of an annotate step: model output in, small columns out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from xlt_ray.models.classifier import Output
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.recipe.task import TaskContext


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
    """Whether it looks at the languages of the task; only then are they known to it."""

    @property
    def span_head(self) -> SpanHead | None:
        """The head over spans that the model was trained with; None: it has another."""
        return None

    def build(self, context: TaskContext, width: int) -> nn.Module | None:
        """What an objective built that this annotator reads; the model must have been trained with
        it. It comes back as ``own`` of the output.
        """
        return None

    def feature_outputs(self, own: nn.Module | None, features: Tensor) -> Tensor | None:
        """[N, K] values made of the features [N, H] of some items, which are not kept themselves;
        they come back as ``extra`` of the output. None: nothing is made of them.
        """
        return None

    @abstractmethod
    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows.

        Args:
            output: What the model says about all items, row after row; without features.
            offsets: [S + 1] first item of each row, and N.
            context: The task.
        """


@dataclass(frozen=True)
class PredictLabels(Annotator):
    """The class of the largest logit, lowest index on ties."""

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """One column, ``labels``."""
        labels = output.logits.argmax(dim=1).cpu().numpy()
        return Columns(items={"labels": labels.astype(np.int16)})
