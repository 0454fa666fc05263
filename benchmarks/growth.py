"""Growth: time and memory of a round up to its training, by the size of the corpus.

Sentences are those of the embedded benchmark, in equal parts of three languages. Every size is a
process and a store of its own. Memory of the driver is the most that it held at a time; of the
workers, what the processes below it held by themselves at a time, all of Ray's together.

    python -m benchmarks.growth [--rows 10000,100000,1000000] [--annotators 2] [--repeats 1]
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.measure import Watch, forget_peak, peak_memory, title
from benchmarks.setting import EMBEDDED, Setting, begun, small_backbone
from xlt_ray.methods.cltp.sets import CandidateAnnotator, SetRule
from xlt_ray.methods.shared.selection import select_sentences

STEPS = ("text", "tokens", "annotation", "selection")


@dataclass(frozen=True)
class Growth:
    """What one size took.

    Attributes:
        rows: Sentences.
        annotators: Actors that labelled them.
        seconds: Of each step, as the ledger has them.
        driver_mb: Most memory of the driver.
        workers_mb: Most memory of all other processes of the run together, without what they share.
        load: Load of the machine at the end.
    """

    rows: int
    annotators: int
    seconds: dict[str, float]
    driver_mb: float
    workers_mb: float
    load: float

    def per_row(self, step: str) -> float:
        """Microseconds a row."""
        return self.seconds[step] * 1e6 / self.rows


def annotate_and_select(setting: Setting) -> dict[str, float]:
    """The steps of a round up to training; seconds of each."""
    driver = setting.driver
    pool = driver.unlabelled()
    text = driver.unlabelled_text()
    scored = driver.annotate(
        "round", pool, setting.model, CandidateAnnotator(SetRule(4, 10, "power"))
    )
    sizes = pool.tokens.info["rows_by_language"]
    settings = {
        "selection_rule": "per_class",
        "ratio": 0.08,
        "pool_sizes": sizes,
        "quota_of": "pool",
    }
    picked = driver.derive("round selection", select_sentences, scored, **settings)
    made = (text, pool.tokens, scored, picked)
    return {name: step.seconds for name, step in zip(STEPS, made, strict=True)}


def measure(rows: int, annotators: int, backbone: str) -> Growth:
    """One size, in this process."""
    each = rows // len(EMBEDDED.targets)
    sizes = {"train": 2000, "target_train": each, "dev": 200, "test": 100}
    pool, data = {"annotators": annotators}, replace(EMBEDDED, backbone=backbone)
    with begun(data, sizes, pool, lr=1.5e-3, epochs=4) as setting, Watch(psutil.Process()) as watch:
        forget_peak()  # that of the training before
        seconds = annotate_and_select(setting)
    count = each * len(EMBEDDED.targets)
    return Growth(count, annotators, seconds, peak_memory(), watch.others_mb, os.getloadavg()[0])


def apart(rows: int, annotators: int, backbone: str) -> Growth:
    """One size, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.growth", "--rows", str(rows)]
    command += ["--annotators", str(annotators), "--here", backbone]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Growth(**json.loads(done.stdout.splitlines()[-1]))


def table(found: Sequence[Growth]) -> str:
    """Microseconds a row by step, and memory, as Markdown."""
    lines = [
        "### A round up to its training, by the size of the corpus\n",
        f"| sentences | annotators | {' | '.join(f'{name}, µs a row' for name in STEPS)} "
        "| driver, MB | others, MB | load |",
        "|--:|--:|" + "--:|" * (len(STEPS) + 3),
    ]
    for item in found:
        steps = " | ".join(f"{item.per_row(name):,.0f}" for name in STEPS)
        memory = f"{item.driver_mb:,.0f} | {item.workers_mb:,.0f} | {item.load:.1f}"
        lines.append(f"| {item.rows:,} | {item.annotators} | {steps} | {memory} |")
    return "\n".join([*lines, ""])


def growth(
    sizes: Sequence[int], pools: Sequence[int], *, repeats: int = 1
) -> tuple[list[dict[str, Any]], str]:
    """All sizes with all numbers of annotators, and the table."""
    found = list[Growth]()
    with TemporaryDirectory() as folder:
        backbone = small_backbone(Path(folder))
        for _ in range(repeats):
            found += [apart(size, pool, backbone) for size in sizes for pool in pools]
    return [asdict(item) for item in found], table(found)


def main() -> None:
    """Measure every size, the number of annotators or lists of both, and print the table."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--annotators", default="2")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--here", metavar="BACKBONE", help="one size, as JSON, in this process")
    options = parser.parse_args()
    sizes = [int(size) for size in options.rows.split(",")]
    pools = [int(size) for size in options.annotators.split(",")]
    if options.here:
        print(json.dumps(asdict(measure(sizes[0], pools[0], options.here))))
        return
    print(growth(sizes, pools, repeats=options.repeats)[1])


if __name__ == "__main__":
    main()
