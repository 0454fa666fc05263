"""How far the models of a loop agree on unlabelled text. No gold labels are read."""

from typing import Any

import numpy as np
import pyarrow as pa

from xlt_ray.data.keyed import in_common, items_of
from xlt_ray.ops.model_agreement import mean_agreement, pair_counts
from xlt_ray.recipe.corpus import shard_names
from xlt_ray.store.artifacts import Artifact


def agreement_of_models(*said: Artifact, outside: int | None) -> tuple[pa.Table, dict[str, Any]]:
    """How far each model agrees with the others, over all items that all of them labelled.

    Args:
        said: What each model says about one text: annotations with ``labels``.
        outside: Class of words outside of entities, which does not count where both models of a
            pair give it; None: everything counts.

    Returns:
        A table with a row per pair of models: ``model``, ``other``, ``same`` and ``counted``; and
        ``agreement``, of each model the mean over the others of the share same / counted, and
        ``items``.
    """
    num_models, items = len(said), 0
    same_MM = np.zeros((num_models, num_models), np.int64)
    counted_MM = np.zeros((num_models, num_models), np.int64)
    for shard in shard_names(said[0]):
        tables = in_common(*(item.shard(shard, ["id", "labels"]) for item in said))
        labels_MN = np.stack([items_of(table["labels"])[0] for table in tables])
        same, counted = pair_counts(labels_MN, outside)
        same_MM, counted_MM, items = same_MM + same, counted_MM + counted, items + len(labels_MN[0])
    one, other = np.triu_indices(num_models, k=1)
    table = pa.table(
        {
            "model": one.astype(np.int64),
            "other": other.astype(np.int64),
            "same": same_MM[one, other],
            "counted": counted_MM[one, other],
        }
    )
    return table, {"agreement": mean_agreement(same_MM, counted_MM).tolist(), "items": items}
