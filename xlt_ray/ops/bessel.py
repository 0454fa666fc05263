"""Normaliser of the von Mises-Fisher distribution on the unit sphere of R^q, and its slope.

    log C_q(kappa) = nu log kappa - (q/2) log(2 pi) - log I_nu(kappa)        (M2), nu = q/2 - 1
    d log C_q / d kappa = -A_q(kappa) = -I_{nu+1}(kappa) / I_nu(kappa)

Both log C_q and A_q / kappa are smooth functions of kappa^2, and are computed as such: 0 is no
special case, neither of the value nor of the gradient. Two formulas give every order and every
concentration.

1. Debye's expansion, uniform in kappa, where the order is at least 30. With r = sqrt(1 + x^2),
   x = kappa / nu and t = 1 / r,

       log I_nu - nu log kappa = nu (r - log(1 + r)) - nu log nu - log(2 pi nu r) / 2 + log U(t),

   U(t) = sum_j u_j(t) / nu^j. Nine terms leave a relative error of A below 2e-14; the value has the
   rounding of float64.
2. Down to a lower order by A_nu = 1 / (2 (nu + 1) / kappa + A_{nu+1}) and I_{nu+1} = A_nu I_nu. In
   this direction the recurrence damps errors.

All is tensor arithmetic of a fixed cost, in float64 on the device of the argument: what is used is
the small difference of two such values. Millions of them are bound by memory, hence in place.
"""

import math
from fractions import Fraction
from functools import cache
from typing import Any

import torch
from torch import Tensor

_LEAST_ORDER = 30
_TERMS = 8


def log_c(kappa: Tensor, q: int) -> Tensor:
    """log C_q(kappa) in float64, of the shape of kappa (M2); its gradient is -A_q(kappa).

    At 0 it is minus the logarithm of the sphere's area, with gradient 0. The error is that of
    rounding: at most 6e-12 up to kappa = 1e4, and a few units in the last place of kappa beyond.

    Args:
        kappa: Concentrations, at least 0.
        q: Dimension, at least 2.
    """
    return log_c_of_square(kappa.double().square(), q)


def a_q(kappa: Tensor, q: int) -> Tensor:
    """A_q(kappa) = I_{q/2}(kappa) / I_{q/2-1}(kappa) in float64, of the shape of kappa (M2).

    The length of the mean of vMF(mu, kappa), in [0, 1): kappa / q near 0, and
    1 - (q - 1) / (2 kappa) for large kappa. The relative error is below 2e-14.

    Args:
        kappa: Concentrations, at least 0.
        q: Dimension, at least 2.
    """
    kappa = kappa.double()
    return kappa * _a_over_kappa(kappa.square(), q)


def log_c_of_square(square: Tensor, q: int) -> Tensor:
    """`log_c` as a function of kappa^2, whose gradient -A_q(kappa) / (2 kappa) is finite at 0, too.

    Args:
        square: kappa^2 in float64.
        q: Dimension, at least 2.
    """
    function: Any = _LogC
    return function.apply(square, q)


class _LogC(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, square: Tensor, q: int) -> Tensor:
        ctx.save_for_backward(square)
        ctx.q = q
        return -(q / 2) * math.log(2 * math.pi) - _log_i(square, q)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (square,) = ctx.saved_tensors
        return grads[0] * _a_over_kappa(square, ctx.q) / -2, None


def _a_over_kappa(square: Tensor, q: int) -> Tensor:
    """A_q(kappa) / kappa as a function of kappa^2, which is 1 / q at 0."""
    function: Any = _Ratio
    return function.apply(square, q)


class _Ratio(torch.autograd.Function):
    """f_q = A_q / kappa with derivative f_q (f_{q+2} - f_q) / 2 by kappa^2."""

    @staticmethod
    def forward(ctx: Any, square: Tensor, q: int) -> Tensor:
        ctx.save_for_backward(square)
        ctx.q = q
        orders = _orders(q)
        ratio = _debye_ratio(square, orders[0])
        for nu in orders[1:]:
            ratio.mul_(square).add_(2 * (nu + 1)).reciprocal_()
        return ratio

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (square,) = ctx.saved_tensors
        ratio, above = (_a_over_kappa(square, q) for q in (ctx.q, ctx.q + 2))
        return grads[0] * ratio * (above - ratio) / 2, None


def _log_i(square: Tensor, q: int) -> Tensor:
    """log I_nu(kappa) - nu log kappa."""
    orders = _orders(q)
    nu, r = orders[0], _r(square, orders[0])
    series, t = torch.zeros_like(r), 1 / r
    for coefficient in _debye(nu):
        series.mul_(t).add_(coefficient)
    found = nu * (r - r.log1p()) + (series.square() / r).log() / 2
    found -= nu * math.log(nu) + math.log(2 * math.pi * nu) / 2
    if len(orders) == 1:
        return found
    ratio = _debye_ratio(square, nu)
    for nu in orders[1:]:
        ratio.mul_(square).add_(2 * (nu + 1)).reciprocal_()
        found -= ratio.log()
    return found


def _debye_ratio(square: Tensor, nu: float) -> Tensor:
    """I_{nu+1}(kappa) / (kappa I_nu(kappa)) from Debye's expansion differentiated by kappa^2:
    (1 / (1 + r) - (t^2 / 2 + t^3 U'(t) / U(t)) / nu) / nu."""
    r = _r(square, nu)
    series, slope, t = torch.zeros_like(r), torch.zeros_like(r), 1 / r
    for coefficient in _debye(nu):
        slope.mul_(t).add_(series)
        series.mul_(t).add_(coefficient)
    return (1 / (1 + r) - t.square() * (0.5 + t * slope / series) / nu) / nu


def _r(square: Tensor, nu: float) -> Tensor:
    return (1 + square / nu**2).sqrt()


def _orders(q: int) -> list[float]:
    """The order to expand at, and those to come down to from there, nu last."""
    nu = q / 2 - 1
    steps = max(0, math.ceil(_LEAST_ORDER - nu))
    return [nu + step for step in range(steps, -1, -1)]


@cache
def _debye(nu: float) -> tuple[float, ...]:
    """Coefficients of U(t) = sum_j u_j(t) / nu^j as a polynomial in t, the highest power first."""
    total = [0.0] * (3 * _TERMS + 1)
    for j, u in enumerate(_polynomials()):
        for power, coefficient in enumerate(u):
            total[power] += coefficient / nu**j
    return tuple(reversed(total))


@cache
def _polynomials() -> tuple[tuple[float, ...], ...]:
    """Coefficients of u_0 to u_8 by ascending powers, rounded once."""
    found = [[Fraction(1)]]
    for _ in range(_TERMS):
        found.append(_next(found[-1]))
    return tuple(tuple(float(coefficient) for coefficient in u) for u in found)


def _next(u: list[Fraction]) -> list[Fraction]:
    """u_{j+1}(t) = t^2 (1 - t^2) u_j'(t) / 2 + int_0^t (1 - 5 s^2) u_j(s) ds / 8, by its powers."""
    found = [Fraction(0)] * (len(u) + 3)
    for power, coefficient in enumerate(u):
        half = Fraction(power, 2)
        found[power + 1] += coefficient * (half + Fraction(1, 8 * (power + 1)))
        found[power + 3] -= coefficient * (half + Fraction(5, 8 * (power + 3)))
    return found
