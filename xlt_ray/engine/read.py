"""Reading, checking and tokenising corpora: tasks of Ray Data, or where it is little this process.

Text and gold labels are read in separate passes into separate artifacts: the pass over text does
not look at the labels. One task reads one file; one task tokenises one shard; each writes its own
file of the attempt, so the result does not depend on how many run at once.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from xlt_ray.data.batches.tokenise import load_tokenizer, tokenise
from xlt_ray.data.benchmarks.registry import check_bad_fraction
from xlt_ray.data.quarantine import lost_rows, write_lost
from xlt_ray.data.readers.base import NamedSource, check_unchanged
from xlt_ray.data.readers.user_source import key_of
from xlt_ray.data.schema import GOLD_SCHEMA, TEXT_SCHEMA, BadRow, Example, Task
from xlt_ray.engine.local_ray import data_runs, is_own, needed
from xlt_ray.engine.pool import START_SECONDS
from xlt_ray.engine.resources import alive, readers
from xlt_ray.engine.same_code import guarded
from xlt_ray.engine.text_shards import TextShard, shards_of
from xlt_ray.labels import LabelSet
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.files import write_parquet
from xlt_ray.store.step_task import StepTask

READ, TOKENISE = 6e-7, 2e-6
"""Seconds that a byte of text takes to read, or to read again and write, and one of a column of it,
encoded, to tokenise, as measured on one core, rounded up."""


@dataclass(frozen=True, kw_only=True)
class ReadTask(StepTask):
    """What is read, and how: the text of some sources, or their gold labels.

    Attributes:
        sources: What is read.
        task: Kind of task.
        labels: Classes that gold labels are numbered by; None: they are left unread.
        limits: Rows at most of a source, by split.
        shard_rows: Rows of a shard.
        max_bad_fraction: Share of the rows of a source that may be bad.
    """

    sources: tuple[NamedSource, ...]
    task: Task
    labels: LabelSet | None = None
    limits: Mapping[str, int | None]
    shard_rows: int
    max_bad_fraction: float

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """Nothing of the store."""
        return ()

    @property
    def modules(self) -> tuple[str, ...]:
        """This one, and those of the sources."""
        return (__name__, *sorted({type(item.source).__module__ for item in self.sources}))


@dataclass(frozen=True, kw_only=True)
class ReadText(ReadTask):
    """The text, without labels."""

    kind = "text"


@dataclass(frozen=True, kw_only=True)
class ReadGold(ReadTask):
    """The gold labels, without text."""

    kind = "gold"


@dataclass(frozen=True, kw_only=True)
class TokeniseTask(StepTask):
    """What is tokenised, by whose tokenizer.

    Attributes:
        text: A text artifact.
        backbone: A checkpoint, whose tokenizer it is.
        task: Kind of task.
    """

    kind = "tokens"
    resumes = True

    text: Artifact
    backbone: Artifact
    task: Task

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """The text and the checkpoint."""
        return (self.text, self.backbone)

    @property
    def modules(self) -> tuple[str, ...]:
        """This one, and the one that tokenises."""
        return (__name__, "xlt_ray.data.batches.tokenise")


def read_source(task: ReadTask, number: int) -> dict[str, Any]:
    """Read one source into the attempt; returns its counts.

    Rows go to ``<kind>-<language>.parquet`` in row groups of one shard, bad rows to
    ``quarantine-<language>.jsonl``.

    Args:
        task: What is read.
        number: Which of its sources.

    Raises:
        ValueError: it cannot be read, has too many bad rows, or is something else by now.
    """
    bad: list[BadRow] = []
    source = task.sources[number].source

    def rows() -> Iterator[dict[str, Any]]:
        for item in source.examples(task.labels, task.limits[source.split]):
            if isinstance(item, BadRow):
                bad.append(item)
            else:
                yield _text_row(item) if task.labels is None else _gold_row(item)

    schema = (TEXT_SCHEMA if task.labels is None else GOLD_SCHEMA)[task.task]
    name = f"{task.kind}-{source.language}.parquet"
    count = write_parquet(lambda: task.out.stream(name), schema, rows(), chunk=task.shard_rows)
    check_unchanged(task.sources[number])
    lines = [json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in bad]
    task.out.write(f"quarantine-{source.language}.jsonl", "".join(lines).encode())
    key = key_of(source)
    check_bad_fraction(bad, total=count + len(bad), max_fraction=task.max_bad_fraction, key=key)
    return {"language": source.language, "rows": count, "bad": len(bad)}


def map_rows(
    items: Sequence[dict[str, Any]],
    function: Callable[[dict[str, Any]], dict[str, Any]],
    seconds: float,
) -> list[dict[str, Any]]:
    """What a function makes of each row, in tasks of one CPU each, in any order.

    They will not ask an autoscaler for more CPUs than are up. In a Ray of this process's own it
    calls the function itself if it is done before tasks would have imported what they need.

    Args:
        items: The rows.
        function: The function.
        seconds: What it takes one process for all of them, about; infinity: nobody knows.
    """
    if seconds <= START_SECONDS and is_own():
        return [function(item) for item in items]
    needed()
    work = guarded(function)
    with data_runs() as data:
        dataset = data.from_items(list(items), override_num_blocks=len(items))
        limit = data.ExecutionResources.for_limits(cpu=readers(alive()))
        dataset.context.execution_options.resource_limits = limit
        return dataset.map(lambda row: work(row)).take_all()


def _text_row(item: Example) -> dict[str, Any]:
    row: dict[str, Any] = {"id": item.id, "language": item.language}
    if item.tokens is not None:
        return {**row, "tokens": list(item.tokens)}
    row["text"] = item.text
    return row if item.text_pair is None else {**row, "text_pair": item.text_pair}


def _gold_row(item: Example) -> dict[str, Any]:
    labels = item.labels
    values = [labels] if isinstance(labels, int) else list(labels or ())
    return {"id": item.id, "language": item.language, "labels": values}


def run_read(task: ReadTask) -> dict[str, Any]:
    """Read several files at once; returns facts for the manifest.

    Raises:
        ValueError: a file cannot be read, is empty, has too many bad rows, or was edited since.
    """

    def read(row: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"result": read_source(task, row["index"]), "error": None}
        except ValueError as error:
            return {"result": None, "error": str(error)}

    sources = [item.source for item in task.sources]
    indices = [{"index": index} for index in range(len(sources))]
    seconds = READ * sum(source.volume(task.limits[source.split]) for source in sources)
    results = sorted(map_rows(indices, read, seconds), key=lambda row: str(row["result"]))
    errors = sorted(row["error"] for row in results if row["error"])
    if errors:
        raise ValueError("\n".join(errors))
    counts = [row["result"] for row in results]
    return {
        "rows": sum(count["rows"] for count in counts),
        "quarantined": sum(count["bad"] for count in counts),
        "rows_by_language": {count["language"]: count["rows"] for count in counts},
        "quarantined_by_language": {count["language"]: count["bad"] for count in counts},
    }


@lru_cache(maxsize=2)
def _tokenizer(folder: str) -> Any:
    return load_tokenizer(folder)


def tokenise_shard(task: TokeniseTask, shard: TextShard) -> None:
    """Tokenise one shard of the text."""
    rows = shard.rows(task.text)
    table = tokenise(rows, _tokenizer(str(task.backbone.local())), task=task.task)
    task.out.write_table(shard.name, table)


def run_tokenise(task: TokeniseTask) -> dict[str, Any]:
    """Tokenise every shard of a text artifact; returns facts for the manifest.

    Shards that the attempt has already are left as they are.
    """
    text, shards = task.text, shards_of(task.text)

    def one(row: dict[str, Any]) -> dict[str, Any]:
        tokenise_shard(task, shards[row["number"]])
        return row

    if todo := [shard for shard in shards if not task.out.has(shard.name)]:
        numbers = [{"number": shard.number} for shard in todo]
        map_rows(numbers, one, TOKENISE * sum(shard.size for shard in todo))
    write_lost(task.out, lost_rows(text))
    return {
        "rows": text.info["rows"],
        "shards": len(shards),
        "rows_by_language": dict(text.info["rows_by_language"]),
    }
