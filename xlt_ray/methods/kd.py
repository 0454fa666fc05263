"""KD: a student that matches the softened probabilities of a teacher on source and target text.

As "Cross-Lingual Transfer with Class-Weighted Language-Invariant Representations" has it: the
teacher is the source model, or with ``start_from`` the model of any run, such as one of IWDA; the
student starts from the encoder, whose embeddings and lowest layers are not trained. The loss is the
mean over items of the squared difference of softmax(f / T), plus a small share of the source
cross-entropy at T = 1. There is a student for each target language.

The paper says "mean squared error" and no more. Averaged over K classes at T = 3, its gradient is a
small part of that of the cross-entropy, the smaller the more classes there are, and the student
learns from the source alone. So it is times T squared, as losses of softened probabilities usually
are (Hinton et al. 2015), and can be summed over the classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.batches.batch import Batch
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.shared.records import (
    below,
    means_of,
    ratio_of_norms,
    squared_gradient,
)
from xlt_ray.methods.shared.sources import SourceLabels, dense
from xlt_ray.methods.shared.warm_start import (
    StartConfig,
    annotate_source_and_target,
    outcome_per_target,
    starting_models,
)
from xlt_ray.models.classifier import Output
from xlt_ray.ops import distillation
from xlt_ray.recipe.corpus import JoinedColumns, Mix, Model, Start
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.loss_means import RecordedObjective
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Method, Outcome
from xlt_ray.recipe.schedule import OptimiserStep, Schedule

_SQUARES = ("gradient_match", "gradient_source")


class KDConfig(StartConfig, frozen=True):
    """Hyper-parameters."""

    name: Literal["kd"] = "kd"
    """Name of the method."""
    T: float = Field(default=3.0, ge=1)
    """Temperature of teacher and student."""
    source_weight: float = Field(default=0.1, ge=0)
    """Weight of the source cross-entropy."""
    reduction: Literal["sum", "mean"] = "mean"
    """Squared differences are summed over the classes, or averaged."""
    t_squared: bool = True
    """They are times T squared, so that their gradient does not shrink as T grows."""
    lr: float = Field(default=1e-4, gt=0)
    """Peak learning rate of the student."""
    epochs: int = Field(default=4, ge=1)
    """Epochs on the source text; the best of them on source dev is kept."""
    batch_size: int = Field(default=16, ge=1)
    """Rows of each domain in an optimiser step, 32 in all."""
    frozen_layers: int | None = Field(default=3, ge=0)
    """Lowest layers of the student that are not trained, nor are its embeddings; null: all are."""


@dataclass
class MatchSoftened(RecordedObjective):
    """Distance of softened probabilities on both texts, and cross-entropy on the source.

    Attributes:
        T: Temperature.
        source_weight: Weight of the cross-entropy.
        reduction: What is made of the classes.
        t_squared: Whether the distance is times T squared.
    """

    T: float
    source_weight: float
    reduction: Literal["sum", "mean"]
    t_squared: bool
    terms: ClassVar[tuple[str, ...]] = ("match", "source", *_SQUARES)

    def before_step(self, step: OptimiserStep) -> None:
        """Take note of the items of the step."""
        self.step = step

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the source items of what is to be divided by their number."""
        labels, logits = batch.labels, output.logits
        learnt = batch.paired | (labels != UNLABELLED)
        teacher = dense(batch.columns["teacher.probs"], None, logits.shape[1])
        items = self.step.items + self.step.paired
        match = distillation.mse(logits[learnt] / self.T, teacher[learnt]).sum()
        scale = logits.shape[1] if self.reduction == "sum" else 1.0
        match = match * (scale * (self.T**2 if self.t_squared else 1.0))
        self.means.add("match", match, int(learnt.sum()))
        match = match * (self.step.items / max(items, 1))
        source = cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
        weighted = self.source_weight * source
        self.means.add("source", weighted, batch.num_items)
        for name, term in zip(_SQUARES, (match, weighted), strict=True):
            self.means.add(name, squared_gradient(term, logits), 1)
        return {"loss": match + weighted, "match": match, "source": source}

    def progress(self) -> dict[str, Any]:
        """Means of both terms as they are weighted since the last time, and the ratio of the norms
        of their gradients at the logits."""
        found = self.means.take()
        return found | ratio_of_norms(*(found.pop(name) for name in _SQUARES))


WEAK = 0.1
"""Ratio of gradients below which the student is said to learn from the source alone."""


def diagnosed(models: Mapping[str, Model]) -> list[Mechanism]:
    """The lines of the report about both terms.

    Args:
        models: The student of each target.
    """
    terms = {
        f"{name} {title}": value
        for term, title in (("match", "teacher"), ("source", "source"))
        for name, value in means_of(models, term).items()
    }
    ratio = means_of(models, "gradient_ratio")
    weak = below(ratio, WEAK)
    warning = f"the source labels alone move the student of {weak}" if weak else None
    part = "gradient of the distance to the teacher over that of the weighted source cross-entropy"
    return [Mechanism("weighted loss terms", terms), Mechanism(part, ratio, warning)]


class KD(Method[KDConfig]):
    """The recipe: teacher, its probabilities, a student per target."""

    Config = KDConfig
    tasks = frozenset({"token", "sentence", "pair"})

    def run(self, driver: Driver) -> Outcome:
        """Train the student of every target."""
        frozen, layers = self.config.frozen_layers, driver.backbone.layers
        if frozen is not None and layers is not None and frozen > layers:
            raise ConfigError(
                f"method.frozen_layers: {frozen}, but the encoder has {layers}; null: freezes none"
            )
        start = starting_models(driver, self.config)
        models = {target: self.learn(driver, target, start) for target in driver.pools}
        return replace(outcome_per_target(start, models), mechanisms=diagnosed(models))

    def learn(self, driver: Driver, target: str, start: Start) -> Model:
        """The student of a target."""
        c, soft = self.config, SourceLabels(temperature=self.config.T)
        gold, text = driver.source("train"), driver.unlabelled().of(target)
        said_S, said_T = annotate_source_and_target(driver, start, target, soft)
        columns = soft.columns(driver.context.num_classes)
        mix = Mix(
            gold.with_columns(JoinedColumns("teacher", said_S, columns)),
            paired=text.with_columns(JoinedColumns("teacher", said_T, columns)),
        )
        schedule = Schedule(c.lr, c.epochs, batch_size=c.batch_size, frozen_layers=c.frozen_layers)
        loss = MatchSoftened(c.T, c.source_weight, c.reduction, c.t_squared)
        return driver.train(target, mix, loss, start=driver.backbone, schedule=schedule)
