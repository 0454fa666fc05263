"""log C_q and A_q against mpmath, closed forms on the sphere, SciPy and bounds of Amos (1974)."""

import math
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ive
from torch.autograd import gradcheck, gradgradcheck

from xlt_ray.ops import bessel

DIMENSIONS = (2, 3, 4, 16, 41, 61, 62, 64, 256, 1024)
"""Among them 61, the last that comes down from a higher order, and 62, the first that does not."""


def grid(q: int) -> list[float]:
    """0, steps of half a decade, and 2 sqrt(nu + 1), to where the power series would be used."""
    middle = 2 * math.sqrt(q / 2)
    return [0.0, middle, *(10 ** (exponent / 2) for exponent in range(-16, 13))]


@cache
def exact(q: int) -> tuple[list[Any], list[Any]]:
    """log C_q and A_q over the grid with 60 digits."""
    logs, ratios = [], []
    with mpmath.workdps(60):
        nu, half = mpmath.mpf(q) / 2 - 1, mpmath.mpf(q) / 2
        for kappa in map(mpmath.mpf, grid(q)):
            if kappa == 0:
                area = mpmath.log(2) + half * mpmath.log(mpmath.pi) - mpmath.loggamma(half)
                logs.append(-area)
                ratios.append(kappa)
                continue
            bottom = mpmath.besseli(nu, kappa)
            constant = half * mpmath.log(2 * mpmath.pi)
            logs.append(nu * mpmath.log(kappa) - constant - mpmath.log(bottom))
            ratios.append(mpmath.besseli(nu + 1, kappa) / bottom)
    return logs, ratios


@pytest.mark.parametrize("q", DIMENSIONS)
def test_log_c_follows_mpmath(q: int) -> None:
    """6e-12 up to 1e4, and beyond it the rounding of kappa: eps / 2 kappa each of a few steps."""
    kappa = torch.tensor(grid(q), dtype=torch.float64)
    found = bessel.log_c(kappa, q).tolist()
    for at, got, want in zip(grid(q), found, exact(q)[0], strict=True):
        assert abs(got - want) <= (6e-12 if at <= 1e4 * (1 + 1e-9) else 2 * at * 2.0**-52)


@pytest.mark.parametrize("q", DIMENSIONS)
def test_a_q_and_the_gradient_follow_mpmath(q: int) -> None:
    kappa = torch.tensor(grid(q), dtype=torch.float64).requires_grad_()
    bessel.log_c(kappa, q).sum().backward()
    assert kappa.grad is not None
    for found in (bessel.a_q(kappa, q), -kappa.grad):
        for got, want in zip(found.tolist(), exact(q)[1], strict=True):
            assert abs(got - want) <= 3e-14 * want


def test_the_sphere_has_closed_forms() -> None:
    """C_3 = kappa / (4 pi sinh kappa), A_3 = coth kappa - 1 / kappa, and areas of spheres."""
    kappa = torch.linspace(0.5, 30, 60, dtype=torch.float64)
    torch.testing.assert_close(
        bessel.log_c(kappa, 3), (kappa / (4 * math.pi * kappa.sinh())).log(), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(
        bessel.a_q(kappa, 3), 1 / kappa.tanh() - 1 / kappa, rtol=1e-13, atol=0
    )
    zero = torch.zeros(1)
    areas = {2: 2 * math.pi, 3: 4 * math.pi, 4: 2 * math.pi**2}
    for q, area in areas.items():
        assert bessel.log_c(zero, q).item() == pytest.approx(-math.log(area), abs=1e-13)


@pytest.mark.parametrize("q", [4, 9, 30])
def test_log_c_is_that_of_scipy(q: int) -> None:
    kappa, nu = np.geomspace(0.1, 1e4, 200), q / 2 - 1
    log_i = np.log(ive(nu, kappa)) + kappa
    want = nu * np.log(kappa) - q / 2 * np.log(2 * np.pi) - log_i
    found = bessel.log_c(torch.from_numpy(kappa), q).numpy()
    assert np.abs(found - want).max() < 2e-11


@pytest.mark.parametrize("q", [3, 64, 1024])
def test_the_gradient_is_that_of_the_value(q: int) -> None:
    kappa = torch.tensor([0.0, 0.3, 5.0, 40.0, 900.0], dtype=torch.float64).requires_grad_()
    assert gradcheck(lambda x: bessel.log_c(x, q), (kappa,))
    square = kappa.detach().square().requires_grad_()
    bessel.log_c_of_square(square, q).sum().backward()
    assert square.grad is not None
    assert square.grad[0].item() == pytest.approx(-0.5 / q, rel=1e-13)


@pytest.mark.parametrize("q", [3, 64])
def test_higher_derivatives(q: int) -> None:
    """A' = 1 - A^2 - (q - 1) A / kappa, and 1 / q at 0."""
    kappa = torch.tensor([0.0, 0.3, 5.0, 40.0], dtype=torch.float64).requires_grad_()
    assert gradgradcheck(lambda x: bessel.log_c(x, q), (kappa,))
    assert gradgradcheck(lambda x: bessel.a_q(x, q), (kappa,))
    a = bessel.a_q(kappa, q)
    (slope,) = torch.autograd.grad(a.sum(), kappa)
    at, a = kappa.detach()[1:], a.detach()[1:]
    assert slope[0].item() == pytest.approx(1 / q, rel=1e-13)
    torch.testing.assert_close(slope[1:], 1 - a**2 - (q - 1) * a / at, rtol=1e-10, atol=1e-12)


@settings(deadline=None, derandomize=True)
@given(
    q=st.integers(2, 600),
    kappa=st.one_of(st.floats(0, 20), st.floats(0, 1e5), st.floats(1e-300, 1e-3)),
)
def test_a_q_lies_between_its_bounds(q: int, kappa: float) -> None:
    found = bessel.a_q(torch.tensor(kappa, dtype=torch.float64), q).item()
    low, high = (kappa / ((q - 1) / 2 + math.hypot(kappa, (q + other) / 2)) for other in (1, -1))
    assert low * (1 - 1e-13) <= found <= high * (1 + 1e-13)


@settings(deadline=None, derandomize=True)
@given(q=st.integers(2, 600), kappa=st.floats(0, 1e4), step=st.floats(1e-3, 10))
def test_log_c_falls_and_is_concave(q: int, kappa: float, step: float) -> None:
    """log I_nu - nu log kappa grows with a slope in [0, 1) that grows."""
    at = kappa + step * torch.arange(3, dtype=torch.float64)
    found = bessel.log_c(at, q)
    falls = -found.diff()
    assert (falls >= -2e-11).all()
    assert (falls <= step + 2e-11).all()
    assert falls[1] >= falls[0] - 4e-11


def test_shapes_and_types() -> None:
    for shape in [(), (0,), (2, 3), (0, 4)]:
        kappa = torch.full(shape, 2.5)
        for found in (bessel.log_c(kappa, 64), bessel.a_q(kappa, 64), bessel.log_c(kappa, 5)):
            assert found.shape == shape
            assert found.dtype == torch.float64
            assert torch.isfinite(found).all()
