"""What a row is: examples, quarantined rows, Arrow tables and stable ids."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import pyarrow as pa

Task = Literal["token", "sentence", "pair"]


@dataclass(frozen=True, slots=True)
class Example:
    """One item of text, with its labels or without.

    Attributes:
        id: Unique over all languages and splits; never depends on the labels.
        language: Language code.
        tokens: Words of a token task, else None.
        text: Text of a sentence or pair task, else None.
        text_pair: Second text of a pair task, else None.
        labels: Class ids, one per word or one for the item; None where only text was asked for.
        file: Where it was read, relative to the benchmark's folder.
        line: Its first line or row in that file, from 1.
    """

    id: str
    language: str
    tokens: tuple[str, ...] | None
    text: str | None
    text_pair: str | None
    labels: tuple[int, ...] | int | None
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """An item that cannot be used, where it is (first offending line, from 1), and why."""

    file: str
    line: int
    reason: str


TRANSLATED = ">"
"""What ids begin with of rows that are translations of others; no language does."""

_KEY = [("id", pa.string()), ("language", pa.string())]

TEXT_SCHEMA: dict[Task, pa.Schema] = {
    "token": pa.schema([*_KEY, ("tokens", pa.list_(pa.string()))]),
    "sentence": pa.schema([*_KEY, ("text", pa.string())]),
    "pair": pa.schema([*_KEY, ("text", pa.string()), ("text_pair", pa.string())]),
}
"""Columns of the text of each task; there is no place for a label."""

_GOLD = pa.schema([*_KEY, ("labels", pa.list_(pa.int16()))])

GOLD_SCHEMA: dict[Task, pa.Schema] = {"token": _GOLD, "sentence": _GOLD, "pair": _GOLD}
"""Columns of the gold labels of each task; sentence and pair tasks have lists of length 1."""


def content_id(language: str, split: str, parts: Sequence[str], occurrence: int) -> str:
    """Name an item by its text.

    Args:
        language: Language code.
        split: Split name.
        parts: The words, or the text or texts; where they are cut matters.
        occurrence: How many equal items the split had before this one.

    Returns:
        ``language-split-`` and 16 hexadecimal digits.
    """
    digest = _digest(parts)
    digest.update(struct.pack("<Q", occurrence))
    return f"{language}-{split}-{digest.hexdigest()}"


class ContentIds:
    """The ids of one split in reading order; keeps a number of each distinct item."""

    def __init__(self, language: str, split: str):
        self._language = language
        self._split = split
        self._counts: dict[int, int] = {}

    def next(self, parts: Sequence[str]) -> str:
        """The `content_id` of the next item, which counts as an occurrence from now on."""
        digest = _digest(parts)
        key = int.from_bytes(digest.digest(), "little")
        occurrence = self._counts.get(key, 0)
        self._counts[key] = occurrence + 1
        digest.update(struct.pack("<Q", occurrence))
        return f"{self._language}-{self._split}-{digest.hexdigest()}"


def _digest(parts: Sequence[str]) -> blake2b:
    digest = blake2b(digest_size=8)
    for part in parts:
        encoded = part.encode()
        digest.update(struct.pack("<Q", len(encoded)))
        digest.update(encoded)
    return digest
