"""Rows of the model are those that the tokenizer itself makes of the texts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests import subwords as made
from tests.encoders import tokenised
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import InputLayout, is_causal, layout_in, layout_of, longest_input
from xlt_ray.data.batches.tokenise import tokenise
from xlt_ray.data.schema import TEXT_SCHEMA, Task

KINDS: dict[str, Callable[[], Any]] = {
    "BERT": made.wordpiece,
    "XLM-R": made.metaspace,
    "T5": made.t5,
    "DeBERTa": made.deberta,
    "RoBERTa": made.roberta,
    "Qwen": made.qwen,
    "Llama": made.llama,
    "EuroBERT": made.eurobert,
    "Gemma": made.gemma,
    "mmBERT": lambda: made.gemma(ends=True),
    "CANINE": made.characters,
}
WORDS = [["he", "runs"], ["in", "the", "house", "of", "1950"], ["a"]]
XMOD = {
    "model_type": "xmod", "adapter_reduction_factor": 2, "languages": ["en_XX", "sw_KE", "zh_CN"],
}  # fmt: skip


@pytest.fixture(scope="module", params=list(KINDS))
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]()


@pytest.mark.slow
def test_texts_and_pairs_are_the_tokenizers_own(tokenizer: Any) -> None:
    texts = [" ".join(words) for words in WORDS]
    cases: list[tuple[Task, list[list[str]]]]
    cases = [("sentence", [texts]), ("pair", [texts, texts[::-1]])]
    for task, columns in cases:
        ids = [f"r{n}" for n in range(len(texts))]
        table = pa.table([ids, ["xx"] * len(texts), *columns], schema=TEXT_SCHEMA[task])
        layout = layout_of(tokenizer, 64, task)
        examples = examples_of(tokenise(table, tokenizer, task=task), layout)
        batch = examples.collate(range(len(texts)))
        for number, row in enumerate(zip(*columns, strict=True)):
            encoded = tokenizer(*row)
            size = len(encoded["input_ids"])
            assert batch.input_ids[number, :size].tolist() == encoded["input_ids"]
            assert batch.attention_mask[number].sum() == size == examples.longest[number]
            segments = encoded.get("token_type_ids", [0] * size)
            assert batch.segments[number, :size].tolist() == segments


def test_words_stand_between_the_same_tokens(tokenizer: Any) -> None:
    table = pa.table([list("abc"), ["xx"] * 3, WORDS], schema=TEXT_SCHEMA["token"])
    tokens = tokenise(table, tokenizer, task="token")
    batch = examples_of(tokens, layout_of(tokenizer, 64)).collate([0, 1, 2])
    first = len(layout_of(tokenizer, 64).before)
    width = batch.input_ids.shape[1]
    starts = [np.cumsum([0, *row["lengths"]])[:-1] + first for row in tokens.to_pylist()]
    wanted = np.concatenate([start + n * width for n, start in enumerate(starts)])
    assert batch.items.tolist() == wanted.tolist()
    if tokenizer.is_fast:
        own = [tokenizer(" ".join(words))["input_ids"] for words in WORDS]
        assert [row[: len(x)].tolist() for row, x in zip(batch.input_ids, own, strict=True)] == own


def test_windows_of_long_sentences_have_no_more_room(tokenizer: Any) -> None:
    layout = layout_of(tokenizer, 9)
    table = tokenised([[[20, 21], [22]] * 9])
    batch = examples_of(table, layout).collate([0])
    assert batch.attention_mask.sum(1).max() <= 9
    assert len(batch.items) == 18
    firsts = batch.input_ids.flatten()[batch.items]
    assert firsts.tolist() == [20, 22] * 9


def test_an_empty_text_is_one_token_at_least() -> None:
    """Qwen puts nothing around a text."""
    layout = layout_of(made.qwen(), 16, "sentence")
    table = pa.table([["a"], ["xx"], [""]], schema=TEXT_SCHEMA["sentence"])
    examples = examples_of(tokenise(table, made.qwen(), task="sentence"), layout)
    assert examples.collate([0]).attention_mask.tolist() == [[1, 0, 0]]
    assert examples.longest.tolist() == [1]
    words = examples_of(tokenised([[], [[5]]]), layout_of(made.qwen(), 16))
    assert words.collate([0, 1]).attention_mask.tolist() == [[1, 0, 0], [1, 0, 0]]
    assert words.collate([]).attention_mask.sum() == 1


def test_decoders_read_a_word_at_its_last_sub_word() -> None:
    sentences = [[[10, 11, 12], [13]], [[14], [15, 16]]]
    for causal, wanted in ((True, [12, 13, 14, 16]), (False, [10, 13, 14, 15])):
        config = {"model_type": "qwen3", "is_causal": causal}
        layout = layout_of(made.qwen(), 16, config=config)
        batch = examples_of(tokenised(sentences), layout).collate([0, 1])
        assert batch.input_ids.flatten()[batch.items].tolist() == wanted


def test_which_models_look_to_the_left_only() -> None:
    for config, causal in (
        ({"model_type": "llama"}, True),
        ({"model_type": "gemma3_text"}, True),
        ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, False),
        ({"model_type": "qwen3", "is_causal": False}, False),
        ({"model_type": "bert"}, False),  # which can be made a decoder, too
        ({"model_type": "eurobert"}, False),
        ({"model_type": "t5"}, False),
    ):
        assert is_causal(config) == causal, config


def test_longest_inputs() -> None:
    assert longest_input({"model_type": "t5"}) is None
    assert longest_input({"model_type": "distilbert", "max_position_embeddings": 512}) == 512
    xlmr = {"model_type": "xlm-roberta-xl", "max_position_embeddings": 514, "pad_token_id": 1}
    assert longest_input(xlmr) == 512


def test_every_row_has_the_adapter_of_its_language() -> None:
    layout = layout_of(made.metaspace(), 6, config=XMOD)
    assert layout.adapters == ("en_XX", "sw_KE", "zh_CN")
    sentences = [[[10]], [[11]] * 9, [[12]]]
    examples = examples_of(tokenised(sentences, languages=["sw", "zh-CN", "en_XX"]), layout)
    batch = examples.collate([2, 1, 0])
    assert batch.adapters is not None
    windows = int(examples.num_windows[1])
    assert windows > 1
    assert batch.adapters.tolist() == [0, *[2] * windows, 1]
    assert examples.collate([]).adapters.tolist() == [0]  # pyrefly: ignore [missing-attribute]
    assert torch.equal(batch.to(torch.device("cpu")).adapters, batch.adapters)  # pyrefly: ignore [bad-argument-type]


def test_a_language_without_an_adapter() -> None:
    """It is an error that names those that have one, or the default is taken."""
    table = tokenised([[[10]]], languages=["yo"])
    layout = layout_of(made.metaspace(), 16, config=XMOD)
    with pytest.raises(ValueError, match="no adapter for the language 'yo', there are en_XX, sw"):
        examples_of(table, layout)
    layout = layout_of(made.metaspace(), 16, config={**XMOD, "default_language": "zh_CN"})
    batch = examples_of(table, layout).collate([0])
    assert batch.adapters is not None
    assert batch.adapters.tolist() == [2]


def test_a_tokenizer_with_many_tokens_before_a_text_is_refused() -> None:
    tokenizer = made.llama()
    tokenizer.backend_tokenizer.post_processor = made.processors.TemplateProcessing(
        single="<|begin|> <|end|> $A", special_tokens=[("<|begin|>", 0), ("<|end|>", 1)]
    )
    with pytest.raises(ValueError, match="puts 2 tokens before a text and 0 after it, allowed"):
        layout_of(tokenizer, 16)


def test_a_layout_is_read_off_a_folder(tmp_path: Path) -> None:
    made.llama().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    layout = layout_in(tmp_path, 16, "pair")
    assert layout == InputLayout(
        0, None, 1, 16, 0, "pair", between=(0,), segments=False, item="last"
    )
    assert (layout.room, layout.pair_room) == (15, 14)
    assert layout.specials == {0, 1}
