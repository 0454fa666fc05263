"""How far pseudo-labels change from one round to the next, for the report."""

from typing import Any

import numpy as np
import pyarrow as pa

from xlt_ray.data.keyed import items_of, positions
from xlt_ray.store.artifacts import Artifact


def label_drift(before: Artifact, after: Artifact) -> tuple[pa.Table, dict[str, Any]]:
    """Items of the rows that both annotations have, and how many of them have another label.

    Args:
        before: Annotation of a pool.
        after: A later one, of the same corpus in the same shards; the pool may be smaller.

    Returns:
        A row per language: language, items, changed; as facts the sums.
    """
    items, changed = dict[str, int](), dict[str, int]()
    there = set(before.names)
    for name in after.names:
        if not name.endswith(".parquet") or name not in there:
            continue
        now = after.shard(name, ["id", "language", "labels"])
        then = before.shard(name, ["id", "labels"])
        place = positions(now, then)
        now, then = now.filter(place.is_valid()), then.take(place.drop_null())
        labels_N, offsets = items_of(now["labels"])
        differs_N = labels_N != items_of(then["labels"])[0]
        row_N = np.repeat(np.arange(len(now)), np.diff(offsets))
        languages = np.array(now["language"].to_pylist(), dtype=object)
        for language in dict.fromkeys(languages.tolist()):
            own_N = (languages == language)[row_N]
            items[language] = items.get(language, 0) + int(own_N.sum())
            changed[language] = changed.get(language, 0) + int(differs_N[own_N].sum())
    names = sorted(items)
    table = pa.table(
        {
            "language": pa.array(names, pa.string()),
            "items": pa.array([items[name] for name in names], pa.int64()),
            "changed": pa.array([changed[name] for name in names], pa.int64()),
        }
    )
    return table, {"items": sum(items.values()), "changed": sum(changed.values())}
