"""Where a method begins: with a source model of its own, or what a run or checkpoint gave."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated

from pydantic import Field

from xlt_ray.config.schema import MethodConfig, Uri
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.recipe.annotator import Annotator
from xlt_ray.recipe.corpus import Mix, Model, Start
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.method import Outcome
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.store.artifacts import Artifact


class StartConfig(MethodConfig, frozen=True):
    """Hyper-parameters of the model that a method begins with."""

    start_from: Annotated[Uri, Field(min_length=1)] | None = None
    """A finished run of the store by its name, or a checkpoint of this task, as folder or hub id,
    in place of a source model; in a comparison also the title of an earlier row."""
    source_lr: float = Field(default=1e-5, gt=0)
    """Peak learning rate on the source gold."""
    source_epochs: int = Field(default=4, ge=1)
    """Epochs on the source gold; the best of them on source dev is kept."""


def starting_models(
    driver: Driver, config: StartConfig, objective: Objective | None = None
) -> Start:
    """What the configuration says to start from, or a model trained on the source gold, while the
    unlabelled text is read.

    Args:
        driver: The driver.
        config: The configuration.
        objective: What the training minimises; None: the cross-entropy.
    """
    if config.start_from is not None:
        return driver.start_from(config.start_from)
    gold, start = driver.source("train"), driver.backbone
    schedule = Schedule(config.source_lr, config.source_epochs)
    train = partial(driver.train, "source", Mix(gold), objective or CrossEntropy())
    return Start(driver.while_reading(partial(train, start=start, schedule=schedule)))


def annotate_source_and_target(
    driver: Driver, start: Start, target: str, annotator: Annotator
) -> tuple[Artifact, Artifact]:
    """What a target's model says of the source train text and of the target's text.

    If the targets have one model, it labels the text of all of them at once.
    """
    prefix = f"{target} " if start.by_language else ""
    text, gold, model = driver.unlabelled(), driver.source("train"), start.of(target)
    text = text.of(target) if prefix else text
    return (
        driver.annotate(f"{prefix}source train", gold, model, annotator),
        driver.annotate(f"{prefix}unlabelled", text, model, annotator),
    )


def outcome_per_target(start: Start, models: Mapping[str, Model]) -> Outcome:
    """The outcome of a recipe that has trained a model for each target."""
    before, (first, *others) = start.zero_shot, models.values()
    return Outcome(
        before.model,
        start.model if others else first,
        by_language=models,
        zero_shot_by_language=before.by_language,
    )
