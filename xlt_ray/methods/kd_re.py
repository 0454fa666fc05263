"""KD-re: a student that matches the probabilities of its teachers on target text alone.

As "Risk Minimization for Zero-shot Sequence Labeling" repeats it, after Wu et al., "Single-/Multi-
Source Cross-Lingual NER via Teacher-Student Learning on Unlabeled Data in Target Language" (2020).
The loss of an item is the mean over the classes of the squared difference of student and teacher
probability. The teacher is the weighted mean of the source models, by default with equal weights,
and of labellers, over those that speak about the item; the learned similarity of languages that Wu
et al. also weight by is not part of this. The student starts from the encoder, whose embeddings and
lowest layers are not trained.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.batches.batch import Batch
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.shared.learnt import Learnt
from xlt_ray.methods.shared.multi_source import MultiSource, TargetConfig
from xlt_ray.methods.shared.sources import Sources, learned_sources, soft_labels
from xlt_ray.methods.shared.votes import marked
from xlt_ray.models.classifier import Output
from xlt_ray.ops import distillation
from xlt_ray.recipe.corpus import Corpus, Mix
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Outcome
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule


class KDreConfig(TargetConfig, frozen=True):
    """Hyper-parameters."""

    name: Literal["kd_re"] = "kd_re"
    """Name of the method."""
    lr: float = Field(default=1e-4, gt=0)
    """Peak learning rate on the target text."""
    kd_loss: Literal["mse", "kl"] = "mse"
    """Squared difference of the probabilities, or divergence of the student from the teacher."""
    weights: Mapping[str, float] | None = None
    """Weight of each source language and labeller in the teacher, as {"en": 2, "fi": 1}; absent:
    equal."""
    frozen_layers: int | None = Field(default=3, ge=0)
    """Lowest layers of the student that are not trained, nor are its embeddings; null: all are."""


@dataclass
class MatchTeacher(Objective):
    """Distance of the student's probabilities from the teacher's."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    kd_loss: Literal["mse", "kl"]

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the items of the text."""
        known = batch.labels != UNLABELLED
        soft = soft_labels(batch.columns, self.names, output.logits.shape[1])
        weights = torch.tensor(self.weights, device=soft.device)
        teacher = torch.einsum("u,unk->nk", weights / weights.sum(), soft)
        least = torch.finfo(teacher.dtype).tiny
        teacher = teacher / teacher.sum(dim=1, keepdim=True).clamp_min(least)
        measure = distillation.mse if self.kd_loss == "mse" else distillation.kl
        return {"loss": measure(output.logits[known], teacher[known]).sum()}


class KDre(MultiSource[KDreConfig]):
    """A student per target."""

    Config = KDreConfig

    def run(self, driver: Driver) -> Outcome:
        """See that every source has a weight and the encoder enough layers, and learn."""
        weights = self.config.weights
        known = (*learned_sources(driver, self.config), *driver.labellers)
        if weights is not None and (set(weights) != set(known) or min(weights.values()) <= 0):
            raise ConfigError(
                f"method.weights: {dict(weights)}, needed: a positive weight for each of "
                f"{', '.join(known)}"
            )
        frozen, layers = self.config.frozen_layers, driver.backbone.layers
        if frozen is not None and layers is not None and frozen > layers:
            raise ConfigError(
                f"method.frozen_layers: {frozen}, but the encoder has {layers}; null: freezes none"
            )
        return super().run(driver)

    def learn(self, driver: Driver, target: str, text: Corpus, sources: Sources) -> Learnt:
        """Train the student of a target."""
        c = self.config
        weights = tuple(1.0 if c.weights is None else c.weights[name] for name in sources.names)
        objective = MatchTeacher(sources.names, weights, c.kd_loss)
        known = text.labelled(marked(driver, target, sources))
        mix = Mix(known.with_columns(*sources.joined(soft=True)))
        schedule = Schedule(c.lr, c.epochs, keep=c.keep, frozen_layers=c.frozen_layers)
        dev, start = driver.dev(target), driver.backbone
        return Learnt.at_once(
            driver.train(target, mix, objective, start=start, schedule=schedule, dev=dev)
        )

    def mechanisms(self, learnt: Mapping[str, Learnt]) -> list[Mechanism]:
        """How far the students came nearer to their teachers."""
        figures, idle = {}, []
        for target, found in learnt.items():
            losses = [entry["loss"] for entry in found.history]
            figures[f"{target} first"] = losses[0] if losses else math.nan
            figures[f"{target} last"] = losses[-1] if losses else math.nan
            if len(losses) > 1 and losses[-1] >= losses[0]:
                idle.append(target)
        warning = f"the student of {', '.join(idle)} came no nearer" if idle else None
        return [Mechanism("distance from the teacher, by epoch", figures, warning)]
