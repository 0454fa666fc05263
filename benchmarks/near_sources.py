"""Whether the source whose text is nearest to a target is the one that teaches it most.

A model is trained on each source alone (BL-Direct) and scored on every target. The dry run's
ranking of the sources, from a few dozen sentences of each language without labels, is compared with
these scores: by NDCG, and by the score that the nearest source gives beside the best source, the
first source for all targets, and the mean over the sources, which is a source drawn at random.

    python -m benchmarks.near_sources --data FOLDER --backbone FOLDER [--benchmark wikiann]
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import ndcg_score

from benchmarks.measure import title
from xlt_ray.engine.near_sources import near_sources
from xlt_ray.engine.resources import settle
from xlt_ray.report.tables import markdown_table, percent
from xlt_ray.run.check import configure_run
from xlt_ray.run.dry_run import DryRun
from xlt_ray.run.session import run
from xlt_ray.store.artifacts import Store

LANGUAGES = {
    "wikiann": (
        ("en", "de", "ru", "hi", "id", "ar"),
        ("af", "bn", "bg", "es", "fa", "mr", "ms", "nl", "pt", "sw", "tr", "ur"),
    ),
    "udpos": (("en", "fi", "id"), ("ca", "de", "es", "hi", "ru")),
}
"""Sources and targets; each source is a target of the others."""
Scores = Mapping[str, Mapping[str, float]]
"""Score by target and source."""


def values_of(options: argparse.Namespace, sources: Sequence[str], seed: int) -> dict[str, Any]:
    """Configuration of a model of some sources, scored on all the languages."""
    known, targets = LANGUAGES[options.benchmark]
    others = [name for name in (*known, *targets) if name not in sources]
    limits = {"train": options.rows, "dev": 150, "test": options.test, "unlabelled": 50}
    return {
        "benchmark": {
            "name": options.benchmark, "root": str(options.data), "source": list(sources),
            "targets": others, "unlabelled_split": "dev", "max_rows": limits,
        },
        "backbone": options.backbone,
        "method": {"name": "bl_direct", "source_lr": 1e-4, "source_epochs": options.epochs},
        "train": {"max_tokens": 1024, "head_lr_ratio": 10, "freeze_embeddings": True},
        "resources": {"annotators": 0, "train_workers": 0, "train_cpus": 1,
                      "precision": options.precision},
        "run": {"name": f"near-{options.benchmark}-{'-'.join(sources)}-s{seed}"},
        "store": {"root": str(options.store)},
        "seed": seed,
    }  # fmt: skip


def transfer(options: argparse.Namespace, seed: int) -> Scores:
    """Score of every language by a model of each source but itself."""
    sources, _ = LANGUAGES[options.benchmark]
    found: dict[str, dict[str, float]] = {}
    for source in sources:
        report = run(configure_run(values_of(options, [source], seed)))
        for target, scores in report["final"].items():
            if target != source:
                found.setdefault(target, {})[source] = scores[report["metric"]]
    return found


def ranking(options: argparse.Namespace) -> Scores:
    """Share of each source among the nearest sentences of every language."""
    sources, targets = LANGUAGES[options.benchmark]
    config = configure_run(values_of(options, sources, 0))
    dry = DryRun(Store(str(options.store)), settle(config.resources, data=config.data))
    driver = dry.driver(config)
    driver.source("train")
    driver.unlabelled()
    return near_sources(config, dry.runner.texts, sources, (*sources, *targets))


@dataclass(frozen=True)
class Judged:
    """A target's ranking beside what was measured, means over the seeds.

    Attributes:
        target: The target.
        nearest: The source that is said to be nearest.
        best: The one with the best score.
        figures: NDCG of the ranking and of a random one; and the score that the nearest source
            gives, the best of the seed, the first for all targets, and a source drawn at random.
    """

    target: str
    nearest: str
    best: str
    figures: tuple[float, ...]


FIGURES = ("NDCG", "by chance", "nearest", "best", "first", "drawn")


def judged(target: str, shares: Mapping[str, float], measured: Sequence[Scores]) -> Judged:
    """One target.

    Args:
        target: Its language.
        shares: The ranking, the nearest source first.
        measured: Scores of each seed.
    """
    names = list(shares)
    gain_RS = np.array([[scores[target][name] for name in names] for scores in measured])
    said_S = np.array(list(shares.values()))
    first = min(names, key=[name for known, _ in LANGUAGES.values() for name in known].index)
    figures = (
        np.mean([ndcg_score(row[None], said_S[None]) for row in gain_RS]),
        np.mean([ndcg_score(row[None], np.zeros_like(row)[None]) for row in gain_RS]),  # all equal
        gain_RS[:, 0].mean(),
        gain_RS.max(axis=1).mean(),
        gain_RS[:, names.index(first)].mean(),
        gain_RS.mean(),
    )
    best = names[int(gain_RS.mean(axis=0).argmax())]
    return Judged(target, names[0], best, tuple(map(float, figures)))


def page(found: Sequence[Judged]) -> str:
    """The table, with the means over the targets last."""
    means = tuple(np.mean([item.figures for item in found], axis=0).tolist())
    lines = [
        [x.target, x.nearest, x.best, *(f"{y:.3f}" for y in x.figures[:2]),
         *(percent(y) for y in x.figures[2:])]
        for x in (*found, Judged("mean", "", "", means))
    ]  # fmt: skip
    return markdown_table(["target", "nearest source", "best source", *FIGURES], lines, left=3)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--backbone", required=True, help="folder of the encoder")
    parser.add_argument("--benchmark", choices=sorted(LANGUAGES), default="wikiann")
    parser.add_argument("--store", type=Path, default=Path("~/xlt_ray/near").expanduser())
    parser.add_argument("--rows", type=int, default=300, help="training sentences of a source")
    parser.add_argument("--test", type=int, default=200, help="test sentences of a language")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of a source")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--seeds", type=lambda x: [int(y) for y in x.split(",")], default=[0, 1, 2])
    options = parser.parse_args(words)
    print(title(__doc__))
    near = ranking(options)
    measured = [transfer(options, seed) for seed in options.seeds]
    print(page([judged(target, shares, measured) for target, shares in near.items()]))


if __name__ == "__main__":
    main()
