"""Backbones that cannot serve are refused before anything runs."""

import json
import shutil
from pathlib import Path

import pytest

from tests.encoders import write_encoder
from xlt_ray.cli import configure
from xlt_ray.config import ConfigError
from xlt_ray.engine.backbone import Backbone, backbone_of, check_length


def find(folder: Path | str, *flags: str) -> Backbone:
    values = {"benchmark": {"name": "toy"}, "backbone": str(folder), "method": {"name": "cltp"}}
    return backbone_of(configure(values, flags=flags))


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "encoder")


def test_longest_input_is_that_of_the_encoder(encoder: Path) -> None:
    find(encoder, "train.max_length=64")
    with pytest.raises(ConfigError, match=r"train.max_length: 65 is more than the 64 sub-words"):
        find(encoder, "train.max_length=65")


def test_positions_of_bert_start_at_zero(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "bert", "max_position_embeddings": 512}))
    check_length("bert", [config], 512)
    with pytest.raises(ConfigError, match="513 is more than the 512"):
        check_length("bert", [config], 513)


@pytest.mark.parametrize("lacking", ["config.json", "model.safetensors", "tokenizer.json"])
def test_what_a_folder_needs(encoder: Path, lacking: str) -> None:
    (encoder / lacking).unlink()
    with pytest.raises(ConfigError, match=r"needs config.json, .* and tokenizer files"):
        find(encoder, "train.max_length=64")


def test_identity_is_the_content(encoder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(encoder, tmp_path / "copy")
    short = "train.max_length=64"
    assert find(encoder, short).identity == find(copy, short).identity
    (copy / "tokenizer_config.json").write_text("{}")
    assert find(encoder, short).identity != find(copy, short).identity


def test_no_such_folder_and_no_such_model() -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        find("./nowhere")
    with pytest.raises(ConfigError, match="neither a folder nor a model that the hub gives"):
        find("nobody/nothing")
