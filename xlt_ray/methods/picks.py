"""Choosing pseudo-labelled sentences: scores by entity, and the derivations that recipes share."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from xlt_ray.data.corpus import sample_ids, share_of
from xlt_ray.data.keyed import of_language, sorted_by_id, with_ids
from xlt_ray.labels import bio_spans_of_ids, has_orphan_of_ids
from xlt_ray.methods.base import Facts
from xlt_ray.ops import selection
from xlt_ray.store import Artifact

Selection = Literal["per_class", "top_n", "repo_tail"]
"""per_class: a quota per language and class; top_n: the lowest scores of a language whatever the
class; repo_tail: all but the 2k best of each class."""


def entity_scores(
    labels: np.ndarray, scores: np.ndarray, offsets: np.ndarray, facts: Facts
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of sentences by the entities that their labels spell.

    Args:
        labels: [N] class of each word, sentence after sentence.
        scores: [N] score of each word.
        offsets: [S + 1] first word of each sentence, and N.
        facts: The task.

    Returns:
        [S, T] mean per entity type and [S] mean over all entities, NaN where there are none, and
        [S] whether the sentence has an I- that continues nothing.
    """
    types = {name: index for index, name in enumerate(facts.labels.entity_types)}
    sentence_of, type_of, inside, owner = [], [], [], []
    orphaned = np.zeros(len(offsets) - 1, bool)
    for row, (start, end) in enumerate(pairwise(offsets)):
        tags = labels[start:end].tolist()
        orphaned[row] = has_orphan_of_ids(tags, facts.labels)
        for span in bio_spans_of_ids(tags, facts.labels):
            inside += range(start + span.start, start + span.end)
            owner += [len(sentence_of)] * (span.end - span.start)
            sentence_of.append(row)
            type_of.append(types[span.type])
    words = {
        "scores_W": scores[np.array(inside, np.int64)],
        "entity_W": np.array(owner, np.int64),
        "sentence_E": np.array(sentence_of, np.int64),
        "num_sentences": len(orphaned),
    }
    kinds = np.array(type_of, np.int64)
    by_type = selection.sentence_type_scores(**words, type_E=kinds, num_types=len(types))
    overall = selection.sentence_type_scores(**words, type_E=np.zeros_like(kinds), num_types=1)
    return by_type, overall[:, 0], orphaned


def choose(
    rule: Selection, by_type: np.ndarray, overall: np.ndarray, valid: np.ndarray, k: int
) -> np.ndarray:
    """Mask of the sentences of one language that a rule selects; rows stand in the order of ids."""
    order = np.arange(len(overall))
    if rule == "per_class":
        return selection.select_sentences(by_type, order_N=order, k=k, valid_N=valid)
    if rule == "top_n":
        return selection.top_n(overall, order_N=order, n=k, valid_N=valid)
    present = ~np.isnan(by_type) & valid[:, None]
    tails = [
        selection.repo_tail(
            by_type[:, column],
            classes_N=np.zeros_like(order),
            order_N=order,
            k=k,
            valid_N=present[:, column],
        )
        for column in range(by_type.shape[1])
    ]
    return present.any(axis=1) & (np.stack(tails, axis=1) == present).all(axis=1)


def select_sentences(
    scored: Artifact, *, selection_rule: Selection, ratio: float, pool_sizes: Mapping[str, int]
) -> tuple[pa.Table, dict[str, Any]]:
    """Choose sentences of least gamma, separately per language, and copy their labels.

    Args:
        scored: Annotations: ``type_scores``, ``score``, ``valid``, ``labels``, ``candidates``.
        selection_rule: How to choose.
        ratio: Quota as a share of the language's first pool.
        pool_sizes: Sentences of each language's first pool.
    """
    table = scored.table(["id", "language", "type_scores", "score", "valid", "search"])
    table = sorted_by_id(table)
    language = np.array(table["language"].to_pylist(), dtype=object)
    by_type = table["type_scores"].to_pylist()
    overall = table["score"].to_numpy()
    valid = table["valid"].to_numpy(zero_copy_only=False) & ~np.isnan(overall)
    chosen = np.zeros(len(table), bool)
    for name, size in sorted(pool_sizes.items()):
        rows = np.flatnonzero(language == name)
        if not len(rows):
            continue  # all of them were selected before
        scores = np.array([by_type[row] for row in rows], dtype=np.float64)
        k = selection.quota(ratio, size)
        chosen[rows] = choose(selection_rule, scores, overall[rows], valid[rows], k)
    ids = table["id"].combine_chunks().filter(pa.array(chosen))
    columns = ["id", "language", "labels", "candidates"]
    picked = [with_ids(part, ids) for part in scored.tables(columns)]
    rows, facts = _counted(pa.concat_tables(picked))
    return rows, {**facts, "search": sorted(set(table["search"].to_pylist()))}


def gather_earlier(
    *picked: Artifact, ratio: float | None, seed: int
) -> tuple[pa.Table, dict[str, Any]]:
    """Selections of earlier rounds; a sentence selected twice keeps its last label.

    Args:
        *picked: Results of :func:`select_sentences` in the order of the rounds.
        ratio: Draw, per language, at most this many times the size of the last selection, which is
            itself left out; None: everything, the last selection included.
        seed: Seed of the draw.
    """
    *before, last = [item.table() for item in picked]
    newest = before if ratio is not None else [*before, last]
    seen = set(last["id"].to_pylist()) if ratio is not None else set()
    kept = []
    for table in reversed(newest):
        fresh = pa.array([item not in seen for item in table["id"].to_pylist()], pa.bool_())
        kept.append(table.filter(fresh))
        seen.update(table["id"].to_pylist())
    merged = pa.concat_tables([*kept[::-1], last.slice(0, 0)])
    if ratio is not None:
        merged = _draw_per_language(merged, last, ratio=ratio, seed=seed)
    return _counted(merged)


def _draw_per_language(table: pa.Table, last: pa.Table, *, ratio: float, seed: int) -> pa.Table:
    wanted = Counter(last["language"].to_pylist())
    chosen = []
    for name, count in sorted(wanted.items()):
        ids = of_language(table, name)["id"].combine_chunks()
        chosen += sample_ids(ids, share_of(ratio, count), seed=seed).to_pylist()
    return with_ids(table, pa.array(chosen, pa.string()))


def _counted(table: pa.Table) -> tuple[pa.Table, dict[str, Any]]:
    sets = np.array(table["candidates"].combine_chunks().flatten().to_numpy(), dtype=np.int64)
    sizes = Counter(int(size) for size in np.bitwise_count(sets))
    facts = {
        "selected": dict(sorted(Counter(table["language"].to_pylist()).items())),
        "set_sizes": {str(size): count for size, count in sorted(sizes.items())},
    }
    return sorted_by_id(table), facts
