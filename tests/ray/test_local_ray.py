"""A Ray of a process's own: when it starts, what is left out and ended there, and nowhere else."""

import math
import os
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.util import list_named_actors

from xlt_ray.engine import local_ray as own_ray
from xlt_ray.engine.compute_lock import NAME, right_to
from xlt_ray.engine.read import map_rows

pytestmark = pytest.mark.ray

PROGRAM = """
import os, signal, time
from pathlib import Path
os.umask(0o022)
from xlt_ray.commands.predict import JOB  # imports Ray, before it is known where it will run
from xlt_ray.engine.environment import prepare
prepare(local=True)
import ray
from xlt_ray.config.schema import ResourcesConfig
from xlt_ray.engine.resources import alive, available, connect
from xlt_ray.engine import local_ray as own_ray
from xlt_ray.engine.local_ray import data_runs, dismiss_helpers, is_own, leave, needed, quiet
from tests.ray.test_local_ray import helpers, mine, names, open_ports, squares
from xlt_ray.engine.compute_lock import NAME, right_to
resources = ResourcesConfig(num_cpus=1)
needed()
assert not is_own() and not ray.is_initialized()  # nobody said that one may start
assert connect(resources)
assert is_own() and available(resources)[0]["CPU"] == 1
signal.signal(signal.SIGTERM, mine)
assert squares(seconds=1) == [0, 1, 4]
dismiss_helpers()  # there is no Ray yet
with right_to("a step"):
    assert not ray.is_initialized()
try:
    ray.put(1)
    raise SystemExit("a Ray with defaults of its own was started")
except ray.exceptions.RaySystemError:
    pass
assert squares() == [0, 1, 4]
# Workers make their files as the user's umask has it; the token is for its owner alone.
assert ray.get(ray.remote(lambda: os.umask(0o022)).remote()) == 0o022
path = Path.home() / ".ray/auth_token"
assert [path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777] == [0o600, 0o700]
assert len(path.read_text()) == 64
assert is_own() and alive()[0]["CPU"] == 1
assert open_ports() == []
assert signal.getsignal(signal.SIGTERM) is mine
assert len(helpers()) == 2, names()
with data_runs():
    dismiss_helpers()
assert len(helpers()) == 2
own_ray.PATIENCE = 0.1
with quiet():
    pass
assert len(helpers()) == 2
with quiet():
    until = time.monotonic() + 20
    while helpers() and time.monotonic() < until:
        time.sleep(0.1)
assert not helpers()
assert squares() == [0, 1, 4]
assert len(helpers()) == 2
with right_to("a step"):
    assert NAME not in names()
assert squares(seconds=1) == [0, 1, 4]
leave()
assert not is_own() and not ray.is_initialized()
print("done")
"""


def names() -> set[str]:
    """Named actors of the cluster."""
    named: list[Any] = list_named_actors(all_namespaces=True)
    return {item["name"] for item in named}


def helpers() -> set[str]:
    """Those of Ray Data."""
    return names() & set(own_ray.HELPERS)


def open_ports() -> list[str]:
    """Where this process and those that it started listen beyond loopback."""
    own = psutil.Process()
    processes = [own, *own.children(recursive=True)]
    found = {x.laddr.ip for process in processes for x in process.net_connections("tcp")
             if x.status == psutil.CONN_LISTEN}  # fmt: skip
    assert found
    return sorted(ip for ip in found if not ip_address(ip.removeprefix("::ffff:")).is_loopback)


def mine(number: int, frame: object) -> None:
    """A handler of signals."""


def squares(seconds: float = math.inf) -> list[int]:
    """Something for Ray Data to do, unless it takes few seconds."""
    items = [{"number": number} for number in range(3)]
    rows = map_rows(items, lambda row: {"x": row["number"] ** 2}, seconds)
    return sorted(row["x"] for row in rows)


@pytest.mark.slow
def test_a_ray_of_ones_own_starts_when_needed_and_its_helpers_go_and_come_back(tmp_path: Path):
    """With a token that it makes, in a home that has none."""
    gone = (
        "RAY_ENABLE_AUTO_CONNECT", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",  # set in this process
        "RAY_AUTH_TOKEN", "RAY_AUTH_MODE",
    )  # fmt: skip
    env = {key: value for key, value in os.environ.items() if key not in gone}
    env |= {"HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}  # with GPUs it starts at once
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True, text=True, timeout=120, check=False, env=env,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["done"], done.stderr


@pytest.mark.usefixtures("ray_cluster")
def test_nothing_is_ended_in_the_ray_of_others():
    assert not own_ray.is_own()
    assert squares(seconds=1) == [0, 1, 4]
    there = helpers()
    assert len(there) == 2
    own_ray.dismiss_helpers()
    assert helpers() == there
    with right_to("a step"):
        assert NAME in names()
