"""Correction of soft labels: schedule, thresholds, directions and labels that stay."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from xlt_ray.ops import refinement
from xlt_ray.ops.refinement import Kind

KINDS: tuple[Kind, ...] = ("paper", "code")


def bools(*rows: list[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.bool)


def test_alpha_goes_from_start_to_end() -> None:
    """Four epochs of refinement, 2 to 5: steps of 0.3 / 3. The code's schedule has fifths of 0.3,
    counted from epoch 1: 0.9 - 0.06 (epoch - 1)."""
    plan = {"start": 0.9, "end": 0.6, "warm": 2, "epochs": 6}
    found = [refinement.alpha(epoch, **plan) for epoch in range(2, 6)]
    assert found == pytest.approx([0.9, 0.8, 0.7, 0.6])
    of_code = [refinement.alpha(epoch, **plan, kind="code") for epoch in range(2, 6)]
    assert of_code == pytest.approx([0.84, 0.78, 0.72, 0.66])


@pytest.mark.parametrize(("kind", "want"), [("paper", 0.95), ("code", 0.875)])
def test_a_single_epoch_of_refinement(kind: Kind, want: float) -> None:
    found = refinement.alpha(4, start=0.95, end=0.8, warm=4, epochs=5, kind=kind)
    assert found == pytest.approx(want)


def test_a_class_without_spans_is_exceeded_by_nothing() -> None:
    values = torch.tensor([[1.0, 9.0, 5.0], [2.0, 2.0, 5.0], [7.0, 2.0, 5.0]])
    means = torch.tensor([2.0, 2.0, math.inf]).double()
    assert refinement.exceeds(values, means).tolist() == [
        [False, True, False], [False, False, False], [True, False, False],
    ]  # fmt: skip


def test_counts_of_neighbours_are_compared_exactly() -> None:
    """The mean of 1 and 2 is not rounded to an integer, and a count at the mean is not above it."""
    counts = torch.tensor([[1, 0], [2, 0], [0, 3]])
    means = torch.tensor([1.5, 3.0]).double()
    assert refinement.exceeds(counts, means).tolist() == [
        [False, False], [True, False], [False, False],
    ]  # fmt: skip


def test_o_is_in_where_it_has_the_largest_score() -> None:
    rho = torch.tensor([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0], [1.0, 2.0]])
    d_c = bools([0, 1], [0, 0], [0, 0], [1, 0])
    found = refinement.outside_rule(d_c, rho)
    assert found.tolist() == bools([1, 1], [0, 0], [1, 0], [1, 0]).tolist()
    assert d_c.tolist() == bools([0, 1], [0, 0], [0, 0], [1, 0]).tolist(), "out of place"
    assert refinement.outside_rule(bools([0]), torch.zeros(1, 1)).tolist() == [[True]]


def test_directions() -> None:
    """Two classes by the scores and one by the neighbours: (0, 1, 1) + (0, 1, 0) over 3, or
    (0, 1/2, 1/2) + (0, 1, 0) over 2. With one of both empty the other decides alone."""
    d_c, d_n = bools([0, 1, 1], [0, 0, 0], [0, 0, 0]), bools([0, 1, 0], [1, 1, 0], [0, 0, 0])
    torch.testing.assert_close(
        refinement.direction(d_c, d_n),
        torch.tensor([[0, 2 / 3, 1 / 3], [0.5, 0.5, 0], [0, 0, 0]], dtype=torch.float64),
    )
    torch.testing.assert_close(
        refinement.direction(d_c, d_n, kind="code"),
        torch.tensor([[0, 0.75, 0.25], [0.5, 0.5, 0], [0, 0, 0]], dtype=torch.float64),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_without_a_direction_stays(kind: Kind) -> None:
    p = torch.tensor([[0.1, 0.7, 0.2]], dtype=torch.float64)
    none, one = bools([0, 0, 0]), bools([0, 0, 1])
    assert torch.equal(refinement.refine(p, none, none, 0.5, kind=kind), p)
    found = refinement.refine(p, none, one, 0.5, kind=kind)
    assert found[0].tolist() == pytest.approx([0.05, 0.35, 0.6])
    assert refinement.refine(p, one, one, 0.0, kind=kind)[0].tolist() == [0, 0, 1]
    assert torch.equal(refinement.refine(p, one, none, 1.0, kind=kind), p / p.sum())


def test_no_spans_have_no_labels() -> None:
    none = torch.zeros(0, 4, dtype=torch.bool)
    assert refinement.refine(torch.zeros(0, 4), none, none, 0.9).shape == (0, 4)
    means = torch.tensor([math.inf, math.inf])
    assert refinement.exceeds(torch.zeros(0, 2), means).shape == (0, 2)


@settings(deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), alpha=st.floats(0, 1), kind=st.sampled_from(KINDS))
def test_refined_labels_sum_to_one_and_follow_the_classes(
    seed: int, alpha: float, kind: Kind
) -> None:
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(5, 4, generator=generator, dtype=torch.float64).softmax(dim=1)
    d_c, d_n = (torch.rand(5, 4, generator=generator) < 0.4 for _ in range(2))
    found = refinement.refine(p, d_c, d_n, alpha, kind=kind)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(5, dtype=torch.float64))
    assert (found >= alpha * p - 1e-12).all(), "no class loses more than its share"
    turn = torch.tensor([2, 0, 3, 1])
    turned = refinement.refine(p[:, turn], d_c[:, turn], d_n[:, turn], alpha, kind=kind)
    torch.testing.assert_close(turned, found[:, turn])
