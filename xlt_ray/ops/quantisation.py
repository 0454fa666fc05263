"""Linear layers in int8: large inputs are moved into the weights, weights have a scale per block.

A linear layer multiplies inputs [..., K] by weights [K, N]. Runtimes round both to whole numbers in
[-127, 127] times a scale, which a block of neighbouring inputs shares. A few channels of an
encoder's inputs are far larger than the others and would set the scale of their block. They are
divided, and the weights multiplied, by a factor per channel, which changes nothing in float32
(Xiao et al., 2023, SmoothQuant, equations 3 and 4).

Shapes: K inputs, N outputs, B blocks.
"""

import torch
from torch import Tensor

ALPHA = 0.5
"""Share of the largest input that is moved into the weights, as a power."""
STEPS = 127
"""Largest whole number."""
_LEAST = 1e-5
"""In place of smaller values, so that a channel without any has a factor."""


def factors(inputs_K: Tensor, weights_K: Tensor, *, alpha: float = ALPHA) -> Tensor:
    """[K] positive factors that inputs are divided by: max|x|^alpha / max|w|^(1 - alpha).

    Args:
        inputs_K: Largest absolute value of each input.
        weights_K: Largest absolute weight of each input.
        alpha: In [0, 1]; 0 leaves large inputs to the inputs, 1 moves them whole.
    """
    top_K, weight_K = inputs_K.clamp(min=_LEAST), weights_K.clamp(min=_LEAST)
    return top_K**alpha / weight_K ** (1 - alpha)


def block_of(inputs: int, most: int) -> int:
    """Inputs of a block: the largest divisor of their number that is at most ``most``."""
    return next(size for size in range(min(inputs, most), 0, -1) if inputs % size == 0)


def in_blocks(weight_KN: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Weights as whole numbers and scales; a weight differs by half a scale at most.

    Args:
        weight_KN: The weights.
        size: Inputs of a block; divides K.

    Returns:
        [K, N] int8 numbers in [-127, 127] and [B, N] scales, 1 of blocks of zeros.
    """
    parts_BSN = weight_KN.reshape(-1, size, weight_KN.shape[1])
    scales_BN = parts_BSN.abs().amax(dim=1) / STEPS
    scales_BN = torch.where(scales_BN > 0, scales_BN, torch.ones_like(scales_BN))
    small = torch.round(parts_BSN / scales_BN[:, None]).to(torch.int8)
    return small.reshape(weight_KN.shape), scales_BN
