"""What a run tells of a model that learned from sources: how it went, and how far they agreed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from xlt_ray.data.keyed import in_common, items_of, of_language
from xlt_ray.ops.voting import is_unanimous
from xlt_ray.recipe.corpus import Model, shard_names
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.store.artifacts import Artifact


@dataclass(frozen=True)
class Learnt:
    """The model of a target, and what is known of the way to it.

    Attributes:
        model: The model that is kept.
        trainings: What was trained, one after the other; the model is of one of them.
        facts: What the steps between them said.
    """

    model: Model
    trainings: tuple[Model, ...]
    facts: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    @classmethod
    def at_once(cls, model: Model) -> "Learnt":
        """Of a single training."""
        return cls(model, (model,))

    @property
    def history(self) -> list[Mapping[str, Any]]:
        """An entry per source-dev score of all trainings."""
        return [entry for model in self.trainings for entry in model.history]


def agreement(
    *predicted: Artifact, language: str, num_classes: int
) -> tuple[pa.Table, dict[str, Any]]:
    """How often sources agree about a text, and how often each label is said.

    Args:
        predicted: What each source says about the same text, -100 where it gives no label.
        language: The one language that is looked at.
        num_classes: K.

    Returns:
        A table of the labels' counts over all sources, and ``items`` (those with a label),
        ``unanimous`` (items on which all sources agree that give one), ``said`` (labels of all
        sources) and ``commonest`` (how many of these are the commonest label).
    """
    counts, unanimous, items = np.zeros(num_classes, np.int64), 0, 0
    for shard in shard_names(predicted[0]):
        tables = [item.shard(shard, ["id", "language", "labels"]) for item in predicted]
        tables = in_common(of_language(tables[0], language), *tables[1:])
        said_UN = np.stack([items_of(table["labels"])[0] for table in tables])
        counts += np.bincount(said_UN[said_UN >= 0], minlength=num_classes)
        unanimous += int(is_unanimous(said_UN).sum())
        items += int((said_UN >= 0).any(axis=0).sum())
    facts = {
        "items": items,
        "unanimous": unanimous,
        "commonest": int(counts.max()),
        "said": int(counts.sum()),
    }
    return pa.table({"class": np.arange(num_classes), "said": counts}), facts


def of_agreement(found: Mapping[str, Mapping[str, Any]], num_sources: int) -> list[Mechanism]:
    """What the facts of `agreement` say, by target.

    Args:
        found: The facts.
        num_sources: The most sources that a target has.
    """
    one = {t: share_of(x["commonest"], x["said"]) for t, x in found.items()}
    same = [target for target, share in one.items() if share == 1]
    idle = f"the sources give all words of {', '.join(same)} one label" if same else None
    lines = [Mechanism("sources, share of the commonest label", one, idle)]
    if num_sources > 1:
        shares = {t: share_of(x["unanimous"], x["items"]) for t, x in found.items()}
        same = [target for target, share in shares.items() if share == 1]
        idle = f"the sources say the same of every word of {', '.join(same)}" if same else None
        lines.append(Mechanism("sources, share of words on which all agree", shares, idle))
    return lines


def of_source_dev(learnt: Mapping[str, Learnt], keep: str) -> Mechanism:
    """Source dev of the target's model: its best, and its last."""
    figures: dict[str, float] = {}
    for target, found in learnt.items():
        scores = [entry["source_dev"] for entry in found.history]
        figures[f"{target} best"] = max(scores, default=math.nan)
        figures[f"{target} last"] = scores[-1] if scores else math.nan
    return Mechanism(f"target model, source dev (the {keep} is kept)", figures)


def share_of(part: float | None, whole: float | None) -> float:
    """A share; not a number where a plan does not know it."""
    return part / whole if part is not None and whole else math.nan
