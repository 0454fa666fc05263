"""The labellers of a run: who they are, and what they say about its unlabelled text.

The wall around evaluation gold stands here, too: a labeller is asked about the unlabelled text and
about nothing else, and files that the run is scored by are refused as votes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.labellers import LabellerConfig, check_name
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.benchmarks.benchmark import Benchmark
from xlt_ray.data.readers.base import NamedSource, sums_in
from xlt_ray.data.readers.files import ending_of
from xlt_ray.data.readers.globs import absolute
from xlt_ray.data.readers.user_source import COLUMNS, UserSource
from xlt_ray.data.readers.votes import labellers_in, said_in
from xlt_ray.data.schema import BadRow
from xlt_ray.engine.asking import AskTask, labeller_of, run_ask
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.resources import Plan
from xlt_ray.engine.votes import VotesTask, run_votes
from xlt_ray.labels import LabelSet
from xlt_ray.run.labeller_code import CHAT, code_of
from xlt_ray.run.reading import Reading
from xlt_ray.run.steps import Runner, Step
from xlt_ray.store.artifacts import Artifact

_OF_TEXT = (
    "id", "token", "tokens", "text", "text_pair", "premise", "hypothesis",
)  # fmt: skip
"""Fields that files of votes call as all files do."""


@dataclass(frozen=True)
class Voter:
    """A labeller.

    Attributes:
        name: Its name.
        key: The key of its section, for messages.
        config: The section.
    """

    name: str
    key: str
    config: LabellerConfig


def voters_of(config: RunConfig[Any], benchmark: Benchmark, names: Sequence[str]) -> list[Voter]:
    """The labellers of a run, in the configured order; of files of several, all of them.

    Args:
        config: The configuration of the run.
        benchmark: Its benchmark.
        names: Its languages, whose names no labeller may have.

    Raises:
        ConfigError: files cannot be read, or a name is there twice or is that of a language.
    """
    found = dict[str, Voter]()
    for own, section in config.labellers.items():
        key = f"labellers.{own}"
        called = [own]
        if section.each:
            called = _names_in(files_of(config, benchmark, own, section), key)
        for name in called:
            if name in names:
                raise ConfigError(f"{key}: {name!r} is a language of the run, too; rename it")
            if name in found:
                raise ConfigError(f"{key}: {name!r} is a labeller of {found[name].key}, too")
            found[name] = Voter(name, key, section)
    return list(found.values())


def files_of(
    config: RunConfig[Any], benchmark: Benchmark, name: str, section: LabellerConfig
) -> UserSource:
    """The files of a labeller."""
    files = config.files
    columns = {name: other for name, other in files.columns.items() if name in _OF_TEXT}
    if section.column is not None and in_columns(section):
        columns["tag"] = section.column
    return UserSource(
        tuple(absolute(pattern) for pattern in section.file or ()),
        name,
        "votes",
        benchmark.task,
        files.scheme or "bio",
        columns,
        files.words if isinstance(files.words, str) else "marks",
        files.types,
        True,
        config.data.max_row_bytes,
        f"labellers.{name}.file",
    )


def in_columns(section: LabellerConfig) -> bool:
    """Whether files have a word per line, and labels in a column beside it."""
    assert section.file is not None, "it is called, and has no files"
    return ending_of(section.file[0]) in (*COLUMNS, "txt")


def _names_in(source: UserSource, key: str) -> list[str]:
    """Names of all labellers that files have labels of, in the order of their first row."""
    found = dict[str, None]()
    try:
        for item in said_in(source):
            if not isinstance(item, BadRow):
                found |= dict.fromkeys(labellers_in(item.record))
        for name in found:
            check_name(name)
    except ValueError as error:
        raise ConfigError(f"{key}.each: {error}") from None
    if not found:
        raise ConfigError(
            f"{key}.each: the files name no labellers; needed: fields labels.NAME, or a field "
            "labeller"
        )
    return list(found)


def votes_about(
    voter: Voter,
    text: Artifact,
    *,
    config: RunConfig[Any],
    reading: Reading,
    labels: LabelSet,
    languages: Sequence[str],
    runner: Runner,
    plan: Plan,
) -> Artifact:
    """What a labeller says about a text, as a durable step.

    Args:
        voter: The labeller.
        text: The unlabelled text.
        config: The configuration of the run.
        reading: What else is read of its benchmark.
        labels: Classes of the task.
        languages: Languages of the text.
        runner: Runs the step.
        plan: What the run asks the cluster for.

    Raises:
        ConfigError: it cannot be called, or its files cannot be read, say nothing about the text,
            or are evaluation gold.
    """
    section, benchmark = voter.config, reading.benchmark
    asked = section.languages or tuple(languages)
    if unknown := [name for name in asked if name not in languages]:
        raise ConfigError(
            f"{voter.key}.languages: {unknown[0]!r} has no unlabelled text, there are: "
            f"{', '.join(languages)}"
        )
    title = f"votes of {voter.name} annotation"
    if section.call is not None:
        task = _asking(voter, text, benchmark, labels, asked)
        compute = partial(run_ask, pool=_pool(section, plan), limit=config.data.max_fatal_rows)
        return runner.run(Step(title, task), compute)
    own = voter.key.removeprefix("labellers.")
    try:
        source = NamedSource.of(files_of(config, benchmark, own, section))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    _check_is_no_gold(voter, source.identity, reading, languages)
    task = VotesTask(
        text=text,
        languages=tuple(asked),
        task=benchmark.task,
        labels=labels,
        name=voter.name,
        column=None if in_columns(section) else section.column,
        source=source,
        max_bad_fraction=section.max_bad_fraction,
    )
    return runner.run(Step(title, task), run_votes)


def _asking(
    voter: Voter, text: Artifact, benchmark: Benchmark, labels: LabelSet, asked: Sequence[str]
) -> AskTask:
    """The step that asks a labeller.

    Raises:
        ConfigError: there is no such code, or it has no such class.
    """
    section = voter.config
    found = code_of(f"{voter.key}.call", section.call or "")
    task = AskTask(
        text=text,
        languages=tuple(asked),
        task=benchmark.task,
        labels=labels,
        name=voter.name,
        call=found.call,
        code=found.digest,
        args=dict(section.args),
        version=section.version,
        module=found.module,
        source=found.source,
        batch_size=section.batch_size,
        timeout=section.timeout,
        retries=section.retries,
        wait=section.wait,
        max_bad_fraction=section.max_bad_fraction,
    )
    if section.call == CHAT:
        labeller_of(task)  # sends nothing, and says what is wrong with its arguments
    return task


def _pool(section: LabellerConfig, plan: Plan) -> Pool:
    """The actors that ask; none where the driver's process does all work of that kind."""
    workers = section.workers
    if workers is None:
        if not plan.annotators.largest and not section.gpus:
            return Pool(0, 0, section.cpus, 0.0)
        workers = max(plan.annotators.largest, 1) if section.gpus else 1
    return Pool(1, workers, section.cpus, section.gpus)


def _check_is_no_gold(
    voter: Voter, identity: Mapping[str, Any], reading: Reading, languages: Sequence[str]
) -> None:
    """See that a file of votes is none that a target is scored or chosen by.

    Raises:
        ConfigError: it is.
    """
    chosen = reading.config.benchmark
    splits = ("test", "dev") if chosen.select_on == "target_dev" else ("test",)
    given = {digest: name for name, digest in sums_in(identity)}
    for language in languages:
        for split in splits:
            if not reading.benchmark.has(language, split):
                continue
            try:
                (found,) = reading.sources((language,), split)
            except ValueError:
                continue  # what is missing is said where it is read
            for _, digest in sums_in(found.identity):
                if digest in given:
                    raise ConfigError(
                        f"{voter.key}.file: {given[digest]} has the {split} labels that {language} "
                        "is scored by; votes are of labellers who have not seen them"
                    )
