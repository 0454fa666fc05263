"""How a split of some languages becomes an artifact: text, or gold labels, never both at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from xlt_ray.config.schema import FileSplit, RunConfig, Split
from xlt_ray.data.benchmarks.registry import Benchmark, sources
from xlt_ray.data.readers.base import NamedSource, Source
from xlt_ray.data.readers.few import Few, without
from xlt_ray.data.readers.subsets import Joined, PriorShifted, RowRange
from xlt_ray.engine.read import ReadGold, ReadText, run_read
from xlt_ray.labels import LabelSet
from xlt_ray.run.policy import RunPolicy
from xlt_ray.run.steps import Runner, Step
from xlt_ray.store.artifacts import Artifact

Content = Literal["text", "gold"]
AnySplit = Split | Literal["unlabelled"]
"""A split, or for every language the one whose text is used without its labels."""


@dataclass(frozen=True)
class Reading:
    """What is read of a benchmark.

    Attributes:
        config: The configuration.
        benchmark: The benchmark.
        labels: Classes of the task.
        order: Languages whose train rows are parts of one parallel file, in their order.
        runner: Runs the steps that read.
        policy: Says what becomes of what cannot be read.
        shard_rows: Rows of a shard.
        few: Labelled rows of targets that have some: what is read of these as train text.
        texts: The texts that were read.
        named: The sources of the splits that were read.
    """

    config: RunConfig[Any]
    benchmark: Benchmark
    labels: LabelSet
    order: tuple[str, ...]
    runner: Runner
    policy: RunPolicy
    shard_rows: int
    few: Mapping[str, int | None] = field(default_factory=dict)
    texts: dict[tuple[tuple[str, ...], AnySplit], Artifact] = field(default_factory=dict)
    named: dict[tuple[tuple[str, ...], AnySplit], tuple[NamedSource, ...]] = field(
        default_factory=dict
    )

    def text(self, title: str, languages: Sequence[str], split: AnySplit) -> Artifact:
        """The text of a split of some languages."""
        key = (tuple(languages), split)
        if key not in self.texts:
            self.texts[key] = read(self, "text", title, languages, split)
        return self.texts[key]

    def sources(self, languages: Sequence[str], split: AnySplit) -> tuple[NamedSource, ...]:
        """What a split of some languages is read from; text and labels are of the same files, which
        are looked at once for both."""
        key = (tuple(languages), split)
        if key not in self.named:
            learned = split in ("train", "unlabelled")
            few = {x: _few(self, x) for x in languages if learned and x in self.few}
            others = [name for name in languages if split != "train" or name not in few]
            found = _found(self, self.splits(others, split), few)
            known = {**few, **dict(zip(others, found, strict=True))}
            found = [known[name] for name in languages]
            self.named[key] = tuple(NamedSource.of(item) for item in found)
        return self.named[key]

    def splits(self, languages: Sequence[str], split: AnySplit) -> dict[str, tuple[FileSplit, ...]]:
        """The splits of each language that are read as one."""
        choose = self.config.benchmark.unlabelled_splits_of
        may_choose = split == "unlabelled" and self.benchmark.files is None
        return {name: choose(name) if may_choose else (split,) for name in languages}


def read(
    reading: Reading, content: Content, title: str, languages: Sequence[str], split: AnySplit
) -> Artifact:
    """Text, or gold labels, of a split of some languages."""
    config = reading.config
    kind = ReadText if content == "text" else ReadGold
    try:
        found = reading.sources(languages, split)
        task = kind(
            sources=found,
            task=reading.benchmark.task,
            labels=None if content == "text" else reading.labels,
            limits={item.source.split: _limit(reading, item.source.split, split) for item in found},
            shard_rows=reading.shard_rows,
            max_bad_fraction=config.data.max_bad_fraction,
        )
        return reading.runner.run(Step(f"{title} {content}", task), run_read)
    except ValueError as error:
        return reading.policy.unreadable(f"{title} {content}", content, error)


def _limit(reading: Reading, split: str, role: AnySplit) -> int | None:
    """Rows at most of a split in a role; of several in one each has its own, or all together."""
    known, most = get_args(FileSplit), reading.config.benchmark.max_unlabelled
    if role == "unlabelled" and most is not None:
        return most
    return reading.config.benchmark.max_rows_of(cast(FileSplit, split)) if split in known else None


def _few(reading: Reading, language: str) -> Few:
    """The few labelled rows of a target. `benchmark.prior` is of its other text: it would choose
    rows by their labels, and hide text that judges models."""
    chosen, rows = reading.config.benchmark, reading.few[language]
    benchmark, judging = reading.benchmark, list[FileSplit]()
    if chosen.select_on == "target_dev":
        judging.append("dev")
    if benchmark.has(language, "test"):
        judging.append("test")
    is_given = benchmark.files is not None and benchmark.has(language, "few")
    (inner,) = _found(reading, {language: ("few" if is_given else "train",)}, shifts=False)
    return Few(
        inner,
        rows,
        reading.config.seed if chosen.few_seed is None else chosen.few_seed,
        chosen.few_weight,
        tuple(_found(reading, {language: (name,)}, shifts=False)[0] for name in judging),
        "benchmark.few" if rows else f"files.paths.{language}.few",
    )


def _found(
    reading: Reading,
    splits: Mapping[str, Sequence[FileSplit]],
    few: Mapping[str, Few] = MappingProxyType({}),
    *,
    shifts: bool = True,
) -> list[Source]:
    """What the splits of each language are read from, in the order of the languages, without the
    text of few labelled rows, and with the classes that `benchmark.prior` wants, if it shifts."""
    chosen, found = reading.config.benchmark, dict[tuple[str, FileSplit], Source]()
    asked: list[FileSplit] = [name for names in splits.values() for name in names]
    for split in dict.fromkeys(asked):
        names = [name for name in splits if split in splits[name]]
        there = sources(
            reading.benchmark,
            root=chosen.root,
            languages=names,
            split=split,
            toy=chosen.toy,
            row_bytes=reading.config.data.max_row_bytes,
        )
        for name, item in zip(names, there, strict=True):
            part = _taken(reading, item, few.get(name))
            found[name, split] = _shifted(reading, part) if shifts else part
    return [_joined(reading, [found[name, split] for split in own]) for name, own in splits.items()]


def _joined(reading: Reading, parts: Sequence[Source]) -> Source:
    """The one source, or several in one."""
    if len(parts) == 1:
        return parts[0]
    if reading.config.benchmark.max_unlabelled is not None:
        return Joined(tuple(parts), tuple(None for _ in parts))
    return Joined(tuple(parts), tuple(_limit(reading, x.split, "unlabelled") for x in parts))


def _taken(reading: Reading, source: Source, few: Few | None) -> Source:
    """The source, or the rows of it that the configuration asks for."""
    chosen = reading.config.benchmark
    if chosen.partition is not None and source.split == "train":
        start = reading.order.index(source.language) * chosen.partition
        source = RowRange(source, start, start + chosen.partition)
    if few is not None:
        source = without(source, few)
    return source


def _shifted(reading: Reading, source: Source) -> Source:
    """The source, or rows of it with the classes that the configuration asks for."""
    chosen = reading.config.benchmark
    prior = chosen.prior.get(source.language)
    if prior is None:
        return source
    shares, seeds = None if prior == "random" else prior, chosen.prior_seed
    most = chosen.prior_rows
    seed = seeds if isinstance(seeds, int) else seeds.get(source.language, 0)
    most = most.get(source.language) if isinstance(most, dict) else most
    return PriorShifted(source, reading.labels, shares, most, seed)
