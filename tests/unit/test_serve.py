"""The command `xlt-ray serve` without Ray: its configuration, and what it prints."""

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import xlt_ray
from tests.encoders import write_tagger
from xlt_ray.commands import main as console
from xlt_ray.commands import serve as command
from xlt_ray.commands.serve import ServeConfig, configure
from xlt_ray.commands.service_token import VARIABLE, file_of
from xlt_ray.config import extras
from xlt_ray.config.errors import ConfigError

LABELS = ("O", "B-PER", "I-PER")


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tmp_path_factory.mktemp("serve"), LABELS)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "con fig"))
    monkeypatch.delenv(VARIABLE, raising=False)


def config(tagger: Path, **keys: Any) -> ServeConfig:
    return configure({"serve": {"model": str(tagger), **keys}})


def test_the_first_word_is_the_model(
    tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["serve", str(tagger), "--set", "serve.port=0", "--set", f"store.root={tmp_path}/store"]
    assert console.main([*words, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert f"serve.model: {tagger}" in shown
    assert "labels: O, B-PER, I-PER" in shown
    assert not (tmp_path / "con fig").exists()  # a dry run makes no token
    assert console.main(["serve", "--dry-run"]) == 2
    assert "serve.model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"serve": {"model": "none"}}, r"serve\.model: 'none' is no finished run"),
        ({"serve": {"model": "TAGGER", "language": "sw"}}, r"serve\.language: .* is one model"),
        ({"serve": {"model": "TAGGER", "task": "pair"}}, r"serve\.task: .* is of a token task"),
        ({"serve": {"model": "TAGGER", "port": 70000}}, r"serve\.port: .*65535"),
        ({"serve": {"model": "TAGGER", "replicas": 0}}, r"serve\.replicas"),
        ({"serve": {"model": "TAGGER", "token": "secret"}}, r"serve\.token: unknown key"),
        (
            {"serve": {"model": "TAGGER"}, "resources": {"annotators": 2}},
            r"resources\.annotators: says nothing of a service; serve\.replicas",
        ),
    ],
)
def test_a_wrong_key_is_told(tagger: Path, keys: dict[str, Any], reason: str) -> None:
    if keys["serve"]["model"] == "TAGGER":
        keys = {**keys, "serve": {**keys["serve"], "model": str(tagger)}}
    with pytest.raises(ConfigError, match=reason):
        configure(keys)


@pytest.mark.parametrize("module", command.NEEDED)
def test_what_is_not_installed_is_told(
    tagger: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setattr(extras, "is_there", lambda name: name != module)
    reason = rf"xlt-ray serve needs {module}: pip install 'xlt-ray\[serve\]'"
    with pytest.raises(ConfigError, match=reason):
        config(tagger)


def test_another_section_is_another_service(tagger: Path) -> None:
    first = config(tagger)
    assert first.run_name == config(tagger).run_name
    assert first.run_name != config(tagger, port=8001).run_name


def test_a_stock_model_reads_no_longer_texts_than_it_can(tagger: Path) -> None:
    """Its encoder has 64 positions, and is not handed the 128 sub-words of ours."""
    assert config(tagger).finished.max_length == 64
    assert len(xlt_ray.load(str(tagger)).predict("ka lo ti " * 40).words) == 120


def test_words_end_as_in_the_run_unless_named(tagger: Path) -> None:
    assert config(tagger).words == "marks"
    assert config(tagger, words="blanks").words == "blanks"
    run = config(tagger)
    assert replace(run, finished=replace(run.finished, words="characters")).words == "characters"


def test_how_it_is_called_is_shown_without_the_token(
    tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = command._welcome(config(tagger), 8000, file_of(None))
    path = tmp_path / "con fig/xlt_ray/serve-token"
    assert lines == [
        f"serving {tagger} at http://127.0.0.1:8000; Ctrl-C stops it",
        f"token: {path}",
        f"printf 'Authorization: Bearer %s' \"$(cat '{path}')\" | curl -sS -H @- "
        '-d \'{"texts": ["Ada Lovelace lived in London."]}\' http://127.0.0.1:8000/predict',
    ]
    monkeypatch.setenv(VARIABLE, "a-token-of-more-than-16")
    shown = "\n".join(command._welcome(config(tagger), 8000, file_of(None)))
    assert "a-token-of" not in shown
    assert f"printf 'Authorization: Bearer %s' \"${VARIABLE}\"" in shown


@pytest.mark.parametrize(
    ("host", "place", "is_told"),
    [
        ("localhost", "http://localhost:1", False),
        ("::1", "http://[::1]:1", False),
        ("127.0.0.9", "http://127.0.0.9:1", False),
        ("0.0.0.0", "http://127.0.0.1:1", True),
        ("::", "http://[::1]:1", True),
        ("10.1.2.3", "http://10.1.2.3:1", True),
    ],
)
def test_an_address_that_others_reach_is_told(
    tagger: Path, host: str, place: str, is_told: bool
) -> None:
    lines = command._welcome(config(tagger, host=host), 1, None)
    assert f" at {place};" in lines[0]
    assert any("travel unencrypted" in line for line in lines) == is_told


def test_the_variable_is_not_handed_on(tagger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the processes of a Ray that is started, which begin with this one's environment."""
    monkeypatch.setenv(VARIABLE, "a-token-of-more-than-16")

    def bound(host: str, port: int) -> Any:
        assert VARIABLE not in os.environ
        raise ConfigError("far enough")

    monkeypatch.setattr(command, "_bound", bound)
    with pytest.raises(ConfigError, match="far enough"):
        command.serve(config(tagger))


def test_a_port_that_is_taken_is_told_before_anything_is_begun() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=rf"serve\.port: 127\.0\.0\.1:{port}: Address already"),
            command._bound("127.0.0.1", port),
        ):
            raise AssertionError
    with (
        pytest.raises(ConfigError, match=r"serve\.host 'no\.such\.host\.invalid'"),
        command._bound("no.such.host.invalid", 1),
    ):
        raise AssertionError
