"""Learning a target from the predictions of source models: what DT, Hard, KD-re, MRT and LVM share.

One model is trained per source language or domain, on its gold and chosen on its dev text. Each
labels the whole unlabelled text once. Then a fresh model is trained for every target, without any
source text. With ``benchmark.leave_one_out`` a source is a target too, of all the other sources.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import MethodConfig
from xlt_ray.data.batches.planning import seed_of
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.methods.shared.taught import Learnt, agreement, of_agreement, of_source_dev
from xlt_ray.models.classifier import Output
from xlt_ray.ops import distillation
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.corpus import Corpus, JoinedColumns, Mix, Model, share_of
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Labeller, Method, Outcome, likeliest
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


class MultiSourceConfig(SourceConfig, frozen=True):
    """Hyper-parameters of the source models and of the text that a target is learnt from."""

    text_share: float = Field(default=1.0, gt=0, le=1)
    """Share of each target's unlabelled text that is learned from, drawn at random."""
    keep: Literal["last", "best"] = "last"
    """Epoch of the target's model that is kept: the last, or the best on source dev."""


class TargetConfig(MultiSourceConfig, frozen=True):
    """Hyper-parameters of the source models and of the target's."""

    lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate on the target text."""
    epochs: int = Field(default=3, ge=1)
    """Epochs on the target text."""


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
    """

    names: tuple[str, ...]
    artifacts: tuple[Artifact, ...]
    columns: tuple[str, ...]

    def of(self, names: Sequence[str]) -> "Sources":
        """Some of the sources."""
        known = dict(zip(self.names, self.artifacts, strict=True))
        return replace(self, names=tuple(names), artifacts=tuple(known[name] for name in names))

    def joined(self, *, soft: bool) -> list[JoinedColumns]:
        """Their probabilities, or their labels, as columns beside a text."""
        columns = self.columns if soft else ("labels",)
        pairs = zip(self.names, self.artifacts, strict=True)
        return [JoinedColumns(name, artifact, columns) for name, artifact in pairs]


def hard_labels(columns: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """[U, N] labels of the sources."""
    return torch.stack([columns[f"{name}.labels"].long() for name in names])


def soft_labels(columns: Mapping[str, Tensor], names: Sequence[str], num_classes: int) -> Tensor:
    """[U, N, K] probabilities of the sources in float32, which sum to 1."""
    found = [
        dense(columns[f"{name}.probs"], columns.get(f"{name}.top"), num_classes) for name in names
    ]
    return torch.stack(found)


def dense(probs: Tensor, top: Tensor | None, num_classes: int) -> Tensor:
    """[N, K] probabilities in float32, which sum to 1.

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
    return p / p.sum(dim=1, keepdim=True)


C = TypeVar("C", bound=MultiSourceConfig)


class MultiSource(Method[C]):
    """The recipe: source models, their predictions, a model for every target."""

    tasks = frozenset({"token", "sentence", "pair"})
    leaves_one_out = True

    @abstractmethod
    def learn(self, driver: Driver, target: str, text: Corpus, sources: Sources) -> Learnt:
        """Train the model of a target.

        Args:
            driver: The verbs.
            target: Its language.
            text: Its unlabelled text.
            sources: What the sources that it learns from say about the text.
        """

    def labeller(self, driver: Driver, sources: Mapping[str, Model]) -> Labeller:
        """How the models of the targets label text."""
        return likeliest

    def mechanisms(self, learnt: Mapping[str, Learnt]) -> list[Mechanism]:
        """How far the method's own part was at work, by target."""
        return []

    def read(self, driver: Driver) -> None:
        """Read the text of every source by itself, and that of the targets."""
        read_sources(driver, driver.source_languages)
        driver.unlabelled()
        for target in driver.pools:
            driver.dev(target)

    def run(self, driver: Driver) -> Outcome:
        """Train the source models, let each label the text once, and learn every target."""
        taught = {target: driver.sources_of(target) for target in driver.pools}
        text = driver.unlabelled()
        shares = {target: self.share(driver, text, target) for target in taught}
        models = source_models(driver, self.config)
        sources = predictions(driver, "unlabelled", text, models)
        learnt = {
            target: self.learn(driver, target, shares[target], sources.of(names))
            for target, names in taught.items()
        }
        final = {target: found.model for target, found in learnt.items()}
        agreed = {
            target: driver.derive(
                f"{target} agreement",
                agreement,
                *sources.of(names).artifacts,
                language=target,
                num_classes=driver.context.num_classes,
            ).info
            for target, names in taught.items()
        }
        most = max(map(len, taught.values()), default=0)
        first = next(iter(models.values()))
        return Outcome(
            first,
            next(iter(final.values())) if len(final) == 1 else first,
            by_language=final,
            zero_shot_by_language={target: models[names[0]] for target, names in taught.items()},
            sources=models,
            labeller=self.labeller(driver, models),
            mechanisms=[
                *self.mechanisms(learnt),
                *of_agreement(agreed, most),
                of_source_dev(learnt, self.config.keep),
            ],
        )

    def share(self, driver: Driver, text: Corpus, target: str) -> Corpus:
        """The part of a target's text that is learned from.

        Raises:
            ConfigError: it has no row.
        """
        share, rows = self.config.text_share, text.tokens.info["rows_by_language"]
        if rows is not None and share_of(share, rows[target]) == 0:
            raise ConfigError(
                f"method.text_share: {share:g} of the {rows[target]} rows of {target} is none"
            )
        return text.of(target).sample(share, seed=seed_of(driver.seed, "text share"))


def read_sources(driver: Driver, names: Sequence[str]) -> None:
    """Read the gold of some sources, each by itself."""
    for name in names:
        driver.source("train", name)
        driver.source("dev", name)


def source_models(
    driver: Driver, config: SourceConfig, names: Sequence[str] | None = None
) -> dict[str, Model]:
    """A model per source language, trained on its gold; at once if there is room.

    Args:
        driver: The verbs.
        config: Their hyper-parameters.
        names: The sources that are needed; default: all.
    """
    names = driver.source_languages if names is None else names
    start = driver.backbone

    def train(name: str) -> Model:
        gold, dev = driver.source("train", name), driver.source("dev", name)
        schedule = Schedule(config.source_lr, config.source_epochs)
        title, mix = f"source {name}", Mix(gold)
        return driver.train(title, mix, CrossEntropy(), start=start, schedule=schedule, dev=dev)

    read_sources(driver, names)  # one after the other
    found = driver.together([partial(train, name) for name in names])
    return dict(zip(names, found, strict=True))


def predictions(
    driver: Driver,
    title: str,
    text: Corpus,
    models: Mapping[str, Model],
    names: Sequence[str] | None = None,
) -> Sources:
    """What source models say about a text.

    Args:
        driver: The verbs.
        title: What the steps are called in a ledger.
        text: The text.
        models: The models of all sources.
        names: The sources that are asked; default: all.
    """
    annotator = SourceLabels(top=MOST_DENSE if len(models) > MOST_DENSE else None)
    asked = tuple(models if names is None else names)
    artifacts = tuple(
        driver.annotate(f"{title} by {name}", text, models[name], annotator) for name in asked
    )
    return Sources(asked, artifacts, annotator.columns(driver.context.num_classes))
