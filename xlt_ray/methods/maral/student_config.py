"""The keys of MARAL that its student is trained by."""

from typing import Literal, Self

from pydantic import Field, model_validator

from xlt_ray.config.schema import Section
from xlt_ray.methods.maral.neighbours import Search

Variant = Literal["paper", "code"]
Refinement = Literal["both", "global", "local", "none"]
"""By class means and by neighbours, by one of them alone, or not at all."""


class StudentConfig(Section, frozen=True):
    """Hyper-parameters of what the student minimises."""

    epochs: int = Field(default=20, ge=1)
    """Epochs of the student; the best of them on source dev is kept."""
    warmup: int = Field(default=2, ge=1)
    """Epochs that learn from every target span as the teacher labels it."""
    source_exponent: float = Field(default=1.0, ge=0, le=1)
    """Exponent of the class prior of source spans."""
    target_exponent: float = Field(default=1.0, ge=0, le=1)
    """Exponent of the class prior of target spans."""
    loss: Literal["mmc", "cross_entropy", "scl"] = "mmc"
    """L_mmc; cross-entropy of a linear layer over the vectors; or that and the supervised
    contrastive loss of the vectors at method.temp."""
    target: bool = True
    """Learn from target spans; false: from source spans alone, as a control."""
    outside_class: bool = True
    """O has a distribution like other classes; false: it scores every span alike (kappa 0)."""
    target_loss: Variant = "paper"
    """Hard pseudo-labels, or soft ones and a second softmax."""
    filtering: bool = True
    """Learn from reliable target spans alone."""
    filter_outside: bool = True
    """O has reliable spans and others, as each class has; false: all of its spans are reliable. The
    spans of O that the filter takes away are those that are nearly entities."""
    predict_prior: bool = False
    """Predict by log pi + rho, pi being the share of each class among the spans behind the means;
    false: by rho alone, as in the paper."""
    refinement: Refinement = "both"
    """Labels are moved by class means (global), neighbours (local), both, or none."""
    direction: Variant = "paper"
    """Votes of both are added, or each is normalised first."""
    outside_rule: bool = False
    """Class means vote for O, too, where O scores highest, as in the released code."""
    alpha_start: float = Field(default=0.95, ge=0, le=1)
    """Weight of the old label at the first epoch of refinement."""
    alpha_end: float = Field(default=0.8, ge=0, le=1)
    """Weight of the old label at the last epoch, at most alpha_start."""
    schedule: Variant = "paper"
    """From the one to the other, or beginning and ending between them."""
    k: int = Field(default=200, ge=1, le=2047)
    """Neighbours."""
    outside: float = Field(default=0.03, gt=0, le=1)
    """Share of O spans that are stored for their neighbours."""
    search: Search = "exact"
    """How neighbours are found; approximate: with a recall above 0.95, which is measured."""

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.alpha_end > self.alpha_start:
            raise ValueError(f"alpha_end: at most alpha_start = {self.alpha_start}")
        if self.epochs < self.warmup:
            raise ValueError(f"warmup: at most epochs = {self.epochs}")
        if not (self.filtering or self.filter_outside):
            raise ValueError("filter_outside: nothing is filtered with filtering = false")
        if self.predict_prior and self.loss != "mmc":
            raise ValueError("predict_prior: only loss = mmc has scores without a prior")
        return self
