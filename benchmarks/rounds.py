"""The fixed cost of a round: annotate, select and train over almost nothing.

The same round with all of it in the driver's process, with two annotator actors, and with a worker
of Ray Train besides; then what the first of these is made of, from a profile.

    python -m benchmarks.rounds [--repeats 5]
"""

import argparse
import cProfile
import os
import pstats
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import title
from benchmarks.setting import EMBEDDED, Setting, begun, small_backbone
from xlt_ray.methods.cltp.losses import LeveragedWeightedLoss
from xlt_ray.methods.cltp.sets import CandidateAnnotator, SetRule
from xlt_ray.methods.shared.selection import select_sentences
from xlt_ray.recipe.corpus import Mix
from xlt_ray.recipe.schedule import Schedule

ROWS = 64
KINDS: Mapping[str, Mapping[str, Any]] = {
    "in the driver's process": {},
    "two annotator actors": {"annotators": 2},
    "and a training worker": {"annotators": 2, "train_workers": 1},
}
STEPS = ("annotate", "select", "train")
PARTS: Mapping[str, tuple[str, str]] = {
    "fingerprints": ("steps.py", "fingerprint"),
    "ledger": ("steps.py", "_record"),
    "commit: checksums, fsync, rename": ("store.py", "commit"),
    "writing files, model included": ("store.py", "write"),
    "copying files, model included": ("store.py", "copy"),
    "loading tokenizers": ("tokenise.py", "load_tokenizer"),
    "loading models": ("load.py", "load_classifier"),
    "reading rows": ("corpus.py", "shard"),
    "forward and backward passes": ("train_loop.py", "step"),
    "scoring source dev": ("train_loop.py", "score"),
    "freed memory given back": ("memory.py", "hand_back"),
}
"""Functions whose time is shown, by file and name; some are within others."""


@dataclass(frozen=True)
class Fixed:
    """Seconds of the steps of a round, of every repetition."""

    name: str
    seconds: Mapping[str, Sequence[float]]

    def median(self, step: str) -> float:
        """Median of a step."""
        return statistics.median(self.seconds[step])


def a_round(setting: Setting, number: int) -> dict[str, float]:
    """One round that no other one shares a result with; seconds of its steps, by the clock."""
    driver, pool = setting.driver, setting.driver.unlabelled()
    annotator = CandidateAnnotator(SetRule(4, 10 + number / 100, "power"))
    times = [time.perf_counter()]
    scored = driver.annotate(f"round {number}", pool, setting.model, annotator)
    times.append(time.perf_counter())
    sizes = pool.tokens.info["rows_by_language"]
    rule = {"selection_rule": "top_n", "ratio": 0.1, "pool_sizes": sizes, "quota_of": "pool"}
    picked = driver.derive(f"round {number} selection", select_sentences, scored, **rule)
    times.append(time.perf_counter())
    mix = Mix(driver.source("train"), *([pool.labelled(picked)] if picked.info["rows"] else []))
    objective, schedule = LeveragedWeightedLoss(2.0), Schedule(1e-4, 1, keep="last")
    driver.train(f"round {number}", mix, objective, start=setting.model, schedule=schedule)
    times.append(time.perf_counter())
    return {name: times[at + 1] - times[at] for at, name in enumerate(STEPS)}


def profiled(setting: Setting, number: int) -> dict[str, float]:
    """Seconds of a round's parts, and of all of it, under the profiler."""
    profile = cProfile.Profile()
    profile.enable()
    a_round(setting, number)
    profile.disable()
    stats = pstats.Stats(profile)
    found = {
        name: sum(
            values[3]
            for (path, _, function), values in stats.stats.items()  # type: ignore[attr-defined]
            if Path(path).name == file and function == wanted and "xlt_ray" in path
        )
        for name, (file, wanted) in PARTS.items()
    }
    return {**found, "all of it": stats.total_tt}  # type: ignore[attr-defined]


def rounds(repeats: int) -> tuple[dict[str, Any], str]:
    """All kinds of rounds, and the tables; each kind begins with a round that does not count."""
    found, parts = list[Fixed](), dict[str, float]()
    sizes = {"train": ROWS, "dev": ROWS, "test": ROWS}
    with TemporaryDirectory() as folder:
        data = replace(EMBEDDED, backbone=small_backbone(Path(folder)))
        for name, resources in KINDS.items():
            with begun(data, sizes, resources) as setting:
                times = [a_round(setting, number) for number in range(repeats + 1)][1:]
                found.append(Fixed(name, {step: [x[step] for x in times] for step in STEPS}))
                if not resources:
                    parts = profiled(setting, repeats + 1)
    plain = {"rounds": [asdict(item) for item in found], "parts": parts}
    told = f"{ROWS} rows of each kind, median of {repeats}, load {os.getloadavg()[0]:.1f}."
    return plain, f"### The fixed cost of a round\n\n{told}\n\n{table(found, parts)}\n"


def table(found: Sequence[Fixed], parts: Mapping[str, float]) -> str:
    """Both tables as Markdown."""
    lines = [
        f"| | {' | '.join(f'{step}, s' for step in STEPS)} | round, s |",
        "|:--" + "|--:" * 4 + "|",
    ]
    for item in found:
        medians = [item.median(step) for step in STEPS]
        cells = " | ".join(f"{x:.2f}" for x in (*medians, sum(medians)))
        lines.append(f"| {item.name} | {cells} |")
    lines += ["", "| of a round in the driver's process | s |", "|:--|--:|"]
    lines += [f"| {name} | {seconds:.3f} |" for name, seconds in parts.items()]
    return "\n".join(lines)


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(rounds(options.repeats)[1])


if __name__ == "__main__":
    main()
