"""Confidence thresholds by class that follow how much of each class is learnt: FlexMatch.

Zhang et al., "FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling" (2021).
The status beta(c) of a class is how many items are confidently of it, relative to the largest
class, or to the items without a status if these are more (warm-up); the threshold of a class is

    T(c) = t0 beta(c) / (2 - beta(c)).

A class with status 0 lets in everything that is predicted to be of it. The warm-up is meant for a
status that starts at nothing and fills up step by step. After a whole pass there is nothing to fill
up: with the warm-up a threshold stays below an even guess, and keeps every item, unless one class
holds about a half of all items.
"""

from typing import NamedTuple

import torch
from torch import Tensor


def status(counts_C: Tensor, unused: Tensor | int, *, warmup: bool) -> Tensor:
    """[C] float64 status beta of the classes, in [0, 1]; all 0 if nothing was counted.

    Args:
        counts_C: Items that are confidently of each class.
        unused: Items that are not.
        warmup: Whether those count as one more class in the denominator.
    """
    counts = counts_C.double()
    largest = counts.max()
    if warmup:
        largest = torch.maximum(largest, torch.as_tensor(unused, device=counts.device).double())
    return counts / largest.clamp(min=1)


def thresholds(beta_C: Tensor, t0: float) -> Tensor:
    """[C] thresholds T(c) = t0 beta / (2 - beta)."""
    return t0 * beta_C / (2 - beta_C)


class PassThresholds(NamedTuple):
    """Thresholds of a whole prediction pass.

    Attributes:
        counts_C: Items with probability t0 or more by class.
        beta_C: Status.
        threshold_C: T(c).
        kept_N: Whether an item's probability reaches the threshold of its class.
    """

    counts_C: Tensor
    beta_C: Tensor
    threshold_C: Tensor
    kept_N: Tensor


def of_pass(
    confidence_N: Tensor,
    said_N: Tensor,
    num_classes: int,
    t0: float,
    *,
    warmup: bool = False,
    floor: float | None = None,
    is_fixed: bool = False,
) -> PassThresholds:
    """Thresholds from a whole prediction pass, and what reaches them (N8).

    Args:
        confidence_N: Largest class probability of each item.
        said_N: Its class.
        num_classes: C.
        t0: Base threshold, in (1/C, 1).
        warmup: Whether items below t0 count in the denominator.
        floor: Least threshold, in [0, t0]; None: 1/C, an even guess, which every item reaches.
        is_fixed: Every class has t0 as its threshold, whatever its status.
    """
    sure_N = confidence_N >= t0
    counts_C = torch.bincount(said_N[sure_N], minlength=num_classes)
    beta_C = status(counts_C, (~sure_N).sum(), warmup=warmup)
    if is_fixed:
        threshold_C = torch.full_like(beta_C, t0)
    else:
        threshold_C = thresholds(beta_C, t0).clamp(min=1 / num_classes if floor is None else floor)
    return PassThresholds(counts_C, beta_C, threshold_C, confidence_N >= threshold_C[said_N])


NO_STATUS = -1
"""Of an item that has never been confidently of any class."""


def learn_status(
    status_N: Tensor, index_B: Tensor, confidence_B: Tensor, said_B: Tensor, t0: float
) -> None:
    """Renew the sticky status of the items of a step, in place: those that reach t0 get their
    class, and keep it until they get another.

    Args:
        status_N: Class of every item, or -1.
        index_B: Items of the step.
        confidence_B: Their largest class probability.
        said_B: Their class.
        t0: Base threshold.
    """
    sure_B = confidence_B >= t0
    status_N[index_B[sure_B]] = said_B[sure_B]


def count_status(status_N: Tensor, num_classes: int) -> Tensor:
    """[C + 1] items by their sticky status, those without one last."""
    return torch.bincount(
        torch.where(status_N == NO_STATUS, num_classes, status_N), minlength=num_classes + 1
    )
