"""What a run asks the cluster for, and the refusal to wait for what will never come."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pages import ROOT
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import DataConfig, NodeGroup, ResourcesConfig
from xlt_ray.engine import resources as cluster
from xlt_ray.engine.resources import (
    CPU_BATCH_TOKENS,
    CPU_SHARD_ROWS,
    GPU_BATCH_TOKENS,
    GPU_SHARD_ROWS,
    available,
    grown,
    settle,
)

LAPTOP = [{"CPU": 2.0}]
EIGHT_GPUS = [{"CPU": 64.0, "GPU": 8.0}]
FOUR_NODES = [{"CPU": 4.0}] * 4
HEAD = {"CPU": 6.0, "node:__internal_head__": 1.0}
GPU_NODE = {"CPU": 8.0, "GPU": 1.0}
EIGHT = (NodeGroup(nodes=8, cpus=8, gpus=1),)


def test_laptop_trains_in_the_driver():
    plan = settle(ResourcesConfig(), LAPTOP)
    assert (plan.train_workers, plan.world) == (0, 1)
    assert plan.train_cpus == min(2, os.cpu_count() or 1)
    assert (plan.annotators.smallest, plan.annotators.largest) == (2, 2)
    assert plan.annotators.gpus == 0


def test_the_driver_annotates_with_the_cpus_that_it_trains_with():
    pool = settle(ResourcesConfig(train_cpus=2), [{"CPU": 4.0}]).annotators
    assert (pool.threads, pool.spared) == (2, True)
    assert settle(ResourcesConfig(annotator_cpus=2, train_cpus=2), LAPTOP).annotators.threads == 1
    assert settle(ResourcesConfig(train_workers=1), LAPTOP).annotators.threads == 1


def test_gpus_are_used_one_each():
    plan = settle(ResourcesConfig(), EIGHT_GPUS)
    assert (plan.train_workers, plan.train_gpus) == (8, 1.0)
    assert (plan.annotators.largest, plan.annotators.gpus) == (8, 1.0)


def test_batches_are_as_large_as_the_plan_says():
    """As the key's line in ``--help`` and the page say; the configuration goes before."""
    assert settle(ResourcesConfig(), LAPTOP).batch_tokens == CPU_BATCH_TOKENS
    assert settle(ResourcesConfig(), EIGHT_GPUS).batch_tokens == GPU_BATCH_TOKENS
    for nodes in (LAPTOP, EIGHT_GPUS):
        plan = settle(ResourcesConfig(), nodes, data=DataConfig(batch_tokens=64))
        assert plan.batch_tokens == plan.to_json()["batch_tokens"] == 64
    rows = [settle(ResourcesConfig(), nodes).shard_rows for nodes in (LAPTOP, EIGHT_GPUS)]
    assert rows == [CPU_SHARD_ROWS, GPU_SHARD_ROWS]
    assert settle(ResourcesConfig(), LAPTOP, data=DataConfig(shard_rows=9)).shard_rows == 9
    line = " ".join((DataConfig.model_fields["shard_rows"].description or "").split())
    assert f"absent: {rows[0]} where CPUs annotate, {rows[1]} where GPUs do" in line
    line = " ".join((DataConfig.model_fields["batch_tokens"].description or "").split())
    assert f"absent: {CPU_BATCH_TOKENS} on CPUs, {GPU_BATCH_TOKENS} on GPUs" in line
    page = (ROOT / "docs/run.md").read_text()
    assert f"absent: {CPU_BATCH_TOKENS:,} on CPUs, {GPU_BATCH_TOKENS:,} on GPUs" in page


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


@pytest.mark.parametrize("up", [0, 1, 8])
def test_a_plan_does_not_depend_on_how_many_nodes_are_up(up: int):
    plan = settle(ResourcesConfig(autoscale=EIGHT), [HEAD, *[GPU_NODE] * up])
    assert (plan.annotators.smallest, plan.annotators.largest, plan.annotators.gpus) == (8, 8, 1.0)
    assert (plan.train_workers, plan.train_cpus, plan.train_gpus) == (8, 4, 1.0)
    assert plan.readers == 6 + 8 * up


def test_without_its_groups_a_cluster_does_not_grow():
    plan = settle(ResourcesConfig(), [HEAD])
    assert (plan.train_workers, plan.annotators.gpus, plan.most) == (0, 0.0, (6.0, 0.0))


def test_the_largest_step_is_the_most_that_is_asked_for():
    """Eight annotators hold 8 GPUs and no CPUs; eight training workers 8 GPUs and 32 CPUs; four
    workers of 2 GPUs and 3 CPUs the same GPUs and 12 CPUs, fewer than the 20 of the readers."""
    assert settle(ResourcesConfig(autoscale=EIGHT), [HEAD]).most == (32.0, 8.0)
    config = ResourcesConfig(
        autoscale=EIGHT, train_workers=0, annotator_gpus=0.5, annotators=(1, 4)
    )
    assert settle(config, [HEAD]).most == (6.0, 2.0)
    big = (NodeGroup(nodes=4, cpus=8, gpus=2),)
    config = ResourcesConfig(
        autoscale=big, train_workers=4, train_gpus=2, train_cpus=3, annotators=1
    )
    assert settle(config, [{**HEAD, "CPU": 20.0}]).most == (20.0, 8.0)
    config = ResourcesConfig(train_workers=0, annotators=3, annotator_cpus=2)
    assert settle(config, FOUR_NODES).most == (16.0, 0.0)


def test_the_limit_of_a_growing_cluster_is_checked():
    config = ResourcesConfig(autoscale=EIGHT, train_workers=9)
    with pytest.raises(ConfigError, match=r"asks for 9 of 1 CPUs and 1 GPUs each, .* room for 8"):
        settle(config, [HEAD])


def test_nodes_that_are_up_count_once():
    cpus = NodeGroup(nodes=3, cpus=8)
    both = [*EIGHT, cpus]
    assert len(grown([HEAD], both)) == 1 + 8 + 3
    assert len(grown([HEAD, GPU_NODE, GPU_NODE, {"CPU": 7.9}], both)) == 1 + 8 + 3
    assert len(grown([HEAD, *[GPU_NODE] * 9], both)) == 1 + 9 + 3, "one that is no member"
    assert grown(FOUR_NODES, ()) == FOUR_NODES


def test_a_local_ray_cannot_grow(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(ConfigError, match=r"resources.autoscale: a local Ray adds no nodes"):
        available(ResourcesConfig(autoscale=EIGHT))


def test_a_signal_while_a_local_ray_starts_is_an_interrupt(monkeypatch: pytest.MonkeyPatch):
    """Ray exits with the number of the signal, whatever was at work."""

    def init(**_: Any) -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("ray.init", init)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        cluster._start(ResourcesConfig())
    assert signal.getsignal(signal.SIGTERM) is before
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(KeyboardInterrupt):
        cluster.connect(ResourcesConfig(address="127.0.0.1:1"))
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_cpus_are_those_that_the_process_may_run_on():
    one = min(os.sched_getaffinity(0))
    program = (
        f"import os; os.sched_setaffinity(0, [{one}]); "
        "from xlt_ray.engine.environment import CPUS; print(CPUS)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["1"], done.stderr


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "max 100000"}, 64),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "9900000 100000"}, 64),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu/cpu.shares": "1024"}, 64),
        ({"cpu.max": ""}, 64),
        ({"cpu.max": "half of it"}, 64),
        ({"cpu.max/unreadable": ""}, 64),
        ({}, 64),
    ],
)
def test_a_container_may_use_a_part_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cpus: int
):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "CPUS", 64)
    monkeypatch.setattr(cluster, "CGROUPS", tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert available(ResourcesConfig())[0]["CPU"] == cpus
    assert available(ResourcesConfig(num_cpus=3))[0]["CPU"] == 3
    assert available(ResourcesConfig(address="local"))[0]["CPU"] == cpus
