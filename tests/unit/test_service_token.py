"""Where the token of a service is from, and who may read it."""

import os
import stat
from pathlib import Path

import pytest

from xlt_ray.commands.service_token import VARIABLE, file_of, own_file, token_of
from xlt_ray.config.errors import ConfigError

TOKEN = "a-token-of-more-than-16"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


def test_one_is_made_for_its_owner_alone_and_stays(home: Path) -> None:
    umask = os.umask(0)
    try:
        token = token_of(None)
    finally:
        os.umask(umask)
    path = home / "config/xlt_ray/serve-token"
    assert own_file() == file_of(None) == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) == 64
    path.chmod(0o644)
    assert token_of(None) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_that_of_the_variable_needs_no_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, TOKEN)
    assert token_of(None) == TOKEN
    assert file_of(None) is None
    assert not (home / "config").exists()


def test_that_of_a_named_file_goes_before_the_variable(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "another-token-of-more")
    path = home / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    assert token_of(str(path)) == TOKEN
    assert file_of(str(path)) == path


def test_a_named_file_that_others_can_read_is_refused(home: Path) -> None:
    path = home / "token"
    path.write_text(TOKEN)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read the token of the service; chmod 600"):
        token_of(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("text", ["", "short", "with a blank in between", "with-ä-umlaut-in-it"])
def test_what_is_no_token_is_told_without_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = home / "token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"serve\.token_file: .*16 to 512 letters") as raised:
        token_of(str(path))
    assert not text or text not in str(raised.value)
    if text:
        monkeypatch.setenv(VARIABLE, text)
        with pytest.raises(ConfigError, match=f"{VARIABLE}: a token has"):
            token_of(None)


def test_a_file_that_is_not_there_is_told(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"serve\.token_file: .*none: No such file"):
        token_of(str(home / "none"))
