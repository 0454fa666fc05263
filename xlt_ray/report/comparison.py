"""The finished comparison as data. Scores are fractions in [0, 1]."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from xlt_ray.report.published import PublishedTable
from xlt_ray.report.record import Report
from xlt_ray.report.significance import Difference

TARGET_LABELS = ("few", "few_seed", "few_weight", "select_on")
"""Keys of the benchmark that a row may have of its own: which labels of targets it is given."""
OF_A_ROW: Mapping[str, tuple[str, ...]] = {
    "benchmark": TARGET_LABELS,
    "translation": (
        "model", "back", "ready", "train", "replace", "train_weight", "project", "layer",
        "threshold", "pivot", "languages",
    ),
}  # fmt: skip
"""Keys besides the method's that a row may have of its own, by section: labels of targets, and what
is read or learnt in translation."""


def _most(values: Sequence[float | None]) -> float | None:
    """The largest; None if one is not known, or there is none."""
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


@dataclass(frozen=True)
class ScoredRun:
    """One run: a row of the table with one seed.

    Attributes:
        report: The run's report.
        models: Fingerprint of the model behind each scores step, by the step's title.
    """

    report: Report
    models: Mapping[str, str]

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.report.config["seed"]

    @property
    def seconds(self) -> float:
        """What all steps took when they were computed; a step that comes up twice counts once."""
        return sum({step.fingerprint: step.seconds for step in self.report.steps}.values())

    @property
    def driver_mb(self) -> float | None:
        """Most memory that the driver's process held in a step, in MB; None: not of all known."""
        return _most([step.driver_mb for step in self.report.steps])


@dataclass(frozen=True)
class ComparisonRow:
    """A row of the table: a method with its settings, run with every seed.

    Attributes:
        title: Its title.
        trials: One run per seed, at least one.
    """

    title: str
    trials: Sequence[ScoredRun]

    @property
    def method(self) -> Mapping[str, Any]:
        """Every key of the method, with the value that the runs had."""
        return self.trials[0].report.config["method"]

    @property
    def target_labels(self) -> Mapping[str, Any]:
        """Those of `OF_A_ROW`, as the runs had them."""
        config = self.trials[0].report.config
        return {
            f"{section}.{key}": (config.get(section) or {}).get(key)
            for section, keys in OF_A_ROW.items()
            for key in keys
        }

    @property
    def average(self) -> float | None:
        """Mean over seeds of the average over targets; None without targets."""
        return mean_of([trial.report.average for trial in self.trials])

    @property
    def zero_shot_average(self) -> float | None:
        """The same of the models trained on the source alone."""
        return mean_of([trial.report.zero_shot_average for trial in self.trials])

    @property
    def std(self) -> float | None:
        """Sample standard deviation of the averages over seeds; None for one seed."""
        values = [trial.report.average for trial in self.trials]
        known = [value for value in values if value is not None]
        return statistics.stdev(known) if len(known) == len(values) > 1 else None

    @property
    def seconds(self) -> float:
        """Mean over seeds of what all its steps took."""
        return statistics.fmean(trial.seconds for trial in self.trials)

    @property
    def driver_mb(self) -> float | None:
        """Most memory that the driver's process held in a step of any seed, in MB."""
        return _most([trial.driver_mb for trial in self.trials])

    def score(self, language: str) -> float | None:
        """Mean final score of a language over seeds; None where a run has no score of it."""
        reports = [trial.report for trial in self.trials]
        scores = [report.final.get(language, {}).get(report.metric) for report in reports]
        return mean_of(scores)


@dataclass(frozen=True)
class SharedStep:
    """A training that several rows with one seed have in common.

    Attributes:
        title: Title of the step.
        seed: The seed.
        fingerprint: The step's fingerprint.
        rows: Titles of the rows that need it.
        seconds: What it took, once.
    """

    title: str
    seed: int
    fingerprint: str
    rows: Sequence[str]
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """Methods on one benchmark with the same seeds.

    Attributes:
        name: Name of the comparison's folder.
        rows: The rows, at least one; all with the same seeds, languages and metric.
        published: Printed tables to be shown next to them.
        config: The configuration, as plain values.
        tested: Whether rows differ from one of them by more than chance, where that is known.
    """

    name: str
    rows: Sequence[ComparisonRow]
    published: Sequence[PublishedTable]
    config: Mapping[str, Any]
    tested: Sequence[Difference] = ()

    @property
    def first(self) -> Report:
        """A report, for what all of them say alike: benchmark, metric, languages, versions."""
        return self.rows[0].trials[0].report

    @property
    def seeds(self) -> list[int]:
        """The seeds, in order."""
        return [trial.seed for trial in self.rows[0].trials]

    @property
    def before(self) -> str:
        """What the models that the rows began with are called, one word for all if they have it."""
        words = {trial.report.before for row in self.rows for trial in row.trials}
        return words.pop() if len(words) == 1 else "first model"

    @property
    def languages(self) -> list[str]:
        """The scored languages: targets, then the source languages."""
        reports = [trial.report for row in self.rows for trial in row.trials]
        found = list(dict.fromkeys(name for report in reports for name in report.languages))
        return sorted(found, key=lambda name: name in self.first.sources_only)

    @property
    def shared(self) -> list[SharedStep]:
        """Trainings that several rows need, by seed and in the order of the first such row."""
        users: dict[tuple[int, str], dict[str, tuple[str, float]]] = {}
        for row in self.rows:
            for trial in row.trials:
                for step in trial.report.steps:
                    if step.kind == "model":
                        found = users.setdefault((trial.seed, step.fingerprint), {})
                        found[row.title] = (step.title, step.seconds)
        steps = []
        for (seed, fingerprint), by_row in users.items():
            title, seconds = next(iter(by_row.values()))
            if len(by_row) > 1:
                steps.append(SharedStep(title, seed, fingerprint, list(by_row), seconds))
        return sorted(steps, key=lambda step: self.seeds.index(step.seed))

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain values, with what is derived from the reports."""
        first = self.first
        return {
            "name": self.name,
            "benchmark": first.benchmark,
            "metric": first.metric,
            "source": list(first.source),
            "targets": list(first.targets),
            "seeds": self.seeds,
            "rows": [self._row_to_json(row) for row in self.rows],
            "significance": [asdict(item) for item in self.tested],
            "shared": [asdict(step) for step in self.shared],
            "published": [asdict(table) for table in self.published],
            "config": dict(self.config),
        }

    def _row_to_json(self, row: ComparisonRow) -> dict[str, Any]:
        return {
            "title": row.title,
            "method": dict(row.method),
            "scores": {language: row.score(language) for language in self.languages},
            "average": row.average,
            "std": row.std,
            "zero_shot_average": row.zero_shot_average,
            "seconds": row.seconds,
            "driver_mb": row.driver_mb,
            "trials": [
                {
                    "seed": trial.seed,
                    "seconds": trial.seconds,
                    "models": dict(trial.models),
                    "report": trial.report.to_json(),
                }
                for trial in row.trials
            ],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; what is derived is computed again."""
        rows = [
            ComparisonRow(
                row["title"],
                [
                    ScoredRun(Report.from_json(trial["report"]), trial["models"])
                    for trial in row["trials"]
                ],
            )
            for row in record["rows"]
        ]
        published = [PublishedTable.from_json(table) for table in record["published"]]
        tested = tuple(Difference.from_json(item) for item in record.get("significance", ()))
        return cls(record["name"], rows, published, record["config"], tested)


@dataclass(frozen=True)
class Grid:
    """A table as text.

    Attributes:
        columns: Titles of the columns.
        rows: Cells, as many in each row as there are columns.
        labels: How many columns, from the first, are words; the others are numbers.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int = 1

    def parts(self, most: int) -> list["Grid"]:
        """The table in parts that go below each other, each with the labels.

        Args:
            most: Columns of numbers of a part at most, 1 or more.
        """
        starts = range(self.labels, len(self.columns), most)
        return [self._part(start, start + most) for start in starts]

    def _part(self, start: int, end: int) -> "Grid":
        lines = [[*line[: self.labels], *line[start:end]] for line in (self.columns, *self.rows)]
        return Grid(lines[0], lines[1:], self.labels)


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean; None where a value is missing or there is none."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None
