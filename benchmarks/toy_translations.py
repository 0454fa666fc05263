"""Ready translations of the source text of the embedded benchmark, for `translation.ready`.

    python -m benchmarks.toy_translations FOLDER --wrong 0.1 --dropped 0.1 --lost 0.1

Writes FOLDER/mira.parquet: each sentence as running text, and in brackets, with its translation
into each of the other languages. By default all of it is right; the options make it worse.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from xlt_ray.data.benchmarks.toy import LANGUAGES, make_source
from xlt_ray.data.benchmarks.toy_translation import Quality, ready_rows


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", choices=("ner", "tagging"), default="ner")
    parser.add_argument("--rows", type=int, default=2000)
    for name, words in (("wrong", "words that are others"), ("dropped", "words that are left out"),
                        ("lost", "brackets that are lost")):  # fmt: skip
        parser.add_argument(f"--{name}", type=float, default=0.0, help=f"share of {words}")
    chosen = parser.parse_args(arguments)
    quality = Quality(chosen.wrong, chosen.dropped, chosen.lost)
    table = translated(chosen.task, chosen.rows, quality)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    path = chosen.folder / f"{LANGUAGES[0]}.parquet"
    pq.write_table(table, path)
    print(f"{path}: {len(table)} texts in {', '.join(LANGUAGES[1:])}")


if __name__ == "__main__":
    main()
