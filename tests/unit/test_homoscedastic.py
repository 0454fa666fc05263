"""The cross-entropy of a group scaled by its learned noise."""

import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd.gradcheck import gradcheck

from xlt_ray.ops.homoscedastic import optimal_log_variance, scaled_nll

LOSSES = st.floats(1e-12, 1e6)


def double(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@settings(deadline=None, derandomize=True)
@given(LOSSES, st.floats(-50, 50))
def test_loss_and_gradients_follow_mpmath(ce: float, s: float) -> None:
    """dL/dCE = exp(-s) and dL/ds = 1/2 - CE exp(-s)."""
    ce_N, s_N = double([ce]).requires_grad_(), double([s]).requires_grad_()
    loss = scaled_nll(ce_N, s_N)
    weight = mpmath.exp(-mpmath.mpf(s))
    want = float(ce * weight + mpmath.mpf(s) / 2)
    assert loss.item() == pytest.approx(want, rel=1e-12, abs=1e-12)
    of_ce, of_s = torch.autograd.grad(loss.sum(), (ce_N, s_N))
    assert of_ce.item() == pytest.approx(float(weight), rel=1e-13)
    assert of_s.item() == pytest.approx(float(0.5 - ce * weight), rel=1e-12, abs=1e-15)


@settings(deadline=None, derandomize=True)
@given(LOSSES, st.floats(0.01, 5))
def test_the_optimum_is_where_the_loss_is_least(ce: float, step: float) -> None:
    """At s = log(2 CE) the loss is (1 + log(2 CE)) / 2, and it rises to both sides."""
    best = optimal_log_variance(double(ce)).requires_grad_()
    assert best.item() == pytest.approx(math.log(2 * ce), rel=1e-13, abs=1e-13)
    loss = scaled_nll(double(ce), best)
    assert loss.item() == pytest.approx((1 + math.log(2 * ce)) / 2, rel=1e-12, abs=1e-12)
    assert torch.autograd.grad(loss, best)[0].item() == pytest.approx(0, abs=1e-14)
    for other in (best + step, best - step):
        assert scaled_nll(double(ce), other.detach()) > loss


def test_zero_log_variance_changes_nothing() -> None:
    ce = torch.tensor([0.0, 0.3, 7.0])
    assert torch.equal(scaled_nll(ce, torch.zeros(3)), ce)
    assert torch.equal(scaled_nll(ce, torch.tensor(0.0)), ce)


def test_each_item_is_scaled_by_the_noise_of_its_language() -> None:
    """s of two languages, three items: 2/2 + log(2)/2, 4/2 + log(2)/2 and 3 * 4 - log(4)/2."""
    s_L = double([math.log(2), -math.log(4)]).requires_grad_()
    loss = scaled_nll(double([2.0, 4.0, 3.0]), s_L[torch.tensor([0, 0, 1])])
    half = math.log(2) / 2
    assert loss.tolist() == pytest.approx([1 + half, 2 + half, 12 - 2 * half])
    assert torch.autograd.grad(loss.sum(), s_L)[0].tolist() == pytest.approx([-2.0, -11.5])


def test_gradcheck() -> None:
    generator = torch.Generator().manual_seed(0)
    ce = torch.rand(5, generator=generator, dtype=torch.float64).requires_grad_()
    s = torch.randn(5, generator=generator, dtype=torch.float64).requires_grad_()
    assert gradcheck(scaled_nll, (ce, s))
    assert gradcheck(optimal_log_variance, (ce,))


def test_a_perfect_prediction_has_no_optimum() -> None:
    assert optimal_log_variance(torch.zeros(2)).tolist() == [-math.inf, -math.inf]
    assert scaled_nll(torch.zeros(1), torch.tensor([-40.0])).tolist() == [-20.0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened(dtype: torch.dtype) -> None:
    ce, s = torch.tensor([0.7, 3.0], dtype=dtype), torch.tensor([0.3, -2.0], dtype=dtype)
    got = scaled_nll(ce, s)
    assert got.dtype == optimal_log_variance(ce).dtype == torch.float32
    torch.testing.assert_close(got, scaled_nll(ce.float(), s.float()))
    assert scaled_nll(ce, s[0]).dtype == torch.float32


def test_empty_batch() -> None:
    assert scaled_nll(torch.zeros(0), torch.zeros(0)).shape == (0,)
    assert scaled_nll(torch.zeros(0), torch.tensor(0.0)).shape == (0,)
    assert optimal_log_variance(torch.zeros(0)).shape == (0,)
