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

import numpy as np
import pyarrow as pa
import torch

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.batches.planning import seed_of
from xlt_ray.data.keyed import in_common, items_of, of_language
from xlt_ray.methods.shared.learnt import Learnt, share_of
from xlt_ray.methods.shared.multi_source import MultiSource, TargetConfig
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.methods.shared.sources import Sources, soft_labels
from xlt_ray.ops import voting
from xlt_ray.recipe.corpus import Corpus, Mix, shard_names
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Outcome
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.store.artifacts import Artifact


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
        return [text.labelled(artifact) for artifact in sources.artifacts], {}


class Hard(HardCat):
    """The text as its only source labels it."""

    Config = HardConfig

    def run(self, driver: Driver) -> Outcome:
        """See that every target has one source, and learn."""
        for target in driver.pools:
            if len(names := driver.sources_of(target)) > 1:
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


def vote(
    *predicted: Artifact,
    names: list[str],
    columns: list[str],
    language: str,
    num_classes: int,
    ties: str = "first",
    seed: int = 0,
) -> tuple[pa.Table, dict[str, Any]]:
    """The majority's label of every item of a language, shard by shard.

    Args:
        predicted: What each source says about the same text.
        names: The sources, in the configured order.
        columns: Columns of their probabilities.
        language: The one language that is wanted.
        num_classes: K.
        ties: Which of tied labels counts, as the key says.
        seed: Seed of the draws.

    Returns:
        ``id``, ``language``, ``labels``, and of how many ``items`` the vote is ``unanimous`` or
        ``tied``.
    """
    parts, agreed, tied, items = [], 0, 0, 0
    columns = columns if ties == "probability" else []
    for shard in shard_names(predicted[0]):
        tables = [item.shard(shard, ["id", "language", "labels", *columns]) for item in predicted]
        tables = in_common(of_language(tables[0], language), *tables[1:])
        first = tables[0]
        hard_UN = np.stack([items_of(table["labels"])[0] for table in tables])
        said = {
            f"{name}.{column}": torch.tensor(items_of(table[column])[0])
            for name, table in zip(names, tables, strict=True)
            for column in columns
        }
        soft_UNK = None
        if ties == "probability":
            soft_UNK = soft_labels(said, names, num_classes).numpy()
        elif ties == "random":
            draw = np.random.default_rng(seed_of(seed, shard))
            soft_UNK = draw.random((*hard_UN.shape, num_classes))
        labels = voting.majority_vote(hard_UN, soft_UNK)
        tied += int(voting.is_tied(hard_UN).sum())
        ends = pa.array(items_of(first["labels"])[1].astype(np.int32))
        lists = pa.ListArray.from_arrays(ends, pa.array(labels.astype(np.int16)))
        parts.append(first.select(["id", "language"]).append_column("labels", lists))
        agreed += int((hard_UN == hard_UN[0]).all(axis=0).sum())
        items += hard_UN.shape[1]
    return pa.concat_tables(parts), {"items": items, "unanimous": agreed, "tied": tied}
