"""The optimiser of a train step: its groups, its learning rate, and its state as plain tensors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xlt_ray.models.classifier import Classifier
from xlt_ray.recipe.schedule import Schedule


def warmup_then_decay(step: int, steps: int, share: float) -> float:
    """Fraction of the peak learning rate: a rise over ``share`` of the steps, then a fall to 0."""
    rising = share * steps
    if step < rising:
        return (step + 1) / max(rising, 1.0)
    return max(0.0, (steps - step) / max(steps - rising, 1.0))


def make_optimiser(
    model: Classifier, schedule: Schedule, weight_decay: float, head_lr_ratio: float = 1.0
) -> torch.optim.AdamW:
    """AdamW over what is trained of a model.

    Matrices have weight decay, biases and norms have none. What is not the encoder's has the
    schedule's rate times ``head_lr_ratio``. The objective's own parameters are in groups of their
    own where the schedule has a rate for them. ``peak`` of a group is its largest learning rate,
    ``constant`` whether it has no other.
    """
    own = own_parameters(model, schedule)
    apart = {id(parameter) for parameter in own}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in apart]
    if head_lr_ratio == 1:
        groups = _groups(others, weight_decay, schedule.lr, constant=False)
    else:
        encoder = {id(parameter) for parameter in model.encoder.parameters()}
        below = [p for p in others if id(p) in encoder]
        above = [p for p in others if id(p) not in encoder]
        groups = _groups(below, weight_decay, schedule.lr, constant=False)
        groups += _groups(above, weight_decay, schedule.lr * head_lr_ratio, constant=False)
    if own and schedule.own is not None:
        rate = schedule.own
        groups += _groups(own, rate.weight_decay, rate.lr, constant=rate.constant)
    return torch.optim.AdamW(groups, lr=schedule.lr, fused=True)


def own_parameters(model: Classifier, schedule: Schedule) -> list[nn.Parameter]:
    """The objective's own parameters, if the schedule has a rate for them."""
    if schedule.own is None or model.own is None:
        return []
    return list(model.own.parameters())


def _groups(
    parameters: Sequence[nn.Parameter], weight_decay: float, lr: float, *, constant: bool
) -> list[dict[str, Any]]:
    rate, groups = {"peak": lr, "constant": constant}, list[dict[str, Any]]()
    whole = [p for p in parameters if type(p.data) is Tensor]
    parts = [p for p in parameters if type(p.data) is not Tensor]  # one kernel takes no two kinds
    for alike in (parts, whole) if parts else (whole,):
        matrices = [p for p in alike if p.ndim > 1]
        others = [p for p in alike if p.ndim <= 1]
        groups.append({"params": matrices, "weight_decay": weight_decay, **rate})
        groups.append({"params": others, "weight_decay": 0.0, **rate})
    return groups


def flatten(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of every parameter, as ``<number>.<name>``."""
    return {
        f"{index}.{name}": value
        for index, entry in optimiser.state_dict()["state"].items()
        for name, value in entry.items()
    }


def unflatten(
    optimiser: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    fit: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """Take up what `flatten` gave.

    Args:
        optimiser: One over the same parameters.
        tensors: Its state.
        fit: Lays a tensor of the state as the parameter, its second argument, lies.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state = optimiser.state_dict()
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        parameter = parameters[int(index)]
        fitted = fit(value, parameter) if value.ndim else value.to(parameter.device)
        state["state"].setdefault(int(index), {})[name] = fitted
    optimiser.load_state_dict(state)
