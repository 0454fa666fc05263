"""SL-LOU: self-learning with one learned noise per language.

Xu et al., "Boosting Cross-Lingual Transfer via Self-Learning with Uncertainty Estimation" (2021).
Each language l has a free log-variance s_l, and the loss of its items is

    L = CE exp(-s_l) + s_l / 2

Rows are ranked by the plain softmax; s_l has no part in that or at test time. Departure: s_l starts
at 0 and not at a random number. It is saved with the model and goes on from round to round.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from xlt_ray.data.batches.batch import Batch
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.shared.selection import Selection
from xlt_ray.methods.shared.self_training import OneHotConfig, SelfLearning
from xlt_ray.methods.shared.softmax import Ranking, SoftmaxAnnotator
from xlt_ray.methods.shared.weighted import SmoothingConfig, weights_beside_gold
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.ops import homoscedastic
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.task import TaskContext


class SLLOUConfig(OneHotConfig, SmoothingConfig, frozen=True):
    """Hyper-parameters; the defaults are the WikiANN setting."""

    name: Literal["sl_lou"] = "sl_lou"
    """Name of the method."""
    rank_by: Ranking = "entropy"
    """Lowest entropy, or highest probability of a class first."""


class LogVariances(nn.Module):
    """s_l of every language, from 0."""

    def __init__(self, num_languages: int):
        super().__init__()
        self.s = nn.Parameter(torch.zeros(num_languages))


@dataclass
class ScaledCrossEntropy(Objective):
    """CE exp(-s_l) + s_l / 2.

    Attributes:
        smoothing: Share of a label that is spread over all classes.
        is_weighted: Whether items count by weights, see `xlt_ray.methods.shared.weighted`.
    """

    smoothing: float = 0.0
    is_weighted: bool = False
    uses_languages: ClassVar[bool] = True

    def build(self, context: TaskContext, width: int) -> nn.Module:
        """The log-variances."""
        return LogVariances(len(context.languages))

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Take the log-variances from the model."""
        assert isinstance(model.own, LogVariances)
        self.variances = model.own

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the labelled items."""
        known = batch.labels != UNLABELLED
        ce = cross_entropy(
            output.logits[known],
            batch.labels[known],
            reduction="none",
            label_smoothing=self.smoothing,
        )
        loss = homoscedastic.scaled_nll(ce, self.variances.s[batch.languages[known]])
        if self.is_weighted:
            loss = loss * weights_beside_gold(batch)[known]
        return {"loss": loss.sum(), "ce": ce.detach().sum()}


class SLLOU(SelfLearning[SLLOUConfig]):
    """The self-learning loop with homoscedastic uncertainty."""

    Config = SLLOUConfig

    def objective(self, number: int) -> ScaledCrossEntropy:
        """The same loss in every stage."""
        return ScaledCrossEntropy(self.config.label_smoothing)

    def weighted_objective(self) -> ScaledCrossEntropy:
        """The same, with weights."""
        return ScaledCrossEntropy(self.config.label_smoothing, is_weighted=True)

    def annotator(self, number: int, seed: int) -> SoftmaxAnnotator:
        """The likeliest class."""
        return SoftmaxAnnotator(self.config.rank_by)

    def selection(self, number: int) -> Selection:
        """The same rule in every round."""
        return self.config.selection
