"""Sub-words of words that are given one by one: those of the text that the words make.

Tokenizers mark the beginning of a word in many ways, and most of them by the blank before it. So
the words are put together to a text, the text is tokenised, and every sub-word goes to the word
that its characters are of; a blank goes to the word after it. Between words is one blank, and none
between characters of scripts that are written without.

Where a sub-word reaches over several words, as "北京" does where every character is a word, none of
them would have sub-words of its own. Those words are tokenised by themselves, with a blank before
them or without one as in the text.
"""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import regex
from tokenizers import Tokenizer

_CJK = r"\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}"
_TOUCHING = regex.compile(rf"[{_CJK}\uff01-\uff65]\0[{_CJK}\uff01-\uff65]")
"""Two words, with a mark between them, at characters that no blank stands between: Chinese and
Japanese, and their punctuation."""
_UNSPACED = regex.compile(
    rf"[{_CJK}\p{{scx=Thai}}\p{{scx=Lao}}\p{{scx=Khmer}}\p{{scx=Myanmar}}\p{{scx=Tibetan}}]"
)
_CHARACTER = regex.compile(r"\X")


class Text(NamedTuple):
    """Words as a running text.

    Attributes:
        text: The text.
        starts: [W] where each word begins in it.
        ends: [W] where each word ends.
    """

    text: str
    starts: np.ndarray
    ends: np.ndarray


def running_text(words: Sequence[str]) -> Text:
    """Words with one blank between them, or none.

    No blank is between Chinese or Japanese characters, and none in a row all of whose words are
    single characters, some of them of a script without blanks: a text cut into characters.
    """
    cut = _is_cut(words)
    parts, starts, ends, at = [], [], [], 0
    for number, word in enumerate(words):
        if number and not cut and not _TOUCHING.match(f"{words[number - 1][-1:]}\0{word[:1]}"):
            parts.append(" ")
            at += 1
        starts.append(at)
        parts.append(word)
        at += len(word)
        ends.append(at)
    return Text("".join(parts), np.array(starts, np.int64), np.array(ends, np.int64))


def _is_cut(words: Sequence[str]) -> bool:
    if max(map(len, words), default=0) > 8:  # no character has so many marks
        return False
    return any(map(_UNSPACED.match, words)) and all(map(_CHARACTER.fullmatch, words))


def pieces_of_words(
    sentences: Sequence[Sequence[str]], tokenizer: Any
) -> Iterator[list[list[int]]]:
    """Sub-words of each word, at least one, of each sentence.

    A word that the tokenizer drops (zero-width characters) has the unknown sub-word, or padding of
    tokenizers that know all.
    """
    unknown = tokenizer.unk_token_id
    unknown = padding_of(tokenizer) if unknown is None else unknown
    if not tokenizer.is_fast:  # it does not say where sub-words are from
        for words in sentences:
            yield [_alone(word, tokenizer) or [unknown] for word in _with_blanks(words)]
        return
    texts = [running_text(words) for words in sentences]
    if not texts:
        return
    encoded = tokenizer(
        [text.text for text in texts],
        add_special_tokens=False,
        return_offsets_mapping=True,
        truncation=False,
        verbose=False,  # that a sentence is long: it is cut into windows later
    )
    for number, (text, words) in enumerate(zip(texts, sentences, strict=True)):
        ids, places = encoded["input_ids"][number], encoded["offset_mapping"][number]
        found, across = _owned(ids, places, text)
        for word in across:
            at, blank = text.starts[word], f" {words[word]}"
            is_marked = word == 0 or text.text[at - 1] == " "
            found[word] = _alone(blank, tokenizer) if is_marked else _within(words[word], tokenizer)
        yield [pieces or [unknown] for pieces in found]


def _owned(
    ids: Sequence[int], places: Sequence[tuple[int, int]], text: Text
) -> tuple[list[list[int]], list[int]]:
    """The sub-words of each word, and the words that share one with another."""
    found: list[list[int]] = [[] for _ in text.starts]
    if not len(ids) or not found:
        return found, []
    spans = np.array(places, np.int64).reshape(-1, 2)
    last = len(found) - 1
    owner = np.searchsorted(text.ends, spans[:, 0], side="right").clip(max=last)
    # The last word that a sub-word has a character of: words begin before the sub-word's end.
    other = (np.searchsorted(text.starts, spans[:, 1], side="left") - 1).clip(min=0)
    for piece, word in zip(ids, owner.tolist(), strict=True):
        found[word].append(piece)
    shared = np.flatnonzero(other > owner).tolist()
    across = {word for n in shared for word in range(int(owner[n]), int(other[n]) + 1)}
    return found, sorted(across)


def _alone(text: str, tokenizer: Any) -> list[int]:
    return tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]


def _with_blanks(words: Sequence[str]) -> list[str]:
    """Words with the blank that follows each, so that it is not what the word is read at."""
    text, starts, ends = running_text(words)
    return [text[a:b] for a, b in zip(starts, [*starts[1:], ends[-1]], strict=True)] if text else []


def _within(word: str, tokenizer: Any) -> list[int]:
    """Sub-words as they are within a text, without the mark of a beginning."""
    backend, inner = _unmarked(tokenizer)
    found = backend.encode(word, add_special_tokens=False)
    if inner is None or not found.ids:
        return found.ids
    first = backend.token_to_id(f"{inner}{found.tokens[0]}")  # WordPiece marks what is no beginning
    return found.ids if first is None else [first, *found.ids[1:]]


@lru_cache(maxsize=2)
def _unmarked(tokenizer: Any) -> tuple[Tokenizer, str | None]:
    """A tokenizer that puts no mark of a beginning, nor a blank, before a text; and the mark of
    what is no beginning, if it has one."""
    found = json.loads(tokenizer.backend_tokenizer.to_str())
    for part in _parts(found, "pretokenizers", "pre_tokenizer"):
        if part["type"] == "Metaspace":
            part["prepend_scheme"] = "never"
        if part["type"] == "ByteLevel":
            part["add_prefix_space"] = False
    for part in _parts(found, "normalizers", "normalizer"):
        if part["type"] == "Prepend":
            part |= {"type": "Replace", "pattern": {"String": "\0"}, "content": "\0"}
            part.pop("prepend")
    inner = found["model"].get("continuing_subword_prefix") or None
    return Tokenizer.from_str(json.dumps(found)), inner


def _parts(found: dict[str, Any], several: str, name: str) -> list[dict[str, Any]]:
    """The parts of a normaliser or pre-tokenizer, which may be a sequence."""
    whole = found.get(name)
    if whole is None:
        return []
    return whole[several] if whole["type"] == "Sequence" else [whole]


def padding_of(tokenizer: Any) -> int:
    """The padding token; without one the token at the end of texts, and without that the first.

    Padding is hidden from the model, so which token it is does not matter to what it says.
    """
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.sep_token_id):
        if token is not None:
            return int(token)
    return 0
