"""Homoscedastic noise: one learned log-variance s for all items of a group, here a language.

Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses" (2018), as SL-LOU
of Xu et al., "Boosting Cross-Lingual Transfer via Self-Learning with Uncertainty Estimation"
(2021) scales the cross-entropy of each language.

Shapes: N items. Half-precision inputs are computed in float32, wider ones as they are.
"""

from torch import Tensor

from xlt_ray.ops.precision import wide


def scaled_nll(ce_N: Tensor, log_variance_N: Tensor) -> Tensor:
    """Cross-entropy scaled by the noise of its group, CE exp(-s) + s / 2 (SL-LOU).

    The gradient of s is 1/2 - CE exp(-s). Where CE is 0 the loss has no minimum in s.

    Args:
        ce_N: Cross-entropy of each item, at least 0.
        log_variance_N: s of each item's group, or one s for all.

    Returns:
        Loss of each item, [N]; it is the cross-entropy itself where s is 0, and may be negative.
    """
    log_variance_N = wide(log_variance_N)
    return wide(ce_N) * (-log_variance_N).exp() + log_variance_N / 2


def optimal_log_variance(ce_N: Tensor) -> Tensor:
    """The s that minimises the loss of a cross-entropy, log(2 CE); -inf where it is 0."""
    return (2 * wide(ce_N)).log()
