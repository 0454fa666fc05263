"""Softmax classifiers: the cross-entropy objective, and one-class labels ranked by the softmax."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor
from torch.nn.functional import cross_entropy

from xlt_ray.data.batches.batch import Batch
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.shared.row_scores import one_hot_columns
from xlt_ray.models.classifier import Output
from xlt_ray.ops import uncertainty
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.task import TaskContext

Ranking = Literal["entropy", "max_probability"]
"""Lowest normalised entropy first, or highest probability of a class first."""


@dataclass
class CrossEntropy(Objective):
    """Cross-entropy of one class."""

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the labelled items."""
        return {
            "loss": cross_entropy(
                output.logits, batch.labels, ignore_index=UNLABELLED, reduction="sum"
            )
        }


@dataclass(frozen=True)
class SoftmaxAnnotator(Annotator):
    """The likeliest class of every item, and scores to select rows by.

    Columns: those of :func:`xlt_ray.methods.shared.row_scores.one_hot_columns`.
    """

    rank_by: Ranking = "entropy"

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows."""
        labels = output.logits.argmax(dim=1)
        score = rank(output.logits.double().softmax(-1), self.rank_by)
        return one_hot_columns(labels, score, offsets, context)


@dataclass(frozen=True)
class Probabilities(Annotator):
    """The likeliest class of every text, and per row ``q``, its [C] class probabilities."""

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows, which are one item each."""
        q = output.logits.double().softmax(-1).cpu().numpy()
        return Columns(items={"labels": q.argmax(axis=1).astype(np.int16)}, rows={"q": q})


def rank(p: Tensor, rank_by: Ranking) -> Tensor:
    """[N] score of [N, C] probabilities, most certain item lowest."""
    if rank_by == "entropy":
        return uncertainty.normalised_entropy(p)
    return 1 - uncertainty.max_probability(p)
