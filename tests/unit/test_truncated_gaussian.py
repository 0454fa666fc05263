"""SoftMatch for whole passes, against NumPy in float64 and by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xlt_ray.ops import truncated_gaussian
from xlt_ray.ops.truncated_gaussian import Gaussian


@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(2, 30), min_size=1, max_size=4),
    momentum=st.sampled_from([0.0, 0.5, 0.999]),
)
def test_weights_of_several_passes(seed: int, sizes: list[int], momentum: float) -> None:
    draw = np.random.default_rng(seed)
    given = [draw.uniform(0.25, 1.0, size) for size in sizes]
    mean, variance, found = np.mean(given[0]), np.var(given[0], ddof=1), None
    for values in given:
        mean = momentum * mean + (1 - momentum) * np.mean(values)
        variance = momentum * variance + (1 - momentum) * np.var(values, ddof=1)
        found = truncated_gaussian.after_pass(found, torch.from_numpy(values), momentum)
    wanted = [
        1.0 if x >= mean else math.exp(-((x - mean) ** 2) / (2 * variance)) for x in given[-1]
    ]
    assert found is not None
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-10)
    got = truncated_gaussian.weights(torch.from_numpy(given[-1]), found)
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_one_pass_by_hand() -> None:
    """Confidences 0.6 and 1: mu = 0.8, variance 0.08, and exp(-0.04 / 0.16). The next pass, of 1
    and 1, moves mu to 0.9 and the variance to 0.04."""
    values = torch.tensor([0.6, 1.0], dtype=torch.float64)
    found = truncated_gaussian.after_pass(None, values, 0.5)
    assert found.mean.item() == pytest.approx(0.8)
    assert found.variance.item() == pytest.approx(0.08)
    got = truncated_gaussian.weights(values, found)
    assert got.tolist() == pytest.approx([math.exp(-0.25), 1.0])
    found = truncated_gaussian.after_pass(found, torch.ones(2, dtype=torch.float64), 0.5)
    assert (found.mean.item(), found.variance.item()) == pytest.approx((0.9, 0.04))


@pytest.mark.parametrize("values", [[0.7], [0.7] * 3])
def test_one_item_or_equal_ones_count_fully(values: list[float]) -> None:
    given = torch.tensor(values, dtype=torch.float64)
    found = truncated_gaussian.after_pass(None, given, 0.5)
    assert found.variance.item() == pytest.approx(0.0, abs=1e-30)
    assert truncated_gaussian.weights(given, found).tolist() == [1.0] * len(values)


def test_without_variance_what_is_below_the_mean_counts_nothing() -> None:
    none = Gaussian(torch.tensor(0.7).double(), torch.tensor(0.0).double())
    values = torch.tensor([0.6, 0.7, 0.8], dtype=torch.float64)
    got = truncated_gaussian.weights(values, Gaussian(values[1], none.variance))
    assert got.tolist() == [0.0, 1.0, 1.0]


def test_rounding_is_no_distance_from_the_mean() -> None:
    """0.1 * 0.1 + 0.9 * 0.1 is above 0.1 in float64, and the variance is 0."""
    given = torch.full((3,), 0.1, dtype=torch.float64)
    first = truncated_gaussian.after_pass(None, given, 0.1)
    found = truncated_gaussian.after_pass(first, given, 0.1)
    assert found.mean > 0.1
    assert truncated_gaussian.weights(given, found).tolist() == [1.0] * 3


def test_no_items_have_no_weights() -> None:
    found = truncated_gaussian.after_pass(None, torch.tensor([0.5]), 0.5)
    assert truncated_gaussian.weights(torch.zeros(0), found).shape == (0,)
    with pytest.raises(AssertionError, match="over no items"):
        truncated_gaussian.after_pass(found, torch.zeros(0), 0.5)


def test_uniform_alignment_by_hand() -> None:
    """(0.6, 0.4) / (0.8, 0.2) = (0.75, 2), normalised."""
    q = torch.tensor([[0.6, 0.4]], dtype=torch.float64)
    mean = torch.tensor([0.8, 0.2], dtype=torch.float64)
    got = truncated_gaussian.uniformly_aligned(q, mean)
    assert got[0].tolist() == pytest.approx([0.75 / 2.75, 2 / 2.75])
    even = truncated_gaussian.uniformly_aligned(q, torch.full((2,), 0.5))
    assert even[0].tolist() == pytest.approx([0.6, 0.4])


def test_a_class_that_nobody_predicts_stays_finite() -> None:
    q = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    got = truncated_gaussian.uniformly_aligned(q, torch.tensor([1.0, 0.0]))
    assert got.tolist() == [[1.0, 0.0], [1.0, 0.0]]
