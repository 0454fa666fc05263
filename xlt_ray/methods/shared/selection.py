"""Choosing pseudo-labelled rows: the derivations that recipes share."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from xlt_ray.data.keyed import Ids, of_language, sorted_by_id, with_ids
from xlt_ray.ops import selection
from xlt_ray.recipe.corpus import sample_ids, share_of
from xlt_ray.store.artifacts import Artifact

Selection = Literal["per_class", "top_n", "repo_tail"]
"""per_class: a quota per language and class; top_n: the lowest scores of a language whatever the
class; repo_tail: all but the 2k best of each class."""
QuotaOf = Literal["pool", "predicted"]
"""What a quota is a share of: the language's first pool; or the rows of a round that may be
selected and are predicted to have the class, for top_n all that may be selected."""


def choose(
    rule: Selection, by_type: np.ndarray, overall: np.ndarray, valid: np.ndarray, k_T: np.ndarray
) -> np.ndarray:
    """Mask of the sentences of one language that a rule selects; rows stand in the order of ids.

    Args:
        rule: How to choose.
        by_type: [N, T] scores, NaN where a row is not of the type.
        overall: [N] scores whatever the type.
        valid: [N] whether a row may be selected.
        k_T: Quota of each type; of all together the first, for top_n.
    """
    order = np.arange(len(overall))
    if rule == "per_class":
        return selection.select_sentences(by_type, order_N=order, k=k_T, valid_N=valid)
    if rule == "top_n":
        return selection.top_n(overall, order_N=order, n=int(k_T[0]), valid_N=valid)
    present = ~np.isnan(by_type) & valid[:, None]
    tails = [
        selection.repo_tail(
            by_type[:, column],
            classes_N=np.zeros_like(order),
            order_N=order,
            k=int(k_T[column]),
            valid_N=present[:, column],
        )
        for column in range(by_type.shape[1])
    ]
    return present.any(axis=1) & (np.stack(tails, axis=1) == present).all(axis=1)


def quotas(
    rule: Selection, by_type: np.ndarray, valid: np.ndarray, *, ratio: float, pool: int, of: QuotaOf
) -> np.ndarray:
    """[T] rows to take of each type; at least 1.

    Args:
        rule: How rows are chosen.
        by_type: [N, T] scores, NaN where a row is not of the type.
        valid: [N] whether a row may be selected.
        ratio: The share.
        pool: Rows of the language's first pool.
        of: What it is a share of.
    """
    types = by_type.shape[1]
    if of == "pool":
        sizes = np.full(types, pool)
    elif rule == "top_n":
        sizes = np.full(types, int(valid.sum()))
    else:
        sizes = (~np.isnan(by_type) & valid[:, None]).sum(axis=0)
    return np.array([selection.quota(ratio, int(size)) for size in sizes], np.int64)


def select_sentences(
    scored: Artifact,
    *,
    selection_rule: Selection,
    ratio: float,
    pool_sizes: Mapping[str, int],
    quota_of: QuotaOf,
) -> tuple[pa.Table, dict[str, Any]]:
    """Choose sentences of least gamma, separately per language, and copy their labels.

    Args:
        scored: Annotations: ``type_scores``, ``score``, ``valid``, ``labels``, ``candidates``.
        selection_rule: How to choose.
        ratio: Quota as a share.
        pool_sizes: Sentences of each language's first pool.
        quota_of: What it is a share of.

    Returns:
        The rows, and as facts what `counted` counts, ``eligible``, the rows by language that could
        have been selected, and ``search``, how sets were looked for.
    """
    table = scored.table(["id", "language", "type_scores", "score", "valid", "search"])
    table = sorted_by_id(table)
    language = table["language"].combine_chunks().dictionary_encode()
    numbers, names = language.indices.to_numpy(), language.dictionary.to_pylist()
    by_type = _matrix(table["type_scores"])
    overall = table["score"].to_numpy()
    valid = table["valid"].to_numpy(zero_copy_only=False) & ~np.isnan(overall)
    chosen, eligible = np.zeros(len(table), bool), dict[str, int]()
    for name, size in sorted(pool_sizes.items()):
        if name not in names:
            continue  # all of them were selected before
        rows = np.flatnonzero(numbers == names.index(name))
        present = by_type[rows], valid[rows]
        k_T = quotas(selection_rule, *present, ratio=ratio, pool=size, of=quota_of)
        chosen[rows] = choose(selection_rule, by_type[rows], overall[rows], valid[rows], k_T)
        eligible[name] = int(valid[rows].sum())
    ids = Ids(table["id"].combine_chunks().filter(pa.array(chosen)))
    columns = ["id", "language", "labels", "candidates"]
    picked = [with_ids(part, ids) for part in scored.tables(columns)]
    rows, facts = counted(pa.concat_tables(picked))
    return rows, {
        **facts,
        "eligible": eligible,
        "search": sorted(table["search"].unique().to_pylist()),
    }


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
    """Rows with labels and sets in the order of their ids, and counts of them.

    The facts are ``selected``, rows by language, ``set_sizes``, items by the size of their set, and
    ``rows_with_sets``, rows with an item whose set has several classes.
    """
    sets = np.array(table["candidates"].combine_chunks().flatten().to_numpy(), dtype=np.int64)
    sizes_N = np.bitwise_count(sets)
    lengths = table["candidates"].combine_chunks().value_lengths()
    ends = np.concatenate([[0], np.cumsum(lengths.to_numpy(zero_copy_only=False))])
    several = np.concatenate([[0], np.cumsum(sizes_N > 1)])[ends.astype(np.int64)]
    facts = {
        "selected": dict(sorted(Counter(table["language"].to_pylist()).items())),
        "set_sizes": {str(size): n for size, n in sorted(Counter(sizes_N.tolist()).items())},
        "rows_with_sets": int((np.diff(several) > 0).sum()),
    }
    return sorted_by_id(table), facts
