"""Ready translations of sentences of the embedded benchmark, for `translation.ready`.

    python -m benchmarks.toy_translations FOLDER --wrong 0.1 --dropped 0.1 --lost 0.1
    python -m benchmarks.toy_translations FOLDER --tested 500 --wrong 0.1 --dropped 0.1

Writes FOLDER/mira.parquet: each train sentence of the source as running text, and in brackets, with
its translation into each of the other languages. With --tested: FOLDER/nolu/test.conll and so on,
test text of the other languages that is translated from the source, FOLDER/nolu.parquet, which has
its translation back, and FOLDER/mira with the text of the source. By default all translations are
right; the options make them worse, but no test text.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from xlt_ray.data.batches.subwords import running_text
from xlt_ray.data.benchmarks.toy import LANGUAGES, make_source
from xlt_ray.data.benchmarks.toy_grammar import Word
from xlt_ray.data.benchmarks.toy_translation import Quality, ready_rows, translations


def translated(task: str, rows: int, quality: Quality) -> pa.Table:
    """Train text of the source language, and its translations by language.

    Args:
        task: ner or tagging.
        rows: Sentences.
        quality: How good the translations are.
    """
    own, found = LANGUAGES[0], dict[str, dict[str, str | None]]()
    source = make_source(task, own, "train", {"train": rows})
    for language in LANGUAGES[1:]:
        for text, other in ready_rows(source, make_source(task, language, "train"), quality):
            found.setdefault(text, {"text": text})[language] = other
    schema = pa.schema([(name, pa.string()) for name in ("text", *LANGUAGES[1:])])
    return pa.Table.from_pylist(list(found.values()), schema=schema)


def lines_of(words: Sequence[Word]) -> str:
    """A sentence with its tags, as files in columns have it."""
    return "".join(f"{word.form}\t{word.tag}\n" for word in words) + "\n"


def write_tested(folder: Path, rows: int, quality: Quality) -> None:
    """Text of words to be tested in translation, and that of the source.

    Args:
        folder: Where to.
        rows: Test sentences of each language; as many train the source.
        quality: How good translations back are.
    """
    own = LANGUAGES[0]
    for split in ("train", "dev"):
        source = make_source("ner", own, split, {split: rows})
        write(folder / own / f"{split}.conll", (x for x, _ in translations(source, source)))
    source = make_source("ner", own, "test", {"test": rows})
    for language in LANGUAGES[1:]:
        found = [other for _, other in translations(source, make_source("ner", language, "test"))]
        write(folder / language / "test.conll", found)
        back = translations(source, source, quality)  # as a translation would say it
        pairs = {text_of(x): text_of(y) for x, (_, y) in zip(found, back, strict=True)}
        table = pa.table({"text": list(pairs), "pivot": list(pairs.values())})
        pq.write_table(table, folder / f"{language}.parquet")


def write(path: Path, sentences: Iterable[Sequence[Word]]) -> None:
    """Write sentences with their tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(map(lines_of, sentences)), encoding="utf-8")


def text_of(words: Sequence[Word]) -> str:
    """A sentence as running text."""
    return running_text([word.form for word in words]).text


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", choices=("ner", "tagging"), default="ner")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--tested", type=int, help="test sentences that are read in translation")
    for name, words in (("wrong", "words that are others"), ("dropped", "words that are left out"),
                        ("lost", "brackets that are lost")):  # fmt: skip
        parser.add_argument(f"--{name}", type=float, default=0.0, help=f"share of {words}")
    chosen = parser.parse_args(arguments)
    quality = Quality(chosen.wrong, chosen.dropped, chosen.lost)
    if chosen.tested is not None:
        write_tested(chosen.folder, chosen.tested, quality)
        print(f"{chosen.folder}: {chosen.tested} test sentences of {', '.join(LANGUAGES[1:])}")
        return
    table = translated(chosen.task, chosen.rows, quality)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    path = chosen.folder / f"{LANGUAGES[0]}.parquet"
    pq.write_table(table, path)
    print(f"{path}: {len(table)} texts in {', '.join(LANGUAGES[1:])}")


if __name__ == "__main__":
    main()
