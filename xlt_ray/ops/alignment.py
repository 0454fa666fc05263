"""The critic's side of domain alignment: what it sees, the gap that it measures, its penalty.

"Cross-Lingual Transfer with Class-Weighted Language-Invariant Representations", after conditional
adversarial networks (Long et al. 2018) and the zero-centred gradient penalty (Thanh-Tung et al.
2019).
"""

from typing import Any

import torch
from torch import Tensor


def outer_product(h_NK: Tensor, z_ND: Tensor) -> Tensor:
    """[N, K D] products h[c] z[j] at c D + j: the class index is the slow one."""
    return (h_NK[:, :, None] * z_ND[:, None, :]).flatten(1)


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        strength: float = ctx.strength
        return -strength * grads[0], None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """x, whose gradient is multiplied by -strength on its way back."""
    function: Any = _Reversed
    return function.apply(x, strength)


def gap(scores_N: Tensor, weights_N: Tensor, others_M: Tensor) -> Tensor:
    """Weighted mean score of the source minus the mean score of the target (I8).

    Args:
        scores_N: Scores of source items.
        weights_N: Importance weight of each one's class.
        others_M: Scores of target items.
    """
    return (weights_N * scores_N).mean() - others_M.mean()


def between(a_ND: Tensor, b_MD: Tensor, u_L: Tensor) -> Tensor:
    """[L, D] points u a + (1 - u) b, L = min(N, M); the longer side is cut."""
    size = len(u_L)
    return u_L[:, None] * a_ND[:size] + (1 - u_L[:, None]) * b_MD[:size]


def num_steps(
    *, epochs: float, rows: int, batch: int, mean_items: float, mean_source_items: float
) -> float:
    """Optimiser steps of a tagging task, not rounded: passes over the target text, longer where its
    sentences are longer than those of the source.

    Args:
        epochs: Passes.
        rows: Sentences of the target text.
        batch: Sentences of each domain in a step.
        mean_items: Mean words of a target sentence.
        mean_source_items: Mean words of a source sentence.
    """
    return epochs * rows / batch * mean_items / mean_source_items


def rate_of(rate: float, steps: int, left: float) -> float:
    """Rate of a running average that leaves no more of its start than asked, after so many steps.

    Args:
        rate: The rate otherwise, in (0, 1].
        steps: Steps of the training, at least 1.
        left: Most of the start that may be left, in (0, 1]; 1: the rate stays.
    """
    return max(rate, 1 - left ** (1 / steps))
