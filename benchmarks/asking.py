"""What a row of target text that `xlt-ray ask` chooses is worth beside one that is drawn at random.

SL-EVI trains on source gold and raw text. Its run is asked for so many rows of each target; gold
answers in a person's place. A model of the source gold and of these rows (BL-Direct) is scored on
test text, beside one of as many rows drawn at random from the same text, and one of none.

    python -m benchmarks.asking --source FOLDER --targets FOLDER --backbone FOLDER

Folders hold train.txt, dev.txt and test.txt, of the source and in a folder of each target.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.measure import title
from xlt_ray.commands.ask import write_files
from xlt_ray.data.readers.user_source import UserSource
from xlt_ray.data.schema import Example
from xlt_ray.labels import LabelSet
from xlt_ray.report.record import Report
from xlt_ray.report.tables import markdown_table, percent
from xlt_ray.run.check import configure_run
from xlt_ray.run.session import run
from xlt_ray.store.artifacts import Store
from xlt_ray.store.run_folder import RunFolder

Sentence = tuple[tuple[str, ...], tuple[str, ...]]
"""Words and their tags."""
TYPES = {"DATE": "O"}
"""Entity types that the source's gold has not."""
WEIGHT = 5
"""How often a labelled row of a target is in the gold."""


def values_of(
    options: argparse.Namespace, seed: int, name: str, few: Mapping[str, Path] | None = None
) -> dict[str, Any]:
    """Configuration of a run; with labelled rows of targets, if there are some."""
    paths: dict[str, Any] = {
        "en": {x: [str(options.source / f"{x}.txt")] for x in ("train", "dev")}
    }
    for target in options.languages:
        folder = options.targets / target
        paths[target] = {"unlabelled": [str(folder / "train.txt")],
                         "test": [str(folder / "test.txt")]}  # fmt: skip
        if few:
            paths[target]["few"] = [str(few[target])]
    rates: dict[str, Any] = {"source_lr": 1e-4, "source_epochs": options.epochs}
    method = {"name": "bl_direct", **rates} if few is not None else {
        "name": "sl_evi", **rates, "rounds": options.rounds, "round_lr": 5e-5, "round_epochs": 2,
        "final_epochs": 1, "src_ratio": 0.3,
    }  # fmt: skip
    limits = {"train": options.train, "dev": 300, "unlabelled": options.pool, "test": options.test}
    return {
        "benchmark": {"name": "files", "source": ["en"], "targets": list(options.languages),
                      "max_rows": limits, **({"few_weight": WEIGHT} if few else {})},
        "files": {"task": "token", "labels": list(labels_of(options).names), "scheme": "bio",
                  "types": TYPES, "paths": paths},
        "backbone": options.backbone,
        "method": method,
        "train": {"max_tokens": 1024, "head_lr_ratio": 10, "freeze_embeddings": True},
        "resources": {"annotators": 0, "train_workers": 0, "train_cpus": 1,
                      "precision": options.precision},
        "run": {"name": f"asking-{name}-s{seed}", "score_rounds": False},
        "store": {"root": str(options.store)},
        "seed": seed,
    }  # fmt: skip


def labels_of(options: argparse.Namespace) -> LabelSet:
    """The tags of the entity types."""
    return LabelSet(("O", *(f"{x}-{name}" for name in options.types for x in "BI")))


def asked(options: argparse.Namespace, seed: int, rows: int) -> dict[str, list[tuple[str, ...]]]:
    """Words of the rows of each target that a finished run asks for."""
    store = Store(str(options.store))
    folder = RunFolder(store, f"asking-base-s{seed}")
    report = Report.from_json(folder.read_json("report.json"))
    found = write_files(store, report, folder, rows=rows * len(options.languages), of=options.pool)
    return {x.language: [tuple(row.text.split()) for row in x.rows] for x in found}


def sentences_of(path: Path, labels: LabelSet) -> list[Sentence]:
    """The sentences of a file of words and tags."""
    source = UserSource((str(path),), "xx", "train", "token", types=TYPES)
    rows = (row for row in source.examples(labels) if isinstance(row, Example))
    return [
        (row.tokens or (), tuple(labels.names[x] for x in row.labels))  # type: ignore[union-attr]
        for row in rows
    ]


def drawn(sentences: Sequence[Sentence], count: int, seed: int) -> list[Sentence]:
    """So many sentences at random; fewer are among more of the same seed."""
    order = list(range(len(sentences)))
    random.Random(seed).shuffle(order)
    return [sentences[number] for number in order[:count]]


def answers(sentences: Sequence[Sentence], texts: Sequence[tuple[str, ...]]) -> list[Sentence]:
    """The sentences that have the texts that are asked, in their order.

    Raises:
        KeyError: there is none with such a text.
    """
    known = {"".join(words): (words, tags) for words, tags in reversed(sentences)}
    return [known["".join(words)] for words in texts]


def write(folder: Path, rows: Mapping[str, Sequence[Sentence]]) -> dict[str, Path]:
    """Files of labelled rows by language."""
    folder.mkdir(parents=True, exist_ok=True)
    found = dict[str, Path]()
    for language, sentences in rows.items():
        lines = (
            "".join(f"{word}\t{tag}\n" for word, tag in zip(*x, strict=True)) for x in sentences
        )
        found[language] = folder / f"{language}.conll"
        found[language].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return found


def f1_of(options: argparse.Namespace, seed: int, name: str, few: Mapping[str, Path]) -> float:
    """F1 of a model of the source gold and a few rows, mean over the targets."""
    report = run(configure_run(values_of(options, seed, name, few)))
    return mean(report["final"][language]["f1"] for language in options.languages)


def measured(options: argparse.Namespace, seed: int) -> dict[str, list[float]]:
    """F1 by way and number of rows, none first."""
    run(configure_run(values_of(options, seed, "base")))
    labels = labels_of(options)
    pool = {x: sentences_of(options.targets / x / "train.txt", labels) for x in options.languages}
    none = f1_of(options, seed, "none", {})
    found = {"asked": [none], "drawn": [none]}
    for count in options.rows:
        texts = asked(options, seed, count)
        ways = {
            "asked": {x: answers(pool[x], texts[x]) for x in pool},
            "drawn": {x: drawn(pool[x], count, seed) for x in pool},
        }
        for way, rows in ways.items():
            name = f"{way}-{count}"
            few = write(options.store / "rows" / f"{name}-s{seed}", rows)
            found[way].append(f1_of(options, seed, name, few))
    return found


def page(rows: Sequence[int], found: Sequence[Mapping[str, Sequence[float]]]) -> str:
    """The table: F1 by way and rows of a target, means and deviations over the seeds."""
    heads = ["rows of each target", "asked", "std", "drawn", "std", "difference"]
    lines = list[list[str]]()
    for at, count in enumerate([0, *rows]):
        line = [str(count)]
        scores = {way: [one[way][at] for one in found] for way in ("asked", "drawn")}
        for values in scores.values():
            spread = percent(stdev(values)) if len(values) > 1 else "-"
            line += [percent(mean(values)), spread]
        lines.append([*line, f"{100 * (mean(scores['asked']) - mean(scores['drawn'])):+.2f}"])
    return markdown_table(heads, lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--source", type=Path, required=True, help="folder of the source")
    parser.add_argument("--targets", type=Path, required=True, help="folder of the targets")
    parser.add_argument("--backbone", required=True, help="folder of the encoder")
    parser.add_argument("--languages", type=lambda x: x.split(","), default=["hau", "swa", "yor"])
    parser.add_argument("--types", type=lambda x: x.split(","), default=["PER", "ORG", "LOC"])
    parser.add_argument("--store", type=Path, default=Path("~/xlt_ray/asking").expanduser())
    parser.add_argument("--rows", type=lambda x: [int(y) for y in x.split(",")], default=[20, 60])
    parser.add_argument("--train", type=int, default=800, help="sentences of the source")
    parser.add_argument("--pool", type=int, default=300, help="raw sentences of a target")
    parser.add_argument("--test", type=int, default=300, help="test sentences of a target")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of the source gold")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of self-training")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--seeds", type=lambda x: [int(y) for y in x.split(",")], default=[0, 1, 2])
    options = parser.parse_args(words)
    print(title(__doc__))
    print(page(options.rows, [measured(options, seed) for seed in options.seeds]))


if __name__ == "__main__":
    main()
