"""Trainings on as many processes as there are nodes for: what is asked for, and what is refused."""

import os
from typing import Any

import pytest
from pydantic import ValidationError

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import MethodConfig, ResourcesConfig
from xlt_ray.engine.environment import ELASTIC, PATIENT, START_TIMEOUT
from xlt_ray.engine.resources import Plan, check_sharding, settle
from xlt_ray.engine.train import launch
from xlt_ray.engine.tune import share

TWO = [{"CPU": 1.0}, {"CPU": 1.0}]


def plan_of(workers: Any, nodes: list[dict[str, float]] = TWO) -> Plan:
    return settle(ResourcesConfig(train_workers=workers, train_cpus=1), nodes)


def test_a_range_is_of_processes_and_its_end_the_number_of_workers() -> None:
    plan = plan_of("1,4")
    assert (plan.world, plan.fewest) == (4, 1)
    assert plan.to_json()["train_processes"] == 1
    assert launch._processes(plan) == (1, 4)
    assert launch._processes(plan_of("2,2")) == 2
    assert plan.trainings == 2, "at a time, each on one of the nodes"


def test_a_number_is_what_it_was() -> None:
    plan = plan_of(2)
    assert (plan.world, plan.fewest, launch._processes(plan)) == (2, None, 2)
    assert plan.to_json()["train_processes"] == 2


def test_room_is_needed_for_the_fewest_alone() -> None:
    with pytest.raises(ConfigError, match=r"resources.train_workers: asks for 3 of 1 CPUs"):
        plan_of("3,4")
    with pytest.raises(ConfigError, match=r"resources.train_workers: asks for 4 of 1 CPUs"):
        plan_of(4)


@pytest.mark.parametrize("given", ["0,2", "3,2", -1])
def test_what_is_no_range(given: Any) -> None:
    with pytest.raises(ValidationError, match=r"train_workers: .*allowed: 0 or more, or 1 <= min"):
        ResourcesConfig(train_workers=given)


def test_parts_of_weights_and_trials_refuse_it() -> None:
    config = ResourcesConfig(train_workers=(1, 2), train_cpus=1)
    with pytest.raises(ConfigError, match=r"train.shard: .*; resources.train_workers=2"):
        check_sharding(config, plan_of("1,2"), MethodConfig(name="cltp"))
    with pytest.raises(ConfigError, match=r"train_workers: 1,2, but trials .* such as 2"):
        share(config, TWO, trials=2)


@pytest.mark.parametrize(
    ("before", "workers", "within"),
    [(PATIENT, "1,2", ELASTIC), (PATIENT, 2, PATIENT), ("77", "1,2", "77")],
)
def test_workers_do_not_wait_long_for_nodes_that_may_be_lost(
    before: str, workers: Any, within: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(START_TIMEOUT, before)
    with launch._start_timeout(plan_of(workers)):
        assert os.environ[START_TIMEOUT] == within
    assert os.environ[START_TIMEOUT] == before
