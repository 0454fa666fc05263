"""What a run asks the cluster for, and the refusal to wait for what will never come."""

import os

import pytest

from xlt_ray.config import ConfigError, ResourcesConfig
from xlt_ray.engine.cluster import settle

LAPTOP = [{"CPU": 2.0}]
EIGHT_GPUS = [{"CPU": 64.0, "GPU": 8.0}]
FOUR_NODES = [{"CPU": 4.0}] * 4


def test_laptop_trains_in_the_driver():
    plan = settle(ResourcesConfig(), LAPTOP)
    assert (plan.train_workers, plan.world) == (0, 1)
    assert plan.train_cpus == min(2, os.cpu_count() or 1)
    assert (plan.annotators.smallest, plan.annotators.largest) == (2, 2)
    assert plan.annotators.gpus == 0


def test_gpus_are_used_one_each():
    plan = settle(ResourcesConfig(), EIGHT_GPUS)
    assert (plan.train_workers, plan.train_gpus) == (8, 1.0)
    assert (plan.annotators.largest, plan.annotators.gpus) == (8, 1.0)


def test_fractions_of_gpus_and_autoscaling():
    config = ResourcesConfig(annotators=(1, 16), annotator_gpus=0.5)
    plan = settle(config, EIGHT_GPUS)
    assert (plan.annotators.smallest, plan.annotators.largest) == (1, 16)
    for share, number in ((0.5, 16), (0.1, 80), (0.3, 24), (2, 4)):  # a GPU holds 3 of 0.3
        config = ResourcesConfig(annotator_gpus=share)
        assert settle(config, EIGHT_GPUS).annotators.largest == number


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ResourcesConfig(annotators=3),
            "resources.annotators: asks for 3 of 1 CPUs .* have room for 2",
        ),
        (
            ResourcesConfig(annotators=1, annotator_gpus=1),
            "resources.annotators: asks for 1 of 0 CPUs and 1 GPUs .* room for 0",
        ),
        (
            ResourcesConfig(train_workers=2, train_cpus=2),
            "resources.train_workers: asks for 2 of 2 CPUs .* have room for 1",
        ),
        (ResourcesConfig(annotators=(3, 1)), "must be 0, or 1 <= min <= max"),
        (ResourcesConfig(annotators=(0, 2)), "must be 0, or 1 <= min <= max"),
    ],
)
def test_what_cannot_be_had_is_refused(config: ResourcesConfig, message: str):
    with pytest.raises(ConfigError, match=message):
        settle(config, LAPTOP)


def test_nothing_is_spread_over_two_nodes():
    plan = settle(ResourcesConfig(train_workers=2, annotators=1), FOUR_NODES)
    assert plan.train_cpus == 4
    assert settle(ResourcesConfig(train_workers=6, annotators=1), FOUR_NODES).train_cpus == 2
    assert settle(ResourcesConfig(annotator_cpus=3), FOUR_NODES).annotators.largest == 4
    with pytest.raises(ConfigError, match=r"asks for 1 of 8 CPUs .* have room for 0"):
        settle(ResourcesConfig(train_workers=1, train_cpus=8, annotators=1), FOUR_NODES)
