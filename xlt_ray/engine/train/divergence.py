"""Whether a training still has numbers: the first step without is known, and ends it."""

import torch
from torch import Tensor


class Divergence:
    """Remembers the first optimiser step whose gradient was not finite, without waiting for it.

    Args:
        device: Where the gradients are.
    """

    def __init__(self, device: torch.device):
        self._first = torch.full((), -1, dtype=torch.int64, device=device)
        self._rate = torch.zeros((), dtype=torch.float64, device=device)

    def note(self, step: int, rate: float, norm: Tensor) -> None:
        """Look at a step.

        Args:
            step: Its number, from 0.
            rate: Its learning rate.
            norm: [] norm of its gradient, the same on all workers.
        """
        begins = (self._first < 0) & ~norm.isfinite()
        self._first = torch.where(begins, step, self._first)
        self._rate = torch.where(begins, rate, self._rate)

    def check(self) -> None:
        """Raise ValueError if there was such a step."""
        if (first := int(self._first)) >= 0:
            raise ValueError(
                f"the training diverged: the gradient of step {first + 1}, at a learning rate of "
                f"{float(self._rate):.3g}, is not finite; use a smaller rate"
            )
