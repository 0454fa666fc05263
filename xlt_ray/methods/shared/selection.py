"""Choosing pseudo-labelled rows: the columns of annotators, and the derivations recipes share."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from xlt_ray.data.keyed import Ids, of_language, ranges, sorted_by_id, with_ids
from xlt_ray.metrics import entities_of
from xlt_ray.ops import selection
from xlt_ray.recipe.annotator import Columns
from xlt_ray.recipe.corpus import sample_ids, share_of
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact

Selection = Literal["per_class", "top_n", "repo_tail"]
"""per_class: a quota per language and class; top_n: the lowest scores of a language whatever the
class; repo_tail: all but the 2k best of each class."""


def one_hot_columns(
    labels: Tensor,
    score: Tensor,
    offsets: np.ndarray,
    context: TaskContext,
    silent: np.ndarray | None = None,
) -> Columns:
    """The columns of :func:`annotation_columns` where every set is one class.

    Args:
        labels: [N] class of each item.
        score: [N] uncertainty of each item, lowest first.
        offsets: [S + 1] first item of each row, and N.
        context: The task.
        silent: [N] items whose rows may not be selected; None: none.
    """
    sets = torch.ones_like(labels) << labels
    return annotation_columns(labels, sets, score, score, offsets, context, silent, "one-hot")


def annotation_columns(
    labels: Tensor,
    sets: Tensor,
    gamma: Tensor,
    score: Tensor,
    offsets: np.ndarray,
    context: TaskContext,
    silent: np.ndarray | None = None,
    search: str = "one-hot",
) -> Columns:
    """What the rounds of a self-learning loop know of each row.

    Args:
        labels: [N] likeliest class of each item.
        sets: [N] bit mask of its candidate set.
        gamma: [N] uncertainty of the label given.
        score: [N] what rows are ranked by, lowest first.
        offsets: [S + 1] first item of each row, and N.
        context: The task.
        silent: [N] items whose rows may not be selected; None: none.
        search: How sets were looked for.

    Returns:
        Per item ``labels``, ``candidates`` and ``gamma``; per row ``type_scores`` (a mean over the
        entities of each type, or the score under the class of a text; NaN elsewhere), ``score``
        (the mean over all entities, or the score of the text), ``valid`` (may be selected: no
        orphan I-, no silent item) and ``search``.
    """
    classes, values = labels.cpu().numpy(), score.cpu().numpy()
    rate = entity_scores if context.task == "token" else class_scores
    by_type, overall, orphaned = rate(classes, values, offsets, context)
    quiet = np.zeros(len(offsets) - 1, np.int64)
    if silent is not None and len(quiet):
        quiet = np.add.reduceat(np.append(silent, False).astype(np.int64), offsets[:-1])
    return Columns(
        items={
            "labels": classes.astype(np.int16),
            "candidates": sets.cpu().numpy(),
            "gamma": gamma.cpu().numpy().astype(np.float32),
        },
        rows={
            "type_scores": by_type,
            "score": overall,
            "valid": ~orphaned & (quiet == 0),
            "search": np.full(len(offsets) - 1, search),
        },
    )


def class_scores(
    labels: np.ndarray, scores: np.ndarray, offsets: np.ndarray, context: TaskContext
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of texts, each of which is one item, by predicted class.

    Args:
        labels: [N] class of each text.
        scores: [N] score of each text.
        offsets: [N + 1], one item per row.
        context: The task.

    Returns:
        [N, C] the score under the text's class and NaN elsewhere, [N] the scores, and [N] False.
    """
    by_class = np.full((len(labels), context.num_classes), np.nan)
    by_class[np.arange(len(labels)), labels] = scores
    return by_class, scores, np.zeros(len(labels), bool)


def entity_scores(
    labels: np.ndarray, scores: np.ndarray, offsets: np.ndarray, context: TaskContext
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of sentences by the entities that their labels spell.

    Args:
        labels: [N] class of each word, sentence after sentence.
        scores: [N] score of each word.
        offsets: [S + 1] first word of each sentence, and N.
        context: The task.

    Returns:
        [S, T] mean per entity type and [S] mean over all entities, NaN where there are none, and
        [S] whether the sentence has an I- that continues nothing.
    """
    found, count = entities_of(labels.astype(np.int64), offsets, context.labels), len(offsets) - 1
    sizes = found.after_E - found.first_E
    words = {
        "scores_W": scores[ranges(found.first_E, sizes)],
        "entity_W": np.repeat(np.arange(len(sizes)), sizes),
        "sentence_E": _row_of(found.first_E, offsets),
        "num_sentences": count,
    }
    types, kinds = len(context.labels.entity_types), found.type_E
    by_type = selection.sentence_type_scores(**words, type_E=kinds, num_types=types)
    overall = selection.sentence_type_scores(**words, type_E=np.zeros_like(kinds), num_types=1)
    orphaned = np.zeros(count, bool)
    orphaned[_row_of(np.flatnonzero(found.orphan_N), offsets)] = True
    return by_type, overall[:, 0], orphaned


def _row_of(items: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The row that each item stands in."""
    return np.searchsorted(offsets, items, side="right") - 1


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
    language = table["language"].combine_chunks().dictionary_encode()
    numbers, names = language.indices.to_numpy(), language.dictionary.to_pylist()
    by_type = _matrix(table["type_scores"])
    overall = table["score"].to_numpy()
    valid = table["valid"].to_numpy(zero_copy_only=False) & ~np.isnan(overall)
    chosen = np.zeros(len(table), bool)
    for name, size in sorted(pool_sizes.items()):
        if name not in names:
            continue  # all of them were selected before
        rows = np.flatnonzero(numbers == names.index(name))
        k = selection.quota(ratio, size)
        chosen[rows] = choose(selection_rule, by_type[rows], overall[rows], valid[rows], k)
    ids = Ids(table["id"].combine_chunks().filter(pa.array(chosen)))
    columns = ["id", "language", "labels", "candidates"]
    picked = [with_ids(part, ids) for part in scored.tables(columns)]
    rows, facts = counted(pa.concat_tables(picked))
    return rows, {**facts, "search": sorted(table["search"].unique().to_pylist())}


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """[N, K] values of a column of lists of one length."""
    values = column.combine_chunks()
    width = len(values[0]) if len(values) else 0
    return values.flatten().to_numpy().astype(np.float64).reshape(len(values), width)


def silver_labels(
    scored: Artifact, *, language: str | None = None
) -> tuple[pa.Table, dict[str, Any]]:
    """Every predicted label of a pool, whatever its certainty.

    Args:
        scored: Annotations: ``labels``.
        language: The one language that is taken; None: all.
    """
    table = scored.table(["id", "language", "labels"])
    return one_class_sets(table if language is None else of_language(table, language))


def one_class_sets(table: pa.Table) -> tuple[pa.Table, dict[str, Any]]:
    """Labelled rows with the sets that their labels are: the table of a selection, and its facts.

    Args:
        table: ``id``, ``language``, ``labels``; other columns are dropped.
    """
    labels = table["labels"].combine_chunks()
    sets = np.int64(1) << labels.flatten().to_numpy().astype(np.int64)
    sizes = labels.value_lengths().to_numpy(zero_copy_only=False) if len(labels) else []
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    column = pa.ListArray.from_arrays(pa.array(ends), pa.array(sets))
    kept = table.select(["id", "language", "labels"])
    return counted(kept.append_column("candidates", column))


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
    return counted(merged)


def _draw_per_language(table: pa.Table, last: pa.Table, *, ratio: float, seed: int) -> pa.Table:
    wanted = Counter(last["language"].to_pylist())
    chosen = []
    for name, count in sorted(wanted.items()):
        ids = of_language(table, name)["id"].combine_chunks()
        chosen += sample_ids(ids, share_of(ratio, count), seed=seed).to_pylist()
    return with_ids(table, pa.array(chosen, pa.string()))


def counted(table: pa.Table) -> tuple[pa.Table, dict[str, Any]]:
    """Rows with labels and sets in the order of their ids, and counts by language and set size."""
    sets = np.array(table["candidates"].combine_chunks().flatten().to_numpy(), dtype=np.int64)
    sizes = Counter(int(size) for size in np.bitwise_count(sets))
    facts = {
        "selected": dict(sorted(Counter(table["language"].to_pylist()).items())),
        "set_sizes": {str(size): count for size, count in sorted(sizes.items())},
    }
    return sorted_by_id(table), facts
