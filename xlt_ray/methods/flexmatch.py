"""FlexMatch: consistency of two views of a text, with thresholds by class that follow the learning.

Zhang et al., "FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling" (2021),
on the text of another language. Every step has as many source as target texts. What the model says
of a target text is its label for a copy with words masked, or translated there and back, if it is
said with a probability of T(c) or more. Each text keeps the last class that it was said to have
with a probability of t0 or more; how many have which class gives the thresholds of the next step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import Examples
from xlt_ray.methods.conlst.mixup import hide_words, masked_only
from xlt_ray.methods.shared.records import below, means_of
from xlt_ray.methods.shared.warm_start import StartConfig, outcome_per_target, starting_models
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.ops import thresholds
from xlt_ray.ops.contrastive import masked_mean
from xlt_ray.recipe.corpus import Mix, Model
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.loss_means import LossMeans
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Method, Outcome
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import OptimiserStep, Schedule
from xlt_ray.recipe.task import TaskContext

ALMOST_ALL = 0.95
"""Share of used texts above which the thresholds are said to do nothing."""
FEW = 0.01
"""Share of used texts below which the target is said to teach nothing."""


class FlexMatchConfig(StartConfig, frozen=True):
    """Hyper-parameters."""

    name: Literal["flexmatch"] = "flexmatch"
    """Name of the method."""
    lr: float = Field(default=5e-6, gt=0)
    """Peak learning rate."""
    epochs: float = Field(default=3, gt=0)
    """Passes over the target text."""
    batch_size: int = Field(default=32, ge=1)
    """Texts of each side in an optimiser step."""
    t0: float = Field(default=0.95, gt=0, lt=1)
    """Threshold, above 1/C, of the class that is learnt best."""
    warmup: bool = True
    """Thresholds are lower while most texts have no class yet."""
    lambda_u: float = Field(default=1.0, ge=0)
    """Weight of the target texts."""
    mask_rate: float = Field(default=0.15, ge=0, le=1)
    """Share of words masked in the copy of a text that is not translated."""
    translated: float = Field(default=0.5, ge=0, le=1)
    """Probability of a copy to be translated there and back, if there is a translator."""

    def check_classes(self, num_classes: int) -> None:
        """The threshold is above an even guess."""
        if self.t0 <= 1 / num_classes:
            raise ValueError(f"t0: has to be above 1/C = {1 / num_classes:.3g}, got {self.t0}")


@dataclass
class Consistency(Objective):
    """Cross-entropy of source gold, and of confident predictions on changed copies.

    Attributes:
        t0: Base threshold.
        warmup: Whether texts without a class count in the denominator of the status.
        lambda_u: Weight of the target.
        mask_rate: Probability of a word to be masked.
        translated: Probability of a copy to be the translation in the pool, if there is one.
    """

    t0: float
    warmup: bool
    lambda_u: float
    mask_rate: float
    translated: float

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Every text of this worker without a class yet, every threshold at 0."""
        device = next(model.parameters()).device
        self.context = context
        self.status_N = torch.full((context.num_items,), thresholds.NO_STATUS, device=device)
        self.is_target_N = torch.zeros(context.num_items, dtype=torch.bool, device=device)
        self.beta_C = torch.zeros(context.num_classes, dtype=torch.float64, device=device)
        self.means = LossMeans(("source", "target", "used"), context, device)
        self.translations: dict[str, int] | None = None

    def before_step(self, step: OptimiserStep) -> None:
        """Take note of the items of the step."""
        self.step = step

    def extra_rows(self, chosen: np.ndarray, examples: Examples) -> np.ndarray:
        """A copy of each target text of the pass: its translation, or itself, to be masked."""
        if self.translations is None:
            first = examples.first_pool
            self.translations = {name: first + i for i, name in enumerate(examples.ids[first:])}
            own = slice(*examples.item_offsets[[examples.num_parts, first]])
            self.is_target_N[own] = True
        targets = chosen[chosen >= examples.num_parts]
        if not self.translations:
            return targets
        drawn = (torch.rand(len(targets)) < self.translated).tolist()
        known = [self.translations.get(examples.ids[index], index) for index in targets]
        copies = [
            one if use else index for one, index, use in zip(known, targets, drawn, strict=True)
        ]
        return np.array(copies, np.int64)

    def transform_batch(self, batch: Batch) -> Batch:
        """Mask words of the copies that are not translations."""
        return hide_words(batch, batch.extra & batch.paired, self.context, self.mask_rate)

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the source, and over the copies whose originals reach their threshold (N10)."""
        source, target = ~batch.paired & ~batch.extra, batch.paired & ~batch.extra
        gold = cross_entropy(output.logits[source], batch.labels[source], reduction="sum")
        q_BC = output.logits[target].detach().double().softmax(-1)
        confidence_B, said_B = q_BC.max(dim=1)
        used_B = confidence_B >= thresholds.thresholds(self.beta_C, self.t0)[said_B]
        copied = cross_entropy(output.logits[batch.extra], said_B, reduction="none")
        unsupervised = masked_mean(copied, used_B) * len(copied)  # the step's mean is below
        index_B = batch.item_ids[target]
        thresholds.learn_status(self.status_N, index_B, confidence_B, said_B, self.t0)
        share = self.step.items / max(self.step.paired, 1)  # the engine divides by the items
        self.means.add("source", gold, batch.num_items)
        self.means.add("target", unsupervised, len(index_B))
        self.means.add("used", used_B.sum(), len(index_B))
        loss = gold + self.lambda_u * share * unsupervised
        return {"loss": loss, "source": gold, "target": unsupervised}

    def after_step(self) -> None:
        """Renew the status from the classes of the texts of all workers."""
        classes = self.context.num_classes
        own = self.status_N[self.is_target_N]
        counts = self.context.total(thresholds.count_status(own, classes))
        if counts[:classes].sum() > 0:
            beta = thresholds.status(counts[:classes], counts[classes], warmup=self.warmup)
            self.beta_C.copy_(beta)

    def progress(self) -> dict[str, Any]:
        """Status and means of the terms since the last time."""
        return {"beta": self.beta_C.tolist(), **self.means.take()}

    def state_dict(self) -> dict[str, Tensor]:
        """Classes of the texts, status, and sums for the record."""
        return {"status": self.status_N, "beta": self.beta_C, "sums": self.means.sums}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the tensors of a checkpoint."""
        self.status_N.copy_(state["status"])
        self.beta_C.copy_(state["beta"])
        self.means.sums.copy_(state["sums"])


def diagnosed(models: Mapping[str, Model]) -> list[Mechanism]:
    """The line of the report about the thresholds.

    Args:
        models: The model of each target.
    """
    used = means_of(models, "used")
    every = ", ".join(name for name, share in used.items() if share > ALMOST_ALL)
    warnings = list[str]()
    if every:
        warnings.append(f"nearly every text of {every} was used: the thresholds select nothing")
    if few := below(used, FEW):
        warnings.append(f"hardly any text of {few} was used: the source alone was learned from")
    warning = "; ".join(warnings) or None
    return [Mechanism("share of texts that reached their threshold", used, warning)]


class FlexMatch(Method[FlexMatchConfig]):
    """The recipe: source model, and consistency training on every target."""

    Config = FlexMatchConfig
    tasks = frozenset({"sentence", "pair"})

    def run(self, driver: Driver) -> Outcome:
        """Train a model for every target."""
        # Translated before anything is trained, and read once for all targets.
        notes = masked_only(driver, self.config.translated)
        start = starting_models(driver, self.config)
        driver.unlabelled()
        driver.source("train")
        calls = [partial(self.learn, driver, x, start.of(x)) for x in driver.pools]
        models = dict(zip(driver.pools, driver.together(calls), strict=True))
        outcome = replace(outcome_per_target(start, models), notes=notes)
        return replace(outcome, mechanisms=diagnosed(models))

    def learn(self, driver: Driver, target: str, model: Model) -> Model:
        """The model of a target."""
        c, text = self.config, driver.unlabelled().of(target)
        gold = driver.source("train")
        sizes = text.tokens.info["rows_by_language"]
        steps = None if sizes is None else max(1, ceil(c.epochs * sizes[target] / c.batch_size))
        loss = Consistency(c.t0, c.warmup, c.lambda_u, c.mask_rate, c.translated)
        back = driver.back_translated() if c.translated else None
        mix = Mix(gold, paired=text, pool=back and back.of(target))
        schedule = Schedule(c.lr, 0, steps=steps, batch_size=c.batch_size, keep="last")
        return driver.train(target, mix, loss, start=model, schedule=schedule)
