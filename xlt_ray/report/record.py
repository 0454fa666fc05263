"""The finished report as data: everything that report.json holds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from xlt_ray.config.choice import chosen_by
from xlt_ray.recipe.mechanism import Mechanism

Scores = Mapping[str, Mapping[str, float | int]]
"""`{language: {metric: fraction, "support": n}}`."""


@dataclass(frozen=True)
class RoundReport:
    """What one self-training round did.

    Attributes:
        round: Its number, from 1.
        selected: Selected rows per target language.
        set_sizes: Selected items by the size of their candidate set, as text.
        source_dev: Source-dev score of the round's model; None where the round trained none.
        scores: Scores of the round's model on the test splits, where the run was asked for them.
        drift: Share of the items that this round and the one before labelled whose label is
            another one, in [0, 1]; None where there is nothing to compare.
    """

    round: int
    selected: Mapping[str, int]
    set_sizes: Mapping[str, int]
    source_dev: float | None
    scores: Scores | None = None
    drift: float | None = None

    @property
    def total(self) -> int:
        """Selected rows of all languages."""
        return sum(self.selected.values())

    def to_json(self) -> dict[str, Any]:
        """The round as plain values; `scores` and `drift` only where there are some."""
        record = asdict(self)
        missing = [name for name in ("scores", "drift") if record[name] is None]
        return _without(record, *missing)


@dataclass(frozen=True)
class StepReport:
    """One durable step: what it was, what it cost when it was computed, and whether it was now.

    ``versions`` are those of the packages that computed it. ``driver_mb`` is the most memory that
    the driver's process held meanwhile, in MB, where that is known.
    """

    title: str
    kind: str
    fingerprint: str
    seconds: float
    cached: bool
    versions: Mapping[str, str] = field(default_factory=dict)
    driver_mb: float | None = None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Self:
        """Takes a ledger entry, which holds more."""
        return cls(
            title=entry["title"],
            kind=entry["kind"],
            fingerprint=entry["fingerprint"],
            seconds=entry["seconds"],
            cached=entry["cached"],
            versions=entry.get("versions", {}),
            driver_mb=entry.get("driver_mb"),
        )


@dataclass(frozen=True)
class Report:
    """Results of a run, and what is needed to repeat it. Scores are fractions in [0, 1].

    Attributes:
        run: Name of the run.
        method: Name of the method.
        benchmark: Registry name of the benchmark.
        metric: "f1", "accuracy" or "macro_f1": the key of every score.
        source: Source languages.
        targets: Target languages, in the order of the configuration.
        zero_shot: Scores of the model trained on the source languages alone, and on the few
            labelled rows that targets may have; `before` is what pages call it.
        final: Scores of the method's model.
        rounds: The rounds between the two.
        steps: The steps of the run, in order.
        config: The whole configuration, as plain values.
        versions: Versions of the packages that computed the steps, several where they differ.
        notes: What the reader of the scores has to know.
        mechanisms: How far the parts of the method were at work.
        by_class: Of the models "zero_shot" and "final", per language, precision, recall, F1 and
            support of each entity type, or class.
        made_by: ``code``, a digest of the code that the run rests on, and its ``commit`` if known.
        few: Labelled rows that were learned from, by target; also by a run that it started from.
        target_dev: Targets whose labelled dev rows chose models, also those that it started from.
        labellers: Who gave labels of unlabelled text that were learned from, likewise.
    """

    run: str
    method: str
    benchmark: str
    metric: str
    source: Sequence[str]
    targets: Sequence[str]
    zero_shot: Scores
    final: Scores
    rounds: Sequence[RoundReport]
    steps: Sequence[StepReport]
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    notes: Sequence[str] = field(default_factory=list)
    mechanisms: Sequence[Mechanism] = field(default_factory=list)
    by_class: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)
    made_by: Mapping[str, str] = field(default_factory=dict)
    few: Mapping[str, int] = field(default_factory=dict)
    target_dev: Sequence[str] = field(default_factory=list)
    labellers: Sequence[str] = field(default_factory=list)

    @property
    def before(self) -> str:
        """What the model that the method began with is called: labels of targets or none."""
        return "few-shot" if self.few else "zero-shot"

    @property
    def chosen_by(self) -> str | None:
        """How the result was chosen among the models of the loop, if not on source dev."""
        how = chosen_by(self.config.get("method", {}))
        return how if how is not None and any(how in note for note in self.notes) else None

    @property
    def counted(self) -> list[str]:
        """The languages averages are over: targets other than the source, or with one left out in
        turn all targets; those without test data are left out."""
        scored = [name for name in self.targets if name in self.final or name in self.zero_shot]
        if self.leaves_one_out:
            return scored
        return [language for language in scored if language not in self.source]

    @property
    def sources_only(self) -> list[str]:
        """Source languages that averages leave out."""
        return [language for language in self.source if language not in self.counted]

    @property
    def leaves_one_out(self) -> bool:
        """Whether a source that is a target was learnt from the other sources alone."""
        return bool(self.config.get("benchmark", {}).get("leave_one_out"))

    @property
    def languages(self) -> list[str]:
        """Every scored language: the counted ones, then the rest."""
        return list(dict.fromkeys([*self.counted, *self.targets, *self.final, *self.zero_shot]))

    @property
    def zero_shot_average(self) -> float | None:
        """Mean zero-shot score over the targets without the source; None without such targets."""
        return self.average_of(self.zero_shot)

    @property
    def average(self) -> float | None:
        """Mean final score over the targets without the source; None without such targets."""
        return self.average_of(self.final)

    @property
    def course(self) -> list[float | None]:
        """Mean score over the targets after each round; empty where no round was scored."""
        if all(item.scores is None for item in self.rounds):
            return []
        return [
            None if item.scores is None else self.average_of(item.scores) for item in self.rounds
        ]

    @property
    def last_round_average(self) -> float | None:
        """Mean score over the targets of the last round's model; None where it was not scored."""
        return self.course[-1] if self.course else None

    @property
    def all_versions(self) -> list[tuple[str, str]]:
        """What computed the run, for a table: packages, and commit and code of this one."""
        own = [(f"xlt_ray {name}", value) for name, value in sorted(self.made_by.items())]
        return [*sorted(self.versions.items()), *own]

    def average_of(self, scores: Scores) -> float | None:
        """Mean score over the targets without the source; None without such targets.

        Args:
            scores: Scores that hold all those languages.
        """
        values = [scores[language][self.metric] for language in self.counted]
        return sum(values) / len(values) if values else None

    def to_json(self) -> dict[str, Any]:
        """The report as plain values, with the averages."""
        return {
            "run": self.run,
            "method": self.method,
            "benchmark": self.benchmark,
            "metric": self.metric,
            "source": list(self.source),
            "targets": list(self.targets),
            "zero_shot": _plain(self.zero_shot),
            "final": _plain(self.final),
            "zero_shot_average": self.zero_shot_average,
            "average": self.average,
            "rounds": [item.to_json() for item in self.rounds],
            "steps": [asdict(step) for step in self.steps],
            "config": dict(self.config),
            "versions": dict(self.versions),
            "notes": list(self.notes),
            "by_class": {
                model: {language: _plain(found) for language, found in by_language.items()}
                for model, by_language in self.by_class.items()
            },
            "made_by": dict(self.made_by),
            "few": dict(self.few),
            "target_dev": list(self.target_dev),
            "labellers": list(self.labellers),
            "mechanisms": [item.to_json() for item in self.mechanisms],
        }

    @classmethod
    def build(
        cls,
        *,
        rounds: Sequence[Mapping[str, Any]],
        steps: Sequence[Mapping[str, Any]],
        mechanisms: Sequence[Mapping[str, Any]] = (),
        **fields: Any,
    ) -> Self:
        """Makes a report from plain rounds and ledger entries.

        Args:
            rounds: The fields of `RoundReport`, by round.
            steps: Ledger entries, or the fields of `StepReport`.
            mechanisms: The fields of `Mechanism`.
            **fields: The other fields, as they are.
        """
        return cls(
            rounds=[RoundReport(**item) for item in rounds],
            steps=[StepReport.of(step) for step in steps],
            mechanisms=[Mechanism.from_json(item) for item in mechanisms],
            **fields,
        )

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; the averages are computed again."""
        return cls.build(**_without(record, "zero_shot_average", "average"))


def versions_of(ledger: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Version of each package that computed the steps of a ledger; several with commas between."""
    found: dict[str, set[str]] = {}
    for entry in ledger:
        for name, version in entry.get("versions", {}).items():
            found.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(known)) for name, known in sorted(found.items())}


def _plain(scores: Scores) -> dict[str, dict[str, float | int]]:
    return {language: dict(values) for language, values in scores.items()}


def _without(record: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in keys}
