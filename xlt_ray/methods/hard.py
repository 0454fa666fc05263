"""Hard, Hard-Cat and Hard-Vote: a fresh model trained on what source models predict.

Baselines of "Risk Minimization for Zero-shot Sequence Labeling": cross-entropy on the likeliest
label of every item of the unlabelled target text, with no source text and nothing left out. Hard
has one source. Hard-Cat has a copy of the text per source, labelled by it. Hard-Vote has one copy
with the label that most sources give. Its sources speak in labels, so of tied ones that of the
first source counts; by option one drawn at random, or the one with the largest summed probability.
The vote is per word, so that tags may not fit each other; they are learnt as they are.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.batches.planning import seed_of
from xlt_ray.methods.shared.learnt import Learnt, share_of
from xlt_ray.methods.shared.multi_source import MultiSource, TargetConfig
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.methods.shared.sources import Sources, taught_by
from xlt_ray.methods.shared.votes import marked, vote
from xlt_ray.recipe.corpus import Corpus, Mix
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Outcome
from xlt_ray.recipe.schedule import Schedule


class HardConfig(TargetConfig, frozen=True):
    """Hyper-parameters of Hard."""

    name: Literal["hard"] = "hard"
    """Name of the method."""


class HardCatConfig(TargetConfig, frozen=True):
    """Hyper-parameters of Hard-Cat."""

    name: Literal["hard_cat"] = "hard_cat"
    """Name of the method."""


class HardVoteConfig(TargetConfig, frozen=True):
    """Hyper-parameters of Hard-Vote."""

    name: Literal["hard_vote"] = "hard_vote"
    """Name of the method."""
    ties: Literal["first", "random", "probability"] = "first"
    """Which of several labels with the most votes counts: that of the first source, one drawn for
    each word, or the one with the largest probability, summed over the sources."""


class HardLabelMethod(MultiSource[TargetConfig]):
    """A fresh model trained on labelled copies of the target text."""

    @abstractmethod
    def copies(
        self, driver: Driver, target: str, text: Corpus, sources: Sources
    ) -> tuple[list[Corpus], Mapping[str, Any]]:
        """The text with labels, once or several times, and facts about these."""

    def learn(self, driver: Driver, target: str, text: Corpus, sources: Sources) -> Learnt:
        """Cross-entropy on all copies together."""
        copies, facts = self.copies(driver, target, text, sources)
        mix = Mix(*copies)
        schedule = Schedule(self.config.lr, self.config.epochs, keep=self.config.keep)
        dev, start = driver.dev(target), driver.backbone
        model = driver.train(target, mix, CrossEntropy(), start=start, schedule=schedule, dev=dev)
        return Learnt(model, (model,), (facts,))


class HardCat(HardLabelMethod):
    """A copy of the text per source."""

    Config = HardCatConfig

    def copies(
        self, driver: Driver, target: str, text: Corpus, sources: Sources
    ) -> tuple[list[Corpus], Mapping[str, Any]]:
        """The text as each source labels it."""
        each = [sources.of([name]) for name in sources.names]
        return [text.labelled(marked(driver, target, one)) for one in each], {}


class Hard(HardCat):
    """The text as its only source labels it."""

    Config = HardConfig

    def run(self, driver: Driver) -> Outcome:
        """See that every target has one source, and learn."""
        for target in driver.pools:
            if len(names := taught_by(driver, self.config, target)) > 1:
                raise ConfigError(
                    f"method.name: hard learns from one source, and {target} has "
                    f"{', '.join(names)}; hard_cat and hard_vote learn from several"
                )
        return super().run(driver)


class HardVote(HardLabelMethod):
    """One copy, labelled by majority."""

    Config = HardVoteConfig

    def copies(
        self, driver: Driver, target: str, text: Corpus, sources: Sources
    ) -> tuple[list[Corpus], Mapping[str, Any]]:
        """The text with the label that most sources give to each item."""
        assert isinstance(self.config, HardVoteConfig)
        options = {
            "ties": self.config.ties,
            "seed": seed_of(driver.seed, "ties") if self.config.ties == "random" else 0,
            "names": list(sources.names),
            "columns": list(sources.columns),
            "language": target,
            "num_classes": driver.context.num_classes,
        }
        votes = driver.derive(f"{target} votes", vote, *sources.artifacts, **options)
        return [text.labelled(votes)], votes.info

    def mechanisms(self, learnt: Mapping[str, Learnt]) -> list[Mechanism]:
        """How often there was no majority."""
        facts = {target: found.facts[0] for target, found in learnt.items()}
        shares = {t: share_of(fact["tied"], fact["items"]) for t, fact in facts.items()}
        return [Mechanism("votes, share of words without a majority", shares)]
