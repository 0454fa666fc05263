"""CLTP with low-rank adapters against CLTP that trains the whole encoder, on WikiANN.

Both have the same sentences, epochs and rounds. The rate of each is the best of three on the
source's dev text after source training, with the first seed; the rounds train at half of it. Every
run has a process of its own. In a store that lasts, what was done is not done again.

    python -m benchmarks.adapters --wikiann FOLDER --backbone FOLDER --store FOLDER [--rank 16]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xlt_ray
from benchmarks.measure import peak_memory, title
from xlt_ray.store.artifacts import Store
from xlt_ray.store.run_folder import RunFolder

TARGETS = ("de", "ru", "sw", "tr")
ROWS = {"train": 2000, "dev": 300, "unlabelled": 250, "test": 300}
ROUNDS = 2
RATES = {"whole encoder": (5e-5, 1e-4, 2e-4), "adapters": (3e-4, 1e-3, 3e-3)}
SEEDS = (0, 1, 2)
MEMORY = "memory.json"
"""File of a run's folder with the most memory that its process held, in MB."""


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    Attributes:
        way: What was trained.
        seed: Of the run.
        rate: Learning rate of source training.
        before: Average F1 of the targets, zero-shot.
        after: And of CLTP.
        source: F1 on the source's dev text after source training.
        round_bytes: Mean size of what a round of training wrote.
        seconds: Of all training.
        tokens: Sub-words trained on, of all epochs.
        memory_mb: Most memory of its process, which trains and annotates.
    """

    way: str
    seed: int
    rate: float
    before: float
    after: float
    source: float
    round_bytes: float
    seconds: float
    tokens: int
    memory_mb: float


@dataclass(frozen=True)
class Setting:
    """What all runs have in common."""

    wikiann: Path
    backbone: Path
    store: Path
    rank: int

    def name(self, way: str, seed: int, rate: float, rounds: int) -> str:
        """Name of a run."""
        return f"{way.split()[-1]}-{rate:g}-{rounds}-s{seed}"

    def run(self, way: str, seed: int, rate: float, rounds: int) -> None:
        """Run CLTP in this process, and note beside it how much memory that took."""
        name, is_whole = self.name(way, seed, rate, rounds), way == "whole encoder"
        xlt_ray.self_train(
            method="cltp", backbone=str(self.backbone), store=str(self.store), name=name, seed=seed,
            benchmark={
                "name": "wikiann", "root": str(self.wikiann), "source": ["en"],
                "targets": list(TARGETS), "max_rows": ROWS,
            },
            train={
                "max_tokens": 1024, "head_lr_ratio": 10 if is_whole else 1,
                "freeze_embeddings": True, "lora": {"rank": 0 if is_whole else self.rank},
            },
            resources={"annotators": 0, "train_cpus": 1, "num_cpus": 2},
            source_lr=rate, round_lr=rate / 2, source_epochs=3, round_epochs=2,
            final_epochs=min(rounds, 1), rounds=rounds, one_hot_rounds=min(rounds, 1),
            src_ratio=0.3,
        )  # fmt: skip
        folder = RunFolder(Store(str(self.store)), name, create=False)
        folder.write(MEMORY, json.dumps({"mb": peak_memory()}).encode())

    def outcome(self, way: str, seed: int, rate: float, rounds: int = ROUNDS) -> Outcome:
        """What a run did; it is made if it is not there."""
        name = self.name(way, seed, rate, rounds)
        if not (self.store / "runs" / name / MEMORY).exists():
            asked = json.dumps([way, seed, rate, rounds])
            command = [sys.executable, "-m", "benchmarks.adapters", *sys.argv[1:], "--one", asked]
            subprocess.run(command, check=True)
        store = Store(str(self.store))
        folder = RunFolder(store, name, create=False)
        models = {
            entry["title"]: entry
            for entry in folder.read_lines("ledger.jsonl")
            if entry["kind"] == "model"
        }
        sizes = [
            sum(path.stat().st_size for path in self._files(entry["fingerprint"]))
            for step, entry in models.items()
            if step.startswith("round")
        ]
        report = folder.read_json("report.json") or {}
        return Outcome(
            way=way,
            seed=seed,
            rate=rate,
            before=report["zero_shot_average"],
            after=report["average"],
            source=self._source_dev(folder),
            round_bytes=statistics.fmean(sizes) if sizes else 0.0,
            seconds=sum(entry["seconds"] for entry in models.values()),
            tokens=sum(entry["info"]["tokens"] for entry in models.values()),
            memory_mb=(folder.read_json(MEMORY) or {})["mb"],
        )

    def _files(self, fingerprint: str) -> list[Path]:
        folder = self.store / "artifacts" / "model" / fingerprint
        return [path for path in folder.rglob("*") if path.is_file()]

    def _source_dev(self, folder: RunFolder) -> float:
        entries = folder.read_lines("ledger.jsonl")
        return next(x["info"]["source_dev"] for x in entries if x["title"] == "source")


def best_rate(setting: Setting, way: str) -> float:
    """Rate whose source model is best on the source's dev text."""
    tried = [setting.outcome(way, SEEDS[0], rate, rounds=0) for rate in RATES[way]]
    for one in tried:
        print(f"{way}: rate {one.rate:g}, source dev {100 * one.source:.2f}", flush=True)
    return max(tried, key=lambda one: one.source).rate


def table(found: Sequence[Outcome]) -> str:
    """Every run, and the means of each way."""
    lines = [
        "| trained | seed | rate | zero-shot | CLTP | MB a round | MB in memory | training, s "
        "| sub-words/s |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [_row(str(one.seed), [one]) for one in found]
    ways: Mapping[str, list[Outcome]] = {
        way: [one for one in found if one.way == way] for way in RATES
    }
    lines += [_row("mean", of_one) for of_one in ways.values() if len(of_one) > 1]
    return "\n".join(lines)


def _row(seed: str, found: Sequence[Outcome]) -> str:
    def mean(name: str) -> float:
        return statistics.fmean(getattr(one, name) for one in found)

    speed = sum(one.tokens for one in found) / sum(one.seconds for one in found)
    return (
        f"| {found[0].way} | {seed} | {found[0].rate:g} | {100 * mean('before'):.2f} "
        f"| {100 * mean('after'):.2f} | {mean('round_bytes') / 1e6:.1f} | {mean('memory_mb'):.0f} "
        f"| {mean('seconds'):.0f} | {speed:.0f} |"
    )


def main() -> None:
    """Run, and print the table."""
    flags = argparse.ArgumentParser(description=title(__doc__))
    flags.add_argument("--wikiann", type=Path, required=True)
    flags.add_argument("--backbone", type=Path, required=True)
    flags.add_argument("--store", type=Path, required=True)
    flags.add_argument("--rank", type=int, default=16)
    flags.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    asked: dict[str, Any] = vars(flags.parse_args())
    one = asked.pop("one")
    setting = Setting(**asked)
    if one:
        setting.run(*one)
        return
    print(title(__doc__), f"Load {os.getloadavg()[0]:.1f}.", flush=True)
    rates = {way: best_rate(setting, way) for way in RATES}
    found = list[Outcome]()
    for seed in SEEDS:
        for way, rate in rates.items():
            found.append(setting.outcome(way, seed, rate))
            print(table(found[-1:]), f"load {os.getloadavg()[0]:.1f}", flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
