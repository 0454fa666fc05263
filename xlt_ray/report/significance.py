"""Whether one row of a comparison is better than another: the paired bootstrap over sentences.

Sentences of the test text are drawn again and again, with replacement, the same for all rows and
seeds. A row's score of a draw is the mean of its metric over targets and seeds. Two rows differ by
chance if their difference changes its sign in many draws (Koehn 2004).

Shapes: S sentences, F counts of a sentence, B draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt_ray.labels import UNLABELLED, LabelSet
from xlt_ray.metrics import Ragged, entities_of

DRAWS, CHUNK = 1000, 50
COUNTED = frozenset({"accuracy", "f1", "macro_f1"})
"""Metrics that are functions of sums over sentences."""

TESTED = (
    "Difference of the averages, and its two-sided p-value by the paired bootstrap over the test "
    f"sentences ({DRAWS:,} draws, the same for all rows; mean over targets and seeds). It says "
    "nothing about other seeds than these, nor about other languages, and is not corrected for the "
    "number of rows; where compare.against names no row, the best one is chosen by these scores."
)
"""What the table of differences shows, in sentences."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A row against another.

    Attributes:
        row: Title of the row.
        against: Title of the other.
        difference: Score of the row minus that of the other, as a fraction.
        p: Two-sided p-value, in (0, 1].
    """

    row: str
    against: str
    difference: float
    p: float


def sentence_counts(metric: str, gold: Ragged, pred: Ragged, labels: LabelSet) -> Floats:
    """[S, F] what each sentence adds to the sums that a metric is made of.

    Of accuracy: right items, items. Of entity F1: right, predicted and gold entities. Of macro F1
    the same three of every class, as [S, 3 C].

    Args:
        metric: One of `COUNTED`.
        gold: Gold classes by sentence; -100 is taken out of both sides.
        pred: Predicted classes of the same lengths.
        labels: Classes of the task.
    """
    known_N = gold.flat != UNLABELLED
    sentence_N = np.repeat(np.arange(len(gold)), np.diff(gold.offsets))[known_N]
    gold_N, pred_N = gold.flat[known_N], pred.flat[known_N]

    def per_sentence(of: NDArray[np.int64]) -> Floats:
        return np.bincount(of, minlength=len(gold)).astype(np.float64)

    if metric == "accuracy":
        right = per_sentence(sentence_N[gold_N == pred_N])
        return np.stack([right, per_sentence(sentence_N)], axis=1)
    if metric == "f1":
        sizes = per_sentence(sentence_N).astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        found = [entities_of(ids, offsets, labels) for ids in (pred_N, gold_N)]
        keys = [np.stack([x.first_E, x.after_E, x.type_E], axis=1) for x in found]
        there = {tuple(key) for key in keys[1].tolist()}
        right_E = np.array([tuple(key) in there for key in keys[0].tolist()], dtype=np.bool_)
        firsts = [found[0].first_E[right_E], found[0].first_E, found[1].first_E]
        return np.stack([per_sentence(sentence_N[first]) for first in firsts], axis=1)
    count = len(labels)
    columns = [
        per_sentence(sentence_N[where])
        for label in range(count)
        for where in (
            (gold_N == label) & (pred_N == label),
            pred_N == label,
            gold_N == label,
        )
    ]
    return np.stack(columns, axis=1)


def value_of(metric: str, sums: Floats) -> Floats:
    """[...] a metric of sums [..., F]; 0 where there is nothing to divide by."""
    if metric == "accuracy":
        return _ratio(sums[..., 0], sums[..., 1])
    if metric == "f1":
        return _ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])
    by_class = sums.reshape(*sums.shape[:-1], -1, 3)
    there = by_class[..., 1] + by_class[..., 2]
    f1 = _ratio(2 * by_class[..., 0], there)
    return _ratio(f1.sum(axis=-1), (there > 0).sum(axis=-1).astype(np.float64))


def compared(
    metric: str,
    counts: Mapping[str, Sequence[Mapping[str, Floats]]],
    *,
    against: str,
    seed: int = 0,
) -> list[Difference]:
    """Every other row against one.

    Args:
        metric: One of `COUNTED`.
        counts: By row, for every seed, `sentence_counts` by target; of a target all rows have the
            same sentences.
        against: The row that the others are compared with.
        seed: Of the draws.
    """
    whole = {row: _mean(metric, found, None) for row, found in counts.items()}
    drawn: dict[str, list[Floats]] = {row: [] for row in counts}
    sizes = {target: len(x) for target, x in next(iter(counts.values()))[0].items()}
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS // CHUNK):
        weights = {
            target: rng.multinomial(size, np.full(size, 1 / size), CHUNK).astype(np.float64)
            for target, size in sizes.items()
        }
        for row, found in counts.items():
            drawn[row].append(_mean(metric, found, weights))
    scores = {row: np.concatenate(parts) for row, parts in drawn.items()}
    lines = []
    for row in counts:
        if row == against:
            continue
        apart = scores[row] - scores[against]
        less, more = (1 + np.sum(apart <= 0)), (1 + np.sum(apart >= 0))
        p = min(1.0, 2 * float(min(less, more)) / (len(apart) + 1))
        lines.append(Difference(row, against, float(whole[row][0] - whole[against][0]), p))
    return lines


def lines(tested: Sequence[Difference]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of a table of what was tested, at least one row."""
    rows = [[item.row, f"{100 * item.difference:+.2f}", f"{item.p:.3f}"] for item in tested]
    return ["method", f"difference from {tested[0].against}", "p"], rows


def _mean(
    metric: str, seeds: Sequence[Mapping[str, Floats]], weights: Mapping[str, Floats] | None
) -> Floats:
    """[B] mean over targets and seeds of every draw, or [1] of the text as it is."""
    values = [
        value_of(metric, (np.ones((1, len(x))) if weights is None else weights[target]) @ x)
        for found in seeds
        for target, x in found.items()
    ]
    return np.mean(values, axis=0)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
