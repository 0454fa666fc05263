"""What an objective said of itself while a model was trained, as figures of a mechanism."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from xlt_ray.recipe.corpus import Model


def mean_of(model: Model, name: str) -> float:
    """Mean over a training's records of a number of `Objective.progress`; nan where there is none.

    Args:
        model: The model that the training gave.
        name: Key of the number.
    """
    found = [entry["own"][name] for entry in model.history if name in entry.get("own", {})]
    return sum(found) / len(found) if found else math.nan


def means_of(models: Mapping[str, Model], name: str) -> dict[str, float]:
    """`mean_of` of several models, without those that have no such number."""
    found = {of: mean_of(model, name) for of, model in models.items()}
    return {of: value for of, value in found.items() if not math.isnan(value)}


def last_of(models: Mapping[str, Model], name: str) -> dict[str, float]:
    """A number of the last record of each model's training, where it has one."""
    last = {of: model.history[-1].get("own", {}) for of, model in models.items() if model.history}
    return {of: float(own[name]) for of, own in last.items() if name in own}


def below(figures: Mapping[str, float], least: float) -> str:
    """Names of the figures below a number, comma separated; "" if there are none."""
    return ", ".join(name for name, value in figures.items() if value < least)


def squared_gradient(term: Tensor, at: Tensor) -> Tensor:
    """Squared norm of the gradient of a loss term at something that it is computed from; 0 if it
    does not depend on that."""
    if not term.requires_grad:  # of no item
        return torch.zeros_like(term)
    (found,) = torch.autograd.grad(term, at, retain_graph=True, allow_unused=True)
    return torch.zeros_like(term) if found is None else found.double().square().sum()


def ratio_of_norms(first: float, second: float) -> dict[str, float]:
    """``gradient_ratio``, root of the ratio of two squared norms; nothing if the second is 0."""
    return {"gradient_ratio": math.sqrt(first / second)} if second else {}
