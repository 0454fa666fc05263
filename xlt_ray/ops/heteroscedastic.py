"""Heteroscedastic noise: a classifier that predicts how noisy the logits of each input are.

Kendall and Gal, "What Uncertainties Do We Need in Bayesian Deep Learning for Computer Vision?"
(2017), with one spread per item as in SL-LEU of Xu et al., "Boosting Cross-Lingual Transfer via
Self-Learning with Uncertainty Estimation" (2021): the logits of a sample are l = f + exp(u) eps.

The standard normal eps comes from the caller, so that the same noise gives the same numbers.

Shapes: N items, C classes, M samples. Half-precision inputs are computed in float32, wider ones as
they are. Results are finite as long as differences of perturbed logits are; u may be -inf.
"""

import math

from torch import Tensor

from xlt_ray.ops.precision import wide


def noisy_nll(logits_NC: Tensor, log_std_N: Tensor, labels_N: Tensor, noise_MNC: Tensor) -> Tensor:
    """Negative log of the mean probability of the label (SL-LEU), -log mean_m softmax(l_m)[y].

    Computed as log M - logsumexp_m log softmax(l_m)[y], which no small probability underflows.

    Args:
        logits_NC: Raw outputs f of the linear head.
        log_std_N: Predicted log standard deviation u of each item.
        labels_N: Class ids, int64, all in [0, C).
        noise_MNC: Standard normal samples, at least one.

    Returns:
        Loss of each item, [N]; without noise, or with u = -inf, the plain cross-entropy.
    """
    log_p_MNC = _perturbed(logits_NC, log_std_N, noise_MNC).log_softmax(-1)
    labels_MN = labels_N.expand(len(noise_MNC), *labels_N.shape)
    log_p_MN = log_p_MNC.gather(-1, labels_MN[..., None]).squeeze(-1)
    return math.log(len(noise_MNC)) - log_p_MN.logsumexp(0)


def mean_probabilities(logits_NC: Tensor, log_std_N: Tensor, noise_MNC: Tensor) -> Tensor:
    """Class probabilities [N, C] to rank items by: the mean of the M softmaxes (SL-LEU).

    Args:
        logits_NC: Raw outputs f of the linear head.
        log_std_N: Predicted log standard deviation u of each item.
        noise_MNC: Standard normal samples, at least one.
    """
    return _perturbed(logits_NC, log_std_N, noise_MNC).softmax(-1).mean(0)


def _perturbed(logits_NC: Tensor, log_std_N: Tensor, noise_MNC: Tensor) -> Tensor:
    assert len(noise_MNC) > 0, "a mean over no samples is no number"
    # The spread is wide, and so the sum is.
    return logits_NC + wide(log_std_N).exp()[..., None] * noise_MNC
