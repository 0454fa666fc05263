"""The file of a cluster's token is its owner's alone: tightened, or refused.

That one is made so with a Ray of one's own is seen in `test_local_ray`.
"""

import os
import stat
from pathlib import Path

import pytest

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import ResourcesConfig
from xlt_ray.engine import resources, token_file

MODES = (0o644, 0o640, 0o604, 0o660)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is connected to no Ray, of a user with a home of their own."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(resources.ray, "is_initialized", lambda: False)


def write(path: Path, mode: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("0" * 64)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", [".ray/auth_token", "elsewhere"])
def test_one_that_others_can_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, mode: int
) -> None:
    """Before Ray is asked for anything, which would read it."""
    path = write(tmp_path / place, mode)
    if place == "elsewhere":
        write(tmp_path / ".ray/auth_token", 0o600)
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    asked = list[str]()

    def init(address: str, **_: object) -> None:
        asked.append(address)
        raise ConnectionError

    monkeypatch.setattr(resources.ray, "init", init)
    said = f"{path}: others can read the token of the cluster; chmod 600 {path}"
    cluster = ResourcesConfig(address="127.0.0.1:1")
    with pytest.raises(ConfigError) as raised:
        resources.connect(cluster)
    assert said in str(raised.value)
    assert not asked
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="no Ray cluster"):
        resources.connect(cluster)
    assert asked == ["127.0.0.1:1"]


def test_one_that_ray_had_made_is_tightened(tmp_path: Path) -> None:
    """As a Ray of one's own does that is about to start."""
    path = write(tmp_path / ".ray/auth_token", 0o644)
    token_file.make()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "0" * 64


def test_one_that_is_missing_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the user's umask lets others do."""
    before = os.umask(0)
    try:
        token_file.make()
    finally:
        os.umask(before)
    path = tmp_path / ".ray/auth_token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(path.read_text()) == 64
