"""Figures of claims from finished comparisons: paired differences, with intervals over the test
sentences and the seeds.

The sentences are drawn once for all rows, and both rows of a claim have the same seeds. Comparisons
of one preset in several folders are one: their rows and seeds are put together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.claims import records
from benchmarks.claims.kept import Kept
from benchmarks.claims.measured import Figure, Measured, Setting
from benchmarks.claims.schema import (
    Above,
    Claim,
    GainWhereLow,
    Mechanism,
    NotTestable,
    Records,
    folder_of,
)
from xlt_ray.commands.significance import Stage, counts_of_run
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.labels import LabelSet
from xlt_ray.report.comparison import Comparison
from xlt_ray.report.record import Report
from xlt_ray.report.significance import Floats, draw, interval, rank_correlation
from xlt_ray.run.check import configure_run
from xlt_ray.store.artifacts import Store
from xlt_ray.store.run_folder import RunFolder

ZERO, FINAL = "zero-shot", "final"


class NotMeasuredError(Exception):
    """What keeps a claim from being measured, as a sentence without its full stop."""


@dataclass(frozen=True)
class Runs:
    """The runs of a preset, from one or more finished comparisons.

    Attributes:
        reports: Store and report by row and seed; no store where the counts were kept.
    """

    reports: Mapping[str, Mapping[int, tuple[Store | None, Report]]]
    _counts: dict[tuple[str, int, Stage], dict[str, Floats]] = field(default_factory=dict)

    @property
    def first(self) -> Report:
        """A report, for what all of them say alike."""
        return next(report for row in self.reports.values() for _, report in row.values())

    @cached_property
    def labels(self) -> LabelSet:
        """Classes of the task."""
        return benchmark_of(configure_run(self.first.config)).label_set

    def seeds(self, *rows: str) -> list[int]:
        """Seeds that all of some rows have.

        Raises:
            NotMeasuredError: there is no such row, or no such seed.
        """
        for row in rows:
            if row not in self.reports:
                there = ", ".join(self.reports)
                raise NotMeasuredError(f"no row {row!r} was run, there are: {there}")
        found = sorted(set.intersection(*(set(self.reports[row]) for row in rows)))
        if not found:
            raise NotMeasuredError(f"rows {', '.join(rows)} have no seed in common")
        return found

    def counts(self, row: str, seeds: Sequence[int], stage: Stage) -> list[dict[str, Floats]]:
        """Counts of the test sentences by target, for every seed."""
        found = []
        for seed in seeds:
            key = (row, seed, stage)
            if key not in self._counts:
                store, report = self.reports[row][seed]
                own = counts_of_run(store, report, self.labels, stage) if store else None
                if own is None:
                    raise NotMeasuredError(f"{stage} predictions of {report.run} are gone")
                self._counts[key] = own
            found.append(self._counts[key])
        return found

    @property
    def setting(self) -> Setting:
        """What they were measured with."""
        reports = [report for row in self.reports.values() for _, report in row.values()]
        config = self.first.config
        rows = config["benchmark"].get("max_rows") or {}
        commits = {report.made_by["commit"] for report in reports if "commit" in report.made_by}
        return Setting(
            benchmark=self.first.benchmark,
            backbone=Path(config["backbone"]).name,
            targets=self.first.counted,
            seeds=sorted({seed for row in self.reports.values() for seed in row}),
            max_rows=dict(rows) if isinstance(rows, Mapping) else {"every split": rows},
            commits=sorted(commits),
        )


def comparisons_in(folders: Sequence[Path]) -> Iterator[tuple[Store, Comparison]]:
    """The finished comparisons in some folders of runs, with their stores."""
    for folder in folders:
        store = Store(str(folder.resolve().parent))
        for path in sorted(folder.glob("*/compare.json")):
            record = RunFolder(store, path.parent.name, create=False).read_json("compare.json")
            yield store, Comparison.from_json(record)


def runs_of(
    found: Iterable[tuple[Store, Comparison]], kept: Iterable[Kept] = ()
) -> dict[str, Runs]:
    """The runs of comparisons by the name of their folders.

    Args:
        found: Finished comparisons, with their stores.
        kept: Runs that were kept; one that is in a comparison, too, is taken from there.

    Raises:
        ConfigError: a row was run twice with a seed.
    """
    by_name: dict[str, dict[str, dict[int, tuple[Store | None, Report]]]] = {}
    counts: dict[str, dict[tuple[str, int, Stage], dict[str, Floats]]] = {}
    for store, comparison in found:
        rows = by_name.setdefault(comparison.name, {})
        for row in comparison.rows:
            seeds = rows.setdefault(row.title, {})
            for trial in row.trials:
                if trial.seed in seeds:
                    place = f"{comparison.name}: row {row.title!r}, seed {trial.seed}"
                    raise ConfigError(f"{place} is in two of the folders")
                seeds[trial.seed] = (store, trial.report)
    for run in kept:
        seeds = by_name.setdefault(run.comparison, {}).setdefault(run.title, {})
        if run.seed not in seeds:
            seeds[run.seed] = (None, run.report)
            own = counts.setdefault(run.comparison, {})
            own |= {(run.title, run.seed, stage): dict(of) for stage, of in run.counts.items()}
    return {name: Runs(rows, counts.get(name, {})) for name, rows in by_name.items()}


def measure(
    claims: Sequence[Claim],
    folders: Sequence[Path],
    say: Callable[[str], object] = print,
    kept: Sequence[Kept] = (),
) -> Measured:
    """Figures of all claims that something in some folders of runs belongs to.

    Args:
        claims: The claims.
        folders: Folders of runs, ``<store.root>/runs``.
        say: Takes a line on each claim that was measured, or that could not be.
        kept: Runs that were kept, beside those in the folders.

    Raises:
        ConfigError: a folder is not there, or a row is in two of them with one seed.
    """
    if gone := [str(folder) for folder in folders if not folder.is_dir()]:
        raise ConfigError(f"no folder {', '.join(gone)}")
    runs = runs_of(comparisons_in(folders), kept)
    figures, settings = dict[str, Figure](), dict[str, Setting]()
    for claim in claims:
        if claim.comparison is None:
            continue
        own = runs.get(folder_of(claim.comparison)) or runs.get(claim.comparison)
        try:
            if isinstance(claim.test, Records):
                found = records.figure_of(claim.test, folders)
                if found is None:
                    continue
                figure, setting = found, own.setting if own else records.setting_of(claim, folders)
            elif own is None:
                continue
            else:
                figure, setting = figure_of(claim, own), own.setting
        except NotMeasuredError as error:
            say(f"{claim.id}: not measured: {error}")
            continue
        figures[claim.id], settings[claim.comparison] = figure, setting
        say(f"{claim.id}: {figure.verdict}")
    return Measured(settings, figures)


def figure_of(claim: Claim, runs: Runs) -> Figure:
    """The figure of a claim about rows of a comparison.

    Raises:
        NotMeasuredError: a row, its predictions or its figures are not there.
    """
    test = claim.test
    assert not isinstance(test, NotTestable | Records)
    if isinstance(test, Mechanism):
        return _mechanism(test, runs)
    seeds = runs.seeds(test.row, test.against) if isinstance(test, Above) else runs.seeds(test.row)
    counts = {FINAL: runs.counts(test.row, seeds, "final")}
    if isinstance(test, Above):
        counts[ZERO] = runs.counts(test.against, seeds, "final")
    else:
        counts[ZERO] = runs.counts(test.row, seeds, "zero-shot")
    if not isinstance(test, GainWhereLow) and test.targets is not None:
        counts = {row: [_some(one, test.targets) for one in of] for row, of in counts.items()}
    found = draw(runs.first.metric, counts)
    if not found.targets:
        raise NotMeasuredError("no target has test sentences")
    gain_BT = found.over(FINAL) - found.over(ZERO)
    gain_T = found.at(FINAL) - found.at(ZERO)
    if isinstance(test, GainWhereLow):
        value = float(rank_correlation(found.at(ZERO), gain_T))
        ends = interval(rank_correlation(found.over(ZERO), gain_BT))
        return Figure(value, ends, seeds, claimed="below", unit="correlation")
    return Figure(float(gain_T.mean()), interval(gain_BT.mean(axis=1)), seeds)


def _some(counts: Mapping[str, Floats], targets: Sequence[str]) -> dict[str, Floats]:
    """Counts of some targets."""
    if gone := [name for name in targets if name not in counts]:
        raise NotMeasuredError(f"no target {', '.join(gone)}, there are: {', '.join(counts)}")
    return {name: counts[name] for name in targets}


def _mechanism(test: Mechanism, runs: Runs) -> Figure:
    seeds = runs.seeds(test.row)
    values_R = np.array([_figure(runs.reports[test.row][seed][1], test) for seed in seeds])
    drawn_BR = np.random.default_rng(0).integers(0, len(seeds), (1000, len(seeds)))
    ends = interval(values_R[drawn_BR].mean(axis=1)) if len(seeds) > 1 else None
    return Figure(
        float(values_R.mean()), ends, seeds, bound=test.bound, claimed=test.claimed, unit="number"
    )


def _figure(report: Report, test: Mechanism) -> float:
    """A figure of a report's mechanisms, or the mean of a part's figures."""
    for item in report.mechanisms:
        if item.part.startswith(test.part):
            found = {key: value for key, value in item.figures.items() if np.isfinite(value)}
            values = [value for key, value in found.items() if test.figure in (None, key)]
            if not values:
                raise NotMeasuredError(f"{report.run}: {item.part} has no figure {test.figure}")
            return float(np.mean(values))
    there = "; ".join(item.part for item in report.mechanisms)
    raise NotMeasuredError(f"{report.run}: no part {test.part!r}, there are: {there}")
