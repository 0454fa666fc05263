"""Words of WikiANN whose sub-words are not those of running text, by tokenizer and language.

``python -m tests.words WIKIANN --tokenizer FOLDER`` prints a table: how many of ten thousand words
differ where each is tokenised by itself, as tokenizers do with words, and how many as it is here.
Tokenizers of other families are trained on the spot, on the same text. With ``--model FOLDER``, a
tagger that a run has trained, it prints F1 of test text that is cut into characters instead, with a
blank before every character and as it is here.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import regex
from seqeval.metrics import f1_score

import xlt_ray
from tests import subwords as made
from xlt_ray.data.batches import subwords
from xlt_ray.data.batches.subwords import pieces_of_words, running_text
from xlt_ray.data.batches.tokenise import load_tokenizer

TRAINED: dict[str, Callable[..., Any]] = {
    "WordPiece": made.wordpiece,
    "Unigram, Metaspace": made.metaspace,
    "bytes": made.roberta,
    "bytes, add_prefix_space": partial(made.roberta, prefix=True),
    "bytes cut by Qwen's pattern": made.qwen,
    "BPE, blanks replaced by ▁": made.gemma,
}
UNSPACED = ("ja", "th", "zh", "my", "lo", "km", "bo", "yue", "wuu", "zh-classical")
"""Languages of WikiANN that are cut into characters: there is no running text with blanks."""
CHARACTERS = ("zh", "ja")
"""Those of them that are scored."""


def columns(path: Path, most: int, column: int = 0) -> list[list[str]]:
    """A column of the first sentences of a file with a word and its label per line."""
    blocks = [block for block in path.read_text(encoding="utf-8").split("\n\n") if block.strip()]
    return [[x.split("\t")[column] for x in block.split("\n") if x] for block in blocks[:most]]


def differing(words: Sequence[str], tokenizer: Any) -> tuple[int, int]:
    """How many words of a sentence have other sub-words: each by itself, and here."""
    text = running_text(words)
    encoded = tokenizer(text.text, add_special_tokens=False, return_offsets_mapping=True)
    running: list[list[int]] = [[] for _ in words]
    for piece, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        at = int(np.searchsorted(text.ends, start, side="right").clip(max=len(words) - 1))
        if text.text[start:end].isspace() and at + 1 < len(words) and start >= text.ends[at]:
            at += 1
        running[at].append(piece)
    alone: list[list[int]] = [[] for _ in words]
    split = tokenizer(list(words), is_split_into_words=True, add_special_tokens=False)
    for piece, word in zip(split["input_ids"], split.word_ids(), strict=True):
        alone[word].append(piece)
    here = next(iter(pieces_of_words([words], tokenizer)))
    return (
        sum(a != b for a, b in zip(alone, running, strict=True)),
        sum(a != b for a, b in zip(here, running, strict=True)),
    )


def table(wikiann: Path, folders: Sequence[Path], most: int) -> str:
    """The table, with a line for each language and one for all."""
    names = sorted(path.name for path in wikiann.iterdir() if (path / "train.txt").is_file())
    rows = {
        name: columns(wikiann / name / "train.txt", most) for name in names if name not in UNSPACED
    }
    lines = [" ".join(words) for found in rows.values() for words in found]
    tokenizers = {folder.name: load_tokenizer(str(folder)) for folder in folders}
    tokenizers |= {name: make(lines, size=2000) for name, make in TRAINED.items()}
    shown = [
        "| language | words | " + " | ".join(tokenizers) + " |",
        "|:--|--:|" + ":-:|" * len(tokenizers),
    ]
    total = np.zeros((len(tokenizers), 2), np.int64)
    words = 0
    for name, found in rows.items():
        count = sum(map(len, found))
        counts = np.array([
            np.sum([differing(row, one) for row in found], axis=0) for one in tokenizers.values()
        ])  # fmt: skip
        shown.append(f"| {name} | {count:,} | " + _cells(counts, count))
        total, words = total + counts, words + count
    shown.append(f"| all | {words:,} | " + _cells(total, words))
    return "\n".join(shown)


def _cells(counts: np.ndarray, words: int) -> str:
    ratios = 10_000 * counts / max(words, 1)
    return " | ".join(f"{alone:,.1f} → {here:.1f}" for alone, here in ratios) + " |"


def blanks(wikiann: Path, folder: Path, most: int) -> str:
    """F1 of a tagger on text that is cut into characters, by what stands between them."""
    model, here = xlt_ray.load(str(folder)), (subwords._TOUCHING, subwords._is_cut)
    shown = ["| language | characters | a blank before each | none |", "|:--|--:|--:|--:|"]
    for name in CHARACTERS:
        words, gold = (columns(wikiann / name / "test.txt", most, at) for at in (0, 1))
        scores = list[float]()
        for rule in ((regex.compile(r"(?!)"), lambda words: False), here):
            subwords._TOUCHING, subwords._is_cut = rule
            found = [list(one.labels) for one in model.predict(words)]
            scores.append(100 * float(f1_score(gold, found)))  # pyrefly: ignore [bad-argument-type]
        shown.append(f"| {name} | {sum(map(len, words)):,} | {scores[0]:.1f} | {scores[1]:.1f} |")
    return "\n".join(shown)


def main() -> None:
    """Print a table."""
    flags = argparse.ArgumentParser(prog="python -m tests.words", description=__doc__)
    flags.add_argument("wikiann", type=Path)
    flags.add_argument("--tokenizer", type=Path, action="append", default=[])
    flags.add_argument("--model", type=Path)
    flags.add_argument("--rows", type=int, default=200, help="sentences of each language")
    asked = flags.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)  # long sentences are cut elsewhere
    if asked.model:
        print(blanks(asked.wikiann, asked.model, asked.rows))
    else:
        print(table(asked.wikiann, asked.tokenizer, asked.rows))


if __name__ == "__main__":
    main()
