"""Sub-words by word, and windows over long sentences."""

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.encoders import TINY
from xlt_ray.data.batches.tokenise import (
    SHAPES,
    TOKENISED,
    Window,
    load_tokenizer,
    shape_of,
    tokenise,
    windows,
)
from xlt_ray.data.benchmarks.toy import LANGUAGES, unlabelled_text
from xlt_ray.data.schema import TEXT_SCHEMA
from xlt_ray.models.pretrain import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    text = [words for language in LANGUAGES for words in unlabelled_text(language, size=40)]
    return train_tokenizer(text, settings=TINY)


def token_table(sentences: list[list[str]]) -> pa.Table:
    rows = [{"id": f"i{n}", "language": "xx", "tokens": s} for n, s in enumerate(sentences)]
    return pa.Table.from_pylist(rows, schema=TEXT_SCHEMA["token"])


def one_by_one(words: list[str], tokenizer: Any) -> list[list[int]]:
    """Each word by itself; XLM-R's pieces do not reach over spaces."""
    found = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    return [ids or [tokenizer.unk_token_id] for ids in found]


def check_alignment(sentences: list[list[str]], tokenizer: Any) -> None:
    table = tokenise(token_table(sentences), tokenizer, task="token")
    assert table.schema == TOKENISED["token"]
    assert table["id"].to_pylist() == [f"i{n}" for n in range(len(sentences))]
    for row, words in zip(table.to_pylist(), sentences, strict=True):
        expected = one_by_one(words, tokenizer)
        assert row["lengths"] == [len(ids) for ids in expected]
        assert row["pieces"] == [piece for ids in expected for piece in ids]
        assert min(row["lengths"]) > 0


def test_nobody_is_told_that_text_is_long(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    logger = logging.getLogger("transformers.tokenization_utils_base")
    monkeypatch.setattr(logger, "warning", told.append)  # who handles what it says depends on CI
    monkeypatch.setattr(tokenizer, "deprecation_warnings", {})
    long = ["word"] * (tokenizer.model_max_length + 1)
    check_alignment([long], tokenizer)
    row = {"id": "i", "language": "xx", "text": " ".join(long)}
    table = pa.Table.from_pylist([row], schema=TEXT_SCHEMA["sentence"])
    tokenise(table, tokenizer, task="sentence")
    assert not told
    tokenizer(" ".join(long))
    assert len(told) == 1


def test_words_keep_their_pieces(tokenizer: Any) -> None:
    text = [list(words) for words in unlabelled_text(LANGUAGES[2], size=20)]
    check_alignment([*text, ["\u4e2d\u6587", "x" * 70, "."], ["\U0001f600"]], tokenizer)


def test_words_keep_their_pieces_with_another_tokenizer(shared_model: Path) -> None:
    sentences = [
        ["\u200b", "Jos\u00e9", "(", "\u5317\u4eac", ")", "\u00ad", "\u0e01\u0e32\u0e23"],
        ["\u200d"],
        ["U.S.", "e\u0301tat", "\ufb01n", "\u2026", "\u00bd"],
    ]
    check_alignment(sentences, load_tokenizer(str(shared_model)))


def test_no_rows(tokenizer: Any) -> None:
    for task in ("token", "sentence", "pair"):
        table = tokenise(TEXT_SCHEMA[task].empty_table(), tokenizer, task=task)
        assert table.schema == TOKENISED[task]
        assert len(table) == 0


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("NATO", "upper"), ("A", "upper"), ("rivi\u00e8re", "lower"), ("Paris", "title"),
        ("Jean-Paul", "title"), ("McDonald", "other"), ("1984", "digit"), ("\u0663", "digit"),
        ("F1", "upper"), ("\u5317\u4eac", "other"), ("-", "other"), ("\u200b", "other"),
    ],
)  # fmt: skip
def test_how_words_are_written(tokenizer: Any, word: str, shape: str) -> None:
    assert SHAPES[shape_of(word)] == shape
    (row,) = tokenise(token_table([["x", word]]), tokenizer, task="token").to_pylist()
    assert row["shapes"] == [SHAPES.index("lower"), SHAPES.index(shape)]


def test_texts_and_pairs(tokenizer: Any) -> None:
    rows = [{"id": "a", "language": "xx", "text": "ab cd", "text_pair": "ef"}]
    alone = [tokenizer(x, add_special_tokens=False)["input_ids"] for x in ("ab cd", "ef")]
    pair = tokenise(pa.Table.from_pylist(rows), tokenizer, task="pair").to_pylist()[0]
    assert pair["pieces"] == [*alone[0], *alone[1]]
    assert pair["lengths"] == [len(alone[0]), len(alone[1])]
    text = tokenise(pa.Table.from_pylist(rows), tokenizer, task="sentence").to_pylist()[0]
    assert (text["pieces"], text["lengths"]) == (alone[0], [len(alone[0])])


@given(st.lists(st.integers(1, 12), min_size=1, max_size=40), st.integers(1, 16))
def test_windows_label_every_word_once_within_the_limit(lengths: list[int], limit: int) -> None:
    found = windows(lengths, limit)
    labelled = [word for w in found for word in range(w.first, w.last)]
    assert labelled == list(range(len(lengths)))
    for window in found:
        assert window.start <= window.first <= window.last <= window.end
        assert sum(min(x, limit) for x in lengths[window.start : window.end]) <= limit
    assert len(found) == 1 or sum(min(x, limit) for x in lengths) > limit
    assert windows(np.array(lengths), limit) == found


@given(st.lists(st.integers(1, 4), min_size=1, max_size=60), st.integers(8, 16))
def test_neighbouring_windows_share_context(lengths: list[int], limit: int) -> None:
    """Words are cut off in the middle of what two windows share, and that is some of a window."""
    for one, other in pairwise(windows(lengths, limit)):
        assert one.start < other.start < one.end < other.end
        after, before = one.end - one.last, other.first - other.start
        assert abs(after - before) <= 1
        shared = sum(lengths[other.start : one.end])
        assert limit // 2 - 4 <= shared <= limit // 2


def test_windows_by_hand() -> None:
    """Ten words of one piece, windows of four, half of each shared with the next."""
    assert windows([1] * 4, 4) == [Window(0, 4, 0, 4)]
    assert windows([1] * 10, 4) == [
        Window(0, 4, 0, 3),
        Window(2, 6, 3, 5),
        Window(4, 8, 5, 7),
        Window(6, 10, 7, 10),
    ]


def test_a_word_longer_than_a_window_has_one_of_its_own() -> None:
    assert windows([1, 9, 1], 4) == [Window(0, 1, 0, 1), Window(1, 2, 1, 2), Window(2, 3, 2, 3)]
