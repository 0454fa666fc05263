"""What the source gold holds: spans of each class, and entities by their length (M7)."""

from typing import Any

import numpy as np
import pyarrow as pa

from xlt_ray.data.keyed import items_of
from xlt_ray.labels import UNLABELLED, LabelSet
from xlt_ray.metrics import entities_of
from xlt_ray.ops import spans
from xlt_ray.store.artifacts import Artifact

LEAST_WORDS, MOST_WORDS = 4, 24
"""Length of the longest span where nothing is known of the source, and most that is chosen."""
COVERED = 0.99
"""Share of the source's entities that a chosen length holds."""


def count_spans(
    gold: Artifact, *, labels: list[str], max_len: int | None
) -> tuple[pa.Table, dict[str, Any]]:
    """Spans of each class and entities of each length in gold-labelled text.

    Args:
        gold: BIO ``labels`` of words, in any number of files.
        labels: Names of these labels.
        max_len: Words of the longest span; None: `length_for` the entities.

    Returns:
        A row per class; as facts ``max_len``, ``counts``, the spans of each class of at most so
        many words, and ``by_words``, entities by their number of words.
    """
    known = LabelSet(tuple(labels))
    classes = spans.span_classes(known)
    parts = [
        items_of(gold.shard(name, ["labels"])["labels"])
        for name in gold.names
        if name.startswith("gold-")
    ]
    by_words = np.zeros(1, np.int64)
    for tags_W, offsets in parts:
        words = _lengths(tags_W, offsets, known)
        by_words = _sum(by_words, np.bincount(words))
    longest = max_len or length_for(by_words)
    total = np.zeros(len(classes), np.int64)
    for tags_W, offsets in parts:
        found_N = spans.labels_of_many(tags_W, np.diff(offsets), longest, known)
        total += np.bincount(found_N[found_N != UNLABELLED], minlength=len(classes))
    table = pa.table({"class": list(classes), "spans": total})
    lengths = {str(n): int(count) for n, count in enumerate(by_words) if count}
    return table, {"max_len": longest, "counts": total.tolist(), "by_words": lengths}


def length_for(by_words: np.ndarray) -> int:
    """The fewest words that hold `COVERED` of the entities, at most `MOST_WORDS`.

    Args:
        by_words: Entities of 0, 1, ... words.
    """
    if not by_words.sum():
        return LEAST_WORDS
    held = by_words.cumsum() / by_words.sum()
    return max(1, min(int(np.argmax(held >= COVERED)), MOST_WORDS))


def _lengths(tags_W: np.ndarray, offsets: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Words of each entity; a word without a label is outside."""
    tags_W = np.where(tags_W == UNLABELLED, labels.outside, tags_W)
    found = entities_of(tags_W.astype(np.int64), offsets, labels)
    return found.after_E - found.first_E


def _sum(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    size = max(len(one), len(other))
    return np.pad(one, (0, size - len(one))) + np.pad(other, (0, size - len(other)))
