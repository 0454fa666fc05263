"""A recipe on a cluster that starts with no worker, grows for each step, and shrinks after it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from cluster.local import LocalCluster, Shape
from tests.world import World
from xlt_ray.engine.nodes import Timeline

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
SHAPE = Shape(workers=0, head_cpus=1, worker_cpus=2, max_workers=2, idle_minutes=0.05)
RESOURCES = {
    "autoscale": [{"nodes": 2, "cpus": 2}],
    # Both too large for the head.
    "annotators": 2,
    "annotator_cpus": 2,
    "train_workers": 1,
    "train_cpus": 2,
}


@pytest.fixture(scope="module")
def growing() -> Iterator[LocalCluster]:
    """A head that may add two workers."""
    with pytest.MonkeyPatch.context() as patch:
        # Each node takes the machine's memory for its own, and others' use of it for a lack.
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        with LocalCluster(SHAPE) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def config(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one round."""
    folder = tmp_path_factory.mktemp("growing")
    values = world.values(folder / "store")
    values["method"] |= {"rounds": 1, "one_hot_rounds": 0, "source_epochs": 2, "final_epochs": 0}
    values["resources"] = RESOURCES
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def call(cluster: LocalCluster, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """A Python program on the cluster, to its end."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **cluster.env},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.long
def test_a_dry_run_counts_with_the_workers_that_are_not_there(growing: LocalCluster, config: Path):
    with Timeline(growing.address) as timeline:
        plan = call(growing, "jobs/cltp_wikiann.py", "--config", config, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "annotators: 2, each 2 CPUs and 0 GPUs" in plan.stdout
    assert "training: 1 workers, each 2 CPUs and 0 GPUs" in plan.stdout
    assert "at most at a time: 4 CPUs and 0 GPUs" in plan.stdout
    assert timeline.workers == [0]


@pytest.mark.long
def test_every_step_grows_the_cluster_and_gives_it_back(growing: LocalCluster, config: Path):
    """A train step of one worker, an annotate step of two, a train step; nothing between them."""
    with Timeline(growing.address, interval=0.1) as timeline:
        done = call(growing, "tests/ray/patient.py", config)
    shown = "\n".join(map(str, timeline.changes))
    print(done.stdout, shown, sep="\n")
    assert done.returncode == 0, done.stderr
    waited = re.findall(r"^(.+): no workers after", done.stdout, re.MULTILINE)
    assert waited == ["source", "round 1", "round 1"]
    grown = [max(part) for part in between_zeros(timeline.workers)]
    assert grown == [1, 2, 1]
    assert max(change.nodes.busy for change in timeline.changes) == 2


def between_zeros(numbers: list[int]) -> list[list[int]]:
    """The parts of a list that begins and ends with 0 between its zeros."""
    assert numbers[0] == numbers[-1] == 0
    parts: list[list[int]] = []
    for before, number in pairwise(numbers):
        if number and not before:
            parts.append([])
        if number:
            parts[-1].append(number)
    return parts
