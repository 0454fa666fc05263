"""Evidential classifiers: the head's output is evidence e = ELU(f) + 1 of a Dirichlet distribution.

Sensoy et al., "Evidential Deep Learning to Quantify Classification Uncertainty" (2018). CLTP trains
with the expected cross-entropy, L_EVI = digamma(S) - digamma(e_y + 1); SL-EVI of Xu et al. (2021)
with the expected squared error. Items are ranked by conflict or by lack of evidence.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from xlt_ray.data.batches.batch import Batch
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.shared.row_scores import one_hot_columns
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.ops import evidential, uncertainty
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.loss_means import RecordedObjective
from xlt_ray.recipe.task import TaskContext

EvidentialRanking = Literal["dissonance", "vacuity", "custom"]
"""Least conflict first; most evidence first; least of 0.01 vacuity + dissonance first."""


class EvidentialObjective(RecordedObjective):
    """What is minimised of evidence; it records how much of it items have for their label.

    The record is the mean ``evidence`` of the label, or of the strongest class of a candidate set,
    over words inside entities where there are entities, else over all items.
    """

    terms: ClassVar[tuple[str, ...]] = ("evidence",)

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Start the sums for the record, and see which class is outside."""
        super().prepare(context, model)
        self.outside = context.labels.outside if context.labels.is_bio else UNLABELLED

    def record(self, labels: Tensor, **terms: Tensor) -> None:
        """Add to the record.

        Args:
            labels: [N] class of each labelled item.
            terms: [N] values by name.
        """
        inside = labels != self.outside
        for name, values in terms.items():
            self.means.add(name, (values * inside).sum(), inside.sum())


@dataclass
class EvidentialLoss(EvidentialObjective):
    """The evidential loss of one class."""

    kind: Literal["digamma", "squared"] = "digamma"

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the labelled items."""
        known = batch.labels != UNLABELLED
        evidence, labels = evidential.evidence(output.logits[known]), batch.labels[known]
        self.record(labels, evidence=evidence.detach().gather(1, labels[:, None])[:, 0])
        if self.kind == "squared":
            return {"loss": evidential.evidential_mse(evidence, labels).loss_N.sum()}
        return {"loss": evidential.evidential_nll(evidence, labels).sum()}


@dataclass(frozen=True)
class EvidentialAnnotator(Annotator):
    """The class of most evidence of every item, and scores to select rows by.

    Columns: those of
    :func:`xlt_ray.methods.shared.row_scores.one_hot_columns`. A row with an item whose strength
    S is below C + floor has no evidence and is never selected.
    """

    rank_by: EvidentialRanking = "dissonance"
    evidence_floor: float = 1e-3

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows."""
        evidence = evidential.evidence(output.logits.double())
        score = {
            "dissonance": lambda: uncertainty.dissonance(evidential.dirichlet(evidence).belief_NC),
            "vacuity": lambda: uncertainty.vacuity(evidence),
            "custom": lambda: uncertainty.custom_uncertainty(evidence),
        }[self.rank_by]()
        silent = is_silent(evidence, self.evidence_floor)
        return one_hot_columns(evidence.argmax(dim=1), score, offsets, context, silent)


def is_silent(evidence: Tensor, floor: float) -> np.ndarray:
    """[N] whether an item has next to no evidence, S < C + floor."""
    return (evidential.strength(evidence) < evidence.shape[1] + floor).cpu().numpy()
