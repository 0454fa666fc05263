"""Idle workers: how long nodes that train and annotate are up without work, over a whole run.

A local cluster adds a worker when a step needs one and takes it away when it was idle for a while.
CLTP runs on the embedded benchmark, with its unlabelled text read while the source model is
trained, and with one after the other; the ways take turns.

    python -m benchmarks.idle [--rows 4000] [--repeats 3] [--idle-minutes 1]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.measure import machine, title
from cluster.local import LocalCluster, Shape
from xlt_ray.engine.environment import prepare
from xlt_ray.report.tables import markdown_table

if TYPE_CHECKING:
    from xlt_ray.engine.nodes import Change

ROOT = Path(__file__).resolve().parents[1]
WAYS = {"while it trains": [], "one after the other": ["--apart"]}
"""How the unlabelled text is read, and how the run is told."""


@dataclass(frozen=True)
class Idle:
    """What the workers of a run did.

    Attributes:
        seconds: From the start of the run to its end.
        up: Seconds that workers were up, of all of them.
        busy: Seconds in which somebody held one of them.
    """

    seconds: float
    up: float
    busy: float

    @property
    def share(self) -> float:
        """Share of the time that workers were up in which nobody held them."""
        return 1 - self.busy / self.up if self.up else 0.0


def idle_of(changes: "Sequence[Change]", seconds: float) -> Idle:
    """What workers did, of what changed and when the run ended."""
    changes = [change for change in changes if change.second < seconds]
    ends = [*(change.second for change in changes[1:]), seconds]
    spans = [(end - change.second, change.nodes) for change, end in zip(changes, ends, strict=True)]
    up = sum(length * nodes.workers for length, nodes in spans)
    return Idle(seconds, up, sum(length * nodes.busy for length, nodes in spans))


def values_of(store: Path, rows: int) -> dict[str, Any]:
    """Configuration of a run whose unlabelled text takes a while to read."""
    return {
        "benchmark": {"name": "toy", "targets": ["nolu", "teska", "pavri"],
                      "toy": {"train": 1000, "dev": rows, "test": 100}},
        "backbone": "toy",
        "method": {"name": "cltp", "rounds": 2, "one_hot_rounds": 1, "source_lr": 1.5e-3,
                   "source_epochs": 4, "round_lr": 7.5e-4, "round_epochs": 1, "final_epochs": 0},
        "resources": {"autoscale": [{"nodes": 1, "cpus": 2}], "annotators": 1, "annotator_cpus": 2,
                      "train_workers": 1, "train_cpus": 2},
        "store": {"root": str(store)},
        "run": {"name": "idle", "score_rounds": False},
    }  # fmt: skip


def measured(cluster: LocalCluster, config: Path, flags: Sequence[str]) -> Idle:
    """One run on a cluster without workers."""
    from xlt_ray.engine.nodes import Timeline  # loads Ray, which reads the cluster's token

    command = [sys.executable, "-m", "benchmarks.idle", "--run", str(config), *flags]
    with Timeline(cluster.address, interval=0.2) as timeline:
        began = time.monotonic()
        subprocess.run(command, cwd=ROOT, env={**os.environ, **cluster.env}, check=True)
        seconds = time.monotonic() - began
    return idle_of(timeline.changes, seconds)


def carried_out(config: Path, *, apart: bool) -> None:
    """The run itself, in a process of its own."""
    from xlt_ray.run.check import configure_run
    from xlt_ray.run.driver import RayDriver
    from xlt_ray.run.session import run

    prepare(local=False)
    if apart:

        def after_reading(driver: RayDriver, call: Any) -> Any:
            driver.unlabelled()
            return call()

        RayDriver.while_reading = after_reading  # type: ignore[method-assign]
    run(configure_run({}, [str(config)]))


def page(found: dict[str, list[Idle]]) -> str:
    """The table: medians over the turns."""
    lines = []
    for way, turns in found.items():
        middle = [statistics.median(getattr(x, name) for x in turns)
                  for name in ("seconds", "up", "busy", "share")]  # fmt: skip
        lines.append([way, *(f"{x:.1f}" for x in middle[:3]), f"{middle[3]:.0%}"])
    heads = ["unlabelled text is read", "run, s", "workers up, s", "at work, s", "idle"]
    return markdown_table(heads, lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--rows", type=int, default=4000, help="unlabelled sentences of a target")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--idle-minutes", type=float, default=1.0, help="until a worker goes")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.run is not None:
        carried_out(options.run, apart=options.apart)
        return
    os.environ |= {"RAY_memory_monitor_refresh_ms": "0"}  # each node takes the memory for its own
    shape = Shape(workers=0, head_cpus=1, worker_cpus=2, max_workers=1,
                  idle_minutes=options.idle_minutes)  # fmt: skip
    found: dict[str, list[Idle]] = {way: [] for way in WAYS}
    with TemporaryDirectory() as folder:
        for turn in range(options.repeats):
            for way, flags in WAYS.items():
                store = Path(folder) / f"{turn} {way}"
                store.mkdir()
                (store / "run.yaml").write_text(yaml.safe_dump(values_of(store, options.rows)))
                with LocalCluster(shape) as cluster:
                    found[way].append(measured(cluster, store / "run.yaml", flags))
    print(machine())
    print(page(found))


if __name__ == "__main__":
    main()
