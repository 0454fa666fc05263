"""Conflict and entropy measures, against direct loops over their equations."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from torch.autograd.gradcheck import gradcheck

from xlt_ray.ops.evidential import dirichlet
from xlt_ray.ops.uncertainty import (
    balance,
    custom_uncertainty,
    dissonance,
    max_probability,
    merged_belief,
    merged_dissonance,
    normalised_entropy,
    vacuity,
)

EVIDENCE = st.lists(st.one_of(st.just(0.0), st.floats(1e-25, 1e6)), min_size=2, max_size=9)


def belief_of(values: list[float]) -> torch.Tensor:
    return dirichlet(torch.tensor(values, dtype=torch.float64)).belief_NC


def balance_by_hand(u: float, v: float) -> float:
    return 1 - abs(u - v) / (u + v) if u * v != 0 else 0.0


def dissonance_by_hand(masses: list[float]) -> float:
    """Sum over i of b_i (sum over j != i of b_j Bal(b_i, b_j)) / (sum over j != i of b_j)."""
    total = 0.0
    for i, mass in enumerate(masses):
        rest = [other for j, other in enumerate(masses) if j != i]
        if sum(rest) > 0:
            conflict = math.fsum(other * balance_by_hand(mass, other) for other in rest)
            total += mass * conflict / math.fsum(rest)
    return total


@settings(deadline=None, derandomize=True)
@given(EVIDENCE)
def test_measures_equal_the_direct_loops(values: list[float]) -> None:
    belief = belief_of(values)
    masses = belief.tolist()
    size = len(masses)
    pairs = [
        [balance_by_hand(masses[i], masses[j]) if i != j else 0.0 for j in range(size)]
        for i in range(size)
    ]
    torch.testing.assert_close(
        balance(belief), torch.tensor(pairs, dtype=torch.float64), rtol=1e-9, atol=1e-14
    )
    got = dissonance(belief).item()
    assert got == pytest.approx(dissonance_by_hand(masses), rel=1e-9, abs=1e-14)
    assert 0 <= got <= 1
    assert vacuity(torch.tensor(values)).item() == pytest.approx(size / (sum(values) + size))


@settings(deadline=None, derandomize=True)
@given(EVIDENCE, st.data())
def test_a_merged_frame_equals_the_direct_loop(values: list[float], data: st.DataObject) -> None:
    belief = belief_of(values)
    chosen = data.draw(st.sets(st.integers(0, len(values) - 1)))
    mask = torch.tensor([c in chosen for c in range(len(values))])
    rest = math.prod(1 - belief[c].item() for c in chosen)
    assert merged_belief(belief, mask).item() == pytest.approx(1 - rest, rel=1e-9, abs=1e-14)
    frame = [1 - rest, *belief[~mask].tolist()]
    want = dissonance_by_hand(frame)
    assert merged_dissonance(belief, mask).item() == pytest.approx(want, rel=1e-8, abs=1e-14)


def test_degenerate_beliefs_have_no_dissonance() -> None:
    cases = [[0.0, 0.0, 0.0], [0.75, 0.0, 0.0]]
    assert dissonance(torch.tensor(cases)).tolist() == [0.0, 0.0]
    assert dissonance(torch.tensor([[0.5]])).tolist() == [0.0]
    assert dissonance(torch.zeros(0, 4)).shape == (0,)


def test_equal_masses_conflict_with_all_the_belief_there_is() -> None:
    belief = belief_of([5.0, 5.0, 5.0])
    assert dissonance(belief).item() == pytest.approx(15 / 18)


def test_tiny_balances_do_not_cancel() -> None:
    """Bal(u, v) = 2 v / (u + v) for v < u, here about 2e-20 where 1 - |u - v| / (u + v) is 0."""
    got = balance(torch.tensor([1.0, 1e-20], dtype=torch.float64))
    assert got[0, 1].item() == pytest.approx(2e-20, rel=1e-14, abs=0)


def test_dissonance_has_correct_and_finite_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    belief = torch.rand(4, 5, generator=generator, dtype=torch.float64).requires_grad_()
    assert gradcheck(dissonance, belief)
    zeros = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]], requires_grad=True)
    assert torch.autograd.grad(dissonance(zeros).sum(), zeros)[0].isfinite().all()


def test_dissonance_ignores_the_order_of_classes() -> None:
    generator = torch.Generator().manual_seed(1)
    belief = torch.rand(50, 6, generator=generator, dtype=torch.float64)
    order = torch.randperm(6, generator=generator)
    torch.testing.assert_close(dissonance(belief), dissonance(belief[:, order]), rtol=1e-13, atol=0)


@settings(deadline=None, derandomize=True)
@given(EVIDENCE)
def test_the_custom_score_is_dissonance_and_a_hundredth_of_vacuity(values: list[float]) -> None:
    total = sum(values) + len(values)
    want = dissonance_by_hand([value / total for value in values]) + 0.01 * len(values) / total
    got = custom_uncertainty(torch.tensor(values, dtype=torch.float64)).item()
    assert got == pytest.approx(want, rel=1e-9, abs=1e-14)
    assert 0 < got < 1


def test_the_custom_score_ranks_items_without_conflict_by_their_evidence() -> None:
    """Vacuity 1, 3/6 and 3/12, and no dissonance."""
    given_ = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
    torch.testing.assert_close(custom_uncertainty(given_), torch.tensor([0.01, 0.005, 0.0025]))
    assert custom_uncertainty(given_.bfloat16()).dtype == torch.float32
    assert custom_uncertainty(torch.zeros(0, 4)).shape == (0,)


@settings(deadline=None, derandomize=True)
@given(EVIDENCE.filter(lambda values: sum(values) > 0))
def test_entropy_is_that_of_scipy(values: list[float]) -> None:
    p = torch.tensor(values, dtype=torch.float64)
    p = p / p.sum()
    want = entropy(p.numpy()) / math.log(len(values))
    assert normalised_entropy(p).item() == pytest.approx(want, abs=1e-12)
    assert max_probability(p).item() == max(p.tolist())


def test_entropy_ends() -> None:
    ends = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25] * 4])
    torch.testing.assert_close(normalised_entropy(ends), torch.tensor([0.0, 1.0]))
    with pytest.raises(AssertionError, match="one class"):
        normalised_entropy(torch.ones(2, 1))
