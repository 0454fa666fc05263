"""Training that gives the same bytes each time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from xlt_ray.engine.environment import CUBLAS


@contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """PyTorch's deterministic algorithms, if wanted; the process is as it was after the block.

    Memory is not filled before it is written, as PyTorch does then: no kernel here reads it before.
    """
    for name, value in CUBLAS.items():  # of workers that no driver has prepared
        os.environ.setdefault(name, value)
    settings: Any = torch.utils.deterministic  # its stubs know nothing of this
    before = torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=True)
        settings.fill_uninitialized_memory = before[1]
