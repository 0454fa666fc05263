"""Mixture of two Gaussians that parts the scores of a class into low and high ones.

"Large Margin Representation Learning for Robust Cross-lingual Named Entity Recognition", (M8) of
docs/maral.md. The released code fits scikit-learn's GaussianMixture from a random k-means start;
this one starts from the centres 0 and 1, so that it gives the same for the same scores.

Shapes: N scores, M scores that are fitted on.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]

_LEAST_SCORES = 10
_LEAST_RANGE = 1e-12
_ADDED_VARIANCE = 5e-4
_MOST_MOVES = 300
_MOST_ITERATIONS = 10
_TOLERANCE = 1e-2


class Mixture(NamedTuple):
    """What was fitted. Of both components the one with the lower mean is first.

    Attributes:
        normalised_N: Scores scaled to [0, 1]; zeros if they do not differ.
        iterations: Steps of expectation and maximisation; 0 if nothing was fitted.
        weights_2: Shares of the components, and below the means and variances of normalised scores;
            zeros if nothing was fitted.
        means_2: Means.
        variances_2: Variances.
        w_N: Responsibility of the component with the larger mean; ones if nothing was fitted.
        reliable_N: Whether it is above 0.5.
    """

    normalised_N: Doubles
    iterations: int
    weights_2: Doubles
    means_2: Doubles
    variances_2: Doubles
    w_N: Doubles
    reliable_N: Bools


def two_components(scores_N: Floats, *, fit_on: int = 100_000) -> Mixture:
    """Fit both components to the scores of a class, and say which scores are of the upper (M8).

    Fewer than 10 scores, or scores that differ by less than 1e-12, are all reliable. The fit is on
    sorted scores, so that the order of the spans, and with it the number of workers, changes no
    bit. Of many scores it takes evenly spaced ranks, the first and the last among them: an estimate
    of the distribution that is closer than a random sample of the size.

    Args:
        scores_N: Finite scores.
        fit_on: Most scores to fit on, at least 10.
    """
    scores = np.asarray(scores_N, np.float64)
    low, span = (scores.min(), np.ptp(scores)) if len(scores) else (0.0, 0.0)
    if span < _LEAST_RANGE:
        return _unfitted(np.zeros_like(scores))
    normalised = (scores - low) / span
    if len(scores) < _LEAST_SCORES:
        return _unfitted(normalised)
    ranks = np.linspace(0, len(scores) - 1, min(len(scores), fit_on)).round().astype(np.int64)
    iterations, weights_2, means_2, variances_2 = _fit(np.sort(normalised)[ranks])
    w_N = _upper(_log_densities(normalised, weights_2, means_2, variances_2))
    return Mixture(normalised, iterations, weights_2, means_2, variances_2, w_N, w_N > 0.5)


def _unfitted(normalised_N: Doubles) -> Mixture:
    size = len(normalised_N)
    none_2 = np.zeros(2)
    return Mixture(normalised_N, 0, none_2, none_2, none_2, np.ones(size), np.ones(size, np.bool_))


def _fit(x_M: Doubles) -> tuple[int, Doubles, Doubles, Doubles]:
    """Iterations, weights, means and variances for sorted values from 0 to 1."""
    parameters = _maximise(x_M, _hard_start(x_M))
    previous, iterations = -np.inf, 0
    while iterations < _MOST_ITERATIONS:
        iterations += 1
        log_2M = _log_densities(x_M, *parameters)
        likelihood = float(np.logaddexp(*log_2M).mean())
        parameters = _maximise(x_M, _upper(log_2M))
        if abs(likelihood - previous) < _TOLERANCE:
            break
        previous = likelihood
    weights, means, variances = parameters
    order = np.argsort(means, kind="stable")
    return iterations, weights[order], means[order], variances[order]


def _hard_start(x_M: Doubles) -> Doubles:
    """[M] 1 for what k-means from the centres 0 and 1 puts to the upper one; ties are lower.

    Values are sorted, so a cluster is a range of ranks. Neither is ever empty: the first value is
    not above the lower centre, the last not below the upper.
    """
    sums, split, middle = np.cumsum(x_M), 0, 0.5
    for _ in range(_MOST_MOVES):
        found = int(np.searchsorted(x_M, middle, side="right"))
        if found == split:
            break
        split, below = found, sums[found - 1]
        middle = (below / split + (sums[-1] - below) / (len(x_M) - split)) / 2
    return (np.arange(len(x_M)) >= split).astype(np.float64)


def _maximise(x_M: Doubles, w_M: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Weights, means and variances of both components from the responsibility of the second."""
    w_2M = np.stack([1 - w_M, w_M])
    total_2 = w_2M.sum(axis=1)
    means_2 = w_2M @ x_M / total_2
    squares_2M = np.square(x_M - means_2[:, None])
    variances_2 = (w_2M * squares_2M).sum(axis=1) / total_2 + _ADDED_VARIANCE
    return total_2 / len(x_M), means_2, variances_2


def _log_densities(
    x_N: Doubles, weights_2: Doubles, means_2: Doubles, variances_2: Doubles
) -> Doubles:
    """[2, N] log of weight times density."""
    constant_2 = np.log(weights_2) - np.log(2 * np.pi * variances_2) / 2
    squares_2N = np.square(x_N - means_2[:, None]) / variances_2[:, None]
    return constant_2[:, None] - squares_2N / 2


def _upper(log_2N: Doubles) -> Doubles:
    """[N] responsibility of the second component."""
    return np.exp(-np.logaddexp(0, log_2N[0] - log_2N[1]))
