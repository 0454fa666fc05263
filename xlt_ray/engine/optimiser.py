"""The optimiser of a train step: its groups, its learning rate, and its state as plain tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from xlt_ray.methods.facts import Schedule
from xlt_ray.models.classifier import Classifier

OPTIMISER = "optimiser.safetensors"
"""State of the optimiser, kept with the model of a step that a later one goes on from."""


def warmup_then_decay(step: int, steps: int, share: float) -> float:
    """Fraction of the peak learning rate: a rise over ``share`` of the steps, then a fall to 0."""
    rising = share * steps
    if step < rising:
        return (step + 1) / max(rising, 1.0)
    return max(0.0, (steps - step) / max(steps - rising, 1.0))


def make_optimiser(model: Classifier, schedule: Schedule, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over what is trained of a model.

    Matrices have weight decay, biases and norms have none, and neither have the objective's own
    parameters where they have a learning rate of their own. ``peak`` of a group is its largest
    learning rate.
    """
    own: list[nn.Parameter] = []
    if schedule.own_lr is not None and model.own is not None:
        own = list(model.own.parameters())
    apart = {id(parameter) for parameter in own}
    decayed, plain = [], []
    for parameter in model.parameters():
        if parameter.requires_grad and id(parameter) not in apart:
            (decayed if parameter.ndim > 1 else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay, "peak": schedule.lr},
        {"params": plain, "weight_decay": 0.0, "peak": schedule.lr},
    ]
    if own:
        groups.append({"params": own, "weight_decay": 0.0, "peak": schedule.own_lr})
    return torch.optim.AdamW(groups, lr=schedule.lr, fused=True)


def flatten(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of every parameter, as ``<number>.<name>``."""
    return {
        f"{index}.{name}": value
        for index, entry in optimiser.state_dict()["state"].items()
        for name, value in entry.items()
    }


def unflatten(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], device: torch.device
) -> None:
    """Take up what `flatten` gave."""
    state = optimiser.state_dict()
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state["state"].setdefault(int(index), {})[name] = value.to(device)
    optimiser.load_state_dict(state)
