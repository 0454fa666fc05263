"""Majority votes against a count by hand."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlt_ray.ops.voting import is_tied, majority_vote

# Eighths add up without rounding, and few of them make ties common.
Ballots = tuple[list[list[int]], list[list[list[float]]]]


@st.composite
def ballots(draw: st.DrawFn) -> Ballots:
    """Votes [U][N] and probabilities [U][N][K]."""
    sources, num_items, classes = (
        draw(st.integers(1, 5)),
        draw(st.integers(0, 5)),
        draw(st.integers(1, 4)),
    )
    vote = st.lists(st.integers(0, classes - 1), min_size=num_items, max_size=num_items)
    p = st.lists(st.sampled_from([0.0, 0.125, 0.5]), min_size=classes, max_size=classes)
    probabilities = st.lists(p, min_size=num_items, max_size=num_items)
    return (
        draw(st.lists(vote, min_size=sources, max_size=sources)),
        draw(st.lists(probabilities, min_size=sources, max_size=sources)),
    )


def arrays(drawn: Ballots) -> tuple[np.ndarray, np.ndarray]:
    hard, soft = np.array(drawn[0], dtype=np.int64), np.array(drawn[1], dtype=np.float64)
    return hard, soft.reshape(*hard.shape, -1) if hard.size else np.zeros((*hard.shape, 2))


def by_hand(votes: list[int], probabilities: list[list[float]] | None) -> int:
    """The first source's label of those with most votes and, of them, the largest sum."""
    counts = Counter(votes)
    tied = [label for label in votes if counts[label] == max(counts.values())]
    if probabilities is None:
        return tied[0]
    sums = {label: sum(row[label] for row in probabilities) for label in tied}
    return next(label for label in tied if sums[label] == max(sums.values()))


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(ballots())
def test_votes_are_counted_as_by_hand(drawn: Ballots) -> None:
    hard, soft = arrays(drawn)
    for probabilities in (None, soft):
        got = majority_vote(hard, probabilities)
        want = [
            by_hand(
                hard[:, n].tolist(),
                None if probabilities is None else probabilities[:, n].tolist(),
            )
            for n in range(hard.shape[1])
        ]
        assert got.tolist() == want


@pytest.mark.slow
@settings(deadline=None, derandomize=True)
@given(ballots(), st.data())
def test_the_order_of_items_does_not_matter(drawn: Ballots, data: st.DataObject) -> None:
    hard, soft = arrays(drawn)
    order = np.array(data.draw(st.permutations(range(hard.shape[1]))), dtype=np.int64)
    got = majority_vote(hard[:, order], soft[:, order])
    assert np.array_equal(got, majority_vote(hard, soft)[order])


@pytest.mark.slow
@settings(deadline=None, derandomize=True)
@given(ballots(), st.data())
def test_the_order_of_sources_matters_in_ties_alone(drawn: Ballots, data: st.DataObject) -> None:
    hard, _ = arrays(drawn)
    order = np.array(data.draw(st.permutations(range(len(hard)))), dtype=np.int64)
    first, again = majority_vote(hard), majority_vote(hard[order])
    for n in np.flatnonzero(first != again):
        counts = Counter(hard[:, n].tolist())
        assert counts[first[n]] == counts[again[n]] == max(counts.values())


def test_one_source_has_its_way() -> None:
    hard = np.array([[2, 0, 1]], dtype=np.int16)
    against = np.array([[[0.9, 0.1, 0.0]] * 3])
    for got in (majority_vote(hard), majority_vote(hard, against)):
        assert got.dtype == np.int64
        assert got.tolist() == [2, 0, 1]


def test_a_majority_beats_any_probability() -> None:
    hard = np.array([[0], [0], [1]])
    soft = np.array([[[0.5, 0.5, 0.0]], [[0.5, 0.5, 0.0]], [[0.0, 1.0, 0.0]]])
    assert majority_vote(hard, soft).tolist() == [0]


def test_ties() -> None:
    """1 : 1 : 1, and the sums are 0.75, 1, 1 and, of a label that nobody voted for, 3."""
    hard = np.array([[0], [2], [1]])
    soft = np.array([[[0.5, 0.5, 0, 1]], [[0, 0, 1, 1]], [[0.25, 0.5, 0, 1]]], dtype=np.float16)
    assert majority_vote(hard).tolist() == [0]
    assert majority_vote(hard, soft).tolist() == [2]
    assert majority_vote(hard[::-1], soft[::-1]).tolist() == [1]


def test_votes_without_a_majority_are_counted() -> None:
    hard = np.array([[0, 1, 0, 2], [0, 2, 1, 2], [1, 0, 1, 2], [1, 1, 2, 2]])
    assert is_tied(hard).tolist() == [True, False, False, False]
    assert is_tied(hard[:1]).tolist() == [False] * 4
    assert is_tied(hard[:3]).tolist() == [False, True, False, False]


def test_no_items() -> None:
    none = np.zeros((3, 0), dtype=np.int64)
    assert majority_vote(none).tolist() == []
    assert majority_vote(none, np.zeros((3, 0, 4))).tolist() == []


def test_votes_and_probabilities_have_to_match() -> None:
    with pytest.raises(AssertionError, match="a voter"):
        majority_vote(np.zeros((0, 4), dtype=np.int64))
    with pytest.raises(AssertionError, match="do not match"):
        majority_vote(np.zeros((2, 4), dtype=np.int64), np.zeros((2, 3, 5)))
    with pytest.raises(IndexError):
        majority_vote(np.array([[3]]), np.zeros((1, 1, 3)))
