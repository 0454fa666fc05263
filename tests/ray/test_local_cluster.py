"""``cluster/local.py``: a head and workers on loopback, with a token, and nothing left behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.local import LocalCluster, Shape
from tests.world import World
from xlt_ray.engine.nodes import look

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
COUNT = "import ray; ray.init(log_to_driver=False); print(len(ray.nodes()))"
CONNECTED = "import ray; ray.init(log_to_driver=False); import sys; sys.exit(7)"


@pytest.fixture(scope="module")
def local() -> Iterator[LocalCluster]:
    """A head and one worker with GPUs that are only counted."""
    with LocalCluster(Shape(workers=1, worker_gpus=2)) as cluster:
        yield cluster


def python(program: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_head_and_worker_are_up(local: LocalCluster):
    nodes = look(local.address)
    assert (nodes.workers, nodes.busy, nodes.gpus, nodes.gpus_used) == (1, 0, 2.0, 0.0)
    done = python(COUNT, **local.env)
    assert done.stdout.strip() == "2", done.stderr


def test_nobody_connects_with_another_token(local: LocalCluster):
    wrong = python(COUNT, **{**local.env, "RAY_AUTH_TOKEN": "0" * 64})
    assert wrong.returncode != 0
    assert "AuthenticationError" in wrong.stderr


def test_every_port_is_on_loopback(local: LocalCluster):
    ours = {item.pid for item in local.processes()}
    assert len(ours) > 4
    found = {address for pid in ours for address in listening(pid)}
    assert found
    assert found <= {"0100007F", "00000000000000000000000001000000", LOOPBACK_IN_6}


LOOPBACK_IN_6 = "0000000000000000FFFF00000100007F"
"""127.0.0.1 as the kernel writes it for a socket of IPv6."""


def listening(pid: int) -> Iterator[str]:
    """Local addresses, as the kernel writes them, of a process's listening TCP sockets."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                yield fields[1].partition(":")[0]


def test_a_gpu_on_which_nothing_computes_ends_the_run(
    local: LocalCluster, world: World, tmp_path: Path
):
    """The GPUs are only counted: what asked for one does not compute on a CPU instead."""
    values = world.values(tmp_path / "store")
    values["method"] |= {"source_epochs": 1}
    gpus = {"annotators": 1, "annotator_gpus": 1}
    values["resources"] = {**gpus, "train_workers": 0, "train_cpus": 1}
    done = python("import sys; from xlt_ray.commands.cli import run_job; "
                  f"sys.exit(run_job({values!r}, argv=[]))",
                  **local.env)  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "a GPU was asked for, and PyTorch says:" in done.stderr
    assert not list((tmp_path / "store/artifacts").glob("annotation/*/manifest.json"))


def test_a_command_runs_on_the_cluster_and_its_exit_code_is_returned():
    flags = ["--workers", "0", "--timeline", "--", sys.executable, "-c", CONNECTED]
    done = subprocess.run(
        [sys.executable, "cluster/local.py", *flags],
        cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    assert "address:   127.0.0.1:" in done.stderr
    assert "head + 0 workers, 0 busy  0 of 0 GPUs in use" in done.stderr
