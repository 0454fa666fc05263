"""Pre-training of the small encoder: layout, reproducible bytes, what reloads."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from xlt_ray.data.benchmarks.toy import LANGUAGES, unlabelled_text
from xlt_ray.models.pretrain import PretrainSettings, pretrain, train_tokenizer

TINY = PretrainSettings(
    layers=1, hidden=16, heads=2, feed_forward=32, vocab_size=260, max_length=32, steps=30,
    batch_tokens=256, learning_rate=5e-3,
)  # fmt: skip


def text(size: int = 60) -> list[list[str]]:
    return [words for language in LANGUAGES for words in unlabelled_text(language, size=size)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("encoder")
    return folder, pretrain(text(), folder, settings=TINY, seed=3, threads=1)


def test_report_and_files(trained: tuple[Path, dict[str, float]]) -> None:
    folder, report = trained
    assert set(report) == {"steps", "tokens", "loss_first", "loss_last", "vocab_size"}
    assert report["steps"] == 30
    assert 0 < report["tokens"] <= 30 * 256
    assert report["loss_last"] < report["loss_first"]
    assert report["vocab_size"] <= 260
    files = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= files


@pytest.mark.slow
def test_same_inputs_give_the_same_bytes_in_another_process(
    trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    """A fresh process has other hash seeds, which the tokenizer library's trainers feel."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.unit.test_pretrain import TINY, pretrain, text\n"
        "pretrain(text(), Path(sys.argv[1]), settings=TINY, seed=3, threads=1)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True)
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "config.json"):
        assert (tmp_path / name).read_bytes() == (trained[0] / name).read_bytes(), name


def test_another_seed_gives_other_weights_and_the_same_tokenizer(
    trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    pretrain(text(), tmp_path, settings=TINY, seed=4, threads=1)
    weights, pieces = "model.safetensors", "tokenizer.json"
    assert (tmp_path / weights).read_bytes() != (trained[0] / weights).read_bytes()
    assert (tmp_path / pieces).read_bytes() == (trained[0] / pieces).read_bytes()


def test_global_random_state_and_threads_are_left_alone(tmp_path: Path) -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    settings = PretrainSettings(
        layers=1, hidden=8, heads=1, feed_forward=8, vocab_size=200, max_length=16, steps=1,
        batch_tokens=64,
    )  # fmt: skip
    pretrain(text(10), tmp_path, settings=settings, seed=0, threads=threads + 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_tokenizer_has_the_layout_of_xlm_r(trained: tuple[Path, dict[str, float]]) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(
        trained[0], local_files_only=True, trust_remote_code=False
    )
    ids = tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    assert ids == [0, 1, 2, 3, len(tokenizer) - 1]
    assert tokenizer.is_fast
    assert tokenizer.model_max_length == 32
    names = ("bos", "pad", "eos", "unk", "mask", "cls", "sep")
    assert [getattr(tokenizer, f"{name}_token_id") for name in names] == [
        0, 1, 2, 3, len(tokenizer) - 1, 0, 2,
    ]  # fmt: skip
    one, two = text()[0], text()[1]
    single = tokenizer(" ".join(one))["input_ids"]
    other = tokenizer(" ".join(two))["input_ids"]
    pair = tokenizer(" ".join(one), " ".join(two))["input_ids"]
    assert single[0] == 0
    assert single[-1] == 2
    assert pair == [*single, 2, *other[1:]]
    assert tokenizer.decode(single, skip_special_tokens=True) == " ".join(one)


def test_words_keep_their_places(trained: tuple[Path, dict[str, float]]) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(
        trained[0], local_files_only=True, trust_remote_code=False
    )
    words = text()[0]
    encoded = tokenizer(words, is_split_into_words=True)
    places = encoded.word_ids()
    assert places[0] is None
    assert places[-1] is None
    assert sorted({place for place in places if place is not None}) == list(range(len(words)))
    assert encoded["input_ids"] == tokenizer(" ".join(words))["input_ids"]


def test_every_script_is_covered(trained: tuple[Path, dict[str, float]]) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(
        trained[0], local_files_only=True, trust_remote_code=False
    )
    for words in text():
        assert 3 not in tokenizer(words, is_split_into_words=True)["input_ids"]


def test_encoder_reloads_for_fine_tuning(trained: tuple[Path, dict[str, float]]) -> None:
    model = AutoModelForTokenClassification.from_pretrained(
        trained[0],
        num_labels=7,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
    )
    assert model.config.model_type == "xlm-roberta"
    assert model.config.max_position_embeddings == 32 + 2
    assert model.config.hidden_dropout_prob == TINY.dropout
    again = AutoModelForTokenClassification.from_pretrained(
        trained[0],
        num_labels=7,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
    )
    ids = torch.tensor([[0, 5, 6, 7, 2]])
    with torch.no_grad():
        first = model.eval().roberta(ids)[0]
        second = again.eval().roberta(ids)[0]
    assert torch.equal(first, second)
    # The longest input the tokenizer allows has position ids within the table.
    assert model(torch.full((1, 32), 5)).logits.shape == (1, 32, 7)


def test_tokenizer_without_room_for_the_letters_is_refused() -> None:
    settings = PretrainSettings(vocab_size=20)
    with pytest.raises(ValueError, match="vocab_size is 20, allowed: at least"):
        train_tokenizer(text(20), settings=settings)


def test_no_sentences_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one sentence"):
        pretrain([], tmp_path, settings=TINY, seed=0, threads=1)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", 0, "steps is 0, allowed: 1 or more"),
        ("heads", 3, "hidden is 128, allowed: a multiple of heads=3"),
        ("batch_tokens", 20, "batch_tokens is 20, allowed: max_length=128 or more"),
        ("mask_share", 1.0, r"mask_share is 1\.0, allowed: 0 up to below 1"),
    ],
)
def test_wrong_settings_are_refused(name: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PretrainSettings(**{name: value})  # pyrefly: ignore [bad-argument-type]
