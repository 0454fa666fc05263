"""Hyper-parameters of CoNLST and of negative learning alone."""

from typing import Literal, Self

from pydantic import Field, model_validator

from xlt_ray.config.choice import ChoiceRule
from xlt_ray.methods.conlst.negative_learning import Consistency, Scale
from xlt_ray.methods.shared.choice import ChoiceConfig
from xlt_ray.methods.shared.curriculum import CurriculumConfig
from xlt_ray.methods.shared.reaching import RowRule
from xlt_ray.methods.shared.rules import RuleConfig
from xlt_ray.methods.shared.warm_start import StartConfig
from xlt_ray.methods.shared.weighted import SmoothingConfig
from xlt_ray.ops.contrastive import Similarity


class NegativesConfig(StartConfig, SmoothingConfig, frozen=True):
    """Hyper-parameters of the source model and stage 1."""

    source_noise: float = Field(default=0.0, ge=0)
    """Radius of noise in the word embeddings of the source training, as a share of their norms, for
    a robust source model (CoNLST-RS); 0: none."""
    joint: bool = False
    """All target languages make one model, and negatives come from all of them; else each its
    own."""
    lambda_clcs: float = Field(default=1e-3, ge=0)
    """Weight of the cross-space consistency on source gold."""
    clcs: Consistency = "complementary"
    """-log(1 - p_k) of a random wrong class k; literal: log(1 - p_gold) >= -20, as printed."""
    stage1_lr: float = Field(default=2e-6, gt=0)
    """Peak learning rate of stage 1."""
    stage1_epochs: int = Field(default=1, ge=1)
    """Epochs of stage 1 over the target text."""
    batch_size: int = Field(default=32, ge=1)
    """Target texts per optimiser step, and as many of the source."""

    @model_validator(mode="after")
    def _has_labels_to_smooth(self) -> Self:
        if self.label_smoothing and self.start_from is not None and not self.has_cross_entropy:
            raise ValueError("label_smoothing: start_from leaves no training by cross-entropy")
        return self

    @property
    def has_cross_entropy(self) -> bool:
        """Whether anything but the source model learns by cross-entropy."""
        return False


class CoNLSTConfig(NegativesConfig, ChoiceConfig, RuleConfig, CurriculumConfig, frozen=True):
    """Hyper-parameters."""

    name: Literal["conlst"] = "conlst"
    """Name of the method."""
    stage1: Literal["contrastive", "negative", "none"] = "contrastive"
    """Contrastive negative learning; vanilla negative learning; or no first stage."""
    gamma: float = Field(default=0.9, gt=0, lt=1)
    """Confidence above 1/C from which a text is certain to be of its class."""
    k_neg: int = Field(default=8, ge=1)
    """K_neg, negatives of a text at most."""
    temp: float = Field(default=0.3, gt=0)
    """Contrastive temperature, of distances in their unit."""
    similarity: Similarity = "neg_sq_l2"
    """Minus the squared distance, or minus the distance."""
    scale: Scale = "median"
    """Unit of distances: their median between texts of different classes; unit_norm: distances of
    vectors of length 1; raw: of the vectors as they are."""
    iterations: int = Field(default=3, ge=0)
    """T_iter, iterations of stage 2 at most; 0: none."""
    threshold: RowRule = "by_class"
    """Thresholds by class, lower for a class of which less is learnt (FlexMatch); t0 for all;
    FreeMatch's, which follow the confidence; or all texts, weighted by SoftMatch."""
    warmup: bool = False
    """Thresholds are lower while most texts are below t0, as in online FlexMatch."""
    lr: float = Field(default=5e-6, gt=0)
    """Peak learning rate of an iteration."""
    lambda_u: float = Field(default=1.0, ge=0)
    """Weight of pseudo-labelled texts."""
    mixup: bool = True
    """Train on mixtures of texts."""
    alpha: float = Field(default=4.0, gt=0)
    """alpha of the mixing weight, Beta(alpha, alpha)."""
    mask_rate: float = Field(default=0.15, ge=0, le=1)
    """Share of words masked in a text that is not translated."""
    translated: float = Field(default=0.5, ge=0, le=1)
    """Share of kept texts that are translated there and back, if there is a translator."""
    least_change: float = Field(default=0.005, ge=0, le=1)
    """Share of texts below which a change of what is kept ends stage 2."""
    drops: int | None = Field(default=None, ge=1)
    """Iterations in a row with a lower source-dev score than the one before that end stage 2 and
    bring back the best model, with select=source_dev; absent: none do."""
    select: ChoiceRule = "source_dev"
    """Which iteration of stage 2 is the result: the last one, or what ``drops`` brings back; the
    mean of the weights of the last ones; or the one that agrees most with the others."""

    @property
    def has_cross_entropy(self) -> bool:
        """Stage 2 does."""
        return self.iterations > 0

    @property
    def calls_parts(self) -> bool:
        """The head of mixtures of texts, in stage 2."""
        return self.mixup and self.iterations > 0

    @model_validator(mode="after")
    def _has_one_threshold(self) -> Self:
        if self.warmup and self.threshold == "fixed":
            raise ValueError("threshold fixed is t0 for every class: it has no warmup")
        if self.warmup and self.threshold != "by_class":
            raise ValueError(f"warmup is of threshold by_class, and threshold is {self.threshold}")
        if self.curriculum is not None and not self.joint:
            raise ValueError("curriculum: languages take turns in one model; set joint")
        return self

    def check_classes(self, num_classes: int) -> None:
        """Both thresholds are above an even guess, and no floor is above them."""
        super().check_classes(num_classes)
        if self.gamma <= 1 / num_classes:
            least = f"{1 / num_classes:.3g}"
            raise ValueError(f"gamma: has to be above 1/C = {least}, got {self.gamma}")
