"""A whole CLTP run against the same algorithm as a plain script: what a cluster and a ledger cost.

Each is a process of its own, from its start to its end, on the same data, encoder and settings, and
with all cores: a run of this project with a store of its own, in which nothing is cached, and
`benchmarks.plain_cltp`. Both score the first and the last model on the test text of every language.

At the size of the quickstart there are 2,000 source sentences and 500 unlabelled ones of each of
six languages; at ten times that size, with fewer epochs, 20,000 and 5,000, or of WikiANN 10,000 and
up to 2,000 of each of twenty languages.

    python -m benchmarks.whole [--wikiann FOLDER --backbone FOLDER] [--large] [--repeats 5]
"""

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import Comparison, Contender, table, take_turns, title
from benchmarks.setting import EMBEDDED, Data, small_backbone
from xlt_ray.data.benchmarks.toy import LANGUAGES

METHOD: dict[str, Any] = {
    "name": "cltp", "lambda": 4.0, "tau": 10.0, "beta": 2.0, "penalty": "power",
    "source_lr": 5e-4, "source_epochs": 10, "round_lr": 2.5e-4, "round_epochs": 3,
    "final_epochs": 2, "final_patience": 1, "rounds": 4, "one_hot_rounds": 3, "src_ratio": 0.5,
    "ratio": 0.08,
}  # fmt: skip
"""Settings of the quickstart, with learning rates for a small pre-trained encoder."""
SHORT = {"source_epochs": 3, "round_epochs": 1, "final_epochs": 1}
"""Fewer epochs, for larger corpora."""
SIX = ("de", "es", "fr", "it", "nl", "pt")
PARTS = {"model": "training", "annotation": "annotation", "text": "reading", "tokens": "reading",
         "gold": "reading"}  # fmt: skip
"""What the steps of a run are called here, by kind."""
_OTHERS = "ar bg bn fi hi ja kk ko mr ru tr ur vi zh"
TWENTY = (*SIX, *_OTHERS.split())
"""Languages of WikiANN."""


def configuration(data: Data, *, large: bool) -> dict[str, Any]:
    """The run, at the size of the quickstart or about ten times as large."""
    if data.root is None:
        data = replace(data, targets=LANGUAGES[1:])
        train = {"train": 20_000, "target_train": 5_000} if large else {"train": 2_000}
    else:
        data = replace(data, targets=TWENTY if large else SIX)
        train = {"train": 10_000 if large else 2_000}
    values = data.values({**train, "dev": 500, "test": 500})
    values["benchmark"]["unlabelled_split"] = "train" if large else "dev"
    return {**values, "method": {**METHOD, **(SHORT if large else {})}, "seed": 0}


@dataclass
class Turn:
    """What came out of the last turn of one of the two.

    Attributes:
        scores: F1 by language.
        seconds: What the parts of it took.
        trained: Sub-words of all epochs of all training.
    """

    scores: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    trained: int = 0

    def told(self, who: str) -> str:
        """All of it in a sentence."""
        scores = ", ".join(f"{name} {100 * x:.1f}" for name, x in sorted(self.scores.items()))
        parts = ", ".join(f"{name} {x:.0f} s" for name, x in self.seconds.items())
        trained = f"{self.trained:,} sub-words trained on"
        return f"The {who}: F1 {scores}; last turn {parts}; {trained}."


def as_run(config: dict[str, Any], turn: Turn) -> Contender:
    """A run of this project."""

    def run() -> None:
        with TemporaryDirectory(prefix="xlt-bench-") as root:
            values = json.dumps({**config, "store": {"root": root}})
            code = "import json, sys; from xlt_ray.commands.cli import main; "
            code += "sys.exit(main(json.loads(sys.argv[1]), '', []))"
            command = [sys.executable, "-c", code, values]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            report = json.loads(Path(root, "runs/bench/report.json").read_text())
            turn.scores = {name: entry["f1"] for name, entry in report["final"].items()}
            seconds = defaultdict[str, float](float)
            for step in report["steps"]:
                is_scored = step["kind"] == "annotation" and " test" in step["title"]
                seconds["scoring" if is_scored else PARTS.get(step["kind"], "other")] += step[
                    "seconds"
                ]
            turn.seconds = dict(seconds)
            models = Path(root, "artifacts/model").glob("*/manifest.json")
            turn.trained = sum(json.loads(path.read_text())["info"]["tokens"] for path in models)
        print(turn.told("run"), file=sys.stderr, flush=True)

    return Contender("a run of this project", run)


def as_script(config: dict[str, Any], turn: Turn) -> Contender:
    """The plain script."""
    plain = {**config, "threads": os.cpu_count()}

    def run() -> None:
        command = [sys.executable, "-m", "benchmarks.plain_cltp", json.dumps(plain)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        turn.scores, turn.seconds = found["test"], found["seconds"]
        turn.trained = found["trained"]
        print(turn.told("script"), file=sys.stderr, flush=True)

    return Contender("the plain script", run)


def whole(data: Data, *, large: bool, repeats: int) -> Comparison:
    """Both, in turns; all of them count, since every one is a process of its own.

    Args:
        data: What is read.
        large: Ten times the size of the quickstart, with fewer epochs.
        repeats: Turns.
    """
    config, script, run = configuration(data, large=large), Turn(), Turn()
    before = os.getloadavg()[0]
    contenders = [as_script(config, script), as_run(config, run)]
    timings = take_turns(contenders, repeats=repeats, warm=False)
    name = f"A whole CLTP run{', about ten times as large, fewer epochs' if large else ''}"
    return Comparison(
        name, "runs", 1, timings, load=(before, os.getloadavg()[0]),
        notes=[script.told("script"), run.told("run")],
    )  # fmt: skip


def main() -> None:
    """Measure one size and print it."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--wikiann", help="folder of a folder per language")
    parser.add_argument("--backbone", help="folder of an encoder")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="ten times as large")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        data = replace(EMBEDDED, backbone=options.backbone or small_backbone(Path(folder)))
        if options.wikiann:
            data = Data(options.wikiann, data.backbone, SIX)
        print(table(whole(data, large=options.large, repeats=options.repeats)))


if __name__ == "__main__":
    main()
