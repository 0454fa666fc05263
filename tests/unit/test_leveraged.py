"""The leveraged weighted loss against its equations."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd.gradcheck import gradcheck

from xlt_ray.ops.leveraged import lw_loss, lw_weights

ITEM = st.integers(2, 7).flatmap(
    lambda size: st.tuples(
        st.lists(st.floats(-30, 30), min_size=size, max_size=size),
        st.lists(st.booleans(), min_size=size, max_size=size).filter(
            lambda mask: any(mask) and not all(mask)
        ),
    )
)


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


@pytest.mark.slow
@settings(deadline=None, derandomize=True)
@given(ITEM, st.sampled_from([0.0, 1.0, 2.0]))
def test_weights_and_loss_equal_the_direct_loops(
    item: tuple[list[float], list[bool]], beta: float
) -> None:
    values, inside = item
    logits = torch.tensor(values, dtype=torch.float64).requires_grad_()
    mask = torch.tensor(inside)
    omega = lw_weights(logits, mask)
    for group in (True, False):
        total = sum(math.exp(f) for f, one in zip(values, inside, strict=True) if one == group)
        for c, one in enumerate(inside):
            if one == group:
                assert omega[c].item() == pytest.approx(math.exp(values[c]) / total, rel=1e-12)
    assert not omega.requires_grad
    terms = [
        weight * sigmoid(-f if one else f)
        for weight, f, one in zip(omega.tolist(), values, inside, strict=True)
    ]
    candidate = sum(term for term, one in zip(terms, inside, strict=True) if one)
    outside = sum(term for term, one in zip(terms, inside, strict=True) if not one)
    result = lw_loss(logits, mask, omega, beta=beta)
    assert result.candidate_N.item() == pytest.approx(candidate, rel=1e-12)
    assert result.noncandidate_N.item() == pytest.approx(outside, rel=1e-12)
    assert result.loss_N.item() == pytest.approx(candidate + beta * outside, rel=1e-12)
    slope = [
        (-1 if one else beta) * weight * sigmoid(f) * sigmoid(-f)
        for weight, f, one in zip(omega.tolist(), values, inside, strict=True)
    ]
    got = torch.autograd.grad(result.loss_N, logits)[0].tolist()
    assert got == pytest.approx(slope, rel=1e-12, abs=1e-15)


def test_the_weights_carry_no_gradient() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    omega = logits.sigmoid()
    mask = torch.tensor([True, False, True, False])
    constant = lw_loss(logits, mask, omega.detach(), beta=2).loss_N.sum()
    attached = lw_loss(logits, mask, omega, beta=2).loss_N.sum()
    assert torch.equal(
        torch.autograd.grad(constant, logits)[0], torch.autograd.grad(attached, logits)[0]
    )


def test_gradcheck() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[True, False, True, False]] * 5)
    omega = lw_weights(logits, mask)
    assert gradcheck(
        lambda f: lw_loss(f, mask, omega, beta=2).loss_N, logits.clone().requires_grad_()
    )


def test_far_apart_logits_keep_both_groups() -> None:
    """The group with the small logits still adds up to 1, where a joint softmax would underflow."""
    logits = torch.tensor([[1e4, 9e3, -1e4, -1e4]])
    mask = torch.tensor([[True, True, False, False]])
    omega = lw_weights(logits, mask)
    assert omega.tolist() == [[1.0, 0.0, 0.5, 0.5]]
    result = lw_loss(logits.requires_grad_(), mask, omega, beta=2)
    assert result.loss_N.item() == 0
    assert torch.autograd.grad(result.loss_N.sum(), logits)[0].eq(0).all()


def test_half_precision_is_widened() -> None:
    logits = torch.tensor([[1.5, -2.0, 0.25]], dtype=torch.bfloat16)
    mask = torch.tensor([[True, False, False]])
    omega = lw_weights(logits, mask)
    assert omega.dtype == torch.float32
    assert lw_loss(logits, mask, omega, beta=2).loss_N.dtype == torch.float32


def test_empty_batch() -> None:
    mask = torch.zeros(0, 3, dtype=torch.bool)
    omega = lw_weights(torch.zeros(0, 3), mask)
    assert lw_loss(torch.zeros(0, 3), mask, omega, beta=2).loss_N.shape == (0,)
