"""Runs of comparisons that are kept beside the claims, so that seeds can be added to them later.

A file for each run: its report, and the counts of every test sentence, which intervals are drawn
from. No text and no predictions are in there. `keep` takes finished runs of unfinished comparisons,
too.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims.schema import ROOT
from xlt_ray.commands.compare import run_name, slug
from xlt_ray.commands.significance import Stage, counts_of_run
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.report.record import Report
from xlt_ray.report.significance import Floats
from xlt_ray.run.check import configure_run
from xlt_ray.store.artifacts import Store
from xlt_ray.store.run_folder import RunFolder

KEPT = ROOT / "docs/claims/runs"
STAGES: tuple[Stage, ...] = ("zero-shot", "final")


@dataclass(frozen=True)
class Kept:
    """A run that is kept.

    Attributes:
        comparison: Name of the comparison that it is of.
        title: Its row.
        report: Its report.
        counts: Counts of the test sentences by target, of the models that were scored.
    """

    comparison: str
    title: str
    report: Report
    counts: Mapping[Stage, Mapping[str, Floats]]

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.report.config["seed"]

    @property
    def place(self) -> Path:
        """Where it is kept, below `KEPT`."""
        return Path(self.comparison) / f"{slug(self.title)}-s{self.seed}.json"


def runs_to_keep(folders: Sequence[Path]) -> Iterator[Kept]:
    """The finished runs of all comparisons in some folders of runs.

    Raises:
        ConfigError: predictions of a run are gone from its store.
    """
    for folder in folders:
        store = Store(str(folder.resolve().parent))
        for path in sorted(folder.glob("*/config.json")):
            section = json.loads(path.read_bytes()).get("compare")
            for title in section["methods"] if section else ():
                for seed in section["seeds"]:
                    report = _report(store, run_name(path.parent.name, title, seed))
                    if report is not None:
                        yield _kept(store, path.parent.name, title, report)


def _report(store: Store, name: str) -> Report | None:
    """The report of a run that is done as it is configured now."""
    folder = RunFolder(store, name, create=False)
    report = folder.read_json("report.json")
    if report is None or report["config"] != folder.read_json("config.json"):
        return None
    return Report.from_json(report)


def _kept(store: Store, comparison: str, title: str, report: Report) -> Kept:
    labels = benchmark_of(configure_run(report.config)).label_set
    counts = dict[Stage, Mapping[str, Floats]]()
    for stage in STAGES:
        found = counts_of_run(store, report, labels, stage)
        if found is not None:
            counts[stage] = found
    if "final" not in counts:
        raise ConfigError(f"final predictions of {report.run} are gone from {store.root}")
    return Kept(comparison, title, report, counts)


def without_places(value: Any) -> Any:
    """JSON whose paths of this machine, which say nothing to others, begin with FOLDER."""
    if isinstance(value, str):
        return f"FOLDER/{Path(value).name}" if value.startswith("/") else value
    if isinstance(value, Mapping):
        return {key: without_places(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(inner) for inner in value]
    return value


def write_kept(kept: Kept, to: Path = KEPT) -> Path:
    """Write a run; returns where."""
    counts = {
        stage: {target: found.T.astype(int).tolist() for target, found in of.items()}
        for stage, of in kept.counts.items()
    }
    record = {
        "comparison": kept.comparison,
        "title": kept.title,
        "counts": counts,
        "report": without_places(kept.report.to_json()),
    }
    path = to / kept.place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, separators=(",", ":")) + "\n")
    return path


def read_kept(of: Path = KEPT) -> list[Kept]:
    """All runs that are kept."""
    return [_read(path) for path in sorted(of.glob("*/*.json"))]


def _read(path: Path) -> Kept:
    record: dict[str, Any] = json.loads(path.read_bytes())
    counts = {
        stage: {target: np.array(found, np.float64).T for target, found in of.items()}
        for stage, of in record["counts"].items()
    }
    return Kept(record["comparison"], record["title"], Report.from_json(record["report"]), counts)
