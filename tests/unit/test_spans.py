"""Candidate spans, their classes and decoding, against loops over single sentences."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlt_ray.labels import UNLABELLED, LabelSet, bio_spans_of_ids
from xlt_ray.ops import spans

LABELS = LabelSet(("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
SCATTERED = LabelSet(("I-LOC", "B-PER", "O", "I-PER", "B-LOC"))
"""The same classes in an order in which O is not first, and LOC is the first type."""

TAGS = st.lists(st.integers(0, 4), max_size=9)
SENTENCES = st.lists(TAGS, max_size=5)


def ids(*names: str) -> np.ndarray:
    return np.array([UNLABELLED if name == "?" else LABELS.index(name) for name in names])


def by_loops(num_words: int, max_len: int) -> list[list[int]]:
    pairs = itertools.product(range(num_words), repeat=2)
    return [[start, end] for start, end in pairs if 0 <= end - start < max_len]


def classes(tags: list[int], max_len: int, labels: LabelSet) -> list[int]:
    """Classes of the spans of a sentence without unlabelled words, from its entities."""
    entities = {(e.start, e.end - 1): e.type for e in bio_spans_of_ids(tags, labels)}
    names = spans.span_classes(labels)
    pairs = by_loops(len(tags), max_len)
    return [names.index(entities.get((start, end), "O")) for start, end in pairs]


def laid_out(sentences: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    tags = np.array(list(itertools.chain(*sentences)), np.int64)
    return tags, np.array([len(words) for words in sentences], np.int64)


@pytest.mark.parametrize("max_len", [1, 2, 4, 9])
def test_all_spans_are_listed_in_order(max_len: int) -> None:
    for num_words in range(8):
        want = by_loops(num_words, max_len)
        assert spans.enumerate_spans(num_words, max_len).tolist() == want
        assert spans.num_spans(num_words, max_len) == len(want)
        assert spans.num_words(len(want), max_len) == num_words


def test_spans_of_many_sentences() -> None:
    words = np.array([3, 0, 1, 5, 0])
    found, offsets = spans.enumerate_many(words, 4)
    assert offsets.tolist() == [0, 6, 6, 7, 21, 21]
    for sentence, num_words in enumerate(words.tolist()):
        part = found[offsets[sentence] : offsets[sentence + 1]]
        assert part.tolist() == by_loops(num_words, 4)
    whole = spans.end_to_end(found, words, offsets)
    assert whole[6].tolist() == [3, 3]
    assert whole[7].tolist() == [4, 4]
    assert whole.max() == 8


@pytest.mark.parametrize("words", [[], [0], [0, 0]])
def test_no_words_have_no_spans(words: list[int]) -> None:
    found, offsets = spans.enumerate_many(np.array(words, np.int64), 4)
    assert found.shape == (0, 2)
    assert offsets.tolist() == [0] * (len(words) + 1)
    none = np.zeros(0, np.int64)
    assert spans.labels_of_many(none, np.array(words, np.int64), 4, LABELS).shape == (0,)
    assert spans.decode_many(found, none, np.zeros(0), offsets).shape == (0,)


@pytest.mark.parametrize("max_len", [1, 4, 7])
def test_the_number_of_words_is_that_of_the_spans(max_len: int) -> None:
    words = np.arange(3000).reshape(2, -1)
    numbers = spans.num_spans(words, max_len)
    assert (spans.num_words(numbers, max_len) == words).all()
    large = spans.num_spans(10**9, max_len)
    assert spans.num_words(large, max_len) == 10**9


@pytest.mark.parametrize(("number", "max_len"), [(2, 4), (7, 4), (11, 4), (4, 2)])
def test_a_number_of_spans_that_no_sentence_has(number: int, max_len: int) -> None:
    with pytest.raises(ValueError, match=f"no sentence has {number} spans of at most {max_len}"):
        spans.num_words(np.array([1, number, 3]), max_len)


def test_o_is_class_0_whatever_its_place_among_the_tags() -> None:
    assert spans.span_classes(LABELS) == ("O", "PER", "LOC")
    assert spans.span_classes(SCATTERED) == ("O", "LOC", "PER")
    assert spans.span_classes(LabelSet(("O",))) == ("O",)


@pytest.mark.slow
@settings(deadline=None, derandomize=True)
@given(sentences=SENTENCES, max_len=st.integers(1, 5), scattered=st.booleans())
def test_classes_of_spans_are_the_entities(
    sentences: list[list[int]], max_len: int, scattered: bool
) -> None:
    labels = SCATTERED if scattered else LABELS
    found = spans.labels_of_many(*laid_out(sentences), max_len, labels)
    want = [classes(tags, max_len, labels) for tags in sentences]
    assert found.tolist() == list(itertools.chain(*want))
    for tags, each in zip(sentences, want, strict=True):
        pairs = spans.enumerate_spans(len(tags), max_len)
        assert spans.labels_of_spans(np.array(tags, np.int64), pairs, labels).tolist() == each


def entities(tags: np.ndarray, max_len: int = 4) -> dict[tuple[int, int], int]:
    pairs = spans.enumerate_spans(len(tags), max_len)
    found = spans.labels_of_spans(tags, pairs, LABELS)
    return {
        tuple(pair): label
        for pair, label in zip(pairs.tolist(), found.tolist(), strict=True)
        if label
    }


def test_entities_that_touch_and_orphans() -> None:
    tags = ids("B-PER", "B-PER", "I-PER", "I-LOC", "I-PER", "O", "I-LOC", "I-LOC")
    assert entities(tags) == {(0, 0): 1, (1, 2): 1, (3, 3): 2, (4, 4): 1, (6, 7): 2}


def test_an_entity_longer_than_any_span_has_none() -> None:
    tags = ids("B-LOC", "I-LOC", "I-LOC", "O", "B-PER")
    assert entities(tags, max_len=2) == {(4, 4): 1}
    assert entities(tags, max_len=3) == {(0, 2): 2, (4, 4): 1}


def test_no_entity_crosses_the_border_of_sentences() -> None:
    words = np.array([0, 2, 1, 0])
    tags = ids("B-PER", "I-PER", "I-PER")
    assert spans.labels_of_many(tags, words, 4, LABELS).tolist() == [0, 1, 0, 1]
    assert entities(tags) == {(0, 2): 1}


def test_a_span_with_an_unlabelled_word_is_unlabelled() -> None:
    tags = ids("B-PER", "?", "I-PER", "O")
    assert entities(tags, max_len=2) == {
        (0, 0): 1, (0, 1): UNLABELLED, (1, 1): UNLABELLED, (1, 2): UNLABELLED, (2, 2): 1,
    }  # fmt: skip
    every = entities(ids("?", "?"))
    assert set(every.values()) == {UNLABELLED}
    assert len(every) == 3


def greedy(pairs: list[list[int]], labels: list[int], scores: list[float]) -> list[int]:
    """The rule of section 6 with Python's sort and sets of words."""
    order = sorted(
        (n for n, label in enumerate(labels) if label > 0),
        key=lambda n: (-scores[n], pairs[n][0] - pairs[n][1], pairs[n][0]),
    )
    kept: list[int] = []
    taken: set[int] = set()
    for n in order:
        words = set(range(pairs[n][0], pairs[n][1] + 1))
        if not words & taken:
            kept.append(n)
            taken |= words
    return sorted(kept)


@pytest.mark.slow
@settings(deadline=None, derandomize=True)
@given(data=st.data(), words=st.lists(st.integers(0, 7), max_size=4))
def test_decoding_is_greedy_within_each_sentence(data: st.DataObject, words: list[int]) -> None:
    pairs, offsets = spans.enumerate_many(np.array(words, np.int64), 4)
    total = len(pairs)
    labels = data.draw(st.lists(st.integers(0, 2), min_size=total, max_size=total))
    scores = data.draw(
        st.lists(st.sampled_from([-0.5, -0.25, -0.125]), min_size=total, max_size=total)
    )
    kept = spans.decode_many(pairs, np.array(labels, np.int64), np.array(scores), offsets)
    want: list[int] = []
    for low, high in itertools.pairwise(offsets.tolist()):
        part = greedy(pairs[low:high].tolist(), labels[low:high], scores[low:high])
        alone = spans.decode(
            pairs[low:high], np.array(labels[low:high], np.int64), np.array(scores[low:high])
        )
        assert alone.tolist() == part
        want += [low + n for n in part]
    assert kept.tolist() == want


@pytest.mark.parametrize(
    ("pairs", "scores", "kept"),
    [
        ([[0, 1], [1, 2]], [-0.9, -0.4], [1]),
        ([[0, 1], [1, 2]], [-0.4, -0.4], [0]),  # the earlier
        ([[0, 0], [0, 1], [1, 1]], [-0.4, -0.4, -0.4], [1]),  # the longer
        ([[2, 3], [0, 1]], [-0.4, -0.1], [0, 1]),  # positions ascend, whatever the order
        ([[0, 3], [0, 0], [3, 3]], [-0.3, -0.2, -0.1], [1, 2]),
    ],
)
def test_ties_and_overlaps(pairs: list[list[int]], scores: list[float], kept: list[int]) -> None:
    ones = np.ones(len(pairs), np.int64)
    assert spans.decode(np.array(pairs), ones, np.array(scores)).tolist() == kept
    assert spans.decode(np.array(pairs), 0 * ones, np.array(scores)).tolist() == []
    assert spans.decode(np.array(pairs), UNLABELLED * ones, np.array(scores)).tolist() == []


@settings(deadline=None, derandomize=True)
@given(sentences=SENTENCES, scattered=st.booleans())
def test_tags_give_the_entities_back(sentences: list[list[int]], scattered: bool) -> None:
    labels = SCATTERED if scattered else LABELS
    tags, words = laid_out(sentences)
    pairs, offsets = spans.enumerate_many(words, 9)
    found = spans.labels_of_many(tags, words, 9, labels)
    kept = spans.decode_many(pairs, found, np.zeros(len(pairs)), offsets)
    assert kept.tolist() == np.flatnonzero(found).tolist(), "entities do not overlap"
    whole = spans.end_to_end(pairs, words, offsets)
    back = spans.tags_of(whole[kept], found[kept], len(tags), labels)
    for start, size in zip(np.cumsum(words) - words, words, strict=True):
        one, other = tags[start : start + size].tolist(), back[start : start + size].tolist()
        assert bio_spans_of_ids(other, labels) == bio_spans_of_ids(one, labels)


def test_tags_by_hand() -> None:
    found = spans.tags_of(np.array([[4, 4], [0, 2]]), np.array([2, 1]), 6, LABELS)
    assert found.tolist() == ids("B-PER", "I-PER", "I-PER", "O", "B-LOC", "O").tolist()
    none = spans.tags_of(np.zeros((0, 2), np.int64), np.zeros(0, np.int64), 2, SCATTERED)
    assert none.tolist() == [2, 2]
    with pytest.raises(ValueError, match="unknown label 'I-PER'"):
        spans.tags_of(np.array([[0, 0]]), np.array([1]), 1, LabelSet(("O", "B-PER")))
