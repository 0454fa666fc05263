"""SL-EVI: self-learning with an evidential classifier, ranked by conflict.

Xu et al., "Boosting Cross-Lingual Transfer via Self-Learning with Uncertainty Estimation" (2021).
The loss is the expected squared error under the Dirichlet,

    L = sum_c (y_c - p_c)^2 + p_c (1 - p_c) / (S + 1),   p = (e + 1) / S

and not the digamma loss of CLTP, which is an option here; with it the method is CLTP without
candidate sets.
"""

from typing import Literal

from pydantic import Field

from xlt_ray.methods.shared.evidential import (
    EvidentialAnnotator,
    EvidentialLoss,
    EvidentialRanking,
)
from xlt_ray.methods.shared.selection import Selection
from xlt_ray.methods.shared.self_training import OneHotConfig, SelfLearning
from xlt_ray.methods.shared.weighted import WeightedEvidentialLoss


class SLEVIConfig(OneHotConfig, frozen=True):
    """Hyper-parameters; the defaults are the WikiANN setting."""

    name: Literal["sl_evi"] = "sl_evi"
    """Name of the method."""
    evi_loss: Literal["squared", "digamma"] = "squared"
    """Expected squared error, or expected cross-entropy as in CLTP."""
    rank_by: EvidentialRanking = "dissonance"
    """Least dissonance, vacuity, or 0.01 vacuity + dissonance (custom) first."""
    evidence_floor: float = Field(default=1e-3, ge=0)
    """Items with S < C + floor have no evidence; their rows are never selected."""


class SLEVI(SelfLearning[SLEVIConfig]):
    """The self-learning loop with evidential uncertainty."""

    Config = SLEVIConfig
    is_evidential = True

    def objective(self, number: int) -> EvidentialLoss:
        """The same evidential loss in every stage."""
        return EvidentialLoss(self.config.evi_loss)

    def weighted_objective(self) -> WeightedEvidentialLoss:
        """The same, with weights."""
        return WeightedEvidentialLoss(self.config.evi_loss)

    def annotator(self, number: int, seed: int) -> EvidentialAnnotator:
        """The class of most evidence."""
        return EvidentialAnnotator(self.config.rank_by, self.config.evidence_floor)

    def selection(self, number: int) -> Selection:
        """The same rule in every round."""
        return self.config.selection
