"""What the workers of a train step tell each other; a single worker tells nobody anything."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Workers:
    """One of the workers, as it sees the others. All of them make every call, in the same order.

    Attributes:
        rank: Its number.
        world: How many there are.
        device: Where its tensors are.
    """

    rank: int
    world: int
    device: torch.device

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor of the same shape on each worker."""
        if self.world > 1:
            dist.all_reduce(tensor := tensor.clone())
        return tensor

    def everyone(self, tensor: Tensor) -> Tensor:
        """The rows [n, ...] of all workers, in the order of their numbers."""
        if self.world == 1:
            return tensor
        own = torch.zeros(self.world, dtype=torch.int64, device=tensor.device)
        own[self.rank] = len(tensor)
        counts = self.total(own).tolist()
        padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums of numbers over the workers, in float64."""
        if self.world == 1:
            return list(values)
        return self.total(torch.tensor(values, dtype=torch.float64, device=self.device)).tolist()

    def largest(self, value: int) -> int:
        """The largest of the workers' numbers."""
        if self.world == 1:
            return value
        found = torch.tensor(value, device=self.device)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return int(found)

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.world > 1:
            dist.barrier()
