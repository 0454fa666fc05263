"""Losses of items that count by a weight, and of labels that are smoothed."""

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from xlt_ray.config.schema import MethodConfig
from xlt_ray.data.batches.batch import Batch
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.shared.evidential import EvidentialLoss
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.models.classifier import Output
from xlt_ray.ops import evidential
from xlt_ray.recipe.corpus import Corpus, JoinedColumns
from xlt_ray.store.artifacts import Artifact

GOLD = 0
"""Part of a mix that is the source gold, whose items count 1."""
_NAME, _COLUMN = "rule", "weight"


class SmoothingConfig(MethodConfig, frozen=True):
    """Label smoothing."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of a label's probability that is spread over all classes alike, in every training by
    cross-entropy (Szegedy et al., 2016); 0: none."""


def weighted(text: Corpus, picked: Artifact) -> Corpus:
    """A text with the weights that a choice gives to its items beside them."""
    return text.with_columns(JoinedColumns(_NAME, picked, (_COLUMN,)))


def weights_of(batch: Batch) -> Tensor:
    """[N] weights of the items of a batch as they are; 0 of those that have none."""
    return batch.columns[f"{_NAME}.{_COLUMN}"]


def weights_beside_gold(batch: Batch) -> Tensor:
    """[N] weights of the items of a batch, 1 of the first part of the mix."""
    return torch.where(batch.part == GOLD, 1.0, weights_of(batch))


def cross_entropy_of(smoothing: float, *, is_weighted: bool = False) -> CrossEntropy:
    """The cross-entropy, as plain as it can be.

    Args:
        smoothing: Share of a label that is spread over all classes.
        is_weighted: Whether items count by weights.
    """
    if not smoothing and not is_weighted:
        return CrossEntropy()
    return SmoothCrossEntropy(smoothing, is_weighted)


@dataclass
class SmoothCrossEntropy(CrossEntropy):
    """Cross-entropy with the label (1 - s) one-hot + s / C, times the weight of the item.

    Attributes:
        smoothing: s.
        is_weighted: Whether items count by weights; else all count 1.
    """

    smoothing: float = 0.0
    is_weighted: bool = False

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the labelled items."""
        losses = cross_entropy(
            output.logits,
            batch.labels,
            ignore_index=UNLABELLED,
            reduction="none",
            label_smoothing=self.smoothing,
        )
        if self.is_weighted:
            losses = losses * weights_beside_gold(batch)
        return {"loss": losses.sum()}


@dataclass
class WeightedEvidentialLoss(EvidentialLoss):
    """The evidential loss of one class, times the weight of the item."""

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the labelled items."""
        known = batch.labels != UNLABELLED
        evidence, labels = evidential.evidence(output.logits[known]), batch.labels[known]
        self.record(labels, evidence=evidence.detach().gather(1, labels[:, None])[:, 0])
        if self.kind == "squared":
            losses = evidential.evidential_mse(evidence, labels).loss_N
        else:
            losses = evidential.evidential_nll(evidence, labels)
        return {"loss": (losses * weights_beside_gold(batch)[known]).sum()}
