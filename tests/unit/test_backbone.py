"""Backbones that cannot serve are refused before anything runs."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi
from transformers import (
    CanineConfig,
    CanineModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    MT5Config,
    MT5EncoderModel,
    PreTrainedModel,
)

from tests.encoders import write_encoder
from tests.subwords import characters, llama
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.schema import Task
from xlt_ray.engine.backbone import Backbone, backbone_of, check_length
from xlt_ray.run.check import configure_run
from xlt_ray.run.steps import _detail
from xlt_ray.store.artifacts import Store


def find(folder: Path | str, *flags: str, task: Task | None = None) -> Backbone:
    values = {"benchmark": {"name": "toy"}, "backbone": str(folder), "method": {"name": "cltp"}}
    return backbone_of(configure_run(values, flags=flags), task)


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


@pytest.mark.parametrize("family", ["xlm-roberta", "camembert"])
def test_positions_start_after_the_padding(tmp_path: Path, family: str) -> None:
    config = tmp_path / "config.json"
    values = {"model_type": family, "max_position_embeddings": 514, "pad_token_id": 1}
    config.write_text(json.dumps(values))
    check_length(family, [config], 512)
    with pytest.raises(ConfigError, match="513 is more than the 512"):
        check_length(family, [config], 513)


@pytest.mark.parametrize(
    ("file", "missing"),
    [
        ("config.json", "config.json"),
        ("model.safetensors", r"\*.safetensors"),
        ("tokenizer.json", r"tokenizer.json or \*.model or vocab.txt"),
    ],
)
def test_what_a_folder_lacks_is_named(encoder: Path, file: str, missing: str) -> None:
    (encoder / file).unlink()
    with pytest.raises(ConfigError, match=rf"has no {missing}.*; there is .*tokenizer_config.json"):
        find(encoder, "train.max_length=64")
    (encoder / "sentencepiece.bpe.model").touch()
    if file == "tokenizer.json":  # it counts as one, and is none
        with pytest.raises(ConfigError, match=r"encoder: its tokenizer cannot be loaded"):
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
    with pytest.raises(ConfigError, match="nobody/nothing' at 'v1': neither a folder nor"):
        find("nobody/nothing", "backbone_revision=v1")


def test_a_revision_is_one_of_the_hub(encoder: Path) -> None:
    for name in (encoder, "toy"):
        with pytest.raises(ConfigError, match=r"backbone_revision 'v1': .* is not on the hub"):
            find(name, "backbone_revision=v1")


@pytest.mark.parametrize("revision", [None, "v1"])
def test_without_a_network_the_fetched_snapshot_is_taken(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str | None
) -> None:
    class ConnectError(Exception):
        """As the errors of the hub's client: no OSError."""

    def unreachable(self: HfApi, name: str, **options: object) -> None:
        raise ConnectError

    commit, repository = "a" * 40, tmp_path / "hub" / "models--some--encoder"
    shutil.copytree(encoder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / (revision or "main")).write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(HfApi, "model_info", unreachable)
    flags = [f"backbone_revision={revision}"] if revision else []
    assert find("some/encoder", *flags).identity == {"hub": "some/encoder", "revision": commit}

    store = Store(str(tmp_path / "store"))
    attempt = store.attempt("backbone", "one")
    short = find("some/encoder", "train.max_length=64", *flags)
    assert short.write(attempt) == {"origin": "some/encoder", "revision": commit}
    assert attempt.has("model.safetensors")
    with pytest.raises(ConfigError, match="128 is more than the 64 sub-words"):
        find("some/encoder", *flags).write(store.attempt("backbone", "two"))
    assert store.find("backbone", "two") is None
    with pytest.raises(ConfigError, match="neither a folder nor"):
        find("some/encoder", "backbone_revision=v2")


def test_the_toy_backbone_depends_on_its_generator() -> None:
    found = find("toy")
    assert {"xlt_ray.data.benchmarks.toy", "xlt_ray.models.pretrain"} <= set(found.modules)
    assert found.identity["threads"] == 1


def test_a_folder_that_was_edited_meanwhile_is_not_taken(encoder: Path, tmp_path: Path) -> None:
    """Its name in the store is that of the bytes that were there before."""
    found = find(encoder, "train.max_length=64")
    path = encoder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    attempt = Store(str(tmp_path / "store")).attempt("backbone", "b")
    with pytest.raises(ValueError, match=r"model\.safetensors: has changed while the run was"):
        found.write(attempt)
    find(encoder, "train.max_length=64").write(attempt)


def write_tiny(folder: Path, model: PreTrainedModel) -> Path:
    """An encoder with a tokenizer of characters."""
    characters().save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_family_without_a_class_for_the_task_is_refused(tmp_path: Path) -> None:
    config = Gemma3TextConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, head_dim=8,
        num_key_value_heads=1, intermediate_size=8, max_position_embeddings=256,
    )  # fmt: skip
    folder = write_tiny(tmp_path / "gemma", Gemma3TextModel(config))
    shutil.copy(write_encoder(tmp_path / "other") / "tokenizer.json", folder)
    (folder / "tokenizer_config.json").unlink()
    said = r"no class for token classification of the family gemma3_text; tested families .* bert,"
    with pytest.raises(ConfigError, match=said):
        find(folder, task="token")
    find(folder, task="pair")
    find(folder)  # spans are read with the bare encoder


@pytest.mark.slow
def test_an_encoder_alone_reads_no_texts(tmp_path: Path) -> None:
    config = MT5Config(vocab_size=30, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    folder = write_tiny(tmp_path / "mt5", MT5EncoderModel(config))
    shutil.copy(write_encoder(tmp_path / "other") / "tokenizer.json", folder)
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ConfigError, match="MT5EncoderModel is an encoder alone"):
        find(folder, task="sentence")
    find(folder, task="token")


@pytest.mark.slow
def test_a_tokenizer_of_characters_needs_no_files(tmp_path: Path) -> None:
    config = CanineConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        num_hash_buckets=16, max_position_embeddings=256,
    )  # fmt: skip
    find(write_tiny(tmp_path / "canine", CanineModel(config)), task="token")


def test_a_tokenizer_without_padding_says_what_is_taken(tmp_path: Path) -> None:
    """The token that ends texts; an encoder with one says nothing."""
    store = Store(str(tmp_path / "store"))
    folder = write_encoder(tmp_path / "encoder")
    short = "train.max_length=32"
    assert find(folder, short).write(store.attempt("backbone", "a")) == {"origin": "encoder"}
    llama().save_pretrained(folder)
    said = find(folder, short).write(store.attempt("backbone", "b"))
    assert said == {"origin": "encoder", "padding": "<|end|>"}
    assert _detail(said) == "no padding token, <|end|> is taken"
