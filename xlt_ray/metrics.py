"""Scores: entity F1, accuracy and macro F1 as pure functions of integer arrays.

Entity F1 follows the default mode of seqeval (the rules of the conlleval script): an `I-` tag
that continues nothing starts an entity, and so does a change of type. The scorer here works on
flat integer arrays and is cheap enough for every epoch; `seqeval_f1` is the reference that final
reports use, and the tests hold the two equal to the last bit.

All scores are fractions in [0, 1]. A score with an empty denominator is 0.0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from xlt_ray.labels import UNLABELLED, LabelSet

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ragged:
    """Integer sequences of different lengths laid end to end.

    Attributes:
        flat: The ids of all sequences, [N].
        offsets: Where each sequence starts, and the end of the last one, [S + 1].
    """

    flat: IntArray
    offsets: IntArray

    def __post_init__(self) -> None:
        """Checks that the offsets cover `flat` exactly."""
        if self.flat.ndim != 1 or self.offsets.ndim != 1:
            raise ValueError("flat and offsets must have one dimension")
        covers = len(self.offsets) > 0 and self.offsets[0] == 0
        covers = covers and self.offsets[-1] == len(self.flat)
        if not covers or np.any(np.diff(self.offsets) < 0):
            raise ValueError(f"offsets must rise from 0 to len(flat) = {len(self.flat)}")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, sequences: Sequence[ArrayLike]) -> Self:
        """Joins separate sequences."""
        arrays = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
        flat = np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int64)
        return cls(flat, _offsets(np.array([len(array) for array in arrays], dtype=np.int64)))

    @classmethod
    def from_arrow(cls, column: pa.Array | pa.ChunkedArray) -> Self:
        """Takes a list column without nulls; a row becomes a sequence."""
        lengths: Any = pc.call_function("list_value_length", [column])
        flat: Any = pc.call_function("list_flatten", [column])
        if lengths.null_count or flat.null_count:
            raise ValueError("a label column must hold no nulls")
        return cls(
            np.asarray(flat.to_numpy(), dtype=np.int64),
            _offsets(np.asarray(lengths.to_numpy(), dtype=np.int64)),
        )

    def take(self, rows: IntArray) -> Self:
        """Some of the sequences, in the order of their numbers, [R]."""
        lists = np.split(self.flat, self.offsets[1:-1])
        return type(self).of([lists[row] for row in rows])

    def lists(self) -> list[list[int]]:
        """The sequences as lists."""
        return [part.tolist() for part in np.split(self.flat, self.offsets[1:-1])][: len(self)]


Ids = Ragged | Sequence[ArrayLike] | ArrayLike
"""What the scorers take: joined sequences, separate ones, or one flat array."""


@dataclass(frozen=True, eq=False)
class EntityCounts:
    """Numbers of entities per type: correct, predicted and gold. Counts of two parts add up.

    Attributes:
        types: The entity types, in the order of the arrays.
        correct: Predicted entities with the boundaries and the type of a gold one, [T].
        predicted: Predicted entities, [T].
        gold: Gold entities, [T].
    """

    types: tuple[str, ...]
    correct: IntArray
    predicted: IntArray
    gold: IntArray

    def __add__(self, other: Self) -> Self:
        if self.types != other.types:
            raise ValueError(f"counts of different types: {self.types} and {other.types}")
        return type(self)(
            self.types,
            self.correct + other.correct,
            self.predicted + other.predicted,
            self.gold + other.gold,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EntityCounts) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.types, self.correct.tobytes(), self.predicted.tobytes()))

    @classmethod
    def zero(cls, types: tuple[str, ...]) -> Self:
        """Counts of nothing, the start of a sum."""
        return cls(types, *(np.zeros(len(types), dtype=np.int64) for _ in range(3)))

    @property
    def support(self) -> int:
        """Number of gold entities."""
        return int(self.gold.sum())

    def to_json(self) -> dict[str, dict[str, int]]:
        """The counts as plain numbers: `{type: {"correct", "predicted", "gold"}}`."""
        rows = zip(self.types, self.correct, self.predicted, self.gold, strict=True)
        return {
            name: {"correct": int(correct), "predicted": int(predicted), "gold": int(gold)}
            for name, correct, predicted, gold in rows
        }

    @classmethod
    def from_json(cls, record: dict[str, dict[str, int]]) -> Self:
        """The inverse of `to_json`."""
        columns = (
            np.array([row[column] for row in record.values()], dtype=np.int64)
            for column in ("correct", "predicted", "gold")
        )
        return cls(tuple(record), *columns)


def entity_counts(gold: Ids, pred: Ids, labels: LabelSet) -> EntityCounts:
    """Counts entities under the rules of seqeval's default mode.

    Args:
        gold: Gold tag ids by sentence. Positions with the id -100 are taken out of both sides
            before entities are read, as if the words were not there.
        pred: Predicted tag ids, of the same lengths.
        labels: A BIO label set.

    Returns:
        Counts with the label set's entity types; zeros where nothing was found.
    """
    types, kind_C, type_C = _tag_tables(labels)
    gold_ids, pred_ids, offsets = _aligned(gold, pred, num_classes=len(labels))
    gold_start, gold_end = _entities(kind_C[gold_ids], type_C[gold_ids], offsets)
    pred_start, pred_end = _entities(kind_C[pred_ids], type_C[pred_ids], offsets)
    gold_type, pred_type = type_C[gold_ids], type_C[pred_ids]
    same = gold_start & pred_start & (gold_end == pred_end) & (gold_type == pred_type)

    def per_type(where: NDArray[np.bool_], type_N: IntArray) -> IntArray:
        return np.bincount(type_N[where], minlength=len(types)).astype(np.int64)

    return EntityCounts(
        types,
        correct=per_type(same, gold_type),
        predicted=per_type(pred_start, pred_type),
        gold=per_type(gold_start, gold_type),
    )


def precision(counts: EntityCounts) -> float:
    """Share of the predicted entities that are right, over all types."""
    return _ratio(counts.correct.sum(), counts.predicted.sum())


def recall(counts: EntityCounts) -> float:
    """Share of the gold entities that were found, over all types."""
    return _ratio(counts.correct.sum(), counts.gold.sum())


def micro_f1(counts: EntityCounts) -> float:
    """F1 over the entities of all types."""
    p, r = precision(counts), recall(counts)
    # The order of operations is seqeval's; 2 correct / (predicted + gold) can differ by an ulp.
    return 2.0 * p * r / (p + r) if p + r else 0.0


def confusion(gold: Ids, pred: Ids, num_classes: int) -> IntArray:
    """Counts of (gold, predicted) pairs.

    Args:
        gold: Class ids, flat or by sentence; -100 is left out.
        pred: Class ids of the same shape.
        num_classes: C.

    Returns:
        [C, C] with gold classes as rows.
    """
    gold_ids, pred_ids, _ = _aligned(gold, pred, num_classes=num_classes)
    pairs = np.bincount(gold_ids * num_classes + pred_ids, minlength=num_classes**2)
    return pairs.astype(np.int64).reshape(num_classes, num_classes)


def accuracy(confusion_CC: IntArray) -> float:
    """Share of the items on the diagonal."""
    return _ratio(np.trace(confusion_CC), confusion_CC.sum())


def macro_f1(confusion_CC: IntArray) -> float:
    """Unweighted mean of the classes' F1.

    Classes that occur neither as gold nor as prediction do not count; no items give 0.0.
    """
    gold_C, pred_C = confusion_CC.sum(axis=1), confusion_CC.sum(axis=0)
    present = gold_C + pred_C > 0
    if not present.any():
        return 0.0
    return float(np.mean(2.0 * np.diag(confusion_CC)[present] / (gold_C + pred_C)[present]))


Scored = tuple[float, int]
"""A score in [0, 1], and what it is over: gold entities, or items."""


def _entity_f1(gold: Ids, pred: Ids, labels: LabelSet) -> Scored:
    counts = entity_counts(gold, pred, labels)
    return micro_f1(counts), counts.support


def _accuracy(gold: Ids, pred: Ids, labels: LabelSet) -> Scored:
    table = confusion(gold, pred, len(labels))
    return accuracy(table), int(table.sum())


def _macro_f1(gold: Ids, pred: Ids, labels: LabelSet) -> Scored:
    table = confusion(gold, pred, len(labels))
    return macro_f1(table), int(table.sum())


def seqeval_f1(gold: Ids, pred: Ids, labels: LabelSet) -> float:
    """Entity F1 by seqeval in its default mode, for the figures of a final report."""
    from seqeval.metrics import f1_score  # takes seconds to import

    _tag_tables(labels)
    gold_ids, pred_ids, offsets = _aligned(gold, pred, num_classes=len(labels))
    names = np.array(labels.names, dtype=object)
    gold_tags, pred_tags = (
        [part.tolist() for part in np.split(names[ids], offsets[1:-1])]
        for ids in (gold_ids, pred_ids)
    )
    return float(f1_score(gold_tags, pred_tags, zero_division=0))  # pyrefly: ignore [bad-argument-type]


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        title: What tables call it.
        score: Scores predictions: gold ids, predicted ids, the labels.
        final: What the figures of a final report are computed by, where that is slower.
        of_entities: Whether it needs BIO labels.
    """

    title: str
    score: Callable[[Ids, Ids, LabelSet], Scored]
    final: Callable[[Ids, Ids, LabelSet], float] | None = None
    of_entities: bool = False


METRICS: dict[str, Metric] = {
    "f1": Metric(
        "entity F1 (micro, seqeval's default mode)", _entity_f1, seqeval_f1, of_entities=True
    ),
    "accuracy": Metric("accuracy", _accuracy),
    "macro_f1": Metric("macro F1", _macro_f1),
}
"""The metrics, by the name that a benchmark or `benchmark.metric` gives them."""


def score(
    metric: str, gold: Ids, pred: Ids, labels: LabelSet, *, final: bool = False
) -> dict[str, float | int]:
    """Scores predictions by a named metric.

    Args:
        metric: A name of `METRICS`.
        gold: Gold ids by sentence; a sentence task has one id per sentence.
        pred: Predicted ids of the same lengths.
        labels: The benchmark's labels.
        final: Whether this is for a final report.

    Returns:
        `{metric: fraction, "support": n}`, n being the gold entities for "f1", else the items.

    Raises:
        ValueError: there is no such metric.
    """
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}, allowed: {', '.join(METRICS)}")
    chosen = METRICS[metric]
    value, support = chosen.score(gold, pred, labels)
    if final and chosen.final is not None:
        value = chosen.final(gold, pred, labels)
    return {metric: value, "support": support}


def mean_score(
    metric: str, gold: Ragged, pred: Ragged, labels: LabelSet, groups: Sequence[str]
) -> float:
    """The mean over groups of sentences, such as languages, of the score of each by itself.

    Args:
        metric: As of `score`, like the arguments below.
        gold: As of `score`.
        pred: As of `score`.
        labels: As of `score`.
        groups: Name of the group of each sentence.
    """
    names = np.array(groups)
    rows = [np.flatnonzero(names == name) for name in dict.fromkeys(groups)]
    found = [score(metric, gold.take(own), pred.take(own), labels)[metric] for own in rows]
    return float(np.mean(found))


def by_class(
    metric: str, gold: Ids, pred: Ids, labels: LabelSet
) -> dict[str, dict[str, float | int]]:
    """Precision, recall and F1 of each entity type, or of each class where there are no entities.

    Args:
        metric: A name of `METRICS`, which says whether it is about entities.
        gold: Gold ids by sentence.
        pred: Predicted ids of the same lengths.
        labels: The benchmark's labels.

    Returns:
        `{type or class: {"precision", "recall", "f1": fractions, "support": gold ones}}`.
    """
    if METRICS[metric].of_entities:
        counts = entity_counts(gold, pred, labels)
        names, right, said, true = counts.types, counts.correct, counts.predicted, counts.gold
    else:
        table, names = confusion(gold, pred, len(labels)), labels.names
        right, said, true = np.diag(table), table.sum(axis=0), table.sum(axis=1)
    return {
        name: {
            "precision": _ratio(right[at], said[at]),
            "recall": _ratio(right[at], true[at]),
            "f1": _ratio(2 * right[at], said[at] + true[at]),
            "support": int(true[at]),
        }
        for at, name in enumerate(names)
    }


def reachable(gold: Ids, labels: LabelSet, longest: int) -> tuple[Ragged, float]:
    """Gold without the entities of more than so many words, and the share of those that stay.

    Args:
        gold: Gold tag ids by sentence; -100 as in `entity_counts`.
        labels: A BIO label set.
        longest: Words of the longest entity that stays.
    """
    ids = _as_ragged(gold)
    keep = ids.flat != UNLABELLED
    offsets = _offsets(keep.astype(np.int64))[ids.offsets]
    kept = ids.flat[keep]
    found = entities_of(kept, offsets, labels)
    size_E = found.after_E - found.first_E
    for first, after in zip(
        found.first_E[size_E > longest], found.after_E[size_E > longest], strict=True
    ):
        kept[first:after] = labels.outside
    flat = ids.flat.copy()
    flat[keep] = kept
    return Ragged(flat, ids.offsets), _ratio((size_E <= longest).sum(), len(size_E))


def _ratio(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else 0.0


def _offsets(lengths: IntArray) -> IntArray:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])


def _as_ragged(ids: Ids) -> Ragged:
    if isinstance(ids, Ragged):
        return Ragged(ids.flat.astype(np.int64, copy=False), ids.offsets.astype(np.int64))
    if isinstance(ids, np.ndarray) and ids.dtype != object:
        if ids.ndim != 1:
            raise ValueError(f"ids must be flat or one array per sentence, got shape {ids.shape}")
        return Ragged(ids.astype(np.int64, copy=False), np.array([0, len(ids)], dtype=np.int64))
    rows: Any = ids
    if len(rows) and np.ndim(rows[0]) == 0:
        return _as_ragged(np.asarray(rows))
    return Ragged.of(rows)


def _aligned(gold: Ids, pred: Ids, *, num_classes: int) -> tuple[IntArray, IntArray, IntArray]:
    """Checks both sides and drops ignored positions; returns flat ids and the common offsets."""
    gold_ids, pred_ids = _as_ragged(gold), _as_ragged(pred)
    if not np.array_equal(gold_ids.offsets, pred_ids.offsets):
        raise ValueError("gold and predicted ids must have the same lengths")
    keep = gold_ids.flat != UNLABELLED
    offsets = _offsets(keep.astype(np.int64))[gold_ids.offsets]
    gold_N, pred_N = gold_ids.flat[keep], pred_ids.flat[keep]
    for side, ids in (("gold", gold_N), ("predicted", pred_N)):
        wrong = ids[(ids < 0) | (ids >= num_classes)]
        if len(wrong):
            raise ValueError(f"{side} id {wrong[0]} is not one of the {num_classes} classes")
    return gold_N, pred_N, offsets


class Entities(NamedTuple):
    """Entities of some sequences: first word, first word after it, and index of the type, [E] each;
    and [N] which words are an I- that continues nothing, and so begin an entity."""

    first_E: IntArray
    after_E: IntArray
    type_E: IntArray
    orphan_N: NDArray[np.bool_]


def entities_of(tag_N: IntArray, offsets: IntArray, labels: LabelSet) -> Entities:
    """Find all entities of sequences of classes that stand end to end.

    Args:
        tag_N: Classes of the words.
        offsets: [S + 1] first word of each sequence, and N.
        labels: The BIO classes.
    """
    _, kind_C, type_C = _tag_tables(labels)
    kind_N, type_N = kind_C[tag_N], type_C[tag_N]
    start_N, after_N = _entities(kind_N, type_N, offsets)
    first_E = np.flatnonzero(start_N)
    return Entities(first_E, after_N[first_E], type_N[first_E], start_N & (kind_N == _INSIDE))


_OUTSIDE, _BEGIN, _INSIDE = 0, 1, 2


def _tag_tables(labels: LabelSet) -> tuple[tuple[str, ...], IntArray, IntArray]:
    """The entity types, and per class the kind of its tag and the index of its type (-1: none)."""
    if not labels.is_bio:
        raise ValueError(f"entity scores need BIO labels, got: {', '.join(labels.names)}")
    types = tuple(labels.entity_types)
    index = {name: i for i, name in enumerate(types)}
    kinds = {"O": _OUTSIDE, "B": _BEGIN, "I": _INSIDE}
    kind_C = np.array([kinds[name[0]] for name in labels.names], dtype=np.int64)
    type_C = np.array([index.get(name[2:], -1) for name in labels.names], dtype=np.int64)
    return types, kind_C, type_C


def _entities(
    kind_N: IntArray, type_N: IntArray, offsets: IntArray
) -> tuple[NDArray[np.bool_], IntArray]:
    """Marks the first word of every entity, and gives per word the next boundary after it."""
    size = len(kind_N)
    previous = np.concatenate([[-1], type_N])[:size]
    first = np.zeros(size + 1, dtype=np.bool_)
    first[offsets] = True
    # The type before a sentence, and of an outside word, is -1, which no entity has.
    previous[first[:size]] = -1
    start = (kind_N == _BEGIN) | ((kind_N == _INSIDE) & (previous != type_N))
    boundary = np.concatenate([start | (kind_N == _OUTSIDE) | first[:size], [True]])
    at = np.where(boundary, np.arange(size + 1), size)
    following = np.minimum.accumulate(at[::-1])[::-1]
    return start, following[1:]
