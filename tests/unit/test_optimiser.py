"""The optimiser of a train step: learning rate, groups, and going on from a saved state."""

from typing import cast

import pytest
import torch
from torch import nn

from xlt_ray.engine.train.optimiser import flatten, make_optimiser, unflatten, warmup_then_decay
from xlt_ray.models.classifier import Classifier
from xlt_ray.recipe.schedule import OwnRate, Schedule


def test_the_rate_rises_and_falls_linearly() -> None:
    rates = [warmup_then_decay(step, 20, 0.1) for step in range(20)]
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert rates[-1] == pytest.approx(1 / 18)
    assert [warmup_then_decay(step, 4, 0.0) for step in range(4)] == pytest.approx(
        [1, 0.75, 0.5, 0.25]
    )


class Pair(nn.Module):
    """What an optimiser needs of a model: a layer, and perhaps a part of its objective."""

    def __init__(self, own: nn.Module | None = None):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.own = nn.Linear(3, 2), own


class Stack(nn.Module):
    """An encoder and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head, self.own = nn.Linear(3, 2), nn.Linear(2, 4), nn.Linear(2, 5)


def optimiser_of(
    model: Pair | Stack, head_lr_ratio: float = 1.0, **options: object
) -> torch.optim.AdamW:
    schedule = Schedule(0.1, 1, **options)  # type: ignore[arg-type]
    return make_optimiser(cast("Classifier", model), schedule, 0.01, head_lr_ratio)


def test_an_optimiser_goes_on_where_it_was() -> None:
    first, second = Pair(), Pair()
    inputs = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    one, two = optimiser_of(first), optimiser_of(second)

    def train(model: Pair, optimiser: torch.optim.Optimizer, batch: torch.Tensor) -> None:
        model.layer(batch).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()

    for batch in inputs[:2]:
        train(first, one, batch)
    second.load_state_dict(first.state_dict())
    saved = {name: value.clone() for name, value in flatten(one).items()}
    unflatten(two, saved, lambda value, like: value.to(like.device))
    for batch in inputs[2:]:
        train(first, one, batch)
        train(second, two, batch)
    assert torch.equal(first.layer.weight, second.layer.weight)
    assert torch.equal(first.layer.bias, second.layer.bias)
    assert [group["peak"] for group in two.param_groups] == [0.1, 0.1]


def test_matrices_decay_and_biases_do_not() -> None:
    groups = optimiser_of(Pair(nn.Linear(2, 2))).param_groups
    shapes = [[tuple(item.shape) for item in group["params"]] for group in groups]
    assert shapes == [[(2, 3), (2, 2)], [(2,), (2,)]]
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]


def test_the_objectives_part_has_a_rate_of_its_own_and_no_decay() -> None:
    own = nn.Linear(2, 2, bias=False)
    groups = optimiser_of(Pair(own), own=OwnRate(0.7)).param_groups
    assert [group["peak"] for group in groups] == [0.1, 0.1, 0.7, 0.7]
    assert groups[2]["params"] == [own.weight]
    assert groups[2]["weight_decay"] == 0.0
    assert len(groups[0]["params"]) == 1
    assert len(optimiser_of(Pair(), own=OwnRate(0.7)).param_groups) == 2


def test_the_objectives_part_may_have_decay_and_a_constant_rate() -> None:
    own = OwnRate(0.7, weight_decay=0.2, constant=True)
    groups = optimiser_of(Pair(nn.Linear(2, 2)), own=own).param_groups
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0, 0.2, 0.0]
    assert [group["constant"] for group in groups] == [False, False, True, True]


def test_what_is_frozen_is_left_out() -> None:
    model = Pair()
    model.layer.weight.requires_grad_(False)
    groups = optimiser_of(model).param_groups
    assert [len(group["params"]) for group in groups] == [0, 1]


def test_the_head_may_have_a_rate_of_its_own() -> None:
    model = Stack()
    groups = optimiser_of(model, head_lr_ratio=10, own=OwnRate(0.7)).param_groups
    peaks = {id(item): group["peak"] for group in groups for item in group["params"]}
    assert {peaks[id(item)] for item in model.encoder.parameters()} == {0.1}
    assert [peaks[id(item)] for item in model.head.parameters()] == [1.0, 1.0]
    assert {peaks[id(item)] for item in model.own.parameters()} == {0.7}
    assert len(peaks) == len(list(model.parameters())), "each parameter is in one group"
    decay = {id(item): group["weight_decay"] for group in groups for item in group["params"]}
    assert (decay[id(model.head.weight)], decay[id(model.head.bias)]) == (0.01, 0.0)
    model.encoder.requires_grad_(False)
    frozen = optimiser_of(model, head_lr_ratio=10).param_groups
    assert sum(len(group["params"]) for group in frozen) == 4
