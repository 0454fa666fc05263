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
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from xlt_ray.config import BELOW_CLASSES, MethodConfig
from xlt_ray.data.batching import Batch, seed_of
from xlt_ray.data.corpus import Corpus, Mix
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.base import (
    Annotator,
    Columns,
    Driver,
    Facts,
    Method,
    Objective,
    Outcome,
    Round,
    Schedule,
    best_on_source_dev,
    stalled,
)
from xlt_ray.methods.picks import Selection, entity_scores, gather_earlier, select_sentences
from xlt_ray.ops import evidential, leveraged, partial_labels, uncertainty
from xlt_ray.store import Artifact


class CLTPConfig(MethodConfig, frozen=True):
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
    label: Literal["partial", "top_k"] = "partial"
    """Candidate sets by eq. 6, or always the k largest classes (Table 4)."""
    top_k: Annotated[int, BELOW_CLASSES] = Field(default=2, ge=1)
    """k of label=top_k."""
    selection: Selection = "per_class"
    """per_class: quota k per language and class; top_n: the k of least gamma of a language;
    repo_tail: all but the 2k best of each class, in the rounds with sets, as the released code."""
    rank_by: Literal["label", "instance"] = "label"
    """Rank by the gamma of the label given, or by the dissonance of the instance."""
    evidence_floor: float = Field(default=1e-3, ge=0)
    """Words with S < C + floor have no evidence; their sentences are never selected."""
    ratio: float = Field(default=0.08, gt=0, le=1)
    """Quota per class and round, as a share of the language's first pool."""
    src_ratio: float = Field(default=0.6, gt=0, le=1)
    """Share of the source gold that each round trains on."""
    prev_ratio: float = Field(default=1.0, ge=0)
    """Earlier selections trained on again, per newly selected sentence of the language."""
    rounds: int = Field(default=10, ge=0)
    """Rounds at most."""
    one_hot_rounds: int = Field(default=3, ge=0)
    """First rounds, in which a label is one class."""
    reset_pool_after_warmup: bool = False
    """Refill the pools after the one-hot rounds, as the released code does."""
    lw_input: Literal["evidence", "logit"] = "evidence"
    """f of the LW loss: the evidence, or the raw output of the head."""
    patience: int | None = Field(default=None, ge=1)
    """Rounds without a better source-dev score after which self-training stops; absent: never."""
    source_lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate on the source gold."""
    source_epochs: int = Field(default=10, ge=1)
    """Epochs on the source gold."""
    round_lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate of the rounds and the final pass."""
    round_epochs: int = Field(default=3, ge=1)
    """Epochs of a round."""
    final_epochs: int = Field(default=3, ge=1)
    """Epochs of the final pass at most."""
    final_patience: int = Field(default=1, ge=1)
    """Epochs without a better source-dev score that end the final pass."""


@dataclass
class EvidentialLoss(Objective):
    """L_EVI, the digamma loss of one class (eq. 3)."""

    def loss(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Sum over the labelled items."""
        known = batch.labels != UNLABELLED
        evidence = evidential.evidence(logits[known])
        return {"loss": evidential.evidential_nll(evidence, batch.labels[known]).sum()}


@dataclass
class LeveragedWeightedLoss(Objective):
    """The LW loss over candidate sets, with one row of weights omega per item (eq. 7, 8).

    omega starts at 1/C and follows the model: whenever an item has been seen, its row becomes the
    softmax of that pass's f within the set and within the complement. Gold is a set of one class.
    """

    beta: float
    lw_input: Literal["evidence", "logit"] = "evidence"

    def prepare(self, facts: Facts, model: nn.Module) -> None:
        """Allocate omega, [items of this worker, C] float32."""
        device = next(model.parameters()).device
        shape = (facts.num_items, facts.num_classes)
        self.omega = torch.full(shape, 1.0 / facts.num_classes, device=device)

    def loss(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Sum over the labelled items; their weights are renewed afterwards."""
        known = batch.labels != UNLABELLED
        items, logits = batch.item_ids[known], logits[known]
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
    """How candidate sets are made; see :class:`CLTPConfig`."""

    lam: float
    tau: float
    penalty: Literal["power", "linear"]
    label: Literal["partial", "top_k"]
    top_k: int

    def sets(self, evidence: Tensor) -> partial_labels.CandidateSets:
        """The candidate set of each row of an [N, C] evidence."""
        if self.label == "top_k":
            return partial_labels.top_k_sets(evidence, k=self.top_k)
        return partial_labels.candidate_sets(
            evidence, lam=self.lam, tau=self.tau, penalty=self.penalty
        )


@dataclass(frozen=True)
class CandidateAnnotator(Annotator):
    """Labels, candidate sets and gamma of every word, and scores to select sentences by.

    Without a rule every set is the likeliest class. Columns: ``labels``, ``candidates`` (bit masks)
    and ``gamma`` per word; per sentence ``type_scores`` (a mean over the entities of each type, NaN
    where there is none), ``score`` (the mean over all entities), ``valid`` (no orphan I- and
    evidence for every word) and ``search`` (how sets were looked for).
    """

    rule: SetRule | None
    rank_by: Literal["label", "instance"] = "label"
    evidence_floor: float = 1e-3

    def annotate(self, logits: Tensor, offsets: np.ndarray, facts: Facts) -> Columns:
        """Columns of some sentences."""
        evidence = evidential.evidence(logits.double())
        best = evidence.argmax(dim=1)
        if self.rule is None:
            gamma = uncertainty.dissonance(evidential.dirichlet(evidence).belief_NC)
            sets, rank, search = torch.ones_like(best) << best, gamma, "one-hot"
        else:
            found = self.rule.sets(evidence)
            sets, gamma, search = found.mask_N, found.gamma_N, found.search
            rank = found.dissonance_N if self.rank_by == "instance" else gamma
        floor = facts.num_classes + self.evidence_floor
        vacuous = (evidential.strength(evidence) < floor).cpu().numpy()
        labels = best.cpu().numpy()
        by_type, overall, orphaned = entity_scores(labels, rank.cpu().numpy(), offsets, facts)
        silent = np.add.reduceat(np.append(vacuous, False), offsets[:-1]) if len(offsets) > 1 else 0
        return Columns(
            items={
                "labels": labels.astype(np.int16),
                "candidates": sets.cpu().numpy(),
                "gamma": gamma.cpu().numpy().astype(np.float32),
            },
            rows={
                "type_scores": by_type,
                "score": overall,
                "valid": ~orphaned & (silent == 0),
                "search": np.full(len(offsets) - 1, search),
            },
        )


class CLTP(Method[CLTPConfig]):
    """The recipe: source, rounds of annotate, select and train, and a final pass."""

    Config = CLTPConfig
    tasks = frozenset({"token"})
    needs_bio = True

    def run(self, driver: Driver) -> Outcome:
        """Self-train from source gold and unlabelled target text."""
        c = self.config
        gold, whole = driver.source("train"), driver.unlabelled()
        schedule, start = Schedule(c.source_lr, c.source_epochs), driver.backbone
        source = driver.train("source", Mix(gold), EvidentialLoss(), start=start, schedule=schedule)
        model, pool = source, whole
        picks: list[Artifact] = []
        rounds: list[Round] = []
        for number in range(1, c.rounds + 1):
            partial = number > c.one_hot_rounds
            if c.reset_pool_after_warmup and number == c.one_hot_rounds + 1:
                pool = whole
            annotator = self.annotator(partial=partial)
            scored = driver.annotate(f"round {number}", pool, model, annotator)
            rule = c.selection if partial or c.selection != "repo_tail" else "per_class"
            quota = {"ratio": c.ratio, "pool_sizes": whole.tokens.info["rows_by_language"]}
            title = f"round {number} selection"
            picked = driver.derive(title, select_sentences, scored, selection_rule=rule, **quota)
            if picked.info["rows"] == 0:
                if partial:
                    break
                continue  # the rounds with sets may start from full pools
            picks.append(picked)
            mix = Mix(
                gold.sample(c.src_ratio, seed=seed_of(driver.seed, "source sample", number)),
                whole.labelled(picked),
                *self.earlier(driver, number, picks, whole),
            )
            objective = self.lw_loss() if partial else EvidentialLoss()
            schedule = Schedule(c.round_lr, c.round_epochs, keep="last")
            model = driver.train(f"round {number}", mix, objective, start=model, schedule=schedule)
            rounds.append(Round(number, picked.info["selected"], picked.info["set_sizes"], model))
            pool = pool.without(picked)
            if stalled([item.model.source_dev for item in rounds], c.patience):
                break
        if not picks:
            return Outcome(source, source)
        every = driver.derive("all selections", gather_earlier, *picks, ratio=None, seed=0)
        schedule = Schedule(c.round_lr, c.final_epochs, patience=c.final_patience)
        start = best_on_source_dev([item.model for item in rounds])
        mix = Mix(gold, whole.labelled(every))
        final = driver.train("final", mix, self.lw_loss(), start=start, schedule=schedule)
        return Outcome(source, final, rounds)

    def earlier(
        self, driver: Driver, number: int, picks: list[Artifact], whole: Corpus
    ) -> list[Corpus]:
        """Earlier selections that the round trains on again, as a corpus, if there are any."""
        ratio = self.config.prev_ratio
        if len(picks) < 2 or ratio == 0:
            return []
        seed = seed_of(driver.seed, "earlier selections", number)
        title = f"round {number} earlier"
        drawn = driver.derive(title, gather_earlier, *picks, ratio=ratio, seed=seed)
        return [whole.labelled(drawn)] if drawn.info["rows"] != 0 else []

    def annotator(self, *, partial: bool) -> CandidateAnnotator:
        """Annotator of a round."""
        c = self.config
        if not partial:
            return CandidateAnnotator(None, evidence_floor=c.evidence_floor)
        rule = SetRule(c.lam, c.tau, c.penalty, c.label, c.top_k)
        return CandidateAnnotator(rule, c.rank_by, c.evidence_floor)

    def lw_loss(self) -> LeveragedWeightedLoss:
        """Objective of the partial rounds and the final pass."""
        return LeveragedWeightedLoss(self.config.beta, self.config.lw_input)
