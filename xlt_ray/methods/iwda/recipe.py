"""IWDA: domain alignment with importance weights.

"Cross-Lingual Transfer with Class-Weighted Language-Invariant Representations". A source model is
fine-tuned on until source and target features have one distribution after the source is reweighted
to the target's class proportions. The weights begin at what the source model's confusions and its
predictions about the target imply (I3, I4), and follow the model from then on (I5). The last model
is the result, one for each target language; critic and weights are not needed any more.

Departures are listed in docs/iwda.md.
"""

from dataclasses import replace
from typing import Literal

from pydantic import Field

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import part_of
from xlt_ray.methods.iwda.alignment import AlignmentLoss
from xlt_ray.methods.iwda.mechanisms import diagnosed
from xlt_ray.methods.iwda.settings import CriticSettings
from xlt_ray.methods.iwda.weights import Confident, initial
from xlt_ray.methods.shared.warm_start import (
    StartConfig,
    annotate_source_and_target,
    outcome_per_target,
    starting_models,
)
from xlt_ray.recipe.corpus import Corpus, Mix, Model, Start
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.method import Method, Outcome
from xlt_ray.recipe.schedule import OwnRate, Schedule
from xlt_ray.store.artifacts import Artifact


class AlignedConfig(StartConfig, frozen=True):
    """Hyper-parameters of how the model is fine-tuned on."""

    lr: float = Field(default=1e-5, gt=0)
    """Peak learning rate of the model."""
    epochs: float = Field(default=4, gt=0)
    """Passes: over the source gold for texts; for words over the target text, longer by as much as
    its sentences are longer than those of the source."""
    batch_size: int = Field(default=8, ge=1)
    """Rows of each domain in an optimiser step."""
    keep: Literal["last", "best"] = "last"
    """The model at the end, or the best on source dev."""


class IWDAConfig(CriticSettings, AlignedConfig, frozen=True):
    """Hyper-parameters."""

    name: Literal["iwda"] = "iwda"
    """Name of the method."""
    weighting: Literal["estimated", "none"] = "estimated"
    """Weights that follow the estimate; none: all are 1, plain alignment."""
    rho: float = Field(default=0.25, ge=0, le=1)
    """Share of even weights in the initial ones."""
    guard: Literal["none", "residual"] = "none"
    """residual: the share of even weights is at least what the estimate does not explain of how
    the predictions, and how sure they are, change."""
    critic_lr: float = Field(default=5e-4, gt=0)
    """Learning rate of the critic, which stays."""
    critic_weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of the critic's matrices."""


class IWDA(Method[IWDAConfig]):
    """The recipe: source model, initial weights, alignment of every target."""

    Config = IWDAConfig
    tasks = frozenset({"token", "sentence", "pair"})

    def run(self, driver: Driver) -> Outcome:
        """Align every target with the source."""
        if self.config.feature == "raw_cls" and driver.context.task == "token":
            raise ConfigError(
                "method.feature: raw_cls is about texts, and words have no such state"
            )
        start = starting_models(driver, self.config)
        found = {target: self.align(driver, target, start) for target in driver.pools}
        models = {target: model for target, (model, _) in found.items()}
        first = {target: weights for target, (_, weights) in found.items()}
        estimated = self.critic_settings.weighting == "estimated"
        mechanisms = diagnosed(models, first if estimated else {})
        return replace(outcome_per_target(start, models), mechanisms=mechanisms)

    def align(self, driver: Driver, target: str, start: Start) -> tuple[Model, Artifact]:
        """The model of a target, and its initial weights."""
        c, k = self.config, driver.context.num_classes
        gold, text = driver.source("train"), driver.unlabelled().of(target)
        assert gold.labels is not None
        said_S, said_T = annotate_source_and_target(driver, start, target, Confident())
        found = driver.derive(
            f"{target} initial weights",
            initial,
            said_S,
            gold.labels,
            said_T,
            language=target,
            num_classes=k,
            rho=None if c.weighting == "none" else c.rho,
            is_guarded=c.guard == "residual",
            epochs=c.epochs,
            batch_size=c.batch_size,
        )
        loss = AlignmentLoss(self.critic_settings, *self.weights(driver, target, found))
        own = OwnRate(c.critic_lr, c.critic_weight_decay, constant=True, clipped=False)
        shared = {"keep": c.keep, "batch_size": c.batch_size, "own": own}
        steps = self.steps(driver, gold, found)
        schedule = Schedule(c.lr, 0, steps=steps, **shared)
        mix, model = Mix(gold, paired=text), start.of(target)
        return driver.train(target, mix, loss, start=model, schedule=schedule), found

    @property
    def critic_settings(self) -> CriticSettings:
        """How critic and weights are trained."""
        return part_of(self.config, CriticSettings)

    def steps(self, driver: Driver, gold: Corpus, found: Artifact) -> int | None:
        """Optimiser steps; None if they are not known yet."""
        if driver.context.task == "token":
            return found.info["steps"]
        rows, c = gold.tokens.info["rows"], self.config
        return None if rows is None else max(1, round(c.epochs * rows / c.batch_size))

    def weights(
        self, driver: Driver, target: str, found: Artifact
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Initial weights w0 and the source prior; zeros while they are not known."""
        even = [1.0] * driver.context.num_classes
        return tuple(found.info["w0"] or even), tuple(found.info["prior"] or even)
