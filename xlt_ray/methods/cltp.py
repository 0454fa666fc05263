"""CLTP: uncertainty-aware cross-lingual transfer with pseudo-partial labels.

Paper: "Uncertainty-Aware Cross-Lingual Transfer with Pseudo Partial Labels". A classifier whose
head gives evidence e = ELU(f) + 1 of a Dirichlet distribution is fine-tuned on the source language
and then trains itself on target text. Per round, unlabelled sentences are annotated; an ambiguous
word gets a set of candidate classes,

    y~ = argmin_y (lambda^(|y|-1) + tau) tau^(|y|-2) gamma(x, y)                          (eq. 6)

where gamma is the dissonance of the beliefs once those of y are merged; the sentences of least
gamma are selected per language and entity type; and training goes on with the LW loss

    L = sum_{c in y} omega_c sigmoid(-f_c) + beta sum_{c not in y} omega_c sigmoid(f_c)   (eq. 7, 8)

The first rounds use the likeliest class alone and L_EVI = digamma(S) - digamma(e_y + 1).

Departures, each an option where the paper's reading is one too: the set of all classes is excluded
(its gamma is 0); omega is normalised within the set and within its complement, and comes from the
training pass itself; f in the loss is the evidence, as in the released code (``lw_input``). The
paper does not say how sentences with several entities are selected; that rule is the one of its
parent framework, Xu et al. (2021).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from xlt_ray.data.batches.batch import Batch
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.shared.evidential import EvidentialAnnotator, EvidentialLoss, is_silent
from xlt_ray.methods.shared.selection import Selection, annotation_columns
from xlt_ray.methods.shared.self_training import SelfLearning, SelfLearningConfig
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.ops import evidential, leveraged, partial_labels
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.task import TaskContext


class CLTPConfig(SelfLearningConfig, frozen=True):
    """Hyper-parameters by the paper's letters; the defaults are its WikiANN setting."""

    name: Literal["cltp"] = "cltp"
    """Name of the method."""
    lam: Annotated[float, Field(alias="lambda", ge=1)] = 4.0
    """Base lambda of the penalty on the set size."""
    tau: float = Field(default=10.0, gt=1)
    """Base tau of the penalty on the set size."""
    beta: float = Field(default=2.0, ge=0)
    """Weight of the classes outside the set in the LW loss."""
    penalty: Literal["power", "linear"] = "power"
    """lambda^(|y|-1), or lambda (|y|-1)."""
    label: Literal["partial", "top_k", "one_hot"] = "partial"
    """Candidate sets by eq. 6, always the k largest classes (Table 4), or one class and L_EVI in
    every round and the final pass."""
    top_k: int = Field(default=2, ge=1)
    """k of label=top_k, below the number of classes."""
    selection: Selection = "per_class"
    """per_class: quota k per language and class; top_n: the k of least gamma of a language;
    repo_tail: all but the 2k best of each class, in the rounds with sets, as the released code."""
    rank_by: Literal["label", "instance"] = "label"
    """Rank by the gamma of the label given, or by the dissonance of the instance."""
    evidence_floor: float = Field(default=1e-3, ge=0)
    """Items with S < C + floor have no evidence; their rows are never selected."""
    rounds: int = Field(default=10, ge=0)
    """Rounds at most."""
    one_hot_rounds: int = Field(default=3, ge=0)
    """First rounds, in which a label is one class."""
    reset_pool_after_warmup: bool = False
    """Refill the pools after the one-hot rounds, as the released code does."""
    lw_input: Literal["evidence", "logit"] = "evidence"
    """f of the LW loss: the evidence, or the raw output of the head."""

    @model_validator(mode="after")
    def _is_one_method(self) -> Self:
        if self.label == "one_hot" and self.selection == "repo_tail":
            raise ValueError("selection repo_tail is one for sets, and label one_hot has none")
        return self

    def check_classes(self, num_classes: int) -> None:
        """``top_k``, where it is used, leaves a class out."""
        if self.label == "top_k" and self.top_k >= num_classes:
            raise ValueError(
                f"top_k: {self.top_k}, but has to be below the number of classes, "
                f"{num_classes - 1} at most"
            )


@dataclass
class LeveragedWeightedLoss(Objective):
    """The LW loss over candidate sets, with one row of weights omega per item (eq. 7, 8).

    omega starts at 1/C and follows the model: whenever an item has been seen, its row becomes the
    softmax of that pass's f within the set and within the complement. Gold is a set of one class.
    """

    beta: float
    lw_input: Literal["evidence", "logit"] = "evidence"

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Allocate omega, [items of this worker, C] float32."""
        device = next(model.parameters()).device
        shape = (context.num_items, context.num_classes)
        self.omega = torch.full(shape, 1.0 / context.num_classes, device=device)

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the labelled items; their weights are renewed afterwards."""
        known = batch.labels != UNLABELLED
        items, logits = batch.item_ids[known], output.logits[known]
        f = evidential.evidence(logits) if self.lw_input == "evidence" else logits
        singles = torch.ones_like(batch.labels[known]) << batch.labels[known]
        sets = batch.candidates[known]
        mask = partial_labels.from_bitmask(torch.where(sets == 0, singles, sets), logits.shape[1])
        terms = leveraged.lw_loss(f, mask, self.omega[items], beta=self.beta)
        self.omega[items] = leveraged.lw_weights(f, mask).to(self.omega.dtype)
        return {
            "loss": terms.loss_N.sum(),
            "candidate": terms.candidate_N.detach().sum(),
            "noncandidate": terms.noncandidate_N.detach().sum(),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """The weights."""
        return {"omega": self.omega}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the weights."""
        self.omega.copy_(state["omega"])


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

    Columns: those of
    :func:`xlt_ray.methods.shared.selection.annotation_columns`. A row with an item without evidence
    is never selected.
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


class CLTP(SelfLearning[CLTPConfig]):
    """The self-learning loop with candidate sets and the LW loss once the easy part is done."""

    Config = CLTPConfig
    is_evidential = True

    def has_sets(self, number: int) -> bool:
        """Whether a round labels with candidate sets."""
        return self.config.label != "one_hot" and number > self.config.one_hot_rounds

    def refills_before(self, number: int) -> bool:
        """Full pools for the rounds with sets, if asked for."""
        return self.config.reset_pool_after_warmup and number == self.config.one_hot_rounds + 1

    def selection(self, number: int) -> Selection:
        """The tail rule of the released code is one for rounds with sets."""
        rule = self.config.selection
        return rule if self.has_sets(number) or rule != "repo_tail" else "per_class"

    def annotator(self, number: int, seed: int) -> Annotator:
        """One class by most evidence, ranked by dissonance; or candidate sets ranked by gamma."""
        c = self.config
        if not self.has_sets(number):
            return EvidentialAnnotator("dissonance", c.evidence_floor)
        rule = SetRule(c.lam, c.tau, c.penalty, c.top_k if c.label == "top_k" else None)
        return CandidateAnnotator(rule, c.rank_by, c.evidence_floor)

    def objective(self, number: int) -> Objective:
        """L_EVI as long as labels are single classes, then the LW loss."""
        return self.lw_loss() if self.has_sets(number) else EvidentialLoss()

    def final_objective(self) -> Objective:
        """The LW loss, whichever rounds there were."""
        return EvidentialLoss() if self.config.label == "one_hot" else self.lw_loss()

    def lw_loss(self) -> LeveragedWeightedLoss:
        """Objective of the rounds with sets and the final pass."""
        return LeveragedWeightedLoss(self.config.beta, self.config.lw_input)
