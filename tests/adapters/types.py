from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Json = Any
Evaluate = Callable[[dict[str, Json]], dict[str, Any]]


def double(values: Json) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
