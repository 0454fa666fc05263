"""Means of terms over all workers, for the record of a training, and objectives that keep some."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from xlt_ray.models.classifier import Classifier
from xlt_ray.recipe.objective import Objective
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


class RecordedObjective(Objective):
    """An objective that records means of some terms with every source-dev score.

    Its losses add to ``means``; what is added since the last score is checkpointed.
    """

    terms: ClassVar[tuple[str, ...]]
    """Names of the terms."""

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Start the sums for the record."""
        self.means = LossMeans(self.terms, context, next(model.parameters()).device)

    def progress(self) -> dict[str, Any]:
        """Mean of each term since the last time."""
        return self.means.take()

    def state_dict(self) -> dict[str, Tensor]:
        """The sums for the record."""
        return {"sums": self.means.sums}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the tensors of a checkpoint."""
        self.means.sums.copy_(state["sums"])
