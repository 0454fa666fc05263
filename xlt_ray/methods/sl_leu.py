"""SL-LEU: self-learning with a heteroscedastic classifier, ranked by its mean probabilities.

Xu et al., "Boosting Cross-Lingual Transfer via Self-Learning with Uncertainty Estimation" (2021).
A linear unit beside the head predicts u = log sigma of each input; logits are perturbed,
l_m = f + exp(u) eps_m with eps_m standard normal, and the loss is -log mean_m softmax(l_m)[y].
Rows are ranked by the mean of the M softmaxes. The label is the argmax of f without noise, as at
test time; the noise of annotators is drawn from a fixed seed.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from xlt_ray.data.batches.batch import Batch
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.shared.row_scores import one_hot_columns
from xlt_ray.methods.shared.selection import Selection
from xlt_ray.methods.shared.self_training import OneHotConfig, SelfLearning
from xlt_ray.methods.shared.softmax import Ranking, rank
from xlt_ray.methods.shared.weighted import weights_beside_gold
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.ops import heteroscedastic
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.task import TaskContext


class SLLEUConfig(OneHotConfig, frozen=True):
    """Hyper-parameters; the defaults are the WikiANN setting."""

    name: Literal["sl_leu"] = "sl_leu"
    """Name of the method."""
    samples: int = Field(default=20, ge=1)
    """M, samples of the noise per item (10 for sentence pairs)."""
    rank_by: Ranking = "entropy"
    """Lowest entropy, or highest probability of a class first."""


def log_std_unit(width: int) -> nn.Linear:
    """The linear unit that predicts u of a feature."""
    return nn.Linear(width, 1)


@dataclass
class NoisyCrossEntropy(Objective):
    """-log mean_m softmax(f + exp(u) eps_m)[y].

    Attributes:
        samples: M.
        is_weighted: Whether items count by weights, see `xlt_ray.methods.shared.weighted`.
    """

    samples: int
    is_weighted: bool = False

    def build(self, context: TaskContext, width: int) -> nn.Module:
        """The unit that predicts u."""
        return log_std_unit(width)

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Take the unit from the model."""
        assert model.own is not None
        self.unit = model.own

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the labelled items; the noise is that of the optimiser step."""
        known = batch.labels != UNLABELLED
        logits, u = output.logits[known], self.unit(output.features)[known, 0]
        noise = torch.randn((self.samples, *logits.shape), device=logits.device)
        loss = heteroscedastic.noisy_nll(logits, u, batch.labels[known], noise)
        if self.is_weighted:
            loss = loss * weights_beside_gold(batch)[known]
        return {"loss": loss.sum(), "log_std": u.detach().sum()}


@dataclass(frozen=True)
class NoisyAnnotator(Annotator):
    """The likeliest class of every item, ranked by the mean of the perturbed softmaxes.

    Columns: those of :func:`xlt_ray.methods.shared.row_scores.one_hot_columns`.
    """

    samples: int
    rank_by: Ranking
    seed: int

    def build(self, context: TaskContext, width: int) -> nn.Module:
        """The unit that predicts u."""
        return log_std_unit(width)

    def feature_outputs(self, own: nn.Module | None, features: Tensor) -> Tensor:
        """[N, 1] u of each item."""
        assert own is not None
        return own(features)

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows."""
        assert output.feature_outputs is not None
        shape = (self.samples, *output.logits.shape)
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(shape, generator=generator).to(output.logits.device)
        p = heteroscedastic.mean_probabilities(
            output.logits.double(), output.feature_outputs[:, 0].double(), noise.double()
        )
        labels = output.logits.argmax(dim=1)
        return one_hot_columns(labels, rank(p, self.rank_by), offsets, context)


class SLLEU(SelfLearning[SLLEUConfig]):
    """The self-learning loop with heteroscedastic uncertainty."""

    Config = SLLEUConfig

    def objective(self, number: int) -> NoisyCrossEntropy:
        """The same loss in every stage."""
        return NoisyCrossEntropy(self.config.samples)

    def weighted_objective(self) -> NoisyCrossEntropy:
        """The same, with weights."""
        return NoisyCrossEntropy(self.config.samples, is_weighted=True)

    def annotator(self, number: int, seed: int) -> NoisyAnnotator:
        """Noise of its own for every round."""
        return NoisyAnnotator(self.config.samples, self.config.rank_by, seed)

    def selection(self, number: int) -> Selection:
        """The same rule in every round."""
        return self.config.selection
