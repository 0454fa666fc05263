"""Reading, checking and tokenising corpora: tasks of Ray Data, or where it is little this process.

Text and gold labels are read in separate passes into separate artifacts: the pass over text does
not look at the labels. One task reads one file; one task tokenises one shard; each writes its own
file of the attempt, so the result does not depend on how many run at once.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import ray.data

from xlt_ray.data.batches.tokenise import load_tokenizer, tokenise
from xlt_ray.data.benchmarks.registry import check_bad_fraction
from xlt_ray.data.readers.base import Source, check_unchanged
from xlt_ray.data.readers.user_source import key_of
from xlt_ray.data.schema import GOLD_SCHEMA, TEXT_SCHEMA, BadRow, Example, Task
from xlt_ray.engine.local_ray import data_runs, is_own, needed
from xlt_ray.engine.pool import START_SECONDS
from xlt_ray.engine.resources import alive, readers
from xlt_ray.engine.same_code import guarded
from xlt_ray.labels import LabelSet
from xlt_ray.store.artifacts import Artifact, Attempt
from xlt_ray.store.files import write_parquet

Content = Literal["text", "gold"]
READ, TOKENISE = 6e-7, 2e-6
"""Seconds that a byte of text takes to read, or to read again and write, and one of a column of it,
encoded, to tokenise, as measured on one core, rounded up."""


@dataclass(frozen=True)
class ReadTask:
    """What a reading task needs besides its source."""

    attempt: Attempt
    content: Content
    task: Task
    labels: LabelSet | None
    limits: Mapping[str, int | None]
    """Rows at most of a source, by split."""
    shard_rows: int
    max_bad_fraction: float


def read_source(source: Source, task: ReadTask, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Read one file into the attempt; returns its counts.

    Rows go to ``<content>-<language>.parquet`` in row groups of one shard, bad rows to
    ``quarantine-<language>.jsonl``.

    Args:
        source: What is read.
        task: Where it goes.
        identity: Of the source, which the attempt is named by.

    Raises:
        ValueError: it cannot be read, has too many bad rows, or is something else by now.
    """
    bad: list[BadRow] = []

    def rows() -> Iterator[dict[str, Any]]:
        for item in source.examples(task.labels, task.limits[source.split]):
            if isinstance(item, BadRow):
                bad.append(item)
            else:
                yield _text_row(item) if task.content == "text" else _gold_row(item)

    schema = TEXT_SCHEMA[task.task] if task.content == "text" else GOLD_SCHEMA[task.task]
    name = f"{task.content}-{source.language}.parquet"
    count = write_parquet(lambda: task.attempt.stream(name), schema, rows(), chunk=task.shard_rows)
    check_unchanged(source, identity)
    lines = [json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in bad]
    task.attempt.write(f"quarantine-{source.language}.jsonl", "".join(lines).encode())
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
    dataset = ray.data.from_items(list(items), override_num_blocks=len(items))
    limit = ray.data.ExecutionResources.for_limits(cpu=readers(alive()))
    dataset.context.execution_options.resource_limits = limit
    work = guarded(function)
    with data_runs():
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


def run_read(
    sources: Sequence[Source], task: ReadTask, identities: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Read several files at once; returns facts for the manifest.

    Args:
        sources: What is read.
        task: Where it goes.
        identities: Of the sources, which the attempt is named by.

    Raises:
        ValueError: a file cannot be read, is empty, has too many bad rows, or was edited since.
    """

    def read(row: dict[str, Any]) -> dict[str, Any]:
        try:
            at = row["index"]
            return {"result": read_source(sources[at], task, identities[at]), "error": None}
        except ValueError as error:
            return {"result": None, "error": str(error)}

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


def tokenise_shard(
    text: Artifact,
    backbone: Artifact,
    attempt: Attempt,
    task: Task,
    *,
    file: str,
    group: int,
    name: str,
) -> None:
    """Tokenise one row group of a text file into one shard."""
    with text.parquet(file) as found:
        rows = found.read_row_group(group, use_threads=False)
    table = tokenise(rows, _tokenizer(str(backbone.local())), task=task)
    attempt.write_table(name, table)


def run_tokenise(
    text: Artifact, backbone: Artifact, attempt: Attempt, task: Task
) -> dict[str, Any]:
    """Tokenise every row group of a text artifact; returns facts for the manifest.

    Shards that the attempt has already are left as they are.
    """
    shards, seconds = list[dict[str, Any]](), dict[str, float]()
    for file in text.names:
        if file.startswith("text-"):
            with text.parquet(file) as opened:
                found = opened.metadata
            for group in range(found.num_row_groups):
                name = f"part-{len(shards):06d}.parquet"
                shards.append({"file": file, "group": group, "name": name})
                seconds[name] = TOKENISE * found.row_group(group).total_byte_size

    def one(row: dict[str, Any]) -> dict[str, Any]:
        tokenise_shard(text, backbone, attempt, task, **row)
        return {"name": row["name"]}

    if todo := [shard for shard in shards if not attempt.has(shard["name"])]:
        map_rows(todo, one, sum(seconds[shard["name"]] for shard in todo))
    return {
        "rows": text.info["rows"],
        "shards": len(shards),
        "rows_by_language": dict(text.info["rows_by_language"]),
    }
