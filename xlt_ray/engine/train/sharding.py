"""Weights cut up over the workers of a training, by PyTorch's FSDP2.

A worker holds a part of every weight, of its gradient and of the optimiser's state, and has a layer
whole only while it computes with it. Losses are those of whole weights but for the order in which
gradients are added up. An objective's own parameters are few, and it may look at them at any time,
so that they stay whole on each worker.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from xlt_ray.engine.train.placement import Placement
from xlt_ray.engine.train.workers import Workers
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.families import layers_of


class Sharded(Placement):
    """Every worker has a part of each weight; see `Placement` for what the methods are for.

    Args:
        workers: Who trains.
    """

    def __init__(self, workers: Workers):
        super().__init__(workers)
        self._own: list[nn.Parameter] = []

    def lay(self, model: Classifier) -> Classifier:
        """Cut the weights of a model up, a layer at a time."""
        device = self.workers.device
        mesh = init_device_mesh(device.type, (self.workers.world,))
        if model.own is not None:
            model.own.to(device)
            self._own = list(model.own.parameters())
        # Weights are cut again after each use, also after a pass without a backward one.
        for layer in layers_of(model.encoder):
            fully_shard(layer, mesh=mesh, reshard_after_forward=True)
        ignored = set(self._own)
        fully_shard(model, mesh=mesh, reshard_after_forward=True, ignored_params=ignored)
        return model

    def wrap(self, trainee: nn.Module, *, alternates: bool) -> nn.Module:
        """The model and its loss as they are: the model's layers gather their own weights."""
        return trainee

    @property
    def in_step(self) -> Callable[[int], int] | None:
        """As often as the worker that needs it most: all of them gather weights for a call."""
        return self.workers.largest

    @contextmanager
    def last_pass(self, last: bool) -> Iterator[None]:
        """Around the passes of a step: gradients are cut up after each, as whole ones would take
        the memory of all weights; those of the objective's own parameters after the last."""
        yield
        if last:
            for parameter in self._own:
                if parameter.grad is not None:
                    parameter.grad = self.workers.total(parameter.grad) / self.workers.world

    def clip(self, parameters: Sequence[nn.Parameter], most: float) -> Tensor:
        """Scale the gradients of some parameters down to a norm; returns the norm before it."""
        found = [p.grad for p in parameters if p.grad is not None]
        squares = torch.zeros(2, device=self.workers.device)  # of what is cut up, and of the rest
        for gradient in found:
            squares[int(not isinstance(gradient, DTensor))] += self.part(gradient).square().sum()
        norm = (self.workers.total(squares[0]) + squares[1]).sqrt()
        scale = (most / (norm + 1e-6)).clamp(max=1.0)
        for gradient in found:
            self.part(gradient).mul_(scale)
        return norm

    def part(self, tensor: Tensor) -> Tensor:
        """What this worker has of a tensor, in the same memory."""
        return tensor.to_local() if isinstance(tensor, DTensor) else tensor

    def join(self, part: Tensor, like: Tensor) -> Tensor:
        """A worker's part of a tensor as another of the same shape lies on the workers."""
        if not isinstance(like, DTensor):
            return part.to(like.device)
        return DTensor.from_local(
            part.to(self.workers.device),
            like.device_mesh,
            like.placements,
            run_check=False,
            shape=like.shape,
            stride=like.stride(),
        )

    def writes(self, name: str) -> str | None:
        """Every worker writes its part of the weights."""
        return f"{name}-{self.workers.rank}"

    def reads(self, name: str) -> str:
        """The part of the weights that it wrote."""
        return f"{name}-{self.workers.rank}"

    def cut(self, whole: Tensor, like: Tensor) -> Tensor:
        """A whole tensor as another of the same shape lies on the workers, who all have it."""
        if not isinstance(like, DTensor):
            return whole.to(like.device)
        placed = whole.to(self.workers.device)
        return distribute_tensor(placed, like.device_mesh, like.placements, src_data_rank=None)

    def gather(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The whole of some tensors on the CPU of the first worker, gathered one by one."""
        found: dict[str, Tensor] = {}
        for name, value in tensors.items():
            whole = value.full_tensor() if isinstance(value, DTensor) else value
            if self.workers.rank == 0:
                found[name] = whole.cpu()
        return found

    def entire(self, model: Classifier, load: Callable[[], Classifier]) -> Classifier | None:
        """A model with all its weights on the CPU of the first worker; None on the others."""
        weights = self.gather(model.weights())
        if self.workers.rank != 0:
            return None
        whole = load()
        whole.take_weights(weights)
        return whole
