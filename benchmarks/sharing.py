"""What a sweep saves: its trials in one store, against as many searches that share nothing.

Three parts on one machine, one after the other, with a folder each:

1. the sweep, undisturbed;
2. every trial of it as a search of its own, with a store of its own, as many at once;
3. the sweep again, killed with all its processes when half of the trials are done, and started
   again with the same command.

    python benchmarks/sharing.py --folder FOLDER -- <flags of jobs/sweep.py>

The folder must be new, and stays: all ledgers are in it. The table is in its `sharing.md`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KINDS = {"train": "model", "annotate": "annotation"}


@dataclass(frozen=True)
class Part:
    """What one part took.

    Attributes:
        title: What was done.
        seconds: Wall time.
        steps: Titles of the computed steps by kind, every session and run of the part.
        repeated: How many finished steps were computed again.
    """

    title: str
    seconds: float
    steps: Counter[str]
    repeated: int

    @classmethod
    def of(cls, title: str, seconds: float, stores: Sequence[Path]) -> "Part":
        """Count the events of all runs in some stores."""
        steps, repeated = Counter[str](), 0
        for store in stores:
            computed: Counter[str] = Counter()
            for path in sorted(store.glob("runs/*/events.jsonl")):
                for event in map(json.loads, path.read_text().splitlines()):
                    if event["event"] == "finished" and not event["cached"]:
                        computed[event["fingerprint"]] += 1
                        steps[event["kind"]] += 1
            repeated += sum(computed.values()) - len(computed)
        return cls(title, seconds, steps, repeated)

    def row(self, base: "Part") -> str:
        """A line of the table."""
        counts = [self.steps[kind] for kind in KINDS.values()]
        rest = sum(self.steps.values()) - sum(counts)
        cells = [self.title, f"{self.seconds:.0f}", f"{self.seconds / base.seconds:.2f}"]
        return "| " + " | ".join([*cells, *map(str, [*counts, rest, self.repeated])]) + " |"


def start(flags: Sequence[str], store: Path) -> subprocess.Popen[bytes]:
    """Start a sweep in a session of its own."""
    store.mkdir(parents=True, exist_ok=True)
    with (store / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "jobs/sweep.py", *flags, *sets({"store.root": str(store)})],
            cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def sets(values: dict[str, str]) -> list[str]:
    """``--set`` flags."""
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def end(process: subprocess.Popen[bytes], store: Path) -> None:
    """Wait for success."""
    if process.wait():
        sys.exit(f"exit code {process.returncode}; see {store}/log")


def finished(store: Path) -> int:
    """Trials that have ended so far."""
    return len(list(store.glob("runs/*/trial.json")))


def whole(flags: Sequence[str], store: Path) -> tuple[Part, list[dict]]:
    """The undisturbed sweep and its trials."""
    began = time.monotonic()
    end(start(flags, store), store)
    seconds = time.monotonic() - began
    (path,) = store.glob("runs/*/sweep.json")
    trials = [
        trial for scope in json.loads(path.read_text())["scopes"] for trial in scope["trials"]
    ]
    return Part.of("sweep", seconds, [store]), trials


def apart(flags: Sequence[str], folder: Path, trials: Sequence[dict], at_once: int) -> Part:
    """Every trial with a store of its own."""
    began = time.monotonic()
    stores = [folder / str(number) for number in range(len(trials))]
    waiting = list(zip(stores, trials, strict=True))
    running: dict[Path, subprocess.Popen[bytes]] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            store, trial = waiting.pop(0)
            keys = json.dumps({key: [value] for key, value in trial["parameters"].items()})
            own = sets({"sweep.keys": keys, "sweep.search": "grid", "resources.train_cpus": "1"})
            running[store] = start([*flags, *own], store)
        for store, process in list(running.items()):
            if process.poll() is not None:
                end(running.pop(store), store)
        time.sleep(0.1)
    title = f"{len(trials)} searches of one trial, nothing shared"
    return Part.of(title, time.monotonic() - began, stores)


def killed(flags: Sequence[str], store: Path, half: int) -> Part:
    """The sweep, killed with its Ray after half of its trials, and started again."""
    began = time.monotonic()
    first = start(flags, store)
    while finished(store) < half:
        if first.poll() is not None:
            sys.exit(f"ended before it could be killed; see {store}/log")
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    print(f"killed after {finished(store)} trials", flush=True)
    end(start(flags, store), store)
    title = f"sweep, killed after {half} trials and started again"
    return Part.of(title, time.monotonic() - began, [store])


def table(parts: Sequence[Part], at_once: int) -> str:
    """The parts as Markdown."""
    loads = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    head = "| | wall seconds | ratio | train steps | annotate steps | other steps | repeated |"
    lines = [head, "|:--|--:|--:|--:|--:|--:|--:|", *(part.row(parts[0]) for part in parts)]
    note = f"{at_once} trials at once, {os.cpu_count()} CPU cores, load at the end {loads}"
    return "\n".join([*lines, "", note, ""])


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--at-once", type=int, default=os.cpu_count())
    parser.add_argument("flags", nargs="*", help="of jobs/sweep.py, after --")
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True)
    flags = [*given.flags, *sets({"sweep.concurrent": str(given.at_once)})]
    sweep, trials = whole(flags, folder / "sweep")
    print(sweep, flush=True)
    alone = [*given.flags, *sets({"sweep.concurrent": "1"})]
    parts = [sweep, apart(alone, folder / "apart", trials, given.at_once)]
    parts.append(killed(flags, folder / "killed", len(trials) // 2))
    text = table(parts, given.at_once)
    (folder / "sharing.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
