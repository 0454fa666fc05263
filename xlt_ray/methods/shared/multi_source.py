"""Learning a target from the predictions of source models: what DT, Hard, KD-re, MRT and LVM share.

One model is trained per source language or domain, on its gold and chosen on its dev text. Each
labels the whole unlabelled text once. Then a fresh model is trained for every target, without any
source text. With ``benchmark.leave_one_out`` a source is a target too, of all the other sources.
Labellers stand beside the sources, or in place of all of them.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal, TypeVar

from pydantic import Field

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.batches.planning import seed_of
from xlt_ray.methods.shared.learnt import Learnt, agreement, of_agreement, of_source_dev
from xlt_ray.methods.shared.sources import (
    Sources,
    TeacherConfig,
    predictions,
    read_sources,
    source_models,
    taught_by,
    trained_sources,
)
from xlt_ray.recipe.corpus import Corpus, Model, share_of
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Labeller, Method, Outcome, WithSources, likeliest

NO_MODEL = (
    "The sources of {} are given as predictions, so there is no zero-shot model: the scores before "
    "are those of the final model alone"
)
NO_SOURCE = (
    "No source model was trained, so there is no zero-shot model: the scores before are those of "
    "the final model alone"
)


class MultiSourceConfig(TeacherConfig, frozen=True):
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


C = TypeVar("C", bound=MultiSourceConfig)


class MultiSource(Method[C]):
    """The recipe: source models, their predictions, a model for every target."""

    tasks = frozenset({"token", "sentence", "pair"})
    leaves_one_out = True
    learns_from_labellers = True

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

    def with_sources(
        self, driver: Driver, target: str, sources: Sources, models: Mapping[str, Model]
    ) -> WithSources | None:
        """How source models help to label text of a target; None: they do not."""
        return None

    def mechanisms(self, learnt: Mapping[str, Learnt]) -> list[Mechanism]:
        """How far the method's own part was at work, by target."""
        return []

    def read(self, driver: Driver) -> None:
        """Read the text of every source by itself, and that of the targets."""
        read_sources(driver, trained_sources(driver, self.config))
        driver.unlabelled()
        for target in driver.pools:
            driver.dev(target)

    def run(self, driver: Driver) -> Outcome:
        """Train the source models, let each label the text once, and learn every target."""
        taught = {target: taught_by(driver, self.config, target) for target in driver.pools}
        text = driver.unlabelled()
        shares = {target: self.share(driver, text, target) for target in taught}
        models = source_models(driver, self.config)
        sources = predictions(driver, "unlabelled", text, models, config=self.config)
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
        helped = {
            target: self.with_sources(driver, target, sources.of(names), models)
            for target, names in taught.items()
        }
        most = max(map(len, taught.values()), default=0)
        known = {
            target: [models[x] for x in names if x in models] for target, names in taught.items()
        }
        before = {target: (found or [final[target]])[0] for target, found in known.items()}
        first = next(iter(models.values() or final.values()))
        unknown = [target for target, found in known.items() if not found]
        notes = [NO_MODEL.format(", ".join(unknown))] if unknown else []
        if self.config.labellers_only:
            notes = [NO_SOURCE]
        return Outcome(
            first,
            next(iter(final.values())) if len(final) == 1 else first,
            by_language=final,
            zero_shot_by_language=before,
            sources=models,
            notes=notes,
            labeller=self.labeller(driver, models),
            with_sources={target: found for target, found in helped.items() if found is not None},
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
