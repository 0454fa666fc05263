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

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from xlt_ray.methods.cltp.losses import EvidentialSetLoss, LeveragedWeightedLoss
from xlt_ray.methods.cltp.sets import CandidateAnnotator, SetRule
from xlt_ray.methods.shared.evidential import EvidentialAnnotator, EvidentialLoss
from xlt_ray.methods.shared.mechanisms import by_round, last_record, share, total
from xlt_ray.methods.shared.selection import Selection
from xlt_ray.methods.shared.self_training import SelfLearning, SelfLearningConfig
from xlt_ray.methods.shared.weighted import WeightedEvidentialLoss
from xlt_ray.recipe.annotator import Annotator
from xlt_ray.recipe.corpus import Corpus
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Round
from xlt_ray.recipe.objective import Objective

FLAT = 1e-2
"""Slope on candidates, as a share of that on the others, below which the LW loss only rejects."""


class CLTPConfig(SelfLearningConfig, frozen=True):
    """Hyper-parameters by the paper's letters; the defaults are its WikiANN setting."""

    quota_keys: ClassVar[tuple[str, ...]] = (
        *SelfLearningConfig.quota_keys,
        "reset_pool_after_warmup",
    )

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
    set_loss: Literal["lw", "dirichlet"] = "lw"
    """Loss of candidate sets: L_LW; or digamma(S) - digamma(sum of alpha over the set), which is
    L_EVI of the set as one class and needs neither omega nor beta."""
    round_loss: Literal["set_loss", "multi_hot"] = "set_loss"
    """Loss of the rounds with sets: set_loss, as in the final pass; or L_EVI with a multi-hot y, as
    Algorithm 1 has it, and set_loss in the final pass alone."""
    lw_input: Literal["evidence", "logit"] = "evidence"
    """f of the LW loss: the evidence, or the raw output of the head."""
    set_lr: float | None = Field(default=None, gt=0)
    """Peak learning rate of what learns from sets: those rounds and the final pass. Absent:
    round_lr. The released code has a hundredth of it."""

    @model_validator(mode="after")
    def _is_one_method(self) -> Self:
        if self.label == "one_hot" and self.selection == "repo_tail":
            raise ValueError("selection repo_tail is one for sets, and label one_hot has none")
        if self.label == "one_hot" and (self.set_loss, self.round_loss) != ("lw", "set_loss"):
            raise ValueError("set_loss and round_loss are of sets, and label one_hot has none")
        if self.label == "one_hot" and self.set_lr is not None:
            raise ValueError("set_lr is the rate of sets, and label one_hot has none")
        if self.is_weighted and self.label != "one_hot":
            raise ValueError(
                "threshold softmatch weighs single labels, and sets have weights of their own; "
                "allowed: by_class, fixed, freematch, or label one_hot"
            )
        return self

    def check_classes(self, num_classes: int) -> None:
        """``top_k``, where it is used, leaves a class out."""
        super().check_classes(num_classes)
        if self.label == "top_k" and self.top_k >= num_classes:
            raise ValueError(
                f"top_k: {self.top_k}, but has to be below the number of classes, "
                f"{num_classes - 1} at most"
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
        """L_EVI as long as labels are single classes, then the loss of the rounds with sets."""
        if not self.has_sets(number):
            return EvidentialLoss()
        return EvidentialSetLoss("each") if self.config.round_loss == "multi_hot" else self.sets()

    def weighted_objective(self) -> Objective:
        """L_EVI with weights; there are no sets then."""
        return WeightedEvidentialLoss()

    def final_objective(self) -> Objective:
        """The loss of candidate sets, whichever rounds there were."""
        return EvidentialLoss() if self.config.label == "one_hot" else self.sets()

    def rate(self, number: int) -> float:
        """That of the rounds, or of sets."""
        return self.config.round_lr if not self.has_sets(number) else self.final_rate()

    def final_rate(self) -> float:
        """That of sets, whichever rounds there were."""
        return self.config.set_lr or self.config.round_lr

    def sets(self) -> Objective:
        """Loss of candidate sets."""
        if self.config.set_loss == "dirichlet":
            return EvidentialSetLoss("union")
        return LeveragedWeightedLoss(self.config.beta, self.config.lw_input)

    def own_rounds_from(self) -> int:
        """The first round with sets."""
        return 1 if self.config.label == "one_hot" else self.config.one_hot_rounds + 1

    def mechanisms(self, rounds: Sequence[Round], whole: Corpus) -> Sequence[Mechanism]:
        """Whether words got sets of several classes, and whether the losses moved evidence."""
        records = [last_record(item.model) for item in rounds]
        evidence = by_round(rounds, [record.get("evidence") for record in records])
        found = [Mechanism("evidence of labelled entities or texts", evidence)]
        if self.config.label == "one_hot":
            return found
        with_sets = [x for x in rounds if self.has_sets(x.number)]
        again = self.config.threshold is not None
        found.insert(0, sets_given(with_sets, whole, again=again))
        slopes = [
            share(record.get("slope_inside"), record.get("slope_outside")) for record in records
        ]
        if figures := by_round(rounds, slopes):
            warning = None
            if list(figures.values())[-1] < FLAT:
                warning = "the LW loss is flat on the candidates and only lowers other evidence"
            found.append(Mechanism("LW loss, slope on candidates over others", figures, warning))
        return found


def sets_given(rounds: Sequence[Round], whole: Corpus, *, again: bool = False) -> Mechanism:
    """Share of the selected items of each round with sets whose set has several classes, and share
    of the first pools whose rows ever got one, unless rows can be selected again.

    Args:
        rounds: The rounds with sets.
        whole: The unlabelled text before any round.
        again: Whether rows can be selected again.
    """
    counts = [item.picked.info.get("set_sizes") or {} for item in rounds]
    several = [share(sum(x.values()) - x.get("1", 0), sum(x.values())) for x in counts]
    figures = by_round(rounds, several)
    rows = sum(item.picked.info.get("rows_with_sets") or 0 for item in rounds)
    of_pool = share(rows, total(whole.tokens.info.get("rows_by_language")))
    warning = None
    if not rounds:
        warning = "the rounds ended before the first one with candidate sets"
    elif figures and not any(figures.values()):
        warning = "no selected item has a set of several classes"
    if of_pool is not None and not again:
        figures["rows of the pool"] = of_pool
    return Mechanism("candidate sets, share of items with several classes", figures, warning)
