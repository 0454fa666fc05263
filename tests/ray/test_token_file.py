"""The file of a cluster's token is its owner's alone: made so, tightened, or refused."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

CONNECT = """
import os, sys
from xlt_ray.engine.environment import prepare
prepare(local=False)
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import ResourcesConfig
from xlt_ray.engine.resources import connect
for mode in map(int, sys.argv[3:]):
    os.chmod(sys.argv[2], mode)
    try:
        connect(ResourcesConfig(address=sys.argv[1]))
    except ConfigError as error:
        print(error)
"""
START = """
import os
os.umask(0o022)
from xlt_ray.engine.environment import prepare
prepare(local=True)
from xlt_ray.config.schema import ResourcesConfig
from xlt_ray.engine.resources import connect
from xlt_ray.engine.local_ray import leave, needed
connect(ResourcesConfig(num_cpus=1))
needed()
import ray
print(ray.get(ray.remote(num_cpus=1)(lambda: os.umask(0)).remote()))
leave()
"""
MAKE = """
import os
os.umask(0o022)
from xlt_ray.engine import token_file
token_file.make()
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables of a user whose Ray is a fresh one, with a home of their own."""
    ours = ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")
    env = {key: value for key, value in os.environ.items() if key not in ours}
    short = tempfile.mkdtemp(prefix="xlt-", dir="/tmp")  # Ray keeps Unix sockets in there
    yield {**env, "HOME": str(tmp_path), "RAY_TMPDIR": short, "CUDA_VISIBLE_DEVICES": ""}
    shutil.rmtree(short, ignore_errors=True)


def call(program: str, env: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write(path: Path, mode: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("0" * 64)
    path.chmod(mode)
    return path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


MODES = (0o644, 0o640, 0o604, 0o660)


def test_one_that_others_can_read_is_refused(home: dict[str, str], tmp_path: Path) -> None:
    path = write(tmp_path / ".ray/auth_token", 0o600)
    elsewhere = write(tmp_path / "elsewhere", 0o600)
    for one, env in ((path, {}), (elsewhere, {"RAY_AUTH_TOKEN_PATH": str(elsewhere)})):
        said = call(CONNECT, home | env, "127.0.0.1:1", str(one), *map(str, MODES)).splitlines()
        asked = f"{one}: others can read the token of the cluster; chmod 600 {one}"
        assert [asked in line for line in said] == [True] * len(MODES)
        one.chmod(0o600)


def test_that_of_a_ray_of_ones_own_is_made_for_its_owner_alone(
    home: dict[str, str], tmp_path: Path
) -> None:
    """And workers make their files as the user's umask has it."""
    assert call(START, home) == str(0o022)
    path = tmp_path / ".ray/auth_token"
    assert mode_of(path) == 0o600
    assert mode_of(path.parent) == 0o700
    token = path.read_text()
    assert len(token) == 64


def test_one_that_ray_had_made_is_tightened(home: dict[str, str], tmp_path: Path) -> None:
    """As a Ray of one's own does that is about to start."""
    path = write(tmp_path / ".ray/auth_token", 0o644)
    call(MAKE, home)
    assert mode_of(path) == 0o600
    assert path.read_text() == "0" * 64
