"""How good labels and candidate sets are, counted against gold labels.

Counts add up over languages; `shares_of` turns them into shares. Items without gold (-100) are left
out. Where labels are BIO tags, words whose gold tag is inside an entity are counted apart, too, and
words that are predicted to be inside one: most words are outside, and easy, and a selection ranks
sentences by the words that are predicted to be inside.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xlt_ray.data.keyed import positions, sorted_by_id
from xlt_ray.labels import UNLABELLED, LabelSet
from xlt_ray.oracle.candidate_sets import COMPARED
from xlt_ray.store.artifacts import Artifact

EVERY = "all"
"""Name of all items and, where languages are added up, of all languages."""
ENTITIES = "entities"
"""Name of the words whose gold tag is inside an entity."""
PREDICTED = "predicted"
"""Name of the words that are predicted to be inside an entity."""
COUNTS = ("items", "contained", "right", "classes", "several")
"""Items; sets that hold the gold class; labels that are the gold class; members of all sets; sets
of more than one class."""

_PLACE = [("language", pa.string()), ("part", pa.string())]
_VIEW = [("measure", pa.string()), ("by", pa.string()), ("at", pa.int64())]
_COUNTS = [(name, pa.int64()) for name in COUNTS]
_TENTHS = range(1, 11)

Counted = dict[str, Any]
"""A row of a table: where it counts, and the counts."""


@dataclass(frozen=True)
class Judged:
    """Items that have gold, in the order of their rows' ids.

    Attributes:
        language_N: Languages.
        gold_N: Gold classes.
        columns: [N] array per column.
    """

    language_N: np.ndarray
    gold_N: np.ndarray
    columns: Mapping[str, np.ndarray]

    def parts(self, outside: int | None) -> Iterator[tuple[str, str, np.ndarray]]:
        """Language, name and mask of every part that has items.

        Args:
            outside: The class of words outside entities; None: there are no entities.
        """
        masks = {EVERY: np.ones(len(self.gold_N), bool)}
        if outside is not None:
            masks[ENTITIES] = self.gold_N != outside
            masks[PREDICTED] = self.columns["labels"] != outside
        for language in sorted(set(self.language_N.tolist())):
            for name, mask_N in masks.items():
                within_N = mask_N & (self.language_N == language)
                if within_N.any():
                    yield language, name, within_N

    def tally(self, sets: str) -> np.ndarray:
        """What each item adds to `COUNTS`, [N, 5], with the sets of a column of bit masks."""
        set_N = self.columns[sets].astype(np.int64)
        size_N = np.bitwise_count(set_N).astype(np.int64)
        contained_N = set_N >> self.gold_N & 1
        right_N = self.columns["labels"] == self.gold_N
        return np.stack([np.ones_like(set_N), contained_N, right_N, size_N, size_N > 1], axis=1)


def judge(table: pa.Table, gold: pa.Table, columns: Sequence[str]) -> Judged:
    """Joins item columns with gold by row id.

    Args:
        table: ``id`` and the columns, each a list per row.
        gold: ``id``, ``language`` and ``labels``; rows that the other table lacks are left out.
        columns: Names of columns.
    """
    gold = sorted_by_id(gold)
    position = positions(gold, table)
    gold, rows = gold.filter(position.is_valid()), table.take(position.drop_null())
    length_R = _lengths(gold["labels"])
    for name in columns:
        assert np.array_equal(_lengths(rows[name]), length_R), f"{name}: not as many items as gold"
    gold_N = _flat(gold["labels"]).astype(np.int64)
    known_N = gold_N != UNLABELLED
    language_R = np.array(gold["language"].to_pylist(), dtype=object)
    return Judged(
        np.repeat(language_R, length_R)[known_N],
        gold_N[known_N],
        {name: _flat(rows[name])[known_N] for name in columns},
    )


def outside_of(labels: LabelSet) -> int | None:
    """The class of words outside entities, for labels that are BIO tags; else None."""
    return labels.index("O") if labels.is_bio else None


def candidate_recall(
    sets: Artifact, gold: Artifact, *, outside: int | None
) -> tuple[pa.Table, dict[str, Any]]:
    """A derivation: `recall_table` of a `MeasuredSets` annotation of the unlabelled text."""
    names = ["labels", *COMPARED, *(f"u_{name}" for name in COMPARED)]
    judged = judge(sets.table(["id", *names]), gold.table(), names)
    return recall_table(judged, outside=outside), {}


def picked_accuracy(
    picked: Artifact, gold: Artifact, *, outside: int | None
) -> tuple[pa.Table, dict[str, Any]]:
    """A derivation: `picked_table` of a round's selection, or of any annotation with ``labels``;
    without ``candidates`` its sets are those labels."""
    names = [name for name in ("labels", "candidates") if name in picked.columns()]
    judged = judge(picked.table(["id", *names]), gold.table(), names)
    if "candidates" not in names:
        sets = {"candidates": np.int64(1) << judged.columns["labels"].astype(np.int64)}
        judged = replace(judged, columns={**judged.columns, **sets})
    return picked_table(judged, outside=outside), {}


def recall_table(judged: Judged, *, outside: int | None) -> pa.Table:
    """Counts per language, part and measure.

    Args:
        judged: Items with the columns of `xlt_ray.oracle.candidate_sets.MeasuredSets`.
        outside: The class of words outside entities; None: there are no entities.

    Returns:
        Rows with ``by`` "share" count the first ceil(``at`` % of n) of a part's n items in the
        order of u, least first, ties in the order of the ids; those with ``by`` "size" count the
        items whose set has ``at`` classes.
    """
    rows: list[Counted] = []
    tallies = {measure: judged.tally(measure) for measure in COMPARED}
    for language, part, within_N in judged.parts(outside):
        for measure in COMPARED:
            place = {"language": language, "part": part, "measure": measure}
            tally_NK = tallies[measure][within_N]
            order_N = judged.columns[f"u_{measure}"][within_N].argsort(kind="stable")
            taken_NK = tally_NK[order_N].cumsum(axis=0)
            for tenth in _TENTHS:
                last = -(-len(order_N) * tenth // 10) - 1
                rows.append({**place, "by": "share", "at": 10 * tenth, **_named(taken_NK[last])})
            size_N = tally_NK[:, COUNTS.index("classes")]
            for size in np.unique(size_N).tolist():
                counts = _named(tally_NK[size_N == size].sum(axis=0))
                rows.append({**place, "by": "size", "at": size, **counts})
    return pa.Table.from_pylist(rows, pa.schema([*_PLACE, *_VIEW, *_COUNTS]))


def picked_table(judged: Judged, *, outside: int | None) -> pa.Table:
    """Counts per language and part of what was selected.

    Args:
        judged: Items with ``labels`` and ``candidates``.
        outside: The class of words outside entities; None: there are no entities.
    """
    tally_NK = judged.tally("candidates")
    rows = [
        {"language": language, "part": part, **_named(tally_NK[within_N].sum(axis=0))}
        for language, part, within_N in judged.parts(outside)
    ]
    return pa.Table.from_pylist(rows, pa.schema([*_PLACE, *_COUNTS]))


def with_sums(rows: Iterable[Counted]) -> list[Counted]:
    """The rows and, for everything but the language alike, their sums as language "all"."""
    rows = list(rows)
    sums: dict[tuple[Any, ...], Counted] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    for row in rows:
        key = tuple((k, v) for k, v in row.items() if k != "language" and k not in COUNTS)
        for name in COUNTS:
            sums[key][name] += row[name]
    return [*rows, *({"language": EVERY, **dict(key), **counts} for key, counts in sums.items())]


def shares_of(counts: Mapping[str, int]) -> dict[str, float]:
    """Shares in [0, 1], and the mean size of a set, of at least one item.

    Args:
        counts: `COUNTS`, ``items`` not 0.

    Returns:
        ``recall``, sets that hold the gold class; ``noise``, sets that do not; ``accuracy``, labels
        that are the gold class; ``several``, sets of more than one class; and ``mean_size``.
    """
    items = counts["items"]
    return {
        "recall": counts["contained"] / items,
        "noise": (items - counts["contained"]) / items,
        "accuracy": counts["right"] / items,
        "several": counts["several"] / items,
        "mean_size": counts["classes"] / items,
    }


def _named(counts_K: np.ndarray) -> dict[str, int]:
    return dict(zip(COUNTS, counts_K.tolist(), strict=True))


def _lengths(column: pa.ChunkedArray) -> np.ndarray:
    lengths: Any = pc.call_function("list_value_length", [column])
    return np.asarray(lengths.to_numpy(), dtype=np.int64)


def _flat(column: pa.ChunkedArray) -> np.ndarray:
    values: Any = pc.call_function("list_flatten", [column])
    return np.asarray(values.to_numpy())
