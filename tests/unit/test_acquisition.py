"""Rows to label next: how uncertain a row is, how many each language gives, and how they differ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlt_ray.ops.acquisition import candidates, disagreement, of_rows, shares, spread


def test_a_row_is_as_uncertain_as_its_worst_item() -> None:
    values = np.array([0.1, 0.7, 0.2, 0.4])
    assert of_rows(values, np.array([0, 3, 3, 4])).tolist() == [0.7, 0.0, 0.4]
    assert of_rows(values[:0], np.array([0, 0])).tolist() == [0.0]
    assert of_rows(values, np.array([0, 4, 4])).tolist() == [0.7, 0.0]


def test_models_that_say_something_else_are_counted() -> None:
    said = ("O", "B-PER", "O")
    others = [("O", "B-ORG", "O"), ("O", "B-PER", "B-LOC")]
    assert disagreement(said, others).tolist() == [0.0, 0.5, 0.5]
    assert disagreement(said, []).tolist() == [0.0, 0.0, 0.0]


@given(st.integers(0, 50), st.dictionaries(st.sampled_from("abcd"), st.integers(0, 20), min_size=1))
def test_languages_give_equally_many_as_far_as_they_have_them(
    wanted: int, sizes: dict[str, int]
) -> None:
    found = shares(wanted, sizes)
    assert list(found) == list(sizes)
    assert sum(found.values()) == min(wanted, sum(sizes.values()))
    assert all(found[name] <= sizes[name] for name in sizes)
    most = max(found.values())
    assert all(found[name] >= min(sizes[name], most - 1) for name in sizes)


def test_rows_are_spread_over_what_is_uncertain() -> None:
    """Ten doubtful copies of each of three kinds, and many that are sure: one of each kind."""
    kinds = np.eye(4)[[0] * 10 + [1] * 10 + [2] * 10 + [3] * 100]
    noise = np.random.default_rng(0).normal(0, 0.01, kinds.shape)
    vectors = kinds + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = np.concatenate([np.full(10, 0.9), np.full(10, 0.8), np.full(10, 0.7), np.zeros(100)])
    likely = candidates(scores, 3)
    assert likely.tolist() == list(range(30))
    found = spread(scores[likely], vectors[likely], 3, seed=2**62)
    assert (found // 10).tolist() == [0, 1, 2]
    assert spread(scores[likely], vectors[likely], 3, seed=2**62).tolist() == found.tolist()


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_there_are_as_many_as_are_wanted_also_of_rows_that_are_alike(count: int) -> None:
    vectors = np.tile([[1.0, 0.0]], (5, 1))
    scores = np.array([0.1, 0.5, 0.3, 0.3, 0.2])
    order = candidates(scores, 5)
    assert order.tolist() == [1, 2, 3, 4, 0]
    found = spread(scores[order], vectors, count, seed=1)
    assert len(set(found.tolist())) == len(found) == count
    assert (np.diff(found) > 0).all()
