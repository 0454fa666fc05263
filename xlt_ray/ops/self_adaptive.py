"""Thresholds that follow a model's own confidence: FreeMatch, in the form for whole passes.

Wang et al., "FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning" (2023). The paper
averages over the batches of a training; here each prediction pass over the unlabelled text counts
as one batch. After pass t over N items, with q the class probabilities and lambda the momentum,

    tau_t  = lambda tau_{t-1}  + (1 - lambda) mean_i max_c q_i(c)        tau_0  = 1 / C
    p~_t(c) = lambda p~_{t-1}(c) + (1 - lambda) mean_i q_i(c)            p~_0(c) = 1 / K
    tau_t(c) = p~_t(c) / max_c' p~_t(c') tau_t

K is C, or the number of groups that classes make, such as types of entities. Their fairness loss
has no part here.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Adapted(NamedTuple):
    """Averages after a pass.

    Attributes:
        tau: Global threshold, a scalar in [0, 1].
        p_K: Local averages of the class probabilities, at least 0.
    """

    tau: Tensor
    p_K: Tensor


def untouched(num_groups: int, num_classes: int) -> Adapted:
    """What there is before the first pass: even guesses.

    Args:
        num_groups: K.
        num_classes: C.
    """
    tau = torch.tensor(1 / num_classes, dtype=torch.float64)
    return Adapted(tau, torch.full((num_groups,), 1 / num_groups, dtype=torch.float64))


def moved(earlier: Tensor, now: Tensor, momentum: float) -> Tensor:
    """Exponential moving average, momentum * earlier + (1 - momentum) * now."""
    return momentum * earlier + (1 - momentum) * now


def after_pass(earlier: Adapted, confidence_N: Tensor, q_NK: Tensor, momentum: float) -> Adapted:
    """The averages after one more pass; a pass over nothing changes none.

    Args:
        earlier: Those before it.
        confidence_N: Largest class probability of each item.
        q_NK: Probabilities of the groups.
        momentum: lambda, in [0, 1).
    """
    if not len(confidence_N):
        return earlier
    tau = moved(earlier.tau, confidence_N.double().mean(), momentum)
    return Adapted(tau, moved(earlier.p_K, q_NK.double().mean(dim=0), momentum))


def thresholds(adapted: Adapted) -> Tensor:
    """[K] thresholds tau_t(c), that of the largest average tau_t; all tau_t if all are 0."""
    largest = adapted.p_K.max()
    share_K = adapted.p_K / largest if largest > 0 else torch.ones_like(adapted.p_K)
    return share_K * adapted.tau
