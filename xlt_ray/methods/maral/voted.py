"""Classes of target spans from labellers, in place of those of the teacher."""

from typing import Any

import numpy as np
import pyarrow as pa

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.keyed import in_common, items_of
from xlt_ray.labels import LabelSet
from xlt_ray.ops import spans
from xlt_ray.recipe.corpus import shard_names
from xlt_ray.recipe.driver import Driver
from xlt_ray.store.artifacts import Artifact


def check_teacher(driver: Driver, teacher: str) -> None:
    """See that labellers are there where they teach, and only there.

    Args:
        driver: The verbs.
        teacher: Who gives spans their first classes, as the key says.

    Raises:
        ConfigError: they are not.
    """
    names = ", ".join(driver.labellers)
    if teacher == "labellers" and not names:
        raise ConfigError("method.teacher: labellers, and there are none; name labellers.NAME.file")
    if teacher == "model" and names:
        raise ConfigError(
            f"method.teacher: model, so {names} would label nothing; needed: labellers"
        )


def voted_spans(
    said: Artifact, *votes: Artifact, labels: list[str], max_len: int
) -> tuple[pa.Table, dict[str, Any]]:
    """Class probabilities of spans: the share of the labellers' votes, or what the teacher says of
    spans with a word that nobody has labelled.

    Args:
        said: The teacher's probabilities, ``q`` of each span.
        votes: What each labeller says about the words of the same text.
        labels: BIO label set of the words.
        max_len: Words of the longest span.

    Returns:
        ``id``, ``language`` and ``q``; of how many ``spans`` how many are ``voted`` on.
    """
    known, parts, voted, total = LabelSet(tuple(labels)), [], 0, 0
    for shard in shard_names(said):
        tables = [said.shard(shard, ["id", "language", "q"])]
        tables = in_common(*tables, *(item.shard(shard, ["id", "labels"]) for item in votes))
        first, *others = tables
        q_NK, offsets = items_of(first["q"])
        # No rows do not say how many classes they have.
        q_NK = q_NK.reshape(len(q_NK), q_NK.shape[1] or len(spans.span_classes(known)))
        shares_NK = np.zeros(q_NK.shape)
        for table in others:
            tags_W, words = items_of(table["labels"])
            class_N = spans.labels_of_many(tags_W, np.diff(words), max_len, known)
            given = np.flatnonzero(class_N >= 0)
            shares_NK[given, class_N[given]] += 1
        voters_N1 = shares_NK.sum(axis=1, keepdims=True)
        shares_NK /= np.maximum(voters_N1, 1)
        q_NK = np.where(voters_N1 > 0, shares_NK, q_NK).astype(np.float32)
        vectors = pa.ListArray.from_arrays(
            pa.array(np.arange(len(q_NK) + 1, dtype=np.int32) * q_NK.shape[1]),
            pa.array(q_NK.reshape(-1)),
        )
        lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), vectors)
        parts.append(first.select(["id", "language"]).append_column("q", lists))
        voted += int((voters_N1 > 0).sum())
        total += len(q_NK)
    return pa.concat_tables(parts), {"spans": total, "voted": voted}
