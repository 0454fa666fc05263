"""Scores against quadrature and the naive norm, class statistics, priors, loss and margins."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from xlt_ray.labels import UNLABELLED
from xlt_ray.ops import bessel, vmf


def unit(count: int, q: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, q, dtype=torch.float64, generator=generator)
    return normal / normal.norm(dim=1, keepdim=True)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def by_quadrature(kappa: float, cosine: float, temp: float) -> float:
    """log E exp(z.v / temp) on the sphere in R^4, v = (cos a, sin a cos b, sin a sin b ...).

    mu is the first axis and z lies in the plane of the first two; the measure is sin^2 a sin b, and
    the third angle integrates out. The density is normalised by the same rule, without Bessel.
    """
    nodes, weights = np.polynomial.legendre.leggauss(160)
    angle, weight = (nodes + 1) * np.pi / 2, weights * np.pi / 2
    a, b = angle[:, None], angle[None, :]
    measure = weight[:, None] * weight[None, :] * np.sin(a) ** 2 * np.sin(b)
    density = measure * np.exp(kappa * np.cos(a))
    along = cosine * np.cos(a) + math.sqrt(1 - cosine**2) * np.sin(a) * np.cos(b)
    return math.log((density * np.exp(along / temp)).sum() / density.sum())


@pytest.mark.slow
@pytest.mark.parametrize("kappa", [0.0, 0.5, 7.0, 60.0])
@pytest.mark.parametrize("temp", [0.1, 0.4, 1.0])
def test_scores_are_the_expectation_over_the_sphere(kappa: float, temp: float) -> None:
    cosines = [-1.0, -0.7, 0.0, 0.3, 0.95, 1.0]
    z = torch.tensor([[c, math.sqrt(1 - c**2), 0.0, 0.0] for c in cosines], dtype=torch.float64)
    found = vmf.scores(z, torch.eye(4)[:1], double(kappa), temp)[:, 0]
    want = [by_quadrature(kappa, cosine, temp) for cosine in cosines]
    assert found.tolist() == pytest.approx(want, rel=1e-9, abs=1e-9)
    if kappa:
        assert (found.diff() > 0).all(), "it grows with mu.z"


@pytest.mark.parametrize("q", [4, 64, 256])
def test_scores_are_those_of_the_naive_norm(q: int) -> None:
    z, mu, kappa = unit(20, q), unit(5, q, seed=1), double(0.0, 1e-6, 3.0, 299.32, 4e4)
    prime = (kappa[:, None] * mu + z[:, None] / 0.07).norm(dim=2)
    torch.testing.assert_close(vmf.kappa_prime(z, mu, kappa, 0.07), prime, rtol=1e-14, atol=0)
    naive = bessel.log_c(kappa, q) - bessel.log_c(prime, q)
    off = (vmf.scores(z, mu, kappa, 0.07) - naive).abs()
    assert (off <= 1e-12 + 4 * 2.0**-52 * kappa).all(), "more than a few roundings of kappa"


def test_a_class_without_concentration_scores_every_span_alike() -> None:
    found = vmf.scores(unit(9, 64), torch.zeros(1, 64), torch.zeros(1), 0.07)[:, 0]
    want = bessel.log_c(double(0.0), 64) - bessel.log_c(double(1 / 0.07), 64)
    assert want.item() > 0
    torch.testing.assert_close(found, want.expand(9), rtol=1e-13, atol=0)


@pytest.mark.parametrize("temp", [0.07, 1.0])
def test_the_gradient_reaches_z_in_every_direction(temp: float) -> None:
    """gradcheck moves each coordinate by itself, and so z along itself, too."""
    z, mu = unit(4, 6).requires_grad_(), unit(3, 6, seed=1)
    kappa = double(0.0, 2.0, 80.0)
    assert gradcheck(lambda x: vmf.scores(x, mu, kappa, temp), (z,))


def test_the_gradient_is_the_printed_one() -> None:
    z, mu, kappa, temp = unit(7, 64), unit(4, 64, seed=1), double(1.0, 50.0, 300.0, 1e5), 0.07
    x = z.clone().requires_grad_()
    weight = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (vmf.scores(x, mu, kappa, temp) * weight).sum().backward()
    vector = kappa[:, None] * mu + z[:, None] / temp
    prime = vector.norm(dim=2)
    slope = bessel.a_q(prime, 64) / (temp * prime) * weight
    torch.testing.assert_close(x.grad, (slope[:, :, None] * vector).sum(dim=1))


def test_an_embedding_opposite_to_the_mean_has_no_gradient() -> None:
    z = double(-1.0, 0.0, 0.0).reshape(1, 3).requires_grad_()
    mu, kappa = double(1.0, 0.0, 0.0).reshape(1, 3), double(4.0)
    assert vmf.kappa_prime(z, mu, kappa, 0.25).item() == 0
    rho = vmf.scores(z, mu, kappa, 0.25)
    assert rho.item() == pytest.approx((bessel.log_c(kappa, 3) + math.log(4 * math.pi)).item())
    rho.sum().backward()
    assert z.grad is not None
    assert z.grad.tolist() == [[0.0, 0.0, 0.0]]


def test_near_the_opposite_nothing_is_lost() -> None:
    """kappa' is a millionth of its parts; 40 digits say what the score is."""
    for seed in range(5):
        mu = unit(1, 16, seed)
        z = -mu + 1e-6 * unit(1, 16, seed + 10)
        z /= z.norm()
        found = vmf.scores(z, mu, double(1 / 0.07), 0.07).item()
        with mpmath.workdps(40):
            parts = zip(mu[0].tolist(), z[0].tolist(), strict=True)
            k = mpmath.mpf(1 / 0.07)
            square = sum(
                (k * mpmath.mpf(m) + mpmath.mpf(x) / mpmath.mpf(0.07)) ** 2 for m, x in parts
            )
            prime = mpmath.sqrt(square)
            g = [mpmath.log(mpmath.besseli(7, x)) - 7 * mpmath.log(x) for x in (prime, k)]
            assert abs(found - (g[0] - g[1])) < 1e-13


def test_nothing_but_z_has_a_gradient() -> None:
    z, mu = unit(3, 8).float().requires_grad_(), unit(2, 8, seed=1).requires_grad_()
    kappa = double(3.0, 9.0).requires_grad_()
    rho = vmf.scores(z, mu, kappa, 0.07)
    assert rho.dtype == torch.float64
    rho.sum().backward()
    assert z.grad is not None
    assert z.grad.dtype == torch.float32
    assert mu.grad is None
    assert kappa.grad is None
    assert not vmf.kappa_prime(z, mu, kappa, 0.07).requires_grad


def test_no_spans_have_no_scores() -> None:
    rho = vmf.scores(torch.zeros(0, 8), unit(3, 8), torch.ones(3), 0.07)
    assert rho.shape == (0, 3)


@pytest.mark.parametrize(("kappa", "within"), [(1e4, 3e-2), (1e5, 3e-3)])
def test_large_concentrations_have_simple_scores(kappa: float, within: float) -> None:
    """The next term is of the order 1 / (temp^3 kappa^2) + q / (temp kappa)."""
    z = torch.tensor([[c, math.sqrt(1 - c**2), 0, 0, 0, 0] for c in (0.0, 0.6, 0.99)]).double()
    mu, at = torch.eye(6)[:1], double(kappa)
    rho = vmf.scores(z, mu, at, 0.07)
    right = vmf.large_kappa(z, mu, at, 0.07)
    printed = vmf.large_kappa(z, mu, at, 0.07, kind="paper")
    assert (rho - right).abs().max() < within
    torch.testing.assert_close(printed - right, z[:, :1] ** 2 / (2 * 0.07**2 * kappa))


def test_concentrations_by_hand() -> None:
    """R = 0.5, q = 4: 0.5 * 3.75 / 0.75 = 2.5, and 0.5 * 4 / 0.75 = 8/3 in the released code."""
    mean = double(0.0, 0.5, 0.0, 0.0).reshape(1, 4)
    found = vmf.concentration(mean)
    assert found.R_K.item() == 0.5
    assert found.mu_KQ.tolist() == [[0.0, 1.0, 0.0, 0.0]]
    assert found.kappa_K.item() == pytest.approx(2.5, rel=1e-14)
    assert vmf.concentration(mean, kind="code").kappa_K.item() == pytest.approx(8 / 3, rel=1e-14)


@pytest.mark.parametrize("kind", ["paper", "code"])
def test_concentrations_at_both_ends(kind: vmf.Kappa) -> None:
    lengths = double(0.0, 1 - 1e-3, 1 - 1e-9, 1.0, 1 + 1e-15, 1.1)
    found = vmf.concentration(lengths[:, None] * unit(1, 16), kind=kind)
    assert found.mu_KQ[0].tolist() == [0.0] * 16
    assert found.kappa_K[0].item() == 0
    assert 0 < found.kappa_K[1] < 1e5
    assert found.kappa_K[2:].tolist() == [1e5] * 4
    torch.testing.assert_close(found.mu_KQ[1:].norm(dim=1), torch.ones(5, dtype=torch.float64))
    flat = vmf.concentration(torch.full((1, 2), 2**-0.5), kind=kind)
    assert flat.kappa_K.item() == 1e5


@pytest.mark.parametrize("length", [0.05, 0.5, 0.9, 0.99])
def test_the_mean_of_the_distribution_is_about_the_class_mean(length: float) -> None:
    """The estimate of kappa is an approximate inverse of A_q, good to a fraction of a percent."""
    found = vmf.concentration(length * unit(1, 64))
    assert bessel.a_q(found.kappa_K, 64).item() == pytest.approx(length, rel=2e-3)


@pytest.mark.slow
@settings(deadline=None, derandomize=True)
@given(data=st.data())
def test_the_running_mean_is_the_mean_of_all(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=6))
    z, y = unit(sum(sizes), 3), torch.arange(sum(sizes)) % 2
    mean, count = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for z_part, y_part in zip(z.split(sizes), y.split(sizes), strict=True):
        mean, count = vmf.running_mean(mean, count, *vmf.class_sums(z_part, y_part, 3))
    assert count.tolist() == [int((y == label).sum()) for label in range(3)]
    for label in range(2):
        want = z[y == label].mean(dim=0) if (y == label).any() else torch.zeros(3).double()
        torch.testing.assert_close(mean[label], want)
    assert mean[2].tolist() == [0.0] * 3


def test_a_class_without_spans_in_a_batch_keeps_its_mean() -> None:
    mean, count = unit(3, 5) * 0.3, double(7.0, 0.0, 1.0)
    given_mean = mean.clone()
    sums = vmf.class_sums(unit(2, 5, seed=1), torch.tensor([2, UNLABELLED]), 3)
    assert sums[1].tolist() == [0, 0, 1]
    found, counts = vmf.running_mean(mean, count, *sums)
    assert torch.equal(found[:2], given_mean[:2])
    assert torch.equal(mean, given_mean), "out of place"
    torch.testing.assert_close(found[2], (given_mean[2] + unit(2, 5, seed=1)[0]) / 2)
    assert counts.tolist() == [7, 0, 2]
    none, same = vmf.running_mean(
        mean, count, *vmf.class_sums(torch.zeros(0, 5), torch.empty(0), 3)
    )
    assert torch.equal(none, mean)
    assert torch.equal(same, count)


def test_first_means_have_length_09_and_any_direction() -> None:
    means = vmf.first_means(2000, 3, torch.Generator().manual_seed(0))
    assert torch.equal(means, vmf.first_means(2000, 3, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(means.norm(dim=1), torch.full((2000,), 0.9).double())
    assert means.mean(dim=0).abs().max() < 4 * 0.9 / math.sqrt(3 * 2000)  # four standard errors
    kappa = vmf.concentration(vmf.first_means(1, 64, torch.Generator())).kappa_K
    assert kappa.item() == pytest.approx(0.9 * 63.19 / 0.19, rel=1e-12)


def test_priors() -> None:
    assert vmf.soft_prior(torch.tensor([[1.0, 0.0], [0.5, 0.5]])).tolist() == [0.75, 0.25]
    hard = vmf.hard_prior(torch.tensor([2, UNLABELLED, 0, 0, 2]), 4)
    assert hard.tolist() == [0.5, 0.0, 0.5, 0.0]
    for empty in (
        vmf.soft_prior(torch.zeros(0, 4)),
        vmf.hard_prior(torch.zeros(0, dtype=torch.int64), 4),
        vmf.hard_prior(torch.tensor([UNLABELLED]), 4),
    ):
        assert empty.tolist() == [0.25] * 4
        assert empty.dtype == torch.float64


def test_the_prior_has_a_floor_and_an_exponent() -> None:
    pi = double(0.0, 0.25, 0.75)
    assert vmf.log_prior(pi).tolist() == pytest.approx(
        [-12 * math.log(10), math.log(0.25), math.log(0.75)], rel=1e-14
    )
    torch.testing.assert_close(vmf.log_prior(pi, 0.1), 0.1 * vmf.log_prior(pi))
    assert vmf.log_prior(pi, 0.0).tolist() == [0.0, 0.0, 0.0]


def test_the_loss_is_the_naive_one() -> None:
    rho = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y, pi = torch.tensor([0, 1, 2, 0, 1, 2]), double(0.9, 0.06, 0.04)
    weighted = pi * rho.exp()
    want = -(weighted[torch.arange(6), y] / weighted.sum(dim=1)).log()
    log_prior = vmf.log_prior(pi)
    torch.testing.assert_close(vmf.max_margin_loss(rho, y, log_prior), want)
    x = rho.requires_grad_()
    assert gradcheck(lambda x: vmf.max_margin_loss(x, y, log_prior), (x,))


def test_degenerate_losses() -> None:
    none = vmf.max_margin_loss(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), torch.zeros(3))
    assert none.shape == (0,)
    assert none.dtype == torch.float64
    never = vmf.log_prior(double(1.0, 0.0))
    found = vmf.max_margin_loss(torch.zeros(2, 2), torch.tensor([1, UNLABELLED]), never)
    assert found.tolist() == pytest.approx([12 * math.log(10), 0.0], rel=1e-12)
    alone = vmf.max_margin_loss(torch.randn(4, 1), torch.zeros(4, dtype=torch.int64), double(0.0))
    assert alone.tolist() == [0.0] * 4


@pytest.mark.parametrize("k", [2, 3, 5, 7])
def test_a_simplex_has_the_best_margin(k: int) -> None:
    """The corners of a regular simplex, centred, have pairwise cosine -1 / (K - 1)."""
    centres = torch.eye(k, dtype=torch.float64) - 1 / k
    centres /= centres.norm(dim=1, keepdim=True)
    every = torch.arange(k)
    found = vmf.margins(centres, centres, every)
    torch.testing.assert_close(found, torch.full((k,), vmf.best_margin(k), dtype=torch.float64))
    others = unit(k, k, seed=k)
    assert vmf.margins(others, others, every).min() < vmf.best_margin(k)


def test_margins_are_within_two_and_one_class_has_no_bound() -> None:
    found = vmf.margins(unit(4, 3), unit(200, 3, seed=1), torch.arange(200) % 4)
    assert found.abs().max() <= 2
    turned = vmf.margins(unit(4, 3)[[1, 0, 2, 3]], unit(200, 3, seed=1), torch.arange(200) % 4)
    assert not torch.equal(found, turned)
    one = vmf.margins(unit(1, 3), unit(2, 3), torch.zeros(2, dtype=torch.int64))
    assert one.tolist() == [math.inf, math.inf]
