"""Whether one row of a comparison is better than another: the paired bootstrap.

Sentences of the test text are drawn again and again, with replacement, the same for all rows and
seeds. A row's score of a draw is the mean of its metric over targets and seeds. Two rows differ by
chance if their difference changes its sign in many draws (Koehn 2004). The interval of a difference
draws the seeds too, with replacement and the same for both rows.

Shapes: S sentences, F counts of a sentence, B draws, R seeds, T targets. All in float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from xlt_ray.labels import UNLABELLED, LabelSet
from xlt_ray.metrics import Ragged, entities_of

DRAWS, CHUNK = 1000, 50
INSIDE = 0.95
"""Share of the draws that an interval holds."""
COUNTED = frozenset({"accuracy", "f1", "macro_f1"})
"""Metrics that are functions of sums over sentences."""

TESTED = (
    "Difference of the averages; the interval that holds 95% of its draws when both the test "
    "sentences and the seeds are drawn with replacement; and its two-sided p-value when the "
    f"sentences alone are ({DRAWS:,} draws, the same for all rows; mean over targets and seeds). "
    "With three seeds the interval reaches about from the worst to the best of them, with one it "
    "knows the sentences alone. Neither says anything about other languages, or is corrected for "
    "the number of rows; where compare.against names no row, the best is chosen by these scores."
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
        p: Two-sided p-value over the sentences, in (0, 1].
        interval: Ends of the 95% interval over sentences and seeds; None in files of before there
            was one.
    """

    row: str
    against: str
    difference: float
    p: float
    interval: tuple[float, float] | None = None

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`, whose pair JSON makes a list."""
        ends = record.get("interval")
        values: dict[str, Any] = {**record, "interval": ends and (ends[0], ends[1])}
        return cls(**values)


@dataclass(frozen=True)
class Draws:
    """Scores of rows on the text as it is, and on drawn sentences.

    Attributes:
        targets: The targets that have test sentences, in order; the others count nowhere.
        whole: [R, T] by row, scores on the text as it is.
        drawn: [B, R, T] by row, scores on drawn sentences, the same for all rows and seeds.
        seeds_BR: Which seeds each draw takes, as positions in [0, R), the same for all rows.
    """

    targets: Sequence[str]
    whole: Mapping[str, Floats]
    drawn: Mapping[str, Floats]
    seeds_BR: NDArray[np.int64]

    def at(self, row: str) -> Floats:
        """[T] mean over the seeds, on the text as it is."""
        return self.whole[row].mean(axis=0)

    def over(self, row: str) -> Floats:
        """[B, T] mean over the drawn seeds, on the drawn sentences."""
        found_BRT = self.drawn[row]
        return np.take_along_axis(found_BRT, self.seeds_BR[:, :, None], axis=1).mean(axis=1)


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


def draw(
    metric: str,
    counts: Mapping[str, Sequence[Mapping[str, Floats]]],
    *,
    number: int = DRAWS,
    seed: int = 0,
) -> Draws:
    """Scores on sentences that are drawn with replacement, once for all rows and seeds.

    Args:
        metric: One of `COUNTED`.
        counts: By row, for every seed, `sentence_counts` by target. All rows have as many seeds,
            at least one, and of a target the same sentences.
        number: Draws, a multiple of `CHUNK`.
        seed: Of the draws.
    """
    sizes = {target: len(x) for target, x in next(iter(counts.values()))[0].items() if len(x)}
    seeds = len(next(iter(counts.values())))
    whole = {
        row: np.array(
            [[value_of(metric, one[name].sum(axis=0)) for name in sizes] for one in found]
        )
        for row, found in counts.items()
    }
    drawn = {row: np.zeros((number, seeds, len(sizes))) for row in counts}
    rng = np.random.default_rng(seed)
    for start in range(0, number, CHUNK):
        for t, (target, size) in enumerate(sizes.items()):
            weights = rng.multinomial(size, np.full(size, 1 / size), CHUNK).astype(np.float64)
            for row, found in counts.items():
                for r, one in enumerate(found):
                    values_B = value_of(metric, weights @ one[target])
                    drawn[row][start : start + CHUNK, r, t] = values_B
    seeds_BR = np.random.default_rng([seed, seeds]).integers(0, seeds, (number, seeds))
    return Draws(list(sizes), whole, drawn, seeds_BR)


def interval(drawn_B: Floats) -> tuple[float, float]:
    """Ends of the interval that holds 95% of the draws."""
    ends = np.quantile(drawn_B, [(1 - INSIDE) / 2, (1 + INSIDE) / 2])
    return float(ends[0]), float(ends[1])


def rank_correlation(x: Floats, y: Floats) -> Floats:
    """[...] Spearman's correlation of [..., T] with [..., T], along the last axis, in [-1, 1].

    Equal values share the mean of their ranks. 0 where one side has equal values alone.
    """
    from scipy.stats import rankdata  # a second to import, which every process would spend

    a, b = (np.asarray(rankdata(z, axis=-1), dtype=np.float64) for z in (x, y))
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    return _ratio((a * b).sum(axis=-1), np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1)))


def compared(
    metric: str,
    counts: Mapping[str, Sequence[Mapping[str, Floats]]],
    *,
    against: str,
    seed: int = 0,
) -> list[Difference]:
    """Every other row against one; none if no target has sentences.

    Args:
        metric: One of `COUNTED`.
        counts: As `draw` has them.
        against: The row that the others are compared with.
        seed: Of the draws.
    """
    found = draw(metric, counts, seed=seed)
    if not found.targets:
        return []
    lines = []
    for row in counts:
        if row == against:
            continue
        apart = (found.drawn[row] - found.drawn[against]).mean(axis=(1, 2))
        less, more = (1 + np.sum(apart <= 0)), (1 + np.sum(apart >= 0))
        p = min(1.0, 2 * float(min(less, more)) / (len(apart) + 1))
        difference = float((found.at(row) - found.at(against)).mean())
        ends = interval((found.over(row) - found.over(against)).mean(axis=1))
        lines.append(Difference(row, against, difference, p, ends))
    return lines


def lines(tested: Sequence[Difference]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of a table of what was tested, at least one row."""
    rows = [
        [item.row, f"{100 * item.difference:+.2f}", shown(item.interval), f"{item.p:.3f}"]
        for item in tested
    ]
    return ["method", f"difference from {tested[0].against}", "95% interval", "p"], rows


def shown(ends: tuple[float, float] | None) -> str:
    """An interval of fractions, times 100."""
    return "-" if ends is None else f"{100 * ends[0]:+.2f} to {100 * ends[1]:+.2f}"


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
