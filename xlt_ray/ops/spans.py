"""Candidate spans of sentences: which there are, their classes, and entities back from classes.

"Large Margin Representation Learning for Robust Cross-lingual Named Entity Recognition", section 6
of docs/maral.md. A span is a pair of its first and its last word, both within it, of at most
`max_len` words. Class 0 is O, the others are the entity types.

Many sentences are taken at once, laid end to end. Shapes: S sentences, W words, N spans, M spans
that are kept.
"""

import numpy as np
from numpy.typing import NDArray

from xlt_ray.labels import OUTSIDE, UNLABELLED, LabelSet

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Longs = NDArray[np.int64]


def num_spans(num_words_S: Ints | int, max_len: int) -> Longs:
    """Number of spans of sentences, sum over lengths l <= max_len of max(0, L - l + 1).

    Args:
        num_words_S: L, at least 0, of any shape.
        max_len: Most words of a span, at least 1.
    """
    words_S = np.asarray(num_words_S, np.int64)
    longest_S = np.minimum(words_S, max_len)
    return np.asarray(longest_S * words_S - longest_S * (longest_S - 1) // 2)


def num_words(num_spans_S: Ints | int, max_len: int) -> Longs:
    """Number of words of sentences from that of their spans, the inverse of `num_spans`.

    Raises:
        ValueError: no sentence has one of the numbers.
    """
    spans_S = np.asarray(num_spans_S, np.int64)
    short_S = (np.sqrt(8 * spans_S + 1.0) - 1) / 2  # all L (L + 1) / 2 spans
    long_S = (spans_S + max_len * (max_len - 1) // 2) / max_len
    words_S = np.where(short_S < max_len, short_S, long_S).round().astype(np.int64)
    wrong_S = num_spans(words_S, max_len) != spans_S
    if wrong_S.any():
        number = int(spans_S[wrong_S].flat[0])
        raise ValueError(f"no sentence has {number} spans of at most {max_len} words")
    return words_S


def enumerate_spans(num_words: int, max_len: int) -> Longs:
    """[N, 2] spans of a sentence, by their first word and then by their last."""
    return enumerate_many(np.array([num_words]), max_len)[0]


def enumerate_many(num_words_S: Ints, max_len: int) -> tuple[Longs, Longs]:
    """[N, 2] spans of sentences, each counting words from its own first, and [S + 1] offsets.

    Sentence s has the spans from offset s to offset s + 1, in the order of `enumerate_spans`.

    Args:
        num_words_S: Words of each sentence, at least 0.
        max_len: Most words of a span, at least 1.
    """
    word_W = _ranges(num_words_S)
    starting_W = np.minimum(max_len, np.repeat(num_words_S, num_words_S) - word_W)
    start_N = np.repeat(word_W, starting_W)
    spans_N2 = np.stack([start_N, start_N + _ranges(starting_W)], axis=1)
    return spans_N2, _offsets(num_spans(num_words_S, max_len))


def _ranges(sizes: Ints) -> Longs:
    """0 to size - 1 for each of the sizes, laid end to end."""
    offsets = _offsets(sizes)
    return np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], sizes)


def _offsets(sizes: Ints) -> Longs:
    """Where each begins if they are laid end to end, and the end."""
    return np.append(np.int64(0), np.cumsum(sizes, dtype=np.int64))


def end_to_end(spans_N2: Ints, num_words_S: Ints, offsets_S1: Ints) -> Longs:
    """[N, 2] spans of `enumerate_many`, with its offsets, counting the words of all sentences."""
    return spans_N2 + np.repeat(_offsets(num_words_S)[:-1], np.diff(offsets_S1))[:, None]


def span_classes(labels: LabelSet) -> tuple[str, ...]:
    """Names of the classes of spans: O and the entity types."""
    return OUTSIDE, *labels.entity_types


def labels_of_spans(
    tags_W: Ints, spans_N2: Ints, labels: LabelSet, *, starts_S: Ints | tuple[int, ...] = (0,)
) -> Longs:
    """[N] class of each span: 0 unless it is an entity from its first to its last word.

    Entities are those of `bio_spans`: an I- after anything but its own type starts one. One that is
    longer than all spans has no span. A span with an unlabelled word is -100; such a word ends an
    entity as O does.

    Args:
        tags_W: BIO class of each word, or -100.
        spans_N2: Spans, counting the same words.
        labels: BIO label set.
        starts_S: First words of sentences, whose borders no entity crosses; by default of one.
    """
    is_unlabelled_W = tags_W == UNLABELLED
    known_W = np.where(is_unlabelled_W, labels.outside, tags_W)
    type_W = _types(labels)[known_W]
    is_first_W = np.zeros(len(tags_W) + 1, np.bool_)
    is_first_W[np.asarray(starts_S)] = True  # empty sentences at the end start after the last word
    is_other_W = type_W != np.append(0, type_W)[:-1]
    begins_W = (type_W > 0) & (is_first_W[:-1] | is_other_W | _begins(labels)[known_W])
    entity_W = np.where(type_W > 0, np.cumsum(begins_W), 0)
    ends_W = entity_W != np.append(entity_W, 0)[1:]
    start_N, end_N = spans_N2[:, 0], spans_N2[:, 1]
    is_entity_N = begins_W[start_N] & ends_W[end_N] & (entity_W[start_N] == entity_W[end_N])
    unlabelled_W1 = _offsets(is_unlabelled_W)
    touches_N = unlabelled_W1[end_N + 1] > unlabelled_W1[start_N]
    return np.where(touches_N, UNLABELLED, np.where(is_entity_N, type_W[start_N], 0))


def labels_of_many(tags_W: Ints, num_words_S: Ints, max_len: int, labels: LabelSet) -> Longs:
    """[N] classes of the spans that `enumerate_many` lists, as `labels_of_spans` gives them.

    Args:
        tags_W: BIO class of each word of all sentences, or -100.
        num_words_S: Words of each sentence.
        max_len: Most words of a span, at least 1.
        labels: BIO label set.
    """
    spans_N2, offsets_S1 = enumerate_many(num_words_S, max_len)
    spans_N2 = end_to_end(spans_N2, num_words_S, offsets_S1)
    return labels_of_spans(tags_W, spans_N2, labels, starts_S=_offsets(num_words_S)[:-1])


def _types(labels: LabelSet) -> Longs:
    """Class of spans that each class of words is part of."""
    known = {name: number for number, name in enumerate(labels.entity_types, start=1)}
    return np.array([0 if name is None else known[name] for name in labels.class_types])


def _begins(labels: LabelSet) -> NDArray[np.bool_]:
    return np.array([name.startswith("B-") for name in labels.names])


def decode(spans_N2: Ints, labels_N: Ints, scores_N: Floats) -> Longs:
    """[M] positions of the spans that are kept as entities, in ascending order (section 6).

    From the highest score on, the longer of equal scores first and then the earlier, a span of a
    class other than O is kept if it shares no word with one that is.

    Args:
        spans_N2: Spans; those of different sentences must not count the same words.
        labels_N: Class of each, 0 for O.
        scores_N: Log-probability of the class, in float64.
    """
    named = np.flatnonzero(labels_N > 0)
    start_M, end_M = spans_N2[named, 0], spans_N2[named, 1]
    order = np.lexsort((start_M, start_M - end_M, -scores_N[named]))
    is_taken = bytearray(int(end_M.max(initial=-1)) + 1)
    kept: list[int] = []
    ordered = zip(order.tolist(), start_M[order].tolist(), end_M[order].tolist(), strict=True)
    for position, start, end in ordered:
        if not any(is_taken[start : end + 1]):
            is_taken[start : end + 1] = bytes([1]) * (end + 1 - start)
            kept.append(position)
    return named[np.sort(np.array(kept, np.int64))]


def decode_many(spans_N2: Ints, labels_N: Ints, scores_N: Floats, offsets_S1: Ints) -> Longs:
    """`decode` of the spans of `enumerate_many`, with its offsets: sentences do not overlap."""
    room = spans_N2.max(initial=-1) + 1
    shift_S = np.arange(len(offsets_S1) - 1) * room
    return decode(spans_N2 + np.repeat(shift_S, np.diff(offsets_S1))[:, None], labels_N, scores_N)


def tags_of(spans_M2: Ints, labels_M: Ints, num_words: int, labels: LabelSet) -> Longs:
    """[W] BIO class of each word.

    Args:
        spans_M2: Entities, no two of which share a word.
        labels_M: Their classes, from 1.
        num_words: W, of all sentences if the spans count the words of all.
        labels: BIO label set; it must have B- and I- of every type.
    """
    tags_W = np.full(num_words, labels.outside, np.int64)
    first_K, inside_K = (
        np.array([labels.index(f"{prefix}-{name}") for name in labels.entity_types], np.int64)
        for prefix in "BI"
    )
    start_M, length_M, type_M = spans_M2[:, 0], spans_M2[:, 1] - spans_M2[:, 0] + 1, labels_M - 1
    tags_W[np.repeat(start_M, length_M) + _ranges(length_M)] = np.repeat(inside_K[type_M], length_M)
    tags_W[start_M] = first_K[type_M]
    return tags_W
