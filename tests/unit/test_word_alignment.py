"""Softmax intersection, against loops in float64 over the definition."""

import math

import numpy as np
import pytest
import torch

from xlt_ray.ops.word_alignment import similarities, softmax_intersection


def oracle(similarity: np.ndarray, threshold: float) -> np.ndarray:
    """exp(s_ij) over the sum of its row, and over that of its column, pair by pair."""
    rows, columns = similarity.shape
    found = np.zeros((rows, columns), np.float64)
    for i in range(rows):
        for j in range(columns):
            own = float(similarity[i, j])
            forward = 1 / sum(math.exp(float(similarity[i, k]) - own) for k in range(columns))
            back = 1 / sum(math.exp(float(similarity[k, j]) - own) for k in range(rows))
            if forward > threshold and back > threshold:
                found[i, j] = (forward + back) / 2
    return found


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 1), (6, 9)])
@pytest.mark.parametrize("threshold", [0.0, 1e-3, 0.2, 0.6])
def test_it_is_what_loops_find(shape: tuple[int, int], threshold: float) -> None:
    similarity = np.random.default_rng(3).normal(scale=4.0, size=shape)
    found = softmax_intersection(torch.from_numpy(similarity), threshold).numpy()
    np.testing.assert_allclose(found, oracle(similarity, threshold), rtol=1e-12, atol=0)


def test_a_pair_that_one_side_alone_finds_likely_is_none() -> None:
    """Rows: softmax of (0, ln 3) is (1/4, 3/4), of (0, 0) is (1/2, 1/2). Columns: softmax of
    (0, 0) is (1/2, 1/2), of (ln 3, 0) is (3/4, 1/4). Above 0.3 both ways: (0, 1) and (1, 0)."""
    found = softmax_intersection(torch.tensor([[0.0, math.log(3)], [0.0, 0.0]]), 0.3)
    np.testing.assert_allclose(found.numpy(), [[0, 0.75], [0.5, 0]], rtol=1e-6)


def test_the_translation_of_a_translation_is_transposed() -> None:
    similarity = torch.from_numpy(np.random.default_rng(4).normal(size=(3, 5)))
    found, other = (softmax_intersection(x, 0.05) for x in (similarity, similarity.T))
    torch.testing.assert_close(found, other.T, rtol=1e-12, atol=0)


def test_large_products_stay_finite() -> None:
    found = softmax_intersection(torch.tensor([[900.0, -900.0], [-900.0, 900.0]]), 1e-3)
    assert found.tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_without_words_there_are_no_pairs(shape: tuple[int, int]) -> None:
    assert softmax_intersection(torch.zeros(shape), 1e-3).shape == shape


def test_similarities_are_products_in_float64() -> None:
    found = similarities(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [-1.0, 0.5]]))
    assert found.dtype == torch.float64
    assert found.tolist() == [[11.0, 0.0]]
