"""What sources say together: the majority's label of every item, and which items have one."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from xlt_ray.data.batches.planning import seed_of
from xlt_ray.data.keyed import in_common, items_of, of_language
from xlt_ray.methods.shared.sources import Sources, soft_labels
from xlt_ray.ops import voting
from xlt_ray.recipe.corpus import shard_names
from xlt_ray.recipe.driver import Driver
from xlt_ray.store.artifacts import Artifact


def marked(driver: Driver, target: str, sources: Sources) -> Artifact:
    """Labels of the items that any of the sources speaks about: -100 for the other words of its
    rows, and rows without any are not there. Whoever learns from probabilities learns from these
    items, whatever the labels are."""
    if len(sources.labellers) < len(sources.names):
        models = [name for name in sources.names if name not in sources.labellers]
        return sources.of(models[:1]).artifacts[0]  # a model speaks about everything
    return driver.derive(
        f"{target} labelled by {' '.join(sources.names)}",
        vote,
        *sources.artifacts,
        names=list(sources.names),
        columns=list(sources.columns),
        language=target,
        num_classes=driver.context.num_classes,
    )


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

    An item without any vote has the label -100, and a row of such items is left out.

    Args:
        predicted: What each source says about the same text, -100 where it gives no label.
        names: The sources, in the configured order.
        columns: Columns of their probabilities.
        language: The one language that is wanted.
        num_classes: K.
        ties: Which of tied labels counts, as the key says.
        seed: Seed of the draws.

    Returns:
        ``id``, ``language``, ``labels``, and of how many ``items`` with votes these are
        ``unanimous`` or ``tied``.
    """
    parts, agreed, tied, items = [], 0, 0, 0
    columns = columns if ties == "probability" else []
    for shard in shard_names(predicted[0]):
        tables = [item.shard(shard, ["id", "language", "labels", *columns]) for item in predicted]
        tables = in_common(of_language(tables[0], language), *tables[1:])
        tables = _with_votes(tables)
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
        agreed += int(voting.is_unanimous(hard_UN).sum())
        items += int((hard_UN >= 0).any(axis=0).sum())
    return pa.concat_tables(parts), {"items": items, "unanimous": agreed, "tied": tied}


def _with_votes(tables: list[pa.Table]) -> list[pa.Table]:
    """The rows that have a vote in any of the tables, which have the same rows."""
    has = np.zeros(len(tables[0]), bool)
    for table in tables:
        values, offsets = items_of(table["labels"])
        before = np.concatenate([[0], np.cumsum(values >= 0)])
        has |= before[offsets[1:]] > before[offsets[:-1]]
    return tables if has.all() else [table.filter(pa.array(has)) for table in tables]
