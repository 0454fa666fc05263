"""Annotate steps: a Ray Data pipeline whose actors each take a few shards of the corpus at a time.

A shard is read, batched under the token budget, put through the model and written as one Parquet
file of the attempt, by one actor. Batches, rows and file names depend on the shard alone, so the
result is the same for any number of actors and any order, and a step that was killed takes over the
files that its earlier attempts had finished. Only counts travel through the object store. A pool of
none is the driver's own process, a shard in each of its threads, without the seconds that an actor
needs to start; small corpora are done so unless the configuration asks for actors. A row that kills
whoever labels it has no annotation; `xlt_ray.engine.isolation` finds it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import torch

from xlt_ray.data.batches.examples import Examples, examples_of
from xlt_ray.data.batches.layout import SpanItems, layout_in
from xlt_ray.data.keyed import Places
from xlt_ray.data.quarantine import LostRow, in_order, lost_rows, write_lost
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.inference import predict
from xlt_ray.engine.int8 import stand_in
from xlt_ray.engine.isolation import missing, write_all
from xlt_ray.engine.pool import CORE, Pool, operations_of
from xlt_ray.models.load import load_classifier
from xlt_ray.models.span_tagger import check_head
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.corpus import Corpus, View
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.step_task import StepTask


@dataclass(frozen=True, kw_only=True)
class AnnotateTask(StepTask):
    """Everything an annotator actor needs; it travels by value.

    Attributes:
        corpus: The rows.
        model: What is put to work on them.
        annotator: What is made of its output.
        context: The task, as far as the annotator looks at it.
        dim_reduce: Fraction of its width that the model's head projects to first.
        max_length: Longest input in sub-words.
        batch_tokens: Token budget of a batch.
        arithmetic: How an actor computes.
        compiled: Whether the encoder is compiled.
        graph: Result of an int8 step for the model, if it computes in int8.
    """

    kind = "annotation"
    resumes = True

    corpus: Corpus
    model: Artifact
    annotator: Annotator
    context: TaskContext
    dim_reduce: int | None
    max_length: int
    batch_tokens: int
    arithmetic: Arithmetic
    compiled: bool = False
    graph: Artifact | None = None

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """The model, its graph and the text."""
        graph = () if self.graph is None else (self.graph,)
        return (self.model, *graph, *self.corpus.inputs)

    @property
    def modules(self) -> tuple[str, ...]:
        """This one, and that of the annotator."""
        return (__name__, type(self.annotator).__module__)


class ShardAnnotator:
    """One actor: loads the model once, then turns shards into files.

    Args:
        task: The step.
        at_once: Shards at a time at most.
    """

    def __init__(self, task: AnnotateTask, at_once: int = 1):
        self.task = task
        self.device = task.arithmetic.take()
        folder, context = task.model.local(), task.context
        head = task.annotator.span_head
        items = None if head is None else SpanItems(head.max_len, context.labels)
        check_head(folder, context.labels.names, head)
        self.layout = layout_in(folder, task.max_length, context.task, items)
        model = load_classifier(
            folder, context.labels.names, context.task, dim_reduce=task.dim_reduce, spans=head
        )
        own = task.annotator.build(context, model.width)
        if not model.attach(own, folder) and own is not None:
            raise ValueError(f"{type(task.annotator).__name__} needs a model trained for it")
        if task.compiled:
            model.compile_encoder()
        if task.graph is not None:
            threads = task.arithmetic.threads
            model.stand_in = stand_in(task.graph, model, threads=threads, at_once=at_once)
        self.model = model.to(self.device).eval()
        self.view = View(task.corpus)

    def __call__(self, shards: dict[str, Any]) -> dict[str, Any]:
        """Annotate shards by name and write their files.

        While the model is at a shard, the next one is read and the one before is written; all files
        are written when this returns. Those that are there already are left as they are.
        """
        task, names = self.task, [str(name) for name in shards["shard"]]
        torch.set_num_threads(task.arithmetic.threads)  # it is one's own of each thread that calls
        missing = [name for name in names if not task.out.has(name)]
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            behind: Future[None] | None = None
            for name, (rows, examples) in read_ahead(reader, self.read, missing):
                table = self.annotated(rows, examples)
                if behind is not None:
                    behind.result()  # a file that failed ends the work here
                behind = writer.submit(task.out.write_table, name, table)
            if behind is not None:
                behind.result()
        return shards

    def read(self, name: str) -> tuple[pa.Table, Examples]:
        """The rows of a shard."""
        rows = self.view.shard(name)
        return rows, self.examples(rows)

    def examples(self, rows: pa.Table) -> Examples:
        """Rows as model input."""
        return examples_of(rows, self.layout, self.task.context.languages)

    def rows(self, name: str) -> list[LostRow]:
        """The rows of a shard, each as it is known if it is lost."""
        rows = self.view.shard(name).select(["id", "language"])
        places = Places(self.task.corpus.tokens.shard(name, ["id"])).of(rows)
        found = zip(*(x.to_pylist() for x in (rows["id"], rows["language"], places)), strict=True)
        return [LostRow(id, language, name, at + 1) for id, language, at in found]

    def part(self, name: str, start: int, stop: int) -> pa.Table:
        """What is said of some rows of a shard."""
        rows = self.view.shard(name).take(pa.array(range(start, stop), pa.int64()))
        return self.annotated(rows, self.examples(rows))

    def annotated(self, rows: pa.Table, examples: Examples) -> pa.Table:
        """What is said of some rows."""
        output = predict(
            self.model,
            examples,
            budget=self.task.batch_tokens,
            device=self.device,
            precision=self.task.arithmetic.precision,
            feature_outputs=self.task.annotator.feature_outputs,
        )
        output = output._replace(columns=examples.columns_of(slice(None), self.device))
        offsets = examples.item_offsets
        columns = self.task.annotator.annotate(output, offsets, self.task.context)
        return to_table(rows, offsets, columns, words=examples.length_offsets)


R = TypeVar("R")


def read_ahead(
    reader: Executor, read: Callable[[str], R], names: Sequence[str]
) -> Iterator[tuple[str, R]]:
    """What is read for each name; the next one is read while the caller is at one."""
    coming = [reader.submit(read, name) for name in names[:1]]
    for number, name in enumerate(names, start=1):
        found = coming.pop().result()
        coming += [reader.submit(read, following) for following in names[number : number + 1]]
        yield name, found


def to_table(
    rows: pa.Table, offsets: np.ndarray, columns: Columns, *, words: np.ndarray | None = None
) -> pa.Table:
    """Annotated rows: id, language, a list per item column, a value (or vector) per row column.

    Args:
        rows: The rows.
        offsets: [S + 1] first item of each, and their number.
        columns: What is said of them.
        words: [S + 1] first word of each, and their number, if anything is said of words.
    """
    table = rows.select(["id", "language"])
    for begins, lists in ((offsets, columns.items), (words, columns.words)):
        ends = None if begins is None else pa.array(begins.astype(np.int32))
        for name, values in lists.items():
            table = table.append_column(name, pa.ListArray.from_arrays(ends, _values(values)))
    for name, values in columns.rows.items():
        table = table.append_column(name, _values(values))
    return table


def _values(values: np.ndarray) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    inner = pa.array(values.reshape(-1))
    ends = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
    return pa.ListArray.from_arrays(ends, inner)


ROW_SECONDS = 3e-4
"""What a row takes besides the encoder."""


def seconds_of(task: AnnotateTask) -> float:
    """About what annotating a corpus takes one CPU core; of an encoder that does not say how large
    it is, infinity."""
    rows = task.corpus.tokens.info["rows"]
    operations = operations_of(task.model.json("config.json"), rows)
    return math.inf if operations is None else rows * ROW_SECONDS + operations / CORE


def run_annotate(task: AnnotateTask, pool: Pool, *, limit: int) -> dict[str, Any]:
    """Annotate every shard of the corpus; returns facts for the manifest.

    Args:
        task: The step.
        pool: The actors.
        limit: Rows that may be lost, since they kill whoever labels them.

    Raises:
        RuntimeError: an actor failed for good, or whatever is labelled kills; the message is why.
        ConfigError: more rows kill than may be lost.
    """
    names, corpus = task.corpus.shards, task.corpus
    share = len(missing(task, names)) / max(len(names), 1)
    pool = pool.for_work(share * seconds_of(task))
    threads = 1 if task.compiled else pool.threads
    make = partial(ShardAnnotator, at_once=1 if pool.largest else threads)
    lost = write_all(make, task, pool, names, limit=limit, threads=threads)
    rows = sum(task.out.rows(name) for name in names)
    if lost and not rows:
        raise RuntimeError(f"all {len(lost)} rows kill the process that labels them")
    every = in_order([*lost, *lost_rows(*(columns.artifact for columns in corpus.columns))])
    if corpus.is_whole and rows + len(every) != corpus.tokens.info["rows"]:
        raise RuntimeError(
            f"{corpus.tokens.info['rows']} rows came in, {rows} were labelled and {len(every)} lost"
        )
    write_lost(task.out, in_order([*every, *lost_rows(corpus.tokens)]))
    facts = {"rows": rows, "shards": len(names)}
    return {**facts, "quarantined": len(lost)} if lost else facts
