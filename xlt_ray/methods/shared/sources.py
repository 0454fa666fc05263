"""The sources that targets are learned from: models that are trained or given, and what they say.

One model is trained per source language or domain, on its gold and chosen on its dev text. Where a
source is there already, its model is taken, or what some system says about the text. Each labels
the whole unlabelled text once. Labellers are sources, too: they have no model and no gold, are
asked about the unlabelled text alone, and may leave rows or words of it without a vote.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import MethodConfig, Uri
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.models.classifier import Output
from xlt_ray.ops import distillation
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.corpus import Corpus, JoinedColumns, Mix, Model
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact

MOST_DENSE = 8
"""Sources of which every probability is kept; of more, the largest 8 of each item are."""


class SourceConfig(MethodConfig, frozen=True):
    """Hyper-parameters of the source models."""

    source_lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate on the source gold."""
    source_epochs: int = Field(default=3, ge=1)
    """Epochs on the source gold; the best of them on the source's own dev text is kept."""
    given: Mapping[str, Annotated[Uri, Field(min_length=1)]] | None = None
    """Sources that are there already, by language: a finished run of the store, a checkpoint of
    this task as folder or hub id, or a file NAME.jsonl of what a system says about the text."""


class TeacherConfig(SourceConfig, frozen=True):
    """The same where targets are learned from what sources say."""

    labellers_only: bool = False
    """Learn from the labellers alone: no source model is trained, and the dev text of the sources
    still chooses the target's."""


@dataclass(frozen=True)
class SourceLabels(Annotator):
    """What a source model says: ``labels``, the likeliest class of each item, and ``probs``.

    ``probs`` are [K] probabilities at a temperature, in half precision. With ``top`` only that many
    of the largest are kept, with their classes in ``top``; the rest of the mass counts as spread
    evenly.
    """

    top: int | None = None
    temperature: float = 1.0

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows."""
        p = distillation.soften(output.logits, self.temperature)
        labels = p.argmax(dim=1).cpu().numpy().astype(np.int16)
        if self.top is None or self.top >= context.num_classes:
            return Columns(items={"labels": labels, "probs": _half(p)})
        best = p.topk(self.top, dim=1)
        classes = best.indices.cpu().numpy().astype(np.int16)
        return Columns(items={"labels": labels, "probs": _half(best.values), "top": classes})

    def columns(self, num_classes: int) -> tuple[str, ...]:
        """The columns that probabilities are made of."""
        is_dense = self.top is None or self.top >= num_classes
        return ("probs",) if is_dense else ("probs", "top")


def _half(p: Tensor) -> np.ndarray:
    return p.cpu().numpy().astype(np.float16)


@dataclass(frozen=True)
class Sources:
    """Predictions of the source models about one text, in the configured order.

    Attributes:
        names: Source languages.
        artifacts: What :class:`SourceLabels` said, by language.
        columns: Columns that hold its probabilities.
        labellers: Those of the names that are labellers.
    """

    names: tuple[str, ...]
    artifacts: tuple[Artifact, ...]
    columns: tuple[str, ...]
    labellers: tuple[str, ...] = ()

    def of(self, names: Sequence[str]) -> "Sources":
        """Some of the sources."""
        known = dict(zip(self.names, self.artifacts, strict=True))
        labellers = tuple(name for name in names if name in self.labellers)
        found = tuple(known[name] for name in names)
        return replace(self, names=tuple(names), artifacts=found, labellers=labellers)

    def joined(self, *, soft: bool) -> list[JoinedColumns]:
        """Their probabilities, or their labels, as columns beside a text."""
        columns = self.columns if soft else ("labels",)
        pairs = zip(self.names, self.artifacts, strict=True)
        return [JoinedColumns(name, artifact, columns) for name, artifact in pairs]


def hard_labels(columns: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """[U, N] labels of the sources, -100 where one gives none."""
    return torch.stack([columns[f"{name}.labels"].long() for name in names])


def soft_labels(columns: Mapping[str, Tensor], names: Sequence[str], num_classes: int) -> Tensor:
    """[U, N, K] probabilities of the sources in float32, which sum to 1; zeros where one gives
    none."""
    found = [
        dense(columns[f"{name}.probs"], columns.get(f"{name}.top"), num_classes) for name in names
    ]
    return torch.stack(found)


def dense(probs: Tensor, top: Tensor | None, num_classes: int) -> Tensor:
    """[N, K] probabilities in float32, which sum to 1; rows of zeros stay as they are.

    Args:
        probs: [N, K], or [N, M] of the likeliest classes.
        top: [N, M] those classes, or None.
        num_classes: K.
    """
    if not len(probs):  # no rows do not say how long their vectors are
        return torch.zeros(0, num_classes, device=probs.device)
    p = probs.float()
    if top is not None:
        rest = (1 - p.sum(dim=1, keepdim=True)).clamp_min(0) / (num_classes - p.shape[1])
        p = rest.repeat(1, num_classes).scatter(1, top.long(), p)
    return p / p.sum(dim=1, keepdim=True).clamp_min(torch.finfo(p.dtype).tiny)


def read_sources(driver: Driver, names: Sequence[str]) -> None:
    """Read the gold of some sources, each by itself."""
    for name in names:
        driver.source("train", name)
        driver.dev(source=name)


def source_models(
    driver: Driver, config: SourceConfig, names: Sequence[str] | None = None
) -> dict[str, Model]:
    """A model per source language, trained on its gold; at once if there is room.

    Args:
        driver: The verbs.
        config: Their hyper-parameters.
        names: The sources that are needed; default: all.
    """
    names = learned_sources(driver, config) if names is None else names
    start = driver.backbone
    check_given(driver, config)
    names = [name for name in names if not is_said(config, name)]

    def train(name: str) -> Model:
        if name in given_of(config):
            return given_model(driver, config, name)
        gold, dev = driver.source("train", name), driver.dev(source=name)
        schedule = Schedule(config.source_lr, config.source_epochs)
        title, mix = f"source {name}", Mix(gold)
        return driver.train(title, mix, CrossEntropy(), start=start, schedule=schedule, dev=dev)

    own = trained_sources(driver, config)
    read_sources(driver, [name for name in names if name in own])  # one after the other
    found = driver.together([partial(train, name) for name in names])
    return dict(zip(names, found, strict=True))


def predictions(
    driver: Driver,
    title: str,
    text: Corpus,
    models: Mapping[str, Model],
    names: Sequence[str] | None = None,
    *,
    config: SourceConfig,
    language: str | None = None,
) -> Sources:
    """What the sources say about a text.

    Args:
        driver: The verbs.
        title: What the steps are called in a ledger.
        text: The text.
        models: The models of all sources.
        names: The sources that are asked; default: all.
        config: Where sources without a model are.
        language: The one language that such sources are asked about; None: all that they teach.
    """
    every = learned_sources(driver, config)
    only_models = all(name in models for name in every) and not driver.labellers
    top = MOST_DENSE if only_models and len(models) > MOST_DENSE else None
    annotator = SourceLabels(top=top)
    asked = tuple((*every, *driver.labellers) if names is None else names)

    def said(name: str) -> Artifact:
        words = f"{title} by {name}"
        if name in driver.labellers:
            return driver.votes(name)
        if name in models:
            return driver.annotate(words, text, models[name], annotator)
        taught = [target for target in driver.pools if name in driver.sources_of(target)]
        languages = taught if language is None else [language]
        path, key = given_of(config)[name], f"method.given.{name}"
        return driver.said(words, path, text, languages=languages, key=key)

    found = tuple(said(name) for name in asked)
    labellers = tuple(name for name in asked if name in driver.labellers)
    return Sources(asked, found, annotator.columns(driver.context.num_classes), labellers)


def given_of(config: SourceConfig) -> Mapping[str, str]:
    """What is given, by source."""
    return config.given or {}


def is_said(config: SourceConfig, name: str) -> bool:
    """Whether a source is a file of predictions, and has no model."""
    return given_of(config).get(name, "").endswith(".jsonl")


def trained_sources(driver: Driver, config: SourceConfig) -> list[str]:
    """The sources that are trained here."""
    return [name for name in learned_sources(driver, config) if name not in given_of(config)]


def learned_sources(driver: Driver, config: SourceConfig) -> tuple[str, ...]:
    """The source languages that targets learn from: all, or none beside labellers.

    Raises:
        ConfigError: there is no labeller to learn from instead.
    """
    if not (isinstance(config, TeacherConfig) and config.labellers_only):
        return driver.source_languages
    if not driver.labellers:
        raise ConfigError("method.labellers_only: there are none; name one as labellers.NAME.file")
    if config.given:
        raise ConfigError("method.given: stands for sources, of which labellers_only leaves none")
    return ()


def taught_by(driver: Driver, config: SourceConfig, target: str) -> tuple[str, ...]:
    """What a target learns from: sources, in the configured order, and labellers."""
    sources = driver.sources_of(target) if learned_sources(driver, config) else ()
    return (*sources, *driver.labellers)


def check_given(driver: Driver, config: SourceConfig) -> None:
    """See that what is given stands for sources.

    Raises:
        ConfigError: it does not.
    """
    known = driver.source_languages
    if unknown := [name for name in given_of(config) if name not in known]:
        raise ConfigError(
            f"method.given: {unknown[0]!r} is no source, there are: {', '.join(known)}"
        )


def given_model(driver: Driver, config: SourceConfig, name: str) -> Model:
    """The model of a source that a run or a folder has.

    Raises:
        ConfigError: there is none, or it is for other labels or another tokenizer.
    """
    try:
        start = driver.start_from(given_of(config)[name])
    except ConfigError as error:
        words = str(error).replace("method.start_from", f"method.given.{name}")
        raise ConfigError(words) from None
    return start.by_language.get(name, start.model)
