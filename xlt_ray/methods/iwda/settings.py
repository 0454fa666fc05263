"""How the critic and the importance weights of IWDA are trained."""

from typing import Literal

from pydantic import Field

from xlt_ray.config.schema import Section
from xlt_ray.ops import alignment
from xlt_ray.recipe.schedule import OptimiserStep

MOST_OUTER = 20
"""Classes up to which the critic sees whole outer products."""


class CriticSettings(Section, frozen=True):
    """Hyper-parameters of the critic and the weights."""

    weighting: Literal["estimated", "none", "fixed"] = "estimated"
    """Weights that follow the estimate, or stay; none: all are 1."""
    lambda_da: float = Field(default=5e-3, ge=0)
    """Strength of the alignment for the encoder."""
    lambda_gp: float = Field(default=10.0, ge=0)
    """mu, strength of the critic's gradient penalty."""
    lambda_iw: float = Field(default=2.0, ge=0)
    """xi, decay of the weights towards the initial ones, from which they stay within 1/xi."""
    lr_iw: float = Field(default=5e-4, gt=0)
    """Learning rate of the weights."""
    w_schedule: Literal["linear", "constant"] = "linear"
    """That learning rate falls to 0, or stays."""
    projection: Literal["rescale", "euclid"] = "rescale"
    """Back to the constraints by clamping and rescaling, or to the nearest weights."""
    stats_rate: float = Field(default=5e-3, gt=0, le=1)
    """s, weight of a batch in the running statistics."""
    stats_left: float = Field(default=0.01, gt=0, le=1)
    """Most of the statistics' start that may be left at the end; in a short training s is larger.
    1: s stays."""
    statistics: Literal["shares", "counts"] = "shares"
    """Averages of normalised batches, or sums of raw counts as in the released code."""
    ramp: float = Field(default=0.1, ge=0, le=1)
    """Share of the steps over which alignment and weights set in."""
    critic_hidden: int = Field(default=2048, ge=1)
    """Width of the critic."""
    critic_items: int = Field(default=1024, ge=1)
    """Items of each domain that the critic sees in a forward pass at most, drawn at random."""
    critic_steps: int = Field(default=0, ge=0)
    """Critic steps before each step of the encoder; 0: both at once."""
    critic_view: Literal["auto", "outer", "projected", "plain"] = "auto"
    """What the critic sees: class probabilities times features, a random projection of that to
    1024 numbers, or features alone; auto: projected with more than 20 classes."""
    feature: Literal["head", "raw_cls"] = "head"
    """Input of the last linear layer, or the last hidden state at the first token."""

    def view(self, num_classes: int) -> Literal["outer", "projected", "plain"]:
        """What the critic sees with so many classes."""
        if self.critic_view == "auto":
            return "outer" if num_classes <= MOST_OUTER else "projected"
        return self.critic_view

    def rate(self, step: OptimiserStep) -> float:
        """Weight of a batch in the running statistics of a training."""
        return alignment.rate_of(self.stats_rate, step.steps, self.stats_left)

    def risen(self, step: OptimiserStep) -> float:
        """From 0 to 1 over the first share of the steps."""
        rises = self.ramp * step.steps
        return min(1.0, step.number / rises) if rises >= 1 else 1.0
