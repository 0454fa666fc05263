"""What a run asks the cluster for, and the refusal to wait for what will never come."""

import pytest

from xlt_ray.config import ConfigError, ResourcesConfig
from xlt_ray.engine.cluster import settle

LAPTOP = {"CPU": 2.0}
EIGHT_GPUS = {"CPU": 64.0, "GPU": 8.0}


def test_laptop_trains_in_the_driver():
    plan = settle(ResourcesConfig(), LAPTOP)
    assert (plan.train_workers, plan.world, plan.train_cpus) == (0, 1, 2)
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
    assert settle(ResourcesConfig(annotator_gpus=0.5), EIGHT_GPUS).annotators.largest == 16


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ResourcesConfig(annotators=3), "resources.annotators: asks for 3 CPUs, but .* has 2"),
        (ResourcesConfig(annotator_gpus=1), "resources.annotators: asks for 1 GPUs, but .* has 0"),
        (
            ResourcesConfig(train_workers=2, train_cpus=2),
            "resources.train_workers: asks for 4 CPUs, but .* has 2",
        ),
        (ResourcesConfig(annotators=(3, 1)), "must be 1 <= min <= max"),
        (ResourcesConfig(annotators=0), "must be 1 <= min <= max"),
    ],
)
def test_what_cannot_be_had_is_refused(config: ResourcesConfig, message: str):
    with pytest.raises(ConfigError, match=message):
        settle(config, LAPTOP)
