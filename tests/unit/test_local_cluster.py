"""``cluster/local.py`` as far as it needs no Ray: sizes, flags, ports, and what it ends."""

import os
import subprocess
import sys
import time

import jsonschema
import pytest
from ray.autoscaler._private.util import validate_config

from cluster.local import LocalCluster, Process, Shape, free_ports, parse, shape_of

SLEEP = "import time; time.sleep(100)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
DEAF = f"import signal; signal.signal(15, signal.SIG_IGN); {SLEEP}"
ORPHAN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}])"


def test_flags_become_a_size() -> None:
    assert shape_of(parse([])) == Shape(workers=2, max_workers=None)
    flags = "--workers 3 --gpus-per-worker 1 --cpus-per-worker 4 --head-cpus 2"
    shape = Shape(workers=3, worker_cpus=4, worker_gpus=1, head_cpus=2)
    assert shape_of(parse(flags.split())) == shape
    flags = "--autoscale --max-workers 5 --idle-minutes 0.2"
    assert shape_of(parse(flags.split())) == Shape(workers=0, max_workers=5, idle_minutes=0.2)


def test_the_command_is_what_follows_two_dashes() -> None:
    flags = parse(["--workers", "1", "--", "python", "job.py", "--workers", "7"])
    assert flags.workers == 1
    assert flags.command == ["python", "job.py", "--workers", "7"]
    assert parse([]).command == []


def test_fewer_workers_at_most_than_at_least_are_refused() -> None:
    with pytest.raises(ValueError, match="max_workers 1: below workers, 2"):
        Shape(workers=2, max_workers=1)


def test_the_autoscalers_configuration_fits_rays_schema() -> None:
    config = Shape(workers=1, worker_gpus=1, max_workers=3).autoscaling("127.0.0.1:6379")
    validate_config(config)
    worker = config["available_node_types"]["worker"]
    assert (worker["min_workers"], worker["max_workers"], config["max_workers"]) == (1, 3, 3)
    assert worker["resources"]["GPU"] == 1
    assert "GPU" not in config["available_node_types"]["ray.head.default"]["resources"]
    with pytest.raises(jsonschema.ValidationError):
        validate_config({**config, "idle_timeout": 1})


def test_ports_are_free_and_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(1024 <= port < 65536 for port in ports)


def test_a_process_is_told_from_a_later_one_of_its_number() -> None:
    own = Process.of(os.getpid())
    assert own is not None
    assert own.parent == os.getppid()
    assert own.is_running()
    assert not Process(own.pid, own.parent, own.started + 1).is_running()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert Process.of(ended.pid) is None


@pytest.mark.slow
@pytest.mark.parametrize(("program", "number"), [(PARENT, 2), (ORPHAN, 1), (DEAF, 1)])
def test_stopping_ends_what_was_started_and_nothing_else(program: str, number: int) -> None:
    """A process with a child, a process whose child outlives it, and one that ignores SIGTERM."""
    other = subprocess.Popen([sys.executable, "-c", SLEEP])
    cluster = LocalCluster(Shape(workers=0))
    try:
        cluster._run("-c", program)
        end = time.monotonic() + 60
        while len(ours := cluster.processes()) != number or not any(
            SLEEP.encode() in command(item.pid) for item in ours
        ):
            assert time.monotonic() < end, ours
            time.sleep(0.05)
        assert other.pid not in {item.pid for item in ours}
        cluster.stop(patience=1)
        assert not cluster.processes()
        assert not any(item.is_running() for item in ours)
        assert not cluster._folder.exists()
        assert other.poll() is None
    finally:
        cluster.stop(patience=1)
        other.kill()
        other.wait()


def command(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""
