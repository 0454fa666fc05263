"""Selection rules against plain sorted lists."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlt_ray.ops.selection import (
    balanced_top,
    lowest,
    per_class,
    quota,
    repo_tail,
    select_sentences,
    sentence_type_scores,
    top_n,
)

# Few distinct scores, so that ties are common.
ITEM = st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 2), st.booleans())


@st.composite
def pools(draw: st.DrawFn) -> tuple[list[tuple[float, int, bool]], list[int]]:
    items = draw(st.lists(ITEM, max_size=14))
    return items, draw(st.permutations(range(len(items))))


def columns(
    items: Sequence[tuple[float, int, bool]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([score for score, _, _ in items], dtype=np.float64),
        np.array([name for _, name, _ in items], dtype=np.int64),
        np.array([valid for _, _, valid in items], dtype=np.bool_),
    )


def positions(mask: np.ndarray) -> set[int]:
    assert mask.dtype == np.bool_
    return set(np.flatnonzero(mask).tolist())


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(pools(), st.integers(0, 5))
def test_rules_equal_sorted_lists(
    pool: tuple[list[tuple[float, int, bool]], list[int]], k: int
) -> None:
    items, order = pool
    scores, classes, valid = columns(items)
    order_N = np.array(order, dtype=np.int64)
    ranked = sorted(
        (n for n, item in enumerate(items) if item[2]), key=lambda n: (items[n][0], order[n])
    )
    by_class = [[n for n in ranked if items[n][1] == name] for name in range(3)]
    assert lowest(scores, order_N=order_N, k=k, valid_N=valid).tolist() == ranked[:k]
    assert positions(top_n(scores, order_N=order_N, n=k, valid_N=valid)) == set(ranked[:k])
    got = per_class(scores, classes_N=classes, order_N=order_N, k=k, valid_N=valid)
    assert positions(got) == {n for members in by_class for n in members[:k]}
    got = repo_tail(scores, classes_N=classes, order_N=order_N, k=k, valid_N=valid)
    assert positions(got) == {n for members in by_class for n in members[2 * k :]}


@settings(deadline=None, derandomize=True)
@given(pools(), st.integers(0, 4), st.data())
def test_the_order_of_the_rows_does_not_matter(
    pool: tuple[list[tuple[float, int, bool]], list[int]], k: int, data: st.DataObject
) -> None:
    items, order = pool
    shuffled = data.draw(st.permutations(range(len(items))))
    scores, classes, valid = columns(items)
    again, classes_again, valid_again = columns([items[n] for n in shuffled])
    order_N = np.array(order, dtype=np.int64)
    moved = order_N[np.array(shuffled, dtype=np.int64)]
    for rule in (per_class, repo_tail):
        one = rule(scores, classes_N=classes, order_N=order_N, k=k, valid_N=valid)
        other = rule(again, classes_N=classes_again, order_N=moved, k=k, valid_N=valid_again)
        assert set(order_N[one].tolist()) == set(moved[other].tolist())


def test_without_a_mask_every_item_is_valid() -> None:
    scores, order = np.array([0.3, 0.1, 0.2]), np.arange(3)
    assert lowest(scores, order_N=order, k=2).tolist() == [1, 2]
    assert top_n(scores, order_N=order, n=9).all()
    assert not top_n(scores, order_N=order, n=0).any()
    assert per_class(scores, classes_N=np.array([5, 5, 9]), order_N=order, k=1).tolist() == [
        False, True, True,
    ]  # fmt: skip


def test_only_a_valid_nan_is_an_error() -> None:
    scores, order = np.array([np.nan, 0.1]), np.arange(2)
    assert lowest(scores, order_N=order, k=2, valid_N=np.array([False, True])).tolist() == [1]
    with pytest.raises(ValueError, match="NaN"):
        lowest(scores, order_N=order, k=1)


@pytest.mark.parametrize(
    ("ratio", "pool", "want"),
    [(0.08, 10_000, 800), (0.25, 8, 2), (0.25, 3, 1), (0.08, 0, 1), (1, 7, 7), (0.29, 100, 29)],
)
def test_quota_is_exact_and_at_least_one(ratio: float, pool: int, want: int) -> None:
    """0.29 * 100 is 28.999... in floating point."""
    assert quota(ratio, pool) == want


@pytest.mark.parametrize(
    ("share", "pool", "num_classes", "want"),
    [
        (0.02, 200_000, 3, 1333),
        (0.0005, 200_000, 3, 33),
        (0.0005, 1000, 3, 1),
        (0.3, 10, 3, 1),
        (0.29, 300, 3, 29),
        (1, 7, 2, 3),
        (0.02, 0, 5, 1),
    ],
)
def test_a_share_of_all_classes_is_divided_among_them(
    share: float, pool: int, num_classes: int, want: int
) -> None:
    """floor(0.02 * 200000 / 3) = floor(1333.3); 0.3 * 10 / 3 is 1 exactly, 0.29 * 300 / 3 is 29."""
    assert quota(share, pool, num_classes=num_classes) == want


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(pools(), st.integers(0, 5), st.booleans(), st.data())
def test_the_most_confident_of_each_class_equal_sorted_lists(
    pool: tuple[list[tuple[float, int, bool]], list[int]],
    k: int,
    balanced: bool,
    data: st.DataObject,
) -> None:
    items, order = pool
    confidences, classes, valid = columns(items)
    order_N = np.array(order, dtype=np.int64)
    ranked = sorted(
        (n for n, item in enumerate(items) if item[2]), key=lambda n: (-items[n][0], order[n])
    )
    by_class = [[n for n in ranked if items[n][1] == name] for name in range(3)]
    predicted = [members for members in by_class if members]
    most = min([k, *map(len, predicted)]) if balanced else k
    got = balanced_top(
        confidences, classes_N=classes, order_N=order_N, k=k, balanced=balanced, valid_N=valid
    )
    assert positions(got) == {n for members in predicted for n in members[:most]}
    moved = np.array(data.draw(st.permutations(range(len(items)))), dtype=np.int64)
    again = balanced_top(
        confidences[moved],
        classes_N=classes[moved],
        order_N=order_N[moved],
        k=k,
        balanced=balanced,
        valid_N=valid[moved],
    )
    assert np.array_equal(again, got[moved])


def test_balance_takes_equally_many_of_every_class_that_is_predicted() -> None:
    """Class 1 is nobody's; class 2 has one item, so one of class 0 is taken, the first of 0.9."""
    confidences = np.array([0.9, 0.9, 0.8, 0.4], dtype=np.float32)
    classes, order = np.array([0, 0, 0, 2]), np.array([1, 0, 2, 3])
    settings_ = {"classes_N": classes, "order_N": order, "k": 2}
    assert positions(balanced_top(confidences, **settings_, balanced=True)) == {1, 3}
    assert positions(balanced_top(confidences, **settings_, balanced=False)) == {0, 1, 3}


def test_pools_shrink_by_the_quota_of_the_first_until_they_are_empty() -> None:
    """A share of 0.5 of 12 items in 2 classes is 3 of each: 3 + 3 of 7 + 5, then 3 + 2, then 1."""
    confidences = np.linspace(0.5, 0.9, 12)
    classes, left = np.array([0] * 7 + [1] * 5), np.ones(12, dtype=np.bool_)
    taken = []
    while left.any():
        mask = balanced_top(
            confidences,
            classes_N=classes,
            order_N=np.arange(12),
            k=quota(0.5, 12, num_classes=2),
            balanced=False,
            valid_N=left,
        )
        assert not (mask & ~left).any()
        taken.append(np.bincount(classes[mask], minlength=2).tolist())
        left &= ~mask
    assert taken == [[3, 3], [3, 2], [1, 0]]


SENTENCE = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=3),
    ),
    max_size=4,
)


def flattened(sentences: list[list[tuple[int, list[float]]]]) -> np.ndarray:
    entities = [(row, *entity) for row, sentence in enumerate(sentences) for entity in sentence]
    return sentence_type_scores(
        np.array([score for _, _, scores in entities for score in scores], dtype=np.float64),
        entity_W=np.array(
            [e for e, (_, _, scores) in enumerate(entities) for _ in scores], dtype=np.int64
        ),
        sentence_E=np.array([row for row, _, _ in entities], dtype=np.int64),
        type_E=np.array([name for _, name, _ in entities], dtype=np.int64),
        num_sentences=len(sentences),
        num_types=3,
    )


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(SENTENCE, st.booleans()), max_size=8), st.integers(0, 3), st.data())
def test_sentences_equal_the_rule_in_words(
    drawn: list[tuple[list[tuple[int, list[float]]], bool]], k: int, data: st.DataObject
) -> None:
    sentences = [sentence for sentence, _ in drawn]
    valid = np.array([one for _, one in drawn], dtype=np.bool_)
    order = data.draw(st.permutations(range(len(drawn))))
    scores = flattened(sentences)
    means: dict[tuple[int, int], float] = {}
    for row, sentence in enumerate(sentences):
        for name in {name for name, _ in sentence}:
            entities = [sum(words) / len(words) for other, words in sentence if other == name]
            means[row, name] = sum(entities) / len(entities)
    assert scores.shape == (len(sentences), 3)
    for row, name in np.ndindex(*scores.shape):
        if (row, name) in means:
            assert scores[row, name] == pytest.approx(means[row, name], rel=1e-14)
        else:
            assert math.isnan(scores[row, name])
    best = {
        name: sorted(
            (row for row in range(len(drawn)) if drawn[row][1] and (row, name) in means),
            key=lambda row, name=name: (scores[row, name], order[row]),
        )[:k]
        for name in range(3)
    }
    want = {
        row
        for row, (sentence, one) in enumerate(drawn)
        if one and sentence and all(row in best[name] for name, _ in sentence)
    }
    got = select_sentences(scores, order_N=np.array(order, dtype=np.int64), k=k, valid_N=valid)
    assert positions(got) == want


def test_words_in_any_order_belong_to_their_entity() -> None:
    scores = sentence_type_scores(
        np.array([1.0, 0.0, 3.0]),
        entity_W=np.array([1, 0, 1]),
        sentence_E=np.array([0, 0]),
        type_E=np.array([1, 1]),
        num_sentences=1,
        num_types=2,
    )
    np.testing.assert_array_equal(scores, [[np.nan, 1.0]])


def test_entities_need_words_and_words_entities() -> None:
    for entity, sentence in (([0, 0], [0, 0]), ([0, 1], [0])):
        with pytest.raises(AssertionError, match="entity"):
            sentence_type_scores(
                np.zeros(2),
                entity_W=np.array(entity),
                sentence_E=np.array(sentence),
                type_E=np.zeros(len(sentence), dtype=np.int64),
                num_sentences=1,
                num_types=1,
            )


def test_empty_pool() -> None:
    none, ids = np.zeros(0), np.zeros(0, dtype=np.int64)
    assert lowest(none, order_N=ids, k=3).shape == (0,)
    assert per_class(none, classes_N=ids, order_N=ids, k=3).shape == (0,)
    assert repo_tail(none, classes_N=ids, order_N=ids, k=3).shape == (0,)
    for balanced in (True, False):
        taken = balanced_top(none, classes_N=ids, order_N=ids, k=3, balanced=balanced)
        assert taken.shape == (0,)
    assert select_sentences(np.zeros((0, 3)), order_N=ids, k=3).shape == (0,)
