"""Hard, Hard-Cat and Hard-Vote: a fresh model trained on what source models predict.

Baselines of "Risk Minimization for Zero-shot Sequence Labeling": cross-entropy on the likeliest
label of every item of the unlabelled target text, with no source text and nothing left out. Hard
has one source. Hard-Cat has a copy of the text per source, labelled by it. Hard-Vote has one copy
with the label that most sources give; tied labels are compared by their summed probability. The
vote is per word, so that tags may not fit each other; they are learnt as they are.
"""

from abc import abstractmethod
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.keyed import items_of, of_language, positions
from xlt_ray.methods.shared.multi_source import MultiSource, Sources, TargetConfig, soft_labels
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.methods.shared.taught import Learnt
from xlt_ray.ops import voting
from xlt_ray.recipe.corpus import Corpus, Mix
from xlt_ray.recipe.driver import Driver
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


class HardLabelMethod(MultiSource[TargetConfig]):
    """A fresh model trained on labelled copies of the target text."""

    @abstractmethod
    def copies(self, driver: Driver, target: str, text: Corpus, sources: Sources) -> list[Corpus]:
        """The text with labels, once or several times."""

    def learn(self, driver: Driver, target: str, text: Corpus, sources: Sources) -> Learnt:
        """Cross-entropy on all copies together."""
        mix = Mix(*self.copies(driver, target, text, sources))
        schedule = Schedule(self.config.lr, self.config.epochs)
        dev, start = driver.dev(target), driver.backbone
        return Learnt.at_once(
            driver.train(target, mix, CrossEntropy(), start=start, schedule=schedule, dev=dev)
        )


class HardCat(HardLabelMethod):
    """A copy of the text per source."""

    Config = HardCatConfig

    def copies(self, driver: Driver, target: str, text: Corpus, sources: Sources) -> list[Corpus]:
        """The text as each source labels it."""
        return [text.labelled(artifact) for artifact in sources.artifacts]


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

    def copies(self, driver: Driver, target: str, text: Corpus, sources: Sources) -> list[Corpus]:
        """The text with the label that most sources give to each item."""
        options = {
            "names": list(sources.names),
            "columns": list(sources.columns),
            "language": target,
            "num_classes": driver.context.num_classes,
        }
        title = f"{target} votes"
        return [text.labelled(driver.derive(title, vote, *sources.artifacts, **options))]


def vote(
    *predicted: Artifact, names: list[str], columns: list[str], language: str, num_classes: int
) -> tuple[pa.Table, dict[str, Any]]:
    """The majority's label of every item of a language, shard by shard.

    Args:
        predicted: What each source says about the same text.
        names: The sources, in the configured order.
        columns: Columns of their probabilities.
        language: The one language that is wanted.
        num_classes: K.

    Returns:
        ``id``, ``language``, ``labels``, and how many items the sources agree on.
    """
    parts, agreed, items = [], 0, 0
    for shard in predicted[0].names:
        tables = [item.shard(shard, ["id", "language", "labels", *columns]) for item in predicted]
        first = of_language(tables[0], language)
        tables = [table.take(positions(first, table)) for table in tables]
        hard_UN = np.stack([items_of(table["labels"])[0] for table in tables])
        said = {
            f"{name}.{column}": torch.tensor(items_of(table[column])[0])
            for name, table in zip(names, tables, strict=True)
            for column in columns
        }
        labels = voting.majority_vote(hard_UN, soft_labels(said, names, num_classes).numpy())
        ends = pa.array(items_of(first["labels"])[1].astype(np.int32))
        lists = pa.ListArray.from_arrays(ends, pa.array(labels.astype(np.int16)))
        parts.append(first.select(["id", "language"]).append_column("labels", lists))
        agreed += int((hard_UN == hard_UN[0]).all(axis=0).sum())
        items += hard_UN.shape[1]
    return pa.concat_tables(parts), {"items": items, "unanimous": agreed}
