"""Leveraged weighted (LW) loss for training on candidate sets.

Wen et al., "Leveraged Weighted Loss for Partial Label Learning" (2021), with the weights of CLTP,
eq. 8. Departures: the printed weights share one denominator, here the classes in the set and those
outside are normalised apart, each with its own maximum subtracted, so that no group underflows.

Shapes: N items, C classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from xlt_ray.ops.precision import wide


class LWLoss(NamedTuple):
    """LW loss of each item: candidate_N + beta noncandidate_N."""

    loss_N: Tensor
    candidate_N: Tensor
    noncandidate_N: Tensor


def lw_weights(logits_NC: Tensor, mask_NC: Tensor) -> Tensor:
    """Weights omega: softmax within the set and, apart from it, outside (CLTP, eq. 8).

    Args:
        logits_NC: Head output f that the loss sees.
        mask_NC: Bool sets.

    Returns:
        Constant weights; each non-empty group adds up to 1.
    """
    logits_NC = wide(logits_NC.detach())
    inside_NC = logits_NC.masked_fill(~mask_NC, -torch.inf).softmax(-1)
    outside_NC = logits_NC.masked_fill(mask_NC, -torch.inf).softmax(-1)
    return torch.where(mask_NC, inside_NC, outside_NC)


def lw_loss(logits_NC: Tensor, mask_NC: Tensor, omega_NC: Tensor, *, beta: float) -> LWLoss:
    """Sum over the set of omega sigmoid(-f) plus beta times that outside of omega sigmoid(f).

    Args:
        logits_NC: Head output f, raw or as evidence.
        mask_NC: Bool sets; a gold label is a set of one class.
        omega_NC: Weights, constant for the gradient.
        beta: Weight of the classes outside, at least 0.
    """
    logits_NC = wide(logits_NC)
    omega_NC = omega_NC.detach()
    candidate_N = torch.where(mask_NC, omega_NC * (-logits_NC).sigmoid(), 0.0).sum(-1)
    noncandidate_N = torch.where(mask_NC, 0.0, omega_NC * logits_NC.sigmoid()).sum(-1)
    return LWLoss(candidate_N + beta * noncandidate_N, candidate_N, noncandidate_N)
