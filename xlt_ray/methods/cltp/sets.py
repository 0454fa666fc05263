"""How CLTP makes candidate sets of a model's outputs, and ranks rows by them (eq. 6)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from xlt_ray.methods.shared.evidential import is_silent
from xlt_ray.methods.shared.row_scores import annotation_columns
from xlt_ray.models.classifier import Output
from xlt_ray.ops import evidential, partial_labels
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.task import TaskContext


@dataclass(frozen=True)
class SetRule:
    """How candidate sets are made; see :class:`CLTPConfig`. ``top_k``: always that many classes."""

    lam: float
    tau: float
    penalty: Literal["power", "linear"]
    top_k: int | None = None

    def sets(self, evidence: Tensor) -> partial_labels.CandidateSets:
        """The candidate set of each row of an [N, C] evidence."""
        if self.top_k is not None:
            return partial_labels.top_k_sets(evidence, k=self.top_k)
        return partial_labels.candidate_sets(
            evidence, lam=self.lam, tau=self.tau, penalty=self.penalty
        )


@dataclass(frozen=True)
class CandidateAnnotator(Annotator):
    """Labels, candidate sets and gamma of every item, and scores to select rows by.

    Columns: those of :func:`xlt_ray.methods.shared.row_scores.annotation_columns`. A row with an
    item without evidence is never selected.
    """

    rule: SetRule
    rank_by: Literal["label", "instance"] = "label"
    evidence_floor: float = 1e-3

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows."""
        evidence = evidential.evidence(output.logits.double())
        found = self.rule.sets(evidence)
        return annotation_columns(
            evidence.argmax(dim=1),
            found.mask_N,
            found.gamma_N,
            found.dissonance_N if self.rank_by == "instance" else found.gamma_N,
            offsets,
            context,
            silent=is_silent(evidence, self.evidence_floor),
            search=found.search,
        )
