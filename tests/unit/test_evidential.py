"""Evidence, the Dirichlet and its loss, against SciPy and mpmath."""

from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma, polygamma
from scipy.stats import dirichlet as scipy_dirichlet
from torch.autograd.gradcheck import gradcheck

from xlt_ray.ops.evidential import (
    dirichlet,
    evidence,
    evidential_mse,
    evidential_nll,
    strength,
)

EVIDENCE = st.lists(st.one_of(st.just(0.0), st.floats(1e-12, 1e9)), min_size=2, max_size=9)


def double(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@settings(deadline=None, derandomize=True)
@given(st.floats(-700, 1e6))
def test_evidence_has_full_relative_precision(logit: float) -> None:
    want = mpmath.mpf(logit) + 1 if logit > 0 else mpmath.exp(mpmath.mpf(logit))
    assert evidence(double([logit])).item() == pytest.approx(float(want), rel=1e-14, abs=0)


def test_evidence_survives_underflow_and_large_logits() -> None:
    logits = double([-800.0, -1e300, 1e300, 0.0]).requires_grad_()
    got = evidence(logits)
    assert got.tolist() == [0.0, 0.0, 1e300, 1.0]
    assert torch.autograd.grad(got.sum(), logits)[0].tolist() == [0.0, 0.0, 1.0, 1.0]


def test_evidence_keeps_the_order_of_logits() -> None:
    logits = torch.randn(200, 7, generator=torch.Generator().manual_seed(0)) * 20
    assert torch.equal(evidence(logits).argmax(-1), logits.argmax(-1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened(dtype: torch.dtype) -> None:
    logits = torch.tensor([[2.0, -3.0]], dtype=dtype)
    got = evidence(logits)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, evidence(logits.float()))
    assert dirichlet(logits.abs()).p_NC.dtype == torch.float32
    assert evidential_nll(logits.abs(), torch.tensor([0])).dtype == torch.float32
    squared = evidential_mse(logits.abs(), torch.tensor([0]))
    assert {term.dtype for term in squared} == {torch.float32}
    want = evidential_mse(logits.abs().float(), torch.tensor([0]))
    torch.testing.assert_close(squared.loss_N, want.loss_N)


@settings(deadline=None, derandomize=True)
@given(EVIDENCE)
def test_belief_and_vacuity_add_up_to_one(values: list[float]) -> None:
    result = dirichlet(double(values))
    assert result.strength_N.item() == pytest.approx(sum(values) + len(values))
    assert (result.belief_NC.sum() + result.vacuity_N).item() == pytest.approx(1)
    assert result.p_NC.sum().item() == pytest.approx(1)


def test_no_evidence_is_full_vacuity() -> None:
    result = dirichlet(torch.zeros(2, 5))
    torch.testing.assert_close(result.p_NC, torch.full((2, 5), 0.2))
    assert result.vacuity_N.tolist() == [1.0, 1.0]
    assert result.belief_NC.eq(0).all()


def test_underflowed_evidence_gets_no_belief() -> None:
    belief = dirichlet(double([1e-31, 1e-29, 1.0])).belief_NC
    assert belief[0] == 0
    assert belief[1] > 0


@settings(deadline=None, derandomize=True)
@given(EVIDENCE, st.integers(0, 1))
def test_loss_and_gradient_are_those_of_scipy(values: list[float], label: int) -> None:
    """dL/de_c = trigamma(S) - [c = y] trigamma(e_y + 1)."""
    given_ = double(values).requires_grad_()
    loss = evidential_nll(given_, torch.tensor(label))
    total = sum(values) + len(values)
    want = digamma(total) - digamma(values[label] + 1)
    assert loss.item() == pytest.approx(want, rel=1e-9, abs=1e-11)
    slope = np.full(len(values), polygamma(1, total))
    slope[label] -= polygamma(1, values[label] + 1)
    np.testing.assert_allclose(
        torch.autograd.grad(loss, given_)[0].numpy(), slope, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("num_classes", [2, 3, 7, 17])
def test_without_evidence_the_loss_is_a_harmonic_number(num_classes: int) -> None:
    want = sum(1 / n for n in range(1, num_classes))
    loss = evidential_nll(torch.zeros(1, num_classes, dtype=torch.float64), torch.tensor([1]))
    assert loss.item() == pytest.approx(want, rel=1e-13)


@pytest.mark.parametrize("size", [9.9e5, 1e6, 1.1e6, 1e9, 1e30])
def test_large_strength_follows_mpmath(size: float) -> None:
    given_ = double([size, 3.0, size / 7]).requires_grad_()
    loss = evidential_nll(given_, torch.tensor(1))
    alphas = [mpmath.mpf(value) + 1 for value in given_.tolist()]
    with mpmath.workdps(50):
        want = mpmath.digamma(sum(alphas)) - mpmath.digamma(alphas[1])
        common = mpmath.polygamma(1, sum(alphas))
        slope = [common, common - mpmath.polygamma(1, alphas[1]), common]
    assert loss.item() == pytest.approx(float(want), rel=1e-12)
    got = torch.autograd.grad(loss, given_)[0].tolist()
    # PyTorch's own trigamma, which serves moderate arguments, is good to 5e-10.
    assert got == pytest.approx([float(value) for value in slope], rel=1e-9, abs=0)


def test_the_loss_vanishes_as_the_label_outgrows_the_rest() -> None:
    sizes = double([1.0, 1e2, 1e4, 1e8, 1e12])
    loss = evidential_nll(torch.stack([sizes, torch.ones_like(sizes)], 1), torch.zeros(5).long())
    assert (loss > 0).all()
    assert (loss.diff() < 0).all()
    assert loss[-1] < 1e-11


def test_gradcheck_through_logits() -> None:
    logits = (torch.randn(6, 4, generator=torch.Generator().manual_seed(1)) * 4).double()
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    assert gradcheck(
        lambda values: evidential_nll(evidence(values), labels), logits.requires_grad_()
    )


def test_float32_has_finite_gradients_where_exponentials_underflow() -> None:
    logits = torch.tensor([[-800.0, 300.0, -90.0], [-800.0] * 3, [3e6, 0.0, 1e20]])
    logits.requires_grad_()
    loss = evidential_nll(evidence(logits), torch.tensor([0, 1, 2]))
    assert loss.isfinite().all()
    assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()


def test_float32_agrees_with_float64() -> None:
    logits = torch.randn(500, 7, generator=torch.Generator().manual_seed(2)) * 5
    labels = torch.arange(500) % 7
    torch.testing.assert_close(
        evidential_nll(evidence(logits), labels),
        evidential_nll(evidence(logits.double()), labels).float(),
        rtol=1e-5,
        atol=2e-6,
    )


def test_empty_batch() -> None:
    empty = torch.zeros(0, 3)
    assert strength(evidence(empty)).shape == (0,)
    assert dirichlet(empty).belief_NC.shape == (0, 3)
    assert evidential_nll(empty, torch.zeros(0, dtype=torch.int64)).shape == (0,)
    for term in evidential_mse(empty, torch.zeros(0, dtype=torch.int64)):
        assert term.shape == (0,)


@settings(deadline=None, derandomize=True)
@given(EVIDENCE, st.integers(0, 1))
def test_squared_error_is_that_of_scipys_dirichlet(values: list[float], label: int) -> None:
    """E |y - pi|^2 = |y - E pi|^2 + sum_c Var pi_c for pi of the Dirichlet of e + 1."""
    got = evidential_mse(double([values]), torch.tensor([label]))
    reference = scipy_dirichlet(np.array(values) + 1)
    target = np.eye(len(values))[label]
    mse = np.square(target - reference.mean()).sum()
    variance = np.sum(reference.var())
    assert got.mse_N.item() == pytest.approx(mse, rel=1e-9, abs=1e-15)
    assert got.variance_N.item() == pytest.approx(variance, rel=1e-9, abs=1e-15)
    assert got.loss_N.item() == pytest.approx(mse + variance, rel=1e-9, abs=1e-15)
    assert 0 <= got.loss_N.item() < 2


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.lists(st.floats(0, 1e4), min_size=2, max_size=6), st.integers(0, 1))
def test_squared_error_and_its_gradient_follow_mpmath(values: list[float], label: int) -> None:
    given_ = double(values).requires_grad_()
    loss = evidential_mse(given_, torch.tensor(label)).loss_N

    def direct(*evidences: Any) -> Any:
        total = sum(evidences) + len(evidences)
        p = [(value + 1) / total for value in evidences]
        error = sum(((c == label) - value) ** 2 for c, value in enumerate(p))
        return error + sum(value * (1 - value) for value in p) / (total + 1)

    with mpmath.workdps(40):
        point = tuple(mpmath.mpf(value) for value in values)
        want = float(direct(*point))
        slope = [
            float(mpmath.diff(direct, point, tuple(int(c == d) for d in range(len(point)))))
            for c in range(len(point))
        ]
    assert loss.item() == pytest.approx(want, rel=1e-9, abs=1e-14)
    got = torch.autograd.grad(loss, given_)[0].tolist()
    assert got == pytest.approx(slope, rel=1e-8, abs=1e-13)


@pytest.mark.parametrize("num_classes", [2, 3, 7, 17])
def test_without_evidence_the_squared_error_is_that_of_a_uniform_dirichlet(
    num_classes: int,
) -> None:
    """(1 - 1/C)^2 + (C - 1) / C^2 = 1 - 1/C, and C (1/C) (1 - 1/C) / (C + 1)."""
    got = evidential_mse(torch.zeros(1, num_classes).double(), torch.tensor([1]))
    share = 1 - 1 / num_classes
    assert got.mse_N.item() == pytest.approx(share, rel=1e-14)
    assert got.variance_N.item() == pytest.approx(share / (num_classes + 1), rel=1e-14)


def test_the_squared_error_vanishes_or_nears_two_as_one_class_outgrows_the_rest() -> None:
    """With 1 - p = 2/s of the larger class: 2 (2/s)^2 + 2 (2/s) / s = 12/s^2 in the limit."""
    sizes = double([1.0, 1e2, 1e4, 1e8])
    given_ = torch.stack([sizes, torch.ones_like(sizes)], 1)
    right = evidential_mse(given_, torch.zeros(4).long()).loss_N
    wrong = evidential_mse(given_, torch.ones(4).long()).loss_N
    assert (right > 0).all()
    assert (right.diff() < 0).all()
    assert right[-1].item() == pytest.approx(12e-16, rel=1e-6)
    assert (wrong.diff() > 0).all()
    assert wrong[-1].item() == pytest.approx(2, rel=1e-7)


def test_gradcheck_of_the_squared_error_through_logits() -> None:
    logits = (torch.randn(6, 4, generator=torch.Generator().manual_seed(3)) * 4).double()
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    assert gradcheck(
        lambda values: evidential_mse(evidence(values), labels), logits.requires_grad_()
    )


def test_the_squared_error_is_finite_for_extreme_logits() -> None:
    logits = torch.tensor([[-800.0, 300.0, -90.0], [-800.0] * 3, [3e6, 0.0, 1e20]])
    logits.requires_grad_()
    loss = evidential_mse(evidence(logits), torch.tensor([0, 1, 2])).loss_N
    assert loss.isfinite().all()
    assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()
