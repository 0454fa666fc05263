"""What CLTP minimises on candidate sets.

Gold, and an item without a set, is a set of one class. Each loss records with every source-dev
score whether it was at work: the evidence of sets and, of the LW loss, how steep it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from xlt_ray.data.batches.batch import Batch
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.shared.evidential import EvidentialObjective
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.ops import evidential, leveraged, partial_labels
from xlt_ray.recipe.task import TaskContext


@dataclass
class EvidentialSetLoss(EvidentialObjective):
    """L_EVI of candidate sets.

    Attributes:
        of: each: digamma(S) - digamma(e_c + 1) summed over the classes c of the set, L_EVI with
            the multi-hot y of Algorithm 1; union: digamma(S) - digamma(sum of e_c + 1), the set as
            one class. Both are L_EVI for a set of one.
    """

    of: Literal["each", "union"]

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the labelled items."""
        known = batch.labels != UNLABELLED
        evidence, mask = evidential.evidence(output.logits[known]), _sets_of(batch, known, output)
        self.record(batch.labels[known], evidence=_strongest(evidence, mask))
        if self.of == "each":
            return {"loss": evidential.evidential_nll_of_each(evidence, mask).sum()}
        return {"loss": evidential.evidential_nll_of_sets(evidence, mask).sum()}


@dataclass
class LeveragedWeightedLoss(EvidentialObjective):
    """The LW loss over candidate sets, with one row of weights omega per item (eq. 7, 8).

    omega starts at 1/C and follows the model: whenever an item has been seen, its row becomes the
    softmax of that pass's f within the set and within the complement.

    It records ``slope_inside`` and ``slope_outside``, the sums of |dL/df_c| over the classes of an
    item's set and over the others. With large f the first vanishes, and what is left pushes the
    evidence of all classes down.
    """

    beta: float
    lw_input: Literal["evidence", "logit"] = "evidence"
    terms: ClassVar[tuple[str, ...]] = ("evidence", "slope_inside", "slope_outside")

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Allocate omega, [items of this worker, C] float32."""
        super().prepare(context, model)
        device = next(model.parameters()).device
        shape = (context.num_items, context.num_classes)
        self.omega = torch.full(shape, 1.0 / context.num_classes, device=device)

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the labelled items; their weights are renewed afterwards."""
        known = batch.labels != UNLABELLED
        items, logits = batch.item_ids[known], output.logits[known]
        mask = _sets_of(batch, known, output)
        evidence = evidential.evidence(logits)
        f = evidence if self.lw_input == "evidence" else logits
        omega = self.omega[items]
        terms = leveraged.lw_loss(f, mask, omega, beta=self.beta)
        slopes = omega * torch.sigmoid(f.detach()) * torch.sigmoid(-f.detach())
        self.record(
            batch.labels[known],
            evidence=_strongest(evidence, mask),
            slope_inside=torch.where(mask, slopes, 0.0).sum(1),
            slope_outside=self.beta * torch.where(mask, 0.0, slopes).sum(1),
        )
        self.omega[items] = leveraged.lw_weights(f, mask).to(self.omega.dtype)
        return {
            "loss": terms.loss_N.sum(),
            "candidate": terms.candidate_N.detach().sum(),
            "noncandidate": terms.noncandidate_N.detach().sum(),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """The weights, and the sums for the record."""
        return {"omega": self.omega, **super().state_dict()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the tensors of a checkpoint."""
        super().load_state_dict(state)
        self.omega.copy_(state["omega"])


def _sets_of(batch: Batch, known: Tensor, output: Output) -> Tensor:
    """[N, C] bool sets of the labelled items."""
    labels, sets = batch.labels[known], batch.candidates[known]
    singles = torch.ones_like(labels) << labels
    return partial_labels.from_bitmask(
        torch.where(sets == 0, singles, sets), output.logits.shape[1]
    )


def _strongest(evidence: Tensor, mask: Tensor) -> Tensor:
    """[N] largest evidence of the classes of each set."""
    return torch.where(mask, evidence.detach(), 0.0).amax(1)
