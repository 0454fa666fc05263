"""Sub-word tokenisation with word alignment, and windows over long sentences.

A tokenised row keeps the sub-words of all its words, without special tokens, how many each word
has, and how the words are written. So it depends on the tokenizer alone; a longest input is a
matter of batching.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from xlt_ray.data.batches.subwords import pieces_of_words
from xlt_ray.data.schema import Task
from xlt_ray.data.stock import stock

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TEXT = [
    ("id", pa.string()),
    ("language", pa.string()),
    ("pieces", pa.list_(pa.int32())),
    ("lengths", pa.list_(pa.int32())),
]

TOKENISED: dict[Task, pa.Schema] = {
    "token": pa.schema([*_TEXT, ("shapes", pa.list_(pa.int8()))]),
    "sentence": pa.schema(_TEXT),
    "pair": pa.schema(_TEXT),
}
"""Columns of a tokenised corpus: ``lengths`` are sub-words per word, or per text of a pair;
``shapes`` are positions in `SHAPES`."""

SHAPES = ("other", "upper", "lower", "title", "digit")
"""How a word is written, by the first that is true of it: all its letters are upper case, or lower
case, its words begin with upper case alone, or it is of digits."""


class Window(NamedTuple):
    """Part of a sentence that fits the model: words ``start..end-1`` are read as context and words
    ``first..last-1`` are labelled here and nowhere else."""

    start: int
    end: int
    first: int
    last: int


def load_tokenizer(folder: str) -> "PreTrainedTokenizerBase":
    """The tokenizer of a local folder."""
    kind = stock("AutoTokenizer")
    return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def tokenise(table: pa.Table, tokenizer: "PreTrainedTokenizerBase", *, task: Task) -> pa.Table:
    """Turn text rows into tokenised rows.

    Words have the sub-words of the running text (`subwords`). One for which the tokenizer has none
    (zero-width characters) gets the unknown one, so every word is labelled and scored.

    Args:
        table: Rows in the text schema of the task.
        tokenizer: A tokenizer; of tokens, best a fast one, which says where sub-words are from.
        task: "token", "sentence" or "pair".
    """
    columns = [table["id"], table["language"]]
    if task == "token":
        sentences = table["tokens"].to_pylist()
        found = list(pieces_of_words(sentences, tokenizer))
        pieces = [[piece for word in words for piece in word] for words in found]
        lengths = [[len(word) for word in words] for words in found]
        more = [[[shape_of(word) for word in words] for words in sentences]]
    else:
        names = ["text"] if task == "sentence" else ["text", "text_pair"]
        texts = [table[name].to_pylist() for name in names]
        parts = [
            tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] if text else []
            for text in texts
        ]
        rows = list(zip(*parts, strict=True))
        pieces = [[piece for part in row for piece in part] for row in rows]
        lengths, more = [[len(part) for part in row] for row in rows], []
    schema = TOKENISED[task]
    made = zip([pieces, lengths, *more], schema.types[len(columns) :], strict=True)
    return pa.table([*columns, *(pa.array(*column) for column in made)], schema=schema)


def shape_of(word: str) -> int:
    """Position in `SHAPES` of how a word is written."""
    for number, holds in enumerate((str.isupper, str.islower, str.istitle, str.isdigit), start=1):
        if holds(word):
            return number
    return 0


def windows(lengths: Sequence[int] | np.ndarray, limit: int) -> list[Window]:
    """Cover a sentence with windows of at most ``limit`` sub-words.

    A word longer than that counts as ``limit`` sub-words and is cut. Neighbouring windows share
    about half a window of words as context; each shared word is labelled in the one where it
    stands farther from the edge.

    Args:
        lengths: Sub-words of each word, all at least 1.
        limit: Sub-words of a window, special tokens not counted, at least 1.
    """
    sizes = np.minimum(np.asarray(lengths, dtype=np.int64), limit)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    count = len(sizes)
    if ends[-1] <= limit:
        return [Window(0, count, 0, count)]
    spans = []
    start = 0
    while True:
        end = int(np.searchsorted(ends, ends[start] + limit, side="right")) - 1
        spans.append((start, end))
        if end == count:
            break
        step = int(np.searchsorted(ends, ends[end] - limit // 2, side="left"))
        start = min(max(step, start + 1), end)
    edges = [0]
    edges += [(before[1] + after[0]) // 2 for before, after in pairwise(spans)]
    edges.append(count)
    return [
        Window(start, end, first, last)
        for (start, end), first, last in zip(spans, edges[:-1], edges[1:], strict=True)
    ]
