"""Weights in place of a threshold: SoftMatch, in the form for whole passes.

Chen et al., "SoftMatch: Addressing the Quantity-Quality Trade-off in Semi-supervised Learning"
(2023). An item with confidence m = max_c q(c) counts with the weight

    lambda(m) = exp(-(m - mu)^2 / (2 sigma^2))   where m < mu,   else 1,

with moving averages of the mean and of the variance of the confidences over passes of N items,

    mu_t      = a mu_{t-1}      + (1 - a) mean_i m_i
    sigma^2_t = a sigma^2_{t-1} + (1 - a) sum_i (m_i - mean m)^2 / (N - 1)

The first pass gives the first averages. Departure: the paper starts from mu = 1 / C, sigma^2 = 1,
which its thousands of steps forget; in a loop of a few passes all weights would be nearly 1.

Uniform alignment lowers the confidence in classes that are predicted too often: m is the largest
value of q(c) / E[q](c), normalised, with E[q] the moving average of the mean probabilities.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from xlt_ray.ops.self_adaptive import moved

ROUNDING = 1e-12
"""A confidence is not below the mean by less: of equal ones the mean may be another number."""


class Gaussian(NamedTuple):
    """Averages after a pass, both scalars.

    Attributes:
        mean: mu.
        variance: sigma^2, at least 0.
    """

    mean: Tensor
    variance: Tensor


def after_pass(earlier: Gaussian | None, confidence_N: Tensor, momentum: float) -> Gaussian:
    """The averages after one more pass.

    Args:
        earlier: Those before it; None: it is the first.
        confidence_N: Confidence of each item, at least one. The variance of one item alone is 0.
        momentum: a, in [0, 1).
    """
    assert len(confidence_N), "a mean over no items is no number"
    confidence_N = confidence_N.double()
    mean = confidence_N.mean()
    spread = (confidence_N - mean).square().sum() / max(len(confidence_N) - 1, 1)
    if earlier is None:
        return Gaussian(mean, spread)
    return Gaussian(moved(earlier.mean, mean, momentum), moved(earlier.variance, spread, momentum))


def weights(confidence_N: Tensor, gaussian: Gaussian) -> Tensor:
    """[N] float64 weights lambda in [0, 1]; without any variance, 0 below the mean."""
    short_N = (gaussian.mean - confidence_N.double()).clamp(min=0)
    scaled_N = short_N.square() / (2 * gaussian.variance)
    return torch.where(short_N > ROUNDING, (-scaled_N).exp(), 1.0)


def uniformly_aligned(q_NC: Tensor, mean_C: Tensor) -> Tensor:
    """[N, C] probabilities q(c) / E[q](c), normalised (uniform alignment).

    Args:
        q_NC: Class probabilities.
        mean_C: E[q], above 0 wherever any q is.
    """
    ratio_NC = q_NC.double() / mean_C.double().clamp(min=torch.finfo(torch.float64).tiny)
    return ratio_NC / ratio_NC.sum(dim=1, keepdim=True)
