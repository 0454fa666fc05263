"""The floating-point type that equations are computed in."""

import torch
from torch import Tensor


def wide(values: Tensor) -> Tensor:
    """The values as float32 if their type is narrower or integral, else as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
