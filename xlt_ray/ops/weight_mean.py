"""The mean of weights of several models of one architecture.

Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization" (2018);
Wortsman et al., "Model soups" (2022), the uniform soup.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def mean_of_weights(tensors: Sequence[Tensor]) -> Tensor:
    """The element-wise mean of one tensor of each model.

    Sums are taken in float64, in the order given. Numbers that are not real, such as positions or
    counts, have no mean: they have to be equal.

    Args:
        tensors: At least one, all of one shape.

    Returns:
        A tensor of that shape and of the type of the first; of one tensor itself.

    Raises:
        ValueError: shapes or kinds of numbers differ, or whole numbers are not equal.
    """
    first, *others = tensors
    if any(other.shape != first.shape for other in others):
        shapes = ", ".join(str(tuple(item.shape)) for item in tensors)
        raise ValueError(f"of different shapes: {shapes}")
    if any(other.is_floating_point() != first.is_floating_point() for other in others):
        raise ValueError(f"of different types: {', '.join(str(x.dtype) for x in tensors)}")
    if not others:
        return first
    if not first.is_floating_point():
        if not all(torch.equal(first, other) for other in others):
            raise ValueError(f"{first.dtype} values differ, and have no mean")
        return first
    total = first.to(torch.float64, copy=True)
    for other in others:
        total += other.double()
    return (total / len(tensors)).to(first.dtype)
