"""Means of loss terms over all workers, for the record of a training."""

from collections.abc import Sequence

import torch
from torch import Tensor

from xlt_ray.recipe.task import TaskContext


class LossMeans:
    """Sums of named terms, each with what it is divided by.

    Args:
        names: The terms.
        context: Knows how to sum over workers.
        device: Where the terms are computed.
    """

    def __init__(self, names: Sequence[str], context: TaskContext, device: torch.device):
        self.names, self.context = tuple(names), context
        self.sums = torch.zeros(2, len(self.names), dtype=torch.float64, device=device)

    def add(self, name: str, total: Tensor, count: float | Tensor) -> None:
        """Add to a term its sum over so many items, a number that may be still on the device."""
        at = self.names.index(name)
        self.sums[0, at] += total.detach().double()
        self.sums[1, at] += count

    def take(self) -> dict[str, float]:
        """Means of all workers since the last time; the same on all of them."""
        totals, counts = self.context.total(self.sums).tolist()
        self.sums.zero_()
        return {
            name: total / max(count, 1.0)
            for name, total, count in zip(self.names, totals, counts, strict=True)
        }
