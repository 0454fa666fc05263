"""Words that are given one by one have the sub-words of the text that they make."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, trainers
from transformers import PreTrainedTokenizerFast

from tests import subwords as made
from xlt_ray.data.batches.subwords import pieces_of_words, running_text
from xlt_ray.data.batches.tokenise import load_tokenizer

KINDS: dict[str, Callable[..., Any]] = {
    "WordPiece": made.wordpiece,
    "Unigram with Metaspace": made.metaspace,
    "bytes": made.roberta,
    "bytes with add_prefix_space": partial(made.roberta, prefix=True),
    "bytes cut by Qwen's pattern": made.qwen,
    "BPE with Replace": made.gemma,
    "characters": made.characters,
}
SILENT = ["\u200b", "\u00ad", "\u200d", "\u0085"]
SPACED = ("ar", "bn", "de", "el", "en", "fi", "hi", "ka", "ko", "ml", "ru", "sw", "ta", "tr", "vi")


@pytest.fixture(scope="module", params=list(KINDS))
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]()


def of_words(words: Sequence[str], tokenizer: Any) -> list[list[int]]:
    return next(iter(pieces_of_words([words], tokenizer)))


def of_text(text: str, tokenizer: Any) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def flat(pieces: Iterable[Sequence[int]]) -> list[int]:
    return list(chain.from_iterable(pieces))


word = st.text(st.sampled_from("abehilnorstuABU'.,-1950é"), min_size=1, max_size=9)


@pytest.mark.slow
@given(st.lists(word, min_size=1, max_size=8))
def test_words_have_the_sub_words_of_their_text(tokenizer: Any, words: list[str]) -> None:
    found = of_words(words, tokenizer)
    assert len(found) == len(words)
    assert all(found)
    assert flat(found) == of_text(" ".join(words), tokenizer)


def test_a_word_in_the_middle_has_its_mark() -> None:
    """The pieces of "runs" after a blank are not those of "runs" at the start of a text."""
    lines = ["he runs fast and she runs far"] * 20
    for kind, mark in ((made.roberta, "Ġ"), (made.qwen, "Ġ"), (made.gemma, "▁")):
        tokenizer = kind(lines)
        first, second = of_words(["runs", "runs"], tokenizer)
        assert tokenizer.convert_ids_to_tokens(second)[0].startswith(mark)
        assert not tokenizer.convert_ids_to_tokens(first)[0].startswith(mark)


@pytest.mark.slow
@given(st.lists(st.sampled_from([*SILENT, "ab", "c", "a\u200bb"]), min_size=1, max_size=6))
def test_every_word_has_a_sub_word(tokenizer: Any, words: list[str]) -> None:
    found = of_words(words, tokenizer)
    assert len(found) == len(words)
    assert all(found)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_word_that_is_dropped_is_unknown(place: int) -> None:
    """Wherever it stands, next to others of its kind too, and alone."""
    tokenizer = made.wordpiece()
    words = ["he", "runs"]
    words[place:place] = ["\u0001", "\u200b"]
    found = of_words(words, tokenizer)
    assert found[place : place + 2] == [[tokenizer.unk_token_id]] * 2
    said = found[:place] + found[place + 2 :]
    assert flat(said) == of_text("he runs", tokenizer)
    assert of_words(["\u0001"] * 3, tokenizer) == [[tokenizer.unk_token_id]] * 3


def test_no_sentences_and_no_words(tokenizer: Any) -> None:
    assert list(pieces_of_words([], tokenizer)) == []
    assert list(pieces_of_words([[]], tokenizer)) == [[]]


def test_no_blank_is_between_characters_of_scripts_without() -> None:
    for words, text in (
        (["北", "京", "T", "r", "\uff0c", "ﾊ"], "北京Tr\uff0cﾊ"),  # a text cut into characters
        (["北京", "大学", "Human", "Rights"], "北京大学 Human Rights"),
        (["私", "は", "。"], "私は。"),
        (["ไ", "ท", "ย"], "ไทย"),
        (["ประเทศ", "ไทย"], "ประเทศ ไทย"),  # Thai has blanks, and who cut it is not known
        (["주노", "템플"], "주노 템플"),
        (["a", "b"], "a b"),
        (["(", "北京", ")"], "( 北京 )"),
    ):
        found = running_text(words)
        assert found.text == text
        assert [found.text[a:b] for a, b in zip(found.starts, found.ends, strict=True)] == words


def test_a_sub_word_over_several_characters_is_taken_apart() -> None:
    """Each character has its own sub-word, and none but the first the mark of a beginning."""
    lines = ["北京大学 在 北京", "北京 北京大学 大学 京 北 大 学"] * 20
    for kind, mark in ((made.metaspace, "▁"), (made.gemma, "▁")):
        tokenizer = kind(lines, size=60)
        assert len(of_text("北京大学", tokenizer)) < 4
        found = of_words(list("北京大学"), tokenizer)
        tokens = [tokenizer.convert_ids_to_tokens(pieces) for pieces in found]
        assert [pieces[-1].strip(mark) for pieces in tokens] == list("北京大学")
        assert not any(mark in piece for pieces in tokens[1:] for piece in pieces)
    tokenizer = made.wordpiece(["のは ですの は でです"] * 20, size=40)
    found = of_words(list("ですのは"), tokenizer)
    tokens = [tokenizer.convert_ids_to_tokens(pieces) for pieces in found]
    assert tokens == [["で"], ["##す"], ["##の"], ["##は"]]


def test_a_sub_word_over_words_with_a_blank_is_taken_apart() -> None:
    """Pieces that were learnt over blanks: no word can be read at one of them."""
    lines = ["New York is big"] * 9
    model = Tokenizer(models.BPE(unk_token="<unk>"))
    model.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=["<unk>"], show_progress=False)
    model.train_from_iterator(lines, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model, unk_token="<unk>")
    assert len(of_text(lines[0], tokenizer)) == 1
    found = of_words(lines[0].split(), tokenizer)
    said = ["".join(tokenizer.convert_ids_to_tokens(pieces)) for pieces in found]
    assert said == ["▁New", "▁York", "▁is", "▁big"]


def wikiann(folder: Path, language: str, most: int = 60) -> list[list[str]]:
    lines = (folder / "data" / "wikiann" / language / "train.txt").read_text(encoding="utf-8")
    rows = [block.split("\n") for block in lines.split("\n\n") if block.strip()]
    return [[line.split("\t")[0] for line in row if line] for row in rows[:most]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["e5-small", "mini-xlmr", *KINDS])
def test_words_of_wikiann(kind: str, shared: Path) -> None:
    """Sub-words of running text, in every language with blanks and by every tokenizer.

    Exempt are words that share a sub-word with another one, which happens where characters that the
    tokenizer does not know stand next to each other, and words that it drops.
    """
    rows = {language: wikiann(shared, language) for language in SPACED}
    lines = [" ".join(words) for found in rows.values() for words in found]
    if kind in KINDS:
        tokenizer = KINDS[kind](lines, size=2000) if kind != "characters" else KINDS[kind]()
    else:
        tokenizer = load_tokenizer(str(shared / "models" / kind))
    unknown, differ, count = tokenizer.unk_token_id, 0, 0
    for words in chain.from_iterable(rows.values()):
        found, text = of_words(words, tokenizer), running_text(words).text
        assert all(found)
        assert len(found) == len(words)
        count += 1
        if flat(found) != of_text(text, tokenizer):
            assert unknown is not None
            assert unknown in flat(found)
            differ += 1
    assert differ <= 0.01 * count
