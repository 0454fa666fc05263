"""Where the weights of a training lie: whole on each worker, or a part of each on every one.

Whole weights are those of one process or of PyTorch's DistributedDataParallel; `sharding` has the
others.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from xlt_ray.engine.train.workers import Workers
from xlt_ray.models.classifier import Classifier


class Placement:
    """Every worker has the whole model; a step ends with the mean of the workers' gradients.

    Args:
        workers: Who trains.
    """

    def __init__(self, workers: Workers):
        self.workers = workers
        self._replica: DistributedDataParallel | None = None

    # -- training --------------------------------------------------------------------------------

    def lay(self, model: Classifier) -> Classifier:
        """Put a model that was loaded on the CPU where this worker computes."""
        return model.to(self.workers.device)

    def wrap(self, trainee: nn.Module, *, alternates: bool) -> nn.Module:
        """What is called for a forward pass of training.

        Args:
            trainee: The model and its loss.
            alternates: Whether some steps leave parameters out.
        """
        if self.workers.world == 1:
            return trainee
        from ray.train.torch import prepare_model

        spares = {"find_unused_parameters": alternates}
        replica = prepare_model(trainee, parallel_strategy_kwargs=spares)
        assert isinstance(replica, DistributedDataParallel)
        self._replica = replica
        return replica

    @property
    def in_step(self) -> Callable[[int], int] | None:
        """How often a worker calls the model, of how often it needs it; None: just as often."""
        return None

    def last_pass(self, last: bool) -> AbstractContextManager[object]:
        """Around the passes of a step: workers exchange gradients in the last one only."""
        if self._replica is None or last:
            return nullcontext()
        return self._replica.no_sync()

    def clip(self, parameters: Sequence[nn.Parameter], most: float) -> Tensor:
        """Scale the gradients of some parameters down to a norm; returns the norm before it."""
        return torch.nn.utils.clip_grad_norm_(parameters, most)

    # -- checkpoints -----------------------------------------------------------------------------

    def part(self, tensor: Tensor) -> Tensor:
        """What this worker has of a tensor, in the same memory."""
        return tensor

    def join(self, part: Tensor, like: Tensor) -> Tensor:
        """A worker's part of a tensor as another of the same shape lies on the workers."""
        return part.to(like.device)

    def writes(self, name: str) -> str | None:
        """Name of this worker's file of weights in a checkpoint; None: another worker writes it."""
        return name if self.workers.rank == 0 else None

    def reads(self, name: str) -> str:
        """Name of the file of weights that this worker resumes from."""
        return name

    def parts(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What this worker has of some tensors."""
        return {name: self.part(value) for name, value in tensors.items()}

    def take(self, model: Classifier, parts: Mapping[str, Tensor]) -> None:
        """Give a model the weights that `parts` told of it."""
        weights = model.weights()
        assert parts.keys() == weights.keys()
        for name, value in weights.items():
            self.part(value).copy_(parts[name])

    # -- whole models ----------------------------------------------------------------------------

    def cut(self, whole: Tensor, like: Tensor) -> Tensor:
        """A whole tensor as another of the same shape lies on the workers."""
        return whole.to(like.device)

    def gather(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The whole of some tensors, on the first worker; nothing is promised on the others."""
        return dict(tensors)

    def entire(self, model: Classifier, load: Callable[[], Classifier]) -> Classifier | None:
        """A model with all its weights, on the first worker; None on the others.

        Args:
            model: The model as it lies on the workers.
            load: Gives another one of the kind, whole, on the CPU.
        """
        return model if self.workers.rank == 0 else None


def placement_of(workers: Workers, *, shard: bool) -> Placement:
    """Where the weights lie.

    Args:
        workers: Who trains.
        shard: Whether each of several workers has a part of every weight.
    """
    if not shard or workers.world == 1:
        return Placement(workers)
    from xlt_ray.engine.train.sharding import Sharded  # a second of imports

    return Sharded(workers)
