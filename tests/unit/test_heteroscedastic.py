"""Noise on the logits, against NumPy, mpmath and the plain cross-entropy."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp, softmax
from torch.autograd.gradcheck import gradcheck
from torch.nn.functional import cross_entropy

from xlt_ray.ops.heteroscedastic import mean_probabilities, noisy_nll

Item = tuple[list[float], float, list[list[float]], int]


@st.composite
def items(draw: st.DrawFn) -> Item:
    """Logits of one item, its u, noise of some samples, and a label."""
    size, samples = draw(st.integers(2, 7)), draw(st.integers(1, 5))
    logits = draw(st.lists(st.floats(-300, 300), min_size=size, max_size=size))
    row = st.lists(st.floats(-5, 5), min_size=size, max_size=size)
    noise = draw(st.lists(row, min_size=samples, max_size=samples))
    return logits, draw(st.floats(-8, 4)), noise, draw(st.integers(0, size - 1))


def batch(
    items_: int, classes: int, samples: int, *, scale: float = 3.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(items_ + classes + samples)
    options = {"generator": generator, "dtype": torch.float64}
    return (
        scale * torch.randn(items_, classes, **options),
        torch.randn(items_, **options),
        torch.randint(classes, (items_,), generator=generator),
        torch.randn(samples, items_, classes, **options),
    )


@pytest.mark.slow
@settings(deadline=None, derandomize=True)
@given(items())
def test_loss_and_probabilities_follow_mpmath(item: Item) -> None:
    """Down to probabilities of e^-600 and below, which have no logarithm in float64."""
    logits, u, noise, label = item
    with mpmath.workdps(40):
        spread = mpmath.exp(mpmath.mpf(u))
        rows = []
        for eps in noise:
            shifted = [mpmath.mpf(f) + spread * e for f, e in zip(logits, eps, strict=True)]
            powers = [mpmath.exp(value) for value in shifted]
            rows.append([value / sum(powers) for value in powers])
        means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        want = float(-mpmath.log(means[label]))
    logits_NC = torch.tensor([logits], dtype=torch.float64)
    log_std_N = torch.tensor([u], dtype=torch.float64)
    noise_MNC = torch.tensor(noise, dtype=torch.float64)[:, None]
    loss = noisy_nll(logits_NC, log_std_N, torch.tensor([label]), noise_MNC)
    assert loss.tolist() == pytest.approx([want], rel=1e-12, abs=1e-13)
    p = mean_probabilities(logits_NC, log_std_N, noise_MNC)
    assert p[0].tolist() == pytest.approx([float(value) for value in means], rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("samples", [1, 2, 20])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_a_batch_equals_scipy(classes: int, samples: int) -> None:
    logits, log_std, labels, noise = batch(40, classes, samples)
    shifted = logits.numpy() + np.exp(log_std.numpy())[:, None] * noise.numpy()
    log_p = log_softmax(shifted, axis=-1)[:, np.arange(40), labels.numpy()]
    want = np.log(samples) - logsumexp(log_p, axis=0)
    loss = noisy_nll(logits, log_std, labels, noise)
    np.testing.assert_allclose(loss, want, rtol=1e-12, atol=1e-14)
    p = mean_probabilities(logits, log_std, noise)
    np.testing.assert_allclose(p, softmax(shifted, axis=-1).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-14)
    np.testing.assert_allclose(p[range(40), labels].log(), -want, rtol=1e-11, atol=1e-13)


def test_two_classes_are_a_mean_of_sigmoids() -> None:
    """f = (2, 0), u = log 0.5, noise (1, -1) and (-3, 1): sigmoids of 2 + 1 and of 2 - 2."""
    logits = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    log_std = torch.tensor([math.log(0.5)], dtype=torch.float64)
    noise = torch.tensor([[[1.0, -1.0]], [[-3.0, 1.0]]], dtype=torch.float64)
    want = (1 / (1 + math.exp(-3)) + 0.5) / 2
    assert mean_probabilities(logits, log_std, noise)[0, 0].item() == pytest.approx(want)
    loss = noisy_nll(logits, log_std, torch.tensor([0]), noise)
    assert loss.item() == pytest.approx(-math.log(want))


@pytest.mark.parametrize("samples", [1, 20])
def test_without_noise_it_is_the_cross_entropy(samples: int) -> None:
    logits, log_std, labels, noise = batch(30, 5, samples)
    plain = cross_entropy(logits, labels, reduction="none")
    silent = torch.full_like(log_std, -torch.inf)
    cases = ((log_std, torch.zeros_like(noise)), (silent, noise), (log_std - 100, noise))
    for spread, eps in cases:
        loss = noisy_nll(logits, spread, labels, eps)
        torch.testing.assert_close(loss, plain, rtol=1e-12, atol=1e-12)
        p = mean_probabilities(logits, spread, eps)
        torch.testing.assert_close(p, logits.softmax(-1), rtol=1e-12, atol=0)


def test_a_silent_item_has_the_gradient_of_the_cross_entropy() -> None:
    logits, log_std, labels, noise = batch(6, 4, 3)
    logits, log_std = logits.requires_grad_(), torch.full_like(log_std, -torch.inf).requires_grad_()
    of_logits, of_log_std = torch.autograd.grad(
        noisy_nll(logits, log_std, labels, noise).sum(), (logits, log_std)
    )
    (plain,) = torch.autograd.grad(cross_entropy(logits, labels, reduction="sum"), logits)
    torch.testing.assert_close(of_logits, plain, rtol=1e-12, atol=1e-14)
    assert of_log_std.eq(0).all()


def test_one_sample_is_the_cross_entropy_of_the_noisy_logits() -> None:
    logits, log_std, labels, noise = batch(30, 5, 1)
    noisy = logits + log_std.exp()[:, None] * noise[0]
    torch.testing.assert_close(
        noisy_nll(logits, log_std, labels, noise), cross_entropy(noisy, labels, reduction="none")
    )


def test_the_mean_probability_costs_no_more_than_the_mean_sample() -> None:
    """-log is convex."""
    logits, log_std, labels, noise = batch(200, 4, 10)
    each = torch.stack([noisy_nll(logits, log_std, labels, one[None]) for one in noise])
    together = noisy_nll(logits, log_std, labels, noise)
    assert (together < each.mean(0)).all()
    assert (together > each.amin(0)).all()


def test_neither_the_order_of_samples_nor_a_shift_of_the_logits_matters() -> None:
    logits, log_std, labels, noise = batch(20, 4, 10)
    loss, p = noisy_nll(logits, log_std, labels, noise), mean_probabilities(logits, log_std, noise)
    shift = torch.linspace(-50, 50, 20, dtype=torch.float64)[:, None]
    for moved, eps in ((logits, noise.flip(0)), (logits + shift, noise)):
        torch.testing.assert_close(
            noisy_nll(moved, log_std, labels, eps), loss, rtol=1e-11, atol=1e-12
        )
        torch.testing.assert_close(mean_probabilities(moved, log_std, eps), p, rtol=1e-11, atol=0)


def test_gradcheck() -> None:
    logits, log_std, labels, noise = batch(5, 3, 4, scale=1.0)
    inputs = (logits.requires_grad_(), log_std.requires_grad_())
    assert gradcheck(lambda f, u: noisy_nll(f, u, labels, noise), inputs)
    assert gradcheck(lambda f, u: mean_probabilities(f, u, noise), inputs)


def test_float32_survives_huge_logits_and_spreads() -> None:
    """The label is 2e4 below the winner, or the noise is e^20: no probability is above 1e-38."""
    logits = torch.tensor([[1e4, -1e4, 0.0], [1.0, 2.0, 3.0]], requires_grad=True)
    log_std = torch.tensor([0.0, 20.0], requires_grad=True)
    noise = torch.tensor([[[0.0, 1.0, -1.0], [-1.0, 1.0, 0.0]]])
    loss = noisy_nll(logits, log_std, torch.tensor([1, 0]), noise)
    assert loss.tolist() == pytest.approx([2e4 - 1, 2 * math.exp(20)], rel=1e-6)
    for gradient in torch.autograd.grad(loss.sum(), (logits, log_std)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened(dtype: torch.dtype) -> None:
    logits, log_std, labels, noise = batch(10, 3, 4)
    narrow = [values.to(dtype) for values in (logits, log_std, noise)]
    wide = [values.float() for values in narrow]
    loss = noisy_nll(narrow[0], narrow[1], labels, narrow[2])
    p = mean_probabilities(*narrow)
    assert loss.dtype == p.dtype == torch.float32
    torch.testing.assert_close(loss, noisy_nll(wide[0], wide[1], labels, wide[2]))
    torch.testing.assert_close(p, mean_probabilities(*wide))


def test_empty_batch() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    loss = noisy_nll(torch.zeros(0, 3), torch.zeros(0), none, torch.zeros(4, 0, 3))
    assert loss.shape == (0,)
    assert mean_probabilities(torch.zeros(0, 3), torch.zeros(0), torch.zeros(4, 0, 3)).shape == (
        0,
        3,
    )


def test_a_mean_needs_a_sample() -> None:
    with pytest.raises(AssertionError, match="no samples"):
        mean_probabilities(torch.zeros(1, 3), torch.zeros(1), torch.zeros(0, 1, 3))
