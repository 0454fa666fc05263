"""A Ray of a process's own: what is left out and ended there, and nowhere else."""

import subprocess
import sys
from typing import Any

import pytest
from ray.util import list_named_actors

from xlt_ray.engine import own_ray
from xlt_ray.engine.corpora import each
from xlt_ray.engine.gate import NAME, right_to

pytestmark = pytest.mark.ray

PROGRAM = """
import time
from xlt_ray.engine.environment import prepare
prepare(local=True)
from xlt_ray.config import ResourcesConfig
from xlt_ray.engine.cluster import connect
from xlt_ray.engine import own_ray
from xlt_ray.engine.own_ray import data_runs, dismiss_helpers, is_own, quiet
from tests.ray.test_own_ray import helpers, names, squares
from xlt_ray.engine.gate import NAME, right_to
assert not is_own()
assert connect(ResourcesConfig(num_cpus=1))
assert is_own()
dismiss_helpers()  # there are none
assert squares() == [0, 1, 4]
assert len(helpers()) == 2, names()
with data_runs():
    dismiss_helpers()
assert len(helpers()) == 2
own_ray.PATIENCE = 0.1
with quiet():
    pass
assert len(helpers()) == 2
with quiet():
    time.sleep(3)
assert not helpers()
assert squares() == [0, 1, 4]
assert len(helpers()) == 2
with right_to("a step"):
    assert NAME not in names()
print("done")
"""


def names() -> set[str]:
    """Named actors of the cluster."""
    named: list[Any] = list_named_actors(all_namespaces=True)
    return {item["name"] for item in named}


def helpers() -> set[str]:
    """Those of Ray Data."""
    return names() & set(own_ray.HELPERS)


def squares() -> list[int]:
    """Something for Ray Data to do."""
    rows = each([{"number": number} for number in range(3)], lambda row: {"x": row["number"] ** 2})
    return sorted(row["x"] for row in rows)


@pytest.mark.slow
def test_helpers_go_and_come_back_in_a_ray_of_ones_own():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["done"], done.stderr


@pytest.mark.usefixtures("ray_cluster")
def test_nothing_is_ended_in_the_ray_of_others():
    assert not own_ray.is_own()
    assert squares() == [0, 1, 4]
    there = helpers()
    assert len(there) == 2
    own_ray.dismiss_helpers()
    assert helpers() == there
    with right_to("a step"):
        assert NAME in names()
