"""How a split of some languages becomes an artifact: text, or gold labels, never both at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from xlt_ray.config.schema import FileSplit, RunConfig, Split
from xlt_ray.data.benchmarks.registry import Benchmark, sources
from xlt_ray.data.readers.base import Source
from xlt_ray.data.readers.subsets import PriorShifted, RowRange
from xlt_ray.engine.read import Content, ReadTask, run_read
from xlt_ray.labels import LabelSet
from xlt_ray.run.steps import Compute, Runner, Step
from xlt_ray.store.artifacts import Artifact, Attempt

READ = "xlt_ray.engine.read"
"""The module that reads."""
AnySplit = Split | Literal["unlabelled"]
"""A split, or for every language the one whose text is used without its labels."""


class Carry:
    """What becomes of a reading step; a dry run has another one."""

    def __init__(self, runner: Runner):
        self.runner = runner

    def carry_out(self, step: Step, found: Sequence[Source], compute: Compute) -> Artifact:
        """The artifact of a step that reads some sources."""
        return self.runner.run(step, compute)

    def failed(self, step: str, content: Content, error: ValueError) -> Artifact:
        """What stands for what cannot be read; raises the error again."""
        raise error


@dataclass(frozen=True)
class Reading:
    """What is read of a benchmark.

    Attributes:
        config: The configuration.
        benchmark: The benchmark.
        labels: Classes of the task.
        order: Languages whose train rows are parts of one parallel file, in their order.
        carry: What becomes of a step.
        texts: The texts that were read.
        identities: What the sources of a split are known by.
    """

    config: RunConfig[Any]
    benchmark: Benchmark
    labels: LabelSet
    order: tuple[str, ...]
    carry: Carry
    texts: dict[tuple[tuple[str, ...], AnySplit], Artifact] = field(default_factory=dict)
    identities: dict[tuple[tuple[str, ...], AnySplit], list[dict[str, Any]]] = field(
        default_factory=dict
    )

    def text(self, title: str, languages: Sequence[str], split: AnySplit) -> Artifact:
        """The text of a split of some languages."""
        key = (tuple(languages), split)
        if key not in self.texts:
            self.texts[key] = read(self, "text", title, languages, split)
        return self.texts[key]


def read(
    reading: Reading, content: Content, title: str, languages: Sequence[str], split: AnySplit
) -> Artifact:
    """Text, or gold labels, of a split of some languages."""
    config, benchmark = reading.config, reading.benchmark
    choose = config.benchmark.unlabelled_split_of
    may_choose = split == "unlabelled" and benchmark.files is None
    splits: dict[str, FileSplit] = {
        name: choose(name) if may_choose else split for name in languages
    }
    labels = reading.labels if content == "gold" else None
    try:
        found = _found(reading, splits)
        # Text and labels of a split are of the same files, which are looked at once for both.
        place = (tuple(languages), split)
        if place not in reading.identities:
            reading.identities[place] = [item.identity() for item in found]
        identities = reading.identities[place]
        params = {
            "sources": identities,
            "languages": list(languages),
            "task": benchmark.task,
            "labels": labels and list(labels.names),
            "limits": {name: config.benchmark.max_rows_of(name) for name in splits.values()},
            "max_bad_fraction": config.data.max_bad_fraction,
            "shard_rows": config.data.shard_rows,
        }
        modules = (READ, *sorted({type(item).__module__ for item in found}))

        def compute(attempt: Attempt) -> dict[str, Any]:
            task = ReadTask(
                attempt,
                content,
                benchmark.task,
                labels,
                params["limits"],
                config.data.shard_rows,
                config.data.max_bad_fraction,
            )
            return run_read(found, task, identities)

        step = Step(content, f"{title} {content}", params, (), modules)
        return reading.carry.carry_out(step, found, compute)
    except ValueError as error:
        return reading.carry.failed(f"{title} {content}", content, error)


def _found(reading: Reading, splits: Mapping[str, FileSplit]) -> list[Source]:
    """What a split of each language is read from, in the order of the languages."""
    chosen, found = reading.config.benchmark, dict[str, Source]()
    for split in dict.fromkeys(splits.values()):
        names = [name for name in splits if splits[name] == split]
        there = sources(
            reading.benchmark,
            root=chosen.root,
            languages=names,
            split=split,
            toy=chosen.toy,
            row_bytes=reading.config.data.max_row_bytes,
        )
        found |= {name: _taken(reading, item) for name, item in zip(names, there, strict=True)}
    return [found[name] for name in splits]


def _taken(reading: Reading, source: Source) -> Source:
    """The source, or the rows of it that the configuration asks for."""
    chosen = reading.config.benchmark
    if chosen.partition is not None and source.split == "train":
        start = reading.order.index(source.language) * chosen.partition
        source = RowRange(source, start, start + chosen.partition)
    prior = chosen.prior.get(source.language)
    if prior is None:
        return source
    shares, seeds = None if prior == "random" else prior, chosen.prior_seed
    most = chosen.prior_rows
    seed = seeds if isinstance(seeds, int) else seeds.get(source.language, 0)
    most = most.get(source.language) if isinstance(most, dict) else most
    return PriorShifted(source, reading.labels, shares, most, seed)
