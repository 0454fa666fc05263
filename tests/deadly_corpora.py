"""Small corpora and models of each kind of task, for workers that die of rows."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.encoders import write_encoder
from xlt_ray.commands.confidence import Confident, ConfidentSpans
from xlt_ray.data.batches.tokenise import load_tokenizer, tokenise
from xlt_ray.data.schema import Task
from xlt_ray.engine.annotate import AnnotateTask
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.labels import LabelSet
from xlt_ray.models.load import load_classifier
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.recipe.corpus import Corpus
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact, Store

KINDS: dict[str, tuple[Task, tuple[str, ...], SpanHead | None]] = {
    "token": ("token", ("O", "B-X", "I-X"), None),
    "spans": ("token", ("O", "B-X", "I-X"), SpanHead(max_len=3)),
    "sentence": ("sentence", ("bad", "good"), None),
    "pair": ("pair", ("no", "yes", "maybe"), None),
}
"""Task, labels and span head."""


def texts(task: Task, ids: list[str]) -> pa.Table:
    """Rows of text, none like another."""
    words = [[f"wort{n}"] * (n % 4 + 1) for n in range(len(ids))]
    table = pa.table({"id": ids, "language": ["xx"] * len(ids)})
    if task == "token":
        return table.append_column("tokens", pa.array(words))
    table = table.append_column("text", pa.array([" ".join(row) for row in words]))
    return table if task == "sentence" else table.append_column("text_pair", table["text"])


def annotating(store: Store, folder: Path, kind: str, ids: list[str], rows: int) -> AnnotateTask:
    """An annotate step over rows, so many to a shard, by a random model."""
    task, labels, head = KINDS[kind]
    encoder = write_encoder(folder / "encoder")
    load_classifier(encoder, labels, task, spans=head).save(folder / "encoder")
    attempt = store.attempt("model", f"m-{kind}")
    attempt.write_folder(folder / "encoder")
    model = store.commit(attempt, {"info": {}, "seconds": 0.0})
    table = tokenise(texts(task, ids), load_tokenizer(str(encoder)), task=task)
    attempt = store.attempt("tokens", f"t-{kind}")
    for at in range(0, len(table), rows):
        attempt.write_table(f"part-{at // rows:06d}.parquet", table.slice(at, rows))
    tokens = store.commit(attempt, {"info": {"rows": len(table)}, "seconds": 0.0})
    return AnnotateTask(
        attempt=store.attempt("annotation", f"a-{kind}"), corpus=Corpus(tokens), model=model,
        annotator=Confident() if head is None else ConfidentSpans(head),
        context=TaskContext(LabelSet(labels), ("xx",), task=task), dim_reduce=None, max_length=32,
        batch_tokens=64, arithmetic=Arithmetic(),
    )  # fmt: skip


def pairs(store: Store, texts_of: dict[str, list[str]], group: int) -> Artifact:
    """A text artifact of pairs by language, so many to a shard."""
    attempt = store.attempt("text", "pairs")
    for language, found in texts_of.items():
        columns: dict[str, Any] = {
            "id": [f"{language}{n}" for n in range(len(found))],
            "language": [language] * len(found),
            "text": found,
            "text_pair": ["und"] * len(found),
        }
        with attempt.stream(f"text-{language}.parquet") as stream:
            pq.write_table(pa.table(columns), stream, row_group_size=group)
    info = {"rows": sum(map(len, texts_of.values()))}
    info |= {"rows_by_language": {x: len(found) for x, found in texts_of.items()}}
    return store.commit(attempt, {"info": info, "seconds": 0.0})
