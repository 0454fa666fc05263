"""Where the weights of a training lie: whole on each worker, or a part of each on every one.

Whole weights are those of one process or of PyTorch's DistributedDataParallel; `sharding` has the
others.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy, deepcopy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from xlt_ray.engine.train.seats import Seat
from xlt_ray.engine.train.workers import Workers
from xlt_ray.models.classifier import Classifier

T = TypeVar("T")


class Placement:
    """Every worker has the whole model; a step ends with the mean of the workers' gradients.

    Args:
        workers: Who trains.
    """

    def __init__(self, workers: Workers):
        self.workers = workers
        self._replica: DistributedDataParallel | None = None

    # -- training --------------------------------------------------------------------------------

    @property
    def leads(self) -> bool:
        """Whether this worker takes the steps of the weights that it has."""
        return True

    @property
    def scale(self) -> int:
        """What a worker's loss is multiplied by, so that the step has the sum of all of them."""
        return self.workers.world

    def own(self, name: str, make: Callable[[], T]) -> T:
        """Something of the process: what this worker makes, or what the one that leads has made.

        Args:
            name: What it is called among the workers of the process.
            make: Makes it.
        """
        return make()

    def lay(self, model: Classifier) -> Classifier:
        """Put a model that was loaded on the CPU where this worker computes."""
        return model.to(self.workers.device)

    def seen(self, model: Classifier) -> Classifier:
        """The model as an objective sees it, which may change what is not trained of its part."""
        return model

    def renew(self) -> None:
        """Called after the weights were replaced: have the objective see the new ones."""

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

    def exchange(self, model: Classifier) -> None:
        """Called after the passes of a step: exchange gradients that are not exchanged yet."""

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


class Seated(Placement):
    """The seats of a process have one model between them, and one of them takes its steps.

    Args:
        seat: One of them.
        shared: What the process has, by name; the same for all of its seats.
    """

    def __init__(self, seat: Seat, shared: dict[str, Any]):
        super().__init__(seat)
        self.seat, self._shared = seat, shared
        self._parts: tuple[nn.Module, nn.Module] | None = None

    @property
    def leads(self) -> bool:
        """Whether it is the first of its process."""
        return self.seat.leads

    @property
    def scale(self) -> int:
        """Gradients are summed."""
        return 1

    def own(self, name: str, make: Callable[[], T]) -> T:
        """What the first seat of the process has made."""
        if self.leads:
            self._shared[name] = make()
        return self._shared[name]

    def seen(self, model: Classifier) -> Classifier:
        """Seats share what is trained of the objective's part. The rest each keeps up by itself, as
        a worker with a process of its own does."""
        if self.leads or model.own is None:
            return model
        trained = {id(item): item for item in model.own.parameters() if item.requires_grad}
        own = deepcopy(model.own, trained)
        found = copy(model)
        found.__dict__["_modules"] = {**model._modules, "own": own}
        self._parts = model.own, own
        return found

    def renew(self) -> None:
        """Take over what is not trained."""
        if self._parts is not None:
            whole, own = self._parts
            own.load_state_dict(whole.state_dict())

    def wrap(self, trainee: nn.Module, *, alternates: bool) -> nn.Module:
        """The model and its loss, as they are."""
        return trainee

    def exchange(self, model: Classifier) -> None:
        """Sum the gradients of all seats, in the order of their tree."""
        self.seat.sum_gradients([item for item in model.parameters() if item.requires_grad])


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
