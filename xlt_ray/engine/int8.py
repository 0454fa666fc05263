"""Int8 steps: the graph of a trained model's encoder, for annotators on CPUs.

Some rows of text tell which inputs of its linear layers are large. The same rows tell how many
items have the label that the model gives in float32. The graph is built in one thread, so that its
bytes depend on nothing else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import torch

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import Examples, examples_of
from xlt_ray.data.batches.layout import SpanItems, layout_in
from xlt_ray.data.batches.planning import plan_batches
from xlt_ray.data.keyed import Ids, with_ids
from xlt_ray.engine.driver_node import call_near
from xlt_ray.engine.inference import predict_labels
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.int8 import BLOCK, Int8Encoder, computed_by, write_encoder
from xlt_ray.models.load import load_classifier
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.recipe.corpus import Corpus, ids_of, sample_ids
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.step_task import StepTask

ROWS = 100
"""Rows of text that are looked at; fewer where there are fewer."""
TOKENS = 1024
"""Token budget of their batches."""
_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Int8Task(StepTask):
    """The graph of one model.

    Attributes:
        model: The model.
        text: Tokenised text that is like what it will label.
        context: The task; it knows of no language.
        dim_reduce: Fraction of its width that the model's head projects to first.
        max_length: Longest input in sub-words.
        spans: The head over spans, if it has one.
        rows: Rows of the text that are drawn.
        block: Inputs of a linear layer that share a scale.
    """

    kind = "int8"

    model: Artifact
    text: Artifact
    context: TaskContext
    dim_reduce: int | None
    max_length: int
    spans: SpanHead | None
    rows: int = ROWS
    block: int = BLOCK

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """The model and the text."""
        return (self.model, self.text)

    @property
    def modules(self) -> tuple[str, ...]:
        """This one."""
        return (__name__,)

    def load(self) -> Classifier:
        """The model, in evaluation mode."""
        return load_classifier(
            self.model.local(), self.context.labels.names, self.context.task,
            dim_reduce=self.dim_reduce, spans=self.spans,
        ).eval()  # fmt: skip


def stand_in(graph: Artifact, model: Classifier, *, threads: int, at_once: int = 1) -> Int8Encoder:
    """What computes a model's encoder in int8.

    Args:
        graph: Result of an int8 step for the model.
        model: The model.
        threads: Threads of a pass.
        at_once: Passes at a time.
    """
    block = graph.info["block"]
    return Int8Encoder(graph.local(), model, block=block, threads=threads, at_once=at_once)


def run_int8(task: Int8Task) -> dict[str, Any]:
    """Build the graph, in the driver's process or, of a large model, in one of the driver's node.

    Raises:
        Int8Error: the encoder has no graph.
        ValueError: there is no text.
    """
    return call_near(write_graph, task, task.model)


def write_graph(task: Int8Task) -> dict[str, Any]:
    """Build the graph into the attempt; returns facts for the manifest."""
    rows = drawn_rows(task.text, task.rows)
    items = None
    if task.spans is not None:
        items = SpanItems(task.spans.max_len, task.context.labels)
    layout = layout_in(task.model.local(), task.max_length, task.context.task, items)
    with _one_thread(), TemporaryDirectory() as made:
        model, examples = task.load(), examples_of(rows, layout, task.context.languages)
        facts = write_encoder(model, batches_of(examples), Path(made), block=task.block)
        encoder = Int8Encoder(Path(made), model, block=task.block, threads=1)

        def labels() -> Any:
            return predict_labels(model, examples, budget=TOKENS, device=_CPU, precision="fp32")

        before = labels()
        with computed_by(model, encoder):
            equal = float((labels() == before).mean()) if len(before) else 1.0
        for path in sorted(Path(made).iterdir()):
            task.out.copy(path.name, path)
    return {"rows": len(rows), **facts, "equal_labels": round(equal, 6)}


def drawn_rows(text: Artifact, count: int = ROWS) -> pa.Table:
    """Rows of a tokenised text, drawn by their ids; all where there are fewer.

    Raises:
        ValueError: there is none.
    """
    ids = ids_of(text)
    if not len(ids):
        raise ValueError("int8 needs text to be built, and there is none")
    drawn = Ids(sample_ids(ids, min(count, len(ids)), seed=0))
    return Corpus(text).rows(lambda table: with_ids(table, drawn))


def batches_of(examples: Examples) -> list[Batch]:
    """Rows as batches."""
    plan = plan_batches(examples.longest, examples.num_windows, TOKENS)
    return [examples.collate(part) for part in plan]


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
